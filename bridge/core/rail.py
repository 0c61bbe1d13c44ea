"""The seam between what is decided about money and the ways that it travels: a rail offers, observes, sends, says balance and health.

Owns the ports and the values Rail and Target; must not know any rail, nor speak to one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bridge.core.evidence import ChainReading, Health, KnownOutput, ProviderReading, Sent, Tip, WalletBalance
from bridge.core.ledger import WALLETS
from bridge.core.money import BTC
from bridge.core.offering import BITCOIN

# Who says what came to a target: the chain alone; the chain and, as a sum, the rail itself; the rail alone, as facts.
CHAIN, TOTAL_AND_CHAIN, RAIL = WITNESSES = ("chain", "total+chain", "rail")


# Of a sum so small that its share would not carry it anywhere.
LEAST_ROUTE_SAT = 10


def most_route_sat(sat: int, *, most_bps: int) -> int:
    """The most that a route may cost beside a sum."""
    return max(sat * most_bps // 10_000, LEAST_ROUTE_SAT)


def way_of(account: str) -> str:
    """What payers call the way to pay whose money stands on this account."""
    return WALLETS.get(account) or BITCOIN


class WalletReader(Protocol):
    """What came to an address as a sum, in the word of who keeps the wallet.

    Raises Unavailable when it cannot answer, Refused when it will not, ProtocolError when it answers nonsense.
    """

    def poll(self, *, address: str, expected_sat: int, asked_at: datetime) -> ProviderReading: ...

    def watch(self, *, address: str, expected_sat: int, timeout_seconds: int, callback_url: str) -> None: ...

    def close(self) -> None: ...


class Sender(Protocol):
    """A wallet that money leaves from."""

    def send(self, *, destination: str, gross_sat: int, idempotency_key: str) -> Sent:
        """Raises OutcomeUnknown when it may have happened, Unavailable when it surely has not, Refused when this call
        was refused, which says nothing about an earlier one with the same key.
        """
        ...

    def close(self) -> None: ...


class Payees(Protocol):
    """Where a sender that is asked for payments, not given addresses, sends to."""

    def read(self, text: str, *, sat: int, now: datetime) -> "Offer":
        """The request for exactly `sat` that a text is or leads to: asks a stranger's server for the latter, so never inside a
        transaction. Raises Refused naming the field, Unavailable or ProtocolError.
        """
        ...

    def close(self) -> None: ...


class AddressSource(Protocol):
    """A wallet known by its public keys alone: an index has the same address for ever. Raises Refused when it has none there."""

    @property
    def wallet_id(self) -> str: ...

    @property
    def warning(self) -> str: ...

    def address(self, index: int) -> str: ...


class Evidence(Protocol):
    """Facts about a target, with what they cover. Raises Unavailable when no reader can answer."""

    def read(
        self, address: str, *, born_at: datetime, asked_at: datetime, known: Sequence[KnownOutput] = ()
    ) -> ChainReading:
        """What pays the target, searched from `born_at` on if the source can; the reading says what it covers, and what
        became of the `known` outputs that it does not list.
        """
        ...

    def close(self) -> None: ...


class Chain(Evidence, Protocol):
    """Evidence that stands in blocks."""

    def tip(self) -> Tip: ...


@dataclass(frozen=True, kw_only=True)
class Doorbell:
    """Who pays is told of by a callback to `url` + "/" + the invoice's token, armed for `seconds` at a time."""

    url: str
    seconds: int


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a rail is asked for. `due_units` are of its asset's smallest unit.

    `reference` is ours and the same at every try of the same offer: a rail whose answer was lost finds by it what it made, before
    it makes a second; nothing else reads it. `is_first_try`: no earlier try can have made anything, so there is nothing to find.
    `memo` is what the payer's wallet may show, so it holds nothing personal and, where the rail has another place for it, nothing of
    ours. A rail with a doorbell may be told where it rings for this invoice, `ring_url`.
    """

    due_units: int
    reference: str
    memo: str = ""
    expires_at: datetime | None = None
    ring_url: str = ""
    is_first_try: bool = False


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a rail answers: `text` is what the payer pays to, `key` what the rail knows it by, None: the text itself.

    `expires_at` None: as long as it is watched.
    """

    text: str
    key: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Rail:
    """One wallet and what can be done with it. What cannot be done is None.

    `name` is the rail's file in `bridge.rails` and is stored with each of its targets, for ever. Money paid to it stands on the
    account wallet:`role` of the books; a role is sent from by one rail. New targets come from `derives` (a function of the next
    index, nothing is asked) or from `asks` (each is a call, made outside of transactions); a rail with neither only follows what
    it offered before. One that `is_beside` is offered beside an invoice's first target, when its payer asks, never as the first.
    `reader` is its own word as a sum, `evidence` its facts; a rail in blocks has the facts of the chain reader.
    """

    name: str
    wallet_id: str
    role: str
    witness: str
    asset: str = BTC
    derives: AddressSource | None = None
    asks: Callable[[Wanted], Offer] | None = None
    is_beside: bool = False
    spares: int = 0
    reader: WalletReader | None = None
    evidence: Evidence | None = None
    sends: Sender | None = None
    # Of a sender that pays requests: it reads them; what it says itself came of one, None when nothing left, raises
    # OutcomeUnknown while it may still leave; and the most that a route may cost beside a sum.
    payees: Payees | None = None
    told: Callable[[str, int], Sent | None] | None = None
    most_route_bps: int = 0
    # More than this should not lie there; 0 is no cap of its own.
    max_held_sat: int = 0
    # What the whole wallet holds; raises what `reader` raises.
    balance: Callable[[], WalletBalance] | None = None
    health: Callable[[], Health] | None = None
    # Of the program behind it, "" where it does not say: a long answer perhaps, so only the doctor asks. `tried_with` is how the
    # versions begin that the rail was held against.
    version: Callable[[], str] | None = None
    tried_with: tuple[str, ...] = ()
    doorbell: Doorbell | None = None
    # Whether a callback's headers and body are signed as they should be; None while nothing is known of signatures.
    callback_check: Callable[[Mapping[str, str], bytes], bool] | None = None
    # The least and the most that can be asked for over it, in its asset's smallest unit; None is no limit of its own.
    least_units: int = 1
    most_units: int | None = None
    calls_per_minute: int = 60
    # What it takes of a send; None while nobody names it.
    fee_bps: int | None = None

    @property
    def way(self) -> str:
        """What payers call it."""
        return way_of(self.account)

    @property
    def is_offered(self) -> bool:
        """Whether new invoices may be paid over it."""
        return self.derives is not None or self.asks is not None

    @property
    def account(self) -> str:
        """Where its money stands in the books."""
        return f"wallet:{self.role}"

    def close(self) -> None:
        """Drops its connections."""
        for part in {id(part): part for part in (self.reader, self.sends, self.evidence, self.payees)}.values():
            if part is not None:
                part.close()


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where one invoice is paid to over one rail: `text` is an address, or what stands for one. It never changes.

    `due_units` were asked for when it was offered, in the asset's smallest unit. `key` is what its rail knows it by where that is not
    the text: it belongs to one invoice for ever. `expires_at` None: as long as the invoice is watched.
    """

    rail: str
    asset: str
    wallet_id: str
    text: str
    account: str
    witness: str
    due_units: int
    created_at: datetime
    expires_at: datetime | None = None
    key: str | None = None
    id: int | None = None

    @property
    def way(self) -> str:
        """What payers call it."""
        return way_of(self.account)

    @property
    def is_on_chain(self) -> bool:
        """Whether the chain says what came."""
        return self.witness != RAIL

    @property
    def is_told(self) -> bool:
        """Whether the rail itself says a sum, beside the chain."""
        return self.witness == TOTAL_AND_CHAIN
