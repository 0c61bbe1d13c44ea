"""Letters to payers, over the SMTP server that the shop names.

Owns the connection, its limits and what an answer means; must not know what a letter says, nor log an address or a server's words.
"""

import re
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Literal

from bridge.core.errors import Refused, Unavailable

Security = Literal["starttls", "tls", "none"]
SECONDS = 20
# One address, and nothing that could be more than one or another header.
_ADDRESS = re.compile(r"[^\s@,;:<>()\"\\]{1,64}@[A-Za-z0-9.-]{1,250}", re.ASCII)


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

        Raises Refused (bad_mail_address, mail_refused): for good; and Unavailable("mail_unavailable").
        """
        if not _ADDRESS.fullmatch(to):
            raise Refused("bad_mail_address", "This is no address that a letter can be sent to.")
        letter = self._letter(to=to, subject=subject, text=text, reference=reference, at=at)
        try:
            with self._connected() as server:
                server.send_message(letter)
        except smtplib.SMTPRecipientsRefused as refused:
            raise _said(min(code for code, _ in refused.recipients.values())) from None
        except smtplib.SMTPAuthenticationError as refused:
            # The shop's trouble, not this letter's.
            raise Unavailable("mail_unavailable", f"The mail server answered {refused.smtp_code}.") from None
        except smtplib.SMTPResponseException as answered:
            raise _said(answered.smtp_code) from None
        except (OSError, smtplib.SMTPException) as error:
            raise Unavailable("mail_unavailable", type(error).__name__) from None

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
        letter["To"] = to
        letter["Subject"] = " ".join(subject.split())[:200]
        letter["Date"] = format_datetime(at)
        letter["Message-ID"] = f"<{reference}@{self.sender.partition('@')[2]}>"
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(text)
        return letter


def _said(code: int) -> Refused | Unavailable:
    """A server's no: for good from 500 on (RFC 5321)."""
    detail = f"The mail server answered {code}."
    return Refused("mail_refused", detail) if code >= 500 else Unavailable("mail_unavailable", detail)
