"""A rail of the tests that speaks for itself, as a Lightning node does: it makes what is paid once, and says what became of it.

Owns its own few states; must not copy a rule of the bridge.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from bridge.core.errors import ProtocolError, Unavailable
from bridge.core.evidence import FINAL, NOT_IN_BLOCKS, ChainOutput, ChainReading, Health, KnownOutput, WalletBalance
from bridge.core.rail import RAIL, Offer, Rail, Wanted
from sandbox import bolt11
from tests.fakes import START

WALLET = "ln_toy"


@dataclass
class Made:
    """One invoice of the node. `state` is open, held, paid or failed."""

    key: str
    text: str
    sat: int
    expires_at: datetime | None
    state: str = "open"
    paid_msat: int = 0
    paid_at: datetime | None = None


@dataclass
class ToyNode:
    """What stands behind the rail. A test pays, holds, forgets and silences it; `asked` are the references it was asked with."""

    made: dict[str, Made] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    memos: list[str] = field(default_factory=list)
    first_tries: list[bool] = field(default_factory=list)
    ring_urls: list[str] = field(default_factory=list)
    reads: int = 0
    # Texts of which it answers nonsense, and what happens while it is read.
    nonsense_about: set[str] = field(default_factory=set)
    on_read: Callable[[], None] = lambda: None
    is_silent: bool = False
    # Raised after the invoice was made, as when the answer is lost.
    loses_answers: bool = False
    spoils: dict[str, Any] = field(default_factory=dict)
    stands: Health = field(default_factory=lambda: Health(ok=True, fee_bps=None, min_send_sat=None, server_time=None))
    health_asked: int = 0

    def asks(self, wanted: Wanted) -> Offer:
        self.asked.append(wanted.reference)
        self.memos.append(wanted.memo)
        self.first_tries.append(wanted.is_first_try)
        self.ring_urls.append(wanted.ring_url)
        self._answer()
        key = hashlib.sha256(wanted.reference.encode()).hexdigest()
        text = self.text_of(wanted, key)
        self.made.setdefault(text, Made(key=key, text=text, sat=wanted.due_units, expires_at=wanted.expires_at))
        if self.loses_answers:
            raise Unavailable("rail_unavailable", "The answer was lost.")
        return replace(Offer(text=text, key=key, expires_at=wanted.expires_at), **self.spoils)

    def text_of(self, wanted: Wanted, key: str) -> str:
        """What its payers pay to."""
        return f"lntoy{wanted.due_units}x{key[:24]}"

    def read(
        self, address: str, *, born_at: datetime, asked_at: datetime, known: Sequence[KnownOutput] = ()
    ) -> ChainReading:
        self.reads += 1
        self.on_read()
        self._answer()
        if address in self.nonsense_about:
            raise ProtocolError("rail_nonsense", "The node answers nonsense.")
        made = self.made.get(address)
        outputs = (self._output(made),) if made is not None and made.state == "paid" else ()
        gap = "rail_forgot" if made is None else ""
        return ChainReading(
            address=address, outputs=outputs, tip=NOT_IN_BLOCKS, source="toy", asked_at=asked_at, gap=gap
        )

    def balance(self) -> WalletBalance:
        self._answer()
        sat = sum(made.paid_msat // 1000 for made in self.made.values())
        return WalletBalance(balance_sat=sat, confirmed_sat=sat, unconfirmed_sat=0, immature_sat=0)

    def health(self) -> Health:
        self.health_asked += 1
        self._answer()
        return self.stands

    def pay(self, text: str, *, msat: int | None = None, at: datetime) -> None:
        """Somebody pays it, whether it is over or not."""
        made = self.made[text]
        made.state, made.paid_msat, made.paid_at = "paid", msat or made.sat * 1000, at

    def close(self) -> None:
        """It has no connections."""

    def _output(self, made: Made) -> ChainOutput:
        return ChainOutput(
            outpoint=f"{made.key}:0",
            amount_sat=made.paid_msat // 1000,
            amount_msat=made.paid_msat,
            confirmations=FINAL,
            replaceable=False,
            block_time=made.paid_at,
        )

    def _answer(self) -> None:
        if self.is_silent:
            raise Unavailable("rail_unavailable", "The node does not answer.")


class BoltNode(ToyNode):
    """One whose invoices are as long as real ones, and real to who reads them."""

    def text_of(self, wanted: Wanted, key: str) -> str:
        asked = bolt11.Asked(
            prefix="tb",
            payment_hash=key,
            made_at=int(START.timestamp()),
            amount_msat=wanted.due_units * 1_000,
            expiry_s=900,
            memo=wanted.memo,
        )
        return bolt11.write(asked, private_key=7)


def toy_rail(node: ToyNode, **changes: Any) -> Rail:
    """The node as a rail that is offered beside the first."""
    fields: dict[str, Any] = {
        "name": "toy",
        "wallet_id": WALLET,
        "role": "lightning",
        "witness": RAIL,
        "asks": node.asks,
        "is_beside": True,
        "evidence": node,
        "balance": node.balance,
        "health": node.health,
        "calls_per_minute": 1_000,
    }
    return Rail(**fields | changes)


SHORT = timedelta(minutes=10)
