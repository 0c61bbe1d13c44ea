"""The alert rules: what must make somebody look, evaluated on demand.

Owns the rules; thresholds come with the bridge's settings.
"""

from dataclasses import dataclass
from datetime import timedelta

from bridge.flows.context import Bridge
from bridge.store import audit, deliveries, invoices, reviews

STUCK_AFTER = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One rule that is tripped now."""

    rule: str
    detail: str


def alerts(bridge: Bridge) -> list[Alert]:
    """Every tripped rule; empty when all is well."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        counted = {
            "reviews_overdue": reviews.count_overdue(tx, now=now),
            "deliveries_parked": deliveries.depth(tx).get("parked", 0),
            "invoices_stuck": invoices.count_stuck(tx, before=now - STUCK_AFTER),
        }
        broken_chain = audit.first_break(tx)
    tripped = [Alert(rule=rule, detail=f"{count}") for rule, count in counted.items() if count]
    return tripped + ([Alert(rule="audit_chain_broken", detail=broken_chain)] if broken_chain else [])
