"""Owns reading the tables that modules select from. It must not write: a status changes only through functions."""

from __future__ import annotations

from typing import Any

from .calls import Mgrctl
from .exception import XmlException


class Record(dict[str, Any]):
    """One row with typed access."""

    def as_str(self, name: str) -> str:
        """A column as text; NULL is empty."""
        return "" if self[name] is None else str(self[name])

    def as_int(self, name: str) -> int:
        """A column as an integer."""
        return int(self[name])


def db_query(query: str, *arguments: Any) -> list[Record]:
    """The rows of a SELECT with `%s` marks, over a snapshot of the sandbox's tables."""
    params = {f"p{number}": value for number, value in enumerate(arguments)}
    answer = Mgrctl("sandbox.select", query=query, count=len(arguments), **params)
    return [Record({name: _typed(cell) for name, cell in row.items()}) for row in answer.get("elem", [])]


def _typed(cell: Any) -> Any:
    if not isinstance(cell, dict):
        return cell
    return int(cell["$"]) if cell["$type"] == "int" else None


def get_first_record(query: str, *arguments: Any) -> Record | None:
    """The first row, or None."""
    return next(iter(db_query(query, *arguments)), None)


def get_first_record_unwrap(query: str, *arguments: Any) -> Record:
    """The first row. Raises XmlException when there is none."""
    found = get_first_record(query, *arguments)
    if found is None:
        raise XmlException("missed", "record")
    return found
