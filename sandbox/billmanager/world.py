"""Owns the billing records under one lock. It must not know HTTP, XML or modules."""

from __future__ import annotations

import json
import secrets
import string
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

from sandbox.billmanager.rows import (
    Account,
    BillingPayment,
    Currency,
    Debt,
    HistoryRow,
    LedgerRow,
    Order,
    Paymethod,
    Service,
    Session,
    User,
)

CENT = Decimal("0.01")
ROOT_LEVEL, USER_LEVEL = 30, 16


KINDS: dict[str, type[Any]] = {
    "users": User,
    "accounts": Account,
    "currencies": Currency,
    "paymethods": Paymethod,
    "payments": BillingPayment,
    "history": HistoryRow,
    "orders": Order,
    "services": Service,
    "debts": Debt,
    "ledger": LedgerRow,
}


class World:
    """All records by kind and id. Take `change()` around every write; `path` keeps them in a JSON file."""

    def __init__(self, *, path: Path | None = None) -> None:
        self.lock = threading.RLock()
        self.path = path
        self.users: dict[int, User] = {}
        self.accounts: dict[int, Account] = {}
        self.currencies: dict[int, Currency] = {}
        self.paymethods: dict[int, Paymethod] = {}
        self.payments: dict[int, BillingPayment] = {}
        self.history: dict[int, HistoryRow] = {}
        self.orders: dict[int, Order] = {}
        self.services: dict[int, Service] = {}
        self.debts: dict[int, Debt] = {}
        self.ledger: dict[int, LedgerRow] = {}
        self.sessions: dict[str, Session] = {}
        self.login_keys: dict[str, int] = {}
        self.events: list[dict[str, Any]] = []
        self.next_ids: dict[str, int] = {}
        if path is not None and path.exists():
            self._load(json.loads(path.read_text("utf-8")))
        else:
            seed(self)

    def next_id(self, kind: str) -> int:
        """A fresh number for a record of this kind; never given twice, also after a delete."""
        number = self.next_ids.get(kind, 1)
        self.next_ids[kind] = number + 1
        return number

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the lock and save afterwards when a file was given."""
        with self.lock:
            yield
            if self.path is not None:
                self._save(self.path)

    def reset(self, *, next_payment_id: int = 1) -> None:
        """Forget everything but the first users and currencies."""
        with self.change():
            for kind in KINDS:
                getattr(self, kind).clear()
            for rest in (self.sessions, self.login_keys, self.next_ids):
                rest.clear()
            self.events.clear()
            seed(self)
            self.next_ids["payments"] = next_payment_id

    def user_named(self, name: str) -> User | None:
        """The user with this login name."""
        return next((user for user in self.users.values() if user.name == name), None)

    def payment_history(self, payment_id: int) -> list[HistoryRow]:
        """The history of one payment, oldest first."""
        with self.lock:
            return [row for row in self.history.values() if row.reference == payment_id]

    def _save(self, path: Path) -> None:
        kept = {kind: [asdict(row) for row in getattr(self, kind).values()] for kind in KINDS}
        kept |= {"events": list(self.events), "next_ids": self.next_ids}  # type: ignore[dict-item]
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(kept, default=str, ensure_ascii=False), "utf-8")
        fresh.replace(path)

    def _load(self, kept: dict[str, Any]) -> None:
        for kind, record in KINDS.items():
            for row in kept[kind]:
                made = record(**{f.name: _typed(f.type, row[f.name]) for f in fields(record)})
                getattr(self, kind)[made.id] = made
        self.events, self.next_ids = kept["events"], kept["next_ids"]


def _typed(kind: Any, value: Any) -> Any:
    return Decimal(value) if kind == "Decimal" else value


def random_text(length: int) -> str:
    """Letters and digits, as BILLmanager's randomnumber."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))


def seed(world: World) -> None:
    """The first records: two administrators, two clients, five currencies (numbers other than 126 are made up)."""
    people = [
        (1, "root", "root", ROOT_LEVEL, "Root", "root@billing.example", 0),
        (2, "admin", "admin", ROOT_LEVEL, "Administrator", "admin@billing.example", 0),
        (4, "demo", "demo", USER_LEVEL, "Demo Client", "client@example.com", 1),
        (5, "other", "other", USER_LEVEL, "Other Client", "other@example.com", 2),
    ]
    for number, name, password, level, realname, email, account in people:
        world.users[number] = User(
            id=number, name=name, password=password, level=level, realname=realname, email=email, account=account
        )
    for number, user in ((1, 4), (2, 5)):
        world.accounts[number] = Account(id=number, user=user, currency=126)
    for number, iso, code, text, russian, rate in (
        (126, "RUB", "643", "Russian Ruble", "Российский рубль", "1"),
        (153, "USD", "840", "US Dollar", "Доллар США", "90"),
        (49, "EUR", "978", "Euro", "Евро", "100"),
        (75, "JPY", "392", "Yen", "Иена", "0.6"),
        (13, "BYN", "933", "Belarusian Ruble", "Белорусский рубль", "28"),
    ):
        world.currencies[number] = Currency(
            id=number, iso=iso, code=code, name=text, name_ru=russian, per_rub=Decimal(rate)
        )


def convert(world: World, *, value: Decimal, source: int, target: int) -> Decimal:
    """A value of one currency in another, to the cent."""
    if source == target:
        return value.quantize(CENT)
    rate = world.currencies[source].per_rub / world.currencies[target].per_rub
    return (value * rate).quantize(CENT)
