"""Finding invoices by whatever somebody has in hand: an id, an address, a transaction, a client, a document, a sum, a description.

Owns what is looked for in which order and how much is shown; must not change anything.
"""

from dataclasses import dataclass
from typing import Any

from bridge.context import Bridge
from bridge.core.errors import Refused
from bridge.core.reference import asks_of
from bridge.invoices.present import time_text
from bridge.invoices.read_invoices import read_cursor, shown_of, write_cursor
from bridge.store import dossier
from bridge.store.db import Tx
from bridge.store.dossier import Dossier
from bridge.store.search import Search

MOST = 50
# Descriptions are searched where nothing else was found, so many at a time: an index of words would cost every invoice bytes.
MOST_READ = 50_000
_EXACT = ("reference", "transaction")


@dataclass(frozen=True, kw_only=True)
class Found:
    """The invoices as JSON, newest first, each with `found_by` (kinds of core.reference), customer_id and description.

    `is_cut`: there are more. Where older descriptions were not searched, `searched_back_to` says since when they were, and
    `next_cursor` goes on there.
    """

    invoices: list[dict[str, Any]]
    is_cut: bool = False
    searched_back_to: str | None = None
    next_cursor: str | None = None


def find(bridge: Bridge, text: str, *, cursor: str = "", among: int | None = None) -> Found:
    """Invoices that a text may mean; what it can be, is core.reference's. Behind a cursor only
    descriptions are searched, `among` or MOST_READ at a time. Raises Refused("invalid_cursor").
    """
    asks = asks_of(text, currencies={code for each in bridge.merchants.values() for code in each.currencies})
    with bridge.store.read() as tx:
        search = _search(tx, bridge)
        why: dict[str, list[str]] = {}
        for ask in asks:
            if ask.kind != "description" and not cursor:
                for invoice_id in search.by(ask):
                    why.setdefault(invoice_id, []).append(ask.kind)
        last = None
        if not why and any(ask.kind == "description" for ask in asks):
            ids, last = search.described(
                text.casefold().split(), among=among or MOST_READ, behind=read_cursor(cursor) if cursor else None
            )
            why = {each: ["description"] for each in ids}
        rows = search.rows(list(why))
        shown = shown_of(tx, bridge, rows[:MOST])
    about = {row.id: {"customer_id": row.customer_id, "description": row.description} for row in rows}
    found = [each | about[each["id"]] | {"found_by": sorted(set(why[each["id"]]))} for each in shown]
    return Found(
        invoices=found,
        is_cut=len(rows) > MOST,
        searched_back_to=time_text(last.created_at) if last else None,
        next_cursor=write_cursor(last.created_at, last.id) if last else None,
    )


def dossier_of(tx: Tx, bridge: Bridge, reference: str) -> Dossier:
    """The dossier of the one invoice that a reference names. Raises Refused("unknown_invoice") for none and for several."""
    search, asks = _search(tx, bridge), asks_of(reference, currencies=())
    ids = list(dict.fromkeys(each for ask in asks if ask.kind in _EXACT for each in search.by(ask)))
    found = dossier.find(tx, id=ids[0]) if len(ids) == 1 else None
    if found is None:
        raise Refused("unknown_invoice", f"{len(ids)} invoices match; use the invoice id.")
    return found


def _search(tx: Tx, bridge: Bridge) -> Search:
    return Search(tx=tx, merchants=sorted(bridge.merchants), most=MOST + 1)
