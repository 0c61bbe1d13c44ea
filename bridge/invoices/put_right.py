"""Putting right what a clock that was ahead wrote into an invoice: its birth and deadlines, its quotes, when money came.

Owns that, in the transaction of the look that found it. Must not decide: with its times right the invoice is judged like any
other; nor touch anything while it may be our own clock that is wrong.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from bridge.core.clock import CLOCK_TOLERANCE, Witness, is_ahead
from bridge.invoices.record import rule_of
from bridge.logs import log
from bridge.store import ahead, audit, invoices
from bridge.store.db import Tx

# A jump that was noticed longer ago has nothing to do with what lies ahead of now.
REMEMBERED = timedelta(days=30)


def put_right(tx: Tx, row: Any, *, witness: Witness, now: datetime) -> dict[str, Any]:
    """The columns of the invoice that a clock ahead wrote, as the right one would have; payments and quotes are written.

    Only a witness tells a clock that was ahead from our own that is behind.
    """
    written = (row.created_at, row.updated_at, row.chain_asked_at, row.provider_asked_at)
    latest = max(at for at in written if at is not None)
    if not is_ahead(latest, now=now):
        return {}
    if not witness.denies(latest, now=now):
        seconds = round((latest - now).total_seconds())
        log("clock.in_doubt", level=logging.WARNING, invoice_id=row.id, seconds=seconds)
        return {}
    by = _how_far(tx, row, latest, now=now)

    def back(at: datetime) -> datetime:
        return min(at - by, now)

    for payment in invoices.payments_of(tx, row.id):
        if is_ahead(payment.first_seen_at, now=now):
            seen = replace(payment, first_seen_at=back(payment.first_seen_at))
            invoices.put_payment(tx, row.id, seen, asked_at=now, is_new=False)
    facts = _times(row, back, now=now) | _quoted(tx, row, back, now=now)
    detail = {"seconds": round(by.total_seconds()), "facts": {name: str(at) for name, at in facts.items()}}
    audit.write(tx, at=now, actor="worker", action="clock_put_right", invoice_id=row.id, detail=detail)
    return facts


def _how_far(tx: Tx, row: Any, latest: datetime, *, now: datetime) -> timedelta:
    """How far the clock was ahead at the least: what a payer was shown must not seem older than it is, or they get less time
    than they were promised.

    So its latest time was now, and no jump that is larger says more. One that is smaller does: another clock may have
    written what was shown.
    """
    begun = (row.created_at, *(quote.effective_from for quote in invoices.quotes_of(tx, row.id)))
    shown = min((at for at in begun if is_ahead(at, now=now)), default=latest)
    jumps = [timedelta(seconds=jump.seconds) for jump in ahead.jumps(tx, now=now, within=REMEMBERED)]
    return min([latest - now, *(jump for jump in jumps if jump >= shown - now - CLOCK_TOLERANCE)])


def _times(row: Any, back: Callable[[datetime], datetime], *, now: datetime) -> dict[str, Any]:
    events = ("created_at", "updated_at", "settled_at", "closed_at")
    told = {name: getattr(row, name) for name in events}
    facts: dict[str, Any] = {name: back(at) for name, at in told.items() if at is not None and is_ahead(at, now=now)}
    # When we last asked is only good for telling older answers from newer ones: a guess would do that wrongly.
    asked = {name: getattr(row, name) for name in ("chain_asked_at", "provider_asked_at")}
    return facts | {name: None for name, at in asked.items() if at is not None and is_ahead(at, now=now)}


def _quoted(tx: Tx, row: Any, back: Callable[[datetime], datetime], *, now: datetime) -> dict[str, Any]:
    """Deadlines that were set together with a quote, and each quote once more as from the time when it was really shown.

    What is stored of a quote never changes, so the same price gets the next version.
    """
    rows = invoices.quote_rows(tx, row.id)
    newest = invoices.quote_of_row(rows[-1])
    if not is_ahead(newest.effective_from, now=now):
        return {}
    wrong = [(each, quote) for each in rows if is_ahead((quote := invoices.quote_of_row(each)).effective_from, now=now)]
    for step, (each, quote) in enumerate(wrong, 1):
        begin = back(quote.effective_from)
        end = begin + (quote.expires_at - quote.effective_from)
        again = replace(quote, version=newest.version + step, effective_from=begin, expires_at=end)
        shared = {"policy_version": each.policy_version, "samples": each.samples}
        invoices.add_quote(tx, row.id, again, now=now, **shared)
    expiry = timedelta(seconds=rule_of(row).invoice_expiry_seconds)
    if all(row.expires_at != quote.effective_from + expiry for _, quote in wrong):
        return {}
    shift = row.expires_at - expiry - back(row.expires_at - expiry)
    return {"expires_at": row.expires_at - shift, "monitor_until": row.monitor_until - shift}
