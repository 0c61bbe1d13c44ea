"""Commands of finance and treasury: refunds, payouts, treasury.

Owns arguments and output; each command calls one flow.
"""

import secrets
from collections.abc import Callable
from typing import Any

import click

from bridge.cli.opened import acting, given, reading, show
from bridge.core.payout import KINDS, ROLES, STATES, VARIANTS
from bridge.flows import decide_payout, sweep
from bridge.flows.context import Bridge
from bridge.flows.record_own_send import record_own_send
from bridge.flows.refund_address import change_address
from bridge.flows.request_refund import NewRefund, request_refund
from bridge.flows.treasury import read_balance, read_former, treasury_view


def _key(command: Callable[..., None]) -> Callable[..., None]:
    """Repeating a command with its key asks for nothing new."""
    return click.option("--key", default=lambda: f"cli-{secrets.token_hex(8)}", help="The same key asks once.")(command)


def _say_unknown_fee(payout: dict[str, Any]) -> None:
    """To who reads the screen, beside the JSON that programs read."""
    if payout["fee_bps"] is None and payout["sent_sat"] is None:
        sat = payout["gross_sat"]
        click.echo(
            f"The gateway's fee is unknown: {sat} sat leave, less arrives; how much less is told after.", err=True
        )


@click.group()
def refunds() -> None:
    """Money that goes back to a payer."""


@refunds.command("request")
@click.argument("invoice_id")
@click.option("--variant", type=click.Choice(VARIANTS), default="paid_sat", show_default=True)
@click.option("--net-sat", type=int, help="What arrives, for the variant custom.")
@click.option("--amount", "fiat_text", default="", help="Part of the invoice's amount, for the fiat variants.")
@click.option("--to", "destination", default="", help="The address; without it the payer is asked by a form.")
@_key
@acting
def refunds_request(bridge: Bridge, /, key: str, actor: str, reason: str, **wanted: Any) -> None:
    """Ask for a refund. Somebody else approves it."""
    request = NewRefund(**wanted)
    asked = request_refund(bridge, merchant_id=None, request=request, key=key, actor=actor, reason=reason)
    show(asked.payout | {"address_form_url": asked.form_url})
    _say_unknown_fee(asked.payout)


@click.group()
def payouts() -> None:
    """Everything that leaves: refunds, sweeps, write-offs."""


@payouts.command("list")
@click.option("--state", type=click.Choice(STATES))
@click.option("--kind", type=click.Choice(KINDS))
@click.option("--invoice", "invoice_id", help="Only this invoice's.")
@click.option("--limit", default=50, show_default=True)
@click.option("--cursor", help="The next_cursor of the page before.")
@reading
def payouts_list(bridge: Bridge, /, limit: int, cursor: str | None, **wanted: str | None) -> None:
    """List payouts, newest first."""
    page = decide_payout.list_payouts(bridge, match=given(**wanted), limit=limit, cursor=cursor)
    for row in page["payouts"]:
        note = f"  waits: {row['waiting']}" if row["waiting"] else ""
        note += "  fee unknown" if row["fee_bps"] is None else ""
        approvals = f"{len(row['approvals'])}/{row['approvals_needed']} approvals"
        click.echo(f"{row['id']}  {row['state']:10}  {row['kind']:9}  {row['net_sat']:>12} sat  {approvals}{note}")
    click.echo(f"{len(page['payouts'])} payouts" + (f", next {page['next_cursor']}" if page["next_cursor"] else ""))


@payouts.command("show")
@click.argument("payout_id")
@reading
def payouts_show(bridge: Bridge, payout_id: str) -> None:
    """Show a payout with every approval."""
    shown = decide_payout.show_payout(bridge, payout_id)
    show(shown)
    _say_unknown_fee(shown)


@payouts.command("approve")
@click.argument("payout_id")
@acting
def payouts_approve(bridge: Bridge, payout_id: str, **who: str) -> None:
    """Approve what somebody else proposed; it is sent after the cooling time."""
    approved = decide_payout.approve_payout(bridge, payout_id, **who)
    show(approved)
    _say_unknown_fee(approved)


@payouts.command("reject")
@click.argument("payout_id")
@acting
def payouts_reject(bridge: Bridge, payout_id: str, **who: str) -> None:
    """End a payout that was surely not sent."""
    show(decide_payout.reject_payout(bridge, payout_id, **who))


@payouts.command("address")
@click.argument("payout_id")
@click.argument("address")
@acting
def payouts_address(bridge: Bridge, payout_id: str, address: str, **who: str) -> None:
    """Name or change where a refund goes; approvals given before are void."""
    show(change_address(bridge, payout_id, address=address, **who))


@payouts.command("sent")
@click.argument("payout_id")
@click.argument("txid")
@acting
def payouts_sent(bridge: Bridge, payout_id: str, txid: str, **who: str) -> None:
    """State by which transaction you sent a refund from your own wallet; the chain must show it."""
    show(record_own_send(bridge, payout_id, txid=txid, **who))


@click.group()
def treasury() -> None:
    """The wallets: what is in them, what is owed, what a sweep would take."""


@treasury.command("show")
@click.option("--read", is_flag=True, help="Ask the gateway for the balances first.")
@reading
def treasury_show(bridge: Bridge, read: bool) -> None:
    """Show balances, liabilities, the cap and the next sweep."""
    for role in bridge.senders if read else ():
        read_balance(bridge, role)
    for wallet_id in bridge.former if read else ():
        read_former(bridge, wallet_id)
    show(treasury_view(bridge))


@treasury.command("sweep")
@_key
@acting
def treasury_sweep(bridge: Bridge, key: str, **who: str) -> None:
    """Propose to send everything free to a cold address. Somebody else approves it."""
    proposed = sweep.propose_sweep(bridge, key=key, **who)
    show(proposed)
    _say_unknown_fee(proposed)


@treasury.command("write-off")
@click.argument("gross_sat", type=int)
@click.option("--wallet", "role", type=click.Choice(ROLES), default="hot", show_default=True)
@_key
@acting
def treasury_write_off(bridge: Bridge, gross_sat: int, role: str, key: str, **who: str) -> None:
    """Propose to give up dust below the minimum send. Somebody else approves it."""
    show(sweep.propose_write_off(bridge, role=role, gross_sat=gross_sat, key=key, **who))


@treasury.command("funded")
@click.argument("sat", type=int)
@click.option("--wallet", "role", type=click.Choice(ROLES), default="billing", show_default=True)
@click.option("--txid", required=True, help="The transaction that brought it.")
@acting
def treasury_funded(bridge: Bridge, sat: int, role: str, txid: str, **who: str) -> None:
    """Book money that you put into a wallet yourself, such as the float for refunds."""
    sweep.record_funding(bridge, role=role, sat=sat, txid=txid, **who)
    click.echo("Booked.")


COMMANDS = (refunds, payouts, treasury)
