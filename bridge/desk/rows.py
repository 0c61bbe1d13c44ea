"""The rows of the operators' pages: what of a stored row is shown, with times as text.

Owns these shapes; must not read the database, callers hand in rows.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from bridge.core.money import minor_text
from bridge.invoices.present import depth_of, time_text

AUDITED = (
    "id",
    "invoice_id",
    "actor",
    "action",
    "from_status",
    "to_status",
    "reason",
    "rule",
    "policy_version",
    "detail",
    "position",
)


def quote(row: Any) -> dict[str, Any]:
    return {
        "version": row.version,
        "kind": row.kind,
        "base": minor_text(row.base_minor, row.currency),
        "price": minor_text(row.price_minor, row.currency),
        "currency": row.currency,
        "risk_bps": row.risk_bps,
        "due_sat": row.due_sat,
        "effective_from": time_text(row.effective_from),
        "expires_at": time_text(row.expires_at),
        "policy_version": row.policy_version,
        "samples": row.samples,
    }


def payment(row: Any, *, needed: int) -> dict[str, Any]:
    names = ("key", "amount_sat", "replaceable", "replaced", "source")
    times = ("first_seen_at", "asked_at")
    return _fields(row, names) | {"confirmations": depth_of(row, needed=needed)} | _times(row, times)


def journal(row: Any, legs: Sequence[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "family": row.family,
        "at": time_text(row.at),
        "legs": [{"account": leg.account, "asset": leg.asset, "units": leg.units} for leg in legs],
    }


def delivery(row: Any) -> dict[str, Any]:
    names = ("id", "event_id", "type", "invoice_id", "merchant", "sequence", "state", "attempts")
    times = ("created_at", "next_try_at")
    return _fields(row, names) | _times(row, times)


def attempt(row: Any) -> dict[str, Any]:
    names = ("delivery_id", "outcome", "status", "latency_ms", "answer_excerpt", "error")
    return _fields(row, names) | {"at": time_text(row.at)}


def callback(row: Any) -> dict[str, Any]:
    names = ("source", "state", "note", "copies", "headers")
    body = bytes(row.body).decode(errors="replace")
    return _fields(row, names) | {
        "id": f"in:{row.id}",
        "received_at": time_text(row.received_at),
        "body": body,
    }


def review(row: Any, now: datetime) -> dict[str, Any]:
    names = ("id", "invoice_id", "merchant", "kind", "severity", "state", "times_seen", "decision", "actor", "note")
    times = ("opened_at", "due_at", "resolved_at")
    is_overdue = row.state == "open" and row.due_at < now
    return _fields(row, names) | _times(row, times) | {"is_overdue": is_overdue}


def audited(row: Any) -> dict[str, Any]:
    return _fields(row, AUDITED) | {"at": time_text(row.at)}


def _fields(row: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _times(row: Any, names: Iterable[str]) -> dict[str, str | None]:
    found: dict[str, datetime | None] = _fields(row, names)
    return {name: time_text(at) if at is not None else None for name, at in found.items()}
