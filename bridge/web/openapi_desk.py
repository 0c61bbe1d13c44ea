"""The operators' part of the OpenAPI document.

Owns its paths and shapes; must not describe what no route serves: a test compares both.
"""

from typing import Any

from pydantic import BaseModel

from bridge.web.desk_bodies import (
    AddressBody,
    DeliveryQuery,
    MarkQuery,
    OwnSendBody,
    PayoutQuery,
    ReasonBody,
    RefundBody,
    ReviewQuery,
    RulingBody,
    WriteOffBody,
)
from bridge.web.openapi_parts import KEY_SCHEMA, Shape, json_of, path_of, query_of, secured_of


class ApprovalShape(Shape):
    """One person's approval; `round` counts how often the payout was changed."""

    actor: str
    reason: str
    at: str
    round: int | None = None


class PayoutShape(Shape):
    """Money that leaves: `gross_sat` from the wallet, `fee_sat` to the gateway, `net_sat` arrives.

    While nobody names the gateway's fee, `fee_bps` and `fee_sat` are null and `net_sat` is the most that can arrive. What did,
    `sent_sat` and `paid_fee_sat` say after the send; `still_owed_sat` is what did not arrive of a refund.
    """

    id: str
    kind: str
    state: str
    merchant: str
    invoice_id: str | None
    billing_payment_id: str
    customer_id: str
    service_ref: str
    variant: str
    amount: str | None
    currency: str
    rate: str | None
    role: str
    destination: str | None
    destination_set_by: str
    gross_sat: int
    fee_bps: int | None
    fee_sat: int | None
    net_sat: int
    txid: str | None
    sent_sat: int | None
    paid_fee_sat: int | None
    still_owed_sat: int
    proposed_by: str
    reason: str
    approvals_needed: int
    approvals: list[ApprovalShape]
    attempts: int
    waiting: str
    balance_before_sat: int | None
    balance_after_sat: int | None
    review_id: str | None
    requested_at: str
    approved_at: str | None
    send_after: str | None
    sent_at: str | None
    finished_at: str | None
    updated_at: str
    address_form_url: str | None = None
    round: int | None = None
    all_approvals: list[ApprovalShape] | None = None


class PayoutPageShape(Shape):
    """Payouts, newest first; ask again with `next_cursor` for the next page."""

    payouts: list[PayoutShape]
    next_cursor: str | None


class MarkShape(Shape):
    """That an invoice counts as paid by people's word. `remaining_sat` was missing when it was proposed."""

    id: str
    review_id: str
    invoice_id: str
    merchant: str
    state: str
    amount: str
    currency: str
    worth_sat: int
    received_sat: int
    remaining_sat: int
    consequence: str
    proposed_by: str
    reason: str
    approvals_needed: int
    approvals: list[ApprovalShape]
    proposed_at: str
    ended_at: str | None


class MarksShape(Shape):
    """Manual marks, newest first."""

    marks: list[MarkShape]


class ReviewShape(Shape):
    """Something that waits for a person, or a person's answer to it."""

    id: str
    invoice_id: str | None
    merchant: str
    kind: str
    severity: str
    state: str
    opened_at: str
    last_seen_at: str
    times_seen: int
    due_at: str
    is_overdue: bool
    actor: str | None
    blocks: dict[str, Any] | None = None
    decision: str | None = None
    note: str | None = None
    marks: list[MarkShape] | None = None


class ReviewsShape(Shape):
    """Review items, most urgent first."""

    reviews: list[ReviewShape]


class RuledShape(Shape):
    """The item as it is now, and the invoice it belongs to; an item that waits for a mark's approval is still open."""

    review: ReviewShape
    invoice: dict[str, Any] | None


class DeliveryShape(Shape):
    """One event on its way to a merchant."""

    id: str
    event_id: str
    type: str
    invoice_id: str | None
    merchant: str
    sequence: int
    state: str
    attempts: int
    created_at: str
    next_try_at: str
    attempts_log: list[dict[str, Any]] | None = None


class DeliveriesShape(Shape):
    """Deliveries, newest first."""

    deliveries: list[DeliveryShape]


class TreasuryShape(Shape):
    """The wallets with their balances and books, what is owed, and what a sweep would take.

    The money of `former_wallets` is on the books of their role; they are only read.
    """

    network: str
    wallets: list[dict[str, Any]]
    former_wallets: list[dict[str, Any]]
    cold: dict[str, Any]
    own_first_address: str | None
    in_sweep_sat: int
    fees_paid_sat: int
    owed_sat: int
    promised_sat: int
    refund_float_sat: int
    max_hot_sat: int
    is_over_cap: bool
    sweep_mode: str
    sweep: dict[str, Any] | None


DESK_MODELS: tuple[type[BaseModel], ...] = (
    RefundBody,
    ReasonBody,
    AddressBody,
    OwnSendBody,
    WriteOffBody,
    RulingBody,
    PayoutShape,
    PayoutPageShape,
    MarkShape,
    MarksShape,
    ReviewShape,
    ReviewsShape,
    RuledShape,
    DeliveryShape,
    DeliveriesShape,
    TreasuryShape,
)
_KEY = {"name": "Idempotency-Key", "in": "header", "required": True, "schema": KEY_SCHEMA}


def desk_paths() -> dict[str, Any]:
    """What operators call with their tokens; the module asks for refunds and sees its own payouts too."""
    return _payout_paths() | _treasury_paths() | _review_paths() | _mark_paths()


def _payout_paths() -> dict[str, Any]:
    payout, made = json_of(PayoutShape), {"200": json_of(PayoutShape), "201": json_of(PayoutShape)}
    one = [path_of("payout_id")]
    return {
        "/v1/invoices/{invoice_id}/refunds": {
            "post": secured_of("Ask for a refund", made, body=RefundBody, parameters=[path_of("invoice_id"), _KEY])
        },
        "/v1/payouts": {"get": secured_of("List payouts", json_of(PayoutPageShape), parameters=query_of(PayoutQuery))},
        "/v1/payouts/{payout_id}": {"get": secured_of("One payout", payout, parameters=one)},
        "/v1/payouts/{payout_id}/approve": {"post": secured_of("Approve", payout, body=ReasonBody, parameters=one)},
        "/v1/payouts/{payout_id}/reject": {"post": secured_of("Reject", payout, body=ReasonBody, parameters=one)},
        "/v1/payouts/{payout_id}/address": {
            "post": secured_of("Name the address", payout, body=AddressBody, parameters=one)
        },
        "/v1/payouts/{payout_id}/sent": {
            "post": secured_of("State your own send", payout, body=OwnSendBody, parameters=one)
        },
    }


def _treasury_paths() -> dict[str, Any]:
    made = {"201": json_of(PayoutShape)}
    return {
        "/v1/treasury": {"get": secured_of("The wallets", json_of(TreasuryShape))},
        "/v1/sweeps": {"post": secured_of("Propose a sweep", made, body=ReasonBody, parameters=[_KEY])},
        "/v1/write-offs": {"post": secured_of("Propose a write-off", made, body=WriteOffBody, parameters=[_KEY])},
    }


def _review_paths() -> dict[str, Any]:
    review, delivery = [path_of("review_id")], [path_of("delivery_id")]
    return {
        "/v1/reviews": {
            "get": secured_of("List review items", json_of(ReviewsShape), parameters=query_of(ReviewQuery))
        },
        "/v1/reviews/{review_id}": {"get": secured_of("One review item", json_of(ReviewShape), parameters=review)},
        "/v1/reviews/{review_id}/resolve": {
            "post": secured_of("Rule on an item", json_of(RuledShape), body=RulingBody, parameters=review)
        },
        "/v1/deliveries": {
            "get": secured_of("List deliveries", json_of(DeliveriesShape), parameters=query_of(DeliveryQuery))
        },
        "/v1/deliveries/{delivery_id}": {
            "get": secured_of("One delivery", json_of(DeliveryShape), parameters=delivery)
        },
    }


def _mark_paths() -> dict[str, Any]:
    mark, one = json_of(MarkShape), [path_of("mark_id")]
    return {
        "/v1/marks": {"get": secured_of("List manual marks", json_of(MarksShape), parameters=query_of(MarkQuery))},
        "/v1/marks/{mark_id}": {"get": secured_of("One manual mark", mark, parameters=one)},
        "/v1/marks/{mark_id}/approve": {"post": secured_of("Approve the mark", mark, body=ReasonBody, parameters=one)},
        "/v1/marks/{mark_id}/reject": {"post": secured_of("Reject the mark", mark, body=ReasonBody, parameters=one)},
    }
