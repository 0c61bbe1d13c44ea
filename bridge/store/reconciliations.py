"""Reconciliations: one row per run with its cursor, one row per finding.

Owns their queries; must not compare anything, `core.reconciliation` does.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, func, insert, select

from bridge.core.clock import CLOCK_TOLERANCE
from bridge.core.payout import IN_FLIGHT
from bridge.core.reconciliation import Finding
from bridge.store.rows import Rows
from bridge.store.tables import (
    invoices,
    payouts,
    reconciliation_findings,
    reconciliations,
)

_RUNS = Rows(table=reconciliations, order=(reconciliations.c.started_at.desc(),))
_FINDINGS = Rows(table=reconciliation_findings, order=(reconciliation_findings.c.id,))
find, listing = _RUNS.find, _RUNS.listing


def start(
    tx: Connection,
    *,
    reconciliation_id: str,
    actor: str,
    is_scheduled: bool,
    from_at: datetime,
    to_at: datetime,
    now: datetime,
    phase: str,
    counts: Mapping[str, Any],
) -> None:
    tx.execute(
        insert(reconciliations).values(
            id=reconciliation_id,
            actor=actor,
            is_scheduled=is_scheduled,
            from_at=from_at,
            to_at=to_at,
            started_at=now,
            stepped_at=now,
            phase=phase,
            counts=dict(counts),
        )
    )


def advance(
    tx: Connection,
    reconciliation_id: str,
    *,
    phase: str,
    cursor: str,
    counts: Mapping[str, Any],
    now: datetime,
    is_over: bool,
) -> None:
    values: dict[str, Any] = {"phase": phase, "cursor": cursor, "stepped_at": now, "counts": dict(counts)}
    if is_over:
        values["finished_at"] = now
    _RUNS.change(tx, values, id=reconciliation_id)


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


def add_finding(
    tx: Connection, reconciliation_id: str, finding: Finding, *, invoice_id: str | None, merchant: str
) -> None:
    tx.execute(
        insert(reconciliation_findings).values(
            reconciliation_id=reconciliation_id,
            invoice_id=invoice_id,
            merchant=merchant,
            side=finding.side,
            kind=finding.kind,
            code=finding.code,
            ours=finding.ours,
            theirs=finding.theirs,
            variance_sat=finding.variance_sat,
            detail=dict(finding.detail),
        )
    )


def findings_of(tx: Connection, reconciliation_id: str, *, after: int, limit: int) -> Sequence[Row[Any]]:
    return _FINDINGS.listing(tx, match={"reconciliation_id": reconciliation_id}, cursor=(after,), limit=limit)


def summary_of(tx: Connection, reconciliation_id: str) -> dict[tuple[str, str, str], tuple[int, int]]:
    """How many findings of each (side, kind, code), and the sum of their absolute variances in satoshi."""
    f = reconciliation_findings.c
    size = func.sum(case((f.variance_sat < 0, -f.variance_sat), else_=f.variance_sat))
    query = select(f.side, f.kind, f.code, func.count(), size).where(f.reconciliation_id == reconciliation_id)
    rows = tx.execute(query.group_by(f.side, f.kind, f.code).order_by(f.side, f.kind, f.code))
    return {(side, kind, code): (int(count), int(sat)) for side, kind, code, count, sat in rows}


def count_invoices(tx: Connection) -> int:
    return int(tx.execute(select(func.count()).select_from(invoices)).scalar_one())


def leaving_sat(tx: Connection, *, wallet_id: str) -> int:
    """Gross satoshi of sends whose outcome is not booked yet."""
    query = select(func.coalesce(func.sum(payouts.c.gross_sat), 0))
    return int(tx.execute(query.where(payouts.c.wallet_id == wallet_id, payouts.c.state.in_(IN_FLIGHT))).scalar_one())
