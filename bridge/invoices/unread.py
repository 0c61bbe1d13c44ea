"""What belongs to a wallet that nobody can read or send from: no setting names it, or its gateway refuses to answer.

Owns the question that such an invoice asks, its end when the wallet is read again, and who is missing; must not read a wallet.
"""

from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.invoice import is_open
from bridge.invoices.record import rule_of, withdraw_review
from bridge.store import payouts, reviews, targets
from bridge.store.db import Tx

WALLET_UNREAD = "wallet_unread"


def unread(row: Any, *, now: datetime) -> str | None:
    """The review kind for an open invoice that holds money, or whose time is over, and cannot be read: it must not wait in
    silence. Without money and in time the alert `wallet_missing` is enough.
    """
    is_waiting = is_open(row.status, is_closed=row.closed_at is not None)
    return WALLET_UNREAD if is_waiting and (row.received_sat > 0 or now >= row.monitor_until) else None


def refused(row: Any, *, now: datetime) -> str | None:
    """The same when the gateway refuses to answer: a wrong key stays wrong, but a busy node may be said with the same words, so
    the last answer must be as old as two sources may differ.
    """
    silence = now - (row.provider_asked_at or row.created_at)
    grace = timedelta(seconds=rule_of(row).disagree_grace_seconds)
    return unread(row, now=now) if silence >= grace else None


def missing_wallets(tx: Tx, bridge: Bridge) -> list[str]:
    """Wallets that open invoices or unfinished payouts belong to, and that no setting can read or send from; a sentence each."""
    sending = {rail.wallet_id for rail in bridge.senders.values()}
    unread_ids = {
        each: count
        for (each, witness), count in targets.open_by_wallet(tx).items()
        if not bridge.can_read(each, witness)
    }
    unfinished = payouts.unfinished_by_wallet(tx, following=list(bridge.former), roles=list(bridge.senders))
    unsent_ids = {each: count for each, count in unfinished.items() if each not in sending}
    return [
        *(f"{count} open invoices of wallet {each}, which no setting can read" for each, count in unread_ids.items()),
        *(f"{count} payouts of wallet {each}, which no setting sends from" for each, count in unsent_ids.items()),
    ]


def is_let_pass(tx: Tx, row: Any, kind: str) -> bool:
    """Whether a person ruled on this silence before: the same silence is no news."""
    return kind == WALLET_UNREAD and reviews.is_ruled(tx, row.id, kind)


def withdraw_unread(tx: Tx, row: Any, *, now: datetime) -> None:
    """The wallet was read again: the question has answered itself, and what it held back goes on."""
    withdraw_review(tx, row, kind=WALLET_UNREAD, now=now)
