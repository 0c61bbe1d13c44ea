"""What a flow needs of the world: the bridge's parts and the ports they fill.

Owns the port definitions; must not name a concrete client, `bridge.runtime` does.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from bridge.core.books import BookRules
from bridge.core.evidence import (
    Answer,
    ChainReading,
    Health,
    KnownOutput,
    ProviderReading,
    Sample,
    Sent,
    Tip,
    WalletBalance,
)
from bridge.core.ledger import is_own_wallet
from bridge.core.payout import Approvals, PayoutRules
from bridge.core.policy import Policy
from bridge.core.quote import Guards, Rate
from bridge.core.screening import Screened, Subject
from bridge.core.stage import Stage
from bridge.core.treasury import TreasuryRules
from bridge.flows.calls_ahead import CallsAhead
from bridge.metrics import Metrics
from bridge.store.db import Store


class WalletReader(Protocol):
    """What a wallet at a gateway received and holds.

    Raises Unavailable when it cannot answer, Refused when it will not, ProtocolError when it answers nonsense.
    """

    def poll(self, *, address: str, expected_sat: int, asked_at: datetime) -> ProviderReading: ...

    def balance(self) -> WalletBalance: ...

    def watch(self, *, address: str, expected_sat: int, timeout_seconds: int, callback_url: str) -> None: ...

    def close(self) -> None: ...


class Wallet(WalletReader, Protocol):
    """The Bitcoin wallet at the gateway that takes and sends money now."""

    def create_inbox(self, *, expected_sat: int) -> str: ...

    def health(self) -> Health: ...

    def send(self, *, destination: str, gross_sat: int, idempotency_key: str) -> Sent:
        """Raises OutcomeUnknown when it may have happened, Unavailable when it surely has not, Refused when this call
        was refused, which says nothing about an earlier one with the same key.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class FormerWallet:
    """A wallet at a gateway that took payments until another one did: its invoices are read to their end, nothing leaves it.

    `role` is what it was, hot or billing: its money stands on that account of the books.
    """

    role: str
    reader: WalletReader


class AddressSource(Protocol):
    """A wallet of the shop's own, known by its public keys alone: an index has the same address for ever.

    Raises Refused when it has no address there.
    """

    @property
    def wallet_id(self) -> str: ...

    @property
    def warning(self) -> str: ...

    def address(self, index: int) -> str: ...


class Chain(Protocol):
    """Independent evidence about an address. Raises Unavailable when no reader can answer."""

    def read(
        self, address: str, *, born_at: datetime, asked_at: datetime, known: Sequence[KnownOutput] = ()
    ) -> ChainReading:
        """What pays the address, searched from `born_at` on if the source can; the reading says what it covers, and what
        became of the `known` outputs that it does not list.
        """
        ...

    def tip(self) -> Tip: ...

    def close(self) -> None: ...


class Rates(Protocol):
    """Price samples of all sources that answer; which of them make a price is `core.quote`'s rule."""

    def sample(self, currency: str, now: datetime) -> tuple[Sample, ...]: ...

    def close(self) -> None: ...


class Billing(Protocol):
    """The merchant's notify endpoint. Never raises for an answer: the Answer says delivered, retry or parked."""

    def notify(self, merchant: str, *, event_id: str, body: bytes, now: datetime) -> Answer: ...

    def close(self) -> None: ...


class Screening(Protocol):
    """Lists and commands that say who must not be served unasked. Never raises: what cannot say answers "pending"."""

    def version(self) -> str: ...

    def screen(self, subject: Subject) -> Screened: ...


@dataclass(frozen=True, kw_only=True)
class LoginRules:
    """How long a session lives at most and without a sign of life, and when guessing is locked out."""

    session_seconds: int = 43_200
    idle_seconds: int = 1_800
    failures_before_lock: int = 5
    lock_seconds: int = 900


class Signer(Protocol):
    """The key that signs receipts and evidence; `key_id` names its public half. `former` are those of earlier keys by theirs."""

    key_id: str
    public_pem: str

    @property
    def former(self) -> Mapping[str, str]: ...

    def sign(self, document: Mapping[str, Any]) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Merchant:
    """One billing system on this bridge. `wants_push` is whether a notify URL is configured."""

    id: str
    currencies: tuple[str, ...]
    policy: Policy
    wants_push: bool
    open_invoices_per_customer: int = 50
    stage: Stage | None = None


@dataclass(frozen=True, kw_only=True)
class PolicyFile:
    """What the settings file says about money, and the port that knows how to read such a document.

    `document` is the canonical text of the file; `normal` brings a stored one to today's form, in which a setting that
    it is too old to know has its default. `terms_of` gives the Bridge's fields under a document. Both raise
    Unavailable("policy_unreadable").
    """

    document: str
    normal: Callable[[str], str]
    terms_of: Callable[[str], Mapping[str, Any]]


# Every place where a test may kill the process, in the order a payment meets them. "committing" is inside the transaction.
CRASH_POINTS = (
    "open.first_committing",
    "open.claimed",
    "open.address_taken",
    "open.committing",
    "open.committed",
    "callback.committing",
    "callback.committed",
    "watch.claimed",
    "watch.armed",
    "look.claimed",
    "look.read",
    "look.committing",
    "look.committed",
    "late.priced",
    "late.committing",
    "late.committed",
    "tip.committing",
    "deliver.claimed",
    "deliver.sent",
    "deliver.committing",
    "deliver.committed",
    "number.committing",
    "seal.committing",
    "spare.address_taken",
    "requote.committing",
    "billing_change.committing",
    "ruling.committing",
    "ruling.committed",
)


# The same for money that leaves, in the order a payout meets them.
PAYOUT_CRASH_POINTS = (
    "payout.requested",
    "payout.intended",
    "payout.called",
    "payout.committing",
    "payout.committed",
)


def no_crash(_name: str) -> None:
    """What a crash point does outside of tests."""


@dataclass(frozen=True, kw_only=True)
class Bridge:
    """Everything a flow works with. Immutable but for two memories of this process: `last_rates` only guards
    against price jumps, `calls_ahead` only saves statements.

    It works by the policy version `policy_number`; 0 is what the file says, before anybody asked the store what is in
    force. `flows.policy.in_force` gives the bridge of another version: the same parts under other rules.

    `crash_point` is called at every name of CRASH_POINTS; a test configuration makes one of them kill the process.
    """

    store: Store
    wallet: Wallet
    chain: Chain | None
    rates: Rates
    billing: Billing
    clock: Callable[[], datetime]
    merchants: Mapping[str, Merchant]
    network: str
    wallet_id: str
    public_url: str
    callback_url: str | None
    callback_token: Callable[[str], str]
    metrics: Metrics
    guards: Guards = field(default_factory=Guards)
    review_due_seconds: int = 86_400
    jump_memory_seconds: int = 600
    watch_seconds: int = 600
    provider_calls_per_minute: int = 60
    gateway_fee_bps: int | None = None
    spare_addresses: int = 0
    own_addresses: AddressSource | None = None
    screening: Screening | None = None
    screening_patience_seconds: int = 600
    signer: Signer | None = None
    books: BookRules = field(default_factory=BookRules)
    billing_wallet: Wallet | None = None
    billing_wallet_id: str = ""
    former_wallets: Mapping[str, FormerWallet] = field(default_factory=dict)
    payouts: PayoutRules = field(default_factory=PayoutRules)
    marks: Approvals = field(default_factory=lambda: Approvals(steps=(), above=1))
    treasury: TreasuryRules = field(default_factory=TreasuryRules)
    login: LoginRules = field(default_factory=LoginRules)
    last_rates: dict[str, Rate] = field(default_factory=dict)
    calls_ahead: CallsAhead = field(default_factory=CallsAhead)
    # How old the newest block of a chain source may be; None where nobody mines unasked.
    oldest_tip: timedelta | None = None
    # Runs on whatever is done to the clock that people set.
    monotonic: Callable[[], float] = time.monotonic
    crash_point: Callable[[str], None] = no_crash
    policy_number: int = 0
    policy_file: PolicyFile | None = None

    @property
    def has_gateway(self) -> bool:
        """Whether a gateway keeps the money. Without one payers pay to the shop's own wallet, and `wallet` only refuses."""
        return self.own_addresses is None

    @property
    def wallets(self) -> Mapping[str, tuple[str, Wallet]]:
        """Wallet id and wallet of each role that can send; without a billing wallet the hot one pays refunds too."""
        if not self.has_gateway:
            return {}
        billing = {"billing": (self.billing_wallet_id, self.billing_wallet)} if self.billing_wallet else {}
        return {"hot": (self.wallet_id, self.wallet)} | billing

    @property
    def readers_by_role(self) -> Mapping[str, Mapping[str, WalletReader]]:
        """Every wallet at a gateway that can be read, by role and id: the money of all of a role is one account of the books."""
        found: dict[str, dict[str, WalletReader]] = {
            role: {wallet_id: wallet} for role, (wallet_id, wallet) in self.wallets.items()
        }
        for wallet_id, former in self.former_wallets.items():
            found.setdefault(former.role, {})[wallet_id] = former.reader
        return found

    def reader_of(self, wallet_id: str) -> WalletReader | None:
        """Who can be asked about an address of this wallet; None for the shop's own, and for one that no setting names."""
        for known_id, wallet in self.wallets.values():
            if known_id == wallet_id:
                return wallet
        former = self.former_wallets.get(wallet_id)
        return former.reader if former is not None else None

    def can_read(self, wallet_id: str) -> bool:
        """Whether money to an address of this wallet can be seen by its first witness: the chain for the shop's own."""
        return self.chain is not None if is_own_wallet(wallet_id) else self.reader_of(wallet_id) is not None

    def close(self) -> None:
        """Drops the connections to every outside world and to the database; nothing can be done with it afterwards."""
        formers = (former.reader for former in self.former_wallets.values())
        for part in (self.wallet, self.billing_wallet, *formers, self.chain, self.rates, self.billing, self.store):
            if part is not None:
                part.close()

    def new_id(self, prefix: str) -> str:
        """A random id such as "inv_3f…": 96 bits, so that nobody counts or guesses."""
        return f"{prefix}_{secrets.token_hex(12)}"

    def new_public_id(self) -> str:
        """The id in a pay page's address: 128 bits, the only thing that opens it."""
        return secrets.token_urlsafe(16)
