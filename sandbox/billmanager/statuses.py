"""Owns the moves of a billing payment between statuses, and what money does then. It must not start any module."""

from __future__ import annotations

from decimal import Decimal

from sandbox.billmanager.core import Call, Core, Element, ok
from sandbox.billmanager.errors import CoreError
from sandbox.billmanager.info import find_payment
from sandbox.billmanager.rows import BillingPayment, HistoryRow, LedgerRow, Order

NEW, INPAY, PROMISED, PAID, REFUNDING, REFUNDED, FRAUD, INITIATED, CANCELED, DELETING = 1, 2, 3, 4, 5, 6, 7, 8, 9, 100
OPEN = {NEW, INPAY, INITIATED}
# func -> (statuses it starts from, status it leads to)
MOVES = {
    "payment.setinpay": (OPEN, INPAY),
    "payment.setpaid": ({*OPEN, PROMISED, CANCELED}, PAID),
    "payment.setcanceled": (OPEN, CANCELED),
    "payment.setfraud": (OPEN, FRAUD),
    "payment.setnopay": ({INPAY, INITIATED}, NEW),
}


def set_status(core: Core, call: Call) -> Element:
    """One of the status functions (BILLmanager contract 8.3), for one elid or a comma list."""
    elids = [part for part in call.need("elid").split(",") if part]
    with core.world.change():
        for elid in elids:
            _set_one(core, call, find_payment(core, _for_one(call, elid)))
    return ok()


def _for_one(call: Call, elid: str) -> Call:
    return Call(func=call.func, params={**call.params, "elid": elid}, actor=call.actor)


def _set_one(core: Core, call: Call, payment: BillingPayment) -> None:
    sources, target = MOVES[call.func]
    if call.func == "payment.setnopay":
        target = core.knobs.setnopay_status
    if payment.status == target:
        _repeat(core, call, payment)
        return
    if payment.status not in sources or _late_refused(core, call, payment):
        raise CoreError("value", "elid", str(payment.id))
    move(core, call, payment, target)
    _remember(call, payment)
    if target == PAID:
        _credit(core, payment)


def _late_refused(core: Core, call: Call, payment: BillingPayment) -> bool:
    return payment.status == CANCELED and core.knobs.setpaid_on_cancelled != "credit"


def _repeat(core: Core, call: Call, payment: BillingPayment) -> None:
    if payment.status == PAID:
        if core.knobs.setpaid_again != "ok":
            raise CoreError("value", "elid", str(payment.id))
        return
    _remember(call, payment)


def _remember(call: Call, payment: BillingPayment) -> None:
    payment.externalid = call.params.get("externalid") or payment.externalid
    payment.info = call.params.get("info") or payment.info


def move(core: Core, call: Call, payment: BillingPayment, status: int) -> None:
    """Change a status and write its history row."""
    add_history(core, call, payment, status_new=status, changed="status")
    payment.status = status


def add_history(core: Core, call: Call, payment: BillingPayment, *, status_new: int, changed: str) -> None:
    """One row of history_payment, with who asked and from where."""
    world = core.world
    number = world.next_id("history")
    earlier = world.payment_history(payment.id)
    world.history[number] = HistoryRow(
        id=number,
        reference=payment.id,
        status=payment.status,
        status_new=status_new,
        fromdate=earlier[-1].changedate if earlier else payment.createdate,
        changedate=core.clock.stamp(),
        changedfields=changed,
        request_action=call.func,
        request_ip=call.peer,
        username=call.actor.name,
    )


def _credit(core: Core, payment: BillingPayment) -> None:
    payment.paydate = core.clock.stamp()
    post(core, account=payment.account, change=payment.credit, reason="payment", reference=payment.id)
    order = core.world.orders.get(payment.billorder)
    if order is not None:
        order.payment_came = True
    spend(core, account=payment.account, first=payment.billorder)


def post(core: Core, *, account: int, change: Decimal, reason: str, reference: int) -> None:
    """Change a balance and write the ledger row."""
    world = core.world
    holder = world.accounts[account]
    holder.balance += change
    number = world.next_id("ledger")
    world.ledger[number] = LedgerRow(
        id=number,
        account=account,
        change=change,
        balance=holder.balance,
        at=core.clock.stamp(),
        reason=reason,
        reference=reference,
    )


def spend(core: Core, *, account: int, first: int = 0) -> None:
    """Cover debts, oldest first, then pay orders: the given one before others whose payment has come."""
    world = core.world
    for debt in [d for d in world.debts.values() if d.account == account and not d.paid]:
        if world.accounts[account].balance >= debt.owed:
            debt.paid = True
            post(core, account=account, change=-debt.owed, reason="debt", reference=debt.id)
    waiting = [o for o in world.orders.values() if o.account == account and o.status == "unpaid" and o.payment_came]
    if any(d.account == account and not d.paid for d in world.debts.values()):
        return
    for order in sorted(waiting, key=lambda o: (o.id != first, o.id)):
        if world.accounts[account].balance >= order.price:
            _open(core, order)


def _open(core: Core, order: Order) -> None:
    order.status = "paid"
    post(core, account=order.account, change=-order.price, reason="order", reference=order.id)
    service = core.world.services[order.service]
    service.status = "active"
    service.activations += 1
    service.opendate = core.clock.stamp()
    core.world.events.append(
        {"event": "service.active", "service": service.id, "order": order.id, "at": service.opendate}
    )
