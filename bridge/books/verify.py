"""Looking through what was written down: the audit's hash chain with the policy versions, and the journals of every invoice.

Owns the walks, their pace and the reports; the chain is `store.audit`'s. Must not post or repair anything: a difference is for a
person. What a walk notes in the database only saves time: a walk from the beginning believes none of it, and an anchor kept
elsewhere shows whether the whole chain was written anew.
"""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from bridge.context import Bridge
from bridge.core.ledger import Books
from bridge.logs import log
from bridge.store import audit, invoice_pages, ledger, policies, sums
from bridge.store.audit import Link, Walk
from bridge.store.db import Tx
from bridge.store.invoice_pages import InvoiceFacts
from bridge.turns import NOBODY, take_turn

PAGE = 2_000
FULL, FULL_SECONDS = "audit_full", 86_400
RECENT, RECENT_SECONDS = "audit_recent", 600


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Whether the chain is whole, what to say about it, and its end as POSITION:SHA256 to keep somewhere else."""

    is_intact: bool
    detail: str
    sealed: int = 0
    anchor: str = ""


def verify_audit(bridge: Bridge, *, anchor: str = "") -> AuditReport:
    """Walks the whole chain. `anchor`: what an earlier report said the end was; it must still be a link of the chain."""
    found, now = _walk(bridge, Link(), anchor=anchor), bridge.clock()
    broken = found.broken
    with bridge.store.write() as tx:
        audit.note_check(tx, "full", found, at=now)
        audit.note_check(tx, "recent", found, at=now)
    end = f"{found.end.position}:{found.end.sha256}"
    level = logging.INFO if broken is None else logging.ERROR
    log("audit.verified", level=level, anchor=end, broken=broken)
    if broken is not None:
        return AuditReport(is_intact=False, detail=f"The audit was tampered with: {broken}.")
    sealed = found.end.position
    return AuditReport(is_intact=True, detail=f"The audit is intact: {sealed} sealed rows.", sealed=sealed, anchor=end)


def verify_due(bridge: Bridge) -> int:
    """The worker's share: all of it once a day, what is new every ten minutes. Returns how many rows were walked."""
    now = bridge.clock()
    is_full = take_turn(bridge, FULL, owner=NOBODY, now=now, every_seconds=FULL_SECONDS)
    is_recent = take_turn(bridge, RECENT, owner=NOBODY, now=now, every_seconds=RECENT_SECONDS)
    if is_full:
        return verify_audit(bridge).sealed
    return _verify_recent(bridge) if is_recent else 0


def first_recent_break(tx: Tx) -> str | None:
    """What the last walks found, or what is wrong behind them. Reads only what was sealed since, and changes nothing."""
    known = audit.checks(tx)
    found = [row.broken for row in known.values() if row.broken]
    return found[0] if found else _to_the_end(tx, _start(tx)).broken


def _verify_recent(bridge: Bridge) -> int:
    with bridge.store.read() as tx:
        start = _start(tx)
    found = _walk(bridge, start)
    with bridge.store.write() as tx:
        audit.note_check(tx, "recent", found, at=bridge.clock())
    return found.end.position - start.position


def _start(tx: Tx) -> Link:
    known = audit.checks(tx).get("recent")
    return Link(known.position, known.sha256) if known is not None else Link()


def _walk(bridge: Bridge, start: Link, *, anchor: str = "") -> Walk:
    """To the end, and then the policy versions against what was told of them.

    Page by page, each in its own transaction: a long one would keep the write-ahead log from being cut.
    """
    position, _, sha256 = anchor.partition(":")
    while True:
        with bridge.store.read() as tx:
            found = audit.walk(tx, start, limit=PAGE)
            if anchor and not audit.is_link(tx, int(position) if position.isdecimal() else -1, sha256):
                return Walk(end=found.end, broken=f"the anchor {anchor[:80]} is no link of this chain")
            if found.is_over:
                return found if found.broken else replace(found, broken=policies.first_break(tx))
        start, anchor = found.end, ""


def _to_the_end(tx: Tx, start: Link) -> Walk:
    found = audit.walk(tx, start, limit=PAGE)
    while not found.is_over:
        found = audit.walk(tx, found.end, limit=PAGE)
    return found


INVOICES_PAGE = 500


@dataclass(frozen=True, kw_only=True)
class BookDifference:
    """One figure of one invoice whose journals say something else than its facts, in the unit of the figure's suffix; of an account
    satoshi. Of no invoice, "", is a sum that is kept of the ledger: `booked` is what is kept, `rebuilt` what the journals say.
    """

    invoice_id: str
    figure: str
    booked: int
    rebuilt: int


def book_differences(bridge: Bridge) -> list[BookDifference]:
    """Rebuilds the books of every invoice from quotes, payments and rulings, and the kept sums from the journals; empty when all of
    them say the same.
    """
    found = list(_sum_differences(bridge))
    after = ""
    while True:
        with bridge.store.read() as tx:
            page = invoice_pages.page(tx, after=after, limit=INVOICES_PAGE)
        found += [difference for facts in page for difference in _lasting(bridge, facts)]
        if len(page) < INVOICES_PAGE:
            return found
        after = page[-1].row.id


def _sum_differences(bridge: Bridge) -> Iterator[BookDifference]:
    """Day by day, each in its own transaction, as the other walks."""
    with bridge.store.read() as tx:
        ends, apart = sums.first_and_last(tx), sums.differing_balances(tx)
    since, last = ends or (0, -1)
    since -= since % sums.HOUR
    while since <= last:
        until = since + 24 * sums.HOUR
        with bridge.store.read() as tx:
            apart += sums.differing(tx, since=since, until=until)
        since = until
    for key, kept, journals in apart:
        yield BookDifference(invoice_id="", figure=" ".join(key), booked=kept, rebuilt=journals)


def balances(
    bridge: Bridge, *, invoice_id: str | None = None, merchant: str | None = None, service_ref: str | None = None
) -> dict[str, dict[str, int]]:
    """Signed balance by asset and account (debit positive): of one invoice, merchant or service, or of everything."""
    with bridge.store.read() as tx:
        totals = ledger.totals(tx, invoice_id=invoice_id, merchant=merchant, service_ref=service_ref)
    shown: dict[str, dict[str, int]] = {}
    for (account, asset), units in sorted(totals.items()):
        shown.setdefault(asset, {})[account] = units
    return shown


def _lasting(bridge: Bridge, facts: InvoiceFacts) -> list[BookDifference]:
    """Facts and books are read one after the other: what differs counts where the invoice did not change meanwhile."""
    while found := _differences(bridge, facts):
        with bridge.store.read() as tx:
            again = invoice_pages.of_ids(tx, [facts.row.id])[facts.row.id]
        if again.row.version == facts.row.version:
            return found
        facts = again
    return []


def _differences(bridge: Bridge, facts: InvoiceFacts) -> list[BookDifference]:
    # The alert rules are about the audit's chain alone, and begin every few minutes.
    from bridge.books.compare import booked_books, rebuilt_books

    booked, rebuilt = (_figures(of(bridge, facts)) for of in (booked_books, rebuilt_books))
    return [
        BookDifference(
            invoice_id=facts.row.id, figure=figure, booked=booked.get(figure, 0), rebuilt=rebuilt.get(figure, 0)
        )
        for figure in booked | rebuilt
        if booked.get(figure, 0) != rebuilt.get(figure, 0)
    ]


def _figures(books: Books) -> dict[str, int]:
    """Each of its own name, and what lies beside by its account."""
    figures: dict[str, int] = asdict(replace(books, beside={}))
    del figures["beside"]
    return figures | dict(books.beside)
