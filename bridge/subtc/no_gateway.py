"""The port Wallet where there is no gateway: the shop's own wallet takes the money, and nothing here can touch it.

Owns one refusal; must not pretend that anything was asked.
"""

from datetime import datetime
from typing import NoReturn

from bridge.core.errors import Unavailable


class NoGateway:
    """Every call is refused the same way; flows ask `Bridge.has_gateway` first."""

    def create_inbox(self, *, expected_sat: int) -> NoReturn:
        raise _refusal()

    def poll(self, *, address: str, expected_sat: int, asked_at: datetime) -> NoReturn:
        raise _refusal()

    def balance(self) -> NoReturn:
        raise _refusal()

    def watch(self, *, address: str, expected_sat: int, timeout_seconds: int, callback_url: str) -> NoReturn:
        raise _refusal()

    def health(self) -> NoReturn:
        raise _refusal()

    def send(self, *, destination: str, gross_sat: int, idempotency_key: str) -> NoReturn:
        raise _refusal()

    def close(self) -> None:
        """Nothing was opened."""


def _refusal() -> Unavailable:
    return Unavailable("no_gateway", "There is no gateway: payers pay to the shop's own wallet.")
