"""What we read ourselves about an address and about prices, as absolute facts.

Owns the value types that adapters return; must not say what a reading means for an invoice, `core.invoice` does.
"""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class ProviderReading:
    """One `wallet_poll` answer: cumulative receipts of one address (SUBTC contract 5.10). `asked_at` is before
    sending.
    """

    address: str
    received_sat: int
    reached: bool
    asked_at: datetime


@dataclass(frozen=True, kw_only=True)
class ChainOutput:
    """One output paying an address. `outpoint` is "txid:vout"; `confirmations` is 0 in the mempool; `block_time` is
    the block's own. `senders` are the addresses the transaction spends from, where the reader knows them.
    """

    outpoint: str
    amount_sat: int
    confirmations: int
    replaceable: bool
    block_time: datetime | None = None
    senders: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, kw_only=True)
class ChainReading:
    """Every output that pays an address now, seen by one chain reader. What is absent is not on that reader's chain."""

    address: str
    outputs: tuple[ChainOutput, ...]
    tip_height: int
    source: str
    asked_at: datetime


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One price of one bitcoin from one source, in minor units of `currency` (65,000.00 USD is 6500000), rounded
    down.
    """

    source: str
    currency: str
    price_minor: int
    observed_at: datetime


@dataclass(frozen=True, kw_only=True)
class WalletBalance:
    """The whole wallet at the gateway (contract 5.8). `balance_sat` includes unconfirmed money: never spendable as
    such.
    """

    balance_sat: int
    confirmed_sat: int
    unconfirmed_sat: int
    immature_sat: int


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A broadcast send, in the gateway's own numbers: asked for, received by the recipient, kept as service fee."""

    txid: str
    requested_sat: int
    sent_sat: int
    fee_sat: int


@dataclass(frozen=True, kw_only=True)
class Health:
    """The gateway's own word about itself. What it does not say is None; `server_time` is its Date header."""

    ok: bool
    fee_bps: int | None
    min_send_sat: int | None
    server_time: datetime | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a receiver answered one notification. `outcome` is delivered, retry or parked; `error` is a code of ours.

    `status` is None when no answer came. `body_excerpt` is at most 1 KiB, redacted; `body_sha256` is over what was
    read.
    """

    outcome: str
    status: int | None
    latency_ms: int
    retry_after_seconds: int | None
    body_excerpt: str
    body_sha256: str
    error: str | None
