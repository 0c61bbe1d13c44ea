"""A real LNbits with its fake wallet, in the environment that `make bench PEER=1` uses too: two wallets, and a payer with money.

Owns starting it, starting it again and asking it as a stranger would; must not use the rail.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from bench.peer import running

SETTINGS = {
    # Its defaults refuse a webhook on this machine.
    "LNBITS_CALLBACK_ALLOW_PRIVATE_IPS": "true",
    "LNBITS_CALLBACK_URL_RULES": r'["https?://([a-zA-Z0-9.-]+)(:\\d+)?"]',
}


@dataclass
class RealLnbits:
    """`shop` and `payer` are wallets as it answered when they were opened."""

    home: Path
    python: Path
    url: str = ""
    shop: dict[str, Any] = field(default_factory=dict)
    payer: dict[str, Any] = field(default_factory=dict)
    _running: ExitStack = field(default_factory=ExitStack)

    def start(self, settings: dict[str, str] | None = None) -> None:
        self.url = self._running.enter_context(
            running(self.home, self.python, SETTINGS if settings is None else settings)
        )

    def stop(self) -> None:
        self._running.close()

    def call(self, method: str, path: str, *, key: str | None = None, **body: Any) -> requests.Response:
        headers = {"X-Api-Key": key} if key is not None else {}
        content = {"json": body} if body else {}
        return requests.request(method, f"{self.url}/api/v1/{path}", headers=headers, timeout=20, **content)

    def make(self, sat: float = 1_500, **more: Any) -> dict[str, Any]:
        """An invoice of the shop's."""
        body = {"out": False, "unit": "sat", "amount": sat, "memo": "VPS", "expiry": 600} | more
        reply = self.call("POST", "payments", key=self.shop["inkey"], **body)
        assert reply.status_code == 201, reply.text
        return dict(reply.json())

    def pay(self, bolt11: str, *, wallet: dict[str, Any] | None = None) -> requests.Response:
        return self.call("POST", "payments", key=(wallet or self.payer)["adminkey"], out=True, bolt11=bolt11)

    def read(self, payment_hash: str, *, key: str | None = None) -> dict[str, Any]:
        reply = self.call("GET", f"payments/{payment_hash}", key=self.shop["inkey"] if key is None else key)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def fund(self, wallet: dict[str, Any], sat: int) -> None:
        """Money from nowhere: nobody can pay the fake wallet from outside."""
        made = self.call("POST", "payments", key=wallet["inkey"], out=False, unit="sat", amount=sat, memo="funds")
        with sqlite3.connect(self.home / "data" / "database.sqlite3", timeout=20) as database:
            paid = (made.json()["payment_hash"],)
            database.execute("UPDATE apipayments SET status = 'success' WHERE payment_hash = ?", paid)


@contextmanager
def real_lnbits(home: Path, python: Path) -> Iterator[RealLnbits]:
    """Up until the end of the block."""
    started = RealLnbits(home=home, python=python)
    try:
        started.start()
        started.shop, started.payer = (started.call("POST", "account", name=name).json() for name in ("shop", "payer"))
        started.fund(started.payer, 1_000_000)
        yield started
    finally:
        started.stop()
