"""A mail server that listens on this machine and keeps what it is handed: real sockets, real SMTP, TLS and log-in where they are asked for.

Owns what it says and keeps; must not know what a letter means.
"""

import base64
import email
import email.policy
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any


class MailServer(socketserver.ThreadingTCPServer):
    """`answers` are what it says instead of yes, by verb: {"RCPT": "550 no such mailbox"}. CONNECT is the greeting, LETTER the end of one.
    `envelopes` are the RCPT lines, as they came.
    """

    allow_reuse_address = True
    daemon_threads = False
    block_on_close = True

    def __init__(self, *, tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.tls, self.login = tls, login
        self.answers: dict[str, str] = {}
        self.letters: list[EmailMessage] = []
        self.verbs: list[str] = []
        self.envelopes: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Talk(socketserver.StreamRequestHandler):
    server: MailServer
    timeout = 20

    def handle(self) -> None:
        self.says(self.server.answers.get("CONNECT", "220 test"))
        is_private = is_known = False
        while line := self.rfile.readline().decode().strip():
            verb, _, rest = line.partition(" ")
            self.server.verbs.append(verb.upper())
            if verb.upper() == "RCPT":
                self.server.envelopes.append(rest.partition(" ")[0])
            refused = self.server.answers.get(verb.upper())
            if refused is not None:
                self.says(refused)
            elif verb.upper() == "EHLO":
                more = (
                    ["STARTTLS"] if self.server.tls and not is_private else ["AUTH PLAIN"] if self.server.login else []
                )
                self.says("250-test", *(f"250-{each}" for each in more), "250 SIZE 1000000")
            elif verb.upper() == "STARTTLS" and self.server.tls is not None:
                self.says("220 go")
                self.rfile.close()
                self.wfile.close()
                self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
                is_private = True
            elif verb.upper() == "AUTH":
                is_known = tuple(base64.b64decode(rest.split()[-1]).decode().split("\0")[1:]) == self.server.login
                self.says("235 in" if is_known else "535 no")
            elif verb.upper() == "DATA":
                self.says("354 go")
                self.takes_letter()
                self.says(self.server.answers.get("LETTER", "250 kept"))
            elif verb.upper() == "QUIT":
                self.says("221 bye")
                return
            else:
                self.says("250 ok" if is_known or not self.server.login else "530 log in")

    def finish(self) -> None:
        super().finish()
        # What TLS made of the socket is another one than the server knows.
        self.connection.close()

    def takes_letter(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        letter: Any = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        self.server.letters.append(letter)

    def says(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


@contextmanager
def mail_server(**options: Any) -> Iterator[MailServer]:
    with MailServer(**options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
