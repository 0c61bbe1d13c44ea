"""Owns the status functions for modules. It must not decide which one is right."""

from __future__ import annotations

import enum
from typing import Any

from .calls import MgrctlXml


class PaymentStatus(enum.Enum):
    """The numbers of BILLmanager contract 10.1."""

    psNew = 1
    psInPay = 2
    psPromised = 3
    psPaid = 4
    psFraud = 7
    psCanceled = 9


def _set(func: str, elid: Any, info: str, external_id: Any) -> None:
    MgrctlXml(func, elid=elid, info=info, externalid=external_id)


def set_in_pay(elid: Any, info: str = "", external_id: Any = "") -> None:
    """Status 2."""
    _set("payment.setinpay", elid, info, external_id)


def set_paid(elid: Any, info: str = "", external_id: Any = "") -> None:
    """Status 4."""
    _set("payment.setpaid", elid, info, external_id)


def set_canceled(elid: Any, info: str = "", external_id: Any = "") -> None:
    """Status 9."""
    _set("payment.setcanceled", elid, info, external_id)


def set_fraud(elid: Any, info: str = "", external_id: Any = "") -> None:
    """Status 7."""
    _set("payment.setfraud", elid, info, external_id)
