"""Owns the status functions for modules, in the newer order of what they take. It must not decide which one is right."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

from .calls import MgrctlXml


class PaymentStatus(enum.Enum):
    """The numbers of BILLmanager contract 10.1."""

    psNew = 1
    psInPay = 2
    psPromised = 3
    psPaid = 4
    psFraud = 7
    psCanceled = 9


class RecurringStatus(enum.Enum):
    """What a stored way to pay is; the numbers are not documented."""

    rsActive = 1
    rsStored = 2


class RecurringInfo(NamedTuple):
    """A way to pay that is stored along with a payment."""

    status: RecurringStatus
    token: str
    data1: str = ""
    data2: str = ""
    name: str = ""


def _set(func: str, elid: Any, external_id: Any, info: str, stored: RecurringInfo | None = None) -> None:
    kept = {"stored_token": stored.token, "stored_name": stored.name} if stored else {}
    MgrctlXml(func, elid=elid, info=info, externalid=external_id, **kept)


def set_in_pay(elid: Any, external_id: Any = "", info: str = "") -> None:
    """Status 2."""
    _set("payment.setinpay", elid, external_id, info)


def set_paid(elid: Any, external_id: Any = "", recurring_info: RecurringInfo | None = None, info: str = "") -> None:
    """Status 4."""
    _set("payment.setpaid", elid, external_id, info, recurring_info)


def set_canceled(elid: Any, external_id: Any = "", info: str = "") -> None:
    """Status 9."""
    _set("payment.setcanceled", elid, external_id, info)


def set_fraud(elid: Any, external_id: Any = "", info: str = "") -> None:
    """Status 7."""
    _set("payment.setfraud", elid, external_id, info)
