"""What the bridge needs of the world: its parts, and the ports they fill.

Owns the port definitions and what one process remembers; must not name a concrete client, `bridge.runtime` does.
"""

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self

from bridge.core.books import DAY_SECONDS, Calendar, Reconciliation, RetentionDays
from bridge.core.claims import ClaimRules
from bridge.core.credentials import LoginRules
from bridge.core.evidence import Answer, Health, Sample, Screened, Subject, WalletBalance
from bridge.core.offering import Offering
from bridge.core.payout import Approvals, PayoutRules, TreasuryRules
from bridge.core.policy import Policy, Stage
from bridge.core.quote import Guards, Rate
from bridge.core.rail import CHAIN, TOTAL_AND_CHAIN, Chain, Evidence, Rail, Target, WalletReader
from bridge.store.db import Store

if TYPE_CHECKING:
    from bridge.metrics import Metrics

# Half of what the budget's window is longer than a minute: a call still leaves within the minute that counted it.
GOOD_FOR = timedelta(seconds=0.5)


class CallsAhead:
    """Threads may share it. Only who used up the last lot in time draws more at once, so an idle process wastes nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left, self._lot = 0, 1
        self._drawn_at = self._granted_at = datetime.min.replace(tzinfo=UTC)

    def take(self, now: datetime) -> bool:
        """One call that was drawn before, if there is one that is still good."""
        with self._lock:
            self._drop_old(now)
            if not self._left:
                return False
            self._left -= 1
            return True

    def next_lot(self, now: datetime, *, at_most: int) -> int:
        """How many calls to draw now: twice the last lot after a lot that was used up in time, else one."""
        with self._lock:
            is_used_up = not self._left and _is_fresh(self._drawn_at, now)
            self._lot = max(min(2 * self._lot, at_most), 1) if is_used_up else 1
            self._drawn_at = now
            return self._lot

    def keep(self, calls: int, now: datetime) -> None:
        """Calls that were granted at `now` and not made, once their transaction is committed."""
        with self._lock:
            self._drop_old(now)
            # Of two lots that were drawn at once the older says how long both are good.
            self._granted_at = min(self._granted_at, now) if self._left else now
            self._left += calls

    def _drop_old(self, now: datetime) -> None:
        if not _is_fresh(self._granted_at, now):
            self._left = 0


def _is_fresh(since: datetime, now: datetime) -> bool:
    # Either way: a request reads the clock, waits for its turn, and may find a lot that was drawn a moment later.
    return abs(now - since) < GOOD_FOR


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


class Mailer(Protocol):
    """The shop's mail server. Raises Refused for what no other try mends, and Unavailable."""

    def send(self, *, to: str, subject: str, text: str, reference: str, at: datetime) -> None: ...


class Signer(Protocol):
    """The key that signs receipts and evidence; `key_id` names its public half. `former` are those of earlier keys by theirs."""

    key_id: str
    public_pem: str

    @property
    def former(self) -> Mapping[str, str]: ...

    def sign(self, document: Mapping[str, Any]) -> dict[str, Any]: ...


class Uncounted:
    """In the place of Metrics where nobody reads any, as of a command, which is over before a scrape: whatever is counted is gone."""

    def __getattr__(self, _name: str) -> Self:
        return self

    def __call__(self, *_values: object, **_labels: object) -> Self:
        return self

    def __contains__(self, _label: object) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class Merchant:
    """One billing system on this bridge. `wants_push` is whether a notify URL is configured."""

    id: str
    currencies: tuple[str, ...]
    policy: Policy
    wants_push: bool
    open_invoices_per_customer: int = 50
    stage: Stage | None = None
    offering: Offering = field(default_factory=dict)


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
    "add.committing",
    "archive.committing",
    "archive.committed",
    "spare.address_taken",
    "requote.committing",
    "billing_change.committing",
    "ruling.committing",
    "ruling.committed",
)


# The same for a second way to pay, which no payment has to pass.
BESIDE_CRASH_POINTS = ("beside.claimed", "beside.asked", "beside.committing", "beside.committed")

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
    """Everything a flow works with. Immutable but for five memories of this process: `last_rates` only guards
    against price jumps, `calls_ahead`, `standing`, `days_over` and `counted` only save statements and calls.

    It works by the policy version `policy_number`; 0 is what the file says, before anybody asked the store what is in
    force. `people.policy.in_force` gives the bridge of another version: the same parts under other rules.

    `crash_point` is called at every name of CRASH_POINTS; a test configuration makes one of them kill the process.
    """

    store: Store
    rails: tuple[Rail, ...]
    chain: Chain | None
    rates: Rates
    billing: Billing
    clock: Callable[[], datetime]
    merchants: Mapping[str, Merchant]
    network: str
    public_url: str
    callback_token: Callable[[str], str]
    metrics: "Metrics | Any"
    # As payers know it.
    shop_name: str = ""
    guards: Guards = field(default_factory=Guards)
    review_due_seconds: int = 86_400
    jump_memory_seconds: int = 600
    screening: Screening | None = None
    mailer: Mailer | None = None
    screening_patience_seconds: int = 600
    signer: Signer | None = None
    calendar: Calendar = field(default_factory=Calendar)
    reconciliation: Reconciliation = field(default_factory=Reconciliation)
    claims: ClaimRules = field(default_factory=ClaimRules)
    retention_days: RetentionDays = field(default_factory=RetentionDays)
    archive_after_days: int | None = None
    payouts: PayoutRules = field(default_factory=PayoutRules)
    marks: Approvals = field(default_factory=Approvals)
    treasury: TreasuryRules = field(default_factory=TreasuryRules)
    login: LoginRules = field(default_factory=LoginRules)
    last_rates: dict[str, Rate] = field(default_factory=dict)
    calls_ahead: CallsAhead = field(default_factory=CallsAhead)
    # What the rails beside the first last said of themselves, by wallet; None for one that did not answer.
    standing: dict[str, tuple[datetime, Health | None]] = field(default_factory=dict)
    # By beginning and end, what was told as settled on days that are over: count, satoshi, and microseconds since first money.
    days_over: dict[tuple[datetime, datetime], tuple[int, int, int]] = field(default_factory=dict)
    # By states in which rows stay, how many were in each when that was last counted.
    counted: dict[tuple[str, ...], tuple[datetime, Mapping[str, int]]] = field(default_factory=dict)
    # How old the newest block of a chain source may be; None where nobody mines unasked.
    oldest_tip: timedelta | None = None
    # Runs on whatever is done to the clock that people set.
    monotonic: Callable[[], float] = time.monotonic
    crash_point: Callable[[str], None] = no_crash
    policy_number: int = 0
    policy_file: PolicyFile | None = None

    @cached_property
    def receiving(self) -> Rail:
        """The rail that new invoices are paid over."""
        return next(rail for rail in self.rails if rail.is_offered and not rail.is_beside)

    @cached_property
    def beside(self) -> tuple[Rail, ...]:
        """The rails that an invoice may be paid over besides, when its payer asks."""
        return tuple(rail for rail in self.rails if rail.is_offered and rail.is_beside)

    @property
    def wallet_id(self) -> str:
        """The wallet that new invoices are paid to."""
        return self.receiving.wallet_id

    @cached_property
    def senders(self) -> Mapping[str, Rail]:
        """The rail of each role that money can be sent from; without one for billing the hot one pays refunds too."""
        return {rail.role: rail for rail in self.rails if rail.sends is not None}

    @cached_property
    def former(self) -> Mapping[str, Rail]:
        """By wallet id the rails that neither offer nor send: what was paid over them is followed to its end."""
        return {rail.wallet_id: rail for rail in self.rails if not rail.is_offered and rail.sends is None}

    @cached_property
    def told_by_role(self) -> Mapping[str, Mapping[str, Callable[[], WalletBalance]]]:
        """Every wallet that says what it holds, by role and id: the money of all of a role is one account of the books."""
        found: dict[str, dict[str, Callable[[], WalletBalance]]] = {}
        for rail in self.rails:
            if rail.balance is not None:
                found.setdefault(rail.role, {})[rail.wallet_id] = rail.balance
        return found

    def notices_money_at(self, wallet_id: str) -> bool:
        """Whether money that comes to this wallet is noticed within a day though no address is looked at: it says what it holds, and
        that is held against the books so often.
        """
        is_told = any(wallet_id in told for told in self.told_by_role.values())
        return is_told and 0 < self.reconciliation.every_seconds <= DAY_SECONDS

    def rail_of(self, wallet_id: str) -> Rail | None:
        """The rail of a wallet; None when no setting names it."""
        return next((rail for rail in self.rails if rail.wallet_id == wallet_id), None)

    def reader_of(self, wallet_id: str) -> WalletReader | None:
        """Who can be asked about a target of this wallet, beside the facts."""
        rail = self.rail_of(wallet_id)
        return rail.reader if rail is not None else None

    def evidence_of(self, target: Target) -> Evidence | None:
        """Who has facts about a target: for what stands in blocks the chain reader, whatever the settings say of its wallet."""
        if target.is_on_chain:
            return self.chain
        rail = self.rail_of(target.wallet_id)
        return rail.evidence if rail is not None else None

    def can_read(self, wallet_id: str, witness: str) -> bool:
        """Whether money that was paid to a target of this wallet can be seen by its first witness."""
        rail = self.rail_of(wallet_id)
        if witness == CHAIN:
            return self.chain is not None
        return rail is not None and (rail.reader if witness == TOTAL_AND_CHAIN else rail.evidence) is not None

    def close(self) -> None:
        """Drops the connections to every outside world and to the database; nothing can be done with it afterwards."""
        for part in (*self.rails, self.chain, self.rates, self.billing, self.store):
            if part is not None:
                part.close()

    def new_id(self, prefix: str) -> str:
        """A random id such as "inv_3f…": 96 bits, so that nobody counts or guesses."""
        return f"{prefix}_{secrets.token_hex(12)}"

    def new_public_id(self) -> str:
        """The id in a pay page's address: 128 bits, the only thing that opens it."""
        return secrets.token_urlsafe(16)
