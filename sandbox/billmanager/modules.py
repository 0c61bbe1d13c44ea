"""Owns asking modules about payments: creation, deletion, refunds, polls. It must not hold the lock meanwhile."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from sandbox.billmanager import documents
from sandbox.billmanager.core import Call, Core, Element
from sandbox.billmanager.errors import CoreError
from sandbox.billmanager.info import money
from sandbox.billmanager.records import Record
from sandbox.billmanager.registry import Plugin
from sandbox.billmanager.rows import BillingPayment


def ask(core: Core, plugin: Plugin, lang: str, *arguments: str, stdin: Element | None = None) -> Element | None:
    """Run one command; its document, or None when it printed nothing. Raises the module's error with its words."""
    body = b"" if stdin is None else documents.write_xml(stdin).encode()
    outcome = core.runner.module(plugin.name, *arguments, stdin=body)
    if outcome.rc is None or (outcome.rc != 0 and core.knobs.module_rc_matters):
        raise CoreError("module", plugin.name, "timeout" if outcome.rc is None else f"exit {outcome.rc}")
    if not outcome.stdout.strip():
        return None
    try:
        document = ET.fromstring(outcome.stdout)
    except ET.ParseError as error:
        raise CoreError("module", plugin.name, f"answer is not XML: {error}") from None
    if (found := document.find("error")) is not None:
        raise module_error(found, plugin, lang)
    return document


def module_error(element: Element, plugin: Plugin, lang: str) -> CoreError:
    """A module's error document as our error, with the module's texts and field names (BILLmanager contract 3, 6)."""
    params = {p.get("name", ""): p.text or "" for p in element.findall("param")}
    target = element.get("object", "") or params.get("object", "")
    params = {name: text for name, text in params.items() if name not in ("object", "desc")}
    error = CoreError(element.get("type", ""), target, params.pop("value", ""), params)
    label = plugin.message(f"paymethod.edit.{plugin.short}", target, lang)
    error.messages = {**plugin.errors(lang), f"label_{target}": label}
    return error


def on_create(core: Core, call: Call, payment: BillingPayment, plugin: Plugin) -> str:
    """crtune, crvalidate, crset when declared, and where crvalidate sends the client; an error removes the payment."""
    goal = ""
    features = core.registry.declared(plugin.name).features
    form = ET.Element("doc")
    documents.children(form, {"payment_id": str(payment.id), "amount": money(payment.due), **payment.extra})
    try:
        for command in ("crtune", "crvalidate"):
            if command in features:
                answer = ask(core, plugin, call.lang, "--command", command, stdin=form)
                goal = goal if answer is None else answer.findtext("ok") or goal
        if "crset" in features:
            ask(core, plugin, call.lang, "--command", "crset", "--payment", str(payment.id))
    except CoreError:
        with core.world.change():
            core.world.payments.pop(payment.id, None)
        raise
    return goal


def checkpay(core: Core, *, only: str = "") -> list[Record]:
    """Run `checkpay` of every module that declares it (BILLmanager contract 5.10); returns the runs."""
    seen = core.records.select(kind="module")
    last = seen[-1].number if seen else 0
    for name in list(core.registry.plugins()):
        if only in ("", name) and "checkpay" in core.registry.declared(name).features:
            core.runner.module(name, "--command", "checkpay")
    runs = core.records.select(kind="module", after=last)
    return [run for run in runs if "checkpay" in run.argv]
