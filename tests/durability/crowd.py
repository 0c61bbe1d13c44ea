"""Ten thousand open invoices and their payers in simulated time: only own reads find the money, callbacks are all lost.

Owns the simulation; the bridge's jobs are the real ones, each run once a simulated second.
"""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert

from bridge.context import Bridge
from bridge.core.errors import Unavailable
from bridge.core.evidence import ChainOutput, ChainReading, ProviderReading, Tip, WalletBalance
from bridge.invoices.poll import arm_watches, poll_due, sense_balance
from bridge.store import invoices
from bridge.store.tables import invoices as table
from bridge.store.tables import quotes
from tests.builders import World, build_bridge, gateway_rail
from tests.fakes import FakeMoney, FakeWallet, tip_at

DAY = 86_400
YOUNG = 1_800


class CountingWallet(FakeWallet):
    """Notes when each call came, and answers quickly: the sum of an address is kept, not searched."""

    def __init__(self, money: FakeMoney, clock: Any) -> None:
        super().__init__(money)
        self.clock = clock
        self.called_at: list[float] = []
        self.held: dict[str, int] = {}

    def _call(self) -> None:
        self.called_at.append(self.clock().timestamp())

    def poll(self, *, address: str, expected_sat: int, asked_at: Any) -> ProviderReading:
        self._call()
        total = self.held.get(address, 0)
        return ProviderReading(address=address, received_sat=total, reached=total >= expected_sat, asked_at=asked_at)

    def balance(self) -> WalletBalance:
        self._call()
        total = sum(self.held.values())
        return WalletBalance(balance_sat=total, confirmed_sat=0, unconfirmed_sat=total, immature_sat=0)

    def watch(self, **_: Any) -> None:
        self._call()
        raise Unavailable("provider_unavailable", "callbacks are lost anyway")


class CrowdChain:
    """Every payment is in a block at once: what is measured is how soon it is seen."""

    def __init__(self, wallet: CountingWallet) -> None:
        self.wallet = wallet

    def read(self, address: str, *, born_at: datetime, asked_at: datetime, known: object = ()) -> ChainReading:
        sat = self.wallet.held.get(address)
        paid = ChainOutput(outpoint=f"{address:0>64}:0", amount_sat=sat or 0, confirmations=6, replaceable=False)
        return ChainReading(
            address=address, outputs=(paid,) if sat else (), tip=self.tip(), source="crowd", asked_at=asked_at
        )

    def tip(self) -> Tip:
        return tip_at(1)


@dataclass
class Crowd:
    """`delays` is seconds from a payment to the first own sight of it, by whether the invoice was young."""

    bridge: Bridge
    world: World
    wallet: CountingWallet
    random: random.Random
    delays: dict[str, list[float]] = field(default_factory=lambda: {"young": [], "old": []})
    unseen: dict[str, tuple[float, str]] = field(default_factory=dict)

    def run(self, seconds: int, *, paid_per_minute: float, exact: float = 0.95) -> None:
        """Nine of ten payers pay while their invoice is young, the rest within the day; a few pay another sum than asked."""
        for second in range(seconds):
            self.world.clock.advance(1)
            if self.random.random() < paid_per_minute / 60:
                self._pay(exact=exact)
            if second % 9 == 0:
                self._open()
            sense_balance(self.bridge, owner="w")
            poll_due(self.bridge, owner="w", limit=8, submit=self._look)
            if second % 5 == 0:
                arm_watches(self.bridge, limit=2)

    def most_calls_in_a_minute(self) -> int:
        times = self.wallet.called_at
        most = start = 0
        for end, at in enumerate(times):
            while times[start] <= at - 60:
                start += 1
            most = max(most, end - start + 1)
        return most

    def _look(self, work: Any) -> None:
        work()
        seen = [address for address in self.unseen if self._is_seen(address)]
        for address in seen:
            paid_at, age = self.unseen.pop(address)
            self.delays[age].append(self.world.clock().timestamp() - paid_at)

    def _is_seen(self, address: str) -> bool:
        with self.bridge.store.read() as tx:
            row = invoices.find(tx, address=address)
        return row is not None and bool(row.provider_sat)

    def _pay(self, *, exact: float) -> None:
        is_young, now = self.random.random() < 0.9, self.world.clock()
        with self.bridge.store.read() as tx:
            chosen = table.c.created_at > now - timedelta(seconds=YOUNG)
            query = table.select().where(chosen if is_young else ~chosen, table.c.received_sat == 0)
            row = self.random.choice(tx.execute(query.where(table.c.status == "new").limit(300)).all())
        if row.address in self.wallet.held:
            return
        sat = row.remaining_sat if self.random.random() < exact else row.remaining_sat + self.random.randrange(1, 5_000)
        self.wallet.held[row.address] = sat
        self.unseen[row.address] = (now.timestamp(), "young" if is_young else "old")

    def _open(self) -> None:
        add_invoices(self.bridge, self.world, self.random, [0])


def gather(database_url: str, *, open_invoices: int, calls_per_minute: int, seed: int) -> Crowd:
    """A bridge with so many open invoices of every age up to a day, each last read at some time since it was opened."""
    world, chance = World(), random.Random(seed)
    wallet = CountingWallet(world.money, world.clock)
    bridge = build_bridge(
        database_url,
        world=world,
        rails=(gateway_rail(wallet, calls_per_minute=calls_per_minute),),
        chain=CrowdChain(wallet),
    )
    add_invoices(bridge, world, chance, [chance.randrange(DAY - 60) for _ in range(open_invoices)])
    return Crowd(bridge=bridge, world=world, wallet=wallet, random=chance)


_numbers = iter(range(10**9))


def add_invoices(bridge: Bridge, world: World, chance: random.Random, ages: list[int]) -> None:
    """Rows as opening would have left them, without asking the fake worlds ten thousand times."""
    rows, priced = [], []
    for age in ages:
        number, created_at = next(_numbers), world.clock() - timedelta(seconds=age)
        due_sat = chance.randrange(5_000, 500_000)
        row = {"id": f"inv_{number}", "public_id": f"p{number}", "address": f"a{number}", "trace_id": f"t{number}"}
        row |= {"billing_payment_id": f"{number}", "callback_token_sha256": f"c{number}", "merchant": "shop"}
        row |= {"amount_minor": 1_000, "currency": "USD", "network": "test", "wallet_id": "wt_test", "rule": "default"}
        row |= {"policy_version": "1", "status": "new", "exception": "none", "reason": "awaiting_payment"}
        row |= {
            "remaining_sat": due_sat,
            "created_at": created_at,
            "updated_at": created_at,
            "next_look_at": created_at,
        }
        row |= {"expires_at": created_at + timedelta(days=1), "monitor_until": created_at + timedelta(days=8)}
        row |= {"look_class": 1 if age < YOUNG else 3, "rule_terms": bridge.merchants["shop"].policy.default.terms()}
        if age:
            read_at = world.clock() - timedelta(seconds=chance.randrange(min(age, 3_600)))
            row |= {"provider_sat": 0, "provider_asked_at": read_at, "watched_until": None}
            row["next_look_at"] = world.clock() - timedelta(seconds=chance.randrange(600))
        else:
            row |= {"provider_sat": None, "provider_asked_at": None, "watched_until": None}
        rows.append(row)
        quote = {"invoice_id": row["id"], "version": 1, "kind": "offer", "currency": "USD", "base_minor": 1_000}
        quote |= {"price_minor": 6_500_000, "risk_bps": 0, "fee_buffer_minor": 0, "due_sat": due_sat, "samples": "[]"}
        quote |= {"effective_from": created_at, "expires_at": created_at + timedelta(minutes=15)}
        priced.append(quote | {"created_at": created_at, "policy_version": "1"})
    with bridge.store.write() as tx:
        tx.execute(insert(table), rows)
        tx.execute(insert(quotes), priced)
