"""What a reconciliation of a hundred thousand paid invoices costs, three ways, in one pass: time, and flat memory.

Owns this measurement; the invoices are copies of one that went through the bridge, the outside worlds answer at once.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, text

from bench.table import Report
from bridge.books.reconcile import show_reconciliation, start_reconciliation, step
from bridge.context import Bridge
from bridge.core.evidence import ChainReading, KnownOutput, Tip, WalletBalance
from bridge.invoices.observe import look
from bridge.invoices.open_invoice import open_invoice
from bridge.store.tables import (
    billing_statuses,
    entries,
    events,
    invoices,
    journals,
    metadata,
    payments,
    quotes,
    targets,
)
from tests.builders import World, build_bridge, build_merchant, build_request, with_rail
from tests.fakes import FakeWallet

FEW, MANY = 1_000, 100_000
A_SECOND = 5_000


def measure(report: Report, engine: str, database_url: str, *, few: int = FEW, many: int = MANY) -> None:
    """Reconciles `few` and then `many` invoices over a migrated, empty database."""
    bridge, outside = shop(database_url)
    try:
        memory_mb, seconds, have = {}, {}, 1
        for size in (few, many):
            with bridge.store.write() as tx:
                copy_paid(tx, first=have, last=size - 1)
            have, outside.count = size, size
            seconds[size], memory_mb[size], found = one_pass(bridge)
            assert found["is_clean"] and found["checked"] == size, found
        report.note(f"{engine}: reconciling {many:,} invoices", seconds[many], f"{seconds[many]:.1f} s")
        report.at_least(f"{engine}: invoices reconciled a second", many / seconds[many], A_SECOND)
        growth = memory_mb[many] - memory_mb[few]
        report.at_most(f"{engine}: memory with {many:,} above {few:,} (MB)", growth, 20)
    finally:
        bridge.store.close()


def shop(database_url: str) -> tuple[Bridge, "Outside"]:
    """A bridge with one paid invoice, and the worlds that will say the same of its copies."""
    world = World()
    bridge = build_bridge(database_url, world=world, merchants={"shop": build_merchant()})
    open_invoice(bridge, merchant=bridge.merchants["shop"], request=build_request("0"), key="k1", body_sha256="x")
    with bridge.store.read() as tx:
        row = tx.execute(select(invoices)).one()
    world.money.pay(row.address, row.remaining_sat, confirmations=9)
    look(bridge, row.id)
    with bridge.store.write() as tx:
        said = {"merchant": "shop", "billing_payment_id": "0", "status": 4, "amount_text": "10.00", "currency": "USD"}
        now = world.clock.now
        tx.execute(billing_statuses.insert().values(**said, external_id=row.id, first_reported_at=now, reported_at=now))
    outside = Outside(world, row.address)
    return replace(with_rail(bridge, reader=outside, balance=outside.balance), chain=outside), outside


class Outside(FakeWallet):
    """Chain and wallet as the copies would have them: what is on the one address is on every copy of it."""

    def __init__(self, world: World, address: str):
        super().__init__(world.money)
        self.chain, self.template, self.count = world.chain, address, 1

    def read(
        self, address: str, *, born_at: datetime, asked_at: datetime, known: Sequence[KnownOutput] = ()
    ) -> ChainReading:
        found = self.chain.read(self.template, born_at=born_at, asked_at=asked_at)
        if address == self.template:
            return found
        outpoint = f"tx{address.removeprefix('address_')}:0"
        return replace(found, address=address, outputs=tuple(replace(o, outpoint=outpoint) for o in found.outputs))

    def tip(self) -> Tip:
        return self.chain.tip()

    def close(self) -> None:
        """Nothing is open."""

    def balance(self) -> WalletBalance:
        one = super().balance()
        return WalletBalance(**{name: sat * self.count for name, sat in vars(one).items()})


def one_pass(bridge: Bridge) -> tuple[float, float, dict[str, Any]]:
    """Seconds, the most megabytes this program had meanwhile, and what the run found."""
    started, most_mb = time.perf_counter(), 0.0
    run_id = start_reconciliation(bridge, actor="bench", reason="bench")
    is_over = False
    while not is_over:
        is_over = step(bridge, run_id).is_over
        most_mb = max(most_mb, _memory_mb())
    return time.perf_counter() - started, most_mb, show_reconciliation(bridge, run_id)


def copy_paid(tx: Connection, *, first: int, last: int) -> None:
    """Copies number `first` to `last` of the one paid invoice, with all that belongs to it."""
    template = tx.execute(select(invoices).where(invoices.c.billing_payment_id == "0")).one()
    names = ("public_id", "billing_payment_id", "address", "callback_token_sha256", "trace_id")
    values = {name: f"'{name}_' || n" for name in names} | {"id": "'inv_copy_' || n"}
    _copy(tx, invoices, f"id = '{template.id}'", values, first, last)
    mine, owner = f"invoice_id = '{template.id}'", {"invoice_id": "'inv_copy_' || n"}
    _copy(tx, targets, mine, owner | {"text": values["address"]}, first, last, left_out=("id",))
    _copy(tx, quotes, mine, owner, first, last, left_out=("id",))
    _copy(tx, payments, mine, owner | {"key": "'tx' || n || '\\:0'"}, first, last, left_out=("id",))
    _copy(tx, events, mine, owner | {"id": "'evt_' || n || '_' || sequence"}, first, last)
    said = {"billing_payment_id": "'billing_payment_id_' || n", "external_id": "'inv_copy_' || n"}
    _copy(tx, billing_statuses, "billing_payment_id = '0'", said, first, last)
    posted = tx.execute(select(journals.c.id).where(journals.c.invoice_id == template.id)).scalars().all()
    for place, journal_id in enumerate(posted):
        its_id = f"1000000 + n * {len(posted)} + {place}"
        _copy(tx, journals, f"id = {journal_id}", owner | {"id": its_id}, first, last)
        legs = {"journal_id": its_id}
        _copy(tx, entries, f"journal_id = {journal_id}", legs, first, last, left_out=("id",))


def _copy(
    tx: Connection,
    table: Any,
    where: str,
    values: dict[str, str],
    first: int,
    last: int,
    *,
    left_out: tuple[str, ...] = (),
) -> None:
    is_sqlite = tx.dialect.name == "sqlite"
    series = (
        f"WITH RECURSIVE s(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM s WHERE n < {last})"
        if is_sqlite
        else f"WITH s(n) AS (SELECT generate_series({first}, {last}))"
    )
    assert table.name in metadata.tables
    columns = [column.name for column in table.columns if column.name not in left_out]
    chosen = ", ".join(values.get(name, f'"{name}"') for name in columns)
    named = ", ".join(f'"{name}"' for name in columns)
    tx.execute(text(f"INSERT INTO {table.name} ({named}) {series} SELECT {chosen} FROM s, {table.name} WHERE {where}"))


def _memory_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1_024
