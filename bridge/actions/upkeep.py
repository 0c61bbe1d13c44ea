"""What keeps things going: look again, send again, replay, reconcile, switch, and who did what.

Owns these rows; must not look, send or compare anything itself.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bridge.actions.row import (
    Action,
    Api,
    Argument,
    Body,
    ByHand,
    Command,
    Form,
    Id,
    Limit,
    Matching,
    Option,
    PageSize,
    Read,
    Reason,
    Row,
    Text,
    UtcTime,
    Whole,
    answer,
)
from bridge.books.reconcile import list_reconciliations, set_baseline, show_reconciliation, start_reconciliation
from bridge.context import Bridge
from bridge.desk.desk import audit_page, switches
from bridge.invoices.check_again import check_again
from bridge.invoices.deliver import DeliveryView, list_deliveries, redeliver, show_delivery
from bridge.invoices.inbox import DEAD, NO_ANSWER, UNCHANGED, replay, send_test_event
from bridge.invoices.present import View
from bridge.permit import set_mode

SEND = "delivery.redeliver"
# What a page says of a replay that left the invoice as it was.
REPLAYED = {UNCHANGED: "replayed_unchanged", NO_ANSWER: "no_answer", DEAD: "not_replayed"}


class MerchantBody(Body):
    """Which merchant gets a test event."""

    merchant: Annotated[Id, Argument()]
    reason: Reason


class ReconciliationBody(Body):
    """What to compare: what moved in this time; without times the configured days up to now."""

    from_at: Annotated[UtcTime | None, Field(alias="from")] = None
    to_at: Annotated[UtcTime | None, Field(alias="to")] = None
    reason: Reason


class BaselineBody(Body):
    """How many satoshi in the gateway's wallet are not the bridge's."""

    baseline_sat: Annotated[int, Field(ge=0, le=2_100_000_000_000_000), Argument()]
    reason: Reason


class ModeBody(Body):
    """A switch: scope is bridge or wallet:<id>."""

    scope: Annotated[Text, Field(max_length=160)] = "bridge"
    mode: Literal["normal", "read_only", "queued", "limited", "paused"]
    reason: Reason


class DeliveryQuery(Matching):
    """Which deliveries."""

    state: Annotated[Literal["pending", "delivered", "parked"] | None, Option()] = None
    merchant: Annotated[Id | None, Option()] = None
    invoice_id: Annotated[Id | None, Option(flag="--invoice")] = None
    limit: Limit = 50


class RunsQuery(Body):
    """How many reconciliations."""

    limit: Limit = 20


class FindingsQuery(Body):
    """Findings above the cursor `after`."""

    after: Annotated[Whole, Field(ge=0), Option(help="Only findings above this cursor.")] = 0
    limit: PageSize = 200


class AuditQuery(Matching):
    """Which rows of the audit, and which page of them."""

    by: Annotated[Id | None, Field(alias="actor"), Option(help="Only what this person or part of the bridge did.")] = (
        None
    )
    action: Annotated[Id | None, Option(help="Only this action.")] = None
    invoice_id: Annotated[Id | None, Option(flag="--invoice", help="Only about this invoice.")] = None
    limit: Limit = 50
    cursor: Annotated[Text, Field(max_length=20), Option(help="The cursor of the page before.")] = ""


class DeliveryShape(DeliveryView):
    """One event on its way to a merchant."""

    attempts_log: list[dict[str, Any]] | None = None


DeliveriesShape = answer("DeliveriesShape", "Deliveries, newest first.", deliveries=list[DeliveryShape])
AnsweredShape = answer(
    "AnsweredShape", "Whether gateway or chain answered; what they said is on the invoice.", is_answered=bool
)
QueuedShape = answer(
    "QueuedShape",
    "Whether the delivery went back into the queue; false when it is under way anyway.",
    is_queued_again=bool,
)
SentShape = answer("SentShape", "The test event in the queue.", event_id=str)
ReplayedShape = answer("ReplayedShape", "What came of it, in a word.", outcome=str)


class RunShape(BaseModel):
    """A reconciliation: how far it is and, when it is asked for alone, what differs."""

    model_config = ConfigDict(extra="allow")

    id: str
    actor: str
    is_scheduled: bool
    started_at: str
    finished_at: str | None
    phase: str
    checked: int
    total: int
    unread: int
    findings_count: int
    is_clean: bool
    findings: list[dict[str, Any]] | None = None
    next_after: int | None = None


RunsShape = answer("RunsShape", "Reconciliations, newest first.", reconciliations=list[RunShape])
BaselineShape = answer("BaselineShape", "What is not counted as ours from now on.", baseline_sat=int)
ModeShape = answer("ModeShape", "A switch as it stands now.", scope=str, mode=str)


class SwitchShape(View):
    """A switch with who turned it, when and why."""

    scope: str
    mode: str
    since: str | None
    actor: str
    reason: str


SwitchesShape = answer("SwitchesShape", "Every switch.", modes=list[SwitchShape])
AuditShape = answer(
    "AuditShape",
    "Who did what; ask again with `next_cursor` for the next page.",
    audit=list[dict[str, Any]],
    next_cursor=str | None,
)


def begin(
    bridge: Bridge, *, from_at: datetime | None, to_at: datetime | None, actor: str, reason: str
) -> dict[str, Any]:
    run_id = start_reconciliation(bridge, actor=actor, reason=reason, from_at=from_at, to_at=to_at)
    return show_reconciliation(bridge, run_id)


def say_baseline(bridge: Bridge, *, baseline_sat: int, **who: str) -> dict[str, Any]:
    set_baseline(bridge, baseline_sat=baseline_sat, **who)
    return {"baseline_sat": baseline_sat}


def turn(bridge: Bridge, *, scope: str, mode: str, **who: str) -> dict[str, Any]:
    set_mode(bridge, scope=scope, mode=mode, **who)
    return {"scope": scope, "mode": mode}


def read_audit(bridge: Bridge, *, match: dict[str, str], **paging: Any) -> dict[str, Any]:
    # A command's --actor is who acts, so that here it is --by.
    page = audit_page(bridge, match={"actor" if name == "by" else name: match[name] for name in match}, **paging)
    return {"audit": page.rows, "next_cursor": page.next_cursor}


def delivery_lines(rows: list[dict[str, Any]]) -> Iterable[str]:
    for row in rows:
        yield f"{row['id']}  {row['state']:9}  {row['type']:20}  {row['attempts']} tries  {row['invoice_id']}"
    yield f"{len(rows)} deliveries"


def run_lines(runs: list[dict[str, Any]]) -> Iterable[str]:
    for run in runs:
        yield f"{run['id']}  {run['started_at']}  {run['phase']:9}  {run['findings_count']} findings"


def switch_lines(rows: list[dict[str, Any]]) -> Iterable[str]:
    for row in rows:
        since = f"since {row['since']} by {row['actor']}: {row['reason']}" if row["since"] else ""
        yield f"{row['scope']:24}  {row['mode']:9}  {since}".rstrip()


def audit_lines(page: dict[str, Any]) -> Iterable[str]:
    for row in page["audit"]:
        yield f"{row['at']}  {row['actor']:16}  {row['action']:24}  {row['invoice_id'] or ''}  {row['reason']}"
    yield f"{len(page['audit'])} rows" + (f", next {page['next_cursor']}" if page["next_cursor"] else "")


ROWS: tuple[Row, ...] = (
    Read(
        list_deliveries,
        asks=DeliveryQuery,
        api=Api("/v1/deliveries", "List deliveries", DeliveriesShape),
        command=Command("deliveries list", "List deliveries, newest first.", delivery_lines),
    ),
    Read(
        show_delivery,
        api=Api("/v1/deliveries/<delivery_id>", "One delivery", DeliveryShape),
        command=Command("deliveries show", "Show a delivery with every attempt."),
    ),
    Action(
        check_again,
        needs=(SEND,),
        api=Api("/v1/invoices/<invoice_id>/check", "Look again now", AnsweredShape),
        command=ByHand("recheck", "looks at every invoice when none is named; exit code 1 without an answer"),
        form=Form(
            "check_invoice",
            done=lambda is_answered: "checked" if is_answered else "no_answer",
            page="invoice",
            shown=lambda _: True,
            look="quiet",
        ),
    ),
    Action(
        redeliver,
        needs=(SEND,),
        api=Api("/v1/deliveries/<delivery_id>/redeliver", "Send it again", QueuedShape),
        command=ByHand("deliveries redeliver", "takes many, by id or by state, with a bar of progress"),
        form=Form(
            "redeliver_one",
            done=lambda is_queued: "queued" if is_queued else "under_way",
            page="delivery",
            shown=lambda page: page["delivery"]["state"] != "pending",
            look="open",
        ),
    ),
    Action(
        send_test_event,
        asks=MerchantBody,
        needs=(SEND,),
        api=Api("/v1/test-events", "Send a test event", SentShape, statuses=(201,)),
        command=Command(
            "deliveries test",
            "Send a test event to a merchant's endpoint; see what it answered with `deliveries list`.",
            lambda event_id: [event_id],
        ),
        form=Form(
            "test_event",
            path="/deliveries/test",
            done="test_sent",
            page="delivery_list",
            values={"merchant": "merchant"},
        ),
    ),
    Action(
        replay,
        needs=(SEND,),
        api=Api("/v1/events/<event_id>/replay", "Replay", ReplayedShape),
        command=ByHand("events replay", "takes many, by id or by what they are, with a bar of progress"),
        form=Form(
            "replay_callback",
            path="/inbox/<event_id>/replay",
            done=lambda outcome: REPLAYED.get(outcome, "replayed"),
            page="inbox_row",
            shown=lambda page: page["event"]["id"].startswith("in:") and page["event"]["state"] != "dead",
        ),
    ),
    Action(
        begin,
        asks=ReconciliationBody,
        needs=("books.export",),
        api=Api("/v1/reconciliations", "Begin a reconciliation", RunShape, statuses=(201,)),
        command=ByHand("reconcile", "carries the run on to its end, and its exit code says what was found"),
        form=ByHand("reconcile_now", "asks for a number of days"),
    ),
    Read(
        list_reconciliations,
        asks=RunsQuery,
        api=Api("/v1/reconciliations", "List reconciliations", RunsShape),
        command=Command("reconcile list", "List reconciliations, newest first.", run_lines),
    ),
    Read(
        show_reconciliation,
        asks=FindingsQuery,
        api=Api("/v1/reconciliations/<run_id>", "One reconciliation", RunShape),
        command=Command("reconcile show", "Show a reconciliation with its findings."),
    ),
    # None of daily work, so it has no page.
    Action(
        say_baseline,
        asks=BaselineBody,
        needs=("review.mark",),
        api=Api("/v1/wallet-baseline", "Say what is not ours", BaselineShape),
        command=Command(
            "reconcile baseline",
            "Say how many satoshi in the gateway's wallet are not the bridge's.",
            lambda made: [f"{made['baseline_sat']} satoshi of the wallet are not counted as ours from now on."],
        ),
    ),
    Read(
        switches,
        api=Api("/v1/modes", "The switches", SwitchesShape),
        command=Command(
            "modes", "List the switches: the bridge's and every wallet's, since when, by whom and why.", switch_lines
        ),
    ),
    Action(
        turn,
        asks=ModeBody,
        needs=("mode.set",),
        api=Api("/v1/modes", "Turn a switch", ModeShape),
        command=ByHand("mode", "names the wallet, not the scope"),
        form=Form("switch", path="/modes/set", done="switched", page="modes"),
    ),
    Read(
        read_audit,
        asks=AuditQuery,
        api=Api("/v1/audit", "The audit", AuditShape),
        command=Command("audit", "List who did what and why, newest first.", audit_lines),
    ),
)
