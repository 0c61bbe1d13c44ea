"""Commands of the delivery console: deliveries and events, listed, shown, sent again.

Owns arguments and output; each command calls one flow.
"""

import click

from bridge.cli.opened import opened, show
from bridge.flows import redeliver as outbox


@click.group()
def deliveries() -> None:
    """What merchants were told, and what they answered."""


@deliveries.command("list")
@click.option("--state", type=click.Choice(["pending", "delivered", "parked"]))
@click.option("--merchant")
@click.option("--invoice", "invoice_id")
@click.option("--limit", default=50, show_default=True)
@click.pass_context
def deliveries_list(
    ctx: click.Context, state: str | None, merchant: str | None, invoice_id: str | None, limit: int
) -> None:
    """List deliveries, newest first."""
    wanted = {"state": state, "merchant": merchant, "invoice_id": invoice_id}
    with opened(ctx) as bridge:
        rows = outbox.list_deliveries(bridge, match={k: v for k, v in wanted.items() if v}, limit=limit)
    for row in rows:
        click.echo(f"{row['id']}  {row['state']:9}  {row['type']:20}  {row['attempts']} tries  {row['invoice_id']}")
    click.echo(f"{len(rows)} deliveries")


@deliveries.command("show")
@click.argument("delivery_id")
@click.pass_context
def deliveries_show(ctx: click.Context, delivery_id: str) -> None:
    """Show a delivery with every attempt."""
    with opened(ctx) as bridge:
        show(outbox.show_delivery(bridge, delivery_id))


@deliveries.command("redeliver")
@click.argument("delivery_ids", nargs=-1)
@click.option("--state", type=click.Choice(["delivered", "parked"]), help="All in this state.")
@click.option("--merchant", help="Only this merchant's.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent again.")
@click.option("--actor", required=True)
@click.pass_context
def deliveries_redeliver(
    ctx: click.Context,
    delivery_ids: tuple[str, ...],
    state: str | None,
    merchant: str | None,
    dry_run: bool,
    actor: str,
) -> None:
    """Put deliveries back into the queue; the receiver sees the same event id again."""
    with opened(ctx) as bridge:
        chosen = list(delivery_ids) or outbox.choose(bridge, state=state, merchant=merchant)
        if dry_run:
            click.echo("\n".join([*chosen, f"{len(chosen)} would be sent again"]))
            return
        with click.progressbar(chosen, label="Putting back") as bar:
            count = sum(outbox.redeliver(bridge, delivery_id, actor=actor) for delivery_id in bar)
    click.echo(f"{count} put back into the queue.")


COMMANDS = (deliveries,)
