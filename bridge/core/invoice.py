"""The decision: from facts to the state of an invoice, pure, total and idempotent.

Owns the states, the legal moves and `decide`, the only function that sets a status; must not read anything but its
arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.core.clock import believed
from bridge.core.credit import Credit, Payment, counting, credit, quote_at
from bridge.core.errors import IllegalMove
from bridge.core.kinds import HOLDING, REVIEWS, VERDICTS
from bridge.core.policy import Rule
from bridge.core.quote import Quote

# What came at the very end of the watch may take so long to get into a block before that is a question to a person.
CONFIRMS_WITHIN = timedelta(days=1)
STATUSES = ("new", "processing", "settled", "expired", "invalid")
EXCEPTIONS = ("none", "paid_partial", "paid_over", "paid_late", "marked")

# From, to: every change of status that may ever be written. A status may always stay what it is.
LEGAL_MOVES = frozenset(
    {
        ("new", "processing"),
        ("new", "settled"),
        ("new", "expired"),
        ("new", "invalid"),
        ("processing", "settled"),
        ("processing", "new"),
        ("processing", "expired"),
        ("processing", "invalid"),
        ("expired", "new"),
        ("expired", "processing"),
        ("expired", "settled"),
        ("expired", "invalid"),
        ("settled", "invalid"),
        ("invalid", "settled"),
        ("invalid", "new"),
        ("invalid", "processing"),
        ("invalid", "expired"),
    }
)
_WITHOUT_PROVIDER = frozenset(kind for kind, review in REVIEWS.items() if review.trusts_chain)


def is_open(status: str, *, is_closed: bool) -> bool:
    """Whether the invoice still waits for money, or for what becomes of it."""
    return status in ("new", "processing", "expired") and not is_closed


@dataclass(frozen=True, kw_only=True)
class Invoice:
    """The facts about one invoice that a decision needs, and the last decision.

    `open_reviews`, `released` and `asked` are review kinds: those a person still has to rule on, those a person let
    pass, and those a person answered by asking the payer for the remainder. Without `has_gateway` the address is the
    shop's own, and the chain alone says what came. `beside` are the targets that the gateway is not asked about.
    `verdict` is a person's final word (a key of VERDICTS). `billing_change` says what the billing system did to its
    payment. `covered_until` is up to when our own readings tell whether money came; `gap` is since when and until when
    (it was noticed) they lacked something, see core.coverage.
    """

    amount_minor: int
    expires_at: datetime
    monitor_until: datetime
    status: str = "new"
    exception: str = "none"
    hold: str | None = None
    reason: str = "awaiting_payment"
    settled_at: datetime | None = None
    closed_at: datetime | None = None
    open_reviews: frozenset[str] = frozenset()
    released: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    verdict: str | None = None
    billing_change: str | None = None
    has_chain_evidence: bool = True
    has_gateway: bool = True
    beside: frozenset[int] = frozenset()
    provider_sat: int | None = None
    disagrees_since: datetime | None = None
    received_sat: int = 0
    screening: str = "none"
    covered_until: datetime | None = None
    gap: tuple[datetime, datetime] | None = None

    def has_passed(self, deadline: datetime, now: datetime) -> bool:
        """Whether a deadline is over, and we looked after it: what was not searched is never "nothing came"."""
        covered_until = believed(self.covered_until, now=now)
        return now >= deadline and covered_until is not None and covered_until >= deadline


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Where the invoice stands. `events` and `reviews` are what is new; applying the same decision twice adds none.

    `wants_late_quote_from` asks the flow for a price for money that came when no quote was active, from that time on.
    """

    status: str
    exception: str
    hold: str | None
    reason: str
    received_sat: int
    confirmed_sat: int
    remaining_sat: int
    excess_sat: int
    firm: Credit
    # What of `confirmed_sat` came to which target, None: the first.
    confirmed_by_target: tuple[tuple[int | None, int], ...]
    closed: bool
    is_final: bool
    confirmations_needed: int
    confirmations_seen: int
    events: tuple[str, ...]
    reviews: tuple[str, ...]
    wants_late_quote_from: datetime | None


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """The same payments seen four ways: all, those in time enough to count unasked, those deep enough to settle on,
    those firm enough to book. `counted` leaves out dust, which is kept and shown but decides nothing. `unpriced_from` is
    when the first money came that may count and has no price.
    """

    present: tuple[Payment, ...]
    counted: tuple[Payment, ...]
    total_sat: int
    confirmed_sat: int
    seen: Credit
    punctual: Credit
    has_too_late: bool
    deep: Credit
    firm: Credit
    unpriced_from: datetime | None
    needed: int
    depth: int


def decide(
    invoice: Invoice, *, quotes: Sequence[Quote], payments: Sequence[Payment], now: datetime, rule: Rule
) -> Decision:
    """Recomputes everything from the facts. Raises IllegalMove when the result is no legal move from
    `invoice.status`.
    """
    sums = _sums(invoice, quotes, payments, rule)
    released = _released(invoice)
    blockers = _blockers(invoice, sums, now, rule) - released
    holding = blockers | (invoice.open_reviews & HOLDING)
    status, exception, reason = _state(invoice, sums, now, rule, holding)
    if (invoice.status, status) not in LEGAL_MOVES and invoice.status != status:
        raise IllegalMove(f"{invoice.status} -> {status}")
    hold = "review" if holding and invoice.verdict is None else None
    nothing_came = sums.total_sat == 0 and (not invoice.provider_sat or "provider_disagrees" in released)
    is_over = invoice.closed_at is not None or invoice.has_passed(invoice.monitor_until, now)
    closed = status == "expired" and nothing_came and hold is None and now >= invoice.monitor_until and is_over
    return Decision(
        status=status,
        exception=exception,
        hold=hold,
        reason="closed" if closed else reason,
        received_sat=sums.total_sat,
        confirmed_sat=sums.confirmed_sat,
        remaining_sat=_remaining_sat(sums, rule, status=status),
        excess_sat=_excess_sat(invoice, sums, status=status),
        firm=sums.firm,
        confirmed_by_target=_by_target(sums),
        closed=closed,
        is_final=bool(sums.present) and all((p.confirmations or 0) >= rule.final_depth for p in sums.present),
        confirmations_needed=sums.needed,
        confirmations_seen=sums.depth,
        events=_events(invoice, sums, status=status, exception=exception, hold=hold, closed=closed),
        reviews=_reviews(invoice, sums, now, rule, status=status, blockers=blockers, released=released),
        wants_late_quote_from=sums.unpriced_from if status != "settled" else None,
    )


def _by_target(sums: _Sums) -> tuple[tuple[int | None, int], ...]:
    found: dict[int | None, int] = {}
    for payment in sums.present:
        if payment.is_confirmed:
            found[payment.target_id] = found.get(payment.target_id, 0) + payment.amount_sat
    return tuple(found.items())


def _released(invoice: Invoice) -> frozenset[str]:
    """What a person let pass. A settled invoice that loses its money is news even when an earlier loss was let pass."""
    return invoice.released - {"reorged"} if invoice.status == "settled" else invoice.released


def _sums(invoice: Invoice, quotes: Sequence[Quote], payments: Sequence[Payment], rule: Rule) -> _Sums:
    present = tuple(p for p in payments if not p.replaced)
    counted = counting(payments, rule)

    def worth(some: Sequence[Payment]) -> Credit:
        return credit(some, quotes=quotes, amount_minor=invoice.amount_minor, late_after=invoice.expires_at, rule=rule)

    seen = worth(counted)

    def worth_of(part: Sequence[Payment]) -> Credit:
        """Of payments that are among the counted, in their order: of as many it is the same."""
        return seen if len(part) == len(counted) else worth(part)

    def needed(payment: Payment) -> int:
        basis_sat = max(_basis_sat(invoice, present, payment), seen.due_sat)
        needed = rule.confirmations_for(basis_sat, replaceable=payment.replaceable)
        return max(needed, payment.least_depth) if payment.coinbase else needed

    deep = [p for p in counted if p.confirmations is None or p.confirmations >= needed(p)]
    punctual = [p for p in counted if _is_punctual(invoice, p, quotes, rule)]
    counts_unasked = worth_of(punctual)
    total_sat = sum(p.amount_sat for p in present)
    none_yet = rule.confirmations_for(max(total_sat, seen.due_sat), replaceable=True)
    return _Sums(
        present=present,
        counted=counted,
        total_sat=total_sat,
        confirmed_sat=sum(p.amount_sat for p in present if p.is_confirmed),
        seen=seen,
        punctual=counts_unasked,
        has_too_late=len(punctual) < len(counted),
        deep=worth_of(deep),
        firm=worth_of([p for p in counted if p in deep or p.is_confirmed]),
        unpriced_from=_unpriced_from(invoice, seen, counts_unasked),
        needed=max((needed(p) for p in counted), default=none_yet),
        # What is final at once is as deep as it has to be, and no number of blocks.
        depth=min((needed(p) if p.is_final else p.confirmations or 0 for p in counted), default=0),
    )


def _basis_sat(invoice: Invoice, present: Sequence[Payment], payment: Payment) -> int:
    """The total that says how deep `payment` must be. What came after the settlement cannot make what it rests on too
    shallow.
    """
    settled_at = invoice.settled_at
    if settled_at is None or payment.first_seen_at > settled_at:
        return sum(p.amount_sat for p in present)
    return sum(p.amount_sat for p in present if p.first_seen_at <= settled_at)


def _is_punctual(invoice: Invoice, payment: Payment, quotes: Sequence[Quote], rule: Rule) -> bool:
    """Whether the payment counts without asking a person: in time, under an offer's grace, or not too late for the
    policy.
    """
    if invoice.closed_at is not None:
        return False
    seconds = rule.late_auto_seconds if rule.late == "accept" else 0
    quote = quote_at(quotes, payment, rule)
    offered = quote is not None and quote.kind == "offer"
    return offered or payment.first_seen_at <= invoice.expires_at + timedelta(seconds=seconds)


def _unpriced_from(invoice: Invoice, seen: Credit, punctual: Credit) -> datetime | None:
    """From when a late quote is wanted: the first money without a price that may count."""
    if invoice.settled_at is not None or invoice.verdict is not None or seen.covered:
        return None
    may_count = seen.unquoted if "late" in invoice.released else punctual.unquoted
    return min((p.first_seen_at for p in may_count), default=None)


def _is_late(invoice: Invoice, sums: _Sums) -> bool:
    """Whether late money counts towards the amount, or would have to; late money on top of enough changes nothing."""
    return sums.seen.late or (not sums.seen.covered and any(p.first_seen_at > invoice.expires_at for p in sums.counted))


def _blockers(invoice: Invoice, sums: _Sums, now: datetime, rule: Rule) -> frozenset[str]:
    """The review kinds that these facts alone call for, as a table of conditions. Without money nothing is held."""
    if sums.total_sat == 0 and not invoice.provider_sat and invoice.settled_at is None:
        return frozenset()
    seen, unsettled, has_money = sums.seen, invoice.settled_at is None, sums.total_sat > 0
    differs = not _agrees(invoice, sums)
    disagree = differs and _has_disagreed_for(invoice, timedelta(seconds=rule.disagree_grace_seconds), now)
    over = invoice.has_passed(invoice.monitor_until, now)
    at_stake_sat = max(sums.total_sat, seen.due_sat)
    only_provider = any(p.confirmations is None for p in sums.present)
    too_late = sums.has_too_late and not sums.punctual.covered
    not_enough = _is_late(invoice, sums) and not seen.covered and not seen.unquoted
    is_late = unsettled and (too_late or not_enough)
    # Late money is one question, not two: that it is too little as well is asked once a person has accepted it.
    asked_as_late = (is_late or "late" in invoice.open_reviews) and "late" not in invoice.released
    # Money without a price is priced first, then judged.
    is_short = not seen.covered and sums.unpriced_from is None
    may_be_part = unsettled and has_money and is_short and not asked_as_late
    conditions = {
        "large_amount": unsettled and has_money and at_stake_sat > rule.large_sat,
        "provider_only_limit": unsettled and only_provider and at_stake_sat > rule.provider_only_max_sat,
        "provider_disagrees": disagree or (unsettled and over and differs),
        "billing_conflict": unsettled and has_money and invoice.billing_change is not None,
        "late": is_late,
        "partial": may_be_part and (over or _asks_about_part(invoice, sums, rule)),
        "failed_to_confirm": unsettled
        and over
        and seen.covered
        and not sums.deep.covered
        and not _may_confirm(sums, now),
        "reorged": not unsettled and not sums.firm.covered,
        "screening": unsettled and has_money and invoice.screening in ("hit", "unanswered"),
    }
    return frozenset(kind for kind, applies in conditions.items() if applies)


def _may_confirm(sums: _Sums, now: datetime) -> bool:
    """Whether money waits for a block that came so late that it had no time to confirm yet."""
    waiting = [p for p in sums.counted if not p.is_confirmed]
    return any(now - p.first_seen_at < CONFIRMS_WITHIN for p in waiting)


def _asks_about_part(invoice: Invoice, sums: _Sums, rule: Rule) -> bool:
    """Whether the policy wants a person for a part, once the part has a price. Dust alone is not worth a person's
    time yet.
    """
    is_answered = "partial" in invoice.asked
    return rule.underpaid == "review" and bool(sums.counted) and not sums.seen.unquoted and not is_answered


def _has_disagreed_for(invoice: Invoice, grace: timedelta, now: datetime) -> bool:
    """Whether provider and chain differed from one comparison to another so much later: in between nobody knows."""
    compared_until = believed(invoice.covered_until, now=now)
    since = invoice.disagrees_since
    return since is not None and compared_until is not None and compared_until - since >= grace


def _agrees(invoice: Invoice, sums: _Sums) -> bool:
    """Whether the provider's total lies between what the chain has confirmed and all it has seen, or a person let it
    pass.

    Alone neither can disagree.
    """
    if not invoice.has_chain_evidence or not invoice.has_gateway or invoice.released & _WITHOUT_PROVIDER:
        return True
    told = [p for p in sums.present if p.target_id not in invoice.beside]
    confirmed_sat = sum(p.amount_sat for p in told if p.is_confirmed)
    return invoice.provider_sat is not None and confirmed_sat <= invoice.provider_sat <= sum(p.amount_sat for p in told)


def _is_being_screened(invoice: Invoice) -> bool:
    """Whether the billing system must not be told yet because the screening has not said anything."""
    return invoice.screening == "pending" and "screening" not in invoice.released


def _state(invoice: Invoice, sums: _Sums, now: datetime, rule: Rule, holding: frozenset[str]) -> tuple[str, str, str]:
    """Status, exception and reason."""
    if invoice.verdict is not None:
        return VERDICTS[invoice.verdict]
    if invoice.settled_at is not None:
        return _settled(sums, rule) if sums.firm.covered else ("invalid", "none", "reorged")
    if sums.deep.covered and not holding and _agrees(invoice, sums) and not _is_being_screened(invoice):
        return _settled(sums, rule)
    blocked = next(iter(sorted(holding)), None)
    late = _is_late(invoice, sums)
    # That money is late is known; that none came in time has to be.
    is_expired = (
        now >= invoice.expires_at if late else _is_expired(invoice, now, is_unpriced=sums.unpriced_from is not None)
    )
    if sums.seen.covered and "failed_to_confirm" in holding:
        return "invalid", "none", "failed_to_confirm"
    if sums.seen.covered and not (late and is_expired):
        waiting = "confirming" if sums.depth >= 1 else "seen"
        return "processing", "none", blocked or waiting
    if sums.present:
        exception = "paid_late" if late and is_expired else "paid_partial"
        waiting = "late_checking" if late or sums.seen.unquoted else "partial"
        return ("expired" if is_expired else "new"), exception, blocked or waiting
    gone = "replaced" if invoice.status == "processing" or invoice.reason == "replaced" else None
    if invoice.billing_change in ("cancelled", "deleted"):
        gone = "billing_cancelled"
    if is_expired:
        return "expired", "none", blocked or gone or "expired"
    waiting = "awaiting_payment" if now < invoice.expires_at else "evidence_missing"
    return "new", "none", blocked or gone or waiting


def _is_expired(invoice: Invoice, now: datetime, *, is_unpriced: bool) -> bool:
    """Whether the time to pay is over; that is said once we know what came in it and what that is worth, and then stays said."""
    was_said = invoice.status == "expired" and now >= invoice.expires_at
    return was_said or (invoice.has_passed(invoice.expires_at, now) and not is_unpriced)


def _settled(sums: _Sums, rule: Rule) -> tuple[str, str, str]:
    if sums.firm.late:
        return "settled", "paid_late", "paid_late"
    if sums.firm.excess_sat or sums.firm.unquoted:
        return "settled", "paid_over", "overpaid"
    return "settled", "none", "settled"


def _events(
    invoice: Invoice, sums: _Sums, *, status: str, exception: str, hold: str | None, closed: bool
) -> tuple[str, ...]:
    """What merchants must hear now that they have not heard. "settled" is said once in an invoice's life."""
    events = []
    if status != invoice.status:
        told_before = status == "settled" and invoice.settled_at is not None
        events.append("invoice.updated" if status == "new" or told_before else f"invoice.{status}")
    elif exception != invoice.exception or sums.total_sat != invoice.received_sat or (invoice.hold and not hold):
        events.append("invoice.updated")
    if hold is not None and invoice.hold is None:
        events.append("invoice.review")
    if closed and invoice.closed_at is None:
        events.append("invoice.cancelled")
    return tuple(events)


def _remaining_sat(sums: _Sums, rule: Rule, *, status: str) -> int:
    """What the payer is asked for: nothing once the value covers, and never so little that it would not count."""
    if status == "settled" or sums.seen.covered:
        return 0
    return max(sums.seen.remaining_sat, rule.dust_sat)


def _excess_sat(invoice: Invoice, sums: _Sums, *, status: str) -> int:
    """What belongs back to the payer: beyond the amount, or without a price when none is needed any more."""
    unasked = sums.firm.unasked(invoice.settled_at) if status == "settled" else ()
    return sums.firm.excess_sat + sum(p.amount_sat for p in unasked)


def _lacks_evidence(invoice: Invoice, sums: _Sums, now: datetime, rule: Rule) -> bool:
    """Whether a person should know that our readings lack something: for longer than the policy's patience with sources that
    differ, and where it matters: money was seen, or the invoice would be over.
    """
    is_over = invoice.settled_at is not None and now >= invoice.monitor_until
    if invoice.gap is None or is_over or invoice.closed_at is not None or invoice.verdict is not None:
        return False
    since, until = invoice.gap
    is_lasting = until - since >= timedelta(seconds=rule.disagree_grace_seconds)
    return is_lasting and (bool(sums.present) or now >= invoice.monitor_until)


def _reviews(
    invoice: Invoice,
    sums: _Sums,
    now: datetime,
    rule: Rule,
    *,
    status: str,
    blockers: frozenset[str],
    released: frozenset[str],
) -> tuple[str, ...]:
    """Review kinds to open now: new blockers, and what only wants to be seen."""
    wanted = set(blockers) if invoice.verdict is None else set()
    if _lacks_evidence(invoice, sums, now, rule):
        wanted.add("evidence_missing")
    if status == "settled" and _excess_sat(invoice, sums, status=status) > rule.over_keep_sat:
        wanted.add("over")
    fell_back = invoice.status == "processing" and status in ("new", "expired")
    shrank = fell_back or sums.total_sat < invoice.received_sat
    # What settled money lost is one question already.
    if not sums.seen.covered and shrank and "reorged" not in wanted:
        wanted.add("replaced")
    wanted -= released
    # Money that comes after a person closed the matter was not part of what they ruled on.
    if sums.total_sat > invoice.received_sat:
        if invoice.verdict is not None and status == "invalid":
            wanted.add("late")
        if status == "settled" and "over" in released and sums.seen.beyond_sat > rule.over_keep_sat:
            wanted.add("over")
    return tuple(sorted(wanted - invoice.open_reviews))
