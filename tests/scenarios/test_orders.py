"""Readings in every order and in several copies: the end is the same state, the same books and one "settled"."""

import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest

from bridge.context import Bridge
from bridge.core.evidence import ChainOutput, ChainReading, Fate, ProviderReading
from bridge.invoices.deliver import deliver_due
from bridge.invoices.observe import Readings, Seen, take_in
from bridge.invoices.open_invoice import NewInvoice, open_invoice
from bridge.store import events, invoices, ledger
from tests.builders import World, build_bridge, with_rail
from tests.fakes import START, SettableClock, tip_at

DUE_SAT = 15_539
PART_SAT, REST_SAT = 9_000, DUE_SAT - 9_000
# Minutes after the opening, and the confirmations of first part and rest; None is not there yet.
IN_TIME = ((1, None, None), (2, 0, None), (5, 0, 0), (9, 1, 1), (14, 3, 3))
CONFIRMED_AFTER_THE_QUOTE = ((1, None, None), (2, 0, None), (14, 0, 0), (25, 1, 1), (300, 7, 7))
REPLACED_BETWEEN = ((1, 0, None), (3, None, 0), (5, 0, 0), (8, 0, 1), (12, 2, 3))


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def bridge(database_url: str, clock: SettableClock) -> Iterator[Bridge]:
    built = build_bridge(database_url, world=World(clock=clock))
    built = with_rail(built, calls_per_minute=1_000)
    with closing(built.store):
        yield built


@pytest.mark.parametrize("history", [IN_TIME, CONFIRMED_AFTER_THE_QUOTE, REPLACED_BETWEEN], ids=range(3))
def test_every_order_of_five_readings_ends_the_same(bridge: Bridge, clock: SettableClock, history: Any) -> None:
    orders = list(itertools.permutations(range(5)))
    # Every seventh order is also played with each reading twice, the copies in the opposite order at the end.
    played = [order if n % 7 else order + order[::-1] for n, order in enumerate(orders)]
    ends = {str(outcome(bridge, clock, history, order, number)) for number, order in enumerate(played)}
    assert len(ends) == 1
    (end,) = ends
    assert "'settled', 'none'" in end
    assert f"'wallet:hot': {DUE_SAT}" in end


def outcome(bridge: Bridge, clock: SettableClock, history: Any, order: tuple[int, ...], number: int) -> Any:
    """What is left after the readings came in this order: state, books, and how often "settled" was told."""
    clock.now = START
    invoice_id, address = opened(bridge, number)
    clock.now = at(400)
    for place in order:
        with bridge.store.write() as tx:
            take_in(tx, bridge, invoice_id, readings(address, *history[place]), actor="worker")
    deliver_due(bridge, owner="test", limit=1_000, submit=lambda work: work())
    with bridge.store.read() as tx:
        row = invoices.find(tx, id=invoice_id)
        assert row is not None
        payments = [(p.key, p.amount_sat, p.confirmations, p.replaced) for p in invoices.payments_of(tx, invoice_id)]
        books = {k: v for k, v in sorted(ledger.balances(tx, invoice_id=invoice_id).items()) if v}
        settled = [e for e in events_of(tx, invoice_id) if e == "invoice.settled"]
    assert settled == ["invoice.settled"]
    return row.status, row.exception, row.hold, row.received_sat, row.remaining_sat, sorted(payments), books


def opened(bridge: Bridge, number: int) -> tuple[str, str]:
    request = NewInvoice(billing_payment_id=f"b{number}", amount_text="10.00", currency="USD")
    merchant = bridge.merchants["shop"]
    answered = open_invoice(bridge, merchant=merchant, request=request, key=f"k{number}", body_sha256="0" * 64)
    invoice = json.loads(answered.body)
    assert invoice["quote"]["due_sat"] == DUE_SAT
    return invoice["id"], invoice["address"]


def readings(address: str, minute: int, part: int | None, rest: int | None) -> Readings:
    asked_at = at(minute)
    found = [("aa" * 32 + ":0", PART_SAT, part), ("bb" * 32 + ":1", REST_SAT, rest)]
    outputs = tuple(
        ChainOutput(
            outpoint=outpoint,
            amount_sat=sat,
            confirmations=depth,
            replaceable=False,
            block_time=at(minute) if depth else None,
        )
        for outpoint, sat, depth in found
        if depth is not None
    )
    gone = {outpoint: Fate(code="rival_confirmed") for outpoint, _, depth in found if depth is None}
    total = sum(output.amount_sat for output in outputs)
    seen = Seen(
        provider=ProviderReading(address=address, received_sat=total, reached=total >= DUE_SAT, asked_at=asked_at),
        chain=ChainReading(
            address=address, outputs=outputs, tip=tip_at(1), source="esplora:t", asked_at=asked_at, fates=gone
        ),
    )
    return Readings(asked_at=asked_at, seen=(seen,))


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def events_of(tx: Any, invoice_id: str) -> list[str]:
    return [event.type for event in events.of_invoice(tx, invoice_id)]
