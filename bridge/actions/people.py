"""Operators and their tokens: what an admin does and reads.

Owns these rows; what is shown once (a token, a one-time secret) is in no other answer.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from bridge.actions.fields import Argument, Body, Id, Option, Password, Reason, Shape, Text, UtcTime
from bridge.actions.row import Action, ByHand, Form, Read, Row
from bridge.core.roles import ROLES
from bridge.flows import operators
from bridge.flows.context import Bridge
from bridge.flows.operators import MANAGE

Role = Literal["viewer", "support", "finance", "approver", "admin"]
ROLE_NAMES = tuple(sorted(ROLES))
UNTIL = "The day their access ends, UTC."


class NewOperatorBody(Body):
    """A person who may act from now on, until `expires_at`."""

    name: Annotated[Id, Argument()]
    role: Annotated[Role, Option(choices=ROLE_NAMES)]
    password: Password
    expires_at: Annotated[UtcTime | None, Option(flag="--expires", help=UNTIL)] = None
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
        UtcTime | None, Option(flag="--from", help="Good from this day on, UTC (default: at once).")
    ] = None
    ends_at: Annotated[UtcTime, Option(flag="--until", help="Good until this day, UTC.")]
    note: Annotated[Text, Field(max_length=200), Option(help="What it is for.")] = ""
    reason: Reason


class TokenQuery(Body):
    """Whose tokens."""

    operator: Annotated[Id | None, Option(help="Only this operator's.")] = None


class TokenShape(Shape):
    """An API token of an operator, without the token."""

    id: str
    operator: str
    role: str
    note: str
    starts_at: str
    ends_at: str
    revoked_at: str | None


class OperatorShape(Shape):
    """A person who may act, or might once."""

    name: str
    role: str
    is_active: bool
    is_locked: bool
    expires_at: str | None
    created_at: str
    created_by: str
    tokens: list[TokenShape] | None = None


class OperatorsShape(Shape):
    """Everybody, the disabled too."""

    operators: list[OperatorShape]


class EnrolmentShape(Shape):
    """What the person's authenticator app scans, shown this once."""

    name: str
    totp_url: str


class TokensShape(Shape):
    """Tokens by id."""

    tokens: list[TokenShape]


class NewTokenShape(Shape):
    """The token itself, shown this once."""

    id: str
    token: str


class RevokedShape(Shape):
    """A token that is over."""

    id: str
    revoked: bool


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


def issue_token(bridge: Bridge, name: str, **asked: Any) -> dict[str, Any]:
    made = operators.issue_token(bridge, operator=name, **asked)
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


GROUPS = {
    "operator": "People who may act, and what each of them may do.",
    "operator token": "API tokens of operators.",
}
SECRET_PAGE = "the answer shows a secret, this once, instead of leading to another page"

ROWS: tuple[Row, ...] = (
    Read(
        do=operators.list_operators,
        path="/v1/operators",
        needs=(MANAGE,),
        answer=OperatorsShape,
        summary="List operators",
        command="operator list",
        help="List everybody, the disabled too.",
        said=people_lines,
    ),
    Action(
        do=add,
        path="/v1/operators",
        needs=(MANAGE,),
        body=NewOperatorBody,
        answer=EnrolmentShape,
        statuses=(201,),
        summary="Add an operator",
        command="operator add",
        help="Add an operator; the password is asked for, or read from standard input. The first one must be an admin.",
        said=lambda made: ["Added. For the authenticator app, shown this once:", made["totp_url"]],
        form=ByHand(name="add_person", why=SECRET_PAGE),
    ),
    Read(
        do=operators.show_operator,
        path="/v1/operators/<name>",
        needs=(MANAGE,),
        answer=OperatorShape,
        summary="One operator",
    ),
    Action(
        do=change,
        path="/v1/operators/<name>/change",
        needs=(MANAGE,),
        body=OperatorChangeBody,
        answer=OperatorShape,
        summary="Change the access",
        command="operator change",
        help="Change an operator's role or the end of their access.",
        said=lambda person: [f"{person['name']} is changed."],
        form=ByHand(name="change_person", why="an empty end means none there, and not that it stays"),
    ),
    Action(
        do=lambda bridge, **asked: change(bridge, is_active="disabled", **asked),
        body=WhomBody,
        command="operator disable",
        help="End an operator's access at once: sessions and tokens with it.",
        said=lambda person: [f"{person['name']} is disabled."],
        form=ByHand(name="set_access", why="one form for both, /change in the API"),
    ),
    Action(
        do=lambda bridge, **asked: change(bridge, is_active="enabled", **asked),
        body=WhomBody,
        command="operator enable",
        help="Give a disabled or locked operator access again.",
        said=lambda person: [f"{person['name']} is enabled."],
        form=ByHand(name="set_access", why="one form for both, /change in the API"),
    ),
    Action(
        do=set_password,
        path="/v1/operators/<name>/password",
        needs=(MANAGE,),
        body=PasswordBody,
        answer=OperatorShape,
        summary="Set a password",
        command="operator password",
        help="Set a new password; it is asked for, or read from standard input.",
        said=lambda _: ["The password is set; open sessions have ended."],
        form=Form(path="/people/<name>/password", endpoint="set_password", done="person_changed", page="person"),
    ),
    Action(
        do=renew_totp,
        path="/v1/operators/<name>/totp",
        needs=(MANAGE,),
        answer=EnrolmentShape,
        summary="A new one-time secret",
        command="operator totp",
        help="Make a new one-time secret for a lost authenticator.",
        said=lambda made: ["For the authenticator app, shown this once:", made["totp_url"]],
        form=ByHand(name="renew_totp", why=SECRET_PAGE),
    ),
    Action(
        do=issue_token,
        path="/v1/operators/<name>/tokens",
        needs=(MANAGE,),
        body=NewTokenBody,
        answer=NewTokenShape,
        statuses=(201,),
        summary="Make a token",
        command="operator token add",
        help="Make a token; it is shown this once.",
        said=lambda made: [made["id"], made["token"]],
        form=ByHand(name="issue_token", why=SECRET_PAGE),
    ),
    Read(
        do=operators.list_tokens,
        path="/v1/operator-tokens",
        needs=(MANAGE,),
        query=TokenQuery,
        answer=TokensShape,
        summary="List tokens",
        command="operator token list",
        help="List tokens by id; the tokens themselves nobody has.",
    ),
    Action(
        do=revoke_token,
        path="/v1/operator-tokens/<token_id>/revoke",
        needs=(MANAGE,),
        answer=RevokedShape,
        summary="End a token",
        command="operator token revoke",
        help="End a token at once.",
        said=lambda made: [f"{made['id']} is revoked."],
        form=Form(
            path="/people/<name>/tokens/<token_id>/revoke",
            endpoint="revoke_token",
            done="token_revoked",
            page="person",
            values={"name": "name"},
        ),
    ),
)
