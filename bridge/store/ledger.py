"""Journals and entries: posted once, summed often, read in the order they were written, a page at a time; never changed.

Owns their queries; which journals are due is said by `core.ledger`. A period is [from, to) of the moment of the journal, which
never changes: adjoining periods add up.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select

from bridge.core.ledger import Journal
from bridge.core.money import BTC
from bridge.store import sums as sums_of
from bridge.store.rows import Rows
from bridge.store.tables import deliveries, entries, events, journals, payouts
from bridge.store.together import Together, ask

RECEIPTS, PAYOUT = "receipts", "payout"
SETTLING = ("settle", "absorb", "over", "refund_due")
_POST = insert(journals).returning(journals.c.id)
_ENTER = insert(entries)
_JOURNALS = Rows(table=journals, order=(journals.c.at, journals.c.id))
_BOOKED = entries.join(journals, journals.c.id == entries.c.journal_id)
_BALANCES = (
    select(entries.c.account, func.sum(entries.c.units))
    .select_from(_BOOKED)
    .where(journals.c.invoice_id == bindparam("invoice_id"), journals.c.family == bindparam("family"))
    .group_by(entries.c.account)
)


def post(
    tx: Connection,
    posted: Iterable[Journal],
    *,
    invoice_id: str | None,
    merchant: str,
    service_ref: str,
    at: datetime,
    memo: Mapping[str, Any],
    family: str = RECEIPTS,
    payout_id: str | None = None,
) -> None:
    """Appends the journals; a `…_reverse` names the newest journal of the kind it mirrors, of the same payout if any."""
    posted, together = tuple(posted), Together()
    values = {"invoice_id": invoice_id, "payout_id": payout_id, "merchant": merchant, "family": family}
    mirrors = mirrored(tx, posted, invoice_id=invoice_id, payout_id=payout_id)
    add(together, posted, values=values | {"at": at, "memo": memo}, service_ref=service_ref, mirrors=mirrors)
    together.run(tx)


def add(
    together: Together,
    posted: Iterable[Journal],
    *,
    values: Mapping[str, Any],
    service_ref: str,
    mirrors: Mapping[str, int],
) -> None:
    """The same among other statements: `values` are the journals' columns, `mirrors` what `mirrored` found."""
    for journal in posted:
        own = {"kind": journal.kind, "reverses_id": mirrors.get(journal.kind)}
        row = together.execute(_POST, {"family": RECEIPTS} | dict(values) | own)
        for entry in journal.entries:
            legs = {"account": entry.account, "asset": entry.asset, "units": entry.units, "service_ref": service_ref}
            together.execute(_ENTER, {"journal_id": row} | legs)


def mirrored(
    tx: Connection, posted: Iterable[Journal], *, invoice_id: str | None, payout_id: str | None = None
) -> dict[str, int]:
    """The newest journal of the kind that each `…_reverse` among them mirrors, by the reversing kind."""
    found = {}
    for kind in (journal.kind for journal in posted if journal.kind.endswith("_reverse")):
        of = journals.c.payout_id == payout_id if payout_id is not None else journals.c.invoice_id == invoice_id
        query = select(func.max(journals.c.id)).where(of, journals.c.kind == kind.removesuffix("_reverse"))
        found[kind] = tx.execute(query).scalar_one()
    return {kind: journal_id for kind, journal_id in found.items() if journal_id is not None}


def balances(tx: Connection, *, invoice_id: str, family: str = RECEIPTS) -> dict[str, int]:
    """Signed balance of every account that this invoice's journals of one family touched, in its asset's units."""
    found = ask(tx, _BALANCES, {"invoice_id": invoice_id, "family": family})
    return {account: int(units) for account, units in map(tuple, found)}


def owed(tx: Connection, invoice_id: str) -> dict[str, int]:
    """Signed satoshi on every account that any journal of this invoice touched, of all families together."""
    return units_by(tx, entries.c.account, where=(journals.c.invoice_id == invoice_id, entries.c.asset == BTC))


def of_payout(tx: Connection, payout_id: str, *, kind: str) -> dict[str, int]:
    """What a payout's journals of one kind and their mirrors have left on each account."""
    its = (journals.c.payout_id == payout_id, journals.c.kind.in_((kind, f"{kind}_reverse")))
    return units_by(tx, entries.c.account, where=its)


def totals(
    tx: Connection, *, invoice_id: str | None = None, merchant: str | None = None, service_ref: str | None = None
) -> dict[tuple[str, str], int]:
    """Signed balance per (account, asset) over all journals, of one invoice, merchant or service where asked."""
    if invoice_id is None and service_ref is None:
        return sums_of.held(tx, "account", "asset", merchant=merchant)
    asked = {journals.c.invoice_id: invoice_id, journals.c.merchant: merchant, entries.c.service_ref: service_ref}
    where = [column == value for column, value in asked.items() if value is not None]
    return units_by(tx, entries.c.account, entries.c.asset, where=where)


def sums(tx: Connection, accounts: Sequence[str]) -> dict[str, int]:
    """Signed satoshi on each of these accounts over all journals."""
    return dict.fromkeys(accounts, 0) | sums_of.held(tx, "account", account=tuple(accounts), asset=BTC)


def names(tx: Connection, txid: str, *, kind: str, account: str) -> bool:
    """Whether a journal of this kind that belongs to no invoice names a transaction for an account."""
    its = (journals.c.invoice_id.is_(None), journals.c.kind == kind, entries.c.account == account)
    told = tx.execute(select(journals.c.memo).select_from(_BOOKED).where(*its)).scalars()
    return any(memo["txid"].strip().lower() == txid for memo in told)


def units_by(tx: Connection, *by: Any, where: Iterable[Any], of: Any = _BOOKED) -> dict[Any, int]:
    """Signed units by a column, or by several as a tuple, of the entries where it is so."""
    query = select(*by, func.sum(entries.c.units)).select_from(of).where(*where).group_by(*by)
    return {tuple(key) if len(by) > 1 else key[0]: int(units) for *key, units in tx.execute(query)}


def kinds_at(tx: Connection, invoice_id: str, *, at: datetime) -> list[str]:
    """Kinds of the journals that were posted for the invoice at one moment, in order."""
    query = select(journals.c.kind).where(journals.c.invoice_id == invoice_id, journals.c.at == at)
    return list(tx.execute(query.order_by(journals.c.id)).scalars())


def journal_page(
    tx: Connection,
    *,
    from_at: datetime,
    to_at: datetime,
    after: tuple[datetime, int] | None,
    limit: int,
    family: str | None = None,
    kinds: Sequence[str] = (),
) -> Sequence[Row[Any]]:
    """Journals as they were booked, behind the cursor (at, id); `kinds` and their mirrors only, where given."""
    # The moment of the cursor is said by itself: so that what came before it is not read again.
    where = [journals.c.at >= (after[0] if after is not None else from_at), journals.c.at < to_at]
    where += [journals.c.family == family] if family is not None else []
    where += [journals.c.kind.in_([*kinds, *(f"{kind}_reverse" for kind in kinds)])] if kinds else []
    return _JOURNALS.listing(tx, *where, cursor=after, limit=limit)


settlement_page = partial(journal_page, family=RECEIPTS, kinds=SETTLING)
payout_page = partial(journal_page, family=PAYOUT)


def entries_of(tx: Connection, journal_ids: Iterable[int]) -> dict[int, list[Row[Any]]]:
    """The legs of each journal."""
    wanted = list(journal_ids)
    found: dict[int, list[Row[Any]]] = {journal_id: [] for journal_id in wanted}
    if wanted:
        query = select(entries).where(entries.c.journal_id.in_(wanted)).order_by(entries.c.id)
        for row in tx.execute(query):
            found[row.journal_id].append(row)
    return found


def moved(
    tx: Connection, *, from_at: datetime, to_at: datetime, merchant: str | None = None
) -> dict[tuple[str, str, str], int]:
    """Signed units by (kind of journal, account, asset) of a period."""
    return sums_of.moved(tx, "kind", "account", "asset", from_at=from_at, to_at=to_at, merchant=merchant)


def balances_at(tx: Connection, at: datetime, *, merchant: str | None = None) -> dict[tuple[str, str], int]:
    """Signed balance by (account, asset) of everything booked before `at`."""
    return sums_of.held_at(tx, "account", "asset", at=at, merchant=merchant)


def wallet_moves(
    tx: Connection, accounts: Iterable[str], *, from_at: datetime, to_at: datetime
) -> Mapping[str, tuple[int, int, int]]:
    """By wallet account: satoshi in, satoshi out, and how many of those out were fees, in a period."""
    wanted: dict[str, Any] = {"account": tuple(accounts), "asset": BTC, "from_at": from_at, "to_at": to_at}
    into, moved_sat = sums_of.debits(tx, "account", **wanted), sums_of.moved(tx, "account", **wanted)
    fees = _fees(tx, from_at=from_at, to_at=to_at)
    return {
        account: (into.get(account, 0), into.get(account, 0) - sat, fees.get(account, 0))
        for account, sat in moved_sat.items()
    }


def _fees(tx: Connection, *, from_at: datetime, to_at: datetime) -> dict[str, int]:
    """By wallet account what leaving it cost: only payouts have such legs."""
    leg = entries.alias("leg")
    query = (
        select(entries.c.account, func.sum(leg.c.units))
        .select_from(journals)
        .join(entries, entries.c.journal_id == journals.c.id)
        .join(leg, leg.c.journal_id == journals.c.id)
        .where(journals.c.payout_id.is_not(None), journals.c.at >= from_at, journals.c.at < to_at)
        .where(
            entries.c.asset == BTC,
            entries.c.account.like("wallet:%"),
            leg.c.account.in_(("provider_fee", "network_fee")),
        )
        .group_by(entries.c.account)
    )
    return {account: int(sat) for account, sat in tx.execute(query)}


def payouts_by_id(tx: Connection, ids: Iterable[str]) -> dict[str, Row[Any]]:
    wanted = list(ids)
    rows = tx.execute(select(payouts).where(payouts.c.id.in_(wanted))).all() if wanted else []
    return {row.id: row for row in rows}


def told_paid(tx: Connection, invoice_ids: Iterable[str]) -> dict[str, datetime]:
    """When the billing system accepted each invoice's settlement: it answers so only after reading the payment back."""
    query = (
        select(deliveries.c.invoice_id, func.max(deliveries.c.finished_at))
        .join(events, events.c.id == deliveries.c.event_id)
        .where(deliveries.c.invoice_id.in_(list(invoice_ids)), deliveries.c.state == "delivered")
        .where(events.c.type == "invoice.settled")
        .group_by(deliveries.c.invoice_id)
    )
    return {invoice_id: at for invoice_id, at in tx.execute(query)}
