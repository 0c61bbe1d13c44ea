"""Telling the bridge what BILLmanager says of its payments, so that the books can be compared; at most once an hour.

Owns the report; must not change anything in BILLmanager, and must never keep a tick from its work.
"""

from __future__ import annotations

import os
import time
import xml.etree.ElementTree as ET
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Iterator, Mapping, Optional, Sequence, Tuple

from subtc import MODULE, bridge, identity, log, mgrctl, payment, place, state
from subtc.settings import Settings
from subtc.state import Record

_Row = Tuple[Optional[Record], Dict[str, Any]]

_PAUSE_SECONDS = 3600
_DAYS = 30
_PAGE = 300  # fits into the bridge's limit on bodies


def tell_statuses(known: Mapping[str, Settings], deadline: float) -> None:
    """Send every payment of the last days to the account that opened its invoice. Trouble waits for the next hour."""
    due = [source for source in known if _is_due(source)]
    if not due:
        return
    covers_from = datetime.now(timezone.utc) - timedelta(days=_DAYS)
    rows = list(_rows(covers_from))
    identity.adopt(known, [record for record, _ in rows if record is not None])
    told = _by_account(rows, only=next(iter(known)) if len(known) == 1 else "")
    if not set(told) <= set(known):
        # A report without them would say that BILLmanager has no such payments.
        log.warning("report.waits_for_accounts", unknown=",".join(sorted(set(told) - set(known))))
        return
    for source in due:
        reads = state.read_json(_note(source)).get("reads")
        # Noted before it is sent: a bridge that refuses is not asked again with every tick, and is sent the least then.
        note = {"at": int(time.time())}
        state.write_json(_note(source), note)
        payments = [_for(row, reads) for row in told.get(source, [])]
        try:
            reads = _send(known[source], payments, covers_from, deadline)
            state.write_json(_note(source), {**note, "reads": reads})
        except (bridge.BridgeDown, bridge.BridgeRefused) as err:
            log.warning("report.not_taken", source=source, error=err)


def _note(source: str) -> Any:
    return place.state_dir() / "reports" / f"{source}.json"


def _is_due(source: str) -> bool:
    at = state.read_json(_note(source)).get("at")
    return not isinstance(at, int) or not 0 <= time.time() - at < _PAUSE_SECONDS


def _rows(covers_from: datetime) -> Iterator[_Row]:
    """What the list shows of our payments, with what we know of each."""
    # The panel's days are those of its own clock, so one more day is asked for on each side.
    since = (covers_from - timedelta(days=1)).date().isoformat()
    for row in payment.listed(createdate="other", createdatestart=since):
        said = _said(row) if row.findtext("paymethod_module") == MODULE else None
        if said is not None:
            record = state.load_record(said["billing_payment_id"])
            ours = (
                {"externalid": record.invoice, "address": record.address} if record is not None else {"externalid": ""}
            )
            yield record, {**said, **ours}


def _by_account(rows: Sequence[_Row], *, only: str) -> dict[str, list[dict[str, Any]]]:
    """`only` is the one account there is. Payments of a bridge that is named nowhere any more belong to nobody."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record, said in rows:
        account = identity.of(record.source) if record is not None else only
        if account and not (record is not None and identity.is_nobodys(record.source)):
            found.setdefault(account, []).append(said)
    return found


def _said(row: ET.Element) -> dict[str, Any] | None:
    elid = (row.findtext("id") or "").strip()
    shown = (row.findtext("paymethodamount_iso") or "").split()
    status = row.find("status")
    code = (status.get("orig") if status is not None else None) or row.findtext("real_status") or ""
    if not payment.ELID.fullmatch(elid) or len(shown) != 2 or not payment.STATUS.fullmatch(code):
        return None
    return {"billing_payment_id": elid, "status": int(code), "amount": shown[0], "currency": shown[1]}


def _for(row: dict[str, Any], reads: Any) -> dict[str, Any]:
    """A payment as the bridge takes it: an older one refuses what it does not know, so what it named last counts."""
    is_read = isinstance(reads, list) and "address" in reads
    return row if is_read else {name: told for name, told in row.items() if name != "address"}


def _send(account: Settings, rows: list[dict[str, Any]], covers_from: datetime, deadline: float) -> Any:
    """All pages under one report id; only the last one makes it whole. Returns what the bridge reads of a payment."""
    reads: Any = None
    report_id = f"bm-{os.urandom(10).hex()}"
    pages = [rows[start : start + _PAGE] for start in range(0, len(rows), _PAGE)] or [[]]
    for number, page in enumerate(pages, 1):
        if time.monotonic() > deadline:
            log.warning("report.out_of_time", left=len(pages) - number + 1)
            return reads
        order = {"report_id": report_id, "covers_from": covers_from.isoformat(), "payments": page}
        reads = bridge.billing_statuses(account, {**order, "last": number == len(pages)}).get("reads")
    log.info("report.sent", payments=len(rows))
    return reads


def tell_statuses_quietly(known: Mapping[str, Settings], deadline: float) -> None:
    """The same for the end of a tick: whatever fails here has already done its real work."""
    try:
        tell_statuses(known, deadline)
    except (mgrctl.MgrctlDown, mgrctl.Refused, OSError) as err:
        log.warning("report.later", error=err)
