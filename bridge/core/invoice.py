"""The decision: from facts to the state of an invoice, pure, total and idempotent.

Owns the states, the legal moves and `decide`, the only function that sets a status; must not read anything but its arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.core.credit import Credit, Payment, credit
from bridge.core.errors import IllegalMove
from bridge.core.policy import Rule
from bridge.core.quote import Quote
from bridge.core.reasons import HOLDING

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
VERDICTS = {
    "mark_settled": ("settled", "marked", "marked_settled"),
    "mark_invalid": ("invalid", "none", "marked_invalid"),
    "refund": ("invalid", "none", "refund_due"),
}


@dataclass(frozen=True, kw_only=True)
class Invoice:
    """The facts about one invoice that a decision needs, and the last decision.

    `open_reviews` and `released` are review kinds: those a person still has to rule on, and those a person let pass.
    `verdict` is a person's final word (a key of VERDICTS). `billing_change` says what the billing system did to its payment.
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
    verdict: str | None = None
    billing_change: str | None = None
    has_chain_evidence: bool = True
    provider_sat: int | None = None
    disagrees_since: datetime | None = None
    received_sat: int = 0


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
    closed: bool
    is_final: bool
    confirmations_needed: int
    confirmations_seen: int
    events: tuple[str, ...]
    reviews: tuple[str, ...]
    wants_late_quote_from: datetime | None


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """The same payments seen three ways: all, those deep enough to settle on, those firm enough to book."""

    present: tuple[Payment, ...]
    total_sat: int
    confirmed_sat: int
    seen: Credit
    deep: Credit
    firm: Credit
    needed: int
    depth: int


def decide(
    invoice: Invoice, *, quotes: Sequence[Quote], payments: Sequence[Payment], now: datetime, rule: Rule
) -> Decision:
    """Recomputes everything from the facts. Raises IllegalMove when the result is no legal move from `invoice.status`."""
    sums = _sums(invoice, quotes, payments, rule)
    late_from, late_blocked = _late(invoice, sums, rule)
    blockers = _blockers(invoice, sums, now, rule, late_blocked=late_blocked) - invoice.released
    holding = blockers | (invoice.open_reviews & HOLDING)
    status, exception, reason = _state(invoice, sums, now, rule, holding)
    if (invoice.status, status) not in LEGAL_MOVES and invoice.status != status:
        raise IllegalMove(f"{invoice.status} -> {status}")
    closed = status == "expired" and sums.total_sat == 0 and now >= invoice.monitor_until
    hold = "review" if holding and invoice.verdict is None else None
    return Decision(
        status=status,
        exception=exception,
        hold=hold,
        reason="closed" if closed else reason,
        received_sat=sums.total_sat,
        confirmed_sat=sums.confirmed_sat,
        remaining_sat=0 if status == "settled" else sums.seen.remaining_sat,
        excess_sat=sums.firm.excess_sat + (sum(p.amount_sat for p in sums.firm.unquoted) if status == "settled" else 0),
        firm=sums.firm,
        closed=closed,
        is_final=bool(sums.present) and all((p.confirmations or 0) >= rule.final_depth for p in sums.present),
        confirmations_needed=sums.needed,
        confirmations_seen=sums.depth,
        events=_events(invoice, sums, status=status, exception=exception, hold=hold, closed=closed),
        reviews=_reviews(invoice, sums, rule, status=status, blockers=blockers),
        wants_late_quote_from=late_from,
    )


def _sums(invoice: Invoice, quotes: Sequence[Quote], payments: Sequence[Payment], rule: Rule) -> _Sums:
    present = tuple(p for p in payments if not p.replaced)
    worth_counting = [p for p in present if p.confirmations is None or p.amount_sat >= rule.dust_sat]

    def worth(some: Sequence[Payment]) -> Credit:
        return credit(some, quotes=quotes, amount_minor=invoice.amount_minor, late_after=invoice.expires_at, rule=rule)

    seen = worth(worth_counting)
    total_sat = sum(p.amount_sat for p in present)
    basis_sat = max(total_sat, seen.due_sat)

    def needed(payment: Payment) -> int:
        return rule.confirmations_for(basis_sat, replaceable=payment.replaceable)

    deep = [p for p in worth_counting if p.confirmations is None or p.confirmations >= needed(p)]
    firm = [p for p in worth_counting if p in deep or p.is_confirmed]
    return _Sums(
        present=present,
        total_sat=total_sat,
        confirmed_sat=sum(p.amount_sat for p in present if p.is_confirmed),
        seen=seen,
        deep=worth(deep),
        firm=worth(firm),
        needed=max((needed(p) for p in worth_counting), default=rule.confirmations_for(basis_sat, replaceable=True)),
        depth=min((p.confirmations or 0 for p in worth_counting), default=0),
    )


def _late(invoice: Invoice, sums: _Sums, rule: Rule) -> tuple[datetime | None, bool]:
    """From when a late quote is wanted, and whether money came so late that a person must say so first."""
    if invoice.settled_at is not None or invoice.verdict is not None or not sums.seen.unquoted:
        return None, False
    first = min(p.first_seen_at for p in sums.seen.unquoted)
    in_time = first <= invoice.expires_at + timedelta(seconds=rule.late_auto_seconds)
    automatic = rule.late == "accept" and in_time and invoice.closed_at is None
    if first <= invoice.expires_at or automatic or "late" in invoice.released:
        return first, False
    return None, True


def _blockers(invoice: Invoice, sums: _Sums, now: datetime, rule: Rule, *, late_blocked: bool) -> frozenset[str]:
    """The review kinds that these facts alone call for, as a table of conditions. Without money nothing is held."""
    if sums.total_sat == 0 and invoice.settled_at is None:
        return frozenset()
    seen, unsettled = sums.seen, invoice.settled_at is None
    disagreed_for = now - invoice.disagrees_since if invoice.disagrees_since else timedelta(0)
    monitor_over = now >= invoice.monitor_until
    money_is_late = any(p.first_seen_at > invoice.expires_at for p in sums.present)
    conditions = {
        "large_amount": unsettled and max(sums.total_sat, seen.due_sat) > rule.large_sat,
        "provider_only_limit": unsettled
        and any(p.confirmations is None for p in sums.present)
        and max(sums.total_sat, seen.due_sat) > rule.provider_only_max_sat,
        "provider_disagrees": disagreed_for >= timedelta(seconds=rule.disagree_grace_seconds)
        and invoice.disagrees_since is not None,
        "billing_conflict": unsettled and invoice.billing_change is not None,
        "late": unsettled and (late_blocked or (money_is_late and not seen.covered and not seen.unquoted)),
        "partial": unsettled and not seen.covered and (monitor_over or rule.underpaid == "review"),
        "failed_to_confirm": unsettled and monitor_over and seen.covered and not sums.deep.covered,
        "reorged": not unsettled and not sums.firm.covered,
    }
    return frozenset(kind for kind, applies in conditions.items() if applies)


def _agrees(invoice: Invoice, sums: _Sums) -> bool:
    """Whether the provider's total lies between what the chain has confirmed and all it has seen; alone it cannot disagree."""
    if not invoice.has_chain_evidence:
        return True
    return invoice.provider_sat is not None and sums.confirmed_sat <= invoice.provider_sat <= sums.total_sat


def _state(invoice: Invoice, sums: _Sums, now: datetime, rule: Rule, holding: frozenset[str]) -> tuple[str, str, str]:
    """Status, exception and reason."""
    if invoice.verdict is not None:
        return VERDICTS[invoice.verdict]
    if invoice.settled_at is not None:
        return _settled(sums, rule) if sums.firm.covered else ("invalid", "none", "reorged")
    if sums.deep.covered and not holding and _agrees(invoice, sums):
        return _settled(sums, rule)
    blocked = next(iter(sorted(holding)), None)
    late = any(p.first_seen_at > invoice.expires_at for p in sums.present)
    is_expired = now >= invoice.expires_at
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
    return "new", "none", blocked or gone or "awaiting_payment"


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
    elif exception != invoice.exception or sums.total_sat != invoice.received_sat:
        events.append("invoice.updated")
    if hold is not None and invoice.hold is None:
        events.append("invoice.review")
    if closed and invoice.closed_at is None:
        events.append("invoice.cancelled")
    return tuple(events)


def _reviews(invoice: Invoice, sums: _Sums, rule: Rule, *, status: str, blockers: frozenset[str]) -> tuple[str, ...]:
    """Review kinds to open now: new blockers, and what only wants to be seen."""
    wanted = set(blockers) if invoice.verdict is None else set()
    excess_sat = sums.firm.excess_sat + sum(p.amount_sat for p in sums.firm.unquoted)
    if status == "settled" and excess_sat > rule.over_keep_sat:
        wanted.add("over")
    if invoice.status == "processing" and status in ("new", "expired") and not sums.seen.covered:
        wanted.add("replaced")
    return tuple(sorted(wanted - invoice.open_reviews - invoice.released))
