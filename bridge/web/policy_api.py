"""Policy versions for programs, with an operator's token.

Owns the way from HTTP to flows; who may do what is decided there by the name that the token stands for.
"""

from flask import Blueprint, Response, jsonify, request

from bridge.flows import decide_policy
from bridge.web.auth import require_operator
from bridge.web.bodies import read_json, read_query
from bridge.web.context import here
from bridge.web.desk_bodies import ReasonBody
from bridge.web.limits import read_body
from bridge.web.policy_bodies import VersionsQuery

routes = Blueprint("policy", __name__, url_prefix="/v1/policy")
PROPOSE, APPROVE = "policy.propose", "policy.approve"


@routes.get("")
def get_policy() -> Response:
    """What is in force, what waits for people, and whether the server's settings file says the same."""
    require_operator("read")
    return jsonify(decide_policy.show_policy(here().bridge))


@routes.get("/versions")
def get_versions() -> Response:
    """Versions, newest first."""
    require_operator("read")
    query = read_query(VersionsQuery, request.args.to_dict())
    return jsonify(decide_policy.list_versions(here().bridge, limit=query.limit, before=query.before))


@routes.get("/versions/<int:number>")
def get_version(number: int) -> Response:
    """One version with its document and every setting that it changed."""
    require_operator("read")
    return jsonify(decide_policy.show_version(here().bridge, number))


@routes.post("/versions")
def post_version() -> tuple[Response, int]:
    """Propose what the server's settings file says, in the caller's name."""
    actor, body = require_operator(PROPOSE).name, read_json(ReasonBody, read_body())
    return jsonify(decide_policy.propose(here().bridge, actor=actor, reason=body.reason)), 201


@routes.post("/versions/<int:number>/approve")
def approve(number: int) -> Response:
    """Approve what somebody else proposed."""
    actor, body = require_operator(APPROVE).name, read_json(ReasonBody, read_body())
    return jsonify(decide_policy.approve(here().bridge, number, actor=actor, reason=body.reason))


@routes.post("/versions/<int:number>/reject")
def reject(number: int) -> Response:
    """End a proposal, or take one's own back."""
    actor, body = require_operator(APPROVE, PROPOSE).name, read_json(ReasonBody, read_body())
    return jsonify(decide_policy.reject(here().bridge, number, actor=actor, reason=body.reason))
