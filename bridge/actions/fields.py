"""What the fields of bodies and queries may hold, and how a command and a form ask for them.

Owns the kinds of values and their limits; must not judge an amount, a currency or a right: the flows do.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    create_model,
)

from bridge.invoices.present import View

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("control characters are not allowed")
    return text


def _whole(value: object) -> object:
    """Query values are texts; only plain digits are a number."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,18}", value):
        raise ValueError("must be a whole number")
    return int(value) if isinstance(value, str) else value


def _utc(at: datetime) -> datetime:
    """At the calendar's ends there are times whose UTC would be outside of it."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time between the years 1 and 9999 in UTC") from None


Text = Annotated[str, AfterValidator(_printable)]
# Decimal text such as "10.00": a JSON number is refused, because a float is not money.
DecimalText = Annotated[str, Field(max_length=64, examples=["10.00"])]
Whole = Annotated[int, BeforeValidator(_whole)]
UtcTime = Annotated[AwareDatetime, AfterValidator(_utc)]
Reason = Annotated[Text, Field(min_length=1, max_length=1_000)]
CODE = "code"  # of a text: written for machines, so nobody's spelling
Address = Annotated[Text, Field(max_length=4_400), CODE]
Txid = Annotated[Text, Field(max_length=64), CODE]
Sat = Annotated[int, Field(ge=1, le=2_100_000_000_000_000)]
Id = Annotated[Text, Field(max_length=64)]
Password = Annotated[SecretStr, Field(max_length=1_024)]


class Body(BaseModel):
    """What every body and query has in common: no unknown member, no guessed type.

    A field is called as the flow's keyword; where the JSON says it otherwise, that is its alias.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Matching(Body):
    """A query whose members but for PAGING are what the flow's keyword `match` is made of."""


def answer(name: str, told: str, /, **members: Any) -> type[View]:
    """A small answer by its name and its sentence in /openapi.json, with the types of its members."""
    fields: dict[str, Any] = {member: (kind, ...) for member, kind in members.items()}
    return create_model(name, __base__=View, __doc__=told, **fields)


PAGING = frozenset({"limit", "cursor"})


class ReasonBody(Body):
    """Why."""

    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Argument:
    """A command takes this field by its place."""

    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Option:
    """A command takes this field by name: `flag`, or the field's own. What the API requires may have a default here."""

    flag: str = ""
    help: str = ""
    default: Any = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Input:
    """A form calls this field so."""

    name: str


PageSize = Annotated[Whole, Field(ge=1, le=200)]
Limit = Annotated[PageSize, Option()]
Cursor = Annotated[Annotated[str, Field(max_length=200)] | None, Option(help="The next_cursor of the page before.")]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One field as the makers see it: `kind` is str, int, bool, datetime or SecretStr; a command without `by` leaves it out."""

    name: str
    kind: type
    choices: tuple[str, ...]
    is_required: bool
    default: Any
    by: Argument | Option | None
    input_name: str
    longest: int
    is_code: bool


def asked_of(model: type[BaseModel]) -> Iterator[Asked]:
    """Every field but the reason, which is asked for in the same way everywhere."""
    for name, info in model.model_fields.items():
        if name == "reason":
            continue
        kind, choices = _kind_of(info.annotation)
        yield Asked(
            name=name,
            kind=kind,
            choices=choices,
            is_required=info.is_required(),
            default=None if info.is_required() else info.default,
            by=next((each for each in info.metadata if isinstance(each, Argument | Option)), None),
            input_name=next((each.name for each in info.metadata if isinstance(each, Input)), name),
            longest=max((getattr(each, "max_length", 0) for each in info.metadata), default=0),
            is_code=CODE in info.metadata,
        )


def given_of(body: BaseModel) -> dict[str, Any]:
    """What a body holds as keywords of the flow; a secret is out of its wrapping."""
    values = {name: getattr(body, name) for name in type(body).model_fields}
    return {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in values.items()}


def matched(query: type[Body], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a query holds as keywords of the flow; a member that was left out matches everything."""
    if not issubclass(query, Matching):
        return dict(given)
    paging = {name: value for name, value in given.items() if name in PAGING}
    return paging | {
        "match": {name: value for name, value in given.items() if name not in PAGING and value is not None}
    }


def _kind_of(annotation: Any) -> tuple[type, tuple[str, ...]]:
    """What is in it without None and limits, and what it may be."""
    if get_origin(annotation) is Annotated:
        return _kind_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _kind_of(next(each for each in get_args(annotation) if each is not type(None)))
    if get_origin(annotation) is Literal:
        return str, get_args(annotation)
    return (datetime if annotation is AwareDatetime else annotation), ()
