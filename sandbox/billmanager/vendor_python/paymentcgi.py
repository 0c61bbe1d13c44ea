"""Owns the base class of pay and result scripts written in Python. It must not trust what arrives."""

from __future__ import annotations

import abc
import enum
import os
import sys
from urllib.parse import parse_qsl, unquote

from .paymethod import payment_parts


class PageType(enum.Enum):
    """The panel's return pages."""

    Success = "success"
    Fail = "fail"
    Pending = "pending"


class PaymentCgiType(enum.Enum):
    """What a script is for."""

    Payment = "payment"
    Recurring = "recurring"
    NewRecurring = "new_recurring"


class PaymentCgi(abc.ABC):
    """Reads the request, loads the payment named by `elid()`, runs `process()`."""

    def __init__(self) -> None:
        size = int(os.environ.get("CONTENT_LENGTH") or os.environ.get("HTTP_CONTENT_LENGTH") or 0)
        self.body = sys.stdin.buffer.read(size) if size else b""
        self.input: dict[str, str] = dict(parse_qsl(os.environ.get("QUERY_STRING", "")))
        self.input.update(parse_qsl(self.body.decode("utf-8", "replace")))
        cookies = dict(part.strip().partition("=")[::2] for part in os.environ.get("HTTP_COOKIE", "").split(";"))
        self.auth = self.input.get("auth") or unquote(cookies.get("billmgrses5", "")).partition(":")[0]
        self.lang = unquote(cookies.get("billmgrlang5", "")).rpartition(":")[2] or "en"
        self.payment_params: dict[str, str] = {}
        self.paymethod_params: dict[str, str] = {}
        self.currency_params: dict[str, str] = {}
        self.recurring_params: dict[str, str] = {}

    @abc.abstractmethod
    def process(self) -> None:
        """Do the work and print the answer."""

    def cgi_type(self) -> PaymentCgiType:
        """What the script is for."""
        return PaymentCgiType.Payment

    def parse_input(self) -> None:
        """Find the payment's number in `input`; a notification with another shape overrides it."""
        self.number = self.input.get("elid", "")

    def elid(self) -> str:
        """The payment's number."""
        return self.number

    def load(self) -> None:
        """Read payment.info."""
        self.payment_params, self.paymethod_params, self.currency_params = payment_parts(self.elid())

    def get_page(self, page: PageType) -> str:
        """The address of a return page."""
        values = self.payment_params
        module = self.paymethod_params.get("module", "")
        return f"{values.get('manager_url')}?func=payment.{page.value}&elid={values.get('id')}&module={module}"

    def redirect_to_url(self, url: str) -> None:
        """Send the client there."""
        sys.stdout.write(f"Status: 302 Found\nLocation: {url}\nContent-Type: text/html\n\n")


def run_cgi(kind: type[PaymentCgi]) -> None:
    """Run a script of this class."""
    script = kind()
    script.parse_input()
    script.load()
    script.process()
