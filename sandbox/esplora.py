"""The simulated chain over HTTP as two Esplora-style servers see it, /esplora and /esplora2, each with its own faults.

Must not change the chain. Both page as the knob `esplora_pages` says; the faults that hide or double something are our own,
after what real servers were seen to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from sandbox import wire
from sandbox.esplora_view import NotThere, Sight, View
from sandbox.faults import Fault
from sandbox.world import World

SERVERS = ("esplora", "esplora2")
ANSWERS: dict[str, Callable[..., Any]] = {
    "/blocks/tip/height": View.tip_height,
    "/blocks/tip/hash": View.tip_hash,
    "/block-height/<int:height>": View.block_hash,
    "/block/<block_hash>": View.block,
    "/address/<address>": View.address,
    "/address/<address>/txs": View.history,
    "/address/<address>/txs/mempool": View.unconfirmed,
    "/address/<address>/txs/chain": View.confirmed,
    "/address/<address>/txs/chain/<last_txid>": View.confirmed,
    "/tx/<txid>": View.transaction,
    "/tx/<txid>/status": View.status,
    "/tx/<txid>/outspend/<int:vout>": View.outspend,
    "/tx/<txid>/outspends": View.outspends,
}


def blueprint(world: World, server: str) -> Blueprint:
    """The routes of one server; heights and hashes are plain text, all else JSON."""
    routes = Blueprint(server, __name__, url_prefix=f"/{server}")
    for place, look in ANSWERS.items():
        routes.add_url_rule(place, place.replace("/", "_").replace(".", "_"), _route(world, server, look))
    return routes


def _route(world: World, server: str, look: Callable[..., Any]) -> Callable[..., Response]:
    def view(**asked: Any) -> Response:
        with world.lock:
            faults = world.faults.take(server)
        if (early := wire.before(world, faults)) is not None:
            return early
        with world.lock:
            seen = View(world.chain, _sight(world, faults), after_txid=request.args.get("after_txid"))
            try:
                found = look(seen, **asked)
            except NotThere as error:
                return Response(error.text, error.status, mimetype="text/plain")
        if isinstance(found, str):
            return wire.after(world, faults, Response(found, mimetype="text/plain"))
        return wire.after(world, faults, Response(wire.encode(found), mimetype="application/json"))

    return view


def _sight(world: World, faults: list[Fault]) -> Sight:
    """`lag {blocks, waiting}` and `reindexing {blocks}` show fewer blocks: so many back from the tip, or on from the start.

    `forgets {address, by_id}` has no history of the address, and with `by_id` none of what pays it; `lacks {txid}` misses one
    transaction; `blind`, `doubled` and `remembers` are as in Sight.
    """
    chain, by_kind = world.chain, {fault.kind: fault.params for fault in faults}
    top, waiting = chain.tip.height, True
    if "lag" in by_kind:
        top -= int(by_kind["lag"].get("blocks", 1))
        waiting = by_kind["lag"].get("waiting") is not False
    if "reindexing" in by_kind:
        top, waiting = min(top, chain.start_height + int(by_kind["reindexing"].get("blocks", 0))), False
    forgets = [fault.params for fault in faults if fault.kind == "forgets"]
    lacking = {str(fault.params.get("txid")) for fault in faults if fault.kind == "lacks"}
    for each in forgets:
        if each.get("by_id"):
            lacking.update(chain.history_of.get(str(each.get("address")), ()))
    return Sight(
        top=max(chain.start_height, top),
        pages=world.knobs.esplora_pages,
        waiting=waiting,
        blind="blind" in by_kind,
        lacking=frozenset(lacking),
        forgotten=frozenset(str(each.get("address")) for each in forgets),
        doubled="doubled" in by_kind,
        remembers="remembers" in by_kind,
    )
