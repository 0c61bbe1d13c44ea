"""Payouts and their approvals: rows in and out, the sums that guard them, and the claim of the sender.

Owns their queries and the version guard; must not decide about a payout, `core.payout` does.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, and_, case, func, not_, or_, select

from bridge.core.clock import latest_end
from bridge.core.errors import Conflict
from bridge.core.payout import GATEWAY_ROLES, IN_FLIGHT, LIVE, ROLES, check_move
from bridge.store.ahead import is_over
from bridge.store.db import insert_into, put_row
from bridge.store.rows import Rows
from bridge.store.tables import billing_refunds, payout_approvals, payouts

PayoutRow = Row[Any]
_PAYOUTS = Rows(table=payouts, order=(payouts.c.requested_at.desc(), payouts.c.id.desc()))
# Every approval of every round, oldest first.
approvals_of = Rows(table=payout_approvals, told=(payout_approvals.c.id,), under="payout_id").of
find, listing, count = _PAYOUTS.find, _PAYOUTS.listing, _PAYOUTS.count
# Payouts of which nobody knows whether they were sent: one per wallet at most.
unknown = partial(listing, match={"state": "unknown"})
_UNDER_WAY = payouts.c.state.in_(("requested", "approved", "submitting", "unknown"))
_TO_SEND = payouts.c.state.in_(("approved", "submitting"))
_UNSENT = and_(payouts.c.state.in_(("requested", "approved")), payouts.c.attempts == 0)


def of_review(tx: Connection, review_id: str) -> PayoutRow | None:
    """The payout that an item asks about. Several of one invoice may hang on one item: first those of which nobody knows whether they
    were sent, then in the order in which they were asked for.
    """
    its = listing(tx, match={"review_id": review_id})
    return min(its, key=lambda row: (row.state != "unknown", row.requested_at, row.id), default=None)


def add(tx: Connection, values: Mapping[str, Any]) -> tuple[PayoutRow, bool]:
    """The payout with this request key of the merchant, and whether it is new: else nothing was written."""
    fresh = insert_into(tx, payouts).values(**values).on_conflict_do_nothing(index_elements=["merchant", "request_key"])
    row = tx.execute(fresh.returning(payouts)).one_or_none()
    if row is not None:
        return row, True
    [known] = listing(tx, match={name: values[name] for name in ("merchant", "request_key")})
    return known, False


def change(tx: Connection, row: PayoutRow, values: Mapping[str, Any], *, now: datetime) -> PayoutRow:
    """Writes `values` if nobody wrote the payout since `row` was read, and returns it as it is then.

    Raises Conflict("payout_changed") else, IllegalMove when the state would make a move that the table does not hold.
    """
    if values.get("state", row.state) != row.state:
        check_move(row.state, values["state"])
    values = {**values, "updated_at": now, "version": row.version + 1}
    after = _PAYOUTS.change(tx, values, id=row.id, version=row.version)
    if after is None:
        raise Conflict("payout_changed", "The payout was changed by somebody else; read it again.")
    return after


def live_sat(tx: Connection, invoice_id: str, *, besides: str = "") -> int:
    """Satoshi of the invoice's refunds that arrived or may still arrive, `besides` one.

    What did not arrive of a sent one is still owed, and can be asked for again.
    """
    arrives_sat = case((payouts.c.sent_sat < payouts.c.net_sat, payouts.c.sent_sat), else_=payouts.c.net_sat)
    mine = (payouts.c.invoice_id == invoice_id, payouts.c.state.in_(LIVE), payouts.c.id != besides)
    return _PAYOUTS.sum(tx, arrives_sat, *mine)


def unbooked_sat(tx: Connection, invoice_id: str, *, besides: str) -> int:
    """Net satoshi of the invoice's approved refunds that still lie in refunds_payable, `besides` one."""
    unbooked = payouts.c.state.in_(("approved", "submitting", "unknown"))
    return _PAYOUTS.sum(tx, payouts.c.net_sat, unbooked, payouts.c.id != besides, invoice_id=invoice_id)


def promised_sat(tx: Connection, *, wallet_id: str) -> int:
    """Gross satoshi that payouts under way may still take from a wallet."""
    return _PAYOUTS.sum(tx, payouts.c.gross_sat, _UNDER_WAY, wallet_id=wallet_id)


def leaving_sat(tx: Connection, *, wallet_id: str) -> int:
    """Gross satoshi of sends whose outcome is not booked yet."""
    return _PAYOUTS.sum(tx, payouts.c.gross_sat, payouts.c.state.in_(IN_FLIGHT), wallet_id=wallet_id)


def count_with_fee(tx: Connection, *, wallet_id: str) -> int:
    """How many payouts of a wallet cost something that is booked."""
    return _PAYOUTS.count(tx, payouts.c.paid_fee_sat > 0, wallet_id=wallet_id)


def any_open_sweep(tx: Connection) -> bool:
    """Whether a sweep is proposed, approved, under way or uncertain: the next one waits for it."""
    return _PAYOUTS.any(tx, or_(_UNDER_WAY, payouts.c.state == "sent"), kind="sweep")


def uses_of(tx: Connection, destination: str) -> int:
    """How many payouts went to an address: cold addresses take turns."""
    return _PAYOUTS.count(tx, destination=destination)


def any_work(tx: Connection, *, now: datetime) -> bool:
    """Whether the sender has anything to look at."""
    return _PAYOUTS.any(tx, _TO_SEND, payouts.c.next_try_at <= now)


def is_due(tx: Connection, *, wallet_id: str, now: datetime) -> bool:
    """Whether a wallet has anything to send; not yet a claim."""
    return _PAYOUTS.any(tx, _TO_SEND, payouts.c.next_try_at <= now, wallet_id=wallet_id, lease_until=None)


def lapsed(tx: Connection, *, now: datetime, lease_seconds: int, lock: bool = False) -> Sequence[PayoutRow]:
    """Payouts whose sender died between its intent and the answer."""
    over = is_over(payouts.c.lease_until, now, latest_end(now, lasts_seconds=lease_seconds))
    died = select(payouts).where(payouts.c.state == "submitting", over)
    return tx.execute(died.with_for_update() if lock else died).all()


def txids_to(tx: Connection, destination: str) -> set[str]:
    """Transactions of ours that paid an address."""
    query = select(payouts.c.txid).where(payouts.c.destination == destination, payouts.c.txid.is_not(None))
    return set(tx.execute(query).scalars())


def newest_fee(tx: Connection) -> PayoutRow | None:
    """The last payout of which the gateway said what it took."""
    told = (payouts.c.paid_fee_sat.is_not(None), payouts.c.role.in_(GATEWAY_ROLES))
    return tx.execute(select(payouts).where(*told).order_by(payouts.c.sent_at.desc()).limit(1)).one_or_none()


def unsent_of(tx: Connection, *, wallet_ids: Sequence[str], roles: Sequence[str]) -> Sequence[PayoutRow]:
    """Payouts of these wallets, in these roles, of which no call was ever made."""
    theirs = (payouts.c.wallet_id.in_(wallet_ids), payouts.c.role.in_(roles))
    return tx.execute(select(payouts).where(*theirs, _UNSENT)).all()


def unfinished_by_wallet(tx: Connection, *, following: Sequence[str] = (), roles: Sequence[str] = ()) -> dict[str, int]:
    """How many payouts a gateway still has to send, or may have sent, by wallet.

    Left out is what no call was made for, of the wallets `following` in these roles: another wallet takes it over.
    """
    waiting = (_UNDER_WAY, payouts.c.role.in_(ROLES))
    follows = and_(_UNSENT, payouts.c.wallet_id.in_(following), payouts.c.role.in_(roles))
    query = select(payouts.c.wallet_id, func.count()).where(*waiting, payouts.c.kind != "write_off", not_(follows))
    return {wallet_id: int(count) for wallet_id, count in tx.execute(query.group_by(payouts.c.wallet_id))}


def next_due(tx: Connection, *, wallet_id: str, now: datetime) -> PayoutRow | None:
    """The payout to send from a wallet: the one under way that waits for another try, else the oldest approved one.

    None while another is being sent or is uncertain.
    """
    mine = payouts.c.wallet_id == wallet_id
    in_flight = tx.execute(select(payouts).where(mine, payouts.c.state.in_(IN_FLIGHT)).with_for_update()).all()
    if in_flight:
        row = in_flight[0]
        wants_retry = row.state == "submitting" and row.lease_until is None and row.next_try_at <= now
        return row if wants_retry else None
    due = (mine, payouts.c.state == "approved", payouts.c.kind != "write_off", payouts.c.next_try_at <= now)
    query = select(payouts).where(*due).order_by(payouts.c.next_try_at, payouts.c.id).limit(1)
    return tx.execute(query.with_for_update()).one_or_none()


def unconfirmed(
    tx: Connection, *, now: datetime, limit: int, roles: Sequence[str] | None = None
) -> Sequence[PayoutRow]:
    """Sent payouts whose evidence is due, of these roles or of any."""
    due = [payouts.c.state == "sent", payouts.c.next_try_at <= now]
    due += [payouts.c.role.in_(roles)] if roles is not None else []
    return tx.execute(select(payouts).where(*due).order_by(payouts.c.next_try_at).limit(limit)).all()


def cover(tx: Connection, payout_id: str, *, until: datetime) -> None:
    """Keeps that nothing was sent up to then for certain. The version stays: a person who rules meanwhile is not refused for it."""
    _PAYOUTS.change(tx, {"covered_until": until}, id=payout_id, state="unknown")


def approve(tx: Connection, row: PayoutRow, *, actor: str, reason: str, now: datetime) -> bool:
    """Keeps one person's approval of the present round; False when they approved it before."""
    values = {"payout_id": row.id, "round": row.round, "actor": actor, "reason": reason, "at": now}
    fresh = insert_into(tx, payout_approvals).values(**values)
    fresh = fresh.on_conflict_do_nothing(index_elements=["payout_id", "round", "actor"])
    return tx.execute(fresh.returning(payout_approvals.c.id)).one_or_none() is not None


def set_billing_refund(tx: Connection, invoice_id: str, *, refunded_minor: int, now: datetime) -> None:
    """What the billing system has paid back of this invoice so far, all in all."""
    values = {"refunded_minor": refunded_minor, "at": now}
    put_row(tx, billing_refunds, {"invoice_id": invoice_id}, values)


def billing_refunded_minor(tx: Connection, invoice_id: str) -> int:
    query = select(billing_refunds.c.refunded_minor).where(billing_refunds.c.invoice_id == invoice_id)
    return int(tx.execute(query).scalar() or 0)
