"""Commands of the delivery console that no row of the table makes: many sent again, and events.

Owns arguments and output; each command calls one flow.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import click

from bridge.cli.opened import Moment, acting, given, reading, show
from bridge.context import Bridge
from bridge.invoices import deliver as outbox
from bridge.invoices import inbox as console


@click.group()
def deliveries() -> None:
    """What merchants were told, and what they answered."""


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
    with click.progressbar(chosen, label="Putting back") as bar:
        count = sum(outbox.redeliver(bridge, delivery_id, **who) for delivery_id in bar)
    click.echo(f"{count} put back into the queue.")


@click.group()
def events() -> None:
    """What we were told (in) and what we told (out)."""


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
@reading
def events_list(bridge: Bridge, /, **chosen: Any) -> None:
    """List events, newest first."""
    rows = _chosen(bridge, chosen)
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
    with click.progressbar(wanted, label="Replaying") as bar:
        for event_id in bar:
            outcomes[console.replay(bridge, event_id, actor=actor, reason=reason)] += 1
    for outcome, count in sorted(outcomes.items()):
        click.echo(f"{count} {outcome}")


COMMANDS = (deliveries, events)
