"""The part of the OpenAPI document about policy versions.

Owns its paths and shapes; must not describe what no route serves: a test compares both.
"""

from typing import Any

from pydantic import BaseModel

from bridge.web.desk_bodies import ReasonBody
from bridge.web.openapi_parts import Shape, json_of, path_of, query_of, secured_of
from bridge.web.policy_bodies import VersionsQuery


class PolicyApprovalShape(Shape):
    """One person's approval."""

    actor: str
    reason: str
    at: str


class PolicyChangeShape(Shape):
    """One setting, before and after; null where there was or is none."""

    setting: str
    before: str | None
    after: str | None


class PolicyVersionShape(Shape):
    """One version; `base_number` was in force when it was proposed, and `changes` says what differs from that."""

    number: int
    status: str
    sha256: str
    base_number: int | None
    proposed_by: str
    proposed_at: str
    reason: str
    approvals_needed: int
    approvals: list[PolicyApprovalShape]
    decided_by: str
    decided_at: str | None
    decision_reason: str
    document: str | None = None
    changes: list[PolicyChangeShape] | None = None


class PolicyShape(Shape):
    """What is in force and what waits. `file` is active, proposed, rejected or edited: how the server's file stands to it."""

    active: PolicyVersionShape
    proposed: list[PolicyVersionShape]
    approvals: int
    approvers: int
    file: str
    file_changes: list[PolicyChangeShape]


class PolicyVersionsShape(Shape):
    """Versions, newest first; ask again with `before=next_before` for the next page."""

    versions: list[PolicyVersionShape]
    next_before: int | None


POLICY_MODELS: tuple[type[BaseModel], ...] = (
    PolicyApprovalShape,
    PolicyChangeShape,
    PolicyVersionShape,
    PolicyShape,
    PolicyVersionsShape,
)


def policy_paths() -> dict[str, Any]:
    """What operators call with their tokens."""
    version, one = json_of(PolicyVersionShape), [path_of("number")]
    return {
        "/v1/policy": {"get": secured_of("What is in force", json_of(PolicyShape))},
        "/v1/policy/versions": {
            "get": secured_of("List versions", json_of(PolicyVersionsShape), parameters=query_of(VersionsQuery)),
            "post": secured_of("Propose what the file says", {"201": version}, body=ReasonBody),
        },
        "/v1/policy/versions/{number}": {"get": secured_of("One version", version, parameters=one)},
        "/v1/policy/versions/{number}/approve": {
            "post": secured_of("Approve", version, body=ReasonBody, parameters=one)
        },
        "/v1/policy/versions/{number}/reject": {"post": secured_of("Reject", version, body=ReasonBody, parameters=one)},
    }
