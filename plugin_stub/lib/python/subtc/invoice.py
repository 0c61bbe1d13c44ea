"""The bridge's invoices and events as values the module can trust in shape.

Owns strict reading of JSON from the bridge; must not compare anything with BILLmanager.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, NamedTuple

from subtc.payment import ELID, decimal

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Malformed(Exception):
    """The bridge sent something its interface does not allow."""


class Invoice(NamedTuple):
    """The absolute state of one invoice, never a delta."""

    id: str
    elid: str
    status: str
    exception: str
    hold: str
    charge: Decimal
    currency: str
    received_sat: int
    sequence: int
    payment_url: str
    trace: str = ""


class Event(NamedTuple):
    """Something happened to an invoice; `invoice` is None only for events about nothing, like a test."""

    id: str
    type: str
    invoice: Invoice | None
    raw: dict[str, Any]


def read_event(found: Any) -> Event:
    """Raises Malformed."""
    if not isinstance(found, dict):
        raise Malformed("an event is not an object")
    about = found.get("invoice")
    return Event(
        id=_text(found, "id"),
        type=_text(found, "type"),
        invoice=None if about is None else read_invoice(about),
        raw=found,
    )


def read_invoice(found: Any) -> Invoice:
    """Raises Malformed. Money must come as decimal text and whole satoshi, never as a JSON fraction."""
    if not isinstance(found, dict):
        raise Malformed("an invoice is not an object")
    elid, invoice_id = _text(found, "billing_payment_id"), _text(found, "id")
    charge = decimal(_text(found, "amount"))
    if not ELID.fullmatch(elid) or not _ID.fullmatch(invoice_id) or charge is None:
        raise Malformed("id, billing_payment_id or amount of an invoice is malformed")
    return Invoice(
        id=invoice_id,
        elid=elid,
        status=_text(found, "status"),
        exception=str(found.get("exception") or "none"),
        hold=str(found.get("hold") or ""),
        charge=charge,
        currency=_text(found, "currency"),
        received_sat=_whole(found, "received_sat"),
        sequence=_whole(found, "sequence"),
        payment_url=str(found.get("payment_url") or ""),
        trace=str(found.get("trace_id") or ""),
    )


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not value or len(value) > 300:
        raise Malformed(f"{name} is missing or not a text")
    return value


def _whole(found: dict[str, Any], name: str) -> int:
    value = found.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Malformed(f"{name} is not a whole number")
    return value
