"""Owns payment methods: list, add, edit, delete. It must not check a module's own fields itself; forms do."""

from __future__ import annotations

from decimal import Decimal
from xml.etree import ElementTree as ET

from sandbox.billmanager import documents, forms
from sandbox.billmanager.checkout import currency_of
from sandbox.billmanager.core import Call, Core, Element, ok
from sandbox.billmanager.errors import CoreError
from sandbox.billmanager.registry import Plugin
from sandbox.billmanager.rows import Paymethod

CASH_LOGO = "/manimg/userdata/img/cash.png"


def paymethod_list(core: Core, call: Call) -> Element:
    """`paymethod`: all methods (DPM columns of BILLmanager contract 8.4) with their logo."""
    document = ET.Element("doc")
    for method in core.world.paymethods.values():
        element = documents.child(document, "elem")
        documents.children(
            element,
            {
                "id": str(method.id),
                "name": method.name,
                "module": method.module,
                "currency_name": core.world.currencies[method.currency].iso,
                "projects": "Demo Hosting",
                "companies": "",
                "note": method.generic.get("note", ""),
                "orderpriority": method.generic.get("orderpriority", str(method.id)),
                "logo": logo(core, method.module),
                "status": "on" if method.active else "off",
            },
        )
    return document


def logo(core: Core, module: str) -> str:
    """The address of a module's picture, or the cash picture without one (BILLmanager contract 2)."""
    name = f"common/plugin-logo/billmanager-plugin-{module}.png"
    return f"/manimg/{name}" if (core.base / "skins" / name).is_file() else CASH_LOGO


def find_method(core: Core, call: Call) -> Paymethod:
    """The method named by `elid`. Raises `missed`."""
    elid = call.need("elid")
    method = core.world.paymethods.get(int(elid)) if elid.isascii() and elid.isdigit() else None
    if method is None:
        raise CoreError("missed", "paymethod", elid)
    return method


def paymethod_add(core: Core, call: Call) -> Element:
    """`paymethod.add module=pmNAME`: the form, or with sok=ok a new method after pmvalidate."""
    return _save_or_show(core, call, core.working_plugin(call.need("module")), None)


def paymethod_edit(core: Core, call: Call) -> Element:
    """`paymethod.edit elid=N`: the form, or with sok=ok the changed method after pmvalidate."""
    method = find_method(core, call)
    return _save_or_show(core, call, core.working_plugin(method.module), method)


def paymethod_delete(core: Core, call: Call) -> Element:
    """`paymethod.delete elid=N`; a method with payments stays."""
    method = find_method(core, call)
    if any(payment.paymethod == method.id for payment in core.world.payments.values()):
        raise CoreError("exists", "payment", str(method.id))
    with core.world.change():
        del core.world.paymethods[method.id]
    return ok()


def generic_values(core: Core, call: Call, plugin: Plugin, method: Paymethod | None) -> dict[str, str]:
    """The generic fields as pmvalidate sees them; `id` is empty for a new method (BILLmanager contract 5.2)."""
    stored = _stored_generic(method)
    name = plugin.message("label_paymethod", plugin.name, call.lang) or plugin.name
    defaults = {
        "id": "",
        "name": name,
        "module": plugin.name,
        "active": "on",
        "currency": "126",
        "minamount": "1.00",
        "maxamount": "",
        "commissionamount": "0.00",
        "commissionpercent": "0",
        "recurring": "off",
        "allowrefund": "off",
        "note": "",
    }
    sent = {key: text for key, text in call.params.items() if key in defaults and key not in ("id", "module")}
    values = {**defaults, **stored, **sent}
    values["currency"] = str(currency_of(core, values["currency"]))
    for key in ("minamount", "maxamount"):
        if values[key] and not values[key].replace(".", "", 1).isdigit():
            raise CoreError("value", key, values[key])
    return values


def _stored_generic(method: Paymethod | None) -> dict[str, str]:
    if method is None:
        return {}
    return {
        **method.generic,
        "id": str(method.id),
        "name": method.name,
        "active": "on" if method.active else "off",
        "currency": str(method.currency),
        "minamount": method.minimum,
        "maxamount": method.maximum,
    }


def _save_or_show(core: Core, call: Call, plugin: Plugin, method: Paymethod | None) -> Element:
    values = forms.taken_values(plugin, call.params, method)
    generic = generic_values(core, call, plugin, method)
    generic.update({name: values[name] for name in forms.GENERIC if name in values})
    if not call.sure:
        document = forms.shown_form(core, plugin, values, generic, call.lang)
        if method is not None:
            documents.child(document, "elid", str(method.id))
        return document
    forms.check_values(plugin, values, call.lang)
    values = forms.validate(core, plugin, values, generic, call.lang)
    saved = _store(core, plugin, values, generic, method)
    document = ok()
    documents.child(document, "id", str(saved.id))
    return document


def _store(
    core: Core, plugin: Plugin, values: dict[str, str], generic: dict[str, str], method: Paymethod | None
) -> Paymethod:
    kept = {
        name: generic[name] for name in ("recurring", "allowrefund", "note", "commissionamount", "commissionpercent")
    }
    with core.world.change():
        number = core.world.next_id("paymethods") if method is None else method.id
        saved = Paymethod(
            id=number,
            module=plugin.name,
            name=generic["name"],
            currency=int(generic["currency"]),
            minimum=_two_digits(generic["minamount"]),
            maximum=_two_digits(generic["maxamount"]),
            active=generic["active"] == "on",
            xmlparams=forms.xmlparams(plugin, values, generic),
            generic=kept,
        )
        core.world.paymethods[number] = saved
    return saved


def _two_digits(text: str) -> str:
    return str(Decimal(text).quantize(Decimal("0.01"))) if text else ""
