"""The dossier: everything that is stored about one invoice, read at once and handed to whoever tells of it.

Owns this one read; must not judge anything, nor be asked where money moves: there only what is needed is read.
"""

from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, and_, bindparam, select

from bridge.core.rail import Target
from bridge.store import archive
from bridge.store import tables as t
from bridge.store.targets import target_of

Record = Any


@dataclass(frozen=True, kw_only=True)
class Dossier:
    """One invoice. Every list is in the order in which it happened, but for the deliveries: the newest comes first. That is told
    by numbers of their own, never by a clock, which may have been put back.

    `refunded_minor` is what the billing system paid back itself, `billing` its newest word of the payment. A delivery has the
    type of its event. Legs and approvals are found under the id of what they belong to.
    """

    invoice: Record
    grant: Record | None
    billing: Record | None
    refunded_minor: int
    quotes: Sequence[Record]
    targets: Sequence[Record]
    payments: Sequence[Record]
    observations: Sequence[Record]
    reviews: Sequence[Record]
    callbacks: Sequence[Record]
    audit: Sequence[Record]
    events: Sequence[Record]
    deliveries: Sequence[Record]
    attempts: Sequence[Record]
    journals: Sequence[Record]
    legs: Mapping[int, Sequence[Record]]
    payouts: Sequence[Record]
    payout_approvals: Mapping[str, Sequence[Record]]
    policies: Sequence[Record]
    policy_approvals: Mapping[int, Sequence[Record]]

    def balances(self, asset: str) -> dict[str, int]:
        """Signed units on every account that any journal touched, of all families together, by account."""
        sums: dict[str, int] = {}
        for leg in (leg for legs in self.legs.values() for leg in legs if leg.asset == asset):
            sums[leg.account] = sums.get(leg.account, 0) + int(leg.units)
        return dict(sorted(sums.items()))

    def offered(self) -> tuple[Target, ...]:
        """The targets, as `store.targets` gives them."""
        return tuple(target_of(row) for row in self.targets)

    def accepted_at(self) -> datetime | None:
        """When the billing system accepted the settlement: it answers so only after reading the payment back."""
        said = [row for row in self.deliveries if row.type == "invoice.settled" and row.state == "delivered"]
        return max((row.finished_at for row in said if row.finished_at is not None), default=None)


def find(tx: Connection, **match: str) -> Dossier | None:
    """The dossier of the one invoice with these unique columns."""
    found = tx.execute(_INVOICE.where(*(t.invoices.c[name] == value for name, value in match.items()))).one_or_none()
    if found is None:
        return None
    invoice, grant, billing, refund = _cut(found, _OF_INVOICE)
    [invoice] = archive.filled(tx, t.invoices, [invoice])
    its = {"its_invoice": invoice.id}
    events, sent, tried = _tree(tx.execute(_MESSAGES, its), _OF_MESSAGES)
    journals, legs = _tree(tx.execute(_JOURNALS, its), _OF_JOURNALS)
    payouts, payout_approvals = _tree(tx.execute(_PAYOUTS, its), _OF_PAYOUTS)
    audit = archive.filled(tx, t.audit, tx.execute(_AUDIT, its).all())
    lists = {name: tx.execute(query, its).all() for name, query in _LISTS.items()}
    lists |= {name: archive.filled(tx, t.metadata.tables[name], lists[name]) for name in ("quotes", "payments")}
    attempts = [each for tries in tried.values() for each in tries]
    if invoice.packed_at is not None or any(event.body == "" for event in events[None]):
        attempts = [*archive.attempts_of(tx, invoice.id), *attempts]
    named = {"numbers": _numbers([invoice, *audit])}
    policies, policy_approvals = _tree(tx.execute(_POLICIES, named), _OF_POLICIES)
    deliveries = [_DELIVERY(*row, event.type) for event in events[None] for row in sent[event.id]]
    return Dossier(
        invoice=invoice,
        grant=grant,
        billing=billing,
        refunded_minor=int(refund.refunded_minor) if refund is not None else 0,
        **lists,
        audit=audit,
        events=archive.filled(tx, t.events, events[None]),
        deliveries=sorted(deliveries, key=lambda row: (row.sequence, row.created_at), reverse=True),
        attempts=sorted(attempts, key=lambda each: int(each.id)),
        journals=archive.filled(tx, t.journals, journals[None]),
        legs=legs,
        payouts=payouts[None],
        payout_approvals=payout_approvals,
        policies=policies[None],
        policy_approvals=policy_approvals,
    )


def _numbers(rows: Iterable[Any]) -> list[int]:
    """The policy versions that invoice and decisions name. A name from before they were kept is a remark, not a number."""
    named = {row.policy_version for row in rows}
    return sorted(int(text) for text in named if text.isascii() and text.isdecimal() and len(text) < 10)


_ITS: Any = bindparam("its_invoice")


def _list(table: Table, *order: str) -> Any:
    return select(table).where(table.c.invoice_id == _ITS).order_by(*(table.c[name] for name in order))


_LISTS = {
    "quotes": _list(t.quotes, "version"),
    "targets": _list(t.targets, "id"),
    "payments": _list(t.payments, "first_seen_at", "key"),
    "observations": _list(t.observations, "id"),
    "reviews": _list(t.reviews, "opened_at"),
    "callbacks": _list(t.inbox, "id"),
}
# With their place and hash in the chain, None where they are not sealed yet.
_AUDIT = select(t.audit, t.audit_chain.c.position, t.audit_chain.c.sha256)
_AUDIT = _AUDIT.outerjoin(t.audit_chain, t.audit_chain.c.audit_id == t.audit.c.id)
_AUDIT = _AUDIT.where(t.audit.c.invoice_id == _ITS).order_by(t.audit.c.id)

# What is joined below is one-to-one with the table before it or hangs under it, so that no row is multiplied.
_OF_INVOICE = (t.invoices, t.grace_grants, t.billing_statuses, t.billing_refunds)
_OF_MESSAGES = (t.events, t.deliveries, t.delivery_attempts)
_OF_JOURNALS = (t.journals, t.entries)
_OF_PAYOUTS = (t.payouts, t.payout_approvals)
_OF_POLICIES = (t.policy_versions, t.policy_approvals)


def _record(table: Table, *more: str) -> Any:
    """What a row of a table is called when it was read in a join: its columns are its attributes, as everywhere."""
    return namedtuple(table.name, [*(column.name for column in table.columns), *more])


_RECORDS = {
    table.name: _record(table)
    for joined in (_OF_INVOICE, _OF_MESSAGES, _OF_JOURNALS, _OF_PAYOUTS, _OF_POLICIES)
    for table in joined
}
_DELIVERY = _record(t.deliveries, "type")


def _joined(joined: Sequence[Table], **by: Any) -> Any:
    """Every column of every table under the name of both; each table but the first is joined `by` its name."""
    first, *others = joined
    query = select(*(column.label(f"{table.name}_{column.name}") for table in joined for column in table.columns))
    query = query.select_from(first)
    for table in others:
        query = query.outerjoin(table, by[table.name])
    return query


def _under(parent: Table, child: Table, name: str) -> Any:
    return child.c[name] == next(iter(parent.primary_key))


_INVOICE = _joined(
    _OF_INVOICE,
    grace_grants=_under(t.invoices, t.grace_grants, "invoice_id"),
    billing_statuses=and_(
        t.billing_statuses.c.merchant == t.invoices.c.merchant,
        t.billing_statuses.c.billing_payment_id == t.invoices.c.billing_payment_id,
    ),
    billing_refunds=_under(t.invoices, t.billing_refunds, "invoice_id"),
)
_MESSAGES = (
    _joined(
        _OF_MESSAGES,
        deliveries=_under(t.events, t.deliveries, "event_id"),
        delivery_attempts=_under(t.deliveries, t.delivery_attempts, "delivery_id"),
    )
    .where(t.events.c.invoice_id == _ITS)
    .order_by(t.events.c.sequence, t.deliveries.c.id, t.delivery_attempts.c.id)
)
_JOURNALS = (
    _joined(_OF_JOURNALS, entries=_under(t.journals, t.entries, "journal_id"))
    .where(t.journals.c.invoice_id == _ITS)
    .order_by(t.journals.c.id, t.entries.c.id)
)
_PAYOUTS = (
    _joined(_OF_PAYOUTS, payout_approvals=_under(t.payouts, t.payout_approvals, "payout_id"))
    .where(t.payouts.c.invoice_id == _ITS)
    .order_by(t.payouts.c.requested_at, t.payouts.c.id, t.payout_approvals.c.id)
)
_POLICIES = (
    _joined(_OF_POLICIES, policy_approvals=_under(t.policy_versions, t.policy_approvals, "number"))
    .where(t.policy_versions.c.number.in_(bindparam("numbers", expanding=True)))
    .order_by(t.policy_versions.c.number, t.policy_approvals.c.id)
)


def _cut(row: Row[Any], joined: Sequence[Table]) -> list[Record]:
    """A joined row as one record for each table, None where there is none."""
    found, start = [], 0
    for table in joined:
        end = start + len(table.columns)
        values = row[start:end]
        found.append(_RECORDS[table.name](*values) if any(value is not None for value in values) else None)
        start = end
    return found


def _tree(rows: Iterable[Row[Any]], joined: Sequence[Table]) -> list[dict[Any, list[Record]]]:
    """The records of each table by their parent's key: those of the first under None, each of the others under its own parent."""
    levels: list[dict[Any, list[Record]]] = [{None: []}, *({} for _ in joined[1:])]
    keys = [next(iter(table.primary_key)).name for table in joined]
    for row in rows:
        parent: Any = None
        for place, record in enumerate(_cut(row, joined)):
            if record is None:
                break
            key = getattr(record, keys[place])
            siblings = levels[place][parent]
            # In the order of the parents: one that was met before is the last of its siblings.
            if not siblings or getattr(siblings[-1], keys[place]) != key:
                siblings.append(record)
                if place + 1 < len(joined):
                    levels[place + 1][key] = []
            parent = key
    return levels
