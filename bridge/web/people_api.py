"""Operators and their tokens, for programs with an admin's token.

Owns the way from HTTP to flows; what is shown once (a token, a one-time secret) is in no other answer and no log.
"""

from flask import Blueprint, Response, jsonify, request

from bridge.flows import operators
from bridge.flows.operators import MANAGE
from bridge.web.auth import require_operator
from bridge.web.bodies import read_json, read_query
from bridge.web.context import here
from bridge.web.desk_bodies import ReasonBody
from bridge.web.limits import read_body
from bridge.web.people_bodies import NewOperatorBody, NewTokenBody, OperatorChangeBody, PasswordBody, TokenQuery

routes = Blueprint("people", __name__, url_prefix="/v1")


@routes.get("/operators")
def get_operators() -> Response:
    """Who may do what."""
    require_operator(MANAGE)
    return jsonify(operators=operators.list_operators(here().bridge))


@routes.post("/operators")
def post_operator() -> tuple[Response, int]:
    """Add a person; the answer has the one-time secret for their authenticator app, this once."""
    actor, body = require_operator(MANAGE).name, read_json(NewOperatorBody, read_body())
    url = operators.add_operator(
        here().bridge,
        name=body.name,
        role=body.role,
        password=body.password.get_secret_value(),
        expires_at=body.expires_at,
        actor=actor,
        reason=body.reason,
    )
    return jsonify(name=body.name, totp_url=url), 201


@routes.get("/operators/<name>")
def get_operator(name: str) -> Response:
    """One person with their tokens."""
    require_operator(MANAGE)
    return jsonify(operators.show_operator(here().bridge, name))


@routes.post("/operators/<name>/change")
def post_change(name: str) -> Response:
    """Change a role or the end of an access, give it or take it away; the person's sessions end at once."""
    actor, body = require_operator(MANAGE).name, read_json(OperatorChangeBody, read_body())
    operators.change_operator(
        here().bridge,
        name,
        role=body.role,
        is_active=body.access or "",
        expires_at=body.expires_at,
        is_endless=body.endless,
        actor=actor,
        reason=body.reason,
    )
    return jsonify(operators.show_operator(here().bridge, name))


@routes.post("/operators/<name>/password")
def post_password(name: str) -> Response:
    """Set a new password; the person's sessions end at once."""
    actor, body = require_operator(MANAGE).name, read_json(PasswordBody, read_body())
    password = body.password.get_secret_value()
    operators.set_password(here().bridge, name, password=password, actor=actor, reason=body.reason)
    return jsonify(operators.show_operator(here().bridge, name))


@routes.post("/operators/<name>/totp")
def post_totp(name: str) -> Response:
    """Make a new one-time secret for a lost authenticator; it is in this answer alone."""
    actor, body = require_operator(MANAGE).name, read_json(ReasonBody, read_body())
    return jsonify(name=name, totp_url=operators.renew_totp(here().bridge, name, actor=actor, reason=body.reason))


@routes.get("/operator-tokens")
def get_tokens() -> Response:
    """Tokens by id; the tokens themselves nobody has."""
    require_operator(MANAGE)
    query = read_query(TokenQuery, request.args.to_dict())
    return jsonify(tokens=operators.list_tokens(here().bridge, query.operator))


@routes.post("/operators/<name>/tokens")
def post_token(name: str) -> tuple[Response, int]:
    """Make an API token; it is in this answer alone."""
    actor, body = require_operator(MANAGE).name, read_json(NewTokenBody, read_body())
    made = operators.issue_token(
        here().bridge,
        operator=name,
        role=body.role,
        starts_at=body.starts_at,
        ends_at=body.ends_at,
        note=body.note,
        actor=actor,
        reason=body.reason,
    )
    return jsonify(id=made.id, token=made.token), 201


@routes.post("/operator-tokens/<token_id>/revoke")
def post_revocation(token_id: str) -> Response:
    """End a token at once."""
    actor, body = require_operator(MANAGE).name, read_json(ReasonBody, read_body())
    operators.revoke_token(here().bridge, token_id, actor=actor, reason=body.reason)
    return jsonify(id=token_id, revoked=True)
