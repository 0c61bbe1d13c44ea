"""Reconciliations, one row per run with its cursor and one per finding, and what the billing system reported of its payments.

Owns their queries: the newest word on each payment, which reports were whole. Must not judge a status nor compare anything,
`core.reconciliation` does.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, exists, func, or_, select

from bridge.core.clock import CLOCK_TOLERANCE
from bridge.core.reconciliation import Finding
from bridge.store.db import insert_into
from bridge.store.rows import Rows, page
from bridge.store.tables import (
    billing_reports,
    billing_statuses,
    invoices,
    reconciliation_findings,
    reconciliations,
)

_RUNS = Rows(table=reconciliations, order=(reconciliations.c.started_at.desc(),))
_FINDINGS = Rows(table=reconciliation_findings, order=(reconciliation_findings.c.id,))
_REPORTS = Rows(table=billing_reports)
find, listing = _RUNS.find, _RUNS.listing


def start(tx: Connection, *, reconciliation_id: str, now: datetime, **asked: Any) -> None:
    """`asked`: actor, is_scheduled, from_at, to_at, the first phase and the counts before it."""
    _RUNS.add(tx, {"id": reconciliation_id, "started_at": now, "stepped_at": now, **asked})


def advance(tx: Connection, reconciliation_id: str, *, now: datetime, is_over: bool, **reached: Any) -> None:
    """`reached`: phase, cursor and counts."""
    finished = {"finished_at": now} if is_over else {}
    _RUNS.change(tx, {"stepped_at": now, **reached, **finished}, id=reconciliation_id)


def unfinished(tx: Connection) -> Row[Any] | None:
    query = select(reconciliations).where(reconciliations.c.finished_at.is_(None))
    return tx.execute(query.order_by(reconciliations.c.started_at).limit(1)).one_or_none()


def newest_finished(tx: Connection, *, now: datetime) -> Row[Any] | None:
    query = select(reconciliations).where(reconciliations.c.finished_at <= now + CLOCK_TOLERANCE)
    return tx.execute(query.order_by(reconciliations.c.finished_at.desc()).limit(1)).one_or_none()


def last_scheduled_at(tx: Connection, *, now: datetime) -> datetime | None:
    """When the newest scheduled run began; before the first one, when the first invoice was opened."""
    query = select(func.max(reconciliations.c.started_at)).where(reconciliations.c.is_scheduled)
    query = query.where(reconciliations.c.started_at <= now + CLOCK_TOLERANCE)
    at: datetime | None = tx.execute(query).scalar() or tx.execute(select(func.min(invoices.c.created_at))).scalar()
    return at


def age_seconds(tx: Connection, *, now: datetime) -> int | None:
    """Since the last finished run; before the first one, since the first invoice. None without any invoice."""
    row = newest_finished(tx, now=now)
    since = row.finished_at if row is not None else last_scheduled_at(tx, now=now)
    return int((now - since).total_seconds()) if since is not None else None


def add_finding(
    tx: Connection, reconciliation_id: str, finding: Finding, *, invoice_id: str | None, merchant: str
) -> None:
    its = {"reconciliation_id": reconciliation_id, "invoice_id": invoice_id, "merchant": merchant}
    _FINDINGS.add(tx, its | vars(finding) | {"side": finding.side, "kind": finding.kind})


def findings_of(tx: Connection, reconciliation_id: str, *, after: int, limit: int) -> Sequence[Row[Any]]:
    return _FINDINGS.listing(tx, match={"reconciliation_id": reconciliation_id}, cursor=(after,), limit=limit)


def summary_of(tx: Connection, reconciliation_id: str) -> dict[tuple[str, str, str], tuple[int, int]]:
    """How many findings of each (side, kind, code), and the sum of their absolute variances in satoshi."""
    f = reconciliation_findings.c
    size = func.sum(case((f.variance_sat < 0, -f.variance_sat), else_=f.variance_sat))
    query = select(f.side, f.kind, f.code, func.count(), size).where(f.reconciliation_id == reconciliation_id)
    rows = tx.execute(query.group_by(f.side, f.kind, f.code).order_by(f.side, f.kind, f.code))
    return {(side, kind, code): (int(count), int(sat)) for side, kind, code, count, sat in rows}


def open_report(
    tx: Connection, *, report_id: str, merchant: str, covers_from: datetime, now: datetime, source: str
) -> Row[Any]:
    """The report of this id, begun now if it is new; a repeated page of one report changes nothing about it."""
    values = {"merchant": merchant, "covers_from": covers_from, "started_at": now, "source": source}
    tx.execute(insert_into(tx, billing_reports).values(id=report_id, **values).on_conflict_do_nothing())
    return tx.execute(select(billing_reports).where(billing_reports.c.id == report_id)).one()


def finish_report(tx: Connection, report_id: str, *, now: datetime) -> None:
    _REPORTS.change(tx, {"finished_at": now}, id=report_id, finished_at=None)


def put_statuses(tx: Connection, *, merchant: str, rows: Iterable[Mapping[str, Any]], now: datetime) -> int:
    """Takes the newest word on each payment; an older report that arrives late never undoes a newer one."""
    count = 0
    for row in rows:
        fresh = insert_into(tx, billing_statuses).values(
            merchant=merchant, first_reported_at=now, reported_at=now, **row
        )
        said = {
            name: row[name] for name in ("status", "amount_text", "currency", "external_id", "address") if name in row
        }
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
