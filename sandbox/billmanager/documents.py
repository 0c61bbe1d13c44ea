"""Owns how a document of the core is written: XML, JSON, flat JSON, text. It must not know what the documents mean."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree as ET

Element = ET.Element
XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
MIME = {
    "xml": "text/xml",
    "devel": "text/xml",
    "json": "application/json",
    "sjson": "application/json",
    "bjson": "application/json",
    "xjson": "application/json",
    "JSONdata": "application/json",
    "text": "text/plain",
}


def child(parent: Element, name: str, text: str = "", /, **attributes: str) -> Element:
    """Append one child with a text; control characters that XML forbids are dropped."""
    element = ET.SubElement(parent, name, {key: _ILLEGAL.sub("", value) for key, value in attributes.items()})
    element.text = _ILLEGAL.sub("", text) or None
    return element


def children(parent: Element, pairs: dict[str, str]) -> None:
    """Append several children in order."""
    for name, text in pairs.items():
        child(parent, name, text)


def write_xml(element: Element) -> str:
    """The document in the bytes BILLmanager uses: short empty elements without a space, double quotes."""
    return XML_HEAD + _xml(element) + "\n"


def _xml(element: Element) -> str:
    attributes = "".join(f' {name}="{_quote(value, True)}"' for name, value in element.items())
    inner = _quote(element.text or "", False) + "".join(_xml(e) + _quote(e.tail or "", False) for e in element)
    return f"<{element.tag}{attributes}>{inner}</{element.tag}>" if inner else f"<{element.tag}{attributes}/>"


def _quote(text: str, attribute: bool) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
    return text.replace('"', "&quot;").replace("\n", "&#10;") if attribute else text


def write(document: Element, form: str, *, arrays: bool = False) -> str:
    """The document in one of the `out=` formats (BILLmanager contract 8.4)."""
    if form in ("json", "sjson", "xjson", "JSONdata"):
        return json.dumps({document.tag: _tree(document, arrays)}, ensure_ascii=False)
    if form == "bjson":
        flat = _flat(document)
        flat = flat if isinstance(flat, dict) else {}
        return json.dumps({k: v for k, v in flat.items() if not k.startswith("$")}, ensure_ascii=False)
    return write_text(document) if form == "text" else write_xml(document)


def _grouped(element: Element) -> dict[str, list[Element]]:
    groups: dict[str, list[Element]] = {}
    for part in element:
        groups.setdefault(part.tag, []).append(part)
    return groups


def _is_array(parts: list[Element], arrays: bool) -> bool:
    return len(parts) > 1 or parts[0].tag == "elem" or (arrays and parts[0].get("is_json_array") == "yes")


def _tree(element: Element, arrays: bool) -> dict[str, Any]:
    out: dict[str, Any] = {f"${name}": value for name, value in element.items()}
    if element.text:
        out["$"] = element.text
    for name, parts in _grouped(element).items():
        trees = [_tree(part, arrays) for part in parts]
        out[name] = trees if _is_array(parts, arrays) else trees[0]
    return out


def _flat(element: Element) -> Any:
    if not len(element) and not element.attrib:
        return element.text or ""
    out: dict[str, Any] = {f"${name}": value for name, value in element.items()}
    if element.text:
        out["$"] = element.text
    for name, parts in _grouped(element).items():
        flats = [_flat(part) for part in parts]
        out[name] = flats if _is_array(parts, False) else flats[0]
    return out


def write_text(document: Element) -> str:
    """The plain text form: `ERROR type(object,value)`, one line per list element, or `name=value` lines."""
    error = document.find("error")
    if error is not None:
        value = next((p.text or "" for p in error.findall("param") if p.get("name") == "value"), "")
        inner = ",".join(part for part in (error.get("object", ""), value) if part)
        return f"ERROR {error.get('type')}({inner})\n"
    rows = document.findall("elem")
    if rows:
        return "".join(" ".join(f"{p.tag}={p.text or ''}" for p in row) + "\n" for row in rows)
    lines = [
        f"{p.tag}={p.text or ''}" for p in document if p.tag not in ("tparams", "saved_filters", "ok") and not len(p)
    ]
    return "\n".join(["OK" if document.find("ok") is not None else "", *lines]).strip("\n") + "\n"
