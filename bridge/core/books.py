"""The operator's rules for the books: how often they are reconciled, how long records are kept.

Owns the values and the record classes; must not delete anything.
"""

from dataclasses import dataclass

from bridge.core.limits import Count, Positive

DAY_SECONDS = 86_400


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """How often ledger, outside and billing system are compared; `every_hours` 0 is only on demand. `billing_grace_seconds`: how
    long the billing system may be behind.
    """

    every_hours: Count = 6
    days: Positive = 7
    billing_grace_seconds: Count = 3_600

    @property
    def every_seconds(self) -> int:
        return self.every_hours * 3_600

    def is_old(self, age_seconds: int) -> bool:
        """Whether the last one is so old that somebody must look: two were missed."""
        return 0 < 2 * self.every_seconds < age_seconds


@dataclass(frozen=True, kw_only=True)
class RetentionDays:
    """Days that records are kept which may be purged at all. Ledger, quotes, txids and audit are kept for ever."""

    callback_bodies: Positive = 90
    callback_sessions: Positive = 30
    observations: Positive = 400
    payer_contacts: Positive = 730
    billing_statuses: Positive = 400
