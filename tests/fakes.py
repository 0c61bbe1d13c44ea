"""Small hand-written stand-ins for the outside worlds, and a clock that a test moves.

Owns one shared picture of money on addresses, so that wallet and chain agree unless a test makes them disagree; must not
copy any rule of the bridge.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from btclib import b32

from bridge.core.errors import Unavailable
from bridge.core.evidence import (
    Answer,
    ChainOutput,
    ChainReading,
    Fate,
    Health,
    KnownOutput,
    PricePart,
    ProviderReading,
    Sample,
    Tip,
    WalletBalance,
)

START = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
_PREFIX_NETWORK = {"main": "mainnet", "test": "testnet", "signet": "signet", "regtest": "regtest"}


def tip_at(height: int, time: datetime = START) -> Tip:
    return Tip(height=height, hash=hashlib.sha256(f"block {height}".encode()).hexdigest(), time=time)


class SettableClock:
    """Says the same time until a test moves it."""

    def __init__(self, now: datetime = START):
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


@dataclass
class FakeOutput:
    """One output on the simulated chain; a test changes it in place."""

    address: str
    outpoint: str
    amount_sat: int
    confirmations: int = 0
    replaceable: bool = False
    gone: bool = False


@dataclass
class FakeMoney:
    """Everything that was ever paid to any address."""

    outputs: list[FakeOutput] = field(default_factory=list)
    height: int = 800_000

    def pay(self, address: str, amount_sat: int, *, confirmations: int = 0, replaceable: bool = False) -> FakeOutput:
        txid = hashlib.sha256(f"{address} {len(self.outputs)}".encode()).hexdigest()
        paid = FakeOutput(address, f"{txid}:0", amount_sat, confirmations, replaceable)
        self.outputs.append(paid)
        return paid

    def mine(self, blocks: int = 1) -> None:
        self.height += blocks
        for output in self.outputs:
            output.confirmations += blocks

    def on(self, address: str) -> list[FakeOutput]:
        return [o for o in self.outputs if o.address == address and not o.gone]


class FakeWallet:
    """The gateway: valid addresses of the network, totals from the shared money. `fails_with` makes every call raise."""

    def __init__(self, money: FakeMoney, *, network: str = "test"):
        self.money, self.network = money, network
        self.fails_with: Exception | None = None
        self.reports_sat: dict[str, int] = {}
        self.addresses: list[str] = []
        self.watches: list[tuple[str, str]] = []
        self.polls: list[str] = []
        self.server_time: datetime | None = None
        self.fee_bps: int | None = 300

    def create_inbox(self, *, expected_sat: int) -> str:
        self._maybe_fail()
        program = hashlib.sha256(f"inbox {len(self.addresses)}".encode()).digest()[:20]
        self.addresses.append(b32.address_from_witness(0, program, _PREFIX_NETWORK[self.network]))
        return self.addresses[-1]

    def poll(self, *, address: str, expected_sat: int, asked_at: datetime) -> ProviderReading:
        self._maybe_fail()
        self.polls.append(address)
        total = self.reports_sat.get(address, sum(o.amount_sat for o in self.money.on(address)))
        return ProviderReading(address=address, received_sat=total, reached=total >= expected_sat, asked_at=asked_at)

    def balance(self) -> WalletBalance:
        self._maybe_fail()
        confirmed = sum(o.amount_sat for o in self.money.outputs if not o.gone and o.confirmations)
        waiting = sum(o.amount_sat for o in self.money.outputs if not o.gone and not o.confirmations)
        return WalletBalance(
            balance_sat=confirmed + waiting, confirmed_sat=confirmed, unconfirmed_sat=waiting, immature_sat=0
        )

    def watch(self, *, address: str, expected_sat: int, timeout_seconds: int, callback_url: str) -> None:
        self._maybe_fail()
        self.watches.append((address, callback_url))

    def health(self) -> Health:
        self._maybe_fail()
        return Health(ok=True, fee_bps=self.fee_bps, min_send_sat=50_000, server_time=self.server_time)

    def _maybe_fail(self) -> None:
        if self.fails_with is not None:
            raise self.fails_with


class FakeChain:
    """A chain reader over the shared money that has searched everything. `hides` keeps addresses from it, `fails_with` makes
    every call raise.
    """

    def __init__(self, money: FakeMoney):
        self.money = money
        self.fails_with: Exception | None = None
        self.hides: set[str] = set()

    def read(
        self, address: str, *, born_at: datetime, asked_at: datetime, known: Sequence[KnownOutput] = ()
    ) -> ChainReading:
        tip = self.tip()
        found = [] if address in self.hides else self.money.on(address)
        there = {o.outpoint for o in self.money.on(address)}
        return ChainReading(
            address=address,
            outputs=tuple(self._output(o) for o in found),
            tip=tip,
            source="fake",
            asked_at=asked_at,
            fates={k.outpoint: Fate(code="rival_confirmed") for k in known if k.outpoint not in there},
        )

    def _output(self, paid: FakeOutput) -> ChainOutput:
        block = tip_at(self.money.height - paid.confirmations + 1) if paid.confirmations else None
        return ChainOutput(
            outpoint=paid.outpoint,
            amount_sat=paid.amount_sat,
            confirmations=paid.confirmations,
            replaceable=paid.replaceable,
            block_height=block.height if block else None,
            block_hash=block.hash if block else None,
        )

    def tip(self) -> Tip:
        if self.fails_with is not None:
            raise self.fails_with
        return tip_at(self.money.height)


class FakeRates:
    """Price sources that agree, or each `apart_bps` above the one before.

    Prices are minor units for one bitcoin; take a currency out and there is no price. `parts` make the first a cross rate.
    """

    def __init__(self, prices: dict[str, int] | None = None, *, sources: tuple[str, ...] = ("alpha", "beta", "gamma")):
        self.prices = prices if prices is not None else {"USD": 6_500_000, "RUB": 520_000_000, "JPY": 9_800_000}
        self.sources = sources
        self.apart_bps = 0
        self.parts: tuple[PricePart, ...] = ()

    def sample(self, currency: str, now: datetime) -> tuple[Sample, ...]:
        if currency not in self.prices:
            raise Unavailable("price_unavailable", "No source answers.", retry_after_seconds=30)
        price = self.prices[currency]
        return tuple(
            Sample(
                source=name,
                currency=currency,
                price_minor=price + place * self.apart_bps * price // 10_000,
                observed_at=now,
                parts=self.parts if place == 0 else (),
            )
            for place, name in enumerate(self.sources)
        )


class FakeBilling:
    """The merchant's endpoint: keeps what it is told, answers from `answers` and then "delivered"."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, bytes]] = []
        self.answers: list[Answer] = []

    def notify(self, merchant: str, *, event_id: str, body: bytes, now: datetime) -> Answer:
        self.told.append((merchant, event_id, body))
        return self.answers.pop(0) if self.answers else answer("delivered", 200)


def answer(outcome: str, status: int | None, *, retry_after_seconds: int | None = None) -> Answer:
    """An endpoint's answer; `outcome` is delivered, retry or parked."""
    return Answer(
        outcome=outcome,
        status=status,
        latency_ms=1,
        retry_after_seconds=retry_after_seconds,
        body_excerpt="",
        body_sha256=hashlib.sha256(b"").hexdigest(),
        error=None if outcome == "delivered" else f"http_{status}",
    )
