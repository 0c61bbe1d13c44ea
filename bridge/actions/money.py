"""Money that leaves: what people do about refunds, payouts and the treasury, and what they read of them.

Owns these rows; two different people stand behind every payout, and the flows see to that.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from bridge.actions.row import (
    Action,
    Address,
    Api,
    Argument,
    Body,
    ByHand,
    Command,
    Cursor,
    DecimalText,
    Form,
    Id,
    Input,
    Limit,
    Matching,
    Option,
    Read,
    Reason,
    Row,
    Sat,
    Txid,
    answer,
)
from bridge.context import Bridge
from bridge.core.plain import as_table
from bridge.invoices.present import View
from bridge.payouts import decide_payout, sweep
from bridge.payouts.refunds import NewRefund, change_address, record_own_send, request_refund
from bridge.payouts.steps import ApprovalShape, PayoutView
from bridge.payouts.treasury import treasury_view

PROPOSE, APPROVE = "payout.propose", "payout.approve"


class RefundBody(Body):
    """A refund that is asked for. Without an address the payer names one in the form that the answer links to."""

    variant: Annotated[
        Literal["paid_sat", "fiat_at_quote", "fiat_today", "excess_only", "custom"], Option(default="paid_sat")
    ]
    net_sat: Annotated[Sat | None, Option(help="What arrives, for the variant custom.")] = None
    fiat_text: Annotated[
        DecimalText | None,
        Field(alias="amount"),
        Option(flag="--amount", help="Part of the invoice's amount, for the fiat variants."),
        Input(name="fiat"),
    ] = None
    destination: Annotated[
        Address,
        Field(alias="address"),
        Option(flag="--to", help="The address; without it the payer is asked by a form."),
    ] = ""
    reason: Reason


class AddressBody(Body):
    """Where a refund goes, and why it changes."""

    address: Annotated[Address, Argument(), Input(name="destination")]
    reason: Reason


class OwnSendBody(Body):
    """The transaction that sent a refund from the shop's own wallet."""

    txid: Annotated[Txid, Argument()]
    reason: Reason


class WriteOffBody(Body):
    """Dust that is given up."""

    role: Annotated[Literal["hot", "billing"], Option(flag="--wallet", default="hot")]
    gross_sat: Annotated[Sat, Argument()]
    reason: Reason


class FundingBody(Body):
    """Money that the shop put into a wallet itself."""

    sat: Annotated[Sat, Argument()]
    role: Annotated[Literal["hot", "billing", "lightning"], Option(flag="--wallet", default="billing")]
    txid: Annotated[Txid, Option(help="The transaction that brought it.")]
    reason: Reason


class MovedBody(Body):
    """Money that the shop took out of its Lightning wallet itself."""

    sat: Annotated[Sat, Argument()]
    fee_sat: Annotated[int, Field(ge=0, le=2_100_000_000_000_000), Option(flag="--fee", help="What it cost.")] = 0
    txid: Annotated[Txid, Option(help="The transaction that brought it to the cold wallet.")]
    reason: Reason


class PayoutQuery(Matching):
    """Which payouts, and which page of them."""

    state: Annotated[
        Literal["requested", "approved", "submitting", "sent", "confirmed", "rejected", "unknown", "failed"] | None,
        Option(),
    ] = None
    kind: Annotated[Literal["refund", "sweep", "write_off"] | None, Option()] = None
    invoice_id: Annotated[Id | None, Option(flag="--invoice", help="Only this invoice's.")] = None
    limit: Limit = 50
    cursor: Cursor = None


class PayoutShape(PayoutView):
    """Money that leaves: `gross_sat` from the wallet, `fee_sat` to the gateway, `net_sat` arrives.

    While nobody names the gateway's fee, `fee_bps` and `fee_sat` are null and `net_sat` is the most that can arrive. What did,
    `sent_sat` and `paid_fee_sat` say after the send; `still_owed_sat` is what did not arrive of a refund.
    """

    address_form_url: str | None = None
    round: int | None = None
    all_approvals: list[ApprovalShape] | None = None


PayoutPageShape = answer(
    "PayoutPageShape",
    "Payouts, newest first; ask again with `next_cursor` for the next page.",
    payouts=list[PayoutShape],
    next_cursor=str | None,
)


class TreasuryShape(View):
    """The wallets with their balances and books, what is owed, and what a sweep would take.

    The money of `former_wallets` is on the books of their role; they are only read. Of a wallet that is paid to `beside` the first,
    `over_sat` lies above its cap: take that out by hand. `route_fees_sat` are routes of Lightning and dust given up.
    """

    network: str
    wallets: list[dict[str, Any]]
    former_wallets: list[dict[str, Any]]
    cold: dict[str, Any]
    own_first_address: str | None
    in_sweep_sat: int
    fees_paid_sat: int
    route_fees_sat: int
    beside: list[dict[str, Any]]
    owed_sat: int
    promised_sat: int
    refund_float_sat: int
    max_hot_sat: int
    is_over_cap: bool
    sweep_mode: str
    sweep: dict[str, Any] | None


def asked_refund(
    bridge: Bridge, invoice_id: str, *, key: str, actor: str, reason: str, merchant_id: str | None = None, **asked: Any
) -> tuple[dict[str, Any], bool]:
    """What a RefundBody asks for, and whether the same key asked before."""
    wanted = NewRefund(**asked | {"invoice_id": invoice_id, "fiat_text": asked["fiat_text"] or ""})
    requested = request_refund(bridge, merchant_id=merchant_id, request=wanted, key=key, actor=actor, reason=reason)
    return requested.payout | {"address_form_url": requested.form_url}, requested.is_replay


def ask_for_refund(bridge: Bridge, invoice_id: str, **asked: Any) -> dict[str, Any]:
    return asked_refund(bridge, invoice_id, **asked)[0]


def unknown_fee(payout: dict[str, Any]) -> Iterable[str]:
    """To who reads the screen, beside the JSON that programs read."""
    if payout["fee_bps"] is None and payout["sent_sat"] is None:
        sat = payout["gross_sat"]
        yield f"The gateway's fee is unknown: {sat} sat leave, less arrives; how much less is told after."


def payout_lines(page: dict[str, Any]) -> Iterable[str]:
    heads = ("payout", "state", "kind", "requested", ">leaves, sat", ">arrives, sat", "approvals", "invoice", "note")
    yield from as_table(heads, map(_payout_cells, page["payouts"]))
    yield f"{len(page['payouts'])} payouts" + (f", next {page['next_cursor']}" if page["next_cursor"] else "")


def _payout_cells(row: dict[str, Any]) -> tuple[str | int, ...]:
    notes = [f"waits: {row['waiting']}"] if row["waiting"] else []
    notes += ["fee unknown"] if row["fee_bps"] is None else []
    approvals = f"{len(row['approvals'])} of {row['approvals_needed']}"
    money = (row["gross_sat"], row["net_sat"])
    about = (row["id"], row["state"], row["kind"], row["requested_at"])
    return (*about, *money, approvals, row["invoice_id"] or "", ", ".join(notes))


FOR_MODULE = "the billing system's module calls it too, with its own key, for its own merchant"

ROWS: tuple[Row, ...] = (
    Action(
        ask_for_refund,
        asks=RefundBody,
        keyed=True,
        needs=(PROPOSE,),
        api=Api(
            "/v1/invoices/<invoice_id>/refunds",
            "Ask for a refund",
            PayoutShape,
            statuses=(200, 201),
            by_hand=FOR_MODULE,
        ),
        command=Command("refunds request", "Ask for a refund. Somebody else approves it.", beside=unknown_fee),
        form=Form(
            "propose_refund",
            path="/invoices/<invoice_id>/refund",
            done="proposed",
            page="payout",
            values={"payout_id": "id"},
        ),
    ),
    Read(
        decide_payout.list_payouts,
        asks=PayoutQuery,
        api=Api("/v1/payouts", "List payouts", PayoutPageShape, by_hand=FOR_MODULE),
        command=Command("payouts list", "List payouts, newest first.", payout_lines),
    ),
    Read(
        decide_payout.show_payout,
        api=Api("/v1/payouts/<payout_id>", "One payout", PayoutShape, by_hand=FOR_MODULE),
        command=Command("payouts show", "Show a payout with every approval.", beside=unknown_fee),
    ),
    Action(
        decide_payout.approve_payout,
        needs=(APPROVE,),
        api=Api("/v1/payouts/<payout_id>/approve", "Approve", PayoutShape),
        command=Command(
            "payouts approve",
            "Approve what somebody else proposed; it is sent after the cooling time.",
            beside=unknown_fee,
        ),
        form=ByHand("approve", "approves the address and the sum that the page showed, and nothing newer"),
    ),
    Action(
        record_own_send,
        asks=OwnSendBody,
        needs=(PROPOSE,),
        api=Api("/v1/payouts/<payout_id>/sent", "State your own send", PayoutShape),
        command=Command(
            "payouts sent", "State by which transaction you sent a refund from your own wallet; the chain must show it."
        ),
        form=Form(
            "own_send",
            done="own_sent",
            page="payout",
            shown=lambda page: page["payout"]["waiting"] == "own_send",
            look="open",
        ),
    ),
    Action(
        change_address,
        asks=AddressBody,
        needs=(PROPOSE,),
        api=Api("/v1/payouts/<payout_id>/address", "Name the address", PayoutShape),
        command=Command("payouts address", "Name or change where a refund goes; approvals given before are void."),
        form=Form(
            "set_address",
            done="address_set",
            page="payout",
            shown=lambda page: (
                page["payout"]["kind"] == "refund" and page["payout"]["state"] in ("requested", "approved")
            ),
        ),
    ),
    Action(
        decide_payout.reject_payout,
        needs=(APPROVE, PROPOSE),
        api=Api("/v1/payouts/<payout_id>/reject", "Reject", PayoutShape),
        command=Command("payouts reject", "End a payout that was surely not sent."),
        form=Form(
            "reject",
            done="rejected",
            page="payout",
            shown=lambda page: page["payout"]["state"] in ("requested", "approved"),
        ),
    ),
    Read(
        treasury_view,
        api=Api("/v1/treasury", "The wallets", TreasuryShape),
        command=ByHand("treasury show", "asks the gateway for the balances first, if wanted"),
    ),
    Action(
        sweep.propose_sweep,
        keyed=True,
        needs=(PROPOSE,),
        api=Api("/v1/sweeps", "Propose a sweep", PayoutShape, statuses=(201,)),
        command=Command(
            "treasury sweep",
            "Propose to send everything free to a cold address. Somebody else approves it.",
            beside=unknown_fee,
        ),
        form=Form("sweep", path="/treasury/sweep", done="proposed", page="payout", values={"payout_id": "id"}),
    ),
    Action(
        sweep.propose_write_off,
        asks=WriteOffBody,
        keyed=True,
        needs=(PROPOSE,),
        api=Api("/v1/write-offs", "Propose a write-off", PayoutShape, statuses=(201,)),
        command=Command(
            "treasury write-off", "Propose to give up dust below the minimum send. Somebody else approves it."
        ),
        form=Form("write_off", path="/treasury/write-off", done="proposed", page="payout", values={"payout_id": "id"}),
    ),
    # A funding has no key by which a repeated call would be one: it is no part of the API, nor on a page.
    Action(
        sweep.record_funding,
        asks=FundingBody,
        command=Command(
            "treasury funded",
            "Book money that you put into a wallet yourself, such as the float for refunds.",
            lambda _: ["Booked."],
        ),
    ),
    Action(
        sweep.record_moved,
        asks=MovedBody,
        command=Command(
            "treasury moved",
            "Book money that you took from the Lightning wallet to the cold one, by a swap or a closed channel.",
            lambda _: ["Booked."],
        ),
    ),
)
