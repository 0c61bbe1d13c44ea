"""`python -m bench`: prints a table, a line per figure beside its yardsticks, and writes them as JSON.

Owns the order of measurements; the exit code is 0 when every target was reached.
"""

import sys
from pathlib import Path

import click

from bench import base as other
from bench import books, history, http_routes, latency, lightning, memory, module, peer, polling, scale, starts, year
from bench.place import ENGINES, open_bench, open_database
from bench.table import Report

PARTS = (
    "routes",
    "latency",
    "life",
    "dead",
    "polls",
    "nodes",
    "scale",
    "books",
    "polling",
    "module",
    "starts",
    "memory",
    "lightning",
)
PEER, BASE, HISTORY, YEAR = "peer", "base", "history", "year"


@click.command()
@click.option("--seconds", default=5.0, show_default=True, help="How long each measurement runs.")
@click.option("--only", multiple=True, type=click.Choice((*PARTS, PEER, BASE, HISTORY, YEAR)), help="Only these parts.")
@click.option("--peer", "with_peer", is_flag=True, help="Beside LNbits too, which is installed into build/.")
@click.option(
    "--base",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    help="A folder with another checkout: this one is measured beside it, and without --only nothing else.",
)
@click.option(
    "--rounds",
    default=other.ROUNDS,
    show_default=True,
    help="How often beside the base; more where others use the machine.",
)
@click.option(
    "--settled",
    default=(history.FEW, history.MANY),
    show_default=True,
    type=(int, int),
    help="Two numbers of settled invoices that history is measured among; a million takes minutes and gigabytes.",
)
@click.option("--engine", multiple=True, type=click.Choice(ENGINES), help="Only on these engines.")
@click.option("--output", default="var/bench.json", show_default=True, type=click.Path(path_type=Path))
def main(
    seconds: float,
    only: tuple[str, ...],
    with_peer: bool,
    base: Path | None,
    rounds: int,
    settled: tuple[int, int],
    engine: tuple[str, ...],
    output: Path,
) -> None:
    """Measure the bridge. Figures of another machine or another run compare with nothing here."""
    parts = {*(only or ((BASE,) if base else PARTS)), *([PEER] if with_peer else [])}
    if BASE in parts and (base is None or not (base / "tests" / "durability" / "zygote.py").exists()):
        raise click.UsageError("--base must be the folder of another checkout of this repository, 0.1.0 or later.")
    report, engines = Report(), engine or ENGINES
    lnbits = peer.install() if PEER in parts else None
    with open_bench(seconds=seconds, base=base) as bench:
        for name in engines:
            if "routes" in parts:
                http_routes.measure(bench, report, name)
            if "latency" in parts:
                latency.callback_to_settled(bench, report, name)
            if "life" in parts:
                latency.whole_life(bench, report, name)
            if "dead" in parts:
                latency.dead_endpoint(bench, report, name)
            if "polls" in parts:
                latency.status_polls(bench, report, name)
            if "scale" in parts:
                scale.measure(bench, report, name)
            if "books" in parts:
                with open_database(bench, name) as url:
                    books.measure(report, name, url)
            if HISTORY in parts:
                history.measure(bench, report, name, few=settled[0], many=settled[1])
            if YEAR in parts:
                year.measure(bench, report, name)
            if parts & {"memory", BASE}:
                memory.measure(bench, report, name)
            if BASE in parts:
                other.measure(bench, report, name, rounds=rounds)
            if lnbits:
                peer.measure(bench, report, name, lnbits)
        if YEAR in parts:
            year.looks(report)
        if "nodes" in parts and "postgresql" in engines:
            latency.more_nodes(bench, report)
        if "polling" in parts:
            polling.measure(bench, report)
        if "module" in parts:
            module.measure(bench, report)
        if parts & {"starts", BASE}:
            starts.measure(bench, report)
        if "lightning" in parts:
            lightning.many_open(bench, report)
            lightning.measure(bench, report)
            if lnbits:
                lightning.measure(bench, report, lnbits)
    output.parent.mkdir(parents=True, exist_ok=True)
    report.write(output, seconds=seconds)
    short = [figure for figure in report.figures if not figure.is_reached]
    click.echo(f"{len(short)} of {sum(bool(f.target) for f in report.figures)} targets short; written to {output}")
    sys.exit(1 if short else 0)


if __name__ == "__main__":
    main()
