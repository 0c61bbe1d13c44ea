"""Taking in what the billing system says of its payments, for reconciliation.

Owns the shape of a report; must not believe it: a difference is a question for a person, never a change of an invoice.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.store import reconciliations

MOST_PAYMENTS = 500


@dataclass(frozen=True, kw_only=True)
class BillingPaymentStatus:
    """One payment as the billing system has it. `amount_text` is its decimal, `external_id` what it keeps of ours."""

    billing_payment_id: str
    status: int
    amount_text: str
    currency: str
    external_id: str = ""


@dataclass(frozen=True, kw_only=True)
class BillingReport:
    """One page of a report. A report names every payment created since `covers_from`; `is_last` ends it."""

    report_id: str
    covers_from: datetime
    payments: tuple[BillingPaymentStatus, ...]
    is_last: bool
    source: str = "module"


def take_billing_report(bridge: Bridge, merchant: str, report: BillingReport) -> dict[str, Any]:
    """Keeps one page. Repeating a page is harmless.

    Raises Refused: too_many_payments, and report_of_another when the id is another merchant's.
    """
    if len(report.payments) > MOST_PAYMENTS:
        raise Refused("too_many_payments", f"At most {MOST_PAYMENTS} payments in one page.", field="payments")
    now = bridge.clock()
    with bridge.store.write() as tx:
        opened = reconciliations.open_report(
            tx,
            report_id=report.report_id,
            merchant=merchant,
            covers_from=report.covers_from,
            now=now,
            source=report.source,
        )
        if opened.merchant != merchant:
            raise Refused("report_of_another", "This report id is in use.", field="report_id")
        # A payment's word is as old as the beginning of its report: it was read at some moment since.
        count = reconciliations.put_statuses(tx, merchant=merchant, rows=_rows(report.payments), now=opened.started_at)
        if report.is_last:
            reconciliations.finish_report(tx, report.report_id, now=now)
    return {"report_id": report.report_id, "taken": count, "finished": report.is_last}


def _rows(payments: Iterable[BillingPaymentStatus]) -> Iterable[dict[str, Any]]:
    for payment in payments:
        yield dict(vars(payment))
