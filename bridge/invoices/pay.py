"""What the payer sees and may do: the view of one invoice, and the next quote when the last one lapsed.

Owns the view; must not show anything of another invoice.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bridge import tracing
from bridge.context import Bridge
from bridge.core.clock import is_ahead
from bridge.core.errors import there
from bridge.core.rail import Target
from bridge.core.statement import Statement
from bridge.invoices.open_invoice import renew
from bridge.invoices.present import depth_of, payment_json
from bridge.invoices.price import current_rate
from bridge.invoices.read_invoices import shown_with
from bridge.invoices.statement import refunds_of, statement_of
from bridge.invoices.targets import targets_of
from bridge.invoices.ways import ShownWay, is_blind, looked_at, paused_beside, shown_ways
from bridge.payouts.refunds import excess_parts, excess_state
from bridge.permit import require_mode
from bridge.store import invoices, payouts

MOST_REFUNDS = 20


@dataclass(frozen=True, kw_only=True)
class PayView:
    """One invoice for its payer. `shown_sat` is what to pay now, 0 when nothing should be paid at this moment; `ways` are what it
    can be paid over, in the order to show them; `excess` is what becomes of money that was too much, see `payouts.refunds`,
    and `excess_parts` how much of it is which.

    `looked_at` is when gateway or chain last answered about the address; `is_blind` that this is longer ago than it
    should be, so that a payment may have come and not be shown.
    """

    invoice: dict[str, Any]
    ways: tuple[ShownWay, ...]
    public_id: str
    description: str
    locale: str
    return_url: str
    billing_payment_id: str
    status: str
    exception: str
    reason: str
    hold: str | None
    confirmations_seen: int
    confirmations_needed: int
    is_quote_active: bool
    shown_sat: int
    payments: list[dict[str, Any]]
    settled_at: datetime | None
    closed_at: datetime | None
    looked_at: datetime | None
    is_blind: bool
    now: datetime
    statement: Statement
    refunds: list[dict[str, Any]]
    excess: str
    excess_parts: tuple[tuple[str, int], ...]
    sources: list[str]
    etag: str


# What it has of the invoice's row as it is.
_OF_ROW = (
    *("public_id", "description", "locale", "return_url", "billing_payment_id", "status", "exception", "hold"),
    *("confirmations_seen", "confirmations_needed", "settled_at", "closed_at"),
)


@dataclass(frozen=True, kw_only=True)
class Known:
    """All that is read for a view: the invoice, its quotes, payments, targets and payouts, and the wallets that are switched off."""

    row: Any
    quotes: Sequence[Any]
    payments: Sequence[Any]
    targets: Sequence[Target]
    payouts: Sequence[Any]
    paused: Sequence[str]

    @property
    def may_go_back(self) -> bool:
        """While money is awaited or under way nothing can have been asked back."""
        return self.row.received_sat > 0 and self.row.status not in ("new", "processing")


def pay_view(bridge: Bridge, public_id: str) -> PayView:
    """Raises Refused("unknown_invoice")."""
    now = bridge.clock()
    return view_of(bridge, **vars(known_of(bridge, public_id)), now=now)


def known_of(bridge: Bridge, public_id: str) -> Known:
    """Raises Refused("unknown_invoice")."""
    with bridge.store.read() as tx:
        row = there(invoices.as_shown(tx, (public_id,)).get(public_id), "unknown_invoice", "invoice")
        known = Known(
            row=row,
            quotes=invoices.quote_rows(tx, row.id),
            payments=invoices.payment_rows(tx, row.id),
            targets=targets_of(tx, bridge, row),
            payouts=(),
            paused=paused_beside(tx, bridge),
        )
        if not known.may_go_back:
            return known
        return replace(known, payouts=payouts.listing(tx, match={"invoice_id": row.id}, limit=MOST_REFUNDS))


def view_of(
    bridge: Bridge,
    row: Any,
    *,
    quotes: Sequence[Any],
    payments: Sequence[Any],
    targets: Sequence[Target],
    payouts: Sequence[Any],
    now: datetime,
    paused: Sequence[str],
) -> PayView:
    """The view of an invoice from what was read already; `paused` are the wallets that are switched off."""
    tracing.follow(row.trace_id)
    newest, told = quotes[-1], statement_of(row, quotes=quotes, payments=payments)
    invoice = shown_with(bridge, row, newest, targets, payments)
    # A price from ahead of now would be offered until then; the next look puts it right.
    is_active = newest.kind == "offer" and now < newest.expires_at and not is_ahead(newest.effective_from, now=now)
    may_pay = is_active and row.status == "new" and row.hold is None and now < row.expires_at
    reason, shown_sat = _reason(row, is_active=is_active, now=now), row.remaining_sat if may_pay else 0
    ways = shown_ways(bridge, row, targets, sat=shown_sat, code=reason, now=now, paused=paused)
    excess = excess_state(bridge, row, payouts) if told.excess_sat else ""
    return PayView(
        invoice=invoice,
        ways=ways,
        **{name: getattr(row, name) for name in _OF_ROW},
        reason=reason,
        is_quote_active=is_active,
        shown_sat=shown_sat,
        payments=[_payment(each, targets, needed=row.confirmations_needed) for each in payments],
        looked_at=looked_at(row, now=now),
        is_blind=is_blind(row, now=now),
        now=now,
        statement=told,
        refunds=refunds_of(payouts),
        excess=excess,
        excess_parts=excess_parts(row, payouts, state=excess, excess_sat=told.excess_sat),
        sources=invoice["quote"]["sources"],
        etag=_etag(row, newest, ways, is_active=is_active),
    )


def requote(bridge: Bridge, public_id: str) -> None:
    """The payer asks for a new price after the last one lapsed. Does nothing while one is active, while money is being
    confirmed, and after the billing system gave the payment up.

    Raises Refused("unknown_invoice") and Unavailable("price_unavailable").
    """
    now = bridge.clock()
    view = pay_view(bridge, public_id)
    if view.is_quote_active or view.status not in ("new", "expired") or view.hold is not None:
        return
    rate = current_rate(bridge, view.invoice["currency"], now)
    with bridge.store.write() as tx:
        require_mode(tx, "read_only", "limited")
        row = invoices.find(tx, lock=True, public_id=public_id)
        # Two taps at once: the second finds the quote of the first.
        if row is not None and not _is_over(row) and invoices.quote_rows(tx, row.id)[-1].expires_at <= now:
            renew(tx, bridge, row, rate=rate, now=now, actor="payer")
            bridge.crash_point("requote.committing")


def _is_over(row: Any) -> bool:
    """Whether the billing system has given this payment up: then only it can open it again."""
    return row.closed_at is not None or row.billing_change in ("cancelled", "deleted")


def _payment(row: Any, targets: Sequence[Target], *, needed: int) -> dict[str, Any]:
    more = {"key": row.key, "confirmations": depth_of(row, needed=needed), "replaced": row.replaced}
    return payment_json(row, targets) | more


def _reason(row: Any, *, is_active: bool, now: datetime) -> str:
    """The stored reason, but for what only time changes: a lapsed quote and an expiry that the worker has not written yet."""
    reason: str = row.reason
    if row.status == "new" and now >= row.expires_at and row.received_sat == 0:
        return reason if reason == "evidence_missing" else "expired"
    if row.status == "new" and reason == "awaiting_payment" and not is_active:
        return "quote_lapsed"
    return reason


def _etag(row: Any, quote: Any, ways: Sequence[ShownWay], *, is_active: bool) -> str:
    seen = [row.version, row.reason, quote.version, is_active, row.confirmations_seen]
    seen += [[each.way, each.state, each.code, each.text] for each in ways]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:24]
