"""One row of the table: a flow that a person may call, and how it is called on a page, over HTTP and as a command.

Owns the form of a row; must not know a flow, nor who makes what of it.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel

from bridge.actions.fields import Body, ReasonBody


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """A command (its words), a form (its endpoint) or a route that no maker could make, and why; it has code of its own."""

    name: str = ""
    why: str


@dataclass(frozen=True, kw_only=True)
class Form:
    """Where a form is sent, and which page follows: `values` of its address are found among the form's own and the result.

    `done` is the code of the sentence on that page. Without `values` the page has those of the form's address.
    """

    path: str
    endpoint: str
    done: str | Callable[[Any], str]
    page: str
    values: Mapping[str, str] | None = None


def as_json(shown: Any) -> list[str]:
    """JSON for people: indented, in the writer's own letters."""
    return [json.dumps(shown, indent=2, ensure_ascii=False, default=str)]


def nothing(_: Any) -> Iterable[str]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Row:
    """What actions and reads have in common.

    `do` gets the bridge, the values in `path` by their places, then keywords. Its result is the answer, or the answer's
    only member when it is no dict. `said` makes the command's lines of it, `beside` those on standard error.
    One of the permissions in `needs` lets a person in, none of them nobody. A row without `path` is no part of the API, one
    without `command` none of the command line.
    """

    method: ClassVar[str]

    do: Callable[..., Any]
    path: str = ""
    needs: tuple[str, ...] = ()
    answer: type[BaseModel] | None = None
    summary: str = ""
    route: ByHand | None = None
    command: str | ByHand = ""
    help: str = ""
    said: Callable[[Any], Iterable[str]] = as_json
    beside: Callable[[Any], Iterable[str]] = nothing

    @property
    def asks(self) -> type[Body]:
        """Its body or query; one without members asks nothing."""
        raise NotImplementedError

    @property
    def places(self) -> dict[str, type]:
        """The values in the path, in their order."""
        return {name: int if kind else str for kind, name in re.findall(r"<(int:)?(\w+)>", self.path)}

    def answer_of(self, result: Any) -> Any:
        """The JSON of a result."""
        if isinstance(result, dict) or self.answer is None:
            return result
        (member,) = self.answer.model_fields
        return {member: result}


@dataclass(frozen=True, kw_only=True)
class Action(Row):
    """What changes something: `do` gets the body's fields, `actor`, `reason` and, when it is `keyed`, `key`."""

    method = "POST"

    body: type[Body] = ReasonBody
    statuses: tuple[int, ...] = (200,)
    keyed: bool = False
    form: Form | ByHand | None = None

    @property
    def asks(self) -> type[Body]:
        return self.body


@dataclass(frozen=True, kw_only=True)
class Read(Row):
    """What only looks: `do` gets the query's fields, those of a Matching query but for PAGING as `match`."""

    method = "GET"

    needs: tuple[str, ...] = ("read",)
    query: type[Body] = Body

    @property
    def asks(self) -> type[Body]:
        return self.query
