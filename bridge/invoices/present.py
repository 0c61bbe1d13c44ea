"""An invoice as it is seen: each field once, for the JSON of API, events and pay page, the desk and the exports.

Owns that view; must not read the database, callers hand in rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from bridge.context import Bridge
from bridge.core.evidence import FINAL
from bridge.core.ledger import Way
from bridge.core.money import btc_text, minor_text
from bridge.core.offering import BITCOIN
from bridge.core.quote import Quote
from bridge.core.rail import Target

MOST_PAYMENTS = 20


def time_text(at: datetime) -> str:
    """RFC 3339 in UTC with seconds."""
    in_utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return in_utc.isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


def approvals_json(rows: Iterable[Any]) -> list[dict[str, str]]:
    """Who gave their approval, why and when."""
    return [{"actor": row.actor, "reason": row.reason, "at": time_text(row.at)} for row in rows]


def bip21(address: str, sat: int) -> str:
    """The wallet link for `sat` to `address`; without an amount when nothing is due."""
    return f"bitcoin:{address}" + (f"?amount={btc_text(sat)}" if sat > 0 else "")


def uri_of(target: Target, sat: int) -> str:
    """The link that opens a wallet: for Bitcoin with what is due, another way's text says that itself."""
    return bip21(target.text, sat) if target.way == BITCOIN else f"{target.way}:{target.text}"


def depth_of(payment: Any, *, needed: int) -> int | None:
    """Confirmations as people see them, None where nobody counts any: what is final at once has as many as it needs."""
    confirmations: int | None = payment.confirmations
    return needed if confirmations is not None and confirmations >= FINAL else confirmations


def way_of(payment: Any, targets: Sequence[Target]) -> str:
    """How payers call the way that a payment came over."""
    return next((each.way for each in targets if each.id == payment.target_id), targets[0].way)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A cell of the desk's page of an invoice. The text desk.columns.<label> names it, without a label that of the field."""

    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the exports of invoices and settlements."""


@dataclass(frozen=True, kw_only=True)
class Minor:
    """Money as decimal text. The column <of>_minor holds its smallest units, without `of` that of the field's name."""

    of: str = ""


Fiat = Annotated[str, Minor()]


class View(BaseModel):
    """Something as it is seen: its fields are the JSON, in this order, and its part of /openapi.json."""

    model_config = ConfigDict(extra="forbid")
    # The fields with the columns that the Minor ones are made of.
    told: ClassVar[tuple[tuple[str, str], ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        minors = {
            name: f"{each.of or name}_minor"
            for name, field in cls.model_fields.items()
            for each in field.metadata
            if isinstance(each, Minor)
        }
        cls.told = tuple((name, minors.get(name, "")) for name in cls.model_fields)

    @classmethod
    def of(cls, row: Any, /, **made: Any) -> dict[str, Any]:
        """A field is the row's column of that name, unless it is made. Money is in the currency that is made, else in the row's."""
        return {
            name: made[name] if name in made else _fiat(row, minor, made) if minor else plain(row, name)
            for name, minor in cls.told
        }


def _fiat(row: Any, column: str, made: Mapping[str, Any]) -> str | None:
    minor = getattr(row, column)
    return None if minor is None else minor_text(minor, made.get("currency") or row.currency)


class QuoteShape(View):
    """One locked price."""

    version: int
    due_sat: int
    rate: Annotated[str, Minor(of="price")]
    sources: list[str]
    expires_at: str


class QuoteView(View):
    """A price with all that it was made from, for who rules on an invoice."""

    version: int
    kind: str
    base: Fiat
    price: Fiat
    risk_bps: int
    due_sat: int
    effective_from: str
    expires_at: str
    samples: str


class WayShape(View):
    """One way to pay: `text` is what is paid to, `uri` opens a wallet. An address is good as long as the invoice."""

    way: Way
    text: str
    uri: str
    due_sat: int
    expires_at: str


class PaymentShape(View):
    """Money that came: over which way and when it was first seen, with its transaction or, over Lightning, its payment hash.

    Both are null where the gateway told no more than a sum.
    """

    way: Way
    amount_sat: int
    first_seen_at: str
    txid: str | None
    payment_hash: str | None


class InvoiceShape(View):
    """The absolute invoice. Fiat is decimal text, bitcoin is whole satoshi, times are RFC 3339 in UTC."""

    # What the module sees. A field is the invoice's column of that name, unless `invoice_json` makes it. One that earlier events
    # lack has a default.

    id: str
    billing_payment_id: Annotated[str, Column()]
    status: str
    exception: str
    hold: str | None
    reason: str
    amount: Fiat
    currency: Annotated[str, Column()]
    address: str
    network: str
    received_sat: int
    confirmed_sat: int
    remaining_sat: int
    quote: QuoteShape
    expires_at: str
    monitor_until: str
    grace_until: str | None = None
    payment_url: str
    bip21: str
    sequence: int
    trace_id: Annotated[str, Column()] = ""
    created_at: str
    updated_at: str
    ways: list[WayShape] = []
    payments: list[PaymentShape] = []


class InvoiceView(InvoiceShape):
    """What the shop's own people see besides."""

    merchant: Annotated[str, Column()]
    customer_id: Annotated[str, Column()]
    customer_email: str
    description: Annotated[str, Desk(), Column()]
    service_ref: Annotated[str, Desk(label="service"), Column()]
    rule: str
    policy_version: str
    screening: str
    settled_at: str | None


# The fields that are columns of the exports, and those of the desk's page with their labels.
COLUMNS = tuple(
    name for name, field in InvoiceView.model_fields.items() if any(isinstance(each, Column) for each in field.metadata)
)
_CELLS = tuple(
    (each.label or name, name)
    for name, field in InvoiceView.model_fields.items()
    for each in field.metadata
    if isinstance(each, Desk)
)
_ABOUT = tuple(name for name in InvoiceView.model_fields if name not in InvoiceShape.model_fields)


def invoice_json(
    bridge: Bridge, row: Any, quote: Quote, sources: list[str], targets: Sequence[Target], payments: Iterable[Any]
) -> dict[str, Any]:
    """The absolute invoice, an InvoiceShape. `payments` are its payments, or their rows."""
    made = {
        "quote": QuoteShape.of(quote, sources=sources),
        "payment_url": f"{bridge.public_url}/pay/{row.public_id}",
        "bip21": bip21(row.address, row.remaining_sat),
        "ways": _ways(row, targets),
        "payments": [payment_json(each, targets) for each in _told_of(payments)],
    }
    return InvoiceShape.of(row, **made)


def _ways(row: Any, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """The first way, and the newest offer of each other one; `expires_at` says whether it still is good."""
    first, *beside = targets
    newest = {each.way: each for each in beside}
    return [
        {
            "way": target.way,
            "text": target.text,
            "uri": uri_of(target, row.remaining_sat),
            "due_sat": row.remaining_sat if target is first else target.due_units,
            "expires_at": time_text(target.expires_at or row.expires_at),
        }
        for target in (first, *newest.values())
    ]


def _told_of(payments: Iterable[Any]) -> list[Any]:
    """What counts of the payments, as they came. Of a crowd only the largest: dust must not make an answer grow."""
    there = [each for each in payments if not each.replaced]
    largest = sorted(there, key=lambda each: each.amount_sat, reverse=True)[:MOST_PAYMENTS]
    return [each for each in there if each in largest]


def payment_json(payment: Any, targets: Sequence[Target]) -> dict[str, Any]:
    """A PaymentShape, of a payment or its row."""
    known_by = payment.key.partition(":")[0] if ":" in payment.key else None
    is_final = payment.confirmations is not None and payment.confirmations >= FINAL
    return PaymentShape.of(
        payment,
        way=way_of(payment, targets),
        txid=None if is_final else known_by,
        payment_hash=known_by if is_final else None,
    )


def about(row: Any) -> dict[str, Any]:
    """What an InvoiceView has besides the JSON."""
    return columns(row, *_ABOUT)


def cells(row: Any) -> list[tuple[str, Any]]:
    """The desk's cells: label and value."""
    return [(label, plain(row, name)) for label, name in _CELLS]


def plain(row: Any, name: str) -> Any:
    """A column as JSON says it: times as text, the rest as it is."""
    value = getattr(row, name)
    return time_text(value) if isinstance(value, datetime) else value


def columns(row: Any, *names: str) -> dict[str, Any]:
    """Some columns so."""
    return {name: plain(row, name) for name in names}
