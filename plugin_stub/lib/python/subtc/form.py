"""The errors that the main script answers with (BILLmanager contract 6).

Owns their shape and their bytes: UTF-8, as they say, in whatever locale we run; must not know what is being checked.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class FormError(Exception):
    """One error bound to a form field; BILLmanager shows msg_error_<kind> with __value__ and the like replaced."""

    def __init__(self, kind: str, about: str, **params: str):
        super().__init__(f"{kind}({about})")
        self.kind = kind
        self.about = about
        self.params = {"value": "", **params}


def error_document(problem: FormError) -> bytes:
    doc = ET.Element("doc")
    error = ET.SubElement(doc, "error", type=problem.kind, object=_printable(problem.about))
    for name, value in problem.params.items():
        ET.SubElement(error, "param", name=name).text = _printable(value)
    text = ET.tostring(doc, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _printable(text: str) -> str:
    """Drop what XML cannot carry, so that a bridge's words can never break the answer."""
    return _UNPRINTABLE.sub("", text[:300])
