"""Invoices and their quotes and payments: rows in and out.

Owns their queries and the version guard; must not decide anything about them.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Row,
    Select,
    bindparam,
    case,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    text,
    update,
)

from bridge.core.clock import CLOCK_TOLERANCE, latest_end
from bridge.core.credit import Payment
from bridge.core.invoice import STATUSES, Invoice
from bridge.core.kinds import WITHDRAWN
from bridge.core.quote import Quote
from bridge.core.rail import RAIL
from bridge.core.schedule import DONE, LOOK_CLASSES, OLD, URGENT, YOUNG, YOUNG_SECONDS
from bridge.store import archive
from bridge.store.ahead import is_free
from bridge.store.rows import Rows, made, moment
from bridge.store.rows import page as rows_page
from bridge.store.tables import (
    UNSETTLED,
    UtcTime,
    chain_tips,
    inbox,
    invoices,
    modes,
    observations,
    payments,
    quotes,
    reviews,
    targets,
)
from bridge.store.targets import LABELLED
from bridge.store.together import Part, Together, ask, first_row, put

InvoiceRow = Row[Any]
_INVOICES = Rows(table=invoices, order=(invoices.c.created_at.desc(), invoices.c.id.desc()))
_SEEN = Rows(table=observations, told=(observations.c.id,))
find, listing, count, observation_rows = _INVOICES.find, _INVOICES.listing, _INVOICES.count, _SEEN.of
# In the order in which they were offered, and first seen.
_QUOTES = Rows(table=quotes, told=(quotes.c.version,))
_PAYMENTS = Rows(table=payments, told=(payments.c.first_seen_at, payments.c.key))
quote_rows, quotes_of_each = _QUOTES.of, _QUOTES.of_each
payment_rows, payments_of_each = _PAYMENTS.of, _PAYMENTS.of_each
quote_of_row = partial(made, Quote)
ASK_REMAINDER = "ask_remainder"
_LETS_NOTHING_PASS = frozenset({ASK_REMAINDER, WITHDRAWN})
RESTS_AT_MOST = timedelta(hours=1)
_EMPTY = {c.name: None if c.nullable else 0 if c.type.python_type is int else "" for c in invoices.columns}
_ADD, _ADD_QUOTE = insert(invoices), insert(quotes)
_CHANGE = update(invoices).where(invoices.c.id == bindparam("its_id"), invoices.c.version == bindparam("its_version"))
_CHANGE = _CHANGE.returning(invoices.c.id)
_IS_OWNERS = invoices.c.lease_owner == bindparam("its_owner")
_END_LEASE = {each: case((_IS_OWNERS, None), else_=each) for each in (invoices.c.lease_until, invoices.c.lease_owner)}
_CHANGE_AND_RELEASE = _CHANGE.values(_END_LEASE)
_COUNT_OPEN = select(func.count()).where(
    invoices.c.merchant == bindparam("merchant"),
    invoices.c.customer_id == bindparam("customer_id"),
    # Whom nobody names is not counted: those may be all there are.
    bindparam("customer_id") != "",
    invoices.c.status == "new",
)
_BEFORE_OPENING = select(
    select(invoices.c.id)
    .where(invoices.c.merchant == bindparam("merchant"), invoices.c.billing_payment_id == bindparam("payment"))
    .scalar_subquery()
    .label("invoice_id"),
    select(modes.c.mode).where(modes.c.scope == "bridge").scalar_subquery().label("mode"),
    select(modes.c.mode).where(modes.c.scope == bindparam("wallet_scope")).scalar_subquery().label("wallet_mode"),
    _COUNT_OPEN.scalar_subquery().label("open_now"),
)
_NEWEST_DUE = select(quotes.c.due_sat).where(quotes.c.invoice_id == invoices.c.id)
_NEWEST_DUE = _NEWEST_DUE.order_by(quotes.c.version.desc()).limit(1)
_TO_LOOK_AT = (
    select(
        invoices,
        *LABELLED,
        _NEWEST_DUE.scalar_subquery().label("quote_due_sat"),
        chain_tips.c.height.label("tip_height"),
        chain_tips.c.seen_at.label("tip_seen_at"),
    )
    .select_from(
        invoices.outerjoin(targets, targets.c.invoice_id == invoices.c.id).outerjoin(
            chain_tips, chain_tips.c.network == bindparam("network")
        )
    )
    .where(invoices.c.id == bindparam("invoice_id"))
    .order_by(targets.c.id)
)
_VERSION = select(invoices.c.version).where(invoices.c.id == bindparam("invoice_id")).with_for_update()
# So that the index, which begins with the class, serves. A list of binds would be written out at each execution.
IS_CLASSED = invoices.c.look_class.in_([literal_column(str(each)) for each in LOOK_CLASSES])
_REVIEWS = select(reviews.c.kind, reviews.c.state, reviews.c.decision)
_REVIEWS = _REVIEWS.where(reviews.c.invoice_id == bindparam("invoice_id"))
_IS_DUE = invoices.c.next_look_at <= bindparam("now")
_ANY_DUE = select(1).select_from(invoices).where(IS_CLASSED, _IS_DUE).limit(1)
_IS_ITSELF = invoices.c.id == bindparam("its_id")
_RELEASE = update(invoices).where(_IS_ITSELF, _IS_OWNERS)
_IS_THEIRS = (invoices.c.merchant == bindparam("merchant"), invoices.c.customer_id == bindparam("customer_id"))
_PAID_BEFORE = select(invoices.c.id).where(*_IS_THEIRS, ~_IS_ITSELF, invoices.c.settled_at.is_not(None)).limit(1)
_FIRST_CREATED = select(func.min(invoices.c.created_at)).where(*_IS_THEIRS)
_IS_UNWATCHED = is_free(invoices.c.watched_until)
_WATCHED = (invoices.c[name] for name in ("id", "wallet_id", "address", "remaining_sat", "received_sat", "trace_id"))
_WATCH_DUE = (
    select(*_WATCHED)
    .where(text(UNSETTLED), invoices.c.status == "new", _IS_UNWATCHED, invoices.c.expires_at > bindparam("now"))
    .where(invoices.c.created_at > bindparam("young_since"))
    .where(invoices.c.wallet_id.in_(bindparam("wallet_ids", expanding=True)))
    .order_by(invoices.c.watched_until)
    .limit(bindparam("most"))
)
_TAKE_WATCH = update(invoices).where(_IS_ITSELF, _IS_UNWATCHED)
_SET_WATCHED = update(invoices).where(_IS_ITSELF)
_ADD_PAYMENT, _OBSERVE = insert(payments).inline(), insert(observations).inline()
_CHANGE_PAYMENT = update(payments).where(
    payments.c.invoice_id == bindparam("its_invoice"), payments.c.key == bindparam("its_key")
)


_AS_SHOWN = select(
    invoices, select(func.count()).where(targets.c.invoice_id == invoices.c.id).scalar_subquery().label("ways_offered")
).where(invoices.c.public_id.in_(bindparam("public_ids", expanding=True)))


def as_shown(tx: Connection, public_ids: Iterable[str]) -> dict[str, InvoiceRow]:
    """The invoices of these pages by their public ids, with the number of their targets (`ways_offered`). A row that is equal to an
    earlier one says that nothing of its invoice has changed, quotes and payments included.
    """
    rows = tx.execute(_AS_SHOWN, {"public_ids": list(public_ids)}).all()
    return {row.public_id: row for row in archive.filled(tx, invoices, rows)}


def to_look_at(tx: Connection, invoice_id: str, *, network: str) -> Sequence[InvoiceRow]:
    """All that a look asks first, but the payments, in one: a row per target with the invoice, what its newest quote asks for, and
    the highest block that is known. Empty where there is no such invoice.
    """
    rows = ask(tx, _TO_LOOK_AT, {"invoice_id": invoice_id, "network": network}).all()
    return archive.filled(tx, invoices, rows)


def add(tx: Connection | Together, values: Mapping[str, Any]) -> None:
    put(tx, _ADD, values)


class BeforeOpening(NamedTuple):
    """The invoice that is there already, the modes that are set, and how many invoices the customer has open, 0 without a name."""

    invoice_id: str | None
    mode: str | None
    wallet_mode: str | None
    open_now: int


def before_opening(
    tx: Connection, *, merchant: str, billing_payment_id: str, customer_id: str, wallet_id: str
) -> BeforeOpening:
    """All that opening asks first, in one look."""
    asked = {"merchant": merchant, "payment": billing_payment_id, "customer_id": customer_id}
    found = first_row(tx, _BEFORE_OPENING, asked | {"wallet_scope": f"wallet:{wallet_id}"})
    return BeforeOpening(*found) if found is not None else BeforeOpening(None, None, None, 0)


def version_of(tx: Connection, invoice_id: str) -> int | None:
    """How often the invoice was written; until `tx` ends nobody else writes it. None where there is no such invoice."""
    version: int | None = ask(tx, _VERSION, {"invoice_id": invoice_id}).scalar()
    return version


def change(together: Together, row: InvoiceRow, values: Mapping[str, Any], *, releases: str | None = None) -> Part:
    """Writes `values`. Without a value in the part somebody wrote the invoice since `row` was read, and nothing was written.

    The lease of the owner `releases` ends with it, if it still is theirs.
    """
    told = dict(values) | {"version": row.version + 1, "its_id": row.id, "its_version": row.version}
    if releases is None:
        return together.execute(_CHANGE, told)
    return together.execute(_CHANGE_AND_RELEASE, told | {"its_owner": releases})


def wake(tx: Connection, invoice_id: str, *, now: datetime) -> None:
    """Makes the invoice due for a look at once. Not a change of the invoice: the version stays."""
    _INVOICES.change(tx, {"next_look_at": now}, id=invoice_id)


def wake_confirming(tx: Connection, *, now: datetime) -> int:
    """Makes every invoice whose money waits for blocks due at once, because a block came. Returns how many."""
    is_late = (invoices.c.status == "expired") & (invoices.c.received_sat > invoices.c.confirmed_sat)
    waiting = or_(invoices.c.status == "processing", is_late)
    woken = update(invoices).where(waiting, invoices.c.next_look_at > now).values(next_look_at=now)
    return tx.execute(woken).rowcount


def claim_due(
    tx: Connection,
    *,
    now: datetime,
    owner: str,
    lease_seconds: int,
    limit: int,
    classes: Sequence[int] = LOOK_CLASSES,
) -> list[str]:
    """Ids of up to `limit` invoices whose look is due, leased to `owner`: two workers never get the same one.

    Class by class in the order given, within a class the longest overdue first: each is a range of one index, however many
    invoices are open.
    """
    lease, claimed = _lease(now, owner, lease_seconds), list[str]()
    for each in classes:
        if len(claimed) < limit:
            wanted = {"class": each, "most": limit - len(claimed)}
            claimed += ask(tx, _CLAIM_CLASS, lease | wanted).scalars()
    return claimed


def claim_rung(
    tx: Connection, ids: Sequence[str], *, now: datetime, owner: str, lease_seconds: int, limit: int
) -> list[str]:
    """Of these invoices the ids of up to `limit`, leased to `owner`, whether their look is due or not, and none that anybody looks
    at; those that rang first, where there are more.
    """
    if limit <= 0:
        return []
    chosen = {"only": list(ids), "most": limit}
    return list(tx.execute(_CLAIM_RUNG, _lease(now, owner, lease_seconds) | chosen).scalars())


def _lease(now: datetime, owner: str, lease_seconds: int) -> dict[str, Any]:
    until = now + timedelta(seconds=lease_seconds)
    return {"now": now, "until": until, "owner": owner, "latest": latest_end(now, lasts_seconds=lease_seconds)}


def _claim(due: Select[Any]) -> Any:
    claimed = update(invoices).where(invoices.c.id.in_(due.with_for_update(skip_locked=True).scalar_subquery()))
    until = bindparam("until", type_=UtcTime)
    return claimed.values(lease_until=until, lease_owner=bindparam("owner")).returning(invoices.c.id)


_IS_FREE = is_free(invoices.c.lease_until)
_IS_RUNG = invoices.c.id.in_(bindparam("only", expanding=True))
_RANG = select(func.min(inbox.c.id)).where(inbox.c.invoice_id == invoices.c.id, inbox.c.state == "new")
_RUNG = select(invoices.c.id).where(_IS_RUNG, _IS_FREE).order_by(_RANG.scalar_subquery()).limit(bindparam("most"))
_CLAIM_RUNG = _claim(_RUNG)
_CLAIM_CLASS = _claim(
    select(invoices.c.id)
    .where(invoices.c.look_class == bindparam("class"), invoices.c.next_look_at <= bindparam("now"), _IS_FREE)
    .order_by(invoices.c.next_look_at)
    .limit(bindparam("most"))
)


def rest_quiet(
    tx: Connection, *, wallet_id: str, since: datetime, now: datetime, pauses: Mapping[int, timedelta], limit: int
) -> int:
    """Lets up to `limit` due invoices of a wallet wait without a call: none had money, and it has not changed since they were read.

    What has a deadline to meet, and what was not read for an hour, is looked at all the same. Returns how many rest.
    """
    quiet = select(invoices.c.id).where(
        IS_CLASSED,
        invoices.c.wallet_id == wallet_id,
        invoices.c.next_look_at <= now,
        invoices.c.received_sat == 0,
        invoices.c.provider_asked_at.between(max(since, now - RESTS_AT_MOST), now + CLOCK_TOLERANCE),
        or_(
            (invoices.c.status == "new") & (invoices.c.expires_at > now),
            (invoices.c.status == "expired") & (invoices.c.monitor_until > now),
        ),
        or_(invoices.c.lease_until.is_(None), invoices.c.lease_until < now),
        # What came over a rail that speaks for itself is no change of this wallet.
        ~select(targets.c.id)
        .where(targets.c.invoice_id == invoices.c.id, targets.c.witness == RAIL)
        .where(or_(targets.c.expires_at.is_(None), targets.c.expires_at > now))
        .exists(),
    )
    is_young = invoices.c.created_at > now - timedelta(seconds=YOUNG_SECONDS)
    resting = update(invoices).where(invoices.c.id.in_(quiet.limit(limit).scalar_subquery()))
    soon, later = (literal(now + pauses[each], type_=UtcTime) for each in (YOUNG, OLD))
    values = {
        "look_class": case((is_young, YOUNG), else_=OLD),
        "next_look_at": case((is_young, soon), else_=later),
    }
    return tx.execute(resting.values(**values)).rowcount


def unpaid_asking_for(tx: Connection, sat: int) -> list[str]:
    """Ids of invoices that ask for exactly so many satoshi, for all of it or for the rest."""
    is_open = invoices.c.status.in_(("new", "expired"))
    query = select(invoices.c.id).where(invoices.c.remaining_sat == sat, is_open)
    return list(tx.execute(query.order_by(invoices.c.created_at.desc()).limit(20)).scalars())


def look_again(tx: Connection, *, wallet_id: str, sat: int, now: datetime, limit: int) -> int:
    """Makes up to `limit` that nobody looks at any more due once, because money came that nobody can place: those that ask for just
    that much, then those that were not looked at for longest. Returns how many.
    """
    done = select(invoices.c.id).where(invoices.c.look_class == DONE, invoices.c.wallet_id == wallet_id)
    exact = tx.execute(done.where(invoices.c.remaining_sat == sat).limit(limit)).scalars().all()
    longest = tx.execute(done.order_by(invoices.c.next_look_at).limit(limit - len(exact))).scalars().all()
    due = update(invoices).where(invoices.c.id.in_([*exact, *longest]), invoices.c.look_class == DONE)
    return tx.execute(due.values(look_class=OLD, next_look_at=now)).rowcount


def young_unpaid(tx: Connection, *, limit: int) -> Sequence[Any]:
    """Young invoices that wait for money, newest first: id and remaining_sat."""
    query = select(invoices.c.id, invoices.c.remaining_sat).where(invoices.c.look_class == YOUNG)
    return tx.execute(query.order_by(invoices.c.next_look_at.desc()).limit(limit)).all()


def hurry(tx: Connection, ids: Sequence[str], *, now: datetime) -> None:
    """Puts these invoices before all others: money seems to have come for them."""
    tx.execute(update(invoices).where(invoices.c.id.in_(ids)).values(look_class=URGENT, next_look_at=now))


def look_on(tx: Connection, invoice_id: str) -> None:
    """Puts an invoice that nobody looks at any more back on the schedule."""
    tx.execute(
        update(invoices).where(_IS_ITSELF, invoices.c.look_class == DONE).values(look_class=OLD), {"its_id": invoice_id}
    )


def release(tx: Connection, invoice_id: str, *, owner: str, next_look_at: datetime | None = None) -> None:
    """Gives a lease back, if it still is ours."""
    values: dict[str, Any] = {"lease_until": None, "lease_owner": None}
    if next_look_at is not None:
        values["next_look_at"] = next_look_at
    ask(tx, _RELEASE, values | {"its_id": invoice_id, "its_owner": owner})


def page(tx: Connection, *, after: str, limit: int) -> Sequence[InvoiceRow]:
    """All invoices in the order of their ids, `limit` at a time: for checks that walk over everything."""
    found = rows_page(tx, select(invoices), order=(invoices.c.id,), cursor=(after,), limit=limit)
    return archive.filled(tx, invoices, found)


def failed_in_a_row(tx: Connection, *, merchant: str, customer_id: str, at_most: int) -> int:
    """How many of the customer's last invoices ended without being paid, counted back from the newest ended one."""
    query = (
        select(invoices.c.status)
        .where(invoices.c.merchant == merchant, invoices.c.customer_id == customer_id)
        .where(invoices.c.status.in_(("settled", "expired", "invalid")))
        .order_by(invoices.c.created_at.desc())
        .limit(at_most)
    )
    count = 0
    for status in tx.execute(query).scalars():
        if status == "settled":
            break
        count += 1
    return count


def fresh(values: Mapping[str, Any]) -> SimpleNamespace:
    """A row that is not stored yet, with every column as it would be read back."""
    return SimpleNamespace(**{**_EMPTY, **values})


def has_paid_before(tx: Connection, row: Any) -> bool:
    """Whether another invoice of the same customer was ever settled."""
    its = {"its_id": row.id, "merchant": row.merchant, "customer_id": row.customer_id}
    return ask(tx, _PAID_BEFORE, its).first() is not None


def first_created_at(tx: Connection, *, merchant: str, customer_id: str) -> datetime | None:
    """When the customer's first invoice was opened."""
    at: datetime | None = ask(tx, _FIRST_CREATED, {"merchant": merchant, "customer_id": customer_id}).scalar()
    return at


def review_kinds(tx: Connection, invoice_id: str) -> Sequence[Any]:
    """Kind, state and decision of every review of the invoice."""
    return ask(tx, _REVIEWS, {"invoice_id": invoice_id}).all()


def facts_of(
    row: Any, kinds: Sequence[Any], *, has_chain_evidence: bool, is_told: bool, beside: Iterable[int] = ()
) -> Invoice:
    """The row and its reviews (kind, state, decision) as the facts that a decision takes.

    `is_told`: a rail says a sum beside the facts of the first target; `beside` are the targets that it says nothing of.
    """
    return made(
        Invoice,
        row,
        open_reviews=frozenset(r.kind for r in kinds if r.state == "open"),
        released=frozenset(r.kind for r in kinds if r.state == "resolved" and r.decision not in _LETS_NOTHING_PASS),
        asked=frozenset(r.kind for r in kinds if r.state == "resolved" and r.decision == ASK_REMAINDER),
        has_chain_evidence=has_chain_evidence,
        has_gateway=is_told,
        beside=frozenset(beside),
        gap=None if row.gap is None else (row.gap_since, row.gap_at),
    )


def add_quote(
    tx: Connection | Together, invoice_id: str, quote: Quote, *, now: datetime, policy_version: str, samples: str
) -> None:
    """Stores a quote for ever; `samples` is the JSON of the prices it rests on."""
    shared = {"invoice_id": invoice_id, "created_at": now, "policy_version": policy_version, "samples": samples}
    put(tx, _ADD_QUOTE, vars(quote) | shared)


def quotes_of(tx: Connection, invoice_id: str, *, currency: str | None = None) -> list[Quote]:
    """All versions in order; with `currency` only those in it: a quote in another currency can value nothing."""
    return [quote_of_row(row) for row in quote_rows(tx, invoice_id) if currency in (None, row.currency)]


def payments_of(tx: Connection, invoice_id: str) -> list[Payment]:
    return [payment_of_row(row) for row in payment_rows(tx, invoice_id)]


def payment_of_row(row: Row[Any]) -> Payment:
    return Payment(
        key=row.key,
        amount_sat=row.amount_sat,
        confirmations=row.confirmations,
        first_seen_at=row.first_seen_at,
        replaceable=row.replaceable,
        replaced=row.replaced,
        block_height=row.block_height,
        block_hash=row.block_hash,
        coinbase=row.coinbase,
        source=row.source,
        spends=row.spends,
        amount_msat=row.amount_msat,
        target_id=row.target_id,
    )


def put_payment(
    tx: Connection,
    invoice_id: str,
    payment: Payment,
    *,
    asked_at: datetime,
    is_new: bool,
) -> None:
    """Stores the absolute facts of one output; the earliest sight is kept by the caller, its target stays that of the first."""
    values = vars(payment) | {"asked_at": asked_at}
    if is_new:
        ask(tx, _ADD_PAYMENT, values | {"invoice_id": invoice_id})
        return
    del values["target_id"]
    ask(tx, _CHANGE_PAYMENT, values | {"its_invoice": invoice_id, "its_key": payment.key})


def rest_msat(tx: Connection, *, wallet_id: str) -> int:
    """The most that came to a wallet's targets beyond whole satoshi: less than one with each payment that its rail told in whole ones."""
    rest = func.coalesce(payments.c.amount_msat - 1_000 * payments.c.amount_sat, 999)
    query = select(func.coalesce(func.sum(rest), 0)).join(targets, targets.c.id == payments.c.target_id)
    return int(tx.execute(query.where(targets.c.wallet_id == wallet_id, ~payments.c.replaced)).scalar_one())


def add_observation(tx: Connection, invoice_id: str, *, source: str, asked_at: datetime, body: str) -> None:
    """Keeps one reading that brought news, for the wallet history of a review."""
    ask(tx, _OBSERVE, {"invoice_id": invoice_id, "source": source, "asked_at": asked_at, "body": body})


def any_due(tx: Connection, *, now: datetime) -> bool:
    return ask(tx, _ANY_DUE, {"now": now}).first() is not None


def watch_due(
    tx: Connection, *, wallet_ids: Sequence[str], now: datetime, watch_seconds: int, limit: int
) -> Sequence[InvoiceRow]:
    """Young open invoices of these wallets that no watch is known to stand for. A watch costs a call every few minutes; the
    old are polled.
    """
    asked = {"now": now, "latest": latest_end(now, lasts_seconds=watch_seconds), "wallet_ids": wallet_ids}
    asked |= {"young_since": now - timedelta(seconds=YOUNG_SECONDS), "most": limit}
    return tx.execute(_WATCH_DUE, asked).all()


def trace_of(tx: Connection, invoice_id: str) -> str:
    return str(tx.execute(select(invoices.c.trace_id).where(invoices.c.id == invoice_id)).scalar() or "")


def take_watch(tx: Connection, invoice_id: str, *, now: datetime, watch_seconds: int, until: datetime) -> bool:
    """Whether this worker may arm the watch: of two at once, one may."""
    asked = {"now": now, "latest": latest_end(now, lasts_seconds=watch_seconds), "its_id": invoice_id}
    return tx.execute(_TAKE_WATCH, asked | {"watched_until": until}).rowcount == 1


def set_watched(tx: Connection, watched: Sequence[tuple[str, datetime]]) -> None:
    """Until when a watch stands for each of these invoices."""
    tx.execute(_SET_WATCHED, [{"its_id": invoice_id, "watched_until": until} for invoice_id, until in watched])


def newest(tx: Connection) -> InvoiceRow | None:
    return tx.execute(select(invoices).order_by(invoices.c.created_at.desc()).limit(1)).one_or_none()


def lasting_gaps(tx: Connection, *, before: datetime) -> dict[str, tuple[int, datetime]]:
    """How many invoices' readings have lacked something since before then, and since when the first has, by gap."""
    first = func.min(invoices.c.gap_since, type_=UtcTime)
    query = select(invoices.c.gap, func.count(), first).where(invoices.c.gap_since < before)
    return {gap: (int(count), since) for gap, count, since in tx.execute(query.group_by(invoices.c.gap))}


def newest_created_at(tx: Connection, merchant: str) -> datetime | None:
    """When the merchant's billing system last opened an invoice."""
    return moment(tx, select(func.max(invoices.c.created_at)).where(invoices.c.merchant == merchant))


def opened_since(tx: Connection, *, merchant: str, since: datetime, but: str = "") -> dict[str, tuple[int, int]]:
    """How many invoices of a merchant were opened since, and their amounts in minor units, by currency."""
    query = select(invoices.c.currency, func.count(), func.sum(invoices.c.amount_minor))
    # Every status by name: the index begins with merchant and status.
    query = query.where(invoices.c.merchant == merchant, invoices.c.status.in_(STATUSES), invoices.c.id != but)
    found = tx.execute(query.where(invoices.c.created_at >= since).group_by(invoices.c.currency))
    return {currency: (int(count), int(minor)) for currency, count, minor in found}


def watched_until(tx: Connection, wallet_id: str) -> datetime | None:
    """When the last invoice that may be paid to a wallet is, or was, watched closely for the last time; None when it never had one."""
    beside = select(targets.c.invoice_id).where(targets.c.wallet_id == wallet_id)
    its = or_(invoices.c.wallet_id == wallet_id, invoices.c.id.in_(beside))
    return moment(tx, select(func.max(invoices.c.monitor_until)).where(its))


def count_by_status(tx: Connection, statuses: Sequence[str]) -> dict[str, int]:
    query = select(invoices.c.status, func.count()).where(invoices.c.status.in_(statuses)).group_by(invoices.c.status)
    return {status: int(count) for status, count in tx.execute(query)}


def give_back(tx: Connection, *, owner: str) -> None:
    tx.execute(update(invoices).where(invoices.c.lease_owner == owner).values(lease_until=None, lease_owner=None))


def count_stuck(tx: Connection, *, before: datetime) -> int:
    """Invoices with money under way that nothing has happened to since `before`."""
    return count(tx, invoices.c.updated_at < before, status="processing", hold=None)
