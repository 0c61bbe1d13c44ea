"""Commands of support and finance: invoices, find, explain, review, marks, grace, audit, verify-audit, mode.

Owns arguments and output; each command calls one flow.
"""

import sys
from datetime import datetime

import click

from bridge.cli.opened import MOMENT, acting, given, reading, show
from bridge.core.grace import STATES
from bridge.flows import explain as explaining
from bridge.flows import grant_grace, mark_settled, resolve_review
from bridge.flows.check_books import balances, book_differences
from bridge.flows.context import Bridge
from bridge.flows.desk import audit_page, switches
from bridge.flows.modes import MODES, WALLET_MODES, set_mode
from bridge.flows.read_invoices import list_invoices
from bridge.flows.verify_audit import verify_audit as verify


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


@review.command("show")
@click.argument("review_id")
@reading
def review_show(bridge: Bridge, review_id: str) -> None:
    """Show an item with everything needed to rule on it."""
    show(resolve_review.show_review(bridge, review_id))


@review.command("resolve")
@click.argument("review_id")
@click.argument("decision", type=click.Choice(resolve_review.DECISIONS))
@click.option("--txid", default="", help="The transaction, for payout_sent.")
@acting
def review_resolve(bridge: Bridge, review_id: str, decision: str, txid: str, **who: str) -> None:
    """Rule on an item; the consequences follow at once and are audited. A mark_settled waits for somebody else."""
    invoice = resolve_review.resolve(bridge, review_id, decision=decision, txid=txid, **who)
    item = resolve_review.show_review(bridge, review_id)
    if item["state"] == "open":
        click.echo(f"Proposed as {item['marks'][0]['id']}; somebody else must approve it: subtc-bridge marks approve")
        return
    click.echo("Resolved." + (f" The invoice is now {invoice['status']}/{invoice['exception']}." if invoice else ""))


@click.group()
def marks() -> None:
    """Invoices that count as paid by a person's word, once somebody else has approved."""


@marks.command("list")
@click.option("--state", type=click.Choice(mark_settled.STATES), help="Only in this state.")
@click.option("--limit", default=50, show_default=True)
@reading
def marks_list(bridge: Bridge, state: str | None, limit: int) -> None:
    """List manual marks, newest first."""
    found = mark_settled.list_marks(bridge, match=given(state=state), limit=limit)
    for mark in found:
        said = f"by {mark['proposed_by']}  {len(mark['approvals'])}/{mark['approvals_needed']} approvals"
        money = f"{mark['amount']} {mark['currency']}, {mark['remaining_sat']} sat missing"
        click.echo(f"{mark['id']}  {mark['state']:8}  {mark['invoice_id']}  {money}  {said}")
    click.echo(f"{len(found)} marks")


@marks.command("show")
@click.argument("mark_id")
@reading
def marks_show(bridge: Bridge, mark_id: str) -> None:
    """Show a mark with its consequence and every approval."""
    show(mark_settled.show_mark(bridge, mark_id))


@marks.command("approve")
@click.argument("mark_id")
@acting
def marks_approve(bridge: Bridge, mark_id: str, **who: str) -> None:
    """Approve what somebody else proposed; with the last approval the invoice counts as paid."""
    show(mark_settled.approve_mark(bridge, mark_id, **who))


@marks.command("reject")
@click.argument("mark_id")
@acting
def marks_reject(bridge: Bridge, mark_id: str, **who: str) -> None:
    """End a mark that waits; the review item stays open."""
    show(mark_settled.reject_mark(bridge, mark_id, **who))


@click.group()
def grace() -> None:
    """Time to pay that a person gives: nothing is cancelled before its end, and nothing is forgiven."""


@grace.command("grant")
@click.argument("invoice_id")
@click.option("--until", type=MOMENT, help="UTC (default: the tier's).")
@acting
def grace_grant(bridge: Bridge, invoice_id: str, until: datetime | None, **who: str) -> None:
    """Give the payer of INVOICE_ID time; once per billing payment, for tiers that have grace."""
    show(grant_grace.grant_grace(bridge, invoice_id, ends_at=until, **who))


@grace.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--limit", default=50, show_default=True)
@reading
def grace_list(bridge: Bridge, state: str | None, limit: int) -> None:
    """List grants, newest first."""
    for row in grant_grace.list_grants(bridge, match=given(state=state), limit=limit):
        money = f"{row['amount']} {row['currency']}"
        click.echo(f"{row['invoice_id']}  {row['state']:7}  {money}  until {row['ends_at']}  by {row['approver']}")


@click.command()
@click.option("--by", "actor_is", help="Only what this person or part of the bridge did.")
@click.option("--action", help="Only this action.")
@click.option("--invoice", "invoice_id", help="Only about this invoice.")
@click.option("--limit", default=50, show_default=True)
@click.option("--cursor", default="", help="The cursor of the page before.")
@reading
def audit(bridge: Bridge, /, actor_is: str | None, limit: int, cursor: str, **wanted: str | None) -> None:
    """List who did what and why, newest first."""
    page = audit_page(bridge, match=given(actor=actor_is, **wanted), cursor=cursor, limit=limit)
    for row in page.rows:
        click.echo(f"{row['at']}  {row['actor']:16}  {row['action']:24}  {row['invoice_id'] or ''}  {row['reason']}")
    click.echo(f"{len(page.rows)} rows" + (f", next {page.next_cursor}" if page.next_cursor else ""))


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


@click.command()
@reading
def modes(bridge: Bridge) -> None:
    """List the switches: the bridge's and every wallet's, since when, by whom and why."""
    for row in switches(bridge):
        since = f"since {row['since']} by {row['actor']}: {row['reason']}" if row["since"] else ""
        click.echo(f"{row['scope']:24}  {row['mode']:9}  {since}".rstrip())


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


COMMANDS = (ledger, invoices, find, explain, review, marks, grace, audit, verify_audit, mode, modes)
