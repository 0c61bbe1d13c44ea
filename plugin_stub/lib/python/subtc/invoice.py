"""The bridge's invoices and events as values the module can trust in shape.

Owns strict reading of JSON from the bridge; must not compare anything with BILLmanager.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, NamedTuple

from subtc.payment import ELID, decimal

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WAY = re.compile(r"[a-z]{1,20}")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)Z")
_HASH = re.compile(r"[0-9a-f]{64}")


class Malformed(Exception):
    """The bridge sent something its interface does not allow."""


class Received(NamedTuple):
    """Money that came, for people to read: over which way, when (in UTC), and by which name it is found."""

    way: str
    amount_sat: int
    at: str
    txid: str = ""
    payment_hash: str = ""


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
    payments: tuple[Received, ...] = ()
    grace_until: str = ""
    address: str = ""


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
        payments=_received(found.get("payments")),
        grace_until=_time(found.get("grace_until")),
        address=str(found.get("address") or "")[:200],
    )


def _time(found: Any) -> str:
    """UTC for people to read; an older bridge names no such time."""
    at = _TIME.fullmatch(str(found))
    return " ".join(at.groups()) if at else ""


def _received(found: Any) -> tuple[Received, ...]:
    """What can be read of the payments. An older bridge names none, and nothing rests on them: the rest is left out."""
    read = [_one_received(each) for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return tuple(each for each in read if each is not None)


def _one_received(found: dict[str, Any]) -> Received | None:
    way, at, sat = str(found.get("way")), _TIME.fullmatch(str(found.get("first_seen_at"))), found.get("amount_sat")
    if not _WAY.fullmatch(way) or at is None or type(sat) is not int or sat < 0:
        return None
    names = {name: str(found.get(name)) for name in ("txid", "payment_hash")}
    names = {name: text for name, text in names.items() if _HASH.fullmatch(text)}
    return Received(way=way, amount_sat=sat, at=" ".join(at.groups()), **names)


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
