"""A database restored from a copy: brought up so that it can do no harm.

Owns that step; the copy is `store.backup`'s, our own reads bring it up to date (`flows.check_again`), and nobody is told
anything before an operator says so.
"""

from bridge.flows.context import Bridge
from bridge.flows.permit import require_words
from bridge.logs import log
from bridge.store import audit, backup, leases


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
