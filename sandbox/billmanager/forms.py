"""Owns the settings form of a payment method: shown, checked, turned into xmlparams. It must not store anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from sandbox.billmanager import documents, modules
from sandbox.billmanager.core import Core, Element
from sandbox.billmanager.errors import CoreError
from sandbox.billmanager.registry import Field, Plugin
from sandbox.billmanager.rows import Paymethod

GENERIC = ("recurring", "allowrefund")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def current_values(method: Paymethod | None) -> dict[str, str]:
    """The stored settings of a method."""
    return {} if method is None else {e.tag: e.text or "" for e in ET.fromstring(method.xmlparams)}


def taken_values(plugin: Plugin, params: dict[str, str], method: Paymethod | None) -> dict[str, str]:
    """What the administrator sent, checkboxes as on/off; an empty password keeps the stored one."""
    stored, values = current_values(method), {}
    for field in plugin.fields():
        sent = params.get(field.name)
        if field.kind == "msg" or not field.name:
            continue
        if field.kind == "checkbox":
            values[field.name] = "on" if sent == "on" else "off"
        elif field.kind == "password" and not sent:
            values[field.name] = stored.get(field.name, "")
        else:
            values[field.name] = stored.get(field.name, "") if sent is None else sent
    return values


def check_values(plugin: Plugin, values: dict[str, str], lang: str) -> None:
    """Enforce `required`, `maxlength` and `check` of the description. Raises `missed` or `value` bound to the field.

    What another field's value hides is not demanded: nobody could fill it in.
    """
    hidden = {row for field in plugin.fields() for value, row in field.hides if values.get(field.name, "") == value}
    for field in plugin.fields():
        text = values.get(field.name, "")
        if field.required and not text and field.row not in hidden:
            raise _labelled(CoreError("missed", field.name), plugin, field, lang)
        too_long = field.maxlength and len(text) > field.maxlength
        check = CHECKS.get(field.check)
        if text and (too_long or (check is not None and not check(text, field.checkargs))):
            raise _labelled(CoreError("value", field.name, text), plugin, field, lang)


def _labelled(error: CoreError, plugin: Plugin, field: Field, lang: str) -> CoreError:
    error.messages = {
        **plugin.errors(lang),
        f"label_{field.name}": plugin.message(f"paymethod.edit.{plugin.short}", field.name, lang),
    }
    return error


def _is_url(text: str, _: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https", "ftp") and bool(parts.hostname) and not re.search(r"\s", text)


def _is_int(text: str, arguments: str) -> bool:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        return False
    low, _, high = arguments.partition(",")
    return (not low or int(text) >= int(low)) and (not high or int(text) <= int(high))


CHECKS: dict[str, Callable[[str, str], bool]] = {
    "url": _is_url,
    "int": _is_int,
    "email": lambda text, _: bool(_EMAIL.fullmatch(text)),
    "phone": lambda text, _: bool(re.fullmatch(r"[+0-9 ()-]{5,24}", text)),
}


def settings_document(plugin: Plugin, values: dict[str, str], generic: dict[str, str]) -> Element:
    """What pmtune and pmvalidate get on stdin: own fields on top, the generic ones in `<paymethod>` (contract 5.2)."""
    document = ET.Element("doc")
    documents.children(document, values)
    documents.children(documents.child(document, "paymethod"), generic)
    return document


def validate(core: Core, plugin: Plugin, values: dict[str, str], generic: dict[str, str], lang: str) -> dict[str, str]:
    """Run pmvalidate when declared; the values, normalised if the module printed its document. Raises its error."""
    if "pmvalidate" not in core.registry.declared(plugin.name).features:
        return values
    document = settings_document(plugin, values, generic)
    answer = modules.ask(core, plugin, lang, "--command", "pmvalidate", stdin=document)
    if answer is None:
        return values
    return {name: answer.findtext(name, text) for name, text in values.items()}


def shown_form(core: Core, plugin: Plugin, values: dict[str, str], generic: dict[str, str], lang: str) -> Element:
    """The form as a document: metadata, words, values (private passwords left out) and the lists of pmtune."""
    metadata = plugin.metadata.get(f"paymethod.edit.{plugin.short}")
    document = ET.Element("doc")
    if metadata is not None:
        document.append(deepcopy(metadata))
    words = documents.child(document, "messages", "", name=f"paymethod.edit.{plugin.short}")
    for language in ("en", lang):
        for name, text in plugin.words.get(language, {}).get(f"paymethod.edit.{plugin.short}", {}).items():
            if language == lang or name not in plugin.words.get(lang, {}).get(f"paymethod.edit.{plugin.short}", {}):
                documents.child(words, "msg", text, name=name)
    hidden = {field.name for field in plugin.fields() if field.kind == "password"}
    documents.children(document, {n: "" if n in hidden else text for n, text in values.items()})
    documents.children(documents.child(document, "paymethod"), generic)
    for options in slists(core, plugin, values, generic, lang):
        document.append(options)
    return document


def slists(core: Core, plugin: Plugin, values: dict[str, str], generic: dict[str, str], lang: str) -> list[Element]:
    """The select options that pmtune adds (BILLmanager contract 5.3)."""
    if "pmtune" not in core.registry.declared(plugin.name).features:
        return []
    document = settings_document(plugin, values, generic)
    answer = modules.ask(core, plugin, lang, "--command", "pmtune", stdin=document)
    return [] if answer is None else answer.findall("slist")


def xmlparams(plugin: Plugin, values: dict[str, str], generic: dict[str, str]) -> str:
    """The text for the table: clear values with their `private` attributes (BILLmanager contract 9)."""
    private = {field.name: "yes" if field.private else "" for field in plugin.fields()}
    document = ET.Element("doc")
    for name, text in values.items():
        documents.child(document, name, text, private=private.get(name, ""))
    for name in GENERIC:
        if name not in values:
            documents.child(document, name, generic.get(name, "off"), private="")
    return documents.write_xml(document).removeprefix(documents.XML_HEAD).strip()
