"""Programs that come and go: what a restored database comes up as, and which workers are alive.

Owns both notes; what a mode stops is `permit`'s.
"""

from bridge.context import Bridge
from bridge.logs import log
from bridge.permit import require_words
from bridge.store import audit, backup, invoices, leases


def come_up_read_only(bridge: Bridge, *, copy_name: str, actor: str, reason: str) -> int:
    """The first transaction after a restore: read_only, no address and no feed position given out twice.

    Returns how many spare addresses were retired. The mode stays until `subtc-bridge mode normal`. Any name may restore:
    the people of the copy may be others than today's, and a restored database must not stay open because of that.
    """
    require_words(actor, reason)
    now = bridge.clock()
    with bridge.store.write() as tx:
        leases.set_mode(tx, "bridge", mode="read_only", now=now, actor=actor, reason=reason)
        retired = backup.leave_the_past(tx, merchants=sorted(bridge.merchants), now=now)
        detail = {"copy": copy_name, "spare_addresses_retired": retired}
        audit.write(tx, at=now, actor=actor, action="restored", reason=reason, detail=detail)
    log("database.restored", copy=copy_name, actor=actor, spare_addresses_retired=retired)
    return retired


def give_back_leases(bridge: Bridge, *, owner: str) -> None:
    """Ends all leases of `owner`, so that other workers need not wait until they run out."""
    with bridge.store.write() as tx:
        leases.give_back(tx, owner=owner)
        invoices.give_back(tx, owner=owner)
