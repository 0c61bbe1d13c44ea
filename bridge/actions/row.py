"""One row of the table: a flow that a person may call, and how it is called on a page, over HTTP and as a command; what the fields of
its body or query may hold, and how a command and a form ask for them.

Owns the form of a row, the kinds of values and their limits; must not know a flow, nor who makes what of a row, nor judge an amount, a
currency or a right: the flows do.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

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

from bridge.core.plain import as_json
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


def nothing(_: Any) -> Iterable[str]:
    return ()


# The columns of a table are known by their places; all else has its name.
@dataclass(frozen=True)
class Api:
    """The route of a row, and what OpenAPI says of it. `by_hand`: why its code is not made of the row."""

    path: str
    summary: str
    answer: type[BaseModel]
    statuses: tuple[int, ...] = field(default=(200,), kw_only=True)
    by_hand: str = field(default="", kw_only=True)

    @property
    def places(self) -> dict[str, type]:
        """The values in the path, in their order."""
        return {name: int if kind else str for kind, name in re.findall(r"<(int:)?(\w+)>", self.path)}

    def json_of(self, result: Any) -> Any:
        """The answer: the result, or what has it as its only member."""
        if isinstance(result, dict):
            return result
        (member,) = self.answer.model_fields
        return {member: result}


@dataclass(frozen=True)
class Command:
    """The words of a command and its help; `said` makes its lines of the result, `beside` those on standard error.

    `scanned`: the text of the result that a terminal draws as a QR code.
    """

    words: str
    help: str
    said: Callable[[Any], Iterable[str]] = as_json
    beside: Callable[[Any], Iterable[str]] = field(default=nothing, kw_only=True)
    scanned: Callable[[Any], str] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Form:
    """A form by its endpoint, and which page follows with which sentence (`done`, a code).

    `path`: where it is sent; without it where the API takes the same. `values` of the next page's address are found among the
    form's own and the result's; without it they are those of the form's address.
    `once`: no page follows, the answer itself shows this secret of the result.
    `shown`: where this is true of what the page has, the page draws the form by itself, in its slot, in the way of `look`;
    its words are desk.forms.<endpoint>. Without it a template draws it.
    """

    endpoint: str
    path: str = field(default="", kw_only=True)
    done: str | Callable[[Any], str] = field(default="", kw_only=True)
    page: str = field(kw_only=True)
    values: Mapping[str, str] | None = field(default=None, kw_only=True)
    once: str = field(default="", kw_only=True)
    shown: Callable[[Mapping[str, Any]], bool] | None = field(default=None, kw_only=True)
    look: Literal["open", "quiet", "folded"] = field(default="folded", kw_only=True)


@dataclass(frozen=True)
class ByHand:
    """A command (its words) or a form (its endpoint) that has code of its own, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Row:
    """What actions and reads have in common.

    `do` gets the bridge, the values in the route's path by their places, then what the model `asks` as keywords. One of the
    permissions in `needs` lets a person in, none of them nobody. What has no route, command or form is not to be had there.
    """

    method: ClassVar[str]

    do: Callable[..., Any]
    _: KW_ONLY
    asks: type[Body] = Body
    needs: tuple[str, ...] = ()
    api: Api | None = None
    command: Command | ByHand | None = None

    @property
    def places(self) -> dict[str, type]:
        return self.api.places if self.api else {}


@dataclass(frozen=True)
class Action(Row):
    """What changes something: `do` gets `actor` and `reason` too and, when it is `keyed`, `key`: the same one acts once."""

    method = "POST"

    _: KW_ONLY
    asks: type[Body] = ReasonBody
    keyed: bool = False
    form: Form | ByHand | None = None

    @property
    def sent_to(self) -> str:
        """Where its form is sent, under the desk's own address."""
        named = self.form.path if isinstance(self.form, Form) else ""
        return named or (self.api.path.removeprefix("/v1") if self.api else "")


@dataclass(frozen=True)
class Read(Row):
    """What only looks. The members of a Matching query but for PAGING are the keyword `match`."""

    method = "GET"

    _: KW_ONLY
    needs: tuple[str, ...] = ("read",)
