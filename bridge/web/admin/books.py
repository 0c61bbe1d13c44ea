"""Pages for finance: the list of invoices with its filters, and files to download.

Owns these pages; must not decide or change anything: what a file holds is `bridge.books.export`'s.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from flask import Response, request

from bridge.books.export import FIELDS, KINDS, beancount, export
from bridge.core.columns import PROFILES, ColumnMap
from bridge.core.errors import Refused
from bridge.core.invoice import EXCEPTIONS, STATUSES
from bridge.desk.invoice_list import FILTERS, MOST_COUNTED, MOVED, ORDERS, Narrowed, list_narrowed, narrowed_by
from bridge.web.admin.door import bridge, chosen, page, render, texts

ASKED = (*FILTERS, "moved", "from", "to", "order")
# What a file may be: as one of the profiles reads it, or in another format.
FILES = {**{name: ("csv", name) for name in PROFILES}, "csv": ("csv", None), "jsonl": ("jsonl", None)}
_BEGIN = datetime(2009, 1, 3, tzinfo=UTC)


@page("/invoices")
def invoice_list() -> str:
    """What the filters leave, with totals; the address keeps them, so that it may be passed on."""
    asked = chosen(*ASKED)
    found = list_narrowed(bridge(), asked, cursor=request.args.get("cursor", ""))
    return render(
        "invoices.html",
        **found,
        asked=asked,
        merchants=list(bridge().merchants),
        choices={
            "status": STATUSES,
            "exception": [each for each in EXCEPTIONS if each != "none"],
            "order": ORDERS,
            "moved": list(MOVED),
        },
        currencies=sorted({code for each in bridge().merchants.values() for code in each.currencies}),
        most=MOST_COUNTED,
        files=list(FILES),
        time_zone=bridge().calendar.time_zone,
    )


@page("/invoices.csv")
def invoice_file() -> Response:
    """The invoices that the list shows under the same filters, all of them."""
    narrowed = narrowed_by(bridge(), chosen(*ASKED))
    ends = {"from_at": narrowed.from_at or _BEGIN, "to_at": narrowed.to_at or bridge().clock() + timedelta(days=1)}
    return _file("invoices", as_file=request.args.get("file", _usual()), narrowed=narrowed, **ends)


@page("/exports")
def exports() -> str:
    """Which books there are, and a form for each to take a period of it away."""
    today = bridge().calendar.day_of(bridge().clock())
    month = (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    return render(
        "exports.html",
        kinds=KINDS,
        files=[*FILES, "beancount"],
        usual=_usual(),
        first=month,
        last=today.replace(day=1) - timedelta(days=1),
        time_zone=bridge().calendar.time_zone,
    )


@page("/exports/file")
def export_file() -> Response:
    """One kind of book over days of the books, both ends included."""
    narrowed = narrowed_by(bridge(), chosen("from", "to"))
    if narrowed.from_at is None or narrowed.to_at is None:
        raise Refused("bad_period", "Name the first and the last day.", field="from" if not narrowed.from_at else "to")
    kind, as_file = request.args.get("kind", "journal"), request.args.get("file", _usual())
    return _file(kind, as_file=as_file, narrowed=narrowed, from_at=narrowed.from_at, to_at=narrowed.to_at)


def _usual() -> str:
    return "spreadsheet-ru" if texts().code == "ru" else "spreadsheet"


def _file(kind: str, *, as_file: str, narrowed: Narrowed, from_at: datetime, to_at: datetime) -> Response:
    """The whole file, a page of rows at a time. Raises Refused before its first byte."""
    if as_file == "beancount":
        return _download(beancount(bridge(), from_at=from_at, to_at=to_at), "journal.beancount", "text/plain")
    if as_file not in FILES:
        raise Refused("unknown_format", f"The file must be one of {', '.join(FILES)}, beancount.", field="file")
    form, profile = FILES[as_file]
    columns = ColumnMap.plain(FIELDS.get(kind, ()), profile=profile)
    text = export(bridge(), kind=kind, format=form, from_at=from_at, to_at=to_at, columns=columns, narrowed=narrowed)
    days = [bridge().calendar.day_of(at).isoformat() for at in (from_at, to_at - timedelta(seconds=1))]
    name = f"{kind}-{'-'.join(days) if from_at != _BEGIN else days[-1]}.{form}"
    if form == "csv":
        return _download(columns.bytes_of(text), name, f"text/csv; charset={columns.encoding.removesuffix('-sig')}")
    return _download(text, name, "application/jsonl")


def _download(chunks: Iterable[str] | Iterable[bytes], name: str, kind: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Accel-Buffering": "no"}
    return Response(chunks, content_type=kind, headers=headers)
