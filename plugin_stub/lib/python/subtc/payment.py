"""BILLmanager's payment record as the module needs it (BILLmanager contract 8.2).

Owns reading payment.info, where tags repeat; must not decide anything about money.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from decimal import Decimal
from typing import Iterator, NamedTuple
from urllib.parse import urlencode

from subtc import MODULE, mgrctl, place, settings

ELID = re.compile(r"[0-9]{1,12}")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_DECIMAL = re.compile(r"[0-9]{1,18}(\.[0-9]{1,8})?")
STATUS = re.compile(r"[0-9]{1,9}")

PAYABLE = (1, 2, 8)
IN_PAY = 2
PAID = 4
FRAUD = 7
CANCELLED = 9
DELETING = 100


class Foreign(Exception):
    """The payment belongs to another payment module: it is none of our business."""


class Unreadable(mgrctl.MgrctlDown):
    """BILLmanager answered, but this one payment cannot be understood; others may well be."""


class BillingPayment(NamedTuple):
    """One record. `charge` is what the client owes in `currency`, as BILLmanager wrote it."""

    elid: str
    status: int
    charge: Decimal
    currency: str
    externalid: str
    randomnumber: str
    panel_url: str
    description: str
    user_id: str
    useremail: str
    billorder: str
    method_id: str
    settings: settings.Settings
    tier: str = ""
    country: str = ""

    def page(self, func: str) -> str:
        """Address of payment.success, payment.fail or payment.pending in the client's panel (contract 7)."""
        return f"{self.panel_url}?{urlencode({'func': func, 'elid': self.elid, 'module': MODULE})}"


def decimal(text: str) -> Decimal | None:
    """A plain non-negative decimal number; no exponent, sign, space or NaN."""
    return Decimal(text) if _DECIMAL.fullmatch(text) else None


def load(elid: str) -> BillingPayment:
    """Read one payment. Raises Foreign, Unreadable, mgrctl.MgrctlDown or mgrctl.Refused."""
    found = mgrctl.call("payment.info", elid=elid).find("payment")
    if found is None:
        raise mgrctl.MgrctlDown("payment.info: no payment in the answer")
    record = read(found)
    if record.elid != elid:
        raise mgrctl.MgrctlDown("payment.info: the answer is about another payment")
    return record


def read(found: ET.Element) -> BillingPayment:
    """Turn the <payment> element into a record. Raises Foreign or Unreadable."""
    method, currency = _object(found, "paymethod"), _object(found, "currency")
    if method is None or currency is None:
        raise Unreadable("payment.info: the payment method or its currency is missing")
    if method.findtext("module") != MODULE:
        raise Foreign(found.findtext("id") or "")
    charge = decimal(found.findtext("paymethodamount") or "")
    status = found.findtext("status") or ""
    if charge is None or not STATUS.fullmatch(status):
        raise Unreadable("payment.info: amount or status is not a number")

    def text(path: str) -> str:
        return (found.findtext(path) or "").strip() if path else ""

    switches, account = place.switches(), settings.read({child.tag: child.text or "" for child in method})
    tier, country = text(switches.tier_field), text(switches.country_field)
    return BillingPayment(
        elid=text("id"),
        status=int(status),
        charge=charge,
        currency=(currency.findtext("iso") or "").strip(),
        externalid=text("externalid"),
        randomnumber=text("randomnumber"),
        panel_url=_panel_url(text("manager_url"), text("project/billurl")),
        description=_ordered(found, switches) or text("description"),
        user_id=text("user_id"),
        useremail=text("useremail"),
        billorder=text("billorder"),
        method_id=(method.findtext("id") or "").strip(),
        settings=account,
        tier=tier if tier and settings.tier_is_good(tier) else account.tier,
        country=country.upper() if _COUNTRY.fullmatch(country) else "",
    )


def _ordered(found: ET.Element, switches: place.Switches) -> str:
    """What the client ordered, by the names that BILLmanager shows him, with the payment's number; or nothing."""
    names = [(one.findtext("locale_name") or "").strip() for one in found.findall("items/item")]
    named = "; ".join(dict.fromkeys(name for name in names if name))
    if not switches.item_names or not named or named == (found.findtext("description") or "").strip():
        return ""
    number = (found.findtext("number") or "").strip()
    return f"{named[:150]} ({number[:40]})" if number else named


def _object(parent: ET.Element, tag: str) -> ET.Element | None:
    """A flat id and the object share one tag name; the object is the one with children."""
    return next((child for child in parent.findall(tag) if len(child)), None)


def _panel_url(*candidates: str) -> str:
    """The first usable panel address. Host is what the client sends, so it is never asked."""
    for url in candidates:
        if re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?", url):
            return url
    return "/billmgr"


def listed(**filters: str) -> Iterator[ET.Element]:
    """Rows of BILLmanager's payment list, page by page, as root (contract 8.4)."""
    page, page_size = 1, 500
    while page <= 200:
        doc = mgrctl.call("payment", filter="on", p_num=str(page), p_cnt=str(page_size), **filters)
        rows = doc.findall("elem")
        yield from rows
        if len(rows) < page_size:
            return
        page += 1
