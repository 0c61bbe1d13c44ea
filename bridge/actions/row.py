"""One row of the table: a flow that a person may call, and how it is called on a page, over HTTP and as a command.

Owns the form of a row; must not know a flow, nor who makes what of it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from bridge.actions.fields import Body, ReasonBody
from bridge.core.plain import as_json


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
