"""The books of a period as text: CSV and JSON lines, under one's own column names.

Owns the two formats; the rows are `books.export_rows`', what makes a cell harmless `core.columns`'.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from bridge.books.cells import Row
from bridge.books.export_rows import FIELDS, KINDS, rows_of
from bridge.context import Bridge
from bridge.core.columns import Cell, ColumnMap
from bridge.core.errors import Refused
from bridge.invoices.present import time_text

FORMATS = ("csv", "jsonl")


def export(
    bridge: Bridge, *, kind: str, format: str, from_at: datetime, to_at: datetime, columns: ColumnMap | None = None
) -> Iterator[str]:
    """The text of the export, a page at a time.

    Raises Refused before the first line: unknown_kind, unknown_format, empty_period, unknown_field.
    """
    if kind not in FIELDS:
        raise Refused("unknown_kind", f"The kind must be one of {', '.join(KINDS)}.", field="kind")
    if format not in FORMATS:
        raise Refused("unknown_format", f"The format must be one of {', '.join(FORMATS)}.", field="format")
    if from_at >= to_at:
        raise Refused("empty_period", "The period ends before it begins.", field="to")
    chosen = columns or ColumnMap.plain(FIELDS[kind])
    chosen.check(FIELDS[kind])
    pages = rows_of(bridge, kind=kind, from_at=from_at, to_at=to_at)
    return _csv(pages, chosen) if format == "csv" else _json_lines(pages, chosen)


def _csv(pages: Iterator[list[Row]], columns: ColumnMap) -> Iterator[str]:
    yield _csv_lines([columns.header()], columns.delimiter)
    for page in pages:
        yield _csv_lines([columns.line(row) for row in page], columns.delimiter)


def _csv_lines(lines: Sequence[Sequence[str]], delimiter: str) -> str:
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator="\r\n").writerows(lines)
    return written.getvalue()


def _json_lines(pages: Iterator[list[Row]], columns: ColumnMap) -> Iterator[str]:
    """Satoshi and ids as numbers, money of a currency as decimal text, times as RFC 3339."""
    for page in pages:
        lines = []
        for row in page:
            named = {c.name: c.value if c.field is None else _json_value(row[c.field]) for c in columns.columns}
            lines.append(json.dumps(named, ensure_ascii=False) + "\n")
        yield "".join(lines)


def _json_value(value: Cell) -> str | int | None:
    if isinstance(value, datetime):
        return time_text(value)
    return format(value, "f") if isinstance(value, Decimal) else value
