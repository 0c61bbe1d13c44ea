"""When which address is asked: by its own schedule, at a doorbell, and hurried or rested by the whole wallet's balance.

Owns the order of looks and the arming of watches; what a look means is `invoices.observe`'s. Losing every callback only delays.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import BridgeError, Conflict
from bridge.core.rail import Doorbell, Rail, WalletReader
from bridge.core.schedule import CONFIRMING, LOOK_CLASSES, OLD, RESTING_SECONDS
from bridge.invoices.observe import look
from bridge.invoices.record import Courier
from bridge.invoices.targets import targets_of
from bridge.invoices.ways import ask_standing, is_unwell
from bridge.logs import log
from bridge.permit import may_call_provider
from bridge.store import counts, inbox, invoices, leases, targets, wallets
from bridge.store.db import Tx
from bridge.turns import WINDOW_SECONDS, give_back, take_calls, take_turn

LEASE_SECONDS = 60
RETRY_SECONDS = 30
# A wallet that nobody can read is tried after a quarter of the time since it last was, and once a day at least.
UNREAD_PART, UNREAD_AT_MOST = 4, timedelta(days=1)
Submit = Callable[[Callable[[], None]], None]
Bell = tuple[Doorbell, WalletReader]


def due_now(bridge: Bridge) -> frozenset[str]:
    """What there is of "doorbells", "looks" and "deliveries" for free hands: one question for a loop that asks all the time, so that
    no job opens a transaction for nothing.
    """
    with bridge.store.glance() as tx:
        return counts.due(tx, now=bridge.clock(), lease_seconds=LEASE_SECONDS)


def answer_doorbells(bridge: Bridge, *, owner: str, limit: int, submit: Submit, courier: Courier | None = None) -> int:
    """Looks at the invoices whose callbacks wait, each once however often it rang. Returns how many were submitted."""
    now = bridge.clock()
    with bridge.store.write(durable=False) as tx:
        rung = list(dict.fromkeys(row.invoice_id for row in inbox.waiting(tx, limit=4 * limit)))[:limit]
        if not rung or not may_call_provider(tx, bridge.wallet_id):
            return 0
        granted = take_calls(tx, bridge, now=now, wanted=len(rung))
        claimed = invoices.claim_rung(tx, rung, now=now, owner=owner, lease_seconds=LEASE_SECONDS, limit=granted)
        # Somebody looks at the others right now: ringing on must not use up the budget.
        give_back(tx, calls=granted - len(claimed))
    return _submit(bridge, claimed, owner=owner, submit=submit, courier=courier)


def poll_due(bridge: Bridge, *, owner: str, limit: int, submit: Submit, courier: Courier | None = None) -> int:
    """Looks at up to `limit` invoices that are due, within the provider's call budget. Returns how many were submitted."""
    now = bridge.clock()
    with bridge.store.write(durable=False) as tx:
        if not invoices.any_due(tx, now=now) or not may_call_provider(tx, bridge.wallet_id):
            return 0
        granted = take_calls(tx, bridge, now=now, wanted=limit, purpose="routine")
        claimed = invoices.claim_due(
            tx, now=now, owner=owner, lease_seconds=LEASE_SECONDS, limit=granted, classes=_order(now)
        )
        give_back(tx, calls=granted - len(claimed))
    return _submit(bridge, claimed, owner=owner, submit=submit, courier=courier, is_routine=True)


def _order(now: datetime) -> tuple[int, ...]:
    """Hints and the young first; in some seconds of ten the others, so that nobody is ever forgotten."""
    first = {0: (OLD,), 3: (CONFIRMING,), 7: (CONFIRMING,)}.get(now.second % 10, ())
    return (*first, *(each for each in LOOK_CLASSES if each not in first))


def look_and_release(
    bridge: Bridge, invoice_id: str, *, owner: str, is_routine: bool = False, courier: Courier | None = None
) -> None:
    """One leased look. Whatever happens the lease ends, with what is recorded in one transaction or in one of its own, and without
    an answer the invoice is tried again soon.
    """
    retry_at = bridge.clock() + timedelta(seconds=RETRY_SECONDS)
    bridge.crash_point("look.claimed")
    try:
        seen = look(bridge, invoice_id, is_granted=True, is_routine=is_routine, releases=owner, courier=courier)
        if seen is not None:
            return
        next_look_at = _again_at(bridge, invoice_id, retry_at)
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
            invoices.look_on(tx, invoice_id)
    with bridge.store.write(durable=False) as tx:
        invoices.release(tx, invoice_id, owner=owner, next_look_at=next_look_at)


def _again_at(bridge: Bridge, invoice_id: str, retry_at: datetime) -> datetime:
    """Soon, when the worlds were away; an invoice that nobody can read is tried ever more rarely, so that it takes no calls
    from those who can be read, and is read soon enough once a setting names its wallet.
    """
    with bridge.store.read() as tx:
        row = invoices.find(tx, id=invoice_id)
        target = targets_of(tx, bridge, row)[0] if row is not None else None
    if row is None or target is None or bridge.evidence_of(target) is not None:
        return retry_at
    if bridge.can_read(target.wallet_id, target.witness):
        return retry_at
    now = bridge.clock()
    silence: timedelta = now - (row.provider_asked_at or row.created_at)
    return max(retry_at, now + min(silence // UNREAD_PART, UNREAD_AT_MOST))


def _submit(bridge: Bridge, claimed: list[str], *, submit: Submit, **options: Any) -> int:
    for invoice_id in claimed:
        submit(partial(look_and_release, bridge, invoice_id, **options))
    return len(claimed)


# Who takes longer for what is only a hope for a callback keeps the others of this hand waiting no longer.
WATCH_PATIENCE, WATCH_RETRY = timedelta(seconds=5), timedelta(seconds=60)


def arm_watches(bridge: Bridge, *, limit: int) -> int:
    """Arms up to `limit` watches whose time is over (SUBTC contract 5.11: a watch dies silently). Returns how many were tried."""
    now, bells = bridge.clock(), _bells(bridge)
    if not bells:
        return 0
    with bridge.store.read() as tx:
        # Each is asked of the gateway under its own wallet; what the gateway does not know it cannot watch.
        wallet_ids = [each for each in bells if may_call_provider(tx, each)]
        lasts = max(bell.seconds for bell, _ in bells.values())
        due = invoices.watch_due(tx, wallet_ids=wallet_ids, now=now, watch_seconds=lasts, limit=limit)
    taken = _take_watches(bridge, due, bells, now=now) if due else []
    armed, tried = [], 0
    for row in taken:
        tried += 1
        if _arm(bridge, row, *bells[row.wallet_id]):
            # A minute early: the next watch stands before this one lapses.
            lasts_seconds = max(bells[row.wallet_id][0].seconds - 60, 30)
            armed.append((row.id, now + timedelta(seconds=lasts_seconds)))
        if bridge.clock() - now > WATCH_PATIENCE:
            break
    if armed or tried < len(taken):
        with bridge.store.write(durable=False) as tx:
            if armed:
                invoices.set_watched(tx, armed)
            _leave_watches(tx, calls=len(taken) - tried)
    return tried


def _take_watches(bridge: Bridge, due: Sequence[Any], bells: Mapping[str, Bell], *, now: datetime) -> Sequence[Any]:
    """Those of the due that this worker may arm: taken before the calls, so that another worker does not arm the same watch, and
    for a minute, so that one that fails, or that nobody came to, is tried again soon.
    """
    with bridge.store.write(durable=False) as tx:
        may_call = {each: may_call_provider(tx, each) for each in {row.wallet_id for row in due}}
        wanted = [row for row in due if may_call[row.wallet_id]]
        # A sixth of the calls at most: a watch is only a hope for a callback, a look is certain.
        share = max(bridge.receiving.calls_per_minute // 6, 1)
        of_share = leases.spend(tx, "watches", now=now, limit=share, window_seconds=WINDOW_SECONDS, calls=len(wanted))
        granted = take_calls(tx, bridge, now=now, wanted=of_share, purpose="routine")
        taken: list[Any] = []
        for row in wanted:
            lasts = bells[row.wallet_id][0].seconds
            if len(taken) < granted and invoices.take_watch(
                tx, row.id, now=now, watch_seconds=lasts, until=now + WATCH_RETRY
            ):
                taken.append(row)
        leases.refund(tx, "watches", calls=of_share - granted)
        _leave_watches(tx, calls=granted - len(taken))
    return taken


def _leave_watches(tx: Tx, *, calls: int) -> None:
    """Others may make these calls."""
    leases.refund(tx, "watches", calls=calls)
    give_back(tx, calls=calls)


def _arm(bridge: Bridge, row: Any, bell: Doorbell, reader: WalletReader) -> bool:
    bridge.crash_point("watch.claimed")
    try:
        reader.watch(
            address=row.address,
            expected_sat=max(row.remaining_sat + row.received_sat, 1),
            timeout_seconds=bell.seconds,
            callback_url=f"{bell.url}/{bridge.callback_token(row.id)}",
        )
    except BridgeError as error:
        log("watch.not_armed", level=logging.WARNING, invoice_id=row.id, trace_id=row.trace_id, code=error.code)
        return False
    bridge.crash_point("watch.armed")
    return True


def _bells(bridge: Bridge) -> Mapping[str, Bell]:
    """By wallet id what can ring, of the rails that payers pay over."""
    paid = (rail for rail in bridge.rails if rail.role != "billing")
    return {r.wallet_id: (r.doorbell, r.reader) for r in paid if r.doorbell is not None and r.reader is not None}


# What a rail beside the first is asked about at once, and how often: a payer watches the page. One that takes longer than that
# to say nothing is left until the next turn, so that it does not hold up another.
BESIDE_EVERY_SECONDS, BESIDE_AT_ONCE, BESIDE_PATIENCE = 1, 20, timedelta(seconds=3)


def sense_beside(bridge: Bridge, *, owner: str) -> int:
    """Asks the rails beside the first about what may be paid any moment; money there hurries the look, which alone is believed.

    Of a rail's calls half are left to looks and offers. Returns how many invoices hurry.
    """
    if not bridge.beside:
        return 0
    now = bridge.clock()
    if not take_turn(bridge, "sense_beside", owner=owner, now=now, every_seconds=BESIDE_EVERY_SECONDS, durable=False):
        return 0
    found = 0
    for rail in bridge.beside:
        ask_standing(bridge, rail)
        # One that just kept everybody waiting for nothing does not do so at every turn: its looks go on.
        paid = [] if is_unwell(bridge, rail, now=now) else list(_paid_beside(bridge, rail, now=now))
        if paid:
            with bridge.store.write() as tx:
                invoices.hurry(tx, paid, now=now)
        found += len(paid)
    return found


def _paid_beside(bridge: Bridge, rail: Rail, *, now: datetime) -> Iterator[str]:
    at_once = min(BESIDE_AT_ONCE, max(rail.calls_per_minute * BESIDE_EVERY_SECONDS // 120, 1))
    with bridge.store.read() as tx:
        if not may_call_provider(tx, rail.wallet_id):
            return
        waiting = targets.waiting_of(tx, rail.wallet_id, now=now, limit=at_once)
    if rail.evidence is None or not waiting:
        return
    with bridge.store.write(durable=False) as tx:
        granted = take_calls(tx, bridge, now=now, wanted=len(waiting), rail=rail)
    failed: list[str] = []
    for each in waiting[:granted]:
        try:
            if rail.evidence.read(each.text, born_at=each.created_at, asked_at=now).outputs:
                yield each.invoice_id
        except BridgeError as error:
            # What cannot be said of one says nothing of the next.
            failed.append(error.code)
            if bridge.clock() - now > BESIDE_PATIENCE:
                bridge.standing[rail.wallet_id] = (bridge.clock(), None)
                break
    if failed:
        codes = sorted(set(failed))
        log("beside.not_sensed", level=logging.WARNING, rail=rail.name, codes=codes, count=len(failed))


# The lease is not given back after the job: it also is the pause until any worker asks again.
ASK_EVERY_SECONDS = 6
RESTS = {each: timedelta(seconds=seconds) for each, seconds in RESTING_SECONDS.items()}
RESTS_AT_ONCE = 1_000
YOUNG_COMPARED, NEAREST = 2_000, 6


def sense_balance(bridge: Bridge, *, owner: str) -> int:
    """Asks at most once per pause over all workers, and only while looks are due. Returns how many invoices rest or hurry."""
    now = bridge.clock()
    balance = bridge.receiving.balance
    if balance is None:
        return 0
    with bridge.store.read() as tx:
        if not invoices.any_due(tx, now=now):
            return 0
        if not leases.is_free(tx, "sense_balance", now=now, lease_seconds=ASK_EVERY_SECONDS):
            return 0
    with bridge.store.write(durable=False) as tx:
        if not may_call_provider(tx, bridge.wallet_id):
            return 0
        if not take_calls(tx, bridge, now=now):
            return 0
        if not leases.take_free(tx, "sense_balance", owner=owner, now=now, lease_seconds=ASK_EVERY_SECONDS):
            give_back(tx, calls=1)
            return 0
    try:
        balance_sat = balance().balance_sat
    except BridgeError as error:
        log("balance.not_sensed", level=logging.WARNING, code=error.code)
        return 0
    with bridge.store.write() as tx:
        change_sat = wallets.mark_balance(tx, bridge.wallet_id, balance_sat=balance_sat, asked_at=now)
        mark = wallets.balance_mark(tx, bridge.wallet_id)
        meant = _meant(tx, change_sat)
        invoices.hurry(tx, meant, now=now)
        since = mark.changed_at if mark is not None else now
        return len(meant) + invoices.rest_quiet(
            tx, wallet_id=bridge.wallet_id, since=since, now=now, pauses=RESTS, limit=RESTS_AT_ONCE
        )


def _meant(tx: Tx, change_sat: int) -> Sequence[str]:
    """Invoices that the change is likely to be for: they ask for just that, two together do, or the young that come nearest.

    Most payers pay exactly what they are shown; a wallet that takes its fee from the sum misses it by little.
    """
    if change_sat <= 0:
        return []
    if exact := invoices.unpaid_asking_for(tx, change_sat):
        return exact
    young = invoices.young_unpaid(tx, limit=YOUNG_COMPARED)
    nearest = sorted(young, key=lambda row: abs(row.remaining_sat - change_sat))[:NEAREST]
    return _pair(young, change_sat) or [row.id for row in nearest]


def _pair(candidates: Sequence[Any], change_sat: int) -> Sequence[str]:
    by_sat = {row.remaining_sat: row.id for row in candidates}
    for row in candidates:
        other = by_sat.get(change_sat - row.remaining_sat)
        if other is not None and other != row.id:
            return [row.id, other]
    return []
