"""What three bookkeepers say of the same money: our ledger, the outside (chain and gateway), the billing system.

Owns the comparisons and the codes of what they find; must not read anything, nor repair: a difference is for a person.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bridge.core.credit import Payment
from bridge.core.evidence import ChainOutput, WalletBalance
from bridge.core.ledger import Books

SIDES = ("ledger", "chain", "provider", "billing", "wallet")
# From our side: missing is what only the others have, extra what only we have, different what both have otherwise.
CODES: dict[str, tuple[str, str]] = {
    "books_differ": ("ledger", "different"),
    "journal_unbalanced": ("ledger", "different"),
    "settled_twice": ("ledger", "extra"),
    "output_counted_twice": ("ledger", "extra"),
    "output_missing": ("chain", "missing"),
    "output_extra": ("chain", "extra"),
    "output_different": ("chain", "different"),
    "provider_below": ("provider", "extra"),
    "provider_above": ("provider", "missing"),
    "settled_not_paid": ("billing", "extra"),
    "paid_not_settled": ("billing", "missing"),
    "billing_amount_differs": ("billing", "different"),
    "external_id_differs": ("billing", "different"),
    "unknown_here": ("billing", "missing"),
    "feed_ahead": ("billing", "missing"),
    "unknown_there": ("billing", "extra"),
    "wallet_differs": ("wallet", "different"),
}
# A block's own time may lie this far before the moment it was found.
BLOCK_TIME_SLACK = timedelta(hours=2)
BILLING_PAID = 4
BILLING_PAYABLE = frozenset({2, 4})


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One difference. `ours` and `theirs` are texts for people, `variance_sat` is theirs minus ours (0 when not satoshi)."""

    code: str
    ours: str
    theirs: str
    variance_sat: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def side(self) -> str:
        return CODES[self.code][0]

    @property
    def kind(self) -> str:
        return CODES[self.code][1]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Findings of one comparison. `has_news` is what we had no chance to see yet: a look takes it in, nobody is asked."""

    findings: tuple[Finding, ...] = ()
    has_news: bool = False


def compare_books(booked: Books, rebuilt: Books) -> tuple[Finding, ...]:
    """The journals against the books rebuilt from quotes, payments and rulings: one finding with every figure."""
    if booked == rebuilt:
        return ()
    ours, theirs = asdict(booked), asdict(rebuilt)
    differing = {name: [ours[name], theirs[name]] for name in ours if ours[name] != theirs[name]}
    gaps_sat = [after - before for name, (before, after) in differing.items() if name.endswith("_sat")]
    return (
        Finding(
            code="books_differ",
            ours=", ".join(f"{name} {values[0]}" for name, values in differing.items()),
            theirs=", ".join(f"{name} {values[1]}" for name, values in differing.items()),
            variance_sat=max(gaps_sat, key=abs, default=0),
            detail={"figures": differing},
        ),
    )


def compare_records(
    *, unbalanced: Sequence[int], settled_events: int, shared_outputs: Sequence[str]
) -> tuple[Finding, ...]:
    """What can never be right whatever the others say."""
    found = [Finding(code="journal_unbalanced", ours=f"journal {each}", theirs="sums to zero") for each in unbalanced]
    if settled_events > 1:
        found.append(Finding(code="settled_twice", ours=f"settled {settled_events} times", theirs="settled once"))
    found += [Finding(code="output_counted_twice", ours=key, theirs="counted by one invoice") for key in shared_outputs]
    return tuple(found)


def compare_outputs(
    known: Iterable[Payment], outputs: Iterable[ChainOutput], *, last_read_at: datetime | None, is_covered: bool = True
) -> Compared:
    """Our payments against what pays the address on the chain now, output by output.

    What may have come or gone after our last read is news, not a fault: an output without a block, a young block, or
    the loss of one that was never confirmed. A reading that does not cover the address (`is_covered`) says nothing of
    what it does not show.
    """
    ours = {p.key: p for p in known if not p.replaced}
    found, has_news = list[Finding](), False
    for output in outputs:
        mine = ours.pop(output.outpoint, None)
        if mine is None and _is_young(output, last_read_at):
            has_news = True
        elif mine is None:
            found.append(_missing(output))
        elif mine.amount_sat != output.amount_sat:
            found.append(_different(mine, output))
    for gone in ours.values() if is_covered else ():
        if gone.confirmations:
            sat = gone.amount_sat
            found.append(
                Finding(code="output_extra", ours=f"{gone.key} {sat} sat", theirs="not there", variance_sat=-sat)
            )
        else:
            has_news = True
    return Compared(findings=tuple(found), has_news=has_news)


def _is_young(output: ChainOutput, last_read_at: datetime | None) -> bool:
    if last_read_at is None or output.confirmations == 0 or output.block_time is None:
        return True
    return output.block_time + BLOCK_TIME_SLACK > last_read_at


def _missing(output: ChainOutput) -> Finding:
    told = f"{output.outpoint} {output.amount_sat} sat, {output.confirmations} confirmations"
    return Finding(code="output_missing", ours="not known", theirs=told, variance_sat=output.amount_sat)


def _different(mine: Payment, output: ChainOutput) -> Finding:
    return Finding(
        code="output_different",
        ours=f"{mine.key} {mine.amount_sat} sat",
        theirs=f"{output.outpoint} {output.amount_sat} sat",
        variance_sat=output.amount_sat - mine.amount_sat,
    )


def compare_total(known: Iterable[Payment], *, provider_sat: int, last_provider_sat: int | None) -> Compared:
    """Our payments against the gateway's cumulative total of the address.

    More than before is news. More than we have although the gateway told it before, or less than we have, is a finding.
    """
    ours_sat = sum(p.amount_sat for p in known if not p.replaced)
    if provider_sat == ours_sat:
        return Compared()
    if provider_sat > ours_sat and provider_sat > (last_provider_sat or 0):
        return Compared(has_news=True)
    code = "provider_below" if provider_sat < ours_sat else "provider_above"
    gap_sat = provider_sat - ours_sat
    return Compared(
        findings=(Finding(code=code, ours=f"{ours_sat} sat", theirs=f"{provider_sat} sat", variance_sat=gap_sat),)
    )


@dataclass(frozen=True, kw_only=True)
class BillingWord:
    """What the billing system said of one payment, and when. `minor` is None when it named an amount we cannot read."""

    status: int
    minor: int | None
    currency: str
    external_id: str
    reported_at: datetime


@dataclass(frozen=True, kw_only=True)
class OurWord:
    """What we say of the same payment."""

    invoice_id: str
    status: str
    minor: int
    currency: str
    received_sat: int
    settled_at: datetime | None
    created_at: datetime


def compare_billing(
    ours: OurWord, theirs: BillingWord | None, *, covered_at: datetime | None, grace: timedelta
) -> tuple[Finding, ...]:
    """Whether the billing system agrees about one invoice.

    `covered_at` is when a whole report that must name this payment ended: what is not in it is not there. What happened
    within `grace` before the report may still be on its way.
    """
    if theirs is None:
        is_covered = covered_at is not None and ours.created_at + grace <= covered_at
        if is_covered and ours.received_sat:
            sat = ours.received_sat
            told = f"{ours.status}, {sat} sat received"
            return (Finding(code="unknown_there", ours=told, theirs="no such payment", variance_sat=-sat),)
        return ()
    found = []
    is_settled = ours.status == "settled" and ours.settled_at is not None
    if is_settled and theirs.status != BILLING_PAID and _was_told(ours, theirs, grace):
        found.append(Finding(code="settled_not_paid", ours="settled", theirs=f"status {theirs.status}"))
    if ours.settled_at is None and theirs.status == BILLING_PAID:
        found.append(Finding(code="paid_not_settled", ours=ours.status, theirs="paid"))
    if (ours.received_sat or is_settled) and (theirs.minor, theirs.currency) != (ours.minor, ours.currency):
        ours_text, theirs_text = f"{ours.minor} {ours.currency}", f"{theirs.minor} {theirs.currency}"
        found.append(Finding(code="billing_amount_differs", ours=f"{ours_text} minor", theirs=f"{theirs_text} minor"))
    if theirs.external_id and theirs.external_id != ours.invoice_id:
        found.append(Finding(code="external_id_differs", ours=ours.invoice_id, theirs=theirs.external_id))
    return tuple(found)


def _was_told(ours: OurWord, theirs: BillingWord, grace: timedelta) -> bool:
    return ours.settled_at is not None and theirs.reported_at >= ours.settled_at + grace


def unknown_payment(
    theirs: BillingWord, *, billing_payment_id: str, address: str = "", held_sat: int = 0
) -> Finding | None:
    """A payment in or past payment there that we have no invoice of: lost here, or never ours. `held_sat` came to its address."""
    if theirs.status not in BILLING_PAYABLE and not theirs.external_id:
        return None
    told = f"payment {billing_payment_id}, status {theirs.status}, {theirs.external_id or 'no invoice id'}"
    told += f"; {held_sat} sat came to its address {address}" if held_sat else ""
    return Finding(code="unknown_here", ours="no invoice", theirs=told, variance_sat=held_sat)


def wallet_variance(
    balance: WalletBalance,
    *,
    baseline_sat: int,
    confirmed_sat: int,
    unconfirmed_sat: int,
    leaving_sat: int,
    by_depth: bool,
    rest_sat: int = 0,
) -> int:
    """The gateway's wallet minus our books, in satoshi; 0 when what is on its way can explain it.

    `baseline_sat` lies there without being ours, `leaving_sat` may have left without being booked yet. `by_depth`:
    whether our books know what is confirmed; without a chain reader they only know totals. `rest_sat` is the most that may have come
    without being booked: parts of a satoshi, and what nobody has looked at yet.
    """
    theirs_sat = (balance.confirmed_sat if by_depth else balance.balance_sat) - baseline_sat
    ours_sat = confirmed_sat if by_depth else confirmed_sat + unconfirmed_sat
    gap_sat = theirs_sat - ours_sat
    # A block may have come since we looked, and a send may be under way: neither is a loss.
    most_sat = rest_sat + (unconfirmed_sat if by_depth else 0)
    return 0 if -leaving_sat - balance.cut_sat <= gap_sat <= most_sat else gap_sat
