"""What operators do and read, for programs with an operator's token: a route for every row of the table.

Owns the way from HTTP to a row; who may do what is decided by its flow too, by the name that the token stands for.
"""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, request

from bridge.actions.fields import Body, given_of, matched
from bridge.actions.row import Action, Api, Row
from bridge.actions.table import ROWS
from bridge.web.auth import require_operator
from bridge.web.bodies import idempotency_key, read_body, read_json, read_query
from bridge.web.context import here

routes = Blueprint("actions", __name__)
View = Callable[..., tuple[Response, int]]


def _acting(row: Action, api: Api) -> View:
    def act(**place: Any) -> tuple[Response, int]:
        actor = require_operator(*row.needs).name
        asked = given_of(read_json(row.asks, read_body())) | {"actor": actor}
        if row.keyed:
            asked["key"] = idempotency_key()
        return jsonify(api.json_of(row.do(here().bridge, *place.values(), **asked))), api.statuses[-1]

    return act


def _reading(row: Row, api: Api) -> View:
    def look(**place: Any) -> tuple[Response, int]:
        require_operator(*row.needs)
        asked = query_keywords(row.asks) if row.asks.model_fields else {}
        return jsonify(api.json_of(row.do(here().bridge, *place.values(), **asked))), 200

    return look


def query_keywords(query: type[Body]) -> dict[str, Any]:
    """What the request's query asks of the flow."""
    return matched(query, given_of(read_query(query, request.args.to_dict())))


for row in ROWS:
    if row.api and not row.api.by_hand:
        view = _acting(row, row.api) if isinstance(row, Action) else _reading(row, row.api)
        routes.add_url_rule(row.api.path, f"{row.method} {row.api.path}", view, methods=[row.method])
