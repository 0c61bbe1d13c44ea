"""Policy versions: what people decide about them and read of them.

Owns these rows; who may do what is decided by the flow.
"""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from bridge.actions.fields import Body, Limit, Option, Whole, answer
from bridge.actions.row import Action, Api, ByHand, Command, Form, Read, Row
from bridge.invoices.present import View
from bridge.people import policy
from bridge.people.policy import PolicyVersionView

PROPOSE, APPROVE = "policy.propose", "policy.approve"


class VersionsQuery(Body):
    """Which page of the versions: those older than the version `before`."""

    limit: Limit = 50
    before: Annotated[
        Annotated[Whole, Field(ge=1, le=2_147_483_647)] | None, Option(help="The next_before of the page before.")
    ] = None


class PolicyChangeShape(View):
    """One setting, before and after; null where there was or is none."""

    setting: str
    before: str | None
    after: str | None


class PolicyVersionShape(PolicyVersionView):
    """One version; `base_number` was in force when it was proposed, and `changes` says what differs from that."""

    document: str | None = None
    changes: list[PolicyChangeShape] | None = None


class PolicyShape(View):
    """What is in force and what waits. `file` is active, proposed, rejected or edited: how the server's file stands to it."""

    active: PolicyVersionShape
    proposed: list[PolicyVersionShape]
    approvals: int
    approvers: int
    file: str
    file_changes: list[PolicyChangeShape]


PolicyVersionsShape = answer(
    "PolicyVersionsShape",
    "Versions, newest first; ask again with `before=next_before` for the next page.",
    versions=list[PolicyVersionShape],
    next_before=int | None,
)


def version_lines(found: dict[str, Any]) -> Iterable[str]:
    for row in found["versions"]:
        approved = f"{len(row['approvals'])}/{row['approvals_needed']} approvals"
        yield f"{row['number']:>5}  {row['status']:10}  {row['proposed_by']:16}  {approved}  {row['reason']}"
    more = f", next {found['next_before']}" if found["next_before"] else ""
    yield f"{len(found['versions'])} versions{more}"


def decided(version: dict[str, Any]) -> Iterable[str]:
    missing = version["approvals_needed"] - len(version["approvals"])
    waits = f" and waits for {missing} more approval(s)" if version["status"] == "proposed" else ""
    yield f"Policy version {version['number']} is {version['status']}{waits}."


ROWS: tuple[Row, ...] = (
    Read(
        policy.show_policy,
        api=Api("/v1/policy", "What is in force", PolicyShape),
        command=ByHand("policy show", "shows a version too, when it is named"),
    ),
    Read(
        policy.list_versions,
        asks=VersionsQuery,
        api=Api("/v1/policy/versions", "List versions", PolicyVersionsShape),
        command=Command("policy list", "List versions, newest first.", version_lines),
    ),
    Action(
        policy.propose,
        needs=(PROPOSE,),
        api=Api("/v1/policy/versions", "Propose what the file says", PolicyVersionShape, statuses=(201,)),
        command=Command(
            "policy propose",
            "Propose what the settings file says, under your name. Without approvals it is in force at once.",
            decided,
        ),
        form=Form(
            "propose_policy",
            path="/policy/propose",
            done=lambda version: "policy_in_force" if version["status"] == "active" else "policy_proposed",
            page="policy_version",
            values={"number": "number"},
        ),
    ),
    Read(
        policy.show_version,
        api=Api("/v1/policy/versions/<int:number>", "One version", PolicyVersionShape),
        command=ByHand("policy show", "shows what is in force, when no version is named"),
    ),
    Action(
        policy.approve,
        needs=(APPROVE,),
        api=Api("/v1/policy/versions/<int:number>/approve", "Approve", PolicyVersionShape),
        command=Command(
            "policy approve",
            "Approve what somebody else proposed; with the last approval it is in force on every node.",
            decided,
        ),
        form=Form(
            "approve_policy",
            path="/policy/<int:number>/approve",
            done=lambda version: "policy_in_force" if version["status"] == "active" else "approved",
            page="policy_version",
        ),
    ),
    Action(
        policy.reject,
        needs=(APPROVE, PROPOSE),
        api=Api("/v1/policy/versions/<int:number>/reject", "Reject", PolicyVersionShape),
        command=Command("policy reject", "End a proposal, or take your own back; what is in force stays.", decided),
        form=Form("reject_policy", path="/policy/<int:number>/reject", done="rejected", page="policy_version"),
    ),
)
