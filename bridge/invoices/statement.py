"""The statement of an invoice from its rows, and as JSON.

Owns that reading and that shape; must not work out a sum (`core.statement` does) nor read the database.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from bridge.core.money import e4_text
from bridge.core.statement import Statement, statement
from bridge.invoices.present import Fiat, Minor, View
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
    base: Fiat
    risk_bps: int
    cover: str
    fee_buffer: Fiat
    together: str
    rate: Annotated[str, Minor(of="price")]
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
    worth: Annotated[str | None, Minor()]
    used_sat: int
    paid: Fiat
    charge: Fiat
    excess_sat: int
    excess: Fiat


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

    amount: Fiat
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
    paid: Fiat
    missing: Fiat
    waived: Fiat
    excess: Fiat
    charge: Fiat
    charge_paid: Fiat
    charge_open: Fiat
    short_sat: int
    short: Fiat
    received: Fiat


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
    prices = [
        PriceShape.of(
            each,
            currency=currency,
            cover=e4_text(each.cover_e4, currency),
            together=e4_text(each.together_e4, currency),
        )
        for each in told.prices
    ]
    payments = [LineShape.of(each, currency=currency) for each in told.lines]
    return StatementShape.of(told, currency=currency, prices=prices, payments=payments)


def refunds_of(payouts: Iterable[Any]) -> list[dict[str, Any]]:
    """The refunds among these payouts that count, each a RefundShape, oldest first."""
    shown = [each for each in payouts if each.kind == "refund" and each.state in RETURNED | _PROMISED]
    return [RefundShape.of(each) for each in sorted(shown, key=lambda each: (each.requested_at, each.id))]
