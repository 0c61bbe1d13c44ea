"""Whether the bridge can do its work now: database, gateway, prices, and a chain reader that sees a real address's history.

Owns the list of checks; liveness of the process is not one of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from bridge.context import Bridge
from bridge.core.coverage import gap_of
from bridge.core.errors import BridgeError, Unavailable
from bridge.core.evidence import Health
from bridge.core.rail import Chain
from bridge.invoices.chain import horizon
from bridge.invoices.price import current_rate
from bridge.store import invoices, leases


def chain_sight(bridge: Bridge, chain: Chain, *, now: datetime) -> str:
    """What the reader sees, in words. Raises Unavailable, with the gap as its code when silence would say nothing."""
    with bridge.store.read() as tx:
        newest, held_to = invoices.newest(tx), horizon(tx, bridge, now=now)
    if newest is None:
        return f"height {chain.tip().height}; no invoice yet whose history could be asked"
    reading = chain.read(newest.address, born_at=newest.created_at, asked_at=now)
    if gap := gap_of(reading, born_at=newest.created_at, horizon=held_to):
        seen = f"{reading.source} shows height {reading.tip.height} of {reading.tip.time:%Y-%m-%d %H:%M} UTC"
        raise Unavailable(gap, f"{seen}; the highest known is {max(held_to.height, reading.tip.height)}.")
    return f"height {reading.tip.height}"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that must work. `detail` says what is wrong, never a secret."""

    name: str
    ok: bool
    detail: str = ""


def readiness(bridge: Bridge) -> list[Check]:
    """Runs every check; each fails alone."""
    currencies = sorted({c for m in bridge.merchants.values() for c in m.currencies})
    checks = [_check("database", lambda: _database(bridge))]
    health = bridge.receiving.health
    if health is not None:
        checks.append(_check("provider", lambda: _provider(health)))
    for currency in currencies:
        checks.append(_check(f"price_{currency}", lambda currency=currency: _price(bridge, currency)))  # type: ignore[misc]
    if bridge.chain is not None:
        chain = bridge.chain
        checks.append(_check("chain", lambda: chain_sight(bridge, chain, now=bridge.clock())))
    return checks


def _check(name: str, attempt: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=attempt())
    except BridgeError as error:
        return Check(name=name, ok=False, detail=error.code)
    except Exception as error:  # a driver's own error: say what kind, not what it printed
        return Check(name=name, ok=False, detail=type(error).__name__)


def _database(bridge: Bridge) -> str:
    with bridge.store.read() as tx:
        return f"mode {leases.mode_of(tx)}"


def _provider(ask: Callable[[], Health]) -> str:
    if not ask().ok:
        raise BridgeError("provider_unhealthy", "The gateway says that it is not well.")
    return "ok"


def _price(bridge: Bridge, currency: str) -> str:
    rate = current_rate(bridge, currency, bridge.clock())
    return f"{len(rate.samples)} sources"
