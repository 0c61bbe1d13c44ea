"""Asking the chain about an invoice's address, and from when on its past is wanted.

Owns that rule for everyone who asks; what a reading means is `core.coverage`'s to say, what it changes `flows.observe`'s.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bridge.core.coverage import known_outputs
from bridge.core.credit import Payment
from bridge.core.evidence import ChainReading
from bridge.core.rail import Evidence, Target


def read_chain(
    evidence: Evidence, row: Any, target: Target, *, payments: Sequence[Payment], now: datetime
) -> ChainReading:
    """What pays the invoice's target, and what became of its `payments`. Raises what the port raises."""
    since = _searched_from(row, now=now)
    return evidence.read(target.text, born_at=since, asked_at=now, known=known_outputs(payments))


def _searched_from(row: Any, *, now: datetime) -> datetime:
    """From when on a source has to search: its past decides nothing any more about an invoice that is over, and a node that is
    new would search years for each of them.
    """
    return now if is_over(row, now=now) else min(row.created_at, now)


def is_over(row: Any, *, now: datetime) -> bool:
    """Whether nothing that a source may still find in the past changes what became of the invoice."""
    return now >= row.monitor_until and (row.settled_at is not None or row.closed_at is not None)
