"""Commands of support and finance that no row of the table makes: ledger, invoices, find, explain, verify-audit, mode and two lists.

Owns arguments and output; each command calls one flow.
"""

import sys

import click

from bridge.books.check_books import balances, book_differences
from bridge.books.verify_audit import verify_audit as verify
from bridge.cli.opened import acting, given, reading, show
from bridge.context import Bridge
from bridge.desk import explain as explaining
from bridge.desk import resolve_review
from bridge.invoices.read_invoices import list_invoices
from bridge.payouts.treasury import read_apart, read_balance, read_rail, treasury_view
from bridge.permit import MODES, WALLET_MODES, set_mode


@click.command()
@click.option("--merchant", required=True, help="The merchant's id.")
@click.option("--status", help="Only this status.")
@click.option("--limit", default=20, show_default=True)
@click.option("--cursor", help="The next_cursor of the page before.")
@reading
def invoices(bridge: Bridge, merchant: str, status: str | None, limit: int, cursor: str | None) -> None:
    """List a merchant's invoices, newest first."""
    show(list_invoices(bridge, merchant, match=given(status=status), limit=limit, cursor=cursor))


@click.command()
@click.argument("reference")
@reading
def find(bridge: Bridge, reference: str) -> None:
    """Find invoices by any reference: invoice id, billing payment id, address, txid or pay page."""
    found = explaining.find(bridge, reference)
    for invoice in found:
        click.echo(
            f"{invoice['id']}  {invoice['status']}/{invoice['exception']}  billing {invoice['billing_payment_id']}"
        )
    sys.exit(0 if found else 1)


@click.command()
@click.argument("reference")
@click.option("--lang", type=click.Choice(["en", "ru"]), default="en", show_default=True)
@reading
def explain(bridge: Bridge, reference: str, lang: str) -> None:
    """Tell the story of an invoice: what came, what was decided by which rule, who was told, what happens next."""
    for line in explaining.explain(bridge, reference, lang=lang):
        click.echo(line)


@click.group()
def review() -> None:
    """The queue of what waits for a person."""


@review.command("list")
@click.option("--all", "with_resolved", is_flag=True, help="Resolved items too.")
@click.option("--kind", help="Only this kind.")
@click.option("--limit", default=50, show_default=True)
@reading
def review_list(bridge: Bridge, with_resolved: bool, kind: str | None, limit: int) -> None:
    """List items, most urgent first."""
    match = given(state=None if with_resolved else "open", kind=kind)
    items = resolve_review.list_reviews(bridge, match=match, limit=limit)
    for item in items:
        late = "OVERDUE " if item["is_overdue"] else ""
        click.echo(
            f"{item['id']}  {item['state']:8}  {item['kind']:20}  {late}due {item['due_at']}  {item['invoice_id']}"
        )
    click.echo(f"{len(items)} items")


@click.command("verify-audit")
@click.option("--anchor", default="", help="The end that an earlier run printed; it must still be a link of the chain.")
@reading
def verify_audit(bridge: Bridge, anchor: str) -> None:
    """Walk the whole hash chain over the audit: an altered, removed or inserted row is named.

    Keep the printed anchor where the database's owner cannot write: it shows a chain that was written anew from the start.
    """
    report = verify(bridge, anchor=anchor)
    click.echo(report.detail)
    if report.anchor:
        click.echo(f"Anchor: {report.anchor}")
    sys.exit(0 if report.is_intact else 1)


@click.command()
@click.argument("mode", type=click.Choice(sorted({*MODES, *WALLET_MODES})))
@click.option("--wallet", help="Pause (or resume with normal) this wallet instead of the whole bridge.")
@acting
def mode(bridge: Bridge, mode: str, wallet: str | None, **who: str) -> None:
    """Switch the bridge to normal, read_only, queued or limited, or pause a wallet."""
    set_mode(bridge, scope=f"wallet:{wallet}" if wallet else "bridge", mode=mode, **who)
    click.echo(f"{wallet or 'The bridge'} is now {mode}.")


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
    for rail in read_apart(bridge) if read else ():
        read_rail(bridge, rail)
    show(treasury_view(bridge))


@click.group()
def ledger() -> None:
    """The journals: balances, and whether they say what the facts say."""


@ledger.command("balances")
@click.option("--invoice", "invoice_id", help="Of one invoice.")
@click.option("--merchant", help="Of one merchant.")
@click.option("--service", "service_ref", help="Of one service.")
@reading
def ledger_balances(bridge: Bridge, invoice_id: str | None, merchant: str | None, service_ref: str | None) -> None:
    """Show the balance of every account; debit is positive."""
    show(balances(bridge, invoice_id=invoice_id, merchant=merchant, service_ref=service_ref))


@ledger.command("check")
@reading
def ledger_check(bridge: Bridge) -> None:
    """Rebuild every invoice's books from its facts and compare; non-zero when a figure differs."""
    found = book_differences(bridge)
    for one in found:
        click.echo(f"{one.invoice_id}  {one.figure}: booked {one.booked}, rebuilt {one.rebuilt}")
    click.echo(f"{len(found)} differences")
    sys.exit(1 if found else 0)


COMMANDS = (ledger, invoices, find, explain, review, verify_audit, mode, treasury)
