"""What keeps things going: look again, send again, replay, reconcile, switch, and who did what.

Owns these rows; must not look, send or compare anything itself.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bridge.actions.fields import (
    Argument,
    Body,
    Id,
    Limit,
    Matching,
    Option,
    PageSize,
    Reason,
    Shape,
    Text,
    UtcTime,
    Whole,
)
from bridge.actions.row import Action, ByHand, Form, Read, Row
from bridge.flows.check_again import check_again
from bridge.flows.context import Bridge
from bridge.flows.desk import audit_page, switches
from bridge.flows.modes import set_mode
from bridge.flows.reconcile import start_reconciliation
from bridge.flows.reconciliation_report import list_reconciliations, set_baseline, show_reconciliation
from bridge.flows.redeliver import list_deliveries, redeliver, show_delivery
from bridge.flows.replay import DEAD, NO_ANSWER, UNCHANGED, replay, send_test_event

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

    actor: Annotated[Id | None, Option(flag="--by", help="Only what this person or part of the bridge did.")] = None
    action: Annotated[Id | None, Option(help="Only this action.")] = None
    invoice_id: Annotated[Id | None, Option(flag="--invoice", help="Only about this invoice.")] = None
    limit: Limit = 50
    cursor: Annotated[Text, Field(max_length=20), Option(help="The cursor of the page before.")] = ""


class DeliveryShape(Shape):
    """One event on its way to a merchant."""

    id: str
    event_id: str
    type: str
    invoice_id: str | None
    merchant: str
    sequence: int
    state: str
    attempts: int
    created_at: str
    next_try_at: str
    attempts_log: list[dict[str, Any]] | None = None


class DeliveriesShape(Shape):
    """Deliveries, newest first."""

    deliveries: list[DeliveryShape]


class AnsweredShape(Shape):
    """Whether gateway or chain answered; what they said is on the invoice."""

    is_answered: bool


class QueuedShape(Shape):
    """Whether the delivery went back into the queue; false when it is under way anyway."""

    is_queued_again: bool


class SentShape(Shape):
    """The test event in the queue."""

    event_id: str


class ReplayedShape(Shape):
    """What came of it, in a word."""

    outcome: str


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


class RunsShape(Shape):
    """Reconciliations, newest first."""

    reconciliations: list[RunShape]


class BaselineShape(Shape):
    """What is not counted as ours from now on."""

    baseline_sat: int


class ModeShape(Shape):
    """A switch as it stands now."""

    scope: str
    mode: str


class SwitchShape(Shape):
    """A switch with who turned it, when and why."""

    scope: str
    mode: str
    since: str | None
    actor: str
    reason: str


class SwitchesShape(Shape):
    """Every switch."""

    modes: list[SwitchShape]


class AuditShape(Shape):
    """Who did what; ask again with `next_cursor` for the next page."""

    audit: list[dict[str, Any]]
    next_cursor: str | None


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


def read_audit(bridge: Bridge, **asked: Any) -> dict[str, Any]:
    page = audit_page(bridge, **asked)
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
        do=list_deliveries,
        path="/v1/deliveries",
        query=DeliveryQuery,
        answer=DeliveriesShape,
        summary="List deliveries",
        command="deliveries list",
        help="List deliveries, newest first.",
        said=delivery_lines,
    ),
    Read(
        do=show_delivery,
        path="/v1/deliveries/<delivery_id>",
        answer=DeliveryShape,
        summary="One delivery",
        command="deliveries show",
        help="Show a delivery with every attempt.",
    ),
    Action(
        do=check_again,
        path="/v1/invoices/<invoice_id>/check",
        needs=(SEND,),
        answer=AnsweredShape,
        summary="Look again now",
        command=ByHand(name="recheck", why="looks at every invoice when none is named; exit code 1 without an answer"),
        form=Form(
            path="/invoices/<invoice_id>/check",
            endpoint="check_invoice",
            done=lambda is_answered: "checked" if is_answered else "no_answer",
            page="invoice",
        ),
    ),
    Action(
        do=redeliver,
        path="/v1/deliveries/<delivery_id>/redeliver",
        needs=(SEND,),
        answer=QueuedShape,
        summary="Send it again",
        command=ByHand(name="deliveries redeliver", why="takes many, by id or by state, with a bar of progress"),
        form=Form(
            path="/deliveries/<delivery_id>/redeliver",
            endpoint="redeliver_one",
            done=lambda is_queued: "queued" if is_queued else "under_way",
            page="delivery",
        ),
    ),
    Action(
        do=send_test_event,
        path="/v1/test-events",
        needs=(SEND,),
        body=MerchantBody,
        answer=SentShape,
        statuses=(201,),
        summary="Send a test event",
        command="deliveries test",
        help="Send a test event to a merchant's endpoint; see what it answered with `deliveries list`.",
        said=lambda event_id: [event_id],
        form=Form(
            path="/deliveries/test",
            endpoint="test_event",
            done="test_sent",
            page="delivery_list",
            values={"merchant": "merchant"},
        ),
    ),
    Action(
        do=replay,
        path="/v1/events/<event_id>/replay",
        needs=(SEND,),
        answer=ReplayedShape,
        summary="Replay",
        command=ByHand(name="events replay", why="takes many, by id or by what they are, with a bar of progress"),
        form=Form(
            path="/inbox/<event_id>/replay",
            endpoint="replay_callback",
            done=lambda outcome: REPLAYED.get(outcome, "replayed"),
            page="inbox_row",
        ),
    ),
    Action(
        do=begin,
        path="/v1/reconciliations",
        needs=("books.export",),
        body=ReconciliationBody,
        answer=RunShape,
        statuses=(201,),
        summary="Begin a reconciliation",
        command=ByHand(name="reconcile", why="carries the run on to its end, and its exit code says what was found"),
        form=ByHand(name="reconcile_now", why="asks for a number of days"),
    ),
    Read(
        do=list_reconciliations,
        path="/v1/reconciliations",
        query=RunsQuery,
        answer=RunsShape,
        summary="List reconciliations",
        command="reconcile list",
        help="List reconciliations, newest first.",
        said=run_lines,
    ),
    Read(
        do=show_reconciliation,
        path="/v1/reconciliations/<run_id>",
        query=FindingsQuery,
        answer=RunShape,
        summary="One reconciliation",
        command="reconcile show",
        help="Show a reconciliation with its findings.",
    ),
    # None of daily work, so it has no page.
    Action(
        do=say_baseline,
        path="/v1/wallet-baseline",
        needs=("review.mark",),
        body=BaselineBody,
        answer=BaselineShape,
        summary="Say what is not ours",
        command="reconcile baseline",
        help="Say how many satoshi in the gateway's wallet are not the bridge's.",
        said=lambda made: [f"{made['baseline_sat']} satoshi of the wallet are not counted as ours from now on."],
    ),
    Read(
        do=switches,
        path="/v1/modes",
        answer=SwitchesShape,
        summary="The switches",
        command="modes",
        help="List the switches: the bridge's and every wallet's, since when, by whom and why.",
        said=switch_lines,
    ),
    Action(
        do=turn,
        path="/v1/modes",
        needs=("mode.set",),
        body=ModeBody,
        answer=ModeShape,
        summary="Turn a switch",
        command=ByHand(name="mode", why="names the wallet, not the scope"),
        form=Form(path="/modes/set", endpoint="switch", done="switched", page="modes"),
    ),
    Read(
        do=read_audit,
        path="/v1/audit",
        query=AuditQuery,
        answer=AuditShape,
        summary="The audit",
        command="audit",
        help="List who did what and why, newest first.",
        said=audit_lines,
    ),
)
