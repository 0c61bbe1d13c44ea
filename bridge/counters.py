"""The values that the labels of counters take, so that each counter exists before its first event.

Owns that table; must not count. A counter that is born with its first event never rises in Prometheus' eyes: the increase of
a first burst would be nothing.
"""

from collections.abc import Iterable, Mapping
from itertools import product

from bridge.core.invoice import STATUSES
from bridge.core.kinds import REVIEWS
from bridge.core.payout import KINDS, STATES
from bridge.core.screening import VERDICTS
from bridge.metrics import Metrics


def known_labels(merchants: Iterable[str]) -> Mapping[str, Mapping[str, Iterable[str]]]:
    """Every counter that has labels, by its attribute of Metrics, with all that each label may be."""
    shops = tuple(merchants)
    return {
        "invoices_opened": {"merchant": shops},
        "moves": {"to": STATUSES},
        "callbacks": {"outcome": ("new", "duplicate", "bad_signature", "unknown_token")},
        "looks": {"outcome": ("read", "unavailable", "failed")},
        "deliveries": {"outcome": ("delivered", "retry", "parked")},
        "reviews_opened": {"kind": REVIEWS},
        "quotes": {"outcome": ("made", "refused")},
        "screenings": {"verdict": VERDICTS},
        "payouts": {"kind": KINDS, "to": STATES},
        "stage_refusals": {"merchant": shops, "limit": ("invoices", "amount")},
    }


def metrics_from_zero(merchants: Iterable[str]) -> Metrics:
    """The metrics of a program that starts: every counter stands at zero under every combination of its labels."""
    metrics = Metrics()
    for name, labels in known_labels(merchants).items():
        for values in product(*labels.values()):
            getattr(metrics, name).labels(**dict(zip(labels, values, strict=True)))
    return metrics
