"""What we read ourselves about an address and about prices, as absolute facts, and what others say of what we ask or tell them.

Owns the value types that adapters return; must not say what a reading means for an invoice, `core.invoice` does.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class ProviderReading:
    """One `wallet_poll` answer: cumulative receipts of one address (SUBTC contract 5.10). `asked_at` is before
    sending; `server_time` is what the gateway's own clock said, if it did.
    """

    address: str
    received_sat: int
    reached: bool
    asked_at: datetime
    server_time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Tip:
    """The best block of a chain source. `time` is what its miner wrote into it, up to two hours from the truth."""

    height: int
    hash: str
    time: datetime


# What stands in no blocks says this; nobody compares it with the chain's.
NOT_IN_BLOCKS = Tip(height=0, hash="", time=datetime.min.replace(tzinfo=UTC))
# Confirmations of money that is final as soon as it is there: deeper than any rule asks for, and never shown as a depth.
FINAL = 1_000_000


@dataclass(frozen=True, kw_only=True)
class KnownOutput:
    """An output that an earlier reading showed, with its block if it was in one: a reader says what became of it.

    `spends` is the first coin ("txid:vout") that its transaction spends, where it is known.
    """

    outpoint: str
    block_height: int | None = None
    block_hash: str | None = None
    spends: str | None = None


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What a source shows of a known output that it does not list, by a code of FATES. `rival` is the txid of what waits."""

    code: str
    rival: str = ""


# A source says one of these, or nothing: then the output was only not shown. The first two are proof, the last is not.
FATES = frozenset(
    {
        "rival_confirmed",  # another transaction that spends its coin is in a block
        "rival_waits",  # it waited, and now another transaction that spends its coin waits
        "not_found",  # its block is another now, or it never was in one, and it is found nowhere
    }
)


@dataclass(frozen=True, kw_only=True)
class ChainOutput:
    """One output paying an address. `outpoint` is "txid:vout"; `confirmations` is 0 in the mempool; `block_time` is
    the block's own. `replaceable`: it says so itself (BIP-125); nodes replace any other unconfirmed transaction too.
    `senders` are the addresses the transaction spends from, where the reader knows them. A `coinbase` is what a block pays
    to its miner: nobody can spend it before it is 100 deep. `spends` is the first coin that it spends.

    A rail that speaks for itself names the outpoint after what it knows the payment by, says FINAL confirmations, as
    `block_time` when it was paid, and what it tells of more than whole satoshi in `amount_msat`.
    """

    outpoint: str
    amount_sat: int
    confirmations: int
    replaceable: bool
    block_time: datetime | None = None
    block_height: int | None = None
    block_hash: str | None = None
    coinbase: bool = False
    senders: tuple[str, ...] = field(default=(), compare=False)
    spends: str | None = field(default=None, compare=False)
    amount_msat: int | None = None


@dataclass(frozen=True, kw_only=True)
class ChainReading:
    """Every output that pays a target now, seen by one reader, and what that reading covers.

    It covers the mempool and the blocks from `since` on (None: all of the chain) up to `tip`. `gap` is a code of
    core.coverage.GAPS when the list may lack something all the same, "" when it is complete. `fates` say of known
    outpoints that are absent what became of them. What is absent and has no fate was only not shown. The tip of a rail that
    speaks for itself is NOT_IN_BLOCKS.
    """

    address: str
    outputs: tuple[ChainOutput, ...]
    tip: Tip
    source: str
    asked_at: datetime
    since: datetime | None = None
    gap: str = ""
    fates: Mapping[str, Fate] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PricePart:
    """One factor of a cross rate: by `source`, one unit of the first currency of `pair` costs `price` of its second.

    `max_age_seconds` is its own allowed age; None is what holds for every sample.
    """

    source: str
    pair: str
    price: Fraction
    observed_at: datetime
    max_age_seconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One price of one bitcoin from one source, in minor units of `currency` (65,000.00 USD is 6500000), rounded
    down. A cross rate has `parts`, whose product it is, and is as old as its oldest.
    """

    source: str
    currency: str
    price_minor: int
    observed_at: datetime
    parts: tuple[PricePart, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WalletBalance:
    """The whole wallet at the gateway (contract 5.8). `balance_sat` includes unconfirmed money: never spendable as
    such. `cut_sat` is the most that its parts lost together where each was told in whole satoshi.
    """

    balance_sat: int
    confirmed_sat: int
    unconfirmed_sat: int
    immature_sat: int
    cut_sat: int = 0


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A broadcast send, in the gateway's own numbers: asked for, received by the recipient, kept as service fee."""

    txid: str
    requested_sat: int
    sent_sat: int
    fee_sat: int


@dataclass(frozen=True, kw_only=True)
class Health:
    """A rail's own word about itself. What it does not say is None; `server_time` is its Date header.

    `inbound_sat` is the most that can come in over it now, `receive_bps` what it takes of that. `network` is ours, "" where it
    does not say; `blocks_behind` how many its node has not seen yet.
    """

    ok: bool
    fee_bps: int | None
    min_send_sat: int | None
    server_time: datetime | None
    inbound_sat: int | None = None
    receive_bps: int | None = None
    network: str = ""
    blocks_behind: int | None = None


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


# What a screening may answer of who pays.
VERDICTS = ("clear", "hit", "pending")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One invoice with money on its way. `addresses` are where the money came from, as far as the chain reader knows."""

    invoice_id: str
    merchant: str
    billing_payment_id: str
    customer_id: str
    country: str
    addresses: tuple[str, ...]
    outpoints: tuple[str, ...]
    received_sat: int

    def text(self) -> str:
        """The same subject is always the same text: what is kept, hashed and handed to a command."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Screened:
    """`verdict` is one of VERDICTS; pending when the screening could not say. `matched` names the entry that hit."""

    verdict: str
    matched: str = ""
    detail: str = ""
