"""The door of the emulated LNbits, under `/lnbits`: its routes, keys, statuses and faulty answers.

Must not decide about money. Paths, members and statuses are those of LNbits 1.6.2; 520 is its own for what fails to be paid or made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from sandbox import wire
from sandbox.faults import Fault
from sandbox.lightning import LnbitsError, LnWallet
from sandbox.wire import encode
from sandbox.world import World

Answer = dict[str, Any] | list[Any]
HANG_S = 60.0


def blueprint(world: World) -> Blueprint:
    """The routes of the emulated LNbits."""
    routes = Blueprint("lnbits", __name__, url_prefix="/lnbits")

    @routes.get("/api/v1/health")
    def health() -> Response:
        return _answer(
            world, "ln_wallet", lambda faults: {"server_time": int(world.clock.now()), "up_time": "00:01:00"}
        )

    @routes.get("/openapi.json")
    def description() -> Response:
        return _answer(world, "ln_version", lambda faults: {"info": {"title": "LNbits", "version": "1.6.2"}})

    @routes.post("/api/v1/account")
    def account() -> Response:
        return _answer(
            world, "ln_wallet", lambda faults: _opened(world.lightning.create_wallet(str(_body().get("name"))))
        )

    @routes.get("/api/v1/wallet")
    def wallet() -> Response:
        def balance(faults: list[Fault]) -> Answer:
            own, is_admin = _own(world)
            shown = {"name": own.name, "balance": world.lightning.balance_msat(own)}
            return {**shown, "id": own.wallet_id} if is_admin else shown

        return _answer(world, "ln_wallet", balance)

    @routes.get("/api/v1/payments")
    def listed() -> Response:
        def shown(faults: list[Fault]) -> Answer:
            own, _ = _own(world)
            match = {name: request.args[name] for name in ("external_id", "payment_hash") if name in request.args}
            if any(fault.kind == "unfiltered" for fault in faults):
                match = {}
            found = world.lightning.listed(own, match, int(request.args.get("limit", 10)))
            return [each.as_dict() for each in found]

        return _answer(world, "ln_list", shown)

    @routes.post("/api/v1/payments")
    def made() -> Response:
        if _body().get("out") is not False:
            return _answer(world, "ln_send", lambda faults: _sent(world), status=201)
        return _answer(world, "ln_create", lambda faults: _made(world, faults), status=201)

    @routes.get("/api/v1/payments/<payment_hash>")
    def read(payment_hash: str) -> Response:
        return _answer(world, "ln_read", lambda faults: _read(world, payment_hash, faults))

    return routes


def _answer(world: World, mode: str, produce: Callable[[list[Fault]], Answer], *, status: int = 200) -> Response:
    if (down := outage(world)) is not None:
        return down
    with world.lock:
        faults = world.faults.take(mode)
    world.pause(world.knobs.latency_s)
    if (early := wire.before(world, faults)) is not None:
        return early
    with world.lock:
        try:
            answer = produce(faults)
            for fault in faults:
                if fault.kind in _SPOIL and isinstance(answer, dict):
                    _SPOIL[fault.kind](answer, fault)
                elif fault.kind == "error":
                    raise LnbitsError(
                        520, str(fault.params.get("detail", "rpc error")), fault.params.get("state", "pending")
                    )
        except LnbitsError as error:
            said = {"detail": error.detail} | ({"status": error.state} if error.state else {})
            answer, status = said, error.http
    return wire.after(world, faults, Response(encode(answer), status, mimetype="application/json"))


def outage(world: World) -> Response | None:
    """The answer while nobody of Lightning is there."""
    kind = world.knobs.ln_outage
    if kind is None:
        return None
    if kind == "503":
        return Response("Service Unavailable", 503, mimetype="text/plain")
    if kind == "hang":
        world.pause(HANG_S)
    return wire.cut()


def _own(world: World) -> tuple[LnWallet, bool]:
    key = request.headers.get("X-Api-Key")
    if key is None:
        raise LnbitsError(401, "No Api Key provided.")
    own = world.lightning.wallet_of(key)
    if own is None:
        raise LnbitsError(404, "Wallet not found.")
    return own, key == own.admin_key


def _body() -> dict[str, Any]:
    body = request.get_json(force=True, silent=True)
    return body if isinstance(body, dict) else {}


def _opened(wallet: LnWallet) -> Answer:
    return {"id": wallet.wallet_id, "name": wallet.name, "adminkey": wallet.admin_key, "inkey": wallet.invoice_key}


def _made(world: World, faults: list[Fault]) -> Answer:
    own, _ = _own(world)
    asked = _body()
    external_id = asked.get("external_id")
    if isinstance(external_id, str) and (len(external_id) > 256 or " " in external_id):
        raise LnbitsError(400, "Invalid external id.")
    webhook = asked.get("webhook")
    if webhook is not None and not str(webhook).startswith(("http://", "https://")):
        raise LnbitsError(400, "Callback URL is not allowed.")
    change: dict[str, Any] = {}
    for fault in faults:
        change |= CHANGE[fault.kind](asked) if fault.kind in CHANGE else {}
    made = world.lightning.create(own, asked, change).as_dict()
    for fault in faults:
        if fault.kind == "credits_other":
            made["amount"] += 1_000
        elif fault.kind == "other_hash":
            made["payment_hash"] = made["checking_id"] = "ab" * 32
    return made


def _sent(world: World) -> Answer:
    own, is_admin = _own(world)
    if not is_admin:
        raise LnbitsError(403, "Invoice (or Admin) key required.")
    asked = _body()
    return world.lightning.send(own, str(asked.get("bolt11")), asked.get("external_id")).as_dict()


def _read(world: World, payment_hash: str, faults: list[Fault]) -> Answer:
    """Without a key, or with one of nobody, only whether it was paid; another wallet's payment is not there."""
    own = world.lightning.wallet_of(request.headers.get("X-Api-Key", ""))
    payment = world.lightning.find(own, payment_hash)
    if payment is None or any(fault.kind == "forgets" for fault in faults):
        raise LnbitsError(404, "Payment does not exist.")
    is_paid = payment.status == "success"
    shown: dict[str, Any] = {"paid": is_paid, "preimage": payment.preimage if is_paid else None}
    if own is None:
        return shown
    # What was paid says no status of its own.
    return shown | ({} if is_paid else {"status": payment.status}) | {"details": payment.as_dict()}


CHANGE: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "wrong_amount": lambda asked: {"amount_msat": (int(asked["amount"]) + 1) * 1_000},
    "no_amount": lambda asked: {"amount_msat": None},
    "wrong_network": lambda asked: {"prefix": "bcrt"},
    "expires_late": lambda asked: {"expiry_s": 10 * 86_400},
}


def _set_member(answer: dict[str, Any], fault: Fault) -> None:
    """In what it says of the payment, if it does, else in the answer itself."""
    place = answer.get("details", answer)
    place[str(fault.params.get("member"))] = fault.params.get("value")


def _drop_member(answer: dict[str, Any], fault: Fault) -> None:
    answer.get("details", answer).pop(str(fault.params.get("member")), None)


_SPOIL: dict[str, Callable[[dict[str, Any], Fault], None]] = {
    "no_details": lambda answer, fault: answer.pop("details", None),
    "paid_without_status": lambda answer, fault: answer.update(paid=True),
    "set_member": _set_member,
    "drop_member": _drop_member,
}


def pay(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """`{bolt11, msat?, fails?}`: somebody outside pays this invoice, as much as it asks for or so much; `fails` says that it
    must not be taken.
    """
    try:
        paid = world.lightning.pay(str(body.get("bolt11")), body.get("msat"))
    except ValueError:
        if body.get("fails") is True:
            return {}
        raise
    if body.get("fails") is True:
        raise ValueError("this was taken")
    return paid.as_dict()


def settle(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """`{payment_hash}`: what is held is received."""
    return world.lightning.settle(str(body.get("payment_hash"))).as_dict()


def cancel(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """`{payment_hash}`: what is held goes back."""
    return world.lightning.cancel(str(body.get("payment_hash"))).as_dict()


def restart(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """`{says?}`: LNbits restarts; what waited has `failed`, or is `forgotten`."""
    says = body.get("says", "failed")
    if says not in ("failed", "forgotten"):
        raise ValueError("says is failed or forgotten")
    world.lightning.restart(says)
    return {}


def payee(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """`{sat, prefix?, amount_msat?, expiry_s?}`: an invoice of somebody outside, for sends."""
    return {"bolt11": world.lightning.payee(**body)}


def end_sends(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """`{status}`: sends on their way end as `success` or `failed`."""
    world.lightning.end_sends(str(body.get("status", "success")))
    return {}


def state(world: World, body: dict[str, Any]) -> dict[str, Any]:
    """Every wallet with its balance, and every payment. No key is shown."""
    lightning = world.lightning
    wallets = [
        {"wallet_id": wallet.wallet_id, "name": wallet.name, "balance_msat": lightning.balance_msat(wallet)}
        for wallet in lightning.wallets.values()
    ]
    payments = [each.as_dict() | {"held": each.held} for each in lightning.payments]
    return {"wallets": wallets, "payments": payments}


COMMANDS = {
    ("POST", "ln_pay"): pay,
    ("POST", "ln_settle"): settle,
    ("POST", "ln_cancel"): cancel,
    ("POST", "ln_restart"): restart,
    ("POST", "ln_payee"): payee,
    ("POST", "ln_end_sends"): end_sends,
    ("GET", "ln_state"): state,
    ("POST", "ln_state"): state,
}
