"""The ways that one invoice can be paid over now: what is offered, what can be, and why another is not.

Owns that view for payer and support; `core.offering` chooses, and offering one is `invoices.offer_beside`'s.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.clock import believed
from bridge.core.errors import BridgeError
from bridge.core.offering import Chosen, Standing, choose
from bridge.core.rail import Rail, Target
from bridge.core.schedule import next_look_at
from bridge.invoices.present import uri_of
from bridge.logs import log
from bridge.permit import is_paused
from bridge.store import leases
from bridge.store.db import Tx

# What a rail said of itself is believed for so long; one that failed is not asked again before.
BELIEVED_FOR = timedelta(seconds=30)
# A look that is overdue by this has not been answered several times, whatever the schedule.
BLIND_AFTER = timedelta(minutes=5)
OFFERED, POSSIBLE, REFUSED = "offered", "possible", "refused"


@dataclass(frozen=True, kw_only=True)
class ShownWay:
    """One way for the payer's page. `state` is offered (pay to `text`), possible (made when the payer asks) or refused (`code` says
    why). An address stays watched, and `text` is there, where paying to it is not offered now.
    """

    way: str
    state: str
    code: str = ""
    text: str = ""
    uri: str = ""
    due_sat: int = 0
    expires_at: datetime | None = None


def shown_ways(
    bridge: Bridge, row: Any, targets: Sequence[Target], *, sat: int, code: str, now: datetime, paused: Sequence[str]
) -> tuple[ShownWay, ...]:
    """Every way in the order to show them. `sat` is what to pay now; where that is 0 nothing is offered, and `code` says why."""
    chosen = chosen_ways(bridge, row, sat=sat, now=now, paused=paused) if sat > 0 else _all_refused(bridge, code)
    return tuple(_shown(bridge, row, targets, each, sat=sat, now=now) for each in chosen)


def chosen_ways(bridge: Bridge, row: Any, *, sat: int, now: datetime, paused: Sequence[str]) -> tuple[Chosen, ...]:
    """What the merchant's table says of each way, by what is known of the rails; nothing is asked."""
    merchant = bridge.merchants.get(row.merchant)
    # The first is not asked here: nothing said of this invoice's address for too long is what its payer would feel.
    first = Standing(way=bridge.receiving.way, is_unwell=is_blind(row, now=now))
    beside = [
        standing_of(bridge, rail, now=now, is_paused=rail.wallet_id in paused) for rail in best_rails(bridge, now)
    ]
    rules = merchant.offering if merchant is not None else {}
    return choose((first, *beside), rules, sat=sat, tier=row.tier, country=row.customer_country)


def paused_beside(tx: Tx, bridge: Bridge) -> tuple[str, ...]:
    """The wallets beside the first over which nothing is made now, because an operator has switched them, or the bridge, off."""
    if not bridge.beside:
        return ()
    wallet_ids = tuple(rail.wallet_id for rail in bridge.beside)
    if leases.mode_of(tx) in ("read_only", "limited"):
        return wallet_ids
    return tuple(each for each in wallet_ids if is_paused(tx, each))


def best_rails(bridge: Bridge, now: datetime) -> Iterator[Rail]:
    """One rail for each way beside the first: of several the first that is not known to be unwell."""
    for way in dict.fromkeys(rail.way for rail in bridge.beside):
        rails = [rail for rail in bridge.beside if rail.way == way]
        yield next((each for each in rails if not is_unwell(bridge, each, now=now)), rails[0])


def standing_of(bridge: Bridge, rail: Rail, *, now: datetime, is_paused: bool = False) -> Standing:
    """How a rail beside the first stands, as far as it is known."""
    health = bridge.standing[rail.wallet_id][1] if is_known(bridge, rail, now) else None
    return Standing(
        way=rail.way,
        least_sat=rail.least_units,
        most_sat=rail.most_units,
        is_paused=is_paused,
        is_unwell=is_unwell(bridge, rail, now=now),
        inbound_sat=health.inbound_sat if health is not None else None,
        cost_bps=health.receive_bps if health is not None else None,
    )


def ask_standing(bridge: Bridge, rail: Rail) -> bool:
    """Asks a rail how it stands, unless it was asked a moment ago; whether it was asked now. Never inside a transaction."""
    now = bridge.clock()
    if rail.health is None or is_known(bridge, rail, now):
        return False
    health = None
    try:
        health = rail.health()
    except BridgeError as error:
        log("rail.unwell", rail=rail.name, wallet_id=rail.wallet_id, code=error.code)
    bridge.standing[rail.wallet_id] = (now, health)
    return True


def usable(targets: Sequence[Target], way: str, *, sat: int, now: datetime) -> Target | None:
    """What was offered beside the first over this way and is still good for what has to be paid now."""
    found = (t for t in reversed(targets[1:]) if t.way == way and t.due_units == sat)
    return next((t for t in found if t.expires_at is None or t.expires_at > now), None)


def is_unwell(bridge: Bridge, rail: Rail, *, now: datetime) -> bool:
    """Whether a rail said of late that it does not work, or said nothing."""
    if not is_known(bridge, rail, now):
        return False
    _, health = bridge.standing[rail.wallet_id]
    return health is None or not health.ok


def is_known(bridge: Bridge, rail: Rail, now: datetime) -> bool:
    """Whether a rail was asked how it stands a moment ago, whatever it answered."""
    at, _ = bridge.standing.get(rail.wallet_id, (None, None))
    return at is not None and abs(now - at) <= BELIEVED_FOR


def looked_at(row: Any, *, now: datetime) -> datetime | None:
    """When anybody last answered about the address of the first way."""
    asked = (believed(at, now=now) for at in (row.provider_asked_at, row.chain_asked_at))
    return max((at for at in asked if at is not None), default=None)


def is_blind(row: Any, *, now: datetime) -> bool:
    """Whether the look that was due after that answer is overdue, while the payer waits for news."""
    if row.status in ("settled", "invalid") or row.closed_at is not None:
        return False
    last = looked_at(row, now=now) or row.created_at
    due_at = next_look_at(
        status=row.status,
        is_final=False,
        is_confirming=row.received_sat > row.confirmed_sat,
        created_at=row.created_at,
        expires_at=row.expires_at,
        monitor_until=row.monitor_until,
        now=last,
    )
    return now > due_at + BLIND_AFTER


def _all_refused(bridge: Bridge, code: str) -> tuple[Chosen, ...]:
    ways = dict.fromkeys((bridge.receiving.way, *(rail.way for rail in bridge.beside)))
    return tuple(Chosen(way=way, code=code) for way in ways)


def _shown(bridge: Bridge, row: Any, targets: Sequence[Target], chosen: Chosen, *, sat: int, now: datetime) -> ShownWay:
    first = targets[0]
    is_first = chosen.way == first.way
    target = first if is_first else usable(targets, chosen.way, sat=sat, now=now)
    if target is None:
        return ShownWay(way=chosen.way, state=REFUSED if chosen.code else POSSIBLE, code=chosen.code, due_sat=sat)
    # What was offered once stays offered as long as it is good: its payer may be paying it.
    is_offered = sat > 0 and not (chosen.code and is_first)
    return ShownWay(
        way=chosen.way,
        state=OFFERED if is_offered else REFUSED,
        code="" if is_offered else chosen.code,
        text=target.text,
        uri=uri_of(target, sat),
        due_sat=sat,
        expires_at=target.expires_at or row.expires_at,
    )
