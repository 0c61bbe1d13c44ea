"""The operator's rules for the books: how often they are reconciled, how long records are kept.

Owns the values and the record classes; must not delete anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

DAY_SECONDS = 86_400

# Record classes that may be purged, with what is kept of them by default, in days.
RETENTION_DAYS: Mapping[str, int] = {
    "callback_bodies": 90,
    "callback_sessions": 30,
    "observations": 400,
    "payer_contacts": 730,
    "billing_statuses": 400,
}


@dataclass(frozen=True, kw_only=True)
class BookRules:
    """`reconcile_every_seconds` 0 is only on demand. `billing_grace_seconds`: how long the billing system may be behind."""

    reconcile_every_seconds: int = 6 * 3_600
    reconcile_days: int = 7
    billing_grace_seconds: int = 3_600
    retention_days: Mapping[str, int] = field(default_factory=lambda: dict(RETENTION_DAYS))

    def is_old(self, age_seconds: int) -> bool:
        """Whether the last reconciliation is so old that somebody must look: two were missed."""
        return 0 < 2 * self.reconcile_every_seconds < age_seconds
