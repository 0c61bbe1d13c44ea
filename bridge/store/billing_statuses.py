"""What the billing system says of its payments: the newest word on each, and which reports were whole.

Owns both tables; must not judge a status.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, exists, func, or_, select, update

from bridge.core.clock import CLOCK_TOLERANCE
from bridge.store.db import insert_into
from bridge.store.rows import page
from bridge.store.tables import billing_reports, billing_statuses, invoices


def open_report(
    tx: Connection, *, report_id: str, merchant: str, covers_from: datetime, now: datetime, source: str
) -> Row[Any]:
    """The report of this id, begun now if it is new; a repeated page of one report changes nothing about it."""
    values = {"merchant": merchant, "covers_from": covers_from, "started_at": now, "source": source}
    tx.execute(insert_into(tx, billing_reports).values(id=report_id, **values).on_conflict_do_nothing())
    return tx.execute(select(billing_reports).where(billing_reports.c.id == report_id)).one()


def finish_report(tx: Connection, report_id: str, *, now: datetime) -> None:
    over = update(billing_reports).where(billing_reports.c.id == report_id, billing_reports.c.finished_at.is_(None))
    tx.execute(over.values(finished_at=now))


def put(tx: Connection, *, merchant: str, rows: Iterable[Mapping[str, Any]], now: datetime) -> int:
    """Takes the newest word on each payment; an older report that arrives late never undoes a newer one."""
    count = 0
    for row in rows:
        fresh = insert_into(tx, billing_statuses).values(
            merchant=merchant, first_reported_at=now, reported_at=now, **row
        )
        said = {name: row[name] for name in ("status", "amount_text", "currency", "external_id")}
        tx.execute(
            fresh.on_conflict_do_update(
                index_elements=["merchant", "billing_payment_id"],
                set_=said | {"reported_at": now},
                where=or_(
                    billing_statuses.c.reported_at <= now, billing_statuses.c.reported_at > now + CLOCK_TOLERANCE
                ),
            )
        )
        count += 1
    return count


def covered(tx: Connection, merchant: str, *, now: datetime) -> tuple[datetime, datetime] | None:
    """(covers_from, started_at) of the newest whole report: what existed then and is not in it is not there."""
    query = select(billing_reports.c.covers_from, billing_reports.c.started_at)
    query = query.where(billing_reports.c.merchant == merchant, _is_finished(now))
    row = tx.execute(query.order_by(billing_reports.c.finished_at.desc()).limit(1)).one_or_none()
    return (row.covers_from, row.started_at) if row is not None else None


def newest_report_at(tx: Connection, *, now: datetime) -> dict[str, datetime]:
    """When each merchant last finished a report."""
    query = select(billing_reports.c.merchant, func.max(billing_reports.c.finished_at))
    rows = tx.execute(query.where(_is_finished(now)).group_by(billing_reports.c.merchant))
    return {merchant: at for merchant, at in rows}


def _is_finished(now: datetime) -> Any:
    """Finished by now: a report that a clock ahead finished would be the newest until then, and says of what came since that it
    is not there.
    """
    return billing_reports.c.finished_at <= now + CLOCK_TOLERANCE


def without_invoice(tx: Connection, *, from_at: datetime, after: tuple[str, str], limit: int) -> Sequence[Row[Any]]:
    """Payments that a report named since `from_at` and that have no invoice here, in key order above the cursor."""
    b = billing_statuses.c
    known = exists().where(invoices.c.merchant == b.merchant, invoices.c.billing_payment_id == b.billing_payment_id)
    query = select(billing_statuses).where(b.reported_at >= from_at, ~known)
    return page(tx, query, order=(b.merchant, b.billing_payment_id), cursor=after, limit=limit)
