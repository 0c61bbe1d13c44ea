"""Rows for other people's programs: which column comes from which field, written so that no cell becomes a formula.

Owns the map and the writing of one cell; must not read rows or files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from bridge.core.errors import Refused

Cell = str | int | Decimal | datetime | None
# What a spreadsheet takes for the beginning of a formula, or lets one hide behind.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
RFC_3339 = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the output: a field of the row, or always the same value."""

    name: str
    field: str | None = None
    value: str = ""


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """How rows become lines. `decimal_point` and `time_format` are for people's and programs' habits."""

    columns: Annotated[tuple[Column, ...], Field(min_length=1)]
    delimiter: Annotated[str, Field(pattern=r"^[,;\t|]$")] = ","
    decimal_point: Literal[".", ","] = "."
    time_format: str = RFC_3339

    @classmethod
    def plain(cls, fields: Sequence[str]) -> "ColumnMap":
        """Every field under its own name."""
        return cls(columns=tuple(Column(name=field, field=field) for field in fields))

    def check(self, fields: Sequence[str]) -> None:
        """Raises Refused("unknown_field") when the map names a field that these rows do not have."""
        unknown = [c.field for c in self.columns if c.field is not None and c.field not in fields]
        if unknown:
            raise Refused("unknown_field", f"There is no field {unknown[0]!r}; there are {', '.join(fields)}.")

    def header(self) -> list[str]:
        return [safe_text(column.name) for column in self.columns]

    def line(self, row: Mapping[str, Cell]) -> list[str]:
        """The cells of one row."""
        return [self._cell(column.value if column.field is None else row[column.field]) for column in self.columns]

    def _cell(self, value: Cell) -> str:
        if value is None:
            return ""
        if isinstance(value, datetime):
            return value.astimezone(UTC).strftime(self.time_format)
        if isinstance(value, Decimal):
            return format(value, "f").replace(".", self.decimal_point)
        # Numbers of ours are numbers, also below zero; everything else may have been written by a stranger.
        return str(value) if isinstance(value, int) else safe_text(value)


def safe_text(text: str) -> str:
    """The text with an apostrophe before it when a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text
