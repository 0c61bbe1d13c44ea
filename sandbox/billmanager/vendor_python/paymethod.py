"""Owns the base class of payment modules written in Python. It must not know any gateway."""

from __future__ import annotations

import argparse
import enum
import sys
from collections.abc import Callable
from xml.etree import ElementTree as ET

from .calls import MgrctlXml
from .exception import XmlException


class Feature(enum.Enum):
    """Features by the names modules use (BILLmanager contract 4.1)."""

    REDIRECT = "redirect"
    NO_SELECT = "noselect"
    NOT_PROFILE = "notneedprofile"
    PMTUNE = "pmtune"
    PMVALIDATE = "pmvalidate"
    CRTUNE = "crtune"
    CRVALIDATE = "crvalidate"
    CRSET = "crset"
    CRDELETE = "crdelete"
    REFUND = "refund"
    RFTUNE = "rftune"
    RFVALIDATE = "rfvalidate"
    RFSET = "rfset"
    RECURRING = "recurring"
    STORED = "stored"
    CHECKPAY = "checkpay"


class Param(enum.Enum):
    """Parameters of `config`."""

    PAYMENT_SCRIPT = "payment_script"
    RECURRING_SCRIPT = "recurring_script"
    RECURRING_TYPE = "recurring_type"


class PaymethodModule:
    """Declares features, answers `config`, runs commands, turns exceptions into error documents."""

    def __init__(self) -> None:
        self._features: list[Feature] = []
        self._commands: dict[str, Callable[[], None]] = {"config": self._config}
        self._params: dict[Param, str] = {}
        self.args = argparse.Namespace()

    def _add_feature(self, feature: Feature) -> None:
        self._features.append(feature)

    def _add_callable_feature(self, feature: Feature, run: Callable[[], None]) -> None:
        self._features.append(feature)
        self._commands[feature.value] = run

    def _add_param(self, param: Param, value: str) -> None:
        self._params[param] = value

    def _on_raise_exception(self, args: argparse.Namespace, err: XmlException) -> None:
        """What to do with an error; a module overrides it to print the document."""

    def _config(self) -> None:
        document = ET.Element("doc")
        features, params = ET.SubElement(document, "feature"), ET.SubElement(document, "param")
        for feature in self._features:
            ET.SubElement(features, feature.value).text = "on"
        for param, value in self._params.items():
            ET.SubElement(params, param.value).text = value
        print(ET.tostring(document, encoding="unicode"))

    def get_payment_params(self) -> dict[str, str]:
        """The flat values of the payment named on the command line."""
        return payment_parts(self.args.payment)[0]

    def get_method_params(self) -> dict[str, str]:
        """The settings of its payment method."""
        return payment_parts(self.args.payment)[1]

    def run(self) -> None:
        """Run the command of the command line; exit 0 in every case."""
        parser = argparse.ArgumentParser()
        for name in ("command", "payment", "amount", "recurring"):
            parser.add_argument(f"--{name}", default="")
        self.args = parser.parse_args()
        try:
            command = self._commands.get(self.args.command)
            if command is None:
                raise XmlException("unknown command", self.args.command)
            command()
        except XmlException as err:
            self._on_raise_exception(self.args, err)
        except Exception as err:
            self._on_raise_exception(self.args, XmlException("unknown_error", "", str(err)))
        sys.exit(0)


def payment_parts(elid: str) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """payment.info as (flat values, method, currency); an object is the child that has children."""
    payment = MgrctlXml("payment.info", elid=elid).find("payment")
    flat: dict[str, str] = {}
    objects: dict[str, dict[str, str]] = {}
    for element in payment if payment is not None else []:
        if len(element):
            objects[element.tag] = {part.tag: part.text or "" for part in element}
        else:
            flat[element.tag] = element.text or ""
    return flat, objects.get("paymethod", {}), objects.get("currency", {})
