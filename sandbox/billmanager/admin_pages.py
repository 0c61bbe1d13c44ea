"""Owns the administrator's pages: methods, payments, runs, faults. It must not go around the core's functions."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from sandbox.billmanager import faults, forms, modules, paymethods, sessions
from sandbox.billmanager.core import Element
from sandbox.billmanager.pages import error_of, language, page, perform, the_core, viewer
from sandbox.billmanager.registry import Field, Plugin
from sandbox.billmanager.rows import Paymethod

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
Shown = str | BaseResponse | tuple[str, int]
ACTIONS = ("payment.setinpay", "payment.setpaid", "payment.setcanceled", "payment.setfraud", "payment.delete")


@dataclass(frozen=True, kw_only=True)
class Control:
    """One control of the settings form as the page shows it."""

    spec: Field
    label: str
    hint: str
    placeholder: str
    value: str
    options: list[tuple[str, str]] = field(default_factory=list)


@blueprint.before_request
def only_administrators() -> BaseResponse | None:
    """Everybody else goes to the first page."""
    return None if viewer().level >= 30 else redirect("/" if viewer() is sessions.NOBODY else "/client/")


@blueprint.get("/")
def overview() -> str:
    """Methods, modules, payments."""
    core = the_core()
    names = list(core.registry.plugins())
    declared = {name: core.registry.declared(name) for name in names}
    with core.world.lock:
        return page(
            "admin",
            methods=list(core.world.paymethods.values()),
            declared=declared,
            refused=core.registry.refused,
            payments=sorted(core.world.payments.values(), key=lambda p: -p.id),
            logo=lambda name: paymethods.logo(core, name),
        )


@blueprint.route("/methods/new/<module>", methods=["GET", "POST"])
def method_new(module: str) -> Shown:
    """Add a payment method of a module."""
    plugin = the_core().registry.plugins().get(module)
    if plugin is None:
        return redirect("/admin/")
    return _method_form(plugin, None, "paymethod.add", {"module": module})


@blueprint.route("/methods/<int:method_id>", methods=["GET", "POST"])
def method_edit(method_id: int) -> Shown:
    """Change a payment method."""
    core = the_core()
    method = core.world.paymethods.get(method_id)
    plugin = core.registry.plugins().get(method.module) if method else None
    if method is None or plugin is None:
        return redirect("/admin/")
    return _method_form(plugin, method, "paymethod.edit", {"elid": str(method_id)})


def _method_form(plugin: Plugin, method: Paymethod | None, func: str, target: dict[str, str]) -> Shown:
    sent = request.form.to_dict()
    error = None
    if request.method == "POST":
        error = error_of(perform(func, {**sent, **target, "sok": "ok"}))
        if error is None:
            return redirect("/admin/")
    document = perform(func, {**sent, **target})
    generic = {part.tag: part.text or "" for part in document.find("paymethod") or ()} | sent
    shown = controls(plugin, document, sent)
    own = {control.spec.name for control in shown}
    values = {"plugin": plugin, "method": method, "controls": shown, "generic": generic, "error": error, "own": own}
    body = page("method", **values, form_error=error_of(document))
    return (body, 422) if error is not None else body


def controls(plugin: Plugin, document: Element, sent: dict[str, str]) -> list[Control]:
    """The module's own controls with labels, hints, values and the options of pmtune."""
    group, lang = f"paymethod.edit.{plugin.short}", language()
    lists = {slist.get("name", ""): slist for slist in document.findall("slist")}
    return [
        Control(
            spec=one,
            label=plugin.message(group, one.name, lang) or one.name,
            hint=plugin.message(group, f"hint_{one.name}", lang),
            placeholder=plugin.message(group, f"placeholder_{one.name}", lang),
            value=sent.get(one.name, document.findtext(one.name) or "") if one.kind != "password" else "",
            options=_options(plugin, group, lists.get(one.name)),
        )
        for one in plugin.fields()
        if one.name not in forms.GENERIC or one.kind == "checkbox"
    ]


def _options(plugin: Plugin, group: str, slist: Element | None) -> list[tuple[str, str]]:
    found = []
    for option in slist if slist is not None else ():
        text = option.text or ""
        key = option.get("key") or text
        found.append((key, plugin.message(group, text, language()) or text))
    return found


@blueprint.post("/methods/<int:method_id>/delete")
def method_delete(method_id: int) -> Shown:
    """Delete a method without payments."""
    error = error_of(perform("paymethod.delete", {"elid": str(method_id)}))
    return redirect("/admin/") if error is None else (page("document", func="paymethod.delete", text=error[1]), 422)


@blueprint.get("/payments/<int:payment_id>")
def payment(payment_id: int) -> Shown:
    """One payment with everything an administrator can do to it."""
    return _payment_page(payment_id, None)


def _payment_page(payment_id: int, error: tuple[str, str] | None) -> Shown:
    world = the_core().world
    found = world.payments.get(payment_id)
    if found is None:
        return redirect("/admin/")
    service = next((s for s in world.services.values() if found.billorder and s.order == found.billorder), None)
    body = page(
        "payment",
        payment=found,
        service=service,
        method=world.paymethods[found.paymethod],
        history=world.payment_history(payment_id),
        pay_url="",
        admin=True,
        actions=ACTIONS,
        error=error,
    )
    return body if error is None else (body, 422)


@blueprint.post("/payments/<int:payment_id>")
def payment_action(payment_id: int) -> Shown:
    """A status function, a delete, an edit or a refund."""
    sent = request.form.to_dict()
    func = sent.pop("func", "")
    if func not in (*ACTIONS, "payment.edit", "payment.refund"):
        return redirect(f"/admin/payments/{payment_id}")
    error = error_of(perform(func, {**sent, "elid": str(payment_id), "sok": "ok"}))
    return redirect(f"/admin/payments/{payment_id}") if error is None else _payment_page(payment_id, error)


@blueprint.get("/records")
def records() -> str:
    """The last runs, newest first."""
    rows = the_core().records.select(kind=request.args.get("kind", ""))
    return page("records", rows=rows[::-1][:200])


@blueprint.get("/records/<int:number>")
def record(number: int) -> Shown:
    """One run with its input and output."""
    rows = the_core().records.select(after=number - 1)
    return page("record", row=rows[0]) if rows and rows[0].number == number else redirect("/admin/records")


@blueprint.post("/tick")
def tick() -> BaseResponse:
    """Run checkpay of every module now."""
    modules.checkpay(the_core())
    return redirect("/admin/records?kind=module")


@blueprint.post("/restart")
def restart() -> BaseResponse:
    """Restart the core: descriptions and features are read anew."""
    perform("exit", {})
    return redirect("/admin/")


@blueprint.route("/faults", methods=["GET", "POST"])
def fault_page() -> Shown:
    """Plan and clear faults."""
    core, sent, error = the_core(), request.form, ""
    if request.method == "POST":
        try:
            _plan(sent.to_dict())
            return redirect("/admin/faults")
        except ValueError as wrong:
            error = str(wrong)
    body = page("faults", kinds=faults.KINDS, planned=core.faults.as_json(), error=error, sent=sent)
    return (body, 422) if error else body


def _plan(sent: dict[str, str]) -> None:
    plan = the_core().faults
    if sent.get("clear"):
        plan.clear()
        return
    target, _, kind = sent.get("what", "").partition(":")
    plan.add(
        target=target,
        kind=kind,
        name=sent.get("name") or "*",
        times=int(sent.get("times") or 1),
        seconds=float(sent.get("seconds") or 0),
        chance=float(sent.get("chance") or 1),
    )
