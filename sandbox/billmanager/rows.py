"""Owns the shapes of the billing records. It must not contain behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(kw_only=True)
class User:
    """Somebody who can log in; `account` is 0 for administrators."""

    id: int
    name: str
    password: str
    level: int
    realname: str
    email: str
    account: int = 0
    lang: str = "en"


@dataclass(kw_only=True)
class Session:
    """A login."""

    id: str
    user: int
    used_at: float


@dataclass(kw_only=True)
class Account:
    """A client's money, in the account's currency."""

    id: int
    user: int
    currency: int
    balance: Decimal = Decimal("0.00")


@dataclass(kw_only=True)
class Currency:
    """A currency by BILLmanager's own number; `per_rub` converts between them."""

    id: int
    iso: str
    code: str
    name: str
    name_ru: str
    per_rub: Decimal
    active: bool = True


@dataclass(kw_only=True)
class Paymethod:
    """A payment method; `xmlparams` is the text that BILLmanager's table holds."""

    id: int
    module: str
    name: str
    currency: int
    name_ru: str = ""
    minimum: str = "1.00"
    maximum: str = ""
    active: bool = True
    xmlparams: str = "<doc/>"
    generic: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class BillingPayment:
    """A payment record; `due` is in the method's currency and `credit` in the account's."""

    id: int
    account: int
    user: int
    paymethod: int
    currency: int
    due: Decimal
    credit: Decimal
    status: int
    createdate: str
    randomnumber: str
    description: str
    manager_url: str
    remote_ip: str
    number: str
    externalid: str = ""
    info: str = ""
    billorder: int = 0
    paydate: str = ""
    refund_of: int = 0
    refunded: Decimal = Decimal("0.00")
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class HistoryRow:
    """One row of history_payment (BILLmanager contract 8.3)."""

    id: int
    reference: int
    status: int
    status_new: int
    fromdate: str
    changedate: str
    changedfields: str
    request_action: str
    request_ip: str
    username: str


@dataclass(kw_only=True)
class Order:
    """Something a client wants; `price` is in the account's currency."""

    id: int
    account: int
    price: Decimal
    status: str = "unpaid"
    service: int = 0
    payment_came: bool = False


@dataclass(kw_only=True)
class Service:
    """What the order gives: ordered, then active."""

    id: int
    account: int
    order: int
    product: str
    name: str
    status: str = "ordered"
    activations: int = 0
    opendate: str = ""


@dataclass(kw_only=True)
class Debt:
    """What a client owes, in the account's currency."""

    id: int
    account: int
    owed: Decimal
    description: str
    paid: bool = False


@dataclass(kw_only=True)
class LedgerRow:
    """One change of a balance."""

    id: int
    account: int
    change: Decimal
    balance: Decimal
    at: str
    reason: str
    reference: int
