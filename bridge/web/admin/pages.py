"""What there is to look at: today and the search, then invoices, reviews, deliveries, money, records, policy, people; and files.

Owns the pages; must not change, judge or decide anything: what a page does not offer the flows refuse, what a file holds is
`bridge.books.export`'s.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

from flask import Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from bridge.books.export import FIELDS, beancount, export
from bridge.books.export import KINDS as BOOKS
from bridge.books.reconcile import list_reconciliations, show_reconciliation
from bridge.books.verify import verify_audit
from bridge.core.claims import OPEN, STAGES
from bridge.core.columns import PROFILES, ColumnMap
from bridge.core.errors import Refused
from bridge.core.invoice import EXCEPTIONS, STATUSES
from bridge.core.kinds import review_of
from bridge.core.payout import KINDS, STATES, VARIANTS
from bridge.core.roles import ROLES, may, permission_of_ruling
from bridge.desk import claims
from bridge.desk.day_report import report
from bridge.desk.desk import (
    audit_page,
    counted,
    deliveries_page,
    delivery_counts,
    invoice_dossier,
    open_review_counts,
    policies,
    reviews_page,
    series,
    switches,
)
from bridge.desk.find import FILTERS, MOST_COUNTED, MOVED, ORDERS, Narrowed, find, list_narrowed, narrowed_by
from bridge.desk.outlook import outlook
from bridge.desk.resolve_review import list_marks, show_review
from bridge.invoices.deliver import show_delivery
from bridge.invoices.inbox import show_event
from bridge.invoices.read_invoices import write_cursor
from bridge.payouts.decide_payout import list_payouts, show_payout
from bridge.payouts.treasury import treasury_view
from bridge.people import operators
from bridge.people import policy as policy_versions
from bridge.people.operators import MANAGE
from bridge.permit import MODES, WALLET_MODES
from bridge.upkeep.check import alerts, readiness
from bridge.web.admin.charts import charts
from bridge.web.admin.door import actor, bridge, chosen, page, render, role, texts
from bridge.web.context import here

# Where ids of other things than invoices are shown, by how they begin.
PLACES = {"rev_": "reviews", "dlv_": "deliveries", "pay_": "payouts", "rec_": "reconciliation", "clm_": "claims"}


@page("/")
def today() -> str:
    """The day of the books in figures that add up."""
    current = bridge().calendar.day_of(bridge().clock())
    day = _day(request.args.get("day", "")) or current
    days = series(bridge())
    return render(
        "today.html",
        report=report(bridge(), day),
        counted=counted(bridge(), day),
        day=day,
        is_today=day == current,
        time_zone=bridge().calendar.time_zone,
        reviews=open_review_counts(bridge()),
        claim=claims.next_claim(bridge()),
        marks=len(list_marks(bridge(), match={"state": "proposed"})),
        deliveries=delivery_counts(bridge()),
        days=days,
        charts=charts(days),
    )


@page("/health")
def health() -> str:
    """Readiness and alerts, asked outside now: a part of its own, so that the figures need not wait for it."""
    part = "health_part.html" if "part" in request.args else "health.html"
    return render(part, checks=readiness(bridge()), alerts=alerts(bridge(), here().watching()))


@page("/search")
def search() -> AnyResponse:
    """One invoice opens at once, several are listed; whatever is at hand will do."""
    wanted = request.args.get("q", "").strip()[:200]
    day = _day(request.args.get("before", ""))
    behind = write_cursor(bridge().calendar.begin_of(day), "-") if day else request.args.get("cursor", "")
    found = find(bridge(), wanted, cursor=behind)
    if len(found.invoices) == 1:
        return redirect(url_for("admin.invoice", invoice_id=found.invoices[0]["id"]), code=303)
    if wanted[:4] in PLACES and not found.invoices:
        return redirect(f"/admin/{PLACES[wanted[:4]]}/{quote(wanted, safe='')}", code=303)
    return Response(render("search.html", wanted=wanted, found=found, is_behind=bool(behind)), mimetype="text/html")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


@page("/invoices/<invoice_id>")
def invoice(invoice_id: str) -> str:
    """Everything about one invoice."""
    found = invoice_dossier(bridge(), invoice_id, lang=texts().code)
    claimed = claims.list_claims(bridge(), match={"invoice_id": invoice_id})
    return render("invoice.html", variants=VARIANTS, claims=claimed, **found)


@page("/inbox/<event_id>")
def inbox_row(event_id: str) -> str:
    """What we were told, byte for byte."""
    return render("event.html", event=show_event(bridge(), event_id))


FIRST = ("what", "payout", "findings", "money", "service_impact", "wallet_history", "quote", "session", "screening")


@page("/reviews")
def review_list() -> str:
    """Open items, most urgent first; resolved ones on request."""
    match = {"state": "open"} | chosen("state", "kind", "merchant")
    found = reviews_page(bridge(), match=match, cursor=request.args.get("cursor", ""))
    waiting = list_marks(bridge(), match={"state": "proposed"})
    return render("reviews.html", page=found, match=match, counts=open_review_counts(bridge()), marks=waiting)


@page("/reviews/<review_id>")
def review(review_id: str) -> str:
    """One item with what a person must see, and the rulings that this person may give."""
    item = show_review(bridge(), review_id)
    asked = review_of(item["kind"])
    rulings = asked.rulings if item["invoice_id"] or asked.is_about_payout else ("acknowledge",)
    allowed = [each for each in rulings if may(role(), permission_of_ruling(each))]
    waiting = next((each for each in item["marks"] if each["state"] == "proposed"), None)
    money = outlook(bridge(), review_id)
    return render(
        "review.html",
        item=item,
        money=money,
        rulings=rulings,
        allowed=allowed,
        # The money is shown as it is now, not as it was when the question was asked.
        blocks=[each for each in ordered(item["blocks"]) if money is None or each[0] != "money"],
        mark=waiting,
    )


def ordered(blocks: dict[str, Any]) -> list[tuple[str, Any]]:
    """The blocks that say something, the most telling first; a block of a later version comes last."""
    names = [*(name for name in FIRST if name in blocks), *(name for name in blocks if name not in FIRST)]
    return [(name, blocks[name]) for name in names if blocks[name] and name not in ("actions", "outcome")]


@page("/claims")
def claim_list() -> str:
    """Newest first; one stage alone on request."""
    match = chosen("stage", "merchant")
    found = claims.list_claims(bridge(), match=match, limit=200)
    return render("claims.html", claims=found, match=match, stages=STAGES)


@page("/claims/<claim_id>")
def claim(claim_id: str) -> str:
    """One claim, and what this person may do about it."""
    found = claims.show_claim(bridge(), claim_id)
    return render("claim.html", claim=found, can_advance=found["stage"] in OPEN[:-1])


@page("/deliveries")
def delivery_list() -> str:
    """Newest first; parked ones are a click away."""
    match = chosen("state", "merchant")
    found = deliveries_page(bridge(), match=match, cursor=request.args.get("cursor", ""))
    pushed = [each.id for each in bridge().merchants.values() if each.wants_push]
    return render("deliveries.html", page=found, match=match, counts=delivery_counts(bridge()), merchants=pushed)


@page("/deliveries/<delivery_id>")
def delivery(delivery_id: str) -> str:
    """One message with every try and its body."""
    found = show_delivery(bridge(), delivery_id)
    return render("delivery.html", delivery=found, event=show_event(bridge(), found["event_id"]))


@page("/payouts")
def payout_list() -> str:
    """Newest first; those that wait for an approval are a click away."""
    match = chosen("state", "kind", "merchant", "invoice_id")
    found = list_payouts(bridge(), match=match, cursor=request.args.get("cursor") or None)
    is_sent = bool(bridge().senders)
    return render("payouts.html", found=found, match=match, states=STATES, kinds=KINDS, is_sent=is_sent)


@page("/payouts/<payout_id>")
def payout(payout_id: str) -> str:
    """One payout with its approvals, and what this person may do about it."""
    return render("payout.html", payout=show_payout(bridge(), payout_id))


@page("/treasury")
def treasury() -> str:
    """The wallets by role, what is owed, what is free, the next sweep."""
    view = treasury_view(bridge())
    sweeps = list_payouts(bridge(), match={"kind": "sweep"}, limit=10)["payouts"]
    chart = next(each for each in charts(series(bridge())) if each.name in ("hot", "own"))
    return render("treasury.html", view=view, sweeps=sweeps, chart=chart)


@page("/reconciliation")
def reconciliation() -> str:
    """The last runs, newest first."""
    return render("reconciliation.html", runs=list_reconciliations(bridge(), limit=20))


@page("/reconciliation/<run_id>")
def reconciliation_run(run_id: str) -> str:
    """One run: how far it is, and what differs."""
    after = request.args.get("cursor", "0")
    if not (after.isascii() and after.isdecimal() and len(after) < 19):
        raise Refused("invalid_cursor", "Use the next_cursor of the page before.", field="cursor")
    return render("run.html", run=show_reconciliation(bridge(), run_id, after=int(after), limit=50))


@page("/audit")
def audit() -> str:
    """Who did what, newest first; the chain is checked on request, for that reads all of it."""
    match = chosen("actor", "action", "invoice_id")
    found = audit_page(bridge(), match=match, cursor=request.args.get("cursor", ""))
    report = verify_audit(bridge()) if "verify" in request.args else None
    return render("audit.html", page=found, match=match, report=report)


@page("/modes")
def modes() -> str:
    """The switches of the bridge and its wallets."""
    return render("modes.html", switches=switches(bridge()), modes=MODES, wallet_modes=WALLET_MODES)


@page("/policy")
def policy() -> str:
    """What is in force and what waits; then every merchant's rules as they are in force."""
    before = request.args.get("before", "")
    if before and not (before.isascii() and before.isdecimal() and len(before) < 10):
        raise Refused("invalid_cursor", "Use the next_before of the page before.", field="before")
    found = policy_versions.list_versions(bridge(), limit=20, before=int(before) if before else None)
    # A bridge that was put together without a settings file has no versions.
    state = policy_versions.show_policy(bridge()) if bridge().policy_number else None
    return render("policy.html", state=state, found=found, policies=policies(bridge()))


@page("/policy/<int:number>")
def policy_version(number: int) -> str:
    """One version with everything that it changed, and what this person may do about it."""
    return render("policy_version.html", version=policy_versions.show_version(bridge(), number))


@page("/people", needs=MANAGE)
def people() -> str:
    """Everybody, the disabled too."""
    return render("people.html", people=operators.list_operators(bridge()), roles=list(ROLES))


@page("/people/<name>", needs=MANAGE)
def person(name: str) -> str:
    """One person: role, end, access, password, authenticator, tokens."""
    found = operators.show_operator(bridge(), name)
    roles = [found["role"], "viewer"] if found["role"] != "viewer" else ["viewer"]
    return render("person.html", person=found, roles=list(ROLES), token_roles=roles, is_me=name == actor())


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
        kinds=BOOKS,
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
