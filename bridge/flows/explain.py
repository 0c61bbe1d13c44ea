"""The story of an invoice, told to support: what came, what was decided, who was told, what happens next.

Owns finding and telling; must not write.
"""

from typing import Any

from bridge.core.errors import Refused
from bridge.flows.context import Bridge
from bridge.flows.present import time_text
from bridge.flows.read_invoices import shown
from bridge.store import audit, invoices


def find(bridge: Bridge, reference: str) -> list[dict[str, Any]]:
    """Invoices by any reference: invoice id, billing payment id, address, txid, public id or pay page address."""
    wanted = reference.strip().rstrip("/").rpartition("/")[2]
    with bridge.store.read() as tx:
        return [shown(tx, bridge, row) for row in invoices.by_any_reference(tx, wanted)]


def explain(bridge: Bridge, reference: str, *, lang: str) -> list[str]:
    """The dated story, a line each. Raises Refused("unknown_invoice") when the reference finds none or several."""
    found = find(bridge, reference)
    if len(found) != 1:
        raise Refused("unknown_invoice", f"{len(found)} invoices match; use the invoice id.")
    with bridge.store.read() as tx:
        return [f"{time_text(row.at)} {row.action} {row.to_status}" for row in audit.of_invoice(tx, found[0]["id"])]
