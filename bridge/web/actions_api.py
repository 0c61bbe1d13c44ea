"""A route for every row of a table, whoever calls; and the three of money that both operators and the module may call.

Owns the way from HTTP to a row; who may do what is decided by its flow too, by the name that the token stands for.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Blueprint, Response, jsonify, request

from bridge.actions import ROWS
from bridge.actions.fields import Body, given_of, matched
from bridge.actions.money import PROPOSE, PayoutQuery, RefundBody, asked_refund
from bridge.actions.row import Action, Api, Row
from bridge.core.errors import Refused
from bridge.payouts import decide_payout
from bridge.permit import MODULE
from bridge.web.bodies import idempotency_key, merchant_or_operator, read_body, read_json, read_query, require_operator
from bridge.web.context import here

routes = Blueprint("actions", __name__)
# Who calls: what stands before the values of the path, and what is asked besides. Raises Refused for who may not.
Caller = Callable[[Row], tuple[tuple[str, ...], dict[str, Any]]]


def serve(routes: Blueprint, rows: Iterable[Row], caller: Caller) -> None:
    """Adds a route for every row that has one and is not answered by hand."""
    for row in rows:
        if row.api and not row.api.by_hand:
            endpoint = f"{row.method} {row.api.path}".replace(".", "_")
            routes.add_url_rule(row.api.path, endpoint, _view(row, row.api, caller), methods=[row.method])


def _view(row: Row, api: Api, caller: Caller) -> Callable[..., tuple[Response, int]]:
    def view(**place: Any) -> tuple[Response, int]:
        first, asked = caller(row)
        if row.method == "POST":
            asked |= given_of(read_json(row.asks, read_body()))
        elif row.asks.model_fields:
            asked |= query_keywords(row.asks)
        if isinstance(row, Action) and row.keyed:
            asked["key"] = idempotency_key()
        return jsonify(api.json_of(row.do(here().bridge, *first, *place.values(), **asked))), api.statuses[-1]

    return view


def query_keywords(query: type[Body]) -> dict[str, Any]:
    """What the request's query asks of the flow."""
    return matched(query, given_of(read_query(query, request.args.to_dict())))


def _operator(row: Row) -> tuple[tuple[str, ...], dict[str, Any]]:
    person = require_operator(*row.needs)
    return (), {"actor": person.name} if isinstance(row, Action) else {}


serve(routes, ROWS, _operator)


@routes.post("/v1/invoices/<invoice_id>/refunds")
def post_refund(invoice_id: str) -> Response:
    """Ask for a refund, as the module or as an operator; other people approve it."""
    merchant, person = merchant_or_operator(PROPOSE)
    merchant_id, asked = merchant.id if merchant else None, given_of(read_json(RefundBody, read_body()))
    payout, is_replay = asked_refund(
        here().bridge,
        invoice_id,
        merchant_id=merchant_id,
        key=idempotency_key(),
        actor=person.name if person else f"{MODULE}{merchant_id or ''}",
        **asked,
    )
    response = jsonify(payout)
    response.status_code = 200 if is_replay else 201
    if is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return response


@routes.get("/v1/payouts")
def get_payouts() -> Response:
    """Payouts, newest first; a module sees its own merchant's only."""
    merchant, _ = merchant_or_operator("read")
    asked = query_keywords(PayoutQuery)
    asked["match"] |= {"merchant": merchant.id} if merchant else {}
    return jsonify(decide_payout.list_payouts(here().bridge, **asked))


@routes.get("/v1/payouts/<payout_id>")
def get_payout(payout_id: str) -> Response:
    """One payout with all its approvals."""
    merchant, _ = merchant_or_operator("read")
    payout = decide_payout.show_payout(here().bridge, payout_id)
    if merchant is not None and payout["merchant"] != merchant.id:
        raise Refused("unknown_payout", "There is no such payout.")
    return jsonify(payout)
