"""Owns the base class of payment modules written in Python. It must not know any gateway."""

from __future__ import annotations

import argparse
import enum
import sys
from collections.abc import Callable, Iterable
from typing import Any
from xml.etree import ElementTree as ET

from .calls import MgrctlXml
from .database import get_first_record_unwrap
from .exception import XmlException


class Feature(enum.Enum):
    """Features by the names modules use (BILLmanager contract 4.1)."""

    REDIRECT = "redirect"
    NO_SELECT = "noselect"
    NOT_PROFILE = "notneedprofile"
    PMTUNE = "pmtune"
    PMVALIDATE = "pmvalidate"
    PMUSERCREATE = "pmusercreate"
    CRTUNE = "crtune"
    CRVALIDATE = "crvalidate"
    CRSET = "crset"
    CRDELETE = "crdelete"
    REFUND = "refund"
    NOREFUND = "norefund"
    RFTUNE = "rftune"
    RFVALIDATE = "rfvalidate"
    RFSET = "rfset"
    TRANSFER = "transfer"
    TFTUNE = "tftune"
    TFVALIDATE = "tfvalidate"
    TFSET = "tfset"
    RECURRING = "recurring"
    RCTUNE = "rctune"
    RCVALIDATE = "rcvalidate"
    RCSET = "rcset"
    RCPAY = "rcpay"
    RCDELETE = "rcdelete"
    STORED = "stored"
    CHECKPAY = "checkpay"
    RP_SUCCESS = "rpsuccess"  # this spelling and the next are not documented
    RP_FAIL = "rpfail"


class Param(enum.Enum):
    """Parameters of `config`."""

    PAYMENT_SCRIPT = "payment_script"
    RECURRING_SCRIPT = "recurring_script"
    RECURRING_TYPE = "recurring_type"


class RecurringType(enum.Enum):
    """What a gateway's autopayments can do and need (BILLmanager contract 4.1)."""

    rtMaxAmount = 1 << 8
    rtRedirect = 1 << 20
    rtNeedInit = 1 << 24


def recurring_type_param(types: Iterable[RecurringType]) -> str:
    """The value of Param.RECURRING_TYPE."""
    return str(sum({each.value for each in types}))


class PaymethodModule:
    """Declares features, answers `config`, runs commands, turns exceptions into error documents."""

    def __init__(self) -> None:
        self._parser = argparse.ArgumentParser()
        for name in ("command", "payment", "amount", "recurring"):
            self.add_argument(f"--{name}", default="")
        self._features: list[Feature] = []
        self._commands: dict[str, Callable[..., None]] = {"config": self._config}
        self._params: dict[Param, str] = {}
        self.args = argparse.Namespace()

    def set_description(self, text: str) -> None:
        """What --help says of the module."""
        self._parser.description = text

    def add_argument(self, *names: str, **parts: Any) -> None:
        """One more option of the command line; its value is in `args`."""
        self._parser.add_argument(*names, **parts)

    def _add_feature(self, feature: Feature) -> None:
        self._features.append(feature)

    def _add_callable_feature(self, feature: Feature, run: Callable[..., None]) -> None:
        """`run` gets the payment's number where the command names one."""
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

    def get_payment_params(self, payment: int | str = "") -> dict[str, str]:
        """The flat values of a payment, else of the one on the command line."""
        flat = payment_parts(str(payment or self.args.payment))[0]
        return {**flat, "amount": flat.get("paymethodamount", "")}

    def get_method_params(self, method: int | str = "") -> dict[str, str]:
        """The settings of a payment method, else of the method of the payment on the command line."""
        if not method:
            return payment_parts(self.args.payment)[1]
        row = get_first_record_unwrap("SELECT xmlparams FROM paymethod WHERE id = %s", int(method))
        return {each.tag: each.text or "" for each in ET.fromstring(row.as_str("xmlparams"))}

    def run(self) -> None:
        """Run the command of the command line; exit 0 in every case."""
        self.args = self._parser.parse_args()
        try:
            command = self._commands.get(self.args.command)
            if command is None:
                raise XmlException("unknown command", self.args.command)
            command(*([int(self.args.payment)] if self.args.payment else []))
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
