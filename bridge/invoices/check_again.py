"""A person has addresses read again: of one invoice now, or of every invoice after a restore.

Owns who asked and why; what is read changes things only through the one door.
"""

from collections import Counter
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Conflict, there
from bridge.invoices.observe import look
from bridge.permit import acting
from bridge.store import invoices
from bridge.turns import wait_for_call

NEEDS = "delivery.redeliver"
PAGE = 200


def check_again(bridge: Bridge, invoice_id: str, *, actor: str, reason: str) -> bool:
    """Reads the address of an invoice now; False when no world answered.

    Raises Refused (actor_and_reason_required, unknown_invoice, forbidden).
    """
    with acting(bridge, NEEDS, actor=actor, reason=reason) as act:
        there(invoices.find(act.tx, id=invoice_id), "unknown_invoice", "invoice")
        act.audit("look_asked", invoice_id=invoice_id)
    return look(bridge, invoice_id, actor=actor) is not None


def check_all_again(bridge: Bridge, *, actor: str, reason: str) -> Counter[str]:
    """Reads every invoice's address at the gateway and on the chain, in any mode. Counts moves as "new → settled".

    Raises Refused (actor_and_reason_required, forbidden).
    """
    with acting(bridge, NEEDS, actor=actor, reason=reason) as act:
        act.audit("look_at_all_asked")
    counted: Counter[str] = Counter()
    after = ""
    while True:
        with bridge.store.read() as tx:
            rows = invoices.page(tx, after=after, limit=PAGE)
        if not rows:
            return counted
        for row in rows:
            after = row.id
            counted[_looked(bridge, row, actor=actor)] += 1


def _looked(bridge: Bridge, row: Any, *, actor: str) -> str:
    before = row.status
    try:
        if bridge.reader_of(row.wallet_id) is not None:
            wait_for_call(bridge)
        seen = look(bridge, row.id, actor=actor, is_granted=True)
    except Conflict:
        return "changed meanwhile"
    if seen is None:
        return "no source answered"
    return "unchanged" if seen.decision.status == before else f"{before} → {seen.decision.status}"
