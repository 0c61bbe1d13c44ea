"""The control surface under `/_control/`: what a test or the demo makes happen in the simulated world.

Must never sit under `/v1`, and must never be reachable by strangers: it has no authentication and can pay any address.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import Blueprint, Response, request

from sandbox import lightning_http
from sandbox.addresses import script_of
from sandbox.chain import Output, Transaction
from sandbox.wire import as_json
from sandbox.world import World

Body = dict[str, Any]
Command = Callable[[World, Body], Body]


def pay(world: World, body: Body) -> Body:
    """`{address, amount_sat}` or `{outputs: [{address, amount_sat}, …]}`, with `replaceable`, `confirmations` and `payer`:
    "taproot" spends from a taproot address.
    """
    wanted = body.get("outputs", [body])
    outputs = [Output(address=_address(world, o.get("address")), value_sat=_sat(o.get("amount_sat"))) for o in wanted]
    confirmations = _whole(body, "confirmations", 0)
    is_taproot = body.get("payer") == "taproot"
    transaction = world.chain.pay(outputs, replaceable=body.get("replaceable") is True, taproot=is_taproot)
    world.chain.mine(confirmations)
    world.chain_changed(None if confirmations else transaction.addresses)
    return {**_shown(transaction), "vout": 0, "confirmations": confirmations}


def mine(world: World, body: Body) -> Body:
    """`{blocks, empty?, address?, amount_sat?}`: the first block takes the whole mempool, unless `empty`; with an address it
    pays so much to its miner there.
    """
    reward = None
    if "address" in body:
        reward = Output(address=_address(world, body["address"]), value_sat=_sat(body.get("amount_sat")))
    world.chain.mine(_whole(body, "blocks", 1), empty=body.get("empty") is True, reward=reward)
    world.chain_changed()
    return _tip(world)


def replace(world: World, body: Body) -> Body:
    """`{txid, amount_sat?, address?, vout?}`: same inputs, higher fee; the old transaction vanishes."""
    address = _address(world, body["address"]) if "address" in body else None
    value_sat = _sat(body["amount_sat"]) if "amount_sat" in body else None
    transaction = world.chain.replace(_txid(body), value_sat=value_sat, address=address, vout=_whole(body, "vout", 0))
    world.chain_changed()
    return {**_shown(transaction), "vout": _whole(body, "vout", 0), "replaced": _txid(body)}


def double_spend(world: World, body: Body) -> Body:
    """`{txid}`: a block confirms another spending of the same coins, first seen in that block."""
    world.chain.double_spend(_txid(body))
    world.chain_changed()
    return _tip(world)


def drop(world: World, body: Body) -> Body:
    """`{txid}`: an unconfirmed transaction leaves the mempool, and what spends it."""
    transaction = world.chain.drop(_txid(body))
    world.chain_changed()
    return {"dropped": transaction.txid}


def reorg(world: World, body: Body) -> Body:
    """`{depth, drop?, mine?, include?}`: see Chain.reorganise."""
    world.chain.reorganise(
        _whole(body, "depth", 1),
        drop=body.get("drop", []),
        mine=_whole(body, "mine", 0) if "mine" in body else None,
        include=body.get("include") is True,
    )
    world.chain_changed()
    return _tip(world)


def knobs(world: World, body: Body) -> Body:
    """Knobs by name; `fault` or `faults` script faults, `clear_faults` ends them all."""
    changes = dict(body)
    faults = [changes.pop("fault")] if "fault" in changes else []
    faults += changes.pop("faults", [])
    if changes.pop("clear_faults", False):
        world.faults.clear()
    world.knobs.turn(changes)
    for fault in faults:
        world.faults.add(fault)
    world.chain_changed()
    return show_knobs(world, body)


def show_knobs(world: World, body: Body) -> Body:
    """All knobs, and the faults still in force."""
    return {**world.knobs.as_dict(), "faults": world.faults.as_list()}


def price(world: World, body: Body) -> Body:
    """`{currency, price, source?}`; the price as decimal text or a whole number."""
    text = body.get("price")
    if not isinstance(text, (str, int)) or isinstance(text, bool):
        raise ValueError("price must be decimal text")
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ValueError("price must be decimal text") from error
    world.prices.set(str(body.get("currency", "")), value, body.get("source"))
    return {"prices": {currency: f"{now:f}" for currency, now in world.prices.now.items()}}


def clock(world: World, body: Body) -> Body:
    """`{advance_s}` or `{set}` (Unix seconds); both absent only tells the time."""
    for name, move in (("set", world.clock.set), ("advance_s", world.clock.advance)):
        if name in body:
            if not isinstance(body[name], (int, float)) or isinstance(body[name], bool):
                raise ValueError(f"{name} must be a number of seconds")
            move(body[name])
    world.clock_moved()
    return {"now": world.clock.now(), "offset_s": world.clock.offset_s}


def state(world: World, body: Body) -> Body:
    """The chain's tip, its mempool, every wallet with its addresses and figures, and the clock. No key is shown."""
    gateway, chain = world.gateway, world.chain
    wallets = []
    for account in gateway.accounts.values():
        for wallet in account.wallets.values():
            confirmed, unconfirmed = gateway.balance(wallet)
            received = {a: chain.received_sat(a, min_conf=0) for a in wallet.addresses}
            wallets.append(
                {
                    "wallet_id": wallet.wallet_id,
                    "net": wallet.net,
                    "confirmed_sat": confirmed,
                    "unconfirmed_sat": unconfirmed,
                    "immature_sat": gateway.immature_sat(wallet),
                    "received_sat": received,
                }
            )
    return {
        **_tip(world),
        "net": world.net,
        "now": world.clock.now(),
        "mempool": list(chain.mempool),
        "wallets": wallets,
    }


def watches(world: World, body: Body) -> Body:
    """Every watch with its state."""
    world.callbacks.check()
    return {"watches": [watch.as_dict() for watch in world.callbacks.watches]}


def deliveries(world: World, body: Body) -> Body:
    """Every callback with its attempts."""
    return {"deliveries": [delivery.as_dict() for delivery in world.callbacks.deliveries]}


def calls(world: World, body: Body) -> Body:
    """The last requests to the simulated services, without keys."""
    return {"calls": [call.as_dict() for call in world.calls]}


def stranger(world: World, body: Body) -> Body:
    """An address that no wallet here owns: where a payer sends the money back to."""
    return {"address": world.gateway.stray_address()}


def restart(world: World, body: Body) -> Body:
    """The gateway restarts: all watches are lost."""
    world.callbacks.lose_watches()
    return {}


def reset(world: World, body: Body) -> Body:
    """A new world with the presets of the old one."""
    world.reset()
    return _tip(world)


COMMANDS: dict[tuple[str, str], Command] = {
    ("POST", "pay"): pay,
    ("POST", "mine"): mine,
    ("POST", "replace"): replace,
    ("POST", "double_spend"): double_spend,
    ("POST", "drop"): drop,
    ("POST", "reorg"): reorg,
    ("POST", "knobs"): knobs,
    ("GET", "knobs"): show_knobs,
    ("POST", "price"): price,
    ("POST", "clock"): clock,
    ("GET", "clock"): clock,
    ("GET", "state"): state,
    ("GET", "watches"): watches,
    ("GET", "deliveries"): deliveries,
    ("GET", "calls"): calls,
    ("POST", "stranger"): stranger,
    ("POST", "restart"): restart,
    ("POST", "reset"): reset,
    **lightning_http.COMMANDS,
}


def blueprint(world: World) -> Blueprint:
    """The control routes; a refusal is 400 with `{"error"}`."""
    routes = Blueprint("control", __name__, url_prefix="/_control")

    @routes.post("/callbacks/flush")
    def flush() -> Response:
        return as_json({"ended": world.callbacks.flush()})

    @routes.post("/forge")
    def forge() -> Response:
        """`{callback_url, body}`: any body to any callback URL, as a forger would; `body` may be text."""
        body = request.get_json(force=True, silent=True) or {}
        forged = body.get("body", {})
        content = forged if isinstance(forged, str) else json.dumps(forged)
        return as_json(world.callbacks.post(str(body.get("callback_url", "")), content.encode()))

    @routes.route("/<name>", methods=["GET", "POST"])
    def command(name: str) -> Response:
        found = COMMANDS.get((request.method, name))
        if found is None:
            return as_json({"error": f"no control {request.method} {name}"}, 404)
        body = request.get_json(force=True, silent=True) if request.get_data() else {}
        if not isinstance(body, dict):
            return as_json({"error": "the body must be a JSON object"}, 400)
        try:
            with world.lock:
                return as_json(found(world, body))
        except (ValueError, TypeError, AttributeError) as error:
            return as_json({"error": str(error)}, 400)

    return routes


def _shown(transaction: Transaction) -> Body:
    return {
        "txid": transaction.txid,
        "fee_sat": transaction.fee_sat,
        "replaceable": transaction.replaceable,
        "outputs": [{"address": o.address, "amount_sat": o.value_sat} for o in transaction.outputs],
    }


def _tip(world: World) -> Body:
    return {"height": world.chain.tip.height, "hash": world.chain.tip.hash}


def _address(world: World, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("address required")
    script_of(value, world.net)
    return value


def _sat(value: object) -> int:
    if type(value) is not int or value < 1:
        raise ValueError("amount_sat must be a positive integer")
    return value


def _whole(body: Body, name: str, default: int) -> int:
    value = body.get(name, default)
    if type(value) is not int or not 0 <= value <= 1_000:
        raise ValueError(f"{name} must be a whole number from 0 to 1000")
    return value


def _txid(body: Body) -> str:
    if not isinstance(body.get("txid"), str):
        raise ValueError("txid required")
    return str(body["txid"])
