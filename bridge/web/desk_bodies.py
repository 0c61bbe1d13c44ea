"""The JSON bodies and queries of the operators' part of the API, strictly typed.

Owns their shapes; must not judge a sum, an address or a right: the flows do.
"""

from typing import Annotated, Literal

from pydantic import Field

from bridge.web.bodies import Body, DecimalText, Text, UtcTime, Whole

Reason = Annotated[Text, Field(min_length=1, max_length=1_000)]
Address = Annotated[Text, Field(max_length=100)]
Sat = Annotated[int, Field(ge=1, le=2_100_000_000_000_000)]
Id = Annotated[Text, Field(max_length=64)]
Limit = Annotated[Whole, Field(ge=1, le=200)]


class RefundBody(Body):
    """A refund that is asked for. Without an address the payer names one in the form that the answer links to."""

    variant: Literal["paid_sat", "fiat_at_quote", "fiat_today", "excess_only", "custom"]
    net_sat: Sat | None = None
    amount: DecimalText | None = None
    address: Address = ""
    reason: Reason


class ReasonBody(Body):
    """Why."""

    reason: Reason


class AddressBody(Body):
    """Where a refund goes, and why it changes."""

    address: Address
    reason: Reason


class OwnSendBody(Body):
    """The transaction that sent a refund from the shop's own wallet."""

    txid: Annotated[Text, Field(max_length=64)]
    reason: Reason


class WriteOffBody(Body):
    """Dust that is given up."""

    role: Literal["hot", "billing"]
    gross_sat: Sat
    reason: Reason


class RulingBody(Body):
    """A ruling on a review item; `txid` belongs to payout_sent."""

    decision: Annotated[Text, Field(max_length=32)]
    reason: Reason
    txid: Annotated[Text, Field(max_length=64)] = ""


class MerchantBody(Body):
    """Which merchant gets a test event."""

    merchant: Id
    reason: Reason


class GraceBody(Body):
    """Time for a payer: until `ends_at`, or as much as the tier allows."""

    ends_at: UtcTime | None = None
    reason: Reason


class ReconciliationBody(Body):
    """What to compare: what moved in this time; without times the configured days up to now."""

    from_at: Annotated[UtcTime | None, Field(alias="from")] = None
    to_at: Annotated[UtcTime | None, Field(alias="to")] = None
    reason: Reason


class BaselineBody(Body):
    """How many satoshi in the gateway's wallet are not the bridge's."""

    baseline_sat: Annotated[int, Field(ge=0, le=2_100_000_000_000_000)]
    reason: Reason


class ModeBody(Body):
    """A switch: scope is bridge or wallet:<id>."""

    scope: Annotated[Text, Field(max_length=160)] = "bridge"
    mode: Literal["normal", "read_only", "queued", "limited", "paused"]
    reason: Reason


class PayoutQuery(Body):
    """Which payouts, and which page of them."""

    state: (
        Literal["requested", "approved", "submitting", "sent", "confirmed", "rejected", "unknown", "failed"] | None
    ) = None
    kind: Literal["refund", "sweep", "write_off"] | None = None
    invoice_id: Id | None = None
    limit: Limit = 50
    cursor: Annotated[str, Field(max_length=200)] | None = None


class ReviewQuery(Body):
    """Which review items."""

    state: Literal["open", "resolved"] | None = None
    kind: Id | None = None
    merchant: Id | None = None
    limit: Limit = 50


class MarkQuery(Body):
    """Which manual marks."""

    state: Literal["proposed", "approved", "rejected", "lapsed"] | None = None
    review_id: Id | None = None
    invoice_id: Id | None = None
    merchant: Id | None = None
    limit: Limit = 50


class GrantQuery(Body):
    """Which grants of time."""

    state: Literal["open", "settled", "lapsed"] | None = None
    merchant: Id | None = None
    invoice_id: Id | None = None
    limit: Limit = 50


class AuditQuery(Body):
    """Which rows of the audit, and which page of them."""

    actor: Id | None = None
    action: Id | None = None
    invoice_id: Id | None = None
    limit: Limit = 50
    cursor: Annotated[Text, Field(max_length=20)] = ""


class RunsQuery(Body):
    """How many reconciliations."""

    limit: Limit = 20


class FindingsQuery(Body):
    """Findings above the cursor `after`."""

    after: Annotated[Whole, Field(ge=0)] = 0
    limit: Limit = 200


class DeliveryQuery(Body):
    """Which deliveries."""

    state: Literal["pending", "delivered", "parked"] | None = None
    merchant: Id | None = None
    invoice_id: Id | None = None
    limit: Limit = 50
