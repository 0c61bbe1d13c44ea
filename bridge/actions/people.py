"""People and what they agree on: operators and their tokens, what an admin does and reads; policy versions and what is decided about them.

Owns these rows; what is shown once (a token, a one-time secret) is in no other answer, and who may do what is decided by the flow.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from bridge.actions.row import (
    Action,
    Api,
    Argument,
    Body,
    ByHand,
    Command,
    Form,
    Id,
    Input,
    Limit,
    Option,
    Password,
    Read,
    Reason,
    Row,
    Text,
    UtcTime,
    Whole,
    answer,
)
from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.core.roles import ROLES
from bridge.invoices.present import View
from bridge.people import operators, policy
from bridge.people.operators import MANAGE, OperatorView, TokenShape
from bridge.people.policy import PolicyVersionView

Role = Literal["viewer", "support", "finance", "approver", "admin"]
ROLE_NAMES = tuple(sorted(ROLES))
UNTIL = "The day their access ends, UTC."


class NewOperatorBody(Body):
    """A person who may act from now on, until `expires_at`."""

    name: Annotated[Id, Argument()]
    role: Annotated[Role, Option(choices=ROLE_NAMES)]
    password: Password
    expires_at: Annotated[UtcTime | None, Option(flag="--expires", help=UNTIL), Input(name="expires")] = None
    reason: Reason


class OperatorChangeBody(Body):
    """Another role, another end (`endless`: none), or access given and taken; what is left out stays."""

    role: Annotated[Role | None, Option(choices=ROLE_NAMES)] = None
    expires_at: Annotated[UtcTime | None, Option(flag="--expires", help=UNTIL)] = None
    is_endless: Annotated[
        bool, Field(alias="endless"), Option(flag="--endless", help="Their access has no end any more.")
    ] = False
    is_active: Annotated[Literal["enabled", "disabled"] | None, Field(alias="access")] = None
    reason: Reason


class WhomBody(Body):
    """Whom, for commands that stand for one value of OperatorChangeBody."""

    name: Annotated[Id, Argument()]
    reason: Reason


class PasswordBody(Body):
    """A new password."""

    password: Password
    reason: Reason


class NewTokenBody(Body):
    """An API token with the operator's own role, or viewer; without a start it is good at once."""

    role: Annotated[Role, Option(help="The operator's own role, or viewer.", choices=ROLE_NAMES)]
    starts_at: Annotated[
        UtcTime | None,
        Option(flag="--from", help="Good from this day on, UTC (default: at once)."),
        Input(name="starts"),
    ] = None
    ends_at: Annotated[UtcTime, Option(flag="--until", help="Good until this day, UTC."), Input(name="ends")]
    note: Annotated[Text, Field(max_length=200), Option(help="What it is for.")] = ""
    reason: Reason


class TokenQuery(Body):
    """Whose tokens."""

    operator: Annotated[Id | None, Option(help="Only this operator's.")] = None


class OperatorShape(OperatorView):
    """A person who may act, or might once."""

    tokens: list[TokenShape] | None = None


OperatorsShape = answer("OperatorsShape", "Everybody, the disabled too.", operators=list[OperatorShape])
EnrolmentShape = answer(
    "EnrolmentShape", "What the person's authenticator app scans, shown this once.", name=str, totp_url=str
)
TokensShape = answer("TokensShape", "Tokens by id.", tokens=list[TokenShape])
NewTokenShape = answer("NewTokenShape", "The token itself, shown this once.", id=str, token=str)
RevokedShape = answer("RevokedShape", "A token that is over.", id=str, revoked=bool)


def add(bridge: Bridge, *, name: str, **asked: Any) -> dict[str, Any]:
    return {"name": name, "totp_url": operators.add_operator(bridge, name=name, **asked)}


def change(bridge: Bridge, name: str, **asked: Any) -> dict[str, Any]:
    operators.change_operator(bridge, name, **asked)
    return operators.show_operator(bridge, name)


def set_password(bridge: Bridge, name: str, **asked: Any) -> dict[str, Any]:
    operators.set_password(bridge, name, **asked)
    return operators.show_operator(bridge, name)


def renew_totp(bridge: Bridge, name: str, **asked: Any) -> dict[str, Any]:
    return {"name": name, "totp_url": operators.renew_totp(bridge, name, **asked)}


def issue_token(bridge: Bridge, name: str, *, ends_at: datetime | None, **asked: Any) -> dict[str, Any]:
    # Only a form can leave it empty.
    if ends_at is None:
        raise Refused("bad_period", "A token has an end.", field="ends")
    made = operators.issue_token(bridge, operator=name, ends_at=ends_at, **asked)
    return {"id": made.id, "token": made.token}


def revoke_token(bridge: Bridge, token_id: str, **asked: Any) -> dict[str, Any]:
    operators.revoke_token(bridge, token_id, **asked)
    return {"id": token_id, "revoked": True}


def people_lines(people: list[dict[str, Any]]) -> Iterable[str]:
    for person in people:
        state = "active" if person["is_active"] else "disabled"
        state = "locked" if person["is_locked"] else state
        until = person["expires_at"] or "further notice"
        yield f"{person['name']:32}  {person['role']:9}  {state:8}  until {until}"
    yield f"{len(people)} operators"


POLICY_PROPOSE, POLICY_APPROVE = "policy.propose", "policy.approve"


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
        operators.list_operators,
        needs=(MANAGE,),
        api=Api("/v1/operators", "List operators", OperatorsShape),
        command=Command("operator list", "List everybody, the disabled too.", people_lines),
    ),
    Action(
        add,
        asks=NewOperatorBody,
        needs=(MANAGE,),
        api=Api("/v1/operators", "Add an operator", EnrolmentShape, statuses=(201,)),
        command=Command(
            "operator add",
            "Add an operator; the password is asked for, or read from standard input. The first one must be an admin.",
            lambda made: ["Added. For the authenticator app, shown this once:", made["totp_url"]],
            scanned=lambda made: str(made["totp_url"]),
        ),
        form=Form("add_person", path="/people/add", page="person", once="totp_url"),
    ),
    Read(
        operators.show_operator,
        needs=(MANAGE,),
        api=Api("/v1/operators/<name>", "One operator", OperatorShape),
    ),
    Action(
        change,
        asks=OperatorChangeBody,
        needs=(MANAGE,),
        api=Api("/v1/operators/<name>/change", "Change the access", OperatorShape),
        command=Command(
            "operator change",
            "Change an operator's role or the end of their access.",
            lambda person: [f"{person['name']} is changed."],
        ),
        form=ByHand("change_person", "an empty end means none there, and not that it stays"),
    ),
    Action(
        lambda bridge, **asked: change(bridge, is_active="disabled", **asked),
        asks=WhomBody,
        command=Command(
            "operator disable",
            "End an operator's access at once: sessions and tokens with it.",
            lambda person: [f"{person['name']} is disabled."],
        ),
        form=ByHand("set_access", "one form for both, /change in the API"),
    ),
    Action(
        lambda bridge, **asked: change(bridge, is_active="enabled", **asked),
        asks=WhomBody,
        command=Command(
            "operator enable",
            "Give a disabled or locked operator access again.",
            lambda person: [f"{person['name']} is enabled."],
        ),
        form=ByHand("set_access", "one form for both, /change in the API"),
    ),
    Action(
        set_password,
        asks=PasswordBody,
        needs=(MANAGE,),
        api=Api("/v1/operators/<name>/password", "Set a password", OperatorShape),
        command=Command(
            "operator password",
            "Set a new password; it is asked for, or read from standard input.",
            lambda _: ["The password is set; open sessions have ended."],
        ),
        form=Form("set_password", path="/people/<name>/password", done="person_changed", page="person"),
    ),
    Action(
        renew_totp,
        needs=(MANAGE,),
        api=Api("/v1/operators/<name>/totp", "A new one-time secret", EnrolmentShape),
        command=Command(
            "operator totp",
            "Make a new one-time secret for a lost authenticator.",
            lambda made: ["For the authenticator app, shown this once:", made["totp_url"]],
            scanned=lambda made: str(made["totp_url"]),
        ),
        form=Form("renew_totp", path="/people/<name>/totp", page="person", once="totp_url"),
    ),
    Action(
        issue_token,
        asks=NewTokenBody,
        needs=(MANAGE,),
        api=Api("/v1/operators/<name>/tokens", "Make a token", NewTokenShape, statuses=(201,)),
        command=Command(
            "operator token add", "Make a token; it is shown this once.", lambda made: [made["id"], made["token"]]
        ),
        form=Form("issue_token", path="/people/<name>/tokens", page="person", once="token"),
    ),
    Read(
        operators.list_tokens,
        asks=TokenQuery,
        needs=(MANAGE,),
        api=Api("/v1/operator-tokens", "List tokens", TokensShape),
        command=Command("operator token list", "List tokens by id; the tokens themselves nobody has."),
    ),
    Action(
        revoke_token,
        needs=(MANAGE,),
        api=Api("/v1/operator-tokens/<token_id>/revoke", "End a token", RevokedShape),
        command=Command("operator token revoke", "End a token at once.", lambda made: [f"{made['id']} is revoked."]),
        form=Form(
            "revoke_token",
            path="/people/<name>/tokens/<token_id>/revoke",
            done="token_revoked",
            page="person",
            values={"name": "name"},
        ),
    ),
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
        needs=(POLICY_PROPOSE,),
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
        needs=(POLICY_APPROVE,),
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
        needs=(POLICY_APPROVE, POLICY_PROPOSE),
        api=Api("/v1/policy/versions/<int:number>/reject", "Reject", PolicyVersionShape),
        command=Command("policy reject", "End a proposal, or take your own back; what is in force stays.", decided),
        form=Form("reject_policy", path="/policy/<int:number>/reject", done="rejected", page="policy_version"),
    ),
)
