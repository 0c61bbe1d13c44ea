"""Journals and entries: posted once, summed often, never changed.

Owns their queries; which journals are due is said by `core.ledger`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select

from bridge.core.ledger import Journal
from bridge.core.money import BTC
from bridge.store.tables import entries, journals
from bridge.store.together import Together

RECEIPTS = "receipts"
_POST = insert(journals).returning(journals.c.id)
_ENTER = insert(entries)
_BALANCES = (
    select(entries.c.account, func.sum(entries.c.units))
    .join(journals, journals.c.id == entries.c.journal_id)
    .where(journals.c.invoice_id == bindparam("invoice_id"), journals.c.family == bindparam("family"))
    .group_by(entries.c.account)
)
PAYOUT = "payout"


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
    found = {journal.kind: _mirrored(tx, journal.kind, invoice_id, payout_id) for journal in posted}
    return {kind: journal_id for kind, journal_id in found.items() if journal_id is not None}


def balances(tx: Connection, *, invoice_id: str, family: str = RECEIPTS) -> dict[str, int]:
    """Signed balance of every account that this invoice's journals of one family touched, in its asset's units."""
    of_invoice = tx.execute(_BALANCES, {"invoice_id": invoice_id, "family": family})
    return {account: int(units) for account, units in of_invoice}


def owed(tx: Connection, invoice_id: str) -> dict[str, int]:
    """Signed satoshi on every account that any journal of this invoice touched, of all families together."""
    return {account: units for (account, asset), units in totals(tx, invoice_id=invoice_id).items() if asset == BTC}


def of_payout(tx: Connection, payout_id: str, *, kind: str) -> dict[str, int]:
    """What a payout's journals of one kind and their mirrors have left on each account."""
    query = (
        select(entries.c.account, func.sum(entries.c.units))
        .join(journals, journals.c.id == entries.c.journal_id)
        .where(journals.c.payout_id == payout_id, journals.c.kind.in_((kind, f"{kind}_reverse")))
        .group_by(entries.c.account)
    )
    return {account: int(units) for account, units in tx.execute(query)}


def totals(
    tx: Connection, *, invoice_id: str | None = None, merchant: str | None = None, service_ref: str | None = None
) -> dict[tuple[str, str], int]:
    """Signed balance per (account, asset) over all journals, of one invoice, merchant or service where asked."""
    query = select(entries.c.account, entries.c.asset, func.sum(entries.c.units)).group_by(
        entries.c.account, entries.c.asset
    )
    of_journal = {journals.c.invoice_id: invoice_id, journals.c.merchant: merchant}
    asked = [column == value for column, value in of_journal.items() if value is not None]
    if asked:
        query = query.join(journals, journals.c.id == entries.c.journal_id).where(*asked)
    if service_ref is not None:
        query = query.where(entries.c.service_ref == service_ref)
    return {(account, asset): int(units) for account, asset, units in tx.execute(query)}


def sums(tx: Connection, accounts: tuple[str, ...]) -> dict[str, int]:
    """Signed satoshi on some accounts over all journals."""
    query = select(entries.c.account, func.sum(entries.c.units)).group_by(entries.c.account)
    mine = (entries.c.account.in_(accounts), entries.c.asset == BTC)
    return {account: int(units) for account, units in tx.execute(query.where(*mine))}


def kinds_at(tx: Connection, invoice_id: str, *, at: datetime) -> list[str]:
    """Kinds of the journals that were posted for the invoice at one moment, in order."""
    query = select(journals.c.kind).where(journals.c.invoice_id == invoice_id, journals.c.at == at)
    return list(tx.execute(query.order_by(journals.c.id)).scalars())


def _mirrored(tx: Connection, kind: str, invoice_id: str | None, payout_id: str | None) -> int | None:
    original, is_reverse = kind.removesuffix("_reverse"), kind.endswith("_reverse")
    if not is_reverse:
        return None
    of = journals.c.payout_id == payout_id if payout_id is not None else journals.c.invoice_id == invoice_id
    query = select(func.max(journals.c.id)).where(of, journals.c.kind == original)
    newest: int | None = tx.execute(query).scalar_one()
    return newest
