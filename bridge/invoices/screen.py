"""Screening money before the billing system is told: asked outside any transaction, recorded with the look that saw it.

Owns when a screening is asked and what is kept of it; what a hit means is `core.invoice`'s.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.evidence import ChainOutput, ChainReading, ProviderReading, Screened, Subject
from bridge.store import inbox
from bridge.store.db import Tx

SETTLED_IN_MIND = frozenset({"clear", "hit"})


@dataclass(frozen=True, kw_only=True)
class Screening:
    """One answer about one subject; `subject_sha256` covers the list's version too."""

    screened: Screened
    subject: str
    subject_sha256: str


def ask(
    bridge: Bridge, row: Any, *, provider: ProviderReading | None, chains: Sequence[ChainReading | None]
) -> Screening | None:
    """Asks about money that is not settled yet, once for the same money under the same list. None: nothing to ask."""
    if bridge.screening is None or row.settled_at is not None or row.verdict is not None:
        return None
    outputs = [output for chain in chains if chain is not None for output in chain.outputs]
    if bridge.chain is not None and None in chains and not outputs:
        # Without its outputs we would ask about somebody else: what was said of the money we know stands.
        return None
    subject = _subject(row, provider=provider, outputs=outputs)
    if subject.received_sat == 0:
        return None
    digest = hashlib.sha256(f"{bridge.screening.version()}\x1f{subject.text()}".encode()).hexdigest()
    if row.screening in SETTLED_IN_MIND and row.screened_sha256 == digest:
        return None
    return Screening(screened=bridge.screening.screen(subject), subject=subject.text(), subject_sha256=digest)


def keep(tx: Tx, bridge: Bridge, row: Any, screening: Screening | None, *, now: datetime) -> dict[str, Any]:
    """Keeps the answer and returns the facts it makes. A screening that stays silent too long is a person's business."""
    if screening is None:
        was_waiting = bridge.screening is None and row.screening in ("pending", "unanswered")
        return {"screening": "none"} if was_waiting else {}
    verdict = screening.screened.verdict
    is_new = (verdict, screening.subject_sha256) != (_told(row.screening), row.screened_sha256)
    if is_new or (verdict == "pending" and inbox.screening_pending_since(tx, row.id, now=now) is None):
        inbox.add_screening(
            tx,
            row.id,
            at=now,
            screened=screening.screened,
            subject=screening.subject,
            subject_sha256=screening.subject_sha256,
        )
        bridge.metrics.screenings.labels(verdict=verdict).inc()
    since = inbox.screening_pending_since(tx, row.id, now=now)
    if since is not None and now - since >= timedelta(seconds=bridge.screening_patience_seconds):
        verdict = "unanswered"
    return {"screening": verdict, "screened_sha256": screening.subject_sha256}


def _told(screening: str) -> str:
    return "pending" if screening == "unanswered" else screening


def _subject(row: Any, *, provider: ProviderReading | None, outputs: Sequence[ChainOutput]) -> Subject:
    seen_sat = max(sum(o.amount_sat for o in outputs), provider.received_sat if provider else 0, row.received_sat)
    return Subject(
        invoice_id=row.id,
        merchant=row.merchant,
        billing_payment_id=row.billing_payment_id,
        customer_id=row.customer_id,
        country=row.customer_country,
        addresses=tuple(sorted({sender for o in outputs for sender in o.senders})),
        outpoints=tuple(sorted(o.outpoint for o in outputs)),
        received_sat=seen_sat,
    )
