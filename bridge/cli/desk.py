"""Commands of support and finance that no row of the table makes: invoices, reviews, switches, books, deliveries, events, policy.

Owns arguments and output; each command calls one flow.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import click

from bridge.books.verify import balances, book_differences
from bridge.books.verify import verify_audit as verify
from bridge.cli.opened import (
    Moment,
    acting,
    bar,
    for_programs,
    given,
    json_too,
    merchant_of,
    opened,
    reading,
    show,
    tell,
)
from bridge.context import Bridge
from bridge.core.plain import as_table
from bridge.desk import explain as explaining
from bridge.desk import find as finding
from bridge.desk import resolve_review
from bridge.invoices import deliver as outbox
from bridge.invoices import inbox as console
from bridge.invoices.read_invoices import list_invoices
from bridge.payouts.treasury import read_apart, read_balance, read_rail, treasury_view
from bridge.people import policy as policies
from bridge.permit import MODES, WALLET_MODES, set_mode


@click.command()
@click.option("--merchant", help="The merchant's id, where there are several.")
@click.option("--status", help="Only this status.")
@click.option("--limit", default=20, show_default=True)
@click.option("--cursor", help="The next_cursor of the page before.")
@for_programs
@reading
def invoices(
    bridge: Bridge, merchant: str | None, status: str | None, limit: int, cursor: str | None, form: str | None
) -> None:
    """List a merchant's invoices, newest first."""
    page = list_invoices(bridge, merchant_of(bridge, merchant), match=given(status=status), limit=limit, cursor=cursor)
    tell(page, lambda: _invoice_lines(page), form=form)


def _invoice_lines(page: dict[str, Any]) -> Iterable[str]:
    found = page["invoices"]
    yield from as_table(_MONEY, map(_money_cells, found))
    yield f"{len(found)} invoices" + (f", more with --cursor {page['next_cursor']}" if page["next_cursor"] else "")


_MONEY = ("invoice", "created", "status", ">amount", "", ">due, sat", ">received, sat", "payment")


def _money_cells(each: dict[str, Any]) -> tuple[str | int, ...]:
    status = each["status"] if each["exception"] == "none" else f"{each['status']}/{each['exception']}"
    money = (each["amount"], each["currency"], each["quote"]["due_sat"], each["received_sat"])
    return (each["id"], each["created_at"], status, *money, each["billing_payment_id"])


@click.command()
@click.argument("reference")
@json_too
@reading
def find(bridge: Bridge, reference: str, is_json: bool) -> None:
    """Find invoices by whatever is at hand: an id, an address, a transaction or its beginning, a pay page, a client's id or
    e-mail, a document, a sum, words of the description.
    """
    found = finding.find(bridge, reference, among=sys.maxsize)
    if is_json:
        show({"invoices": found.invoices, "is_cut": found.is_cut})
    elif found.invoices:
        about = [
            (each["customer_id"] or "", ",".join(each["found_by"]), each["description"]) for each in found.invoices
        ]
        rows = [(*_money_cells(each), *its) for each, its in zip(found.invoices, about, strict=True)]
        for line in as_table((*_MONEY, "client", "found by", "description"), rows):
            click.echo(line)
    if not found.invoices:
        click.echo(f"Nothing is known by this: {reference}", err=True)
    if found.is_cut:
        click.echo(f"There are more than these {finding.MOST}; say it more exactly.", err=True)
    sys.exit(0 if found.invoices else 1)


@click.command()
@click.argument("reference")
@click.option("--lang", type=click.Choice(["en", "ru"]), default="en", show_default=True)
@reading
def explain(bridge: Bridge, reference: str, lang: str) -> None:
    """Tell the story of an invoice: what came, what was decided by which rule, who was told, what happens next."""
    for line in explaining.explain(bridge, reference, lang=lang):
        click.echo(line)


review = click.Group("review")


@review.command("list")
@click.option("--all", "with_resolved", is_flag=True, help="Resolved items too.")
@click.option("--kind", help="Only this kind.")
@click.option("--limit", default=50, show_default=True)
@json_too
@reading
def review_list(bridge: Bridge, with_resolved: bool, kind: str | None, limit: int, is_json: bool) -> None:
    """List items, most urgent first."""
    match = given(state=None if with_resolved else "open", kind=kind)
    items = resolve_review.list_reviews(bridge, match=match, limit=limit)
    if is_json:
        show(items)
        return
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


treasury = click.Group("treasury")


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


ledger = click.Group("ledger")


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
    """Rebuild every invoice's books from its facts and the kept sums from the journals, and compare; non-zero when a figure differs."""
    found = book_differences(bridge)
    for one in found:
        click.echo(f"{one.invoice_id or 'kept sums'}  {one.figure}: booked {one.booked}, rebuilt {one.rebuilt}")
    click.echo(f"{len(found)} differences")
    sys.exit(1 if found else 0)


deliveries = click.Group("deliveries")


@deliveries.command("redeliver")
@click.argument("delivery_ids", nargs=-1)
@click.option("--state", type=click.Choice(["delivered", "parked"]), help="All in this state.")
@click.option("--merchant", help="Only this merchant's.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent again.")
@acting
def deliveries_redeliver(
    bridge: Bridge, delivery_ids: tuple[str, ...], state: str | None, merchant: str | None, dry_run: bool, **who: str
) -> None:
    """Put deliveries back into the queue; the receiver sees the same event id again."""
    chosen = list(delivery_ids) or outbox.choose(bridge, state=state, merchant=merchant)
    if dry_run:
        click.echo("\n".join([*chosen, f"{len(chosen)} would be sent again"]))
        return
    count = 0
    with bar("Putting back", length=len(chosen)) as drawn:
        for delivery_id in chosen:
            count += outbox.redeliver(bridge, delivery_id, **who)
            drawn.update(1)
    click.echo(f"{count} put back into the queue.")


events = click.Group("events")


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose events, the same for list and replay."""
    moment = Moment(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"])  # MOMENT in the order that --help has here
    options = (
        click.option("--direction", type=click.Choice(console.DIRECTIONS), default="out", show_default=True),
        click.option("--invoice", "invoice_id", help="Only this invoice's."),
        click.option("--type", "kind", help="Only this type, such as invoice.settled (out)."),
        click.option("--since", type=moment, help="From this time on, UTC."),
        click.option("--until", type=moment, help="Up to this time, UTC."),
        click.option("--limit", default=100, show_default=True),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _chosen(bridge: Bridge, chosen: dict[str, Any]) -> list[dict[str, Any]]:
    match = given(invoice_id=chosen["invoice_id"], type=chosen["kind"] if chosen["direction"] == "out" else None)
    plain = {name: chosen[name] for name in ("direction", "since", "until", "limit")}
    return console.list_events(bridge, match=match, **plain)


@events.command("list")
@_filters
@json_too
@reading
def events_list(bridge: Bridge, /, is_json: bool, **chosen: Any) -> None:
    """List events, newest first."""
    rows = _chosen(bridge, chosen)
    if is_json:
        show(rows)
        return
    for row in rows:
        click.echo(f"{row['id']:28}  {row['at']}  {row['type']:20}  {row['invoice_id']}")
    click.echo(f"{len(rows)} events")


@events.command("show")
@click.argument("event_id")
@reading
def events_show(bridge: Bridge, event_id: str) -> None:
    """Show an event with its body."""
    show(console.show_event(bridge, event_id))


@events.command("replay")
@click.argument("event_ids", nargs=-1)
@_filters
@click.option("--dry-run", is_flag=True, help="Say what would be replayed.")
@acting
def events_replay(
    bridge: Bridge, /, event_ids: tuple[str, ...], dry_run: bool, actor: str, reason: str, **chosen: Any
) -> None:
    """Replay events by id, or all that the options choose, oldest first. Nothing that is already true changes."""
    wanted = list(event_ids) or [row["id"] for row in reversed(_chosen(bridge, chosen))]
    if dry_run:
        click.echo("\n".join([*wanted, f"{len(wanted)} would be replayed"]))
        return
    outcomes: Counter[str] = Counter()
    with bar("Replaying", length=len(wanted)) as drawn:
        for event_id in wanted:
            outcomes[console.replay(bridge, event_id, actor=actor, reason=reason)] += 1
            drawn.update(1)
    for outcome, count in sorted(outcomes.items()):
        click.echo(f"{count} {outcome}")


policy = click.Group("policy")


@policy.command("show")
@click.argument("number", type=int, required=False)
@reading
def policy_show(bridge: Bridge, number: int | None) -> None:
    """Show version NUMBER, or what is in force, what waits for people and whether the file says the same."""
    show(policies.show_policy(bridge) if number is None else policies.show_version(bridge, number))


@policy.command("diff")
@click.argument("before", type=int, required=False)
@click.argument("after", type=int, required=False)
@click.pass_context
def policy_diff(ctx: click.Context, before: int | None, after: int | None) -> None:
    """Compare versions BEFORE and AFTER; without them the one in force and the settings file. Exit code 1 if they differ."""
    if (before is None) != (after is None):
        raise click.UsageError("Name two versions, or none.")
    with opened(ctx) as bridge:
        if before is None or after is None:
            changes = policies.show_policy(bridge)["file_changes"]
        else:
            changes = policies.compare_versions(bridge, before, after)
    for each in changes:
        click.echo(f"{each['setting']}: {_or_nothing(each['before'])} → {_or_nothing(each['after'])}")
    sys.exit(1 if changes else 0)


def _or_nothing(text: str | None) -> str:
    return "(not set)" if text is None else text or "(empty)"


COMMANDS = (ledger, invoices, find, explain, review, verify_audit, mode, treasury, deliveries, events, policy)
