"""Claims of clients: entered, taken on, ended, and read.

Owns what each asks for and answers; the flows are the desk's.
"""

from collections.abc import Iterable
from typing import Annotated, Any, get_args

from pydantic import Field

from bridge.actions.fields import Argument, Body, Id, Limit, Matching, Option, Reason, Sat, Text, Txid, answer
from bridge.actions.row import Action, Api, Command, Form, Read, Row
from bridge.core.claims import OUTCOMES, Later, Outcome, Stage
from bridge.core.plain import one_line
from bridge.desk import claims
from bridge.desk.claims import ClaimView


class ClaimBody(Body):
    """What a client says about an invoice, the transaction he names, and the sum."""

    said: Annotated[Text, Field(min_length=1, max_length=2_000), Option(help="What the client says.")]
    txid: Annotated[Txid, Option(help="The transaction that the client names.")] = ""
    claimed_sat: Annotated[Sat | None, Option(help="The sum that the client names, in satoshi.")] = None
    reason: Reason


class AdvanceBody(Body):
    """The stage that follows."""

    stage: Annotated[Later, Argument(choices=get_args(Later))]
    reason: Reason


class CloseBody(Body):
    """How it ends; the reason is the answer to the client."""

    outcome: Annotated[Outcome, Argument(choices=OUTCOMES)]
    reason: Reason


class ClaimQuery(Matching):
    """Which claims."""

    stage: Annotated[Stage | None, Option(help="Only in this stage.")] = None
    merchant: Id | None = None
    invoice_id: Annotated[Id | None, Option(flag="--invoice", help="Only about this invoice.")] = None
    customer_id: Id | None = None
    limit: Limit = 50


ClaimsShape = answer("ClaimsShape", "Claims, newest first.", claims=list[ClaimView])


def claim_lines(found: list[dict[str, Any]]) -> Iterable[str]:
    for row in found:
        until = f"OVERDUE since {row['due_at']}" if row["is_overdue"] else f"until {row['due_at']}"
        stands = f"{row['outcome']} by {row['closed_by']}" if row["closed_at"] else until
        yield f"{row['id']}  {row['stage']:8}  {row['invoice_id']}  {stands}  {one_line(row['said'], longest=60)}"
    yield f"{len(found)} claims"


def _may_be_opened(page: Any) -> bool:
    return all(each["closed_at"] for each in page["claims"])


def _is_open(page: Any) -> bool:
    return page["claim"]["closed_at"] is None


GROUPS = {"claims": "What clients claim about invoices: stages with deadlines, and how each ended."}

ROWS: tuple[Row, ...] = (
    Action(
        claims.open_claim,
        asks=ClaimBody,
        needs=(claims.NEEDS,),
        api=Api("/v1/invoices/<invoice_id>/claims", "Enter a claim", ClaimView, statuses=(201,)),
        command=Command("claims open", "Enter what a client claims about INVOICE_ID."),
        form=Form("open_claim", done="claim_opened", page="invoice", shown=_may_be_opened),
    ),
    Read(
        claims.list_claims,
        asks=ClaimQuery,
        api=Api("/v1/claims", "List claims", ClaimsShape),
        command=Command("claims list", "List claims, newest first.", claim_lines),
    ),
    Read(
        claims.show_claim,
        api=Api("/v1/claims/<claim_id>", "One claim", ClaimView),
        command=Command("claims show", "Show a claim with its stage and deadline."),
    ),
    Action(
        claims.advance_claim,
        asks=AdvanceBody,
        needs=(claims.NEEDS,),
        api=Api("/v1/claims/<claim_id>/advance", "Take a claim to its next stage", ClaimView),
        command=Command("claims advance", "Take a claim to a later stage; its deadline begins now."),
        form=Form("advance_claim", done="claim_advanced", page="claim", shown=lambda page: page["can_advance"]),
    ),
    Action(
        claims.close_claim,
        asks=CloseBody,
        needs=(claims.NEEDS,),
        api=Api("/v1/claims/<claim_id>/close", "End a claim", ClaimView),
        command=Command("claims close", "End a claim; the reason is the answer to the client."),
        form=Form("close_claim", done="claim_closed", page="claim", shown=_is_open),
    ),
)
