"""The part of the OpenAPI document about operators and their tokens.

Owns its paths and shapes; must not describe what no route serves: a test compares both.
"""

from typing import Any

from pydantic import BaseModel

from bridge.web.desk_bodies import ReasonBody
from bridge.web.openapi_parts import Shape, json_of, path_of, query_of, secured_of
from bridge.web.people_bodies import NewOperatorBody, NewTokenBody, OperatorChangeBody, PasswordBody, TokenQuery


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


PEOPLE_MODELS: tuple[type[BaseModel], ...] = (
    NewOperatorBody,
    OperatorChangeBody,
    PasswordBody,
    NewTokenBody,
    TokenShape,
    OperatorShape,
    OperatorsShape,
    EnrolmentShape,
    TokensShape,
    NewTokenShape,
    RevokedShape,
)


def people_paths() -> dict[str, Any]:
    """What an admin calls."""
    person, named = json_of(OperatorShape), [path_of("name")]
    return {
        "/v1/operators": {
            "get": secured_of("List operators", json_of(OperatorsShape)),
            "post": secured_of("Add an operator", {"201": json_of(EnrolmentShape)}, body=NewOperatorBody),
        },
        "/v1/operators/{name}": {"get": secured_of("One operator", person, parameters=named)},
        "/v1/operators/{name}/change": {
            "post": secured_of("Change the access", person, body=OperatorChangeBody, parameters=named)
        },
        "/v1/operators/{name}/password": {
            "post": secured_of("Set a password", person, body=PasswordBody, parameters=named)
        },
        "/v1/operators/{name}/totp": {
            "post": secured_of("A new one-time secret", json_of(EnrolmentShape), body=ReasonBody, parameters=named)
        },
        "/v1/operators/{name}/tokens": {
            "post": secured_of("Make a token", {"201": json_of(NewTokenShape)}, body=NewTokenBody, parameters=named)
        },
        "/v1/operator-tokens": {
            "get": secured_of("List tokens", json_of(TokensShape), parameters=query_of(TokenQuery))
        },
        "/v1/operator-tokens/{token_id}/revoke": {
            "post": secured_of("End a token", json_of(RevokedShape), body=ReasonBody, parameters=[path_of("token_id")])
        },
    }
