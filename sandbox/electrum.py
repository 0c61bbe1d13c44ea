"""An emulated Electrum daemon under `/electrum`: the JSON-RPC of one wallet whose channels lead into the sandbox's Lightning network.

Must not decide about money. Calls, members and words are those of Electrum 4.8.3 as they were seen, as far as a shop asks for them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, request

from sandbox import bolt11, wire
from sandbox.faults import Fault
from sandbox.lightning import FAILED, MSAT, NODE_KEY, PENDING, SUCCESS, LnbitsError, LnPayment, LnWallet
from sandbox.lightning_http import CHANGE, outage
from sandbox.wire import encode
from sandbox.world import World

USER, PASSWORD = "sandbox", "password-of-the-sandbox-electrum"
WALLET_ID = "electrum"
NODE_ID = bolt11.public_key(NODE_KEY)
# What the peer of a channel has on its side, and must keep there.
INBOUND_SAT, RESERVE_SAT = 5_000_000, 10_000
NETWORKS = {"main": "mainnet", "test": "testnet", "regtest": "regtest"}
UNPAID, EXPIRED, PAID, INFLIGHT, BROKEN = 0, 1, 3, 4, 5
SENDS = {SUCCESS: PAID, PENDING: INFLIGHT, FAILED: BROKEN}


class Refusal(Exception):
    """What the daemon refuses in its own words; anything else that goes wrong is an internal error there."""


def blueprint(world: World) -> Blueprint:
    """The one route of the daemon."""
    routes = Blueprint("electrum", __name__, url_prefix="/electrum")

    @routes.post("/")
    def rpc() -> Response:
        if (down := outage(world)) is not None:
            return down
        wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        login = request.headers.get("Authorization")
        if login != f"Basic {wanted}":
            return Response("Forbidden", 403) if login else Response("Unauthorized", 401)
        body = request.get_json(force=True)
        method, named = str(body["method"]), dict(body.get("params") or {})
        if method not in COMMANDS:
            return Response("Invalid Request", 500)
        named.pop("wallet_path", None)
        return _answer(world, method, named)

    return routes


def _answer(world: World, method: str, named: dict[str, Any]) -> Response:
    with world.lock:
        faults = world.faults.take(_MODES.get(method, "ln_wallet"))
    world.pause(world.knobs.latency_s)
    if (early := wire.before(world, faults)) is not None:
        return early
    answer: dict[str, Any] = {"id": 1, "jsonrpc": "2.0"}
    with world.lock:
        try:
            answer["result"] = _spoiled(COMMANDS[method](world, wallet_of(world), named, faults), faults)
        except Refusal as refusal:
            answer["error"] = {"code": 1, "message": str(refusal)}
        except (LnbitsError, AssertionError) as failed:
            data = {"exception": repr(failed), "traceback": "Traceback (most recent call last): …"}
            answer["error"] = {"code": 2, "message": "internal error while executing RPC", "data": data}
    return wire.after(world, faults, Response(encode(answer), mimetype="application/json"))


def _spoiled(result: Any, faults: list[Fault]) -> Any:
    for fault in faults:
        if fault.kind == "not_loaded":
            raise Refusal("wallet not loaded")
        if fault.kind == "error":
            raise AssertionError(str(fault.params.get("detail", "")))
        for each in result if isinstance(result, list) else [result]:
            if fault.kind == "set_member" and isinstance(each, dict):
                each[str(fault.params.get("member"))] = fault.params.get("value")
    return result


def wallet_of(world: World) -> LnWallet:
    """The daemon's wallet, among those of the network."""
    found = world.lightning.wallets.get(WALLET_ID)
    return found or world.lightning.create_wallet("electrum", (WALLET_ID, f"{PASSWORD} in", f"{PASSWORD} out"))


def _info(world: World, own: LnWallet, named: dict[str, Any], faults: list[Fault]) -> Any:
    height = 100
    return {
        "network": NETWORKS[world.net],
        "connected": True,
        "blockchain_height": height,
        "server_height": height,
        "version": "4.8.3",
    }


def _channels(world: World, own: LnWallet, named: dict[str, Any], faults: list[Fault]) -> Any:
    count = world.knobs.ln_channels
    local_sat = world.lightning.balance_msat(own) // count // MSAT
    channel = {
        "state": "OPEN",
        "peer_state": "GOOD",
        "capacity": local_sat + INBOUND_SAT,
        "local_balance": local_sat,
        "remote_balance": INBOUND_SAT,
        "local_reserve": RESERVE_SAT,
        "remote_reserve": RESERVE_SAT,
        "local_unsettled_sent": 0,
        "remote_unsettled_sent": 0,
    }
    return [dict(channel) for _ in range(count)]


def _add(world: World, own: LnWallet, named: dict[str, Any], faults: list[Fault]) -> Any:
    sat = int(Decimal(named["amount"]) * 100_000_000)
    asked = {"amount": sat, "memo": named.get("memo"), "expiry": named.get("expiry")}
    change: dict[str, Any] = {}
    for fault in faults:
        change |= CHANGE[fault.kind](asked) if fault.kind in CHANGE else {}
    made = _request(world, world.lightning.create(own, asked, change))
    for fault in faults:
        if fault.kind == "credits_other":
            made["amount_msat"] += 1_000
        elif fault.kind == "other_hash":
            made["rhash"] = made["request_id"] = "ab" * 32
    return made


def _list(world: World, own: LnWallet, named: dict[str, Any], faults: list[Fault]) -> Any:
    mine = [_request(world, each) for each in world.lightning.payments if _is_request(each, own)]
    return [each for each in mine if not named.get("pending") or each["status"] == UNPAID]


def _get(world: World, own: LnWallet, named: dict[str, Any], faults: list[Fault]) -> Any:
    if any(fault.kind == "forgets" for fault in faults):
        raise Refusal("Request not found")
    return _request(world, _mine(world, own, named["request_id"]))


def _delete(world: World, own: LnWallet, named: dict[str, Any], faults: list[Fault]) -> Any:
    world.lightning.payments.remove(_mine(world, own, named["request_id"]))
    return None


def _check(world: World, own: LnWallet, named: dict[str, Any], faults: list[Fault]) -> Any:
    """Made for held ones: of one of its own that is not paid yet the daemon only fails."""
    payment = next((p for p in world.lightning.payments if p.payment_hash == named["payment_hash"]), None)
    if payment is None:
        return {"status": "unknown", "received_amount_sat": 0}
    assert payment.status == SUCCESS
    sat = payment.amount_msat // MSAT
    return {
        "status": "settled",
        "received_amount_sat": sat,
        "invoice_amount_sat": sat,
        "preimage": payment.preimage,
    }


def _pay(world: World, own: LnWallet, named: dict[str, Any], faults: list[Fault]) -> Any:
    payment_hash = bolt11.payment_hash_of(named["invoice"])
    before = _sent(world, own, payment_hash)
    if before is not None and before.status != FAILED:
        words = {
            SUCCESS: "This invoice has been paid already",
            PENDING: "A payment was already initiated for this invoice",
        }
        raise Refusal(words[before.status])
    try:
        made: LnPayment | None = world.lightning.send(own, named["invoice"], None)
    except LnbitsError:
        made = None
    is_paid = made is not None and made.status == SUCCESS
    preimage = made.preimage if made is not None and is_paid else None
    return {"payment_hash": payment_hash, "success": is_paid, "preimage": preimage, "log": []}


def _invoice(world: World, own: LnWallet, named: dict[str, Any], faults: list[Fault]) -> Any:
    found = _sent(world, own, named["invoice_id"])
    if found is None:
        raise Refusal("Request not found")
    return {"invoice_id": found.payment_hash, "status": SENDS[found.status], "lightning_invoice": found.bolt11}


def _history(world: World, own: LnWallet, named: dict[str, Any], faults: list[Fault]) -> Any:
    mine = [p for p in world.lightning.payments if p.wallet_id == own.wallet_id and p.status == SUCCESS]
    return [
        {
            "type": "payment",
            "payment_hash": each.payment_hash,
            "preimage": each.preimage,
            "amount_msat": each.amount_msat + each.fee_msat,
            "fee_msat": None if each.is_incoming else -each.fee_msat,
            "timestamp": int(each.updated_at),
        }
        for each in mine
    ]


def _is_request(payment: LnPayment, own: LnWallet) -> bool:
    return payment.is_incoming and payment.wallet_id == own.wallet_id


def _mine(world: World, own: LnWallet, payment_hash: str) -> LnPayment:
    for payment in world.lightning.payments:
        if payment.payment_hash == payment_hash and _is_request(payment, own):
            return payment
    raise Refusal("Request not found")


def _sent(world: World, own: LnWallet, payment_hash: str) -> LnPayment | None:
    found = world.lightning.find(own, payment_hash)
    return found if found is not None and not found.is_incoming else None


def _request(world: World, payment: LnPayment) -> dict[str, Any]:
    """As the daemon shows one. A held payment is one that is not paid."""
    is_over = not payment.held and world.clock.now() > payment.expires_at
    state = PAID if payment.status == SUCCESS else EXPIRED if payment.status == FAILED or is_over else UNPAID
    shown: dict[str, Any] = {
        "is_lightning": True,
        "message": payment.memo,
        "timestamp": int(payment.made_at),
        "expiry": int(payment.expires_at) - int(payment.made_at),
        "status": state,
        "amount_sat": payment.amount_msat // MSAT,
        "amount_msat": payment.amount_msat,
        "request_id": payment.payment_hash,
        "rhash": payment.payment_hash,
        "lightning_invoice": payment.bolt11,
    }
    if state == UNPAID:
        shown["can_receive"] = payment.amount_msat // MSAT <= INBOUND_SAT - RESERVE_SAT
    elif state == PAID:
        shown["preimage"] = payment.preimage
    return shown


Command = Callable[[World, LnWallet, dict[str, Any], list[Fault]], Any]
COMMANDS: dict[str, Command] = {
    "getinfo": _info,
    "nodeid": lambda world, own, named, faults: f"{NODE_ID}@127.0.0.1:9735",
    "load_wallet": lambda world, own, named, faults: "wallet",
    "list_channels": _channels,
    "add_request": _add,
    "list_requests": _list,
    "get_request": _get,
    "delete_request": _delete,
    "check_hold_invoice": _check,
    "lnpay": _pay,
    "get_invoice": _invoice,
    "lightning_history": _history,
}
_MODES = {
    "add_request": "ln_create",
    "list_requests": "ln_list",
    "get_request": "ln_read",
    "check_hold_invoice": "ln_read",
    "get_invoice": "ln_read",
    "lnpay": "ln_send",
}
