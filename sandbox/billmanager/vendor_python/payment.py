"""Owns the status functions for modules, in the order of either version. It must not decide which one is right."""

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


def _set(func: str, elid: Any, first: Any, second: Any, info: str, external_id: Any) -> None:
    # Newer: external id, then what is stored. Older: words, then the external id.
    stored = second if isinstance(second, RecurringInfo) else None
    if second is None or stored:
        external_id = external_id or first
    else:
        info, external_id = info or first, external_id or second
    kept = {"stored_token": stored.token, "stored_name": stored.name} if stored else {}
    MgrctlXml(func, elid=elid, info=info, externalid=external_id, **kept)


def set_in_pay(elid: Any, first: Any = "", second: Any = None, *, info: str = "", external_id: Any = "") -> None:
    """Status 2."""
    _set("payment.setinpay", elid, first, second, info, external_id)


def set_paid(
    elid: Any, first: Any = "", second: Any = None, *, info: str = "", external_id: Any = "", recurring_info: Any = None
) -> None:
    """Status 4."""
    _set("payment.setpaid", elid, first, second if recurring_info is None else recurring_info, info, external_id)


def set_canceled(elid: Any, first: Any = "", second: Any = None, *, info: str = "", external_id: Any = "") -> None:
    """Status 9."""
    _set("payment.setcanceled", elid, first, second, info, external_id)


def set_fraud(elid: Any, first: Any = "", second: Any = None, *, info: str = "", external_id: Any = "") -> None:
    """Status 7."""
    _set("payment.setfraud", elid, first, second, info, external_id)
