"""What reconciliations found: for people, for the gauges, for the alert.

Owns the shape of the report; must not compare anything itself.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.core.reconciliation import SIDES
from bridge.invoices.present import time_text
from bridge.permit import acting
from bridge.store import reconciliations, wallets
from bridge.store.db import Tx


def list_reconciliations(bridge: Bridge, *, limit: int) -> list[dict[str, Any]]:
    """The newest runs first, without their findings."""
    with bridge.store.read() as tx:
        return [_shown(row) for row in reconciliations.listing(tx, limit=limit)]


def show_reconciliation(bridge: Bridge, run_id: str, *, after: int = 0, limit: int = 200) -> dict[str, Any]:
    """One run with its summary and up to `limit` findings above the cursor `after`; `next_after` is None at the end.

    Raises Refused("unknown_reconciliation").
    """
    with bridge.store.read() as tx:
        row = reconciliations.find(tx, run_id)
        if row is None:
            raise Refused("unknown_reconciliation", "There is no such reconciliation.")
        summary = reconciliations.summary_of(tx, run_id)
        rows = reconciliations.findings_of(tx, run_id, after=after, limit=limit)
    return _shown(row) | {
        "summary": [
            {"side": side, "kind": kind, "code": code, "count": count, "variance_sat": sat}
            for (side, kind, code), (count, sat) in summary.items()
        ],
        "findings": [_finding(finding) for finding in rows],
        "next_after": rows[-1].id if len(rows) == limit else None,
    }


def set_baseline(bridge: Bridge, *, baseline_sat: int, actor: str, reason: str) -> None:
    """Says how many satoshi in the wallet are not the bridge's. Raises Refused (actor_and_reason_required, forbidden)."""
    wallet_id = bridge.wallet_id
    with acting(bridge, "review.mark", actor=actor, reason=reason) as act:
        before_sat = wallets.baseline_sat(act.tx, wallet_id)
        wallets.set_baseline(
            act.tx, wallet_id=wallet_id, baseline_sat=baseline_sat, now=act.now, actor=actor, reason=reason
        )
        detail = {"wallet_id": wallet_id, "before_sat": before_sat, "after_sat": baseline_sat}
        act.audit("wallet_baseline_set", detail=detail)


def age_seconds(tx: Tx, *, now: datetime) -> int | None:
    """Since the last finished run; before the first one, since the first invoice. None without any invoice."""
    row = reconciliations.newest_finished(tx, now=now)
    since = row.finished_at if row is not None else reconciliations.last_scheduled_at(tx, now=now)
    return int((now - since).total_seconds()) if since is not None else None


def refresh_reconciliation_gauges(bridge: Bridge, tx: Tx, *, now: datetime) -> None:
    """Variance, duration and age of the last finished run; the database has them, so every process shows the same."""
    row = reconciliations.newest_finished(tx, now=now)
    if row is not None:
        counts = row.counts
        for side in SIDES:
            bridge.metrics.recon_variance_sat.labels(side=side).set(abs(counts.get(f"{side}_variance_sat", 0)))
        bridge.metrics.recon_findings.set(counts.get("findings", 0))
        bridge.metrics.recon_duration_seconds.set((row.finished_at - row.started_at).total_seconds())
    age = age_seconds(tx, now=now)
    if age is not None:
        bridge.metrics.recon_age_seconds.set(age)
    for merchant, at in reconciliations.newest_report_at(tx, now=now).items():
        bridge.metrics.billing_report_age_seconds.labels(merchant=merchant).set((now - at).total_seconds())


def _shown(row: Any) -> dict[str, Any]:
    counts: Mapping[str, int] = row.counts
    return {
        "id": row.id,
        "actor": row.actor,
        "is_scheduled": row.is_scheduled,
        "from": time_text(row.from_at),
        "to": time_text(row.to_at),
        "started_at": time_text(row.started_at),
        "finished_at": time_text(row.finished_at) if row.finished_at else None,
        "phase": row.phase if row.finished_at is None else "done",
        "checked": counts.get("checked", 0),
        "total": counts.get("total", 0),
        "caught_up": counts.get("caught_up", 0),
        "unread": counts.get("unread", 0),
        "findings_count": counts.get("findings", 0),
        "variance_sat": {side: counts.get(f"{side}_variance_sat", 0) for side in SIDES},
        "is_clean": row.finished_at is not None and not counts.get("findings") and not counts.get("unread"),
    }


def _finding(row: Any) -> dict[str, Any]:
    return {
        "invoice_id": row.invoice_id,
        "merchant": row.merchant,
        "side": row.side,
        "kind": row.kind,
        "code": row.code,
        "ours": row.ours,
        "theirs": row.theirs,
        "variance_sat": row.variance_sat,
        "detail": row.detail,
    }
