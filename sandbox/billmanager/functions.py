"""Owns the table of functions the core knows. It must not contain any of them."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from sandbox.billmanager import checkout, documents, info, payments, paymethods, sessions, statuses, tables
from sandbox.billmanager.core import Call, Core, Element, Function, ok


def restart(core: Core, _: Call) -> Element:
    """`exit`: the core restarts and reads all modules anew."""
    core.restart()
    return ok()


def paramlist(core: Core, _: Call) -> Element:
    """`paramlist`: configuration values; the database is reachable only through the tree's own library."""
    document = ET.Element("doc")
    element = documents.child(document, "elem")
    documents.children(
        element, {"DBHost": "localhost", "DBUser": "sandbox", "DBPassword": "sandbox", "DBName": "billmgr"}
    )
    return document


_LISTS = {
    "currency": payments.currency_rows,
    "billorder": payments.order_rows,
    "service": payments.service_rows,
    "debt": payments.debt_rows,
    "expense": payments.ledger_rows,
}

FUNCTIONS: dict[str, Function] = {
    "auth": Function(run=sessions.auth, level=0),
    "logout": Function(run=sessions.log_out, level=0),
    "whoami": Function(run=sessions.whoami, level=16),
    "session.newkey": Function(run=sessions.new_key),
    "exit": Function(run=restart),
    "paramlist": Function(run=paramlist),
    "sandbox.select": Function(run=tables.select),
    **{name: Function(run=payments.simple_list(rows), level=16) for name, rows in _LISTS.items()},
    "subaccount": Function(run=payments.balance, level=16),
    "payment": Function(run=payments.payment_list, level=16),
    "payment.info": Function(run=info.payment_info, level=16),
    "payment.history": Function(run=payments.payment_history),
    "payment.edit": Function(run=payments.payment_edit),
    "payment.delete": Function(run=payments.payment_delete, level=16),
    "payment.refund": Function(run=payments.payment_refund),
    "payment.setinpay": Function(run=statuses.set_status),
    "payment.setpaid": Function(run=statuses.set_status),
    "payment.setcanceled": Function(run=statuses.set_status, versions=(6,)),
    "payment.setfraud": Function(run=statuses.set_status),
    "payment.setnopay": Function(run=statuses.set_status),
    "payment.add": Function(run=checkout.add_payment, level=16),
    "payment.add.method": Function(run=checkout.add_payment, level=16),
    "payment.add.pay": Function(run=checkout.add_payment, level=16),
    "order.add": Function(run=checkout.order, level=16),
    "paymethod": Function(run=paymethods.paymethod_list),
    "paymethod.add": Function(run=paymethods.paymethod_add),
    "paymethod.edit": Function(run=paymethods.paymethod_edit),
    "paymethod.delete": Function(run=paymethods.paymethod_delete),
}
