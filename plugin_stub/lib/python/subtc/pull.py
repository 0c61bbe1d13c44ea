"""checkpay: read the bridge's feed from the stored position and bring every event to the same door as a push.

Owns positions, the retry list and the time budget; must not decide about a payment, which settle does.
"""

from __future__ import annotations

import time
from typing import Any

from subtc import accounts, bridge, log, mgrctl, report, settle, state, watch
from subtc.invoice import Event, Invoice, Malformed, read_event
from subtc.settings import Settings

_BUDGET_SECONDS = 150  # BILLmanager starts the next tick after 180
_PARKED_KEPT = 200
_MGRCTL_FAILURES = 3
_READ_AHEAD = 2000


def checkpay() -> None:
    """One tick over all bridge accounts. A second tick while this one runs ends at once."""
    try:
        with state.checkpay_lock():
            _tick(time.monotonic() + _BUDGET_SECONDS)
    except state.Busy:
        log.info("checkpay.already_running")
    except (mgrctl.MgrctlDown, mgrctl.Refused) as err:
        log.error("checkpay.mgrctl", error=err)
    except OSError as err:
        log.error("checkpay.state_not_writable", error=err)


def _tick(deadline: float) -> None:
    known = accounts.known()
    log.debug("checkpay.begin", accounts=len(known))
    for source, account in known.items():
        try:
            _one_account(source, account, deadline)
        except bridge.BridgeDown as err:
            log.warning("checkpay.bridge_down", source=source, error=err)
        except bridge.BridgeRefused as err:
            log.error("checkpay.bridge_refused", source=source, error=err)
        except Malformed as err:
            log.error("checkpay.malformed_feed", source=source, error=err)
        except OSError as err:
            log.error("checkpay.state_not_writable", source=source, error=err)
    watch.tell_changes(known, deadline)
    report.tell_statuses_quietly(known, deadline)
    state.forget_old_records(now=int(time.time()))


class _Run:
    """One account's tick. `down` counts mgrctl failures in a row: with BILLmanager away there is no point going on."""

    def __init__(self, source: str, position: int, retry: list[dict[str, Any]], parked: list[dict[str, Any]]):
        self.source, self.position, self.retry, self.parked = source, position, retry, parked
        self.latest: dict[str, Invoice] = {}
        self.down = 0

    def save(self) -> None:
        # What is superseded by an event read now must not come back when that event is no longer at hand.
        self.retry = [raw for raw in self.retry if not _is_superseded(self, raw)]
        state.save_feed(
            self.source,
            {
                "position": self.position,
                "retry": self.retry,
                "parked": self.parked[-_PARKED_KEPT:],
                "pulled_at": int(time.time()),
            },
        )


def _one_account(source: str, account: Settings, deadline: float) -> None:
    kept = state.load_feed(source)
    run = _Run(source, _position(kept.get("position")), list(kept["retry"]), list(kept["parked"]))
    found, last, more = _read_ahead(account, run.position)
    _note_latest(run, [*run.retry, *found])
    _try_again(run, account)
    while _take(run, account, found, deadline):
        run.position = max(run.position, last)
        run.save()
        if not more or not found or time.monotonic() > deadline:
            return
        found, last, more = _read_ahead(account, run.position)
        _note_latest(run, found)
    run.save()


def _read_ahead(account: Settings, position: int) -> tuple[list[Any], int, bool]:
    """Events behind `position`, as many pages as there are up to a limit: a later one may take back an earlier one.

    Returns the events, the position behind the last page and whether there are more. Raises what bridge raises for the
    first page; a trouble further on only ends the reading.
    """
    gathered: list[Any] = []
    last, more = position, True
    while more and len(gathered) < _READ_AHEAD:
        try:
            page = bridge.events(account, after=last)
        except bridge.BridgeDown:
            if not gathered:
                raise
            break
        found = page.get("events")
        if not isinstance(found, list):
            raise Malformed("the feed has no list of events")
        gathered += found
        after = max(last, _position(page.get("next_after")))
        more = bool(page.get("has_more")) and after > last
        last = after
    return gathered, last, more


def _position(found: Any) -> int:
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else 0


def _note_latest(run: _Run, found: list[Any]) -> None:
    """The newest known state of each invoice: an old event must not cancel what was opened again since."""
    for raw in found:
        try:
            invoice = read_event(raw).invoice
        except Malformed:
            continue
        if invoice is not None and _newer(invoice, run.latest.get(invoice.id)):
            run.latest[invoice.id] = invoice


def _newer(invoice: Invoice, known: Invoice | None) -> bool:
    return known is None or invoice.sequence >= known.sequence


def _try_again(run: _Run, account: Settings) -> None:
    """Once per tick: events that met a passing trouble before. What fails goes to the end, so it blocks nobody."""
    waiting, run.retry = run.retry, []
    for number, raw in enumerate(waiting):
        _one_event(run, account, raw)
        if run.down >= _MGRCTL_FAILURES:
            run.retry = waiting[number + 1 :] + run.retry
            break
    run.down = 0


def _take(run: _Run, account: Settings, found: list[Any], deadline: float) -> bool:
    """The new events of one page, in order; the position moves behind each one that is settled or kept for a retry."""
    for raw in found:
        if time.monotonic() > deadline:
            return False
        _one_event(run, account, raw)
        if run.down >= _MGRCTL_FAILURES:
            # This event waits in the retry list; the ones behind it stay in the feed.
            run.position = max(run.position, _position(raw.get("position")))
            return False
        run.position = max(run.position, _position(raw.get("position")) if isinstance(raw, dict) else 0)
    return True


def _one_event(run: _Run, account: Settings, raw: Any) -> None:
    try:
        event = read_event(raw)
    except Malformed as err:
        log.error("checkpay.malformed_event", source=run.source, error=err)
        run.parked.append({"event": str(raw)[:300], "reason": f"malformed: {err}"})
        return
    if event.invoice is None:
        return
    invoice = _current(run, event, event.invoice)
    if invoice is None:
        log.info("checkpay.superseded", event=event.id, elid=event.invoice.elid)
        return
    outcome = settle.settle(event, invoice, vouch=lambda settings: settings.source == account.source)
    run.down = run.down + 1 if outcome.reason.startswith("mgrctl_down") else 0
    if outcome.verdict == settle.LATER:
        run.retry.append(raw)
    elif outcome.verdict != settle.DONE:
        run.parked.append({"event": event.id, "elid": invoice.elid, "invoice": invoice.id, "reason": outcome.reason})


def _is_superseded(run: _Run, raw: Any) -> bool:
    event = read_event(raw)  # only well-formed events are kept
    return event.invoice is not None and _current(run, event, event.invoice) is None


def _current(run: _Run, event: Event, invoice: Invoice) -> Invoice | None:
    """The invoice as we know it now, or None when a later event took back what this one says."""
    latest = run.latest.get(invoice.id, invoice)
    if event.type == "invoice.settled" and (latest.status != "settled" or latest.hold):
        return invoice if latest is invoice else None
    if event.type == "invoice.cancelled" and latest.status not in ("expired", "invalid"):
        return invoice if latest is invoice else None
    return latest
