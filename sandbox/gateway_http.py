"""The gateway's door: `/health` and `/v1/btc?mode=…`, envelopes, authentication, status codes, faulty answers.

Must not decide about money. Envelope and member order are from SUBTC contract 3; HTTP statuses, error codes but one and
the order of checks are our own choices.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from sandbox import modes, wire
from sandbox.faults import Fault
from sandbox.gateway import STATUS_OF, GatewayError
from sandbox.modes import Cut, Mode, Request
from sandbox.sends import wallet_send
from sandbox.world import World

MODES: dict[str, Mode] = {
    "key_status": modes.key_status,
    "wallet_create": modes.wallet_create,
    "wallet_list": modes.wallet_list,
    "wallet_receive": modes.wallet_receive,
    "inbox_create": modes.inbox_create,
    "wallet_balance": modes.wallet_balance,
    "wallet_send": wallet_send,
    "wallet_poll": modes.wallet_poll,
    "wallet_wait_event": modes.wallet_wait_event,
}
HANG_S = 60.0

Envelope = dict[str, Any]


def blueprint(world: World) -> Blueprint:
    """The routes of the emulated gateway."""
    routes = Blueprint("gateway", __name__)

    @routes.get("/health")
    def health() -> Response:
        return _answer(world, "health", lambda: _health(world))

    @routes.route("/v1/btc", methods=["GET", "POST"])
    def call() -> Response:
        mode = request.args.get("mode", "")
        return _answer(world, mode, lambda: _call(world, mode))

    return routes


def _answer(world: World, mode: str, produce: Callable[[], Envelope]) -> Response:
    if (down := _outage(world)) is not None:
        return down
    with world.lock:
        faults = world.faults.take(mode)
    world.pause(world.knobs.latency_s)
    if (early := wire.before(world, faults)) is not None:
        return early
    with world.lock:
        try:
            envelope = _refused(faults) or produce()
            for fault in faults:
                if fault.kind in _SPOIL:
                    _SPOIL[fault.kind](world, fault, envelope)
        except GatewayError as error:
            envelope = failure(error.code, error.hint)
        except Cut:
            return wire.cut()
        status = _status(world, envelope)
    return wire.after(world, faults, wire.as_json(envelope, status))


def failure(code: str, hint: str) -> Envelope:
    """The failure envelope; it has no `request_id`, as in the one captured failure (contract 3)."""
    return {"detail": {"hint": hint}, "error": code, "ok": False}


def _status(world: World, envelope: Envelope) -> int:
    if envelope.get("ok") is not False or world.knobs.status == "always200":
        return 200
    return STATUS_OF.get(envelope.get("error", ""), 503)


def _outage(world: World) -> Response | None:
    kind = world.knobs.outage
    if kind is None:
        return None
    if kind == "503":
        return Response("Service Unavailable", 503, mimetype="text/plain")
    if kind == "hang":
        world.pause(HANG_S)
    return wire.cut()


def _call(world: World, mode: str) -> Envelope:
    gateway = world.gateway
    if request.method != "POST":
        raise GatewayError("BAD_REQUEST", "use POST")
    if mode == "key_create":
        return {"ok": True, "request_id": gateway.request_id(), "result": {"key": gateway.create_key().key}}
    if mode not in MODES:
        raise GatewayError("UNKNOWN_MODE", "unknown mode")
    account = gateway.accounts.get(request.headers.get("X-SUBTC-KEY", ""))
    if account is None:
        raise GatewayError("UNAUTHORIZED", "unknown key")
    asked = Request(account=account, body=_body(), idempotency_key=request.headers.get("X-SUBTC-IDEMPOTENCY"))
    result = MODES[mode](world, asked)
    return {"ok": True, "request_id": gateway.request_id(), "result": dict(result)}


def _body() -> dict[str, Any]:
    text = request.get_data()
    if not text.strip():
        return {}
    try:
        body = json.loads(text)
    except ValueError as error:
        raise GatewayError("BAD_JSON", "body is not JSON") from error
    if not isinstance(body, dict):
        raise GatewayError("BAD_JSON", "body is not an object")
    return body


def _health(world: World) -> Envelope:
    """Contract 5.1 and 12.8. `health_overrides` replaces members by name, in the result and at the top.

    Every member is optional: the form "result" names no fee and no minimum, "bare" nothing but `ok`.
    """
    knobs = world.knobs
    inner = {
        "coin": "btc",
        "configured": True,
        "mainnet": True,
        "mainnet_synced": True,
        "rpc_active": 0,
        "testnet": True,
        "testnet_synced": True,
    }
    top: Envelope = {"ok": True, "configured": True, "fee_bps": knobs.fee_bps, "min_send_sat": knobs.min_send_sat}
    for name, value in knobs.health_overrides.items():
        if name in inner:
            inner[name] = value
        if name in top or name not in inner:
            top[name] = value
    if knobs.health_form == "flat":
        return top
    if knobs.health_form == "bare":
        return {"ok": top["ok"]}
    return {"ok": top["ok"], "result": inner} if knobs.health_form == "result" else {**top, "result": inner}


def _refused(faults: list[Fault]) -> Envelope | None:
    """Refusals before the effect that still wear the gateway's envelope, so the status knob holds for them."""
    for fault in faults:
        if fault.kind == "node_unavailable":
            return failure("NODE_UNAVAILABLE", "node unavailable")
        if fault.kind == "error" and not fault.params.get("after"):
            return failure(str(fault.params.get("code", "SEND_FAILED")), str(fault.params.get("hint", "rpc error")))
    return None


def _become_failure(world: World, fault: Fault, envelope: Envelope) -> None:
    if envelope["ok"] is True and (fault.kind != "error" or fault.params.get("after")):
        envelope.clear()
        hint = str(fault.params.get("hint", "rpc error"))
        envelope.update(failure(str(fault.params.get("code", "SEND_FAILED")), hint))


def _numbers(kind: type) -> Callable[[World, Fault, Envelope], None]:
    def spoil(world: World, fault: Fault, envelope: Envelope) -> None:
        result = envelope.get("result", {})
        result.update({n: kind(v) for n, v in result.items() if n.endswith("_sat") and type(v) is int})

    return spoil


def _too_little(world: World, fault: Fault, envelope: Envelope) -> None:
    result = envelope.get("result", {})
    if "expected_sat" in result:
        result.update(received_sat=result["expected_sat"] - 1)
        result.update({"reached": True} if "status" not in result else {"status": "confirmed"})


def _wrong_address(world: World, fault: Fault, envelope: Envelope) -> None:
    """Another, valid address of the same net that belongs to nobody."""
    if "address" in envelope.get("result", {}):
        envelope["result"]["address"] = world.gateway.stray_address()


def _repeated_address(world: World, fault: Fault, envelope: Envelope) -> None:
    """The wallet's oldest address instead of the one just made."""
    result = envelope.get("result", {})
    owner = world.gateway.owner_of.get(result.get("address", ""))
    if owner is not None:
        result["address"] = (owner.inboxes if result["address"] in owner.inboxes else owner.received_on)[0]


def _main_address(world: World, fault: Fault, envelope: Envelope) -> None:
    """A main address for a wallet of another net; the wallet owns it, so a careless client can go on polling it."""
    result = envelope.get("result", {})
    owner = world.gateway.owner_of.get(result.get("address", ""))
    if owner is not None:
        result["address"] = world.gateway.mint(owner, inbox=result["address"] in owner.inboxes, net="main")


def _set_member(world: World, fault: Fault, envelope: Envelope) -> None:
    if isinstance(envelope.get("result"), dict):
        envelope["result"][str(fault.params.get("member"))] = fault.params.get("value")


def _drop_member(world: World, fault: Fault, envelope: Envelope) -> None:
    envelope.get("result", {}).pop(str(fault.params.get("member")), None)


_SPOIL: dict[str, Callable[[World, Fault, Envelope], None]] = {
    "error": _become_failure,
    "send_failed_but_sent": _become_failure,
    "no_result": lambda world, fault, envelope: envelope.pop("result", None),
    "string_numbers": _numbers(str),
    "float_numbers": _numbers(float),
    "reached_with_too_little": _too_little,
    "wrong_address": _wrong_address,
    "repeated_address": _repeated_address,
    "main_address": _main_address,
    "set_member": _set_member,
    "drop_member": _drop_member,
}
