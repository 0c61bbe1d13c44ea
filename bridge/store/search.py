"""Which invoices a text may mean: each way to look is a range of one index, however many invoices there are.

Owns these reads; must not know how a text is understood, core.reference says that.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, or_, select, text

from bridge.core.reference import Ask
from bridge.store import archive, rows
from bridge.store.rows import Cursor
from bridge.store.tables import NUMBERED, REACHABLE, invoices, payments, targets

_NEWEST = (invoices.c.created_at.desc(), invoices.c.id.desc())
_PAGE = 2_000


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where to look: among the invoices of these merchants, for up to `most`, the newest first."""

    tx: Connection
    merchants: Sequence[str]
    most: int

    def by(self, ask: Ask) -> list[str]:
        """Ids of invoices that are meant, if the text is what `ask` takes it for."""
        found = (self.tx.execute(query.limit(self.most)).scalars() for query in _BY[ask.kind](self, ask))
        return list(dict.fromkeys(each for ids in found for each in ids))

    def rows(self, ids: Sequence[str]) -> Sequence[Row[Any]]:
        if not ids:
            return []
        query = select(invoices).where(invoices.c.id.in_(ids)).order_by(*_NEWEST)
        return archive.filled(self.tx, invoices, self.tx.execute(query).all())

    def described(
        self, words: Sequence[str], *, among: int, behind: Cursor | None
    ) -> tuple[list[str], Row[Any] | None]:
        """Ids of those of the newest `among`, behind a cursor (created_at, id), whose description has all these words, in
        whichever case; and the last that was read, if there are older ones.
        """
        found, last = list[str](), None
        for number, row in enumerate(self._newest(among + 1, behind)):
            if len(found) == self.most:
                break
            if number == among:
                return found, last
            found += [row.id] if all(word in row.description.casefold() for word in words) else []
            last = row
        return found, None

    def _newest(self, among: int, cursor: Cursor | None) -> Iterator[Row[Any]]:
        query = select(invoices.c.created_at, invoices.c.id, invoices.c.description)
        while among > 0:
            page = rows.page(self.tx, query, order=_NEWEST, cursor=cursor, limit=min(_PAGE, among))
            yield from page
            if len(page) < _PAGE:
                return
            among, cursor = among - len(page), (page[-1].created_at, page[-1].id)


def _reference(search: Search, ask: Ask) -> Iterator[Select[Any]]:
    lower = ask.text.lower()
    named = (invoices.c.id, invoices.c.public_id, invoices.c.address, invoices.c.trace_id)
    of_billing = and_(invoices.c.merchant.in_(search.merchants), invoices.c.billing_payment_id == ask.text)
    yield select(invoices.c.id).where(or_(*(column == ask.text for column in named), of_billing))
    yield select(targets.c.invoice_id).where(or_(targets.c.text.in_((ask.text, lower)), targets.c.key == lower))
    yield select(payments.c.invoice_id).where(payments.c.key == ask.text)


def _transaction(_: Search, ask: Ask) -> Iterator[Select[Any]]:
    # What begins so: no digit of a txid, nor the colon behind it, sorts behind "g".
    yield select(payments.c.invoice_id).where(payments.c.key >= ask.text, payments.c.key < f"{ask.text}g").distinct()


def _where(*where: Any) -> Select[Any]:
    return select(invoices.c.id).where(*where).order_by(invoices.c.created_at.desc())


def _client(search: Search, ask: Ask) -> Iterator[Select[Any]]:
    yield _where(invoices.c.merchant.in_(search.merchants), invoices.c.customer_id == ask.text)


def _email(_: Search, ask: Ask) -> Iterator[Select[Any]]:
    yield _where(invoices.c.customer_email.in_((ask.text, ask.text.lower())), text(REACHABLE))


def _document(_: Search, ask: Ask) -> Iterator[Select[Any]]:
    yield _where(invoices.c.document == ask.text, text(NUMBERED))


def _fiat(_: Search, ask: Ask) -> Iterator[Select[Any]]:
    yield _where(invoices.c.currency == ask.currency, invoices.c.amount_minor == ask.units)


def _satoshi(_: Search, ask: Ask) -> Iterator[Select[Any]]:
    yield select(invoices.c.id).where(invoices.c.remaining_sat == ask.units)
    yield select(payments.c.invoice_id).where(payments.c.amount_sat == ask.units)


_BY: Mapping[str, Callable[[Search, Ask], Iterator[Select[Any]]]] = {
    "reference": _reference,
    "transaction": _transaction,
    "client": _client,
    "email": _email,
    "document": _document,
    "amount": _fiat,
    "sat": _satoshi,
}
