"""Rows for other people's programs: which column comes from which field, written so that no cell becomes a formula.

Owns the map and the writing of one cell; must not read rows or files.
"""

from codecs import getincrementalencoder
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from bridge.core.errors import Refused
from bridge.core.limits import TimeZoneName, like

Cell = str | int | Decimal | datetime | None
# What a spreadsheet takes for the beginning of a formula, or lets one hide behind.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
RFC_3339 = "%Y-%m-%dT%H:%M:%SZ"
DAY_FIRST = "%d.%m.%Y %H:%M:%S"
Encoding = Literal["utf-8", "utf-8-sig", "cp1251"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the output: a field of the row, or always the same value."""

    name: Annotated[str, like("Number")]
    field: Annotated[str | None, like("invoice_id")] = None
    value: Annotated[str, like("BTC")] = ""


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """How rows become lines. All but the columns is for people's and programs' habits.

    Times are in `time_zone`, which is that of the books unless the map names one; RFC 3339 then ends with the zone's offset.
    What an encoding has no letter for is written as its number, such as \\u20bd.
    """

    columns: Annotated[tuple[Column, ...], Field(min_length=1)]
    delimiter: Annotated[str, Field(pattern=r"^[,;\t|]$", description="a comma, a semicolon, | or a tab")] = ","
    decimal_point: Literal[".", ","] = "."
    time_format: str = RFC_3339
    time_zone: TimeZoneName | None = None
    encoding: Encoding = "utf-8"

    @classmethod
    def plain(cls, fields: Sequence[str], *, profile: str | None = None) -> "ColumnMap":
        """Every field under its own name, as one of the PROFILES or as programs read it."""
        columns = tuple(Column(name=field, field=field) for field in fields)
        return replace(PROFILES[profile], columns=columns) if profile else cls(columns=columns)

    def bytes_of(self, chunks: Iterable[str]) -> Iterator[bytes]:
        """The text in its encoding, with one byte order mark where that has one."""
        encoder = getincrementalencoder(self.encoding)(errors="backslashreplace")
        return (encoder.encode(chunk) for chunk in chunks)

    def check(self, fields: Sequence[str]) -> None:
        """Raises Refused("unknown_field") when the map names a field that these rows do not have."""
        unknown = [c.field for c in self.columns if c.field is not None and c.field not in fields]
        if unknown:
            raise Refused("unknown_field", f"There is no field {unknown[0]!r}; there are {', '.join(fields)}.")

    def header(self) -> list[str]:
        return [safe_text(column.name) for column in self.columns]

    def lines(self, rows: Iterable[Mapping[str, Cell]]) -> list[list[str]]:
        """The cells of each row."""
        written, columns = self._writers, [(column.field, column.value) for column in self.columns]
        valued = ([fixed if field is None else row[field] for field, fixed in columns] for row in rows)
        return [[written[type(value)](value) for value in values] for values in valued]

    @cached_property
    def _writers(self) -> Mapping[type, Callable[[Any], str]]:
        """How a value of each type is written. Times and words come many times in a row, and are written once."""
        zone, point = ZoneInfo(self.time_zone or "UTC"), self.decimal_point

        def moment(at: datetime) -> str:
            local = at.astimezone(zone)
            return _rfc_3339(local) if self.time_format == RFC_3339 else local.strftime(self.time_format)

        return {
            type(None): lambda _: "",
            datetime: lru_cache(1_000)(moment),
            Decimal: lambda value: format(value, "f").replace(".", point),
            # Numbers of ours are numbers, also below zero; everything else may have been written by a stranger.
            int: str,
            str: lru_cache(1_000)(safe_text),
        }


def _rfc_3339(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


# By whom a file is read. A spreadsheet in Russian takes "1,50" for a number and "1.50" for a date.
PROFILES: Mapping[str, ColumnMap] = {
    "spreadsheet": ColumnMap(columns=(), encoding="utf-8-sig"),
    "spreadsheet-ru": ColumnMap(
        columns=(), delimiter=";", decimal_point=",", time_format=DAY_FIRST, encoding="utf-8-sig"
    ),
    "1c": ColumnMap(columns=(), delimiter=";", decimal_point=",", time_format=DAY_FIRST, encoding="cp1251"),
}


def safe_text(text: str) -> str:
    """The text with an apostrophe before it when a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text
