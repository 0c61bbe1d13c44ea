"""The switches an operator turns: normal, read_only, queued, limited, and a pause per wallet.

Owns what each mode forbids; the rows are `store.leases`'.
"""

from bridge.core.errors import Refused, Unavailable
from bridge.flows.context import Bridge
from bridge.flows.permit import check_actor_in, require_words
from bridge.logs import log
from bridge.store import audit, leases
from bridge.store.db import Tx

MODES = ("normal", "read_only", "queued", "limited")
WALLET_MODES = ("normal", "paused")


def require_mode(tx: Tx, *refused_in: str) -> None:
    """Raises Unavailable("mode_<mode>") when the bridge is in one of these modes."""
    refuse_mode(leases.mode_of(tx), *refused_in)


def refuse_mode(mode: str | None, *refused_in: str) -> None:
    """The same for a mode that was read already; None is normal."""
    if mode in refused_in:
        raise Unavailable(f"mode_{mode}", "The operator has switched this off for now.", retry_after_seconds=60)


def refuse_paused(mode: str | None) -> None:
    """Raises Unavailable("wallet_paused") for a wallet in the mode "paused", which was read already."""
    if mode == "paused":
        raise Unavailable("wallet_paused", "The operator has paused this wallet.", retry_after_seconds=60)


def is_paused(tx: Tx, wallet_id: str) -> bool:
    return leases.mode_of(tx, f"wallet:{wallet_id}") == "paused"


def may_call_provider(tx: Tx, wallet_id: str) -> bool:
    """Whether the worker may call the gateway about this wallet now."""
    return leases.mode_of(tx) != "read_only" and not is_paused(tx, wallet_id)


def scopes(bridge: Bridge) -> list[str]:
    """What has a switch: the bridge, and every wallet that it works with."""
    return ["bridge", *(f"wallet:{rail.wallet_id}" for rail in bridge.rails)]


def set_mode(bridge: Bridge, *, scope: str, mode: str, actor: str, reason: str) -> None:
    """Turns a switch, audited. It takes effect within one loop of every worker and survives restarts.

    Raises Refused (unknown_scope, unknown_mode, actor_and_reason_required, forbidden).
    """
    if scope not in scopes(bridge):
        raise Refused("unknown_scope", f"There is a switch for each of {', '.join(scopes(bridge))}.", field="scope")
    allowed = MODES if scope == "bridge" else WALLET_MODES
    if mode not in allowed:
        raise Refused("unknown_mode", f"The mode must be one of {', '.join(allowed)}.", field="mode")
    require_words(actor, reason)
    now = bridge.clock()
    with bridge.store.write() as tx:
        check_actor_in(tx, actor, "mode.set", now=now)
        before = leases.mode_of(tx, scope)
        leases.set_mode(tx, scope, mode=mode, now=now, actor=actor, reason=reason)
        detail = {"scope": scope, "before": before, "after": mode}
        audit.write(tx, at=now, actor=actor, action="mode_set", reason=reason, detail=detail)
    log("mode.set", scope=scope, mode=mode, actor=actor)
