"""Due looks: doorbells first, then invoices whose next look has come.

Owns the claims; the calls are `flows.call_budget`'s, the look itself is `flows.observe`'s.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from bridge.core.errors import Conflict
from bridge.core.schedule import CONFIRMING, LOOK_CLASSES, OLD
from bridge.flows.call_budget import give_back, take_calls
from bridge.flows.context import Bridge
from bridge.flows.modes import may_call_provider
from bridge.flows.observe import look
from bridge.flows.targets import target_of
from bridge.logs import log
from bridge.store import inbox, invoices

LEASE_SECONDS = 60
RETRY_SECONDS = 30
# A wallet that nobody can read is tried after a quarter of the time since it last was, and once a day at least.
UNREAD_PART, UNREAD_AT_MOST = 4, timedelta(days=1)
Submit = Callable[[Callable[[], None]], None]


def answer_doorbells(bridge: Bridge, *, owner: str, limit: int, submit: Submit) -> int:
    """Looks at the invoices whose callbacks wait, each once however often it rang. Returns how many were submitted."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        rung = list(dict.fromkeys(row.invoice_id for row in inbox.waiting(tx, limit=4 * limit)))[:limit]
    if not rung:
        return 0
    with bridge.store.write(durable=False) as tx:
        if not may_call_provider(tx, bridge.wallet_id):
            return 0
        granted = take_calls(tx, bridge, now=now, wanted=len(rung))
        claimed: list[str] = []
        for invoice_id in rung:
            if len(claimed) < granted:
                claimed += invoices.claim_due(
                    tx, now=now, owner=owner, lease_seconds=LEASE_SECONDS, limit=1, only=invoice_id
                )
        # Somebody looks at the others right now: ringing on must not use up the budget.
        give_back(tx, calls=granted - len(claimed))
    return _submit(bridge, claimed, owner=owner, submit=submit)


def poll_due(bridge: Bridge, *, owner: str, limit: int, submit: Submit) -> int:
    """Looks at up to `limit` invoices that are due, within the provider's call budget. Returns how many were submitted."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        if not invoices.any_due(tx, now=now):
            return 0
    with bridge.store.write(durable=False) as tx:
        if not may_call_provider(tx, bridge.wallet_id):
            return 0
        granted = take_calls(tx, bridge, now=now, wanted=limit, purpose="routine")
        claimed = invoices.claim_due(
            tx, now=now, owner=owner, lease_seconds=LEASE_SECONDS, limit=granted, classes=_order(now)
        )
        give_back(tx, calls=granted - len(claimed))
    return _submit(bridge, claimed, owner=owner, submit=submit)


def _order(now: datetime) -> tuple[int, ...]:
    """Hints and the young first; in some seconds of ten the others, so that nobody is ever forgotten."""
    first = {0: (OLD,), 3: (CONFIRMING,), 7: (CONFIRMING,)}.get(now.second % 10, ())
    return (*first, *(each for each in LOOK_CLASSES if each not in first))


def look_and_release(bridge: Bridge, invoice_id: str, *, owner: str) -> None:
    """One leased look. Whatever happens the lease ends, and without an answer the invoice is tried again soon."""
    retry_at = bridge.clock() + timedelta(seconds=RETRY_SECONDS)
    bridge.crash_point("look.claimed")
    try:
        seen = look(bridge, invoice_id, is_granted=True)
        next_look_at = None if seen is not None else _again_at(bridge, invoice_id, retry_at)
    except Conflict:
        # Another transaction changed the invoice between our read and our write: look again at once.
        next_look_at = bridge.clock()
    except Exception:
        bridge.metrics.looks.labels(outcome="failed").inc()
        log("look.failed", level=logging.ERROR, exc_info=True, invoice_id=invoice_id)
        next_look_at = retry_at
        with bridge.store.write() as tx:
            # A doorbell that leads to a defect must not ring for ever; the schedule goes on.
            now, note = bridge.clock(), "the look failed; the schedule goes on"
            inbox.mark_answered(tx, invoice_id, up_to=now, now=now, note=note)
    with bridge.store.write(durable=False) as tx:
        invoices.release(tx, invoice_id, owner=owner, next_look_at=next_look_at)


def _again_at(bridge: Bridge, invoice_id: str, retry_at: datetime) -> datetime:
    """Soon, when the worlds were away; an invoice that nobody can read is tried ever more rarely, so that it takes no calls
    from those who can be read, and is read soon enough once a setting names its wallet.
    """
    with bridge.store.read() as tx:
        row = invoices.find(tx, id=invoice_id)
        target = target_of(tx, bridge, row) if row is not None else None
    if row is None or target is None or bridge.evidence_of(target) is not None:
        return retry_at
    if bridge.can_read(target.wallet_id, target.witness):
        return retry_at
    now = bridge.clock()
    silence: timedelta = now - (row.provider_asked_at or row.created_at)
    return max(retry_at, now + min(silence // UNREAD_PART, UNREAD_AT_MOST))


def _submit(bridge: Bridge, claimed: list[str], *, owner: str, submit: Submit) -> int:
    for invoice_id in claimed:
        submit(lambda invoice_id=invoice_id: look_and_release(bridge, invoice_id, owner=owner))  # type: ignore[misc]
    return len(claimed)
