"""What people do to a payment in BILLmanager while its invoice is open: cancel, delete, change the amount, restore.

Owns noticing and telling the bridge; must not change a status in BILLmanager.
"""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from typing import Any, Mapping

from subtc import MODULE, bridge, identity, log, mgrctl, payment, state
from subtc.payment import BillingPayment
from subtc.settings import Settings
from subtc.state import Record

_GONE = "deleted"


def tell_changes(accounts: Mapping[str, Settings], deadline: float) -> None:
    """Compare every open payment with its record. One payment's trouble never stops the others."""
    rows = {_id(row): row for row in payment.listed(status="2") if row.findtext("paymethod_module") == MODULE}
    suspects = [elid for elid, row in rows.items() if _differs(elid, row)]
    suspects += [elid for elid in state.open_elids() if elid not in rows]
    for elid in suspects:
        if time.monotonic() > deadline:
            log.warning("watch.out_of_time", left=len(suspects))
            return
        _one(elid, accounts)


def _one(elid: str, accounts: Mapping[str, Settings]) -> None:
    try:
        with state.payment_lock(elid):
            _compare(elid, accounts)
    except payment.Foreign:
        log.warning("watch.moved_to_another_module", elid=elid)
    except (mgrctl.MgrctlDown, mgrctl.Refused, bridge.BridgeDown, state.Busy, OSError) as err:
        log.warning("watch.later", elid=elid, error=err)


def _id(row: ET.Element) -> str:
    return (row.findtext("id") or "").strip()


def _differs(elid: str, row: ET.Element) -> bool:
    """Cheap test on a list row; a doubt costs one payment.info."""
    record = state.load_record(elid) if payment.ELID.fullmatch(elid) else None
    if record is None:
        return bool(payment.ELID.fullmatch(elid))
    shown = (row.findtext("paymethodamount_iso") or "").split()
    return record.closed or bool(record.told) or shown != [record.charge, record.currency]


def _compare(elid: str, accounts: Mapping[str, Settings]) -> None:
    record = state.load_record(elid)
    try:
        found = payment.load(elid)
    except mgrctl.Refused as err:
        if not err.payment_is_gone():
            raise
        if record is not None:
            _tell(record, accounts, {"change": _GONE}, told=_GONE, closed=True)
        return
    if record is None:
        if found.externalid:
            state.save_record(_adopted(found))  # our state was lost; the payment itself was not
        return
    _compare_status(record, found, accounts)


def _compare_status(record: Record, found: BillingPayment, accounts: Mapping[str, Settings]) -> None:
    if found.externalid not in ("", record.invoice):
        log.error("watch.other_external_id", elid=record.elid, invoice=record.invoice)
        state.close_record(record)
    elif found.status in payment.PAYABLE:
        _compare_money(record, found, accounts)
    elif found.status in (payment.CANCELLED, payment.FRAUD):
        if record.cancelled_by_us and found.status == payment.CANCELLED:
            state.close_record(record)
        else:
            change = {"change": "cancelled", "billing_status": found.status}
            _tell(record, accounts, change, told="cancelled", closed=True)
    elif found.status == payment.DELETING:
        _tell(record, accounts, {"change": _GONE, "billing_status": found.status}, told=_GONE, closed=True)
    elif found.status in (4, 5, 6):
        state.close_record(record)  # the record stays: it tells a status we set from one somebody else set


def _compare_money(record: Record, found: BillingPayment, accounts: Mapping[str, Settings]) -> None:
    if record.told or record.cancelled_by_us:
        change: dict[str, Any] = {"change": "restored", "billing_status": found.status}
        record = _tell(record, accounts, change, told="", closed=False)
    if payment.decimal(record.charge) != found.charge or record.currency != found.currency:
        change = {"change": "amount", "amount": str(found.charge), "currency": found.currency}
        record = record._replace(charge=str(found.charge), currency=found.currency)
        _tell(record, accounts, change, told=record.told, closed=False)
    elif record.closed:
        state.save_record(record._replace(closed=False))


def _tell(
    record: Record, accounts: Mapping[str, Settings], change: dict[str, Any], *, told: str, closed: bool
) -> Record:
    """Send one change to the account that has the invoice, and remember that it was heard.

    Raises bridge.BridgeDown, then the next tick tries again.
    """
    account = accounts.get(identity.of(record.source))
    if account is None:
        log.warning("watch.no_account_for_source", elid=record.elid, source=record.source)
        if closed and identity.is_nobodys(record.source):
            state.close_record(record)  # there is nobody to tell
        return record
    try:
        bridge.billing_change(account, record.invoice, change)
        log.info("watch.told", elid=record.elid, invoice=record.invoice, change=change["change"])
    except bridge.BridgeRefused as err:
        # The bridge heard it and will not act on it; repeating every tick would change nothing.
        log.error("watch.refused", elid=record.elid, invoice=record.invoice, change=change["change"], error=err)
    record = record._replace(told=told, closed=closed, cancelled_by_us=record.cancelled_by_us and bool(told))
    state.save_record(record)
    return record


def _adopted(found: BillingPayment) -> Record:
    return Record(
        elid=found.elid,
        invoice=found.externalid,
        source=found.settings.source,
        method=found.method_id,
        charge=str(found.charge),
        currency=found.currency,
    )
