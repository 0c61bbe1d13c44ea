"""Letters to payers, over the SMTP server that the shop names.

Owns the connection, its limits and what an answer means; must not know what a letter says, nor log an address or a server's words.
"""

import re
import smtplib
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Literal

from bridge.core.errors import Refused, Unavailable
from bridge.core.limits import LONGEST_MAIL_ADDRESS, MAIL_ADDRESS

Security = Literal["starttls", "tls", "none"]
SECONDS = 20
# What a server says no to for the shop's sake: its quota, its rights, its policy (RFC 3463), a log-in that is missing.
_OF_THE_SHOP = re.compile(rb"5\.(?:4\.5|7\.[0-9]+)(?![0-9.])")
_NO_LOGIN = 530


@dataclass(frozen=True, kw_only=True)
class Smtp:
    """One server. `sender` is the address that letters come from, `name` what is shown of it."""

    host: str
    port: int
    security: Security
    sender: str
    name: str
    username: str = ""
    password: str = field(default="", repr=False)
    context: Callable[[], ssl.SSLContext] = ssl.create_default_context

    def send(self, *, to: str, subject: str, text: str, reference: str, at: datetime) -> None:
        """Hands one letter over. The same `reference` is the same Message-ID, by which a second copy is known.

        Raises Refused (bad_mail_address, mail_refused): for good, by a no to this payer or this letter; and
        Unavailable("mail_unavailable"): all else, as it is the shop's trouble or passes.
        """
        if len(to) > LONGEST_MAIL_ADDRESS or not re.fullmatch(MAIL_ADDRESS, to):
            raise Refused("bad_mail_address", "This is no address that a letter can be sent to.")
        try:
            letter = self._letter(to=to, subject=subject, text=text, reference=reference, at=at)
            self._hand_over(letter, to)
        except smtplib.SMTPRecipientsRefused as refused:
            raise _said(*refused.recipients[to]) from None
        except smtplib.SMTPDataError as refused:
            raise _said(refused.smtp_code, refused.smtp_error) from None
        except smtplib.SMTPResponseException as answered:
            raise Unavailable("mail_unavailable", f"The mail server answered {answered.smtp_code}.") from None
        except (OSError, smtplib.SMTPException, ValueError, MessageError) as error:
            # A host, a password or a letter that cannot be written down is a ValueError, and its text may hold it.
            raise Unavailable("mail_unavailable", type(error).__name__) from None

    def _hand_over(self, letter: EmailMessage, to: str) -> None:
        server = self._connected()
        try:
            # To whom is said here, and not read from the header, which may be understood in other ways.
            server.send_message(letter, from_addr=self.sender, to_addrs=[to])
        finally:
            # However the goodbye ends, it changes nothing about the letter.
            with suppress(OSError, smtplib.SMTPException):
                server.quit()

    def _connected(self) -> smtplib.SMTP:
        if self.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=SECONDS, context=self.context())
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=SECONDS)
        try:
            if self.security == "starttls":
                server.starttls(context=self.context())
            if self.username:
                server.login(self.username, self.password)
        except BaseException:
            server.close()
            raise
        return server

    def _letter(self, *, to: str, subject: str, text: str, reference: str, at: datetime) -> EmailMessage:
        letter = EmailMessage()
        letter["From"] = Address(display_name=" ".join(self.name.split())[:100], addr_spec=self.sender)
        letter["To"] = Address(addr_spec=to)
        letter["Subject"] = " ".join(subject.split())[:200]
        letter["Date"] = format_datetime(at)
        letter["Message-ID"] = f"<{reference}@{self.sender.partition('@')[2]}>"
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(text)
        return letter


def _said(code: int, words: bytes | str) -> Refused | Unavailable:
    """A server's no to the payer's address or to the letter: for good from 500 on (RFC 5321), unless it is about the shop."""
    detail = f"The mail server answered {code}."
    said = words if isinstance(words, bytes) else words.encode()
    is_final = code >= 500 and code != _NO_LOGIN and not _OF_THE_SHOP.match(said)
    return Refused("mail_refused", detail) if is_final else Unavailable("mail_unavailable", detail)
