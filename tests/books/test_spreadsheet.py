"""An export as a real spreadsheet opens it: LibreOffice reads the file, and every cell is what the books say.

`make test` installs LibreOffice; elsewhere this is skipped with a reason.
"""

import os
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bridge.books.export import FIELDS, export, rows_of
from bridge.core.books import Calendar
from bridge.core.columns import ColumnMap, safe_text
from tests.books.runs import paid

EARLY, LATE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
SOFFICE = shutil.which("soffice")
pytestmark = [
    pytest.mark.skipif(
        SOFFICE is None and "CI" not in os.environ, reason="LibreOffice is not installed; `make test` installs it"
    ),
    pytest.mark.parametrize("engine_name", ["sqlite"]),
]
OFFICE, TABLE, TEXT = (f"{{urn:oasis:names:tc:opendocument:xmlns:{name}:1.0}}" for name in ("office", "table", "text"))
# A semicolon, quotes, the letters (UTF-8, Windows-1251), from the first line on, as somebody in Russia opens it: numbers with a
# decimal comma, days first.
OPENED = "CSV:59,34,{letters},1,,1049,false,true"


def cells_of(path: Path, *, letters: int) -> list[list[tuple[str, str]]]:
    """The file's rows as LibreOffice has them: the type of each cell and its value."""
    assert SOFFICE is not None
    words = [SOFFICE, f"-env:UserInstallation=file://{path.parent}/profile", "--headless"]
    words += [f"--infilter={OPENED.format(letters=letters)}", "--convert-to", "fods", "--outdir", str(path.parent)]
    done = subprocess.run([*words, str(path)], capture_output=True, text=True, timeout=300)
    made = path.with_suffix(".fods")
    assert made.exists(), done.stdout + done.stderr
    # A file of our own making, read by a parser that fetches nothing.
    rows = ElementTree.parse(made).getroot().iter(f"{TABLE}table-row")
    found = [[each for cell in row for each in _cell(cell)] for row in rows]
    return [row for row in found if any(kind for kind, _ in row)]


def _cell(cell: ElementTree.Element) -> list[tuple[str, str]]:
    assert cell.get(f"{TABLE}formula") is None, "no cell is a formula"
    kind = cell.get(f"{OFFICE}value-type") or ""
    text = "\n".join("".join(line.itertext()) for line in cell.iter(f"{TEXT}p"))
    value = cell.get(f"{OFFICE}value") or cell.get(f"{OFFICE}date-value") or text
    many = int(cell.get(f"{TABLE}number-columns-repeated") or 1)
    # The empty rest of the sheet is one cell, repeated.
    return [(kind, value)] * (many if many < 100 else 0)


def expected(value: object, calendar: Calendar) -> tuple[str, str]:
    if value is None or value == "":
        return "", ""
    if isinstance(value, datetime):
        return "date", calendar.local(value).strftime("%Y-%m-%dT%H:%M:%S")
    if isinstance(value, Decimal | int):
        return "float", f"{value:f}" if isinstance(value, Decimal) else str(value)
    text = str(value)
    return ("float", text) if text.isascii() and text.isdecimal() else ("string", safe_text(text))


def same(found: tuple[str, str], wanted: tuple[str, str]) -> bool:
    if wanted[0] == "float":
        return found[0] == "float" and Decimal(found[1]) == Decimal(wanted[1])
    # Parts of a second are no part of the file.
    return (found[0], found[1].partition(".")[0] if wanted[0] == "date" else found[1]) == wanted


@pytest.mark.parametrize(("profile", "letters"), [("spreadsheet-ru", 76), ("1c", 34)])
@pytest.mark.parametrize("kind", ["settlements", "journal"])
def test_every_cell_of_an_export_is_what_the_books_say(world, tmp_path: Path, profile: str, letters: int, kind: str):
    paid(world, "7", customer_id="42", service_ref="vps-1", description="Аренда VPS; «Старт», =1+1")
    paid(world, "8", customer_id="=cmd", description="=1+1")
    shop = replace(world.bridge, calendar=Calendar(time_zone="Europe/Moscow"))
    period = {"kind": kind, "from_at": EARLY, "to_at": LATE}
    columns = ColumnMap.plain(FIELDS[kind], profile=profile)
    path = tmp_path / "books.csv"
    path.write_bytes(b"".join(columns.bytes_of(export(shop, format="csv", columns=columns, **period))))
    header, *lines = cells_of(path, letters=letters)
    assert [text for _, text in header] == list(FIELDS[kind])
    booked = [row for page in rows_of(shop, **period) for row in page]
    assert len(lines) == len(booked) >= 2
    for line, row in zip(lines, booked, strict=True):
        # What is empty at the end of a line is no cell.
        line += [("", "")] * (len(FIELDS[kind]) - len(line))
        for name, found in zip(FIELDS[kind], line, strict=True):
            assert same(found, expected(row[name], shop.calendar)), (name, found, row[name])
