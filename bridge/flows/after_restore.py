"""A database restored from a copy: brought up so that it can do no harm, and brought up to date by our own reads.

Owns the two steps; the copy is `store.backup`'s, and nobody is told anything before an operator says so.
"""

from collections import Counter
from collections.abc import Callable

from bridge.core.errors import Conflict
from bridge.flows.context import Bridge
from bridge.flows.observe import look
from bridge.logs import log
from bridge.store import audit, backup, invoices, leases

PAGE = 200


def come_up_read_only(bridge: Bridge, *, copy_name: str, actor: str) -> int:
    """The first transaction after a restore: read_only, no address and no feed position given out twice.

    Returns how many spare addresses were retired. The mode stays until `subtc-bridge mode normal`.
    """
    now = bridge.clock()
    reason = f"restored from {copy_name}"
    with bridge.store.write() as tx:
        leases.set_mode(tx, "bridge", mode="read_only", now=now, actor=actor, reason=reason)
        retired = backup.leave_the_past(tx, merchants=sorted(bridge.merchants), now=now)
        detail = {"copy": copy_name, "spare_addresses_retired": retired}
        audit.write(tx, at=now, actor=actor, action="restored", reason=reason, detail=detail)
    log("database.restored", copy=copy_name, actor=actor, spare_addresses_retired=retired)
    return retired


def look_at_all(bridge: Bridge, *, actor: str, progress: Callable[[], None] = lambda: None) -> Counter[str]:
    """Reads every invoice's address at the gateway and on the chain, in any mode. Counts moves as "new → settled"."""
    counted: Counter[str] = Counter()
    after = ""
    while True:
        with bridge.store.read() as tx:
            rows = invoices.page(tx, after=after, limit=PAGE)
        if not rows:
            return counted
        for row in rows:
            after = row.id
            counted[_looked(bridge, row.id, before=row.status, actor=actor)] += 1
            progress()


def _looked(bridge: Bridge, invoice_id: str, *, before: str, actor: str) -> str:
    try:
        seen = look(bridge, invoice_id, actor=actor)
    except Conflict:
        return "changed meanwhile"
    if seen is None:
        return "no source answered"
    return "unchanged" if seen.decision.status == before else f"{before} → {seen.decision.status}"
