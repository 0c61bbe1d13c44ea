"""Owns how a client's wish becomes an order and a payment. It must not set a payment paid."""

from __future__ import annotations

import re
from decimal import Decimal
from xml.etree import ElementTree as ET

from sandbox.billmanager import documents, modules
from sandbox.billmanager.core import Call, Core, Element, ok
from sandbox.billmanager.errors import CoreError
from sandbox.billmanager.info import money
from sandbox.billmanager.rows import BillingPayment, Order, Paymethod, Service, User
from sandbox.billmanager.statuses import INITIATED, NEW, move
from sandbox.billmanager.world import convert, random_text

_MONEY = re.compile(r"[0-9]{1,12}(\.[0-9]{1,2})?")
PRODUCTS = {"vps": "VPS", "domain": "Domain"}


def parse_money(text: str, name: str) -> Decimal:
    """A positive amount with at most two digits. Raises `value` with the field's name."""
    if not _MONEY.fullmatch(text) or Decimal(text) <= 0:
        raise CoreError("value", name, text)
    return Decimal(text)


def order(core: Core, call: Call) -> Element:
    """`order.add` (the sandbox's own name): an order with a service, priced in any active currency."""
    world = core.world
    product = call.need("product")
    if product not in PRODUCTS:
        raise CoreError("value", "product", product)
    currency = currency_of(core, call.params.get("currency", "RUB"))
    price = parse_money(call.need("amount"), "amount")
    with world.change():
        account = world.accounts[client_of(core, call).account]
        number, service = world.next_id("orders"), world.next_id("services")
        cost = convert(world, value=price, source=currency, target=account.currency)
        world.orders[number] = Order(id=number, account=account.id, price=cost, service=service)
        name = call.params.get("name") or f"{product}-{service}.example"
        world.services[service] = Service(id=service, account=account.id, order=number, product=product, name=name)
    document = ok()
    documents.children(document, {"billorder": str(number), "service_id": str(service)})
    return document


def currency_of(core: Core, text: str) -> int:
    """The number of a currency given by number or ISO code. Raises `value`."""
    for currency in core.world.currencies.values():
        if text in (str(currency.id), currency.iso) and currency.active:
            return currency.id
    raise CoreError("value", "payment_currency", text)


def client_of(core: Core, call: Call) -> User:
    """Whose payment this is: the caller, or `customer_account` when an administrator asks."""
    if call.actor.account:
        return call.actor
    wanted = call.params.get("customer_account") or call.params.get("subaccount") or ""
    for user in core.world.users.values():
        if user.account and wanted in (str(user.account), user.name):
            return user
    raise CoreError("missed", "customer_account", wanted)


def method_for(core: Core, call: Call) -> Paymethod:
    """The method asked for, or the first active one of the wanted currency."""
    methods = core.world.paymethods
    wanted = call.params.get("paymethod", "")
    if wanted:
        method = methods.get(int(wanted)) if wanted.isdigit() else None
        if method is None or not method.active:
            raise CoreError("missed", "paymethod", wanted)
        return method
    currency = currency_of(core, call.params.get("payment_currency", "RUB"))
    for method in methods.values():
        if method.currency == currency and method.active:
            return method
    raise CoreError("missed", "paymethod")


def add_payment(core: Core, call: Call) -> Element:
    """`payment.add`, `payment.add.method`, `payment.add.pay`: create a payment and say where the client goes next."""
    method = method_for(core, call)
    plugin = core.working_plugin(method.module)
    due = _due(core, call)
    _check_method(core, call, method, due)
    user = client_of(core, call)
    with core.world.change():
        again = _same_random(core, call, user)
        payment = again or _insert(core, call, user=user, method=method, due=due)
    goal = modules.on_create(core, call, payment, plugin) if again is None else ""
    return _answer(core, call, payment, goal)


def _due(core: Core, call: Call) -> Decimal:
    if call.params.get("amount"):
        return parse_money(call.params["amount"], "amount")
    linked = linked_order(core, call)
    if linked is None:
        raise CoreError("missed", "amount")
    account = core.world.accounts[linked.account]
    method = method_for(core, call)
    return convert(core.world, value=linked.price, source=account.currency, target=method.currency)


def _check_method(core: Core, call: Call, method: Paymethod, due: Decimal) -> None:
    currency = call.params.get("payment_currency")
    if currency and currency_of(core, currency) != method.currency:
        raise CoreError("value", "payment_currency", currency)
    if due < Decimal(method.minimum or "0") or (method.maximum and due > Decimal(method.maximum)):
        raise CoreError("value", "amount", money(due))
    linked = linked_order(core, call)
    if linked is not None and linked.account != client_of(core, call).account:
        raise CoreError("access", "billorder")


def linked_order(core: Core, call: Call) -> Order | None:
    """The order named by `billorder`, if one is. Raises `missed` when it does not exist."""
    text = call.params.get("billorder", "")
    found = core.world.orders.get(int(text)) if text.isascii() and text.isdigit() else None
    if text and found is None:
        raise CoreError("missed", "billorder", text)
    return found


def _same_random(core: Core, call: Call, user: User) -> BillingPayment | None:
    mark = call.params.get("randomnumber")
    mine = (p for p in core.world.payments.values() if p.account == user.account)
    return next((p for p in mine if mark and p.randomnumber == mark), None)


def _insert(core: Core, call: Call, *, user: User, method: Paymethod, due: Decimal) -> BillingPayment:
    world = core.world
    number = world.next_id("payments")
    account = world.accounts[user.account]
    payment = BillingPayment(
        id=number,
        account=account.id,
        user=user.id,
        paymethod=method.id,
        currency=method.currency,
        due=due,
        credit=convert(world, value=due, source=method.currency, target=account.currency),
        status=NEW,
        createdate=core.clock.stamp(),
        randomnumber=call.params.get("randomnumber") or random_text(12),
        description=call.params.get("description") or f"Advance payment #{number}",
        manager_url=core.billing_url(),
        remote_ip=call.peer,
        number=f"pfx/{number}",
        billorder=int(call.params.get("billorder") or 0),
        extra=_extra(core, call, method),
    )
    world.payments[number] = payment
    return payment


def _extra(core: Core, call: Call, method: Paymethod) -> dict[str, str]:
    names = [field.name for field in core.plugin(method.module).fields("payment.edit")]
    return {name: call.params[name] for name in names if name in call.params}


def _answer(core: Core, call: Call, payment: BillingPayment, goal: str) -> Element:
    plugin = core.plugin(core.world.paymethods[payment.paymethod].module)
    declared = core.registry.declared(plugin.name)
    document = ET.Element("doc")
    script = declared.params.get("payment_script", "")
    if "redirect" in declared.features and script:
        _initiate(core, call, payment)
        goal = f"{script}?elid={payment.id}"
    attributes = {"type": "url", "on_blank_redirect_action": "func=payment"}
    attributes = {"type": "5"} if core.knobs.version == 5 else attributes
    documents.child(document, "ok", goal, **(attributes if goal else {}))
    documents.child(document, "payment_id", str(payment.id))
    documents.child(document, "id", str(payment.id))
    return document


def _initiate(core: Core, call: Call, payment: BillingPayment) -> None:
    with core.world.change():
        if payment.status == NEW and core.knobs.version == 6:
            move(core, call, payment, INITIATED)
