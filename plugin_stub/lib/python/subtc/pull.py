"""checkpay: read the bridge's feed from the stored position and bring every event to the same door as a push.

Owns positions, retries, cases for a person and the time budget; must not decide about a payment, which settle does.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping

from subtc import accounts, bridge, identity, log, mgrctl, report, settle, state, watch
from subtc.invoice import Event, Invoice, Malformed, read_event, read_invoice
from subtc.settings import Settings

_BUDGET_SECONDS = 20  # nobody says when BILLmanager ends a command; the next tick comes after 180
_PARKED_KEPT = 200
_PARKED_ASKED = 20
_PARKED_PAUSE_SECONDS = 900
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
    known = identity.resolve(accounts.known())
    log.debug("checkpay.begin", accounts=len(known))
    chosen: dict[str, Settings] = {}
    # Who answered last time comes first, and nobody takes the time of the others.
    waiting = sorted(known, key=lambda account: -int(state.load_feed(account).get("pulled_at") or 0))
    for number, account in enumerate(waiting):
        now = time.monotonic()
        share = now + (deadline - now) / (len(waiting) - number)
        chosen[account] = next((way for way in known[account] if _read(account, way, share)), known[account][0])
    try:
        identity.adopt(chosen)
    except OSError as err:
        log.error("checkpay.state_not_writable", error=err)
    watch.tell_changes(chosen, deadline)
    report.tell_statuses_quietly(chosen, deadline)
    state.forget_old_records(now=int(time.time()))


def _read(account: str, settings: Settings, deadline: float) -> bool:
    """Whether the account could be read with these settings; another key or address may still do."""
    try:
        _one_account(account, settings, deadline)
    except bridge.BridgeDown as err:
        log.warning("checkpay.bridge_down", account=account, error=err)
    except bridge.BridgeRefused as err:
        log.error("checkpay.bridge_refused", account=account, error=err)
    except Malformed as err:
        log.error("checkpay.malformed_feed", account=account, error=err)
    except OSError as err:
        log.error("checkpay.state_not_writable", account=account, error=err)
    else:
        return True
    return False


class _Run:
    """One account's tick. `down` counts mgrctl failures in a row: with BILLmanager away there is no point going on."""

    def __init__(self, account: str, kept: Mapping[str, Any]):
        self.account, self.position = account, _position(kept.get("position"))
        self.retry: list[dict[str, Any]] = list(kept["retry"])
        self.parked: list[dict[str, Any]] = list(kept["parked"])
        self.latest: dict[str, Invoice] = {}
        self.down = 0

    def park(self, case: dict[str, Any]) -> None:
        """Keep what needs a person, the same thing about the same invoice once."""
        about = ("invoice", "reason") if case.get("invoice") else ("event", "reason")
        if not any(all(one.get(name) == case[name] for name in about) for one in self.parked):
            self.parked.append({**case, "asked_at": int(time.time())})

    def save(self) -> None:
        # What is superseded by an event read now must not come back when that event is no longer at hand.
        self.retry = [raw for raw in self.retry if not _is_superseded(self, raw)]
        state.save_feed(
            self.account,
            {
                "position": self.position,
                "retry": self.retry,
                "parked": self.parked[-_PARKED_KEPT:],
                "pulled_at": int(time.time()),
            },
        )


def _one_account(account: str, settings: Settings, deadline: float) -> None:
    run = _Run(account, state.load_feed(account))
    found, last, more = _read_ahead(settings, run.position)
    _note_latest(run, [*run.retry, *found])
    _try_again(run, deadline)
    while _take(run, found, deadline):
        run.position = max(run.position, last)
        run.save()
        if not more or not found or time.monotonic() > deadline:
            break
        found, last, more = _read_ahead(settings, run.position)
        _note_latest(run, found)
    if not run.down:
        _ask_again(run, settings, deadline)
    run.save()


def _read_ahead(settings: Settings, position: int) -> tuple[list[Any], int, bool]:
    """Events behind `position`, as many pages as there are up to a limit: a later one may take back an earlier one.

    Returns the events, the position behind the last page and whether there are more. Raises what bridge raises for the
    first page; a trouble further on only ends the reading.
    """
    gathered: list[Any] = []
    last, more = position, True
    while more and len(gathered) < _READ_AHEAD:
        try:
            page = bridge.events(settings, after=last)
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


def _try_again(run: _Run, deadline: float) -> None:
    """Once per tick: events that met a passing trouble before. What fails goes to the end, so it blocks nobody."""
    for _ in range(len(run.retry)):
        if time.monotonic() > deadline or run.down >= _MGRCTL_FAILURES:
            break
        # It leaves the list when it is done: whoever ends us between two events makes us only try the one again.
        _one_event(run, run.retry[0])
        run.retry.pop(0)
        run.save()
    run.down = 0


def _take(run: _Run, found: list[Any], deadline: float) -> bool:
    """The new events of one page, in order; the position moves behind each one that is settled or kept for a retry."""
    for raw in found:
        if time.monotonic() > deadline:
            return False
        called = _one_event(run, raw)
        run.position = max(run.position, _position(raw.get("position")) if isinstance(raw, dict) else 0)
        if called:
            run.save()  # nobody says how long BILLmanager lets us run
        if run.down >= _MGRCTL_FAILURES:
            # This event waits in the retry list; the ones behind it stay in the feed.
            return False
    return True


def _one_event(run: _Run, raw: Any) -> bool:
    """Whether BILLmanager was asked."""
    try:
        event = read_event(raw)
    except Malformed as err:
        log.error("checkpay.malformed_event", account=run.account, error=err)
        run.park({"event": str(raw)[:300], "reason": f"malformed: {err}"})
        return False
    if event.invoice is None:
        return False
    invoice = _current(run, event, event.invoice)
    if invoice is None:
        log.info("checkpay.superseded", event=event.id, elid=event.invoice.elid)
        return False
    outcome = settle.settle(event, invoice, vouch=_voucher(run.account))
    run.down = run.down + 1 if outcome.reason.startswith("mgrctl_down") else 0
    if outcome.verdict == settle.LATER:
        run.retry.append(raw)
    elif outcome.verdict != settle.DONE:
        run.park({"event": event.id, "elid": invoice.elid, "invoice": invoice.id, "reason": outcome.reason})
    return True


def _voucher(account: str) -> Callable[[Settings], bool]:
    """An account speaks for the payments of every method that reaches it, by whatever key or address."""

    def vouch(settings: Settings) -> bool:
        if settings.source != account and not identity.is_known(settings.source):
            raise settle.CannotTell("account_not_told")
        return identity.of(settings.source) == account

    return vouch


def _ask_again(run: _Run, settings: Settings, deadline: float) -> None:
    """What waits for a person ends by itself once bridge and BILLmanager agree: now and then each case is looked at."""
    now = int(time.time())
    due = [case for case in run.parked if not 0 <= now - _position(case.get("asked_at")) < _PARKED_PAUSE_SECONDS]
    for case in due[:_PARKED_ASKED]:
        if time.monotonic() > deadline:
            return
        run.parked.remove(case)
        if not _is_solved(run, settings, case):
            run.parked.append({**case, "asked_at": now})


def _is_solved(run: _Run, settings: Settings, case: dict[str, Any]) -> bool:
    if not case.get("invoice"):
        return False
    try:
        invoice = read_invoice(bridge.get_invoice(settings, str(case["invoice"])))
    except (bridge.BridgeDown, bridge.BridgeRefused, Malformed):
        return False
    event = Event(id=str(case.get("event")), type="invoice.updated", invoice=invoice, raw={})
    return settle.settle(event, invoice, vouch=_voucher(run.account)).verdict == settle.DONE


def _is_superseded(run: _Run, raw: Any) -> bool:
    event = read_event(raw)  # only well-formed events are kept
    return event.invoice is not None and _current(run, event, event.invoice) is None


def _current(run: _Run, event: Event, invoice: Invoice) -> Invoice | None:
    """The invoice as we know it now, or None when a later event took back what this one says."""
    latest = run.latest.get(invoice.id, invoice)
    if invoice.sequence < latest.sequence and event.type != "invoice.cancelled":
        return None  # the later one comes in its turn, and says all that this one says
    if event.type == "invoice.settled" and (latest.status != "settled" or latest.hold):
        return invoice if latest is invoice else None
    if event.type == "invoice.cancelled" and latest.status not in ("expired", "invalid"):
        return invoice if latest is invoice else None
    return latest
