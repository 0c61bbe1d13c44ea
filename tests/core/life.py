"""A whole life of one invoice in memory: a small world, readings of it, and decisions applied as a flow applies them.

Owns the reducer that the random histories drive and the invariants it checks after every step; must not decide anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bridge.core.credit import Payment, counting, credit, remaining_minor
from bridge.core.evidence import FINAL
from bridge.core.invoice import CONFIRMS_WITHIN, LEGAL_MOVES, STATUSES, Decision, Invoice, decide
from bridge.core.kinds import HOLDING, REASONS, REVIEWS
from bridge.core.ledger import ASSETS, Books, Entry, Journal, journals
from bridge.core.policy import Rule
from bridge.core.quote import Quote, buffer_of_part, due_sat
from bridge.core.statement import statement
from tests.core.builders import T0, an_invoice
from tests.core.sums import check_statement

CURRENCY = "USD"
# The target beside the first, whose rail speaks for itself: what came there is final, and the gateway knows nothing of it.
BESIDE = 2
ACCOUNTS = {BESIDE: "wallet:lightning"}
FIRST_SILENT, BESIDE_SILENT = "first", "beside"


@dataclass(frozen=True, kw_only=True)
class Output:
    """An output of the world, gone when it was replaced; `target_id` says where it came to."""

    key: str
    amount_sat: int
    came_at: datetime
    target_id: int | None = None
    confirmations: int = 0
    replaceable: bool = False
    gone: bool = False


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What one read of everything answered; absolute. `silent` says which of the two ways did not."""

    asked_at: datetime
    outputs: tuple[Output, ...]
    provider_sat: int
    silent: str = ""

    def says_of(self, payment: Payment | Output) -> bool:
        return self.silent != (FIRST_SILENT if payment.target_id is None else BESIDE_SILENT)


def balances_of(entries: Iterable[Entry]) -> dict[str, int]:
    balances: dict[str, int] = {}
    for entry in entries:
        balances[entry.account] = balances.get(entry.account, 0) + entry.units
    return balances


@dataclass
class Life:
    """One invoice, the world around it, and everything that was ever emitted."""

    rule: Rule = field(default_factory=Rule)
    has_chain: bool = True
    price_minor: int = 6_500_000
    has_price: bool = True
    provider_lie_sat: int = 0
    silent: str = ""
    now: datetime = T0
    outputs: dict[str, Output] = field(default_factory=dict)
    payments: dict[str, Payment] = field(default_factory=dict)
    quotes: list[Quote] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    journals: list[Journal] = field(default_factory=list)
    reviews: list[str] = field(default_factory=list)
    newest_asked_at: datetime = T0 - timedelta(seconds=1)

    def __post_init__(self) -> None:
        self.invoice = an_invoice(has_chain_evidence=self.has_chain, beside=frozenset(ACCOUNTS))
        self.quotes.append(self.priced("offer", self.invoice.amount_minor, from_at=T0, until=self.offer_end()))
        self.decide()

    # --- the world ---

    def pays(self, amount_sat: int, *, replaceable: bool = False) -> str:
        key = f"tx{len(self.outputs):03d}:0"
        self.outputs[key] = Output(key=key, amount_sat=amount_sat, came_at=self.now, replaceable=replaceable)
        return key

    def pays_beside(self, amount_sat: int) -> None:
        key = f"hash{len(self.outputs):03d}:0"
        self.outputs[key] = Output(
            key=key, amount_sat=amount_sat, came_at=self.now, confirmations=FINAL, target_id=BESIDE
        )

    def on_chain(self) -> dict[str, Output]:
        return {key: output for key, output in self.outputs.items() if output.target_id is None}

    def mines(self, blocks: int = 1) -> None:
        for key, output in self.on_chain().items():
            self.outputs[key] = replace(output, confirmations=output.confirmations + blocks)

    def reorganises(self, depth: int) -> None:
        for key, output in self.outputs.items():
            if output.confirmations <= depth:
                self.outputs[key] = replace(output, confirmations=0)

    def vanishes(self, key: str) -> None:
        self.outputs[key] = replace(self.outputs[key], gone=True, confirmations=0)

    def passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    # --- what a flow does ---

    def take_snapshot(self) -> Snapshot:
        present = tuple(o for o in self.outputs.values() if not o.gone)
        true_sat = sum(o.amount_sat for o in present if o.target_id is None)
        snapshot = Snapshot(
            asked_at=self.now,
            outputs=present,
            provider_sat=max(true_sat + self.provider_lie_sat, 0),
            silent=self.silent,
        )
        snapshot = replace(snapshot, outputs=tuple(o for o in present if snapshot.says_of(o)))
        self.snapshots.append(snapshot)
        return snapshot

    def look(self) -> None:
        self.observe(self.take_snapshot())

    def observe(self, snapshot: Snapshot) -> None:
        """Applies a reading; an older one never undoes a newer one, yet still proves when money was there."""
        if snapshot.asked_at < self.newest_asked_at:
            self.remember_first_sight(snapshot)
        else:
            self.newest_asked_at = snapshot.asked_at
            self.observe_outputs(snapshot)
            if snapshot.silent != FIRST_SILENT:
                self.observe_total(snapshot)
                self.compare(snapshot)
            if not snapshot.silent:
                self.invoice = replace(self.invoice, covered_until=snapshot.asked_at)
        self.decide()

    def remember_first_sight(self, snapshot: Snapshot) -> None:
        for output in snapshot.outputs:
            known = self.payments.get(output.key)
            if known is not None and snapshot.asked_at < known.first_seen_at:
                self.payments[output.key] = replace(known, first_seen_at=snapshot.asked_at)

    def is_by_output(self, payment: Payment | Output) -> bool:
        return self.has_chain or payment.target_id is not None

    def observe_outputs(self, snapshot: Snapshot) -> None:
        shown = {o.key: o for o in snapshot.outputs if self.is_by_output(o)}
        # What a rail called final stays, whatever an answer from the same moment lacks.
        is_told = self.has_chain and snapshot.silent != FIRST_SILENT
        told = {key for key, p in self.payments.items() if is_told and p.target_id is None}
        for key in shown.keys() | told:
            known, output = self.payments.get(key), shown.get(key)
            if output is None and known is not None:
                self.payments[key] = replace(known, replaced=True, confirmations=0)
            elif output is not None:
                self.payments[key] = Payment(
                    key=key,
                    amount_sat=output.amount_sat,
                    confirmations=output.confirmations,
                    first_seen_at=known.first_seen_at if known else snapshot.asked_at,
                    replaceable=output.replaceable,
                    target_id=output.target_id,
                )

    def observe_total(self, snapshot: Snapshot) -> None:
        """Each rise of the total is a payment of its own, first seen then; a fall takes from the youngest."""
        if self.has_chain:
            return
        by_total = {key: p for key, p in self.payments.items() if not self.is_by_output(p)}
        change = snapshot.provider_sat - sum(p.amount_sat for p in by_total.values() if not p.replaced)
        if change > 0:
            key = f"total:{len(self.payments):03d}"
            self.payments[key] = Payment(
                key=key, amount_sat=change, confirmations=None, first_seen_at=snapshot.asked_at
            )
        for key in sorted(by_total, reverse=True):
            known = self.payments[key]
            if change < 0 and not known.replaced:
                kept_sat = max(known.amount_sat + change, 0)
                change += known.amount_sat - kept_sat
                self.payments[key] = replace(known, amount_sat=kept_sat or known.amount_sat, replaced=not kept_sat)

    def compare(self, snapshot: Snapshot) -> None:
        if not self.has_chain:
            return
        told = [o for o in snapshot.outputs if o.target_id is None]
        confirmed_sat = sum(o.amount_sat for o in told if o.confirmations)
        agrees = confirmed_sat <= snapshot.provider_sat <= sum(o.amount_sat for o in told)
        since = None if agrees else self.invoice.disagrees_since or self.now
        self.invoice = replace(self.invoice, provider_sat=snapshot.provider_sat, disagrees_since=since)

    def decide(self) -> None:
        """Decides until no late price is wanted or to be had, applying and checking each decision."""
        for _ in range(20):
            decision = self.decision()
            self.apply(decision)
            wanted = decision.wants_late_quote_from
            if wanted is None or not self.has_price:
                return
            self.quotes.append(self.priced("late", self.invoice.amount_minor, from_at=wanted, until=self.now))
        raise AssertionError("late quotes never end")

    def decision(self) -> Decision:
        return decide(
            self.invoice,
            quotes=self.quotes,
            payments=tuple(self.payments.values()),
            now=self.now,
            rule=self.rule,
        )

    def apply(self, decision: Decision) -> None:
        before, released = self.invoice, self.invoice.released
        self.post(decision)
        self.events += decision.events
        self.reviews += decision.reviews
        self.invoice = replace(
            before,
            status=decision.status,
            exception=decision.exception,
            hold=decision.hold,
            reason=decision.reason,
            received_sat=decision.received_sat,
            settled_at=before.settled_at or (self.now if decision.status == "settled" else None),
            closed_at=(before.closed_at or self.now) if decision.closed else None,
            open_reviews=before.open_reviews | frozenset(decision.reviews),
            released=released - frozenset(decision.reviews),
        )
        check(self, before, decision)

    def post(self, decision: Decision) -> None:
        now_at = Books.of_balances(balances_of(self.entries), beside=ACCOUNTS.values())
        wanted = self.books_of(decision)
        for journal in journals(now_at, wanted, currency=CURRENCY):
            self.journals.append(journal)
            self.entries += journal.entries
            running = balances_of(self.entries)
            assert running.get("customer:unallocated", 0) <= 0, journal
            assert all(running.get(account, 0) >= 0 for account in ASSETS), journal
        assert Books.of_balances(balances_of(self.entries), beside=ACCOUNTS.values()) == wanted

    def books_of(self, decision: Decision) -> Books:
        invoice = self.invoice
        return Books.of_decision(decision, amount_minor=invoice.amount_minor, verdict=invoice.verdict, beside=ACCOUNTS)

    # --- what people do ---

    def reopens(self) -> None:
        """The client opens the page again: a new quote, and a new life when nothing ever came."""
        invoice = self.invoice
        if not self.has_price or invoice.status not in ("new", "expired") or invoice.verdict or invoice.hold:
            return
        if not invoice.received_sat:
            self.live_longer()
        base_minor = remaining_minor(
            self.payments.values(), quotes=self.quotes, amount_minor=self.invoice.amount_minor, rule=self.rule
        )
        if base_minor:
            self.quotes.append(self.priced("offer", base_minor, from_at=self.now, until=self.offer_end()))
        self.decide()

    def releases(self, kind: str) -> None:
        self.invoice = replace(
            self.invoice,
            open_reviews=self.invoice.open_reviews - {kind},
            released=self.invoice.released | {kind},
        )
        self.decide()

    def asks_remainder(self, kind: str) -> None:
        self.invoice = replace(
            self.invoice,
            open_reviews=self.invoice.open_reviews - {kind},
            asked=self.invoice.asked | {kind},
        )
        self.live_longer()
        self.decide()
        self.reopens()

    def live_longer(self) -> None:
        expires_at = self.now + timedelta(seconds=self.rule.invoice_expiry_seconds)
        monitor_until = expires_at + timedelta(seconds=self.rule.monitor_seconds)
        self.invoice = replace(self.invoice, expires_at=expires_at, monitor_until=monitor_until)

    def rules(self, verdict: str) -> None:
        self.invoice = replace(self.invoice, verdict=verdict)
        self.decide()

    def billing_changes(self, change: str | None) -> None:
        self.invoice = replace(self.invoice, billing_change=change)
        self.decide()

    # --- prices ---

    def offer_end(self) -> datetime:
        return self.now + timedelta(seconds=self.rule.quote_ttl_seconds)

    def priced(self, kind: str, base_minor: int, *, from_at: datetime, until: datetime) -> Quote:
        risk_bps = 100
        buffer_minor = buffer_of_part(25, base_minor=base_minor, amount_minor=self.invoice.amount_minor)
        asked_sat = due_sat(
            base_minor=base_minor, price_minor=self.price_minor, risk_bps=risk_bps, fee_buffer_minor=buffer_minor
        )
        return Quote(
            version=len(self.quotes) + 1,
            kind=kind,
            currency=CURRENCY,
            base_minor=base_minor,
            price_minor=self.price_minor,
            risk_bps=risk_bps,
            fee_buffer_minor=buffer_minor,
            due_sat=asked_sat,
            effective_from=from_at,
            expires_at=until,
        )


def check(life: Life, before: Invoice, decision: Decision) -> None:
    """Every promise that holds after any step of any history."""
    check_words(before, decision)
    check_told_once(life, before, decision)
    check_nothing_new_when_decided_again(life, decision)
    check_amounts(life, decision)
    check_nobody_is_forgotten(life, decision)
    check_both_ways(life, before, decision)


def check_words(before: Invoice, decision: Decision) -> None:
    assert before.status == decision.status or (before.status, decision.status) in LEGAL_MOVES
    assert decision.status in STATUSES
    assert decision.reason in REASONS
    assert set(decision.reviews) <= REVIEWS.keys()
    assert len(set(decision.events)) == len(decision.events)


def check_told_once(life: Life, before: Invoice, decision: Decision) -> None:
    assert life.events.count("invoice.settled") <= 1
    assert not (before.closed_at and "invoice.cancelled" in decision.events)
    if "invoice.settled" in decision.events:
        assert decision.status == "settled"
        assert decision.hold is None
    if decision.status != before.status:
        assert decision.events
    if decision.status == "settled" and before.settled_at is None and before.verdict is None:
        assert not (before.open_reviews & HOLDING)


def check_nothing_new_when_decided_again(life: Life, decision: Decision) -> None:
    again = life.decision()
    assert (again.events, again.reviews) == ((), ())
    assert replace(again, events=(), reviews=()) == replace(decision, events=(), reviews=())
    assert journals(life.books_of(decision), life.books_of(again), currency=CURRENCY) == ()


def check_amounts(life: Life, decision: Decision) -> None:
    present = [p for p in life.payments.values() if not p.replaced]
    assert decision.received_sat == sum(p.amount_sat for p in present)
    assert 0 <= decision.confirmed_sat <= decision.received_sat
    books = life.books_of(decision)
    assert min(books.used_sat, books.buffer_sat, books.absorbed_sat, books.over_sat, books.refundable_sat) >= 0
    assert books.used_sat + books.over_sat + books.refundable_sat <= decision.received_sat
    counted = counting(present, life.rule)
    invoice = life.invoice
    seen = credit(
        counted, quotes=life.quotes, amount_minor=invoice.amount_minor, late_after=invoice.expires_at, rule=life.rule
    )
    assert seen.received_sat == sum(p.amount_sat for p in counted)
    assert (decision.remaining_sat == 0) == (seen.covered or decision.status == "settled")
    if decision.status == "settled" and invoice.verdict is None:
        check_worth(life, counted)
    check_told_sums(life, decision, present)


def check_told_sums(life: Life, decision: Decision, present: Sequence[Payment]) -> None:
    """What the payer reads of it adds up, and is what was decided and booked."""
    told = statement(
        present,
        quotes=life.quotes,
        amount_minor=life.invoice.amount_minor,
        late_after=life.invoice.expires_at,
        rule=life.rule,
        is_settled=decision.status == "settled",
        settled_at=life.invoice.settled_at,
    )
    check_statement(told, present, dust_sat=life.rule.dust_sat)
    assert told.received_sat == decision.received_sat
    if decision.status != "settled":
        assert decision.remaining_sat == (max(told.missing_sat, life.rule.dust_sat) if told.missing_sat else 0)
    if decision.confirmed_sat == decision.received_sat:
        assert told.excess_sat == decision.excess_sat


def check_worth(life: Life, counted: Sequence[Payment]) -> None:
    """An independent bound: whatever was settled brought at least what the cheapest of all quotes asked, less the band."""
    cheapest_sat = min(q.due_sat * life.invoice.amount_minor // q.base_minor for q in life.quotes)
    dearest_sat = max(q.due_sat * life.invoice.amount_minor // q.base_minor for q in life.quotes)
    assert sum(p.amount_sat for p in counted) >= cheapest_sat - life.rule.tolerance_for(dearest_sat) - len(life.quotes)


def has_just_come(life: Life) -> bool:
    waiting = [p for p in life.payments.values() if not p.replaced and not p.is_confirmed]
    return any(life.now - p.first_seen_at < CONFIRMS_WITHIN for p in waiting)


def check_nobody_is_forgotten(life: Life, decision: Decision) -> None:
    """What holds money is never cancelled, and never left lying when the monitoring ends and the money has a price."""
    invoice = life.invoice
    if decision.closed or "invoice.cancelled" in decision.events:
        assert decision.received_sat == 0
        assert decision.hold is None
    ended = invoice.has_passed(invoice.monitor_until, life.now) and decision.received_sat > 0
    ended = ended and decision.wants_late_quote_from is None and not has_just_come(life)
    if ended and decision.status != "settled" and invoice.verdict is None and not invoice.released:
        assert decision.hold == "review"
    if decision.hold == "review":
        assert invoice.open_reviews & HOLDING
    if decision.wants_late_quote_from is not None:
        assert decision.wants_late_quote_from <= life.now
        assert decision.status != "settled"


def check_both_ways(life: Life, before: Invoice, decision: Decision) -> None:
    """Each way's money stands on its own account, what was seen of one stays while the other is silent, and nothing is closed before
    both were heard.
    """
    seen_sat = sum(p.amount_sat for p in life.payments.values() if p.target_id == BESIDE)
    assert not any(p.replaced for p in life.payments.values() if p.target_id == BESIDE)
    assert decision.confirmed_sat >= seen_sat
    assert life.books_of(decision).beside.get("wallet:lightning", 0) == seen_sat
    if decision.closed and before.closed_at is None:
        covered_until = life.invoice.covered_until
        assert covered_until is not None
        assert covered_until >= life.invoice.monitor_until
        came = [o for o in life.outputs.values() if o.target_id == BESIDE and o.came_at <= covered_until]
        assert came == []
