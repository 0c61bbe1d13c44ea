"""A year at so many settled invoices a day: what the database keeps by then, how often addresses are looked at, whether purge keeps up.

Owns the calendar and what is assumed of payers. Rows and bytes are measured of invoices that lived through the programs; looks and purge
go by the code's own rules.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from bench.history import COPIED, LIVES, bytes_of, copy, lived
from bench.place import Bench, open_place
from bench.table import Report
from bridge.books.keep_books import MOST_AT_ONCE, PURGE_SECONDS
from bridge.core.books import RetentionDays
from bridge.core.policy import Rule
from bridge.core.schedule import is_done, next_look_at
from bridge.store.purge import CLASSES, count_due

A_DAY, DAYS = 100_000, 365
COPIES = 5_000
# Of payers and of the chain: of so many that settle one more is never paid; when the money comes, and a block.
UNPAID_OF, PAID_AFTER, BLOCK = 5, timedelta(minutes=5), timedelta(minutes=10)
BORN, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)


def measure(bench: Bench, report: Report, engine: str, *, a_day: int = A_DAY, copies: int = COPIES) -> None:
    with open_place(bench, engine) as place:
        template = lived(place)
        copy(place, template, first=0, last=copies)
        of = copies + LIVES
        sizes = {table: size / of for table, size in bytes_of(place).items() if table in COPIED}
        with place.store.read() as tx:
            rows = {t: tx.execute(text(f"SELECT count(*) FROM {t}")).scalar_one() / of for t in template}
            # What is due when all of it is old enough, of each class that has a row of these invoices.
            purged = [(each, count_due(tx, each, before=BORN + 9_999 * DAY) / of) for each in CLASSES]
    for day in (30, 90, DAYS):
        kept = {t: a_day * min(day, _days_kept(t)) for t in template}
        size = sum(sizes[t] * kept[t] for t in sizes)
        most = sorted(sizes, key=lambda t: -sizes[t] * kept[t])[:4]
        shown = ", ".join(f"{t} {sizes[t] * kept[t] / 1e9:.0f}" for t in most)
        report.note(f"{engine}: day {day}: GB, of them {shown}", size, f"{size / 1e9:,.0f}")
        count = sum(rows[t] * kept[t] for t in template)
        report.note(f"{engine}: day {day}: million rows", count, f"{count / 1e6:,.0f}")
    due = sum(share * a_day for _, share in purged)
    report.at_most(
        f"{engine}: records a day to purge, once all is old enough", due, 86_400 // PURGE_SECONDS * MOST_AT_ONCE
    )


def looks(report: Report, *, a_day: int = A_DAY) -> None:
    """How many looks are due a day. A wallet that says what it holds spares most of those where nothing came."""
    paid, unpaid = looks_of(is_paid=True), looks_of(is_paid=False)
    for day in (1, 8, DAYS):
        each = sum(paid[age] + unpaid[age] / UNPAID_OF for age in range(day))
        report.note(f"day {day}: looks a minute", each, f"{each * a_day / 1_440:,.0f}")
    last = max(paid), max(unpaid)
    report.note("an invoice is looked at until day", max(last), f"{last[0]} where it settled, {last[1]} unpaid")
    report.note(
        "looks of a settled invoice, of one unpaid", sum(paid.values()), f"{sum(paid.values())}, {sum(unpaid.values())}"
    )


def looks_of(*, is_paid: bool) -> Counter[int]:
    """How many looks one invoice has on each day of its life, by the rule that stands where nobody wrote another."""
    rule = Rule()
    expires_at = BORN + timedelta(seconds=rule.invoice_expiry_seconds)
    monitor_until = expires_at + timedelta(seconds=rule.monitor_seconds)
    found: Counter[int] = Counter()
    now = BORN
    while True:
        came, confirmed = is_paid and now >= BORN + PAID_AFTER, is_paid and now >= BORN + PAID_AFTER + BLOCK
        is_final = is_paid and now >= BORN + PAID_AFTER + rule.final_depth * BLOCK
        status = "settled" if confirmed else "processing" if came else "expired" if now >= expires_at else "new"
        told: dict[str, Any] = {"status": status, "is_final": is_final, "monitor_until": monitor_until, "now": now}
        if is_done(**told, is_closed=now >= monitor_until and not came, received_sat=int(came)):
            return found
        found[(now - BORN).days] += 1
        now = next_look_at(**told, is_confirming=came and not confirmed, created_at=BORN, expires_at=expires_at)


def _days_kept(table: str) -> int:
    """How long a row stays; what is only emptied stays as a row."""
    removed = [each for each in CLASSES if each.table.name == table and not each.emptied]
    return min([getattr(RetentionDays(), each.name, each.days) for each in removed], default=DAYS)
