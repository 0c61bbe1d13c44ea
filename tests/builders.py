"""Builders with defaults: a bridge over a real store and fake worlds, and what tests open with it.

Owns defaults only; must not assert anything.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, text

from bridge.context import Bridge, Merchant
from bridge.core.policy import Policy
from bridge.core.rail import Rail
from bridge.invoices.open_invoice import NewInvoice
from bridge.metrics import Metrics
from bridge.rails.subtc import Wallet, doorbell_at, receiving_rail
from bridge.store.db import open_store
from tests.fakes import FakeBilling, FakeChain, FakeMoney, FakeRates, FakeWallet, SettableClock

PUBLIC_URL = "https://pay.example"


@dataclass(kw_only=True)
class World:
    """The outside of one bridge, to be turned by a test."""

    money: FakeMoney = field(default_factory=FakeMoney)
    clock: SettableClock = field(default_factory=SettableClock)
    rates: FakeRates = field(default_factory=FakeRates)
    billing: FakeBilling = field(default_factory=FakeBilling)
    network: str = "test"
    wallet: FakeWallet = field(init=False)
    chain: FakeChain = field(init=False)

    def __post_init__(self) -> None:
        self.wallet = FakeWallet(self.money, network=self.network)
        self.chain = FakeChain(self.money)


def build_merchant(id: str = "shop", **overrides: Any) -> Merchant:
    """A merchant that takes USD, RUB and JPY under the default policy."""
    fields: dict[str, Any] = {"currencies": ("USD", "RUB", "JPY"), "policy": Policy(), "wants_push": True}
    return Merchant(id=id, **fields | overrides)


def build_bridge(database_url: str, *, world: World | None = None, **overrides: Any) -> Bridge:
    """A bridge over `database_url`; any field of Bridge may be overridden. The caller closes `bridge.store`."""
    world = world or World()
    fields: dict[str, Any] = {
        "rails": (gateway_rail(world.wallet),),
        "chain": world.chain,
        "rates": world.rates,
        "billing": world.billing,
        "clock": world.clock,
        "merchants": {"shop": build_merchant()},
        "network": world.network,
        "public_url": PUBLIC_URL,
        "callback_token": callback_token,
        "metrics": Metrics(),
    }
    fields |= overrides
    if "store" not in fields:
        fields["store"] = open_store(database_url, pool_size=5)
    return Bridge(**fields)


def gateway_rail(wallet: Wallet, wallet_id: str = "wt_test", **changes: Any) -> Rail:
    """A gateway's wallet as the rail that new invoices are paid over."""
    return receiving_rail(wallet, wallet_id, doorbell=doorbell_at(PUBLIC_URL), **changes)


def with_rail(bridge: Bridge, **changes: Any) -> Bridge:
    """The same bridge, and something else about the rail that new invoices are paid over."""
    others = tuple(rail for rail in bridge.rails if rail is not bridge.receiving)
    return replace(bridge, rails=(replace(bridge.receiving, **changes), *others))


def callback_token(invoice_id: str) -> str:
    """The token of an invoice's callback address in tests."""
    return f"token-of-{invoice_id}"


def build_request(billing_payment_id: str = "1001", **overrides: Any) -> NewInvoice:
    """A request for USD 10.00."""
    fields: dict[str, Any] = {"amount_text": "10.00", "currency": "USD", "description": "VPS Start, 1 month"}
    return NewInvoice.of(billing_payment_id=billing_payment_id, **fields | overrides)


def unguard(tx: Connection, *tables: str) -> None:
    """Somebody who owns the database gets past the triggers of these tables: in this transaction, in a file for ever."""
    if tx.dialect.name == "postgresql":
        tx.execute(text("SET LOCAL session_replication_role = replica"))
        return
    guards = text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :name")
    for table in tables:
        for trigger in tx.execute(guards, {"name": table}).scalars().all():
            tx.execute(text(f"DROP TRIGGER {trigger}"))
