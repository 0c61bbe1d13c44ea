"""The first page: today's money, what waits for a person, whether all is well, how the last days went; and the search.

Owns these pages; the figures are `desk.day_report`'s.
"""

from datetime import UTC, date
from urllib.parse import quote

from flask import Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from bridge.core.errors import Refused
from bridge.core.money import btc_text, minor_text
from bridge.desk.day_report import report
from bridge.desk.desk import Day, delivery_counts, open_review_counts, series
from bridge.desk.explain import find
from bridge.desk.mark_settled import list_marks
from bridge.invoices.read_invoices import list_invoices
from bridge.language import Texts
from bridge.upkeep.check import alerts, readiness
from bridge.web.admin.charts import Chart, bars, levels
from bridge.web.admin.door import bridge, page, render, texts
from bridge.web.admin.lists import chosen
from bridge.web.context import here

# Where ids of other things than invoices are shown, by how they begin.
PLACES = {"rev_": "reviews", "dlv_": "deliveries", "pay_": "payouts", "rec_": "reconciliation"}


@page("/")
def today() -> str:
    """The UTC day in figures that add up."""
    now = bridge().clock().astimezone(UTC)
    day = _day(request.args.get("day", "")) or now.date()
    days = series(bridge())
    return render(
        "today.html",
        report=report(bridge(), day),
        day=day,
        is_today=day == now.date(),
        reviews=open_review_counts(bridge()),
        marks=len(list_marks(bridge(), match={"state": "proposed"})),
        deliveries=delivery_counts(bridge()),
        days=days,
        charts=charts(days),
    )


@page("/health")
def health() -> str:
    """Readiness and alerts, asked outside now: a part of its own, so that the figures need not wait for it."""
    part = "health_part.html" if "part" in request.args else "health.html"
    return render(part, checks=readiness(bridge()), alerts=alerts(bridge(), **vars(here().watching())))


@page("/search")
def search() -> AnyResponse:
    """One invoice opens at once, several are listed; any reference will do."""
    wanted = request.args.get("q", "").strip()[:200]
    found = find(bridge(), wanted) if wanted else []
    if len(found) == 1:
        return redirect(url_for("admin.invoice", invoice_id=found[0]["id"]), code=303)
    if wanted[:4] in PLACES and not found:
        return redirect(f"/admin/{PLACES[wanted[:4]]}/{quote(wanted, safe='')}", code=303)
    return Response(render("search.html", wanted=wanted, found=found), mimetype="text/html")


@page("/invoices")
def invoice_list() -> str:
    """A merchant's invoices, newest first."""
    merchants = list(bridge().merchants)
    match = chosen("status")
    merchant = request.args.get("merchant", merchants[0])
    if merchant not in merchants:
        raise Refused("unknown_merchant", "There is no such merchant.", field="merchant")
    found = list_invoices(bridge(), merchant, match=match, limit=50, cursor=request.args.get("cursor") or None)
    return render(
        "invoices.html",
        invoices=found["invoices"],
        next_cursor=found["next_cursor"],
        merchants=merchants,
        merchant=merchant,
        match=match,
    )


def charts(days: list[Day]) -> list[Chart]:
    """The series people would rather look at."""
    t = texts()

    def points(values: list[int | None], shown: list[str]) -> list[tuple[str, int | None, str]]:
        return list(zip([f"{day.day:%d.%m}" for day in days], values, shown, strict=True))

    def drawn(name: str, values: list[int | None], shown: list[str]) -> Chart:
        return bars(name, points(values, shown))

    lags = [day.lag_seconds for day in days]
    rates = [day.tries_good * 1_000 // day.tries if day.tries else None for day in days]
    return [
        drawn("settled", [day.settled for day in days], [t.number(str(day.settled)) for day in days]),
        drawn("lag", lags, ["–" if lag is None else t.number(str(lag // 60)) for lag in lags]),
        drawn("delivery", rates, ["–" if rate is None else f"{rate // 10}.{rate % 10}" for rate in rates]),
        drawn(
            "hot" if bridge().receiving.role == "hot" else "own",
            [day.hot_sat for day in days],
            [btc_text(max(day.hot_sat, 0)) for day in days],
        ),
        levels(
            "rate", points([day.price_minor for day in days], [_price(t, day) for day in days]), unit=days[-1].currency
        ),
        drawn("spread", [day.spread_bps for day in days], [_percent(day.spread_bps) for day in days]),
    ]


def _price(t: Texts, day: Day) -> str:
    return t.number(minor_text(day.price_minor, day.currency)) if day.price_minor is not None else "–"


def _percent(bps: int | None) -> str:
    return f"{bps // 100}.{bps % 100:02}" if bps is not None else "–"


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None
