"""What people do to keep things going, for programs: look again, give time, send again, replay, reconcile, switch.

Owns the way from HTTP to flows; who may do what is decided there by the name that the token stands for.
"""

from flask import Blueprint, Response, jsonify, request

from bridge.flows import grant_grace
from bridge.flows.check_again import check_again
from bridge.flows.desk import audit_page, switches
from bridge.flows.modes import set_mode
from bridge.flows.reconcile import start_reconciliation
from bridge.flows.reconciliation_report import list_reconciliations, set_baseline, show_reconciliation
from bridge.flows.redeliver import redeliver
from bridge.flows.replay import replay, send_test_event
from bridge.web.auth import require_operator
from bridge.web.bodies import read_json, read_query
from bridge.web.context import here
from bridge.web.desk_bodies import (
    AuditQuery,
    BaselineBody,
    FindingsQuery,
    GraceBody,
    GrantQuery,
    MerchantBody,
    ModeBody,
    ReasonBody,
    ReconciliationBody,
    RunsQuery,
)
from bridge.web.limits import read_body

routes = Blueprint("upkeep", __name__, url_prefix="/v1")
SEND = "delivery.redeliver"


@routes.post("/invoices/<invoice_id>/check")
def post_check_again(invoice_id: str) -> Response:
    """Ask gateway and chain about an invoice's address now."""
    actor, body = require_operator(SEND).name, read_json(ReasonBody, read_body())
    return jsonify(is_answered=check_again(here().bridge, invoice_id, actor=actor, reason=body.reason))


@routes.post("/invoices/<invoice_id>/grace")
def post_grace(invoice_id: str) -> tuple[Response, int]:
    """Give the payer time; once per billing payment, for tiers that have grace."""
    actor, body = require_operator(grant_grace.NEEDS).name, read_json(GraceBody, read_body())
    made = grant_grace.grant_grace(here().bridge, invoice_id, ends_at=body.ends_at, actor=actor, reason=body.reason)
    return jsonify(made), 201


@routes.get("/grace-grants")
def get_grants() -> Response:
    """Time that was given to payers, newest first."""
    require_operator("read")
    query = read_query(GrantQuery, request.args.to_dict())
    match = query.model_dump(exclude={"limit"}, exclude_none=True)
    return jsonify(grants=grant_grace.list_grants(here().bridge, match=match, limit=query.limit))


@routes.post("/deliveries/<delivery_id>/redeliver")
def post_redeliver(delivery_id: str) -> Response:
    """Put a finished delivery back into the queue."""
    actor, body = require_operator(SEND).name, read_json(ReasonBody, read_body())
    return jsonify(is_queued_again=redeliver(here().bridge, delivery_id, actor=actor, reason=body.reason))


@routes.post("/test-events")
def post_test_event() -> tuple[Response, int]:
    """Send a merchant an event that changes nothing."""
    actor, body = require_operator(SEND).name, read_json(MerchantBody, read_body())
    event_id = send_test_event(here().bridge, body.merchant, actor=actor, reason=body.reason)
    return jsonify(event_id=event_id), 201


@routes.post("/events/<event_id>/replay")
def post_replay(event_id: str) -> Response:
    """Take a stored callback in once more, or send a stored event again."""
    actor, body = require_operator(SEND).name, read_json(ReasonBody, read_body())
    return jsonify(outcome=replay(here().bridge, event_id, actor=actor, reason=body.reason))


@routes.post("/reconciliations")
def post_reconciliation() -> tuple[Response, int]:
    """Begin a reconciliation, or find the one under way; the worker carries it on."""
    actor, body = require_operator("books.export").name, read_json(ReconciliationBody, read_body())
    period = {"from_at": body.from_at, "to_at": body.to_at}
    run_id = start_reconciliation(here().bridge, actor=actor, reason=body.reason, **period)
    return jsonify(show_reconciliation(here().bridge, run_id)), 201


@routes.get("/reconciliations")
def get_reconciliations() -> Response:
    """The last runs, newest first."""
    require_operator("read")
    query = read_query(RunsQuery, request.args.to_dict())
    return jsonify(reconciliations=list_reconciliations(here().bridge, limit=query.limit))


@routes.get("/reconciliations/<run_id>")
def get_reconciliation(run_id: str) -> Response:
    """One run: how far it is, and what differs, a page at a time."""
    require_operator("read")
    query = read_query(FindingsQuery, request.args.to_dict())
    return jsonify(show_reconciliation(here().bridge, run_id, after=query.after, limit=query.limit))


@routes.post("/wallet-baseline")
def post_baseline() -> Response:
    """Say how many satoshi in the gateway's wallet are not the bridge's."""
    actor, body = require_operator("review.mark").name, read_json(BaselineBody, read_body())
    set_baseline(here().bridge, baseline_sat=body.baseline_sat, actor=actor, reason=body.reason)
    return jsonify(baseline_sat=body.baseline_sat)


@routes.post("/modes")
def post_mode() -> Response:
    """Turn a switch: the whole bridge, or one wallet."""
    actor, body = require_operator("mode.set").name, read_json(ModeBody, read_body())
    set_mode(here().bridge, scope=body.scope, mode=body.mode, actor=actor, reason=body.reason)
    return jsonify(scope=body.scope, mode=body.mode)


@routes.get("/modes")
def get_modes() -> Response:
    """The switches: the bridge's and every wallet's."""
    require_operator("read")
    return jsonify(modes=switches(here().bridge))


@routes.get("/audit")
def get_audit() -> Response:
    """Who did what and why, newest first."""
    require_operator("read")
    query = read_query(AuditQuery, request.args.to_dict())
    match = query.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    page = audit_page(here().bridge, match=match, cursor=query.cursor, limit=query.limit)
    return jsonify(audit=page.rows, next_cursor=page.next_cursor)
