"""The part of the OpenAPI document about what keeps things going: look again, send again, replay, reconcile, switch.

Owns its paths and shapes; must not describe what no route serves: a test compares both.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

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
from bridge.web.openapi_parts import Shape, json_of, path_of, query_of, secured_of


class AnsweredShape(Shape):
    """Whether gateway or chain answered; what they said is on the invoice."""

    is_answered: bool


class GrantShape(Shape):
    """Time that a person gave a payer; `state` is open, settled or lapsed."""

    invoice_id: str
    merchant: str
    billing_payment_id: str
    tier: str
    amount: str
    currency: str
    approver: str
    reason: str
    state: str
    granted_at: str
    ends_at: str
    ended_at: str | None


class GrantsShape(Shape):
    """Grants of time, newest first."""

    grants: list[GrantShape]


class QueuedShape(Shape):
    """Whether the delivery went back into the queue; false when it is under way anyway."""

    is_queued_again: bool


class SentShape(Shape):
    """The test event in the queue."""

    event_id: str


class ReplayedShape(Shape):
    """What came of it, in a word."""

    outcome: str


class RunShape(BaseModel):
    """A reconciliation: how far it is and, when it is asked for alone, what differs."""

    model_config = ConfigDict(extra="allow")

    id: str
    actor: str
    is_scheduled: bool
    started_at: str
    finished_at: str | None
    phase: str
    checked: int
    total: int
    unread: int
    findings_count: int
    is_clean: bool
    findings: list[dict[str, Any]] | None = None
    next_after: int | None = None


class RunsShape(Shape):
    """Reconciliations, newest first."""

    reconciliations: list[RunShape]


class BaselineShape(Shape):
    """What is not counted as ours from now on."""

    baseline_sat: int


class ModeShape(Shape):
    """A switch as it stands now."""

    scope: str
    mode: str


class SwitchShape(Shape):
    """A switch with who turned it, when and why."""

    scope: str
    mode: str
    since: str | None
    actor: str
    reason: str


class SwitchesShape(Shape):
    """Every switch."""

    modes: list[SwitchShape]


class AuditShape(Shape):
    """Who did what; ask again with `next_cursor` for the next page."""

    audit: list[dict[str, Any]]
    next_cursor: str | None


UPKEEP_MODELS: tuple[type[BaseModel], ...] = (
    MerchantBody,
    ReconciliationBody,
    BaselineBody,
    ModeBody,
    GraceBody,
    GrantShape,
    GrantsShape,
    AnsweredShape,
    QueuedShape,
    SentShape,
    ReplayedShape,
    RunShape,
    RunsShape,
    BaselineShape,
    ModeShape,
    SwitchShape,
    SwitchesShape,
    AuditShape,
)


def upkeep_paths() -> dict[str, Any]:
    """What operators call with their tokens."""

    def of(name: str) -> dict[str, Any]:
        return {"body": ReasonBody, "parameters": [path_of(name)]}

    again, run = json_of(QueuedShape), json_of(RunShape)
    begun = {"201": run}
    return {
        "/v1/invoices/{invoice_id}/check": {
            "post": secured_of("Look again now", json_of(AnsweredShape), **of("invoice_id"))
        },
        "/v1/invoices/{invoice_id}/grace": {
            "post": secured_of(
                "Give time", {"201": json_of(GrantShape)}, body=GraceBody, parameters=[path_of("invoice_id")]
            )
        },
        "/v1/grace-grants": {"get": secured_of("List grants", json_of(GrantsShape), parameters=query_of(GrantQuery))},
        "/v1/deliveries/{delivery_id}/redeliver": {"post": secured_of("Send it again", again, **of("delivery_id"))},
        "/v1/test-events": {"post": secured_of("Send a test event", {"201": json_of(SentShape)}, body=MerchantBody)},
        "/v1/events/{event_id}/replay": {"post": secured_of("Replay", json_of(ReplayedShape), **of("event_id"))},
        "/v1/reconciliations": {
            "post": secured_of("Begin a reconciliation", begun, body=ReconciliationBody),
            "get": secured_of("List reconciliations", json_of(RunsShape), parameters=query_of(RunsQuery)),
        },
        "/v1/reconciliations/{run_id}": {
            "get": secured_of("One reconciliation", run, parameters=[path_of("run_id"), *query_of(FindingsQuery)])
        },
        "/v1/wallet-baseline": {"post": secured_of("Say what is not ours", json_of(BaselineShape), body=BaselineBody)},
        "/v1/modes": {
            "get": secured_of("The switches", json_of(SwitchesShape)),
            "post": secured_of("Turn a switch", json_of(ModeShape), body=ModeBody),
        },
        "/v1/audit": {"get": secured_of("The audit", json_of(AuditShape), parameters=query_of(AuditQuery))},
    }
