"""Owns the library's exception. It must not print."""

from __future__ import annotations

from xml.etree import ElementTree as ET


class XmlException(Exception):
    """An error that becomes `<doc><error/></doc>` (BILLmanager contract 6)."""

    def __init__(self, err_type: str, err_object: str = "", err_value: str = "", **params: str) -> None:
        super().__init__(f"{err_type} {err_object} {err_value}")
        self.err_type, self.err_object, self.err_value = err_type, err_object, err_value
        self.params = {"value": err_value, **params}

    def add_param(self, name: str, text: str) -> None:
        """One more value for the words of the error."""
        self.params[name] = text

    def as_xml(self) -> str:
        """The error document."""
        document = ET.Element("doc")
        error = ET.SubElement(document, "error", type=self.err_type, object=self.err_object)
        for name, text in self.params.items():
            ET.SubElement(error, "param", name=name).text = str(text)
        return ET.tostring(document, encoding="unicode")
