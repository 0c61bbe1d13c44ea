"""Owns lists, edits, deletion and refunds of payments and the small lists beside. It must not set a status itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree as ET

from sandbox.billmanager import documents, modules, texts
from sandbox.billmanager.checkout import client_of, parse_money
from sandbox.billmanager.core import Call, Core, Element, ok
from sandbox.billmanager.errors import CoreError
from sandbox.billmanager.info import find_payment, money
from sandbox.billmanager.rows import BillingPayment
from sandbox.billmanager.statuses import (
    DELETING,
    INPAY,
    OPEN,
    PAID,
    REFUNDED,
    REFUNDING,
    add_history,
    move,
    post,
)
from sandbox.billmanager.world import convert

PAGE = 100


def visible(core: Core, call: Call) -> list[BillingPayment]:
    """The payments a caller may see: all for an administrator, the own ones for a client."""
    rows = list(core.world.payments.values())
    return rows if call.actor.level >= 30 else [p for p in rows if p.account == call.actor.account]


def payment_list(core: Core, call: Call) -> Element:
    """`payment` with its filters and pages (BILLmanager contract 8.4)."""
    params = call.params
    with core.world.lock:
        rows = [p for p in visible(core, call) if params.get("filter") != "on" or _matches(p, params)]
        page, size = _number(params, "p_num", 1), _number(params, "p_cnt", PAGE)
        document = ET.Element("doc")
        for payment in rows[(page - 1) * size : page * size]:
            _list_row(core, call, documents.child(document, "elem"), payment)
    documents.children(document, {"p_elems": str(len(rows)), "p_cnt": str(size), "p_num": str(page)})
    return document


def _number(params: dict[str, str], name: str, default: int) -> int:
    text = params.get(name, "")
    if text and (not text.isascii() or not text.isdigit() or int(text) < 1):
        raise CoreError("value", name, text)
    return int(text or default)


def _matches(payment: BillingPayment, params: dict[str, str]) -> bool:
    exact = {"id": payment.id, "number": payment.number, "status": payment.status, "paymethod": payment.paymethod}
    if any(params.get(name) and str(value) not in params[name].split(",") for name, value in exact.items()):
        return False
    start, end = params.get("createdatestart", ""), params.get("createdateend", "")
    day = payment.createdate[:10]
    return params.get("createdate") != "other" or ((not start or day >= start) and (not end or day <= end))


def _list_row(core: Core, call: Call, element: Element, payment: BillingPayment) -> None:
    method = core.world.paymethods[payment.paymethod]
    iso = core.world.currencies[payment.currency].iso
    account = core.world.accounts[payment.account]
    documents.children(
        element,
        {
            "id": str(payment.id),
            "number": payment.number,
            "create_date": payment.createdate,
            "pay_date": payment.paydate,
            "sender_name": "",
            "recipient_name": "Demo Hosting",
            "account_name": core.world.users[payment.user].realname,
            "paymethod_name": method.name,
            "paymethod_module": method.module,
            "paymethodamount_iso": f"{money(payment.due)} {iso}",
            "subaccountamount_iso": f"{money(payment.credit)} {core.world.currencies[account.currency].iso}",
            "allowrefund": method.generic.get("allowrefund", "off"),
            "refund": "on" if payment.refund_of else "off",
            "store_payment": "off",
            "real_status": str(payment.status),
        },
    )
    color = texts.STATUSES[payment.status][0]
    text = texts.status_text(payment.status, call.lang)
    documents.child(element, "status", text, color=color, orig=str(payment.status))


def payment_edit(core: Core, call: Call) -> Element:
    """`payment.edit`: view, or with sok=ok change amount and description of an unpaid payment; never its status."""
    with core.world.change():
        payment = find_payment(core, call)
        if call.sure:
            _edit(core, call, payment)
        document = ok() if call.sure else ET.Element("doc")
        documents.children(
            document,
            {
                "id": str(payment.id),
                "amount": money(payment.due),
                "description": payment.description,
                "status": str(payment.status),
            },
        )
    return document


def _edit(core: Core, call: Call, payment: BillingPayment) -> None:
    wanted = call.params.get("amount") or call.params.get("paymethodamount")
    if wanted:
        if payment.status not in OPEN:
            raise CoreError("value", "elid", str(payment.id))
        payment.due = parse_money(wanted, "amount")
        target = core.world.accounts[payment.account].currency
        payment.credit = convert(core.world, value=payment.due, source=payment.currency, target=target)
        add_history(core, call, payment, status_new=payment.status, changed="paymethodamount")
    payment.description = call.params.get("description") or payment.description


def payment_delete(core: Core, call: Call) -> Element:
    """`payment.delete`: at once, or through status 100 and the module's `crdelete` (BILLmanager contract 15.2)."""
    with core.world.change():
        payment = find_payment(core, call)
        if call.actor.account not in (0, payment.account):
            raise CoreError("access", call.func)
        if payment.status == DELETING:
            del core.world.payments[payment.id]
            return ok()
        locked = {3, 4, 5, 6, 7} | ({INPAY} if call.actor.account else set())
        if payment.status in locked:
            raise CoreError("value", "elid", str(payment.id))
        plugin = core.plugin(core.world.paymethods[payment.paymethod].module)
        if "crdelete" not in core.registry.declared(plugin.name).features:
            del core.world.payments[payment.id]
            return ok()
        move(core, call, payment, DELETING)
    modules.ask(core, plugin, call.lang, "--command", "crdelete", "--payment", str(payment.id))
    return ok()


def payment_refund(core: Core, call: Call) -> Element:
    """`payment.refund` (the sandbox's own name): rftune, rfvalidate, rfset, the booking (BILLmanager contract 10.3)."""
    payment = find_payment(core, call)
    method = core.world.paymethods[payment.paymethod]
    plugin = core.plugin(method.module)
    features = core.registry.declared(plugin.name).features
    back = parse_money(call.params.get("amount") or money(payment.due - payment.refunded), "amount")
    refusal = {
        "elid": payment.status not in (PAID, REFUNDING),
        "allowrefund": method.generic.get("allowrefund") != "on" or "refund" not in features,
        "amount": back > payment.due - payment.refunded,
    }
    if any(refusal.values()):
        raise CoreError("value", next(name for name, wrong in refusal.items() if wrong), call.params.get("amount", ""))
    form = ET.Element("doc")
    documents.children(form, {"source_payment": str(payment.id), "payment_paymethodamount": f"-{money(back)}"})
    documents.child(form, "reason", call.params.get("reason", ""))
    for command in ("rftune", "rfvalidate", "rfset"):
        if command in features:
            modules.ask(core, plugin, call.lang, "--command", command, stdin=form)
    with core.world.change():
        _book_refund(core, call, payment, replace(payment, due=-back))
    return ok()


def _book_refund(core: Core, call: Call, payment: BillingPayment, negative: BillingPayment) -> None:
    world = core.world
    account = world.accounts[payment.account]
    change = convert(world, value=negative.due, source=payment.currency, target=account.currency)
    payment.refunded -= negative.due
    post(core, account=account.id, change=change, reason="refund", reference=payment.id)
    if payment.refunded == payment.due:
        move(core, call, payment, REFUNDING)
        move(core, call, payment, REFUNDED)
        return
    number = world.next_id("payments")
    booked = replace(negative, id=number, number=f"pfx/{number}", createdate=core.clock.stamp(), externalid="")
    booked.credit, booked.refunded, booked.refund_of = change, -negative.due, payment.id
    booked.status, booked.billorder = PAID, 0
    world.payments[number] = booked


def payment_history(core: Core, call: Call) -> Element:
    """`payment.history elid=N` (the sandbox's own name): the rows of history_payment."""
    document = ET.Element("doc")
    for row in core.world.payment_history(int(call.need("elid")) if call.need("elid").isdigit() else 0):
        element = documents.child(document, "elem")
        documents.children(element, {name: str(value) for name, value in vars(row).items()})
    return document


def simple_list(rows: Callable[[Core, Call], list[dict[str, str]]]) -> Callable[[Core, Call], Element]:
    """A list function from one that gives rows of texts."""

    def run(core: Core, call: Call) -> Element:
        document = ET.Element("doc")
        with core.world.lock:
            for row in rows(core, call):
                documents.children(documents.child(document, "elem"), row)
        return document

    return run


def currency_rows(core: Core, _: Call) -> list[dict[str, str]]:
    """`currency`: id, iso, code and names."""
    names = ("id", "iso", "code", "name", "name_ru")
    return [{name: str(getattr(c, name)) for name in names} for c in core.world.currencies.values() if c.active]


def order_rows(core: Core, call: Call) -> list[dict[str, str]]:
    """`billorder`: orders of the caller, or all."""
    orders = [o for o in core.world.orders.values() if call.actor.account in (0, o.account)]
    return [{"id": str(o.id), "price": money(o.price), "status": o.status, "service": str(o.service)} for o in orders]


def service_rows(core: Core, call: Call) -> list[dict[str, str]]:
    """`service`: services of the caller, or all."""
    services = [s for s in core.world.services.values() if call.actor.account in (0, s.account)]
    return [{name: str(value) for name, value in vars(s).items()} for s in services]


def debt_rows(core: Core, call: Call) -> list[dict[str, str]]:
    """`debt`: what is owed."""
    debts = [d for d in core.world.debts.values() if call.actor.account in (0, d.account)]
    return [{name: str(value) for name, value in vars(d).items()} for d in debts]


def ledger_rows(core: Core, call: Call) -> list[dict[str, str]]:
    """`expense` (the sandbox's own shape): every change of a balance."""
    rows = [r for r in core.world.ledger.values() if call.actor.account in (0, r.account)]
    return [{name: str(value) for name, value in vars(r).items()} for r in rows]


def balance(core: Core, call: Call) -> Element:
    """`subaccount` (the sandbox's own shape): one client's balance."""
    document = ET.Element("doc")
    account = core.world.accounts[client_of(core, call).account]
    iso = core.world.currencies[account.currency].iso
    documents.children(document, {"id": str(account.id), "balance": money(account.balance), "currency": iso})
    return document
