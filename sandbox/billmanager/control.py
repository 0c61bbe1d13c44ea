"""Owns the JSON surface under /_control for tests and the demo. It must not go around the core's own functions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from flask import Blueprint, jsonify, request
from werkzeug.wrappers import Response as BaseResponse

from sandbox.billmanager import modules, sessions
from sandbox.billmanager.core import Call, Core, Element
from sandbox.billmanager.errors import CoreError
from sandbox.billmanager.pages import the_core
from sandbox.billmanager.rows import Debt
from sandbox.billmanager.statuses import post, spend

blueprint = Blueprint("control", __name__, url_prefix="/_control")
CURRENCIES = ["RUB", "USD", "EUR"]


def body() -> dict[str, Any]:
    """The JSON object sent, or an empty one. Raises ValueError for anything else."""
    sent = request.get_json(silent=True, force=True) if request.get_data() else {}
    if not isinstance(sent, dict):
        raise ValueError("send a JSON object")
    return sent


@blueprint.errorhandler(CoreError)
def core_error(error: CoreError) -> tuple[BaseResponse, int]:
    """A refusal of the core."""
    return jsonify(error={"type": error.kind, "object": error.target, "value": error.value}), 422


@blueprint.errorhandler(KeyError)
@blueprint.errorhandler(TypeError)
@blueprint.errorhandler(ValueError)
def bad_request(error: Exception) -> tuple[BaseResponse, int]:
    """A wrong control call."""
    return jsonify(error={"type": "request", "object": "", "value": str(error)}), 400


def run(core: Core, func: str, params: dict[str, str], *, user: str = "root", peer: str = "127.0.0.1") -> Element:
    """Run a function as a user. Raises CoreError with the error's text in `value` when the answer is an error."""
    actor = core.world.user_named(user) or sessions.NOBODY
    document = core.answer(Call(func=func, params=params, actor=actor, lang=params.get("lang", "en"), peer=peer))
    error = document.find("error")
    if error is not None:
        raise CoreError(error.get("type", ""), error.get("object", ""), error.findtext("msg", ""))
    return document


@blueprint.post("/setup")
def setup() -> BaseResponse:
    """Make ready payment methods, one per currency, through paymethod.add and the module's pmvalidate."""
    core, wanted = the_core(), body()
    module = wanted.get("module", "pmsubtc")
    settings = {str(name): str(value) for name, value in wanted.get("settings", {}).items()}
    made = {}
    for iso in wanted.get("currencies", CURRENCIES):
        params = {"module": module, "currency": iso, "sok": "ok", **settings}
        made[iso] = int(run(core, "paymethod.add", params).findtext("id", ""))
    return jsonify(paymethod_id=next(iter(made.values()), None), paymethods=made, module=module)


@blueprint.post("/order")
def order() -> BaseResponse:
    """A client orders a service and is about to pay it: `{product, amount, currency, user?, …}`."""
    core, wanted = the_core(), body()
    user = wanted.get("user", "demo")
    currency = wanted.get("currency", "RUB")
    price = {"amount": str(wanted["amount"])}
    params = {"product": wanted.get("product", "vps"), "currency": currency, "name": wanted.get("name", ""), **price}
    ordered = run(core, "order.add", params, user=user)
    extra = {name: str(wanted[name]) for name in ("paymethod", "randomnumber", "description") if wanted.get(name)}
    paying = {
        "payment_currency": currency,
        "billorder": ordered.findtext("billorder", ""),
        "sok": "ok",
        **price,
        **extra,
    }
    document = run(core, "payment.add.method", paying, user=user, peer=wanted.get("remote_ip", "203.0.113.5"))
    target = core.world.user_named(user)
    session = sessions.open_session(core, target) if target else ""
    return jsonify(
        payment_id=int(document.findtext("payment_id", "")),
        service_id=int(ordered.findtext("service_id", "")),
        order_id=int(ordered.findtext("billorder", "")),
        pay_path=document.findtext("ok") or "",
        pay_url=core.public_url + (document.findtext("ok") or ""),
        session=session,
        cookie=sessions.COOKIE,
    )


def plain(record: Any) -> dict[str, Any]:
    """A record as JSON values; money as text."""
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in vars(record).items()}


@blueprint.get("/payments/<int:payment_id>")
def payment(payment_id: int) -> tuple[BaseResponse, int] | BaseResponse:
    """One payment record."""
    found = the_core().world.payments.get(payment_id)
    return (jsonify(error={"type": "missed", "object": "payment"}), 404) if found is None else jsonify(plain(found))


@blueprint.get("/payments/<int:payment_id>/history")
def payment_history(payment_id: int) -> BaseResponse:
    """The history rows of one payment, oldest first."""
    return jsonify(history=[plain(row) for row in the_core().world.payment_history(payment_id)])


def listing(kind: str) -> Callable[[], BaseResponse]:
    """A view that lists one kind of records."""

    def view() -> BaseResponse:
        world = the_core().world
        with world.lock:
            return jsonify({kind: [plain(row) for row in getattr(world, kind).values()]})

    return view


for _kind in ("payments", "paymethods", "services", "orders", "ledger", "debts", "history"):
    blueprint.add_url_rule(f"/{_kind}", f"list_{_kind}", listing(_kind))


@blueprint.get("/events")
def events() -> BaseResponse:
    """What happened to services."""
    return jsonify(events=list(the_core().world.events))


@blueprint.get("/balance")
def balance() -> BaseResponse:
    """A client's balance: `?user=demo`."""
    document = run(the_core(), "subaccount", {}, user=request.args.get("user", "demo"))
    return jsonify({part.tag: part.text for part in document if part.tag in ("id", "balance", "currency")})


@blueprint.post("/debts")
def debt() -> BaseResponse:
    """A client owes something: `{amount, user?}`."""
    core, wanted = the_core(), body()
    user = core.world.user_named(wanted.get("user", "demo")) or sessions.NOBODY
    with core.world.change():
        number = core.world.next_id("debts")
        owed = Decimal(wanted["amount"])
        core.world.debts[number] = Debt(id=number, account=user.account, owed=owed, description="debt")
        spend(core, account=user.account)
    return jsonify(plain(core.world.debts[number]))


@blueprint.post("/topup")
def topup() -> BaseResponse:
    """Money by hand: `{amount, user?}`, in the account's currency."""
    core, wanted = the_core(), body()
    user = core.world.user_named(wanted.get("user", "demo")) or sessions.NOBODY
    with core.world.change():
        post(core, account=user.account, change=Decimal(wanted["amount"]), reason="by hand", reference=0)
        spend(core, account=user.account)
    return balance()


@blueprint.post("/tick")
def tick() -> BaseResponse:
    """Run checkpay of every module now: `{module?}`."""
    runs = modules.checkpay(the_core(), only=str(body().get("module", "")))
    return jsonify(runs=[run.as_json() for run in runs])


@blueprint.post("/ask")
def ask() -> BaseResponse:
    """Run one command of a module: `{module, command, payment?, recurring?, stdin?}`; what it did."""
    core, wanted = the_core(), body()
    options = [(name, str(wanted[name])) for name in ("command", "payment", "recurring") if name in wanted]
    argv = [part for name, value in options for part in (f"--{name}", value)]
    outcome = core.runner.module(core.plugin(wanted["module"]).name, *argv, stdin=wanted.get("stdin", "").encode())
    return jsonify(rc=outcome.rc, stdout=outcome.stdout.decode(), stderr=outcome.stderr.decode())


@blueprint.route("/faults", methods=["GET", "POST", "DELETE"])
def faults() -> BaseResponse:
    """Plan faults: `{faults:[{target,kind,name?,times?,chance?,seconds?,…}], seed?, clear?}` or one such object."""
    plan = the_core().faults
    wanted = body() if request.method == "POST" else {}
    if request.method == "DELETE" or wanted.pop("clear", False):
        plan.clear()
    if "seed" in wanted:
        plan.seed(int(wanted.pop("seed")))
    for fault in wanted.get("faults", [wanted] if wanted else []):
        plan.add(**fault)
    return jsonify(faults=plan.as_json())


@blueprint.route("/knobs", methods=["GET", "POST"])
def knobs() -> BaseResponse:
    """The switches of knobs.py; POST some of them to change."""
    core = the_core()
    if request.method == "POST":
        core.knobs.change(body())
    return jsonify(vars(core.knobs))


@blueprint.route("/records", methods=["GET", "DELETE"])
def records() -> BaseResponse:
    """All runs: `?kind=module|cgi|mgrctl&name=&after=`; DELETE forgets them."""
    kept = the_core().records
    if request.method == "DELETE":
        kept.clear()
    query = request.args
    rows = kept.select(kind=query.get("kind", ""), name=query.get("name", ""), after=int(query.get("after", 0)))
    return jsonify(records=[row.as_json() for row in rows])


@blueprint.post("/session")
def session() -> tuple[BaseResponse, int] | BaseResponse:
    """A session of a user: `{user?}`."""
    core = the_core()
    user = core.world.user_named(body().get("user", "demo"))
    if user is None:
        return jsonify(error={"type": "missed", "object": "user"}), 404
    return jsonify(session=sessions.open_session(core, user), cookie=sessions.COOKIE)


@blueprint.post("/clock")
def clock() -> BaseResponse:
    """Move the clock: `{advance_s}` or `{set: RFC3339}` or `{reset: true}`."""
    core, wanted = the_core(), body()
    if "set" in wanted:
        core.clock.set(datetime.fromisoformat(wanted["set"]))
    if wanted.get("reset"):
        core.clock.reset()
    core.clock.advance(float(wanted.get("advance_s", 0)))
    return jsonify(now=core.clock.now().isoformat())


@blueprint.post("/restart")
def restart() -> BaseResponse:
    """The core restarts: caches are dropped."""
    core = the_core()
    core.restart()
    return jsonify(restarts=core.restarts)


@blueprint.post("/reset")
def reset() -> BaseResponse:
    """Forget records, faults, runs and clock jumps; files of the tree stay. `{next_payment_id?, keep_knobs?}`."""
    core, wanted = the_core(), body()
    core.world.reset(next_payment_id=int(wanted.get("next_payment_id", 1)))
    core.faults.clear()
    core.records.clear()
    core.clock.reset()
    if not wanted.get("keep_knobs"):
        core.knobs.change(vars(type(core.knobs)()))
    core.restart()
    return jsonify(ok=True)


@blueprint.get("/state")
def state() -> BaseResponse:
    """An overview: address, base, modules, what was refused: descriptions by their file, modules by their `config`."""
    core = the_core()
    declared = {name: core.registry.declared(name) for name in core.registry.plugins()}
    plugins = {name: sorted(each.features) for name, each in declared.items()}
    problems = {name: each.problem for name, each in declared.items() if each.problem}
    refused = {**core.registry.refused, **problems}
    overview = {"url": core.public_url, "base": str(core.base), "now": core.clock.now().isoformat()}
    counts = {kind: len(getattr(core.world, kind)) for kind in ("payments", "paymethods", "services", "history")}
    return jsonify(**overview, plugins=plugins, refused=refused, counts=counts, restarts=core.restarts)
