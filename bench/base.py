"""This checkout beside another one, the base, in one run: interleaved rounds, each side with its own database, programs and stub.

Owns the pairs and their ratios. A ratio above 1 is always in favour of this checkout: its requests a second by those of the base,
the milliseconds of the base by its own. It is the median of the rounds' ratios: what slows the machine down slows both of a round.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from typing import TypeVar

import requests

from bench import claims, load
from bench.http_routes import CLIENTS, Clients, gather_statistics, tokens_of
from bench.latency import PER_SECOND, count_of, living, open_invoice, percentile, settling
from bench.place import API_KEY, Bench, Place, Run, open_database, open_place, run_python
from bench.table import Report

ROUNDS = 3
TARGET = 0.95
# A payment's whole life has more to reach: how many of them a second, and how few of the processor's milliseconds each takes.
LIVES_TARGET, COST_TARGET = 3.0, 2.0
CLAIMED_AMONG = 100_000
SIDES = ("this", "base")
Found = TypeVar("Found")


def measure(
    bench: Bench,
    report: Report,
    engine: str,
    *,
    rounds: int = ROUNDS,
    clients: Clients = CLIENTS,
    among: int = CLAIMED_AMONG,
) -> None:
    """Judges every row: this checkout may not fall behind the base by more than a twentieth, and with a whole life of a payment it
    has to be far ahead.
    """
    _routes(bench, report, engine, rounds, clients)
    _settling(bench, report, engine, rounds)
    _lives(bench, report, engine, rounds)
    _claims(bench, report, engine, rounds, among)


def _routes(bench: Bench, report: Report, engine: str, rounds: int, numbers: Clients) -> None:
    with _places(bench, engine) as places:
        urls = [place.web() for place in places]

        def put_under(side: int, url: str, clients: int, request: str, head: str = "") -> Run:
            began_ms = places[side].processor_ms()
            found = load.wrk(url, clients=clients, seconds=bench.seconds, request=request, key=API_KEY, head=head)
            return Run(rate=found.per_second, count=found.requests, cpu_ms=places[side].processor_ms() - began_ms)

        def opened(clients: int, side: int, _: int = 0) -> Run:
            return put_under(side, f"{urls[side]}/v1/invoices", clients, load.OPEN)

        for side, place in enumerate(places):
            opened(4, side)
            gather_statistics(place)
        by_clients = {clients: _in_turn(rounds, partial(opened, clients)) for clients in numbers}
        for clients, runs in by_clients.items():
            _judge_rates(report, f"{engine}: open, {clients} clients", runs)
        _judge_cost(report, f"{engine}: an open", list(chain.from_iterable(by_clients.values())))
        tokens, polls = [tokens_of(place) for place in places], [_poll_of(url) for url in urls]
        rings = _in_turn(rounds, lambda side, _: put_under(side, urls[side], 16, load.CALLBACK, tokens[side]))
        _judge_rates(report, f"{engine}: callback accepted, 16 clients", rings)
        _judge_cost(report, f"{engine}: a callback", rings)
        polled = _in_turn(rounds, lambda side, _: put_under(side, polls[side][0], 16, polls[side][1]))
        _judge_rates(report, f"{engine}: status polls with ETag, 16 clients", polled)
        _judge_cost(report, f"{engine}: a status poll", polled)


def _poll_of(url: str) -> tuple[str, str]:
    """The address that a payer's page asks, and the request with the ETag that it has."""
    page = open_invoice(url, "polled")["payment_url"].partition("/pay/")[2]
    asked = f"{url}/pay/{page}/status"
    etag = requests.get(asked, timeout=30).headers["ETag"]
    return asked, load.GET.format(headers=f"{{['If-None-Match']='{etag}'}}")


def _settling(bench: Bench, report: Report, engine: str, rounds: int) -> None:
    count = max(20, round(PER_SECOND * bench.seconds))
    with _places(bench, engine) as places, ExitStack() as stack:
        settle = [stack.enter_context(settling(place, rounds=rounds, count=count)) for place in places]

        def settled(side: int, each: int) -> tuple[list[float], Run]:
            began_ms = places[side].processor_ms()
            delays = settle[side](each)
            return delays, Run(rate=PER_SECOND, count=count, cpu_ms=places[side].processor_ms() - began_ms)

        runs = _in_turn(rounds, settled)
    for percent in (50, 99):
        at = [(percentile(ours[0], percent), percentile(theirs[0], percent)) for ours, theirs in runs]
        _judge_times(report, f"{engine}: callback to settled, p{percent} at {PER_SECOND}/s", at)
    _judge_cost(report, f"{engine}: a payment until settled", [(ours[1], theirs[1]) for ours, theirs in runs])


def _lives(bench: Bench, report: Report, engine: str, rounds: int) -> None:
    with _places(bench, engine) as places, ExitStack() as stack:
        live = [stack.enter_context(living(place)) for place in places]
        runs = _in_turn(rounds, lambda side, _: live[side](count_of(bench)))
    _judge_rates(report, f"{engine}: paid, settled and told", runs, target=LIVES_TARGET)
    _judge_cost(report, f"{engine}: a payment, open to told", runs, target=COST_TARGET)


def _claims(bench: Bench, report: Report, engine: str, rounds: int, among: int) -> None:
    with ExitStack() as stack:
        zygotes = (bench.zygote, bench.base or bench.zygote)
        urls = [stack.enter_context(open_database(bench, engine, zygote=zygote)) for zygote in zygotes]

        def claimed_ms(side: int, each: int) -> float:
            zygote, first = zygotes[side], among if each else 0
            return float(run_python(zygote, "-P", claims.__file__, urls[side], str(first), str(among)))

        _judge_times(report, f"{engine}: claim of {claims.CLAIM} among {among:,} open", _in_turn(rounds, claimed_ms))


@contextmanager
def _places(bench: Bench, engine: str) -> Iterator[tuple[Place, Place]]:
    with open_place(bench, engine) as this, open_place(bench, engine, zygote=bench.base) as base:
        yield this, base


def _in_turn(rounds: int, measured: Callable[[int, int], Found]) -> list[tuple[Found, Found]]:
    """Calls `measured` with side and round, and returns what was found of this checkout and of the base, by round.

    The sides take turns in being first: the second finds the machine as the first has left it.
    """
    found = []
    for each in range(rounds):
        first = each % 2
        of = {side: measured(side, each) for side in (first, 1 - first)}
        found.append((of[0], of[1]))
    return found


def _judge_rates(report: Report, name: str, runs: Sequence[tuple[Run, Run]], *, target: float = TARGET) -> None:
    rates = [(ours.rate, theirs.rate) for ours, theirs in runs]
    _judge(report, name, [ours / theirs for ours, theirs in rates], rates, "/s", target)


def _judge_cost(report: Report, name: str, runs: Sequence[tuple[Run, Run]], *, target: float = TARGET) -> None:
    """The processor's time of all rounds together: it counts in steps, which short rounds may not fill."""
    each = [(sum(run.cpu_ms for run in side) or 1) / sum(run.count for run in side) for side in zip(*runs, strict=True)]
    _judge_times(report, f"{name}, processor", [(each[0], each[1])], target=target)


def _judge_times(report: Report, name: str, runs: Sequence[tuple[float, float]], *, target: float = TARGET) -> None:
    _judge(report, name, [theirs / ours for ours, theirs in runs], runs, " ms", target)


def _judge(
    report: Report, name: str, ratios: Sequence[float], runs: Sequence[tuple[float, float]], unit: str, target: float
) -> None:
    ratio = statistics.median(ratios)
    figures = [statistics.median(side) for side in zip(*runs, strict=True)]
    told = ", ".join(
        f"{word} {figure:.{0 if figure >= 100 else 2}f}{unit}" for word, figure in zip(SIDES, figures, strict=True)
    )
    report.at_least(f"{name}, new/base", ratio, target, shown=f"{ratio:.2f} ({told})")
