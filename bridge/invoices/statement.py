"""The statement of an invoice from its rows, and as JSON.

Owns that reading and that shape; must not work out a sum (`core.statement` does) nor read the database.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from bridge.core.money import e4_text, minor_text
from bridge.core.statement import Price, Statement, statement
from bridge.invoices.present import View
from bridge.invoices.record import rule_of
from bridge.store import invoices

# A refund that has left the wallet; any other that is listed is promised.
RETURNED = frozenset({"sent", "confirmed"})
_PROMISED = frozenset({"requested", "approved", "submitting", "unknown"})


class PriceShape(View):
    """One locked price: `base`, `cover` (`risk_bps` of it) and `fee_buffer` are exactly `together`; that by `rate`, the price of one
    bitcoin, rounded up to a whole satoshi, is `due_sat`.
    """

    version: int
    base: str
    risk_bps: int
    cover: str
    fee_buffer: str
    together: str
    rate: str
    due_sat: int


class LineShape(View):
    """One payment, `key` its transaction or payment hash with the output. By the price `version` it is `worth` so much: `charge`, its
    part of the price's sum, and `excess`. `paid` is what it pays of the order. `version` and `worth` are null where it has no price, or
    is too small to count (`state`).
    """

    key: str
    state: str
    amount_sat: int
    version: int | None
    worth: str | None
    used_sat: int
    paid: str
    charge: str
    excess_sat: int
    excess: str


class RefundShape(View):
    """Money on its way back: what was asked for, what arrives of it and what the wallet's provider took, once that is known."""

    state: str
    net_sat: int
    sent_sat: int | None
    paid_fee_sat: int | None
    txid: str | None


class StatementShape(View):
    """What an order costs and what came for it. `due_sat` = `used_sat` + `missing_sat` + `waived_sat`; `received_sat` = `used_sat` +
    `excess_sat` + `aside_sat`; `amount` = `paid` + `missing` + `waived`; `charge`, the amount with its surcharge, = `charge_paid` +
    `charge_open`. Each sum is that of its lines. `short_sat` is what is missing if what has no price yet counts at the last one,
    `received` what came in money then.
    """

    amount: str
    currency: str
    prices: list[PriceShape]
    payments: list[LineShape]
    due_sat: int
    received_sat: int
    used_sat: int
    aside_sat: int
    missing_sat: int
    waived_sat: int
    excess_sat: int
    paid: str
    missing: str
    waived: str
    excess: str
    charge: str
    charge_paid: str
    charge_open: str
    short_sat: int
    short: str
    received: str


def statement_of(row: Any, *, quotes: Iterable[Any], payments: Sequence[Any]) -> Statement:
    """The statement of an invoice's row, with the rows of its quotes and its payments."""
    # A quote in a currency of before can value nothing.
    priced = [invoices.quote_of_row(each) for each in quotes if each.currency == row.currency]
    return statement(
        [invoices.payment_of_row(each) for each in payments],
        quotes=priced,
        amount_minor=row.amount_minor,
        late_after=row.expires_at,
        rule=rule_of(row),
        is_settled=row.status == "settled",
        settled_at=row.settled_at,
    )


def statement_json(told: Statement, currency: str) -> dict[str, Any]:
    """A StatementShape."""

    def money(of: Any, *names: str) -> dict[str, str]:
        return {name: minor_text(getattr(of, f"{name}_minor"), currency) for name in names}

    made = {
        "currency": currency,
        "prices": [_price(each, currency) for each in told.prices],
        "payments": [
            LineShape.of(
                each,
                worth=minor_text(each.worth_minor, currency) if each.worth_minor is not None else None,
                **money(each, "paid", "charge", "excess"),
            )
            for each in told.lines
        ],
    }
    sums = (
        "amount",
        "paid",
        "missing",
        "waived",
        "excess",
        "charge",
        "charge_paid",
        "charge_open",
        "short",
        "received",
    )
    return StatementShape.of(told, **made, **money(told, *sums))


def _price(each: Price, currency: str) -> dict[str, Any]:
    return PriceShape.of(
        each,
        base=minor_text(each.base_minor, currency),
        cover=e4_text(each.cover_e4, currency),
        fee_buffer=minor_text(each.fee_buffer_minor, currency),
        together=e4_text(each.together_e4, currency),
        rate=minor_text(each.price_minor, currency),
    )


def refunds_of(payouts: Iterable[Any]) -> list[dict[str, Any]]:
    """The refunds among these payouts that count, each a RefundShape, oldest first."""
    shown = [each for each in payouts if each.kind == "refund" and each.state in RETURNED | _PROMISED]
    return [RefundShape.of(each) for each in sorted(shown, key=lambda each: (each.requested_at, each.id))]
