"""The JSON bodies and queries about operators and their tokens, strictly typed.

Owns their shapes; must not judge a name, a password or a right: the flows do.
"""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from bridge.web.bodies import Body, Text, UtcTime
from bridge.web.desk_bodies import Id, Reason

Role = Literal["viewer", "support", "finance", "approver", "admin"]
Password = Annotated[SecretStr, Field(max_length=1_024)]


class NewOperatorBody(Body):
    """A person who may act from now on, until `expires_at`."""

    name: Id
    role: Role
    password: Password
    expires_at: UtcTime | None = None
    reason: Reason


class OperatorChangeBody(Body):
    """Another role, another end (`endless`: none), or access given and taken; what is left out stays."""

    role: Role | None = None
    expires_at: UtcTime | None = None
    endless: bool = False
    access: Literal["enabled", "disabled"] | None = None
    reason: Reason


class PasswordBody(Body):
    """A new password."""

    password: Password
    reason: Reason


class NewTokenBody(Body):
    """An API token with the operator's own role, or viewer; without a start it is good at once."""

    role: Role
    starts_at: UtcTime | None = None
    ends_at: UtcTime
    note: Annotated[Text, Field(max_length=200)] = ""
    reason: Reason


class TokenQuery(Body):
    """Whose tokens."""

    operator: Id | None = None
