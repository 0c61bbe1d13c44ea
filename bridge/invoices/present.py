"""An invoice as the outside sees it: the JSON of the API, of events and of the pay page.

Owns that shape; must not read the database, callers hand in rows.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.money import btc_text, minor_text
from bridge.core.quote import Quote


def time_text(at: datetime) -> str:
    """RFC 3339 in UTC with seconds."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def approvals_json(rows: Iterable[Any]) -> list[dict[str, str]]:
    """Who gave their approval, why and when."""
    return [{"actor": row.actor, "reason": row.reason, "at": time_text(row.at)} for row in rows]


def bip21(address: str, sat: int) -> str:
    """The wallet link for `sat` to `address`; without an amount when nothing is due."""
    return f"bitcoin:{address}" + (f"?amount={btc_text(sat)}" if sat > 0 else "")


def invoice_json(bridge: Bridge, row: Any, quote: Quote, sources: list[str]) -> dict[str, Any]:
    """The absolute invoice: amounts of fiat as decimal text, satoshi as integers."""
    return {
        "id": row.id,
        "billing_payment_id": row.billing_payment_id,
        "status": row.status,
        "exception": row.exception,
        "hold": row.hold,
        "reason": row.reason,
        "amount": minor_text(row.amount_minor, row.currency),
        "currency": row.currency,
        "address": row.address,
        "network": row.network,
        "received_sat": row.received_sat,
        "confirmed_sat": row.confirmed_sat,
        "remaining_sat": row.remaining_sat,
        "quote": {
            "version": quote.version,
            "due_sat": quote.due_sat,
            "rate": minor_text(quote.price_minor, quote.currency),
            "sources": sources,
            "expires_at": time_text(quote.expires_at),
        },
        "expires_at": time_text(row.expires_at),
        "monitor_until": time_text(row.monitor_until),
        "grace_until": time_text(row.grace_until) if row.grace_until else None,
        "payment_url": f"{bridge.public_url}/pay/{row.public_id}",
        "bip21": bip21(row.address, row.remaining_sat),
        "sequence": row.sequence,
        "trace_id": row.trace_id,
        "created_at": time_text(row.created_at),
        "updated_at": time_text(row.updated_at),
    }
