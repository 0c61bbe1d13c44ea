"""What a reading of the chain covers, and what it therefore says about what it does not show.

Owns the rule that proof counts wherever it is shown, and silence only where was searched; must not set a status,
`core.invoice` does.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bridge.core.clock import is_ahead
from bridge.core.credit import Payment
from bridge.core.evidence import ChainOutput, ChainReading, KnownOutput
from bridge.core.invoice import CONFIRMS_WITHIN
from bridge.core.rail import Target

# Why the silence of a reading says nothing.
GAPS = frozenset(
    {
        "pruned",  # the node has thrown blocks away that would have to be searched
        "not_searched",  # the source was searched only from a time after the invoice's birth
        "history_cut",  # the server does not list all transactions of the address
        "history_differs",  # the server knows a transaction by its id that its list for the address lacks
        "tip_behind",  # a higher block is known
        "tip_stale",  # the newest block is old: the source stands still, or this machine's clock is ahead
        "payment_not_shown",  # a payment that was seen is not shown, and nothing says that it is undone
        "chain_unavailable",  # no source answered
        "rail_unavailable",  # who keeps the money of another way to pay did not answer
        "rail_forgot",  # who keeps the money of another way to pay does not know what it once made
        "clock_ahead",  # the invoice was opened by a clock that was ahead
    }
)

# The gaps of a source that has not searched, or cannot search, the whole past.
NOT_ALL_SEARCHED = frozenset({"pruned", "not_searched"})
_BEHIND = frozenset({"tip_behind", "tip_stale"})


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """What a reading is held to: the highest block that any source has shown of late, and how old a newest block may be.

    `oldest_tip` is None where blocks come when somebody makes them, as on regtest.
    """

    height: int = 0
    oldest_tip: timedelta | None = None

    def of(self, target: Target) -> "Horizon":
        """The same for one target: what does not stand in blocks is held to none."""
        return self if target.is_on_chain else Horizon()


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a reading teaches: payments that are new (True) or known otherwise than before, and its gap, "" for none."""

    payments: tuple[tuple[Payment, bool], ...]
    gap: str


def known_outputs(payments: Sequence[Payment]) -> tuple[KnownOutput, ...]:
    """The payments whose fate a reader is asked for: those with an outpoint that are still there."""
    return tuple(
        KnownOutput(outpoint=p.key, block_height=p.block_height, block_hash=p.block_hash, spends=p.spends)
        for p in payments
        if not p.replaced and p.confirmations is not None
    )


def gap_of(reading: ChainReading, *, born_at: datetime, horizon: Horizon) -> str:
    """Why the silence of `reading` says nothing about an invoice born then; "" when it is a fact."""
    tip = reading.tip
    # A source that is behind is that first: what else it lacks may follow from it.
    conditions = (
        ("tip_behind", tip.height < horizon.height),
        ("tip_stale", horizon.oldest_tip is not None and reading.asked_at - tip.time > horizon.oldest_tip),
        (reading.gap, bool(reading.gap)),
        ("clock_ahead", is_ahead(born_at, now=reading.asked_at)),
        ("not_searched", reading.since is not None and reading.since > born_at),
    )
    return next((code for code, applies in conditions if applies), "")


def covered_until(reading: ChainReading, *, horizon: Horizon, watched_until: datetime) -> datetime:
    """Up to when a reading without a gap tells what came.

    Of the end of the watch only a source tells that has a block from after it: one that stands still looks like one to which
    nothing comes. Where blocks come when somebody makes them, none may ever come.
    """
    is_shown = horizon.oldest_tip is None or reading.tip.time >= watched_until
    return reading.asked_at if is_shown else min(reading.asked_at, watched_until - timedelta.resolution)


def learn(
    known: Sequence[Payment],
    reading: ChainReading,
    *,
    born_at: datetime,
    horizon: Horizon,
    is_newest: bool,
    is_settled: bool = False,
) -> Learned:
    """The absolute facts of every output we know after `reading`.

    New money is always believed. That a payment is gone is believed by proof, or by the silence of a reading that covers it; and
    of a payment that we know, a source that is behind tells nothing new. From an answer older than one already taken in, only
    earlier first sights are learned; where the invoice `is_settled`, of new money alone.
    """
    lacks = gap = gap_of(reading, born_at=born_at, horizon=horizon)
    rest = {p.key: p for p in known}
    totals = _Totals(known)
    learned: list[tuple[Payment, bool]] = []
    for output in _once(reading.outputs):
        before = rest.pop(output.outpoint, None)
        seen = _seen(output, before, reading, born_at=born_at, is_newest=is_newest)
        if before is not None and is_settled:
            # An earlier first sight would take it out of the late quote that it was settled at.
            seen = replace(seen, first_seen_at=before.first_seen_at)
        if before is not None and is_newest and not _is_believed(seen, before, reading, lacks, horizon):
            gap = gap or "payment_not_shown"
            seen = replace(before, first_seen_at=seen.first_seen_at)
        if not seen.replaced and (before is None or before.replaced):
            seen = replace(seen, first_seen_at=totals.give_way(seen))
        if seen != before:
            learned.append((seen, before is None))
    beaten = _beaten(known, learned)
    for gone in rest.values() if is_newest else ():
        if gone.replaced:
            continue
        left = totals.left.get(gone.key, gone)
        if left.replaced or _is_undone(gone, reading, lacks, horizon, beaten=beaten):
            learned.append((_gone(gone, reading), False))
            continue
        gap = gap or "payment_not_shown"
        if left != gone:
            learned.append((left, False))
    return Learned(payments=tuple(learned), gap=gap)


def _beaten(known: Iterable[Payment], learned: Iterable[tuple[Payment, bool]]) -> frozenset[str]:
    """The transactions that are known to be undone, after what was just learned."""
    now = {p.key: p for p in known} | {p.key: p for p, _ in learned}
    return frozenset(key.partition(":")[0] for key, p in now.items() if p.replaced)


class _Totals:
    """Totals of the gateway, as they give way to the outputs that they were the sum of."""

    def __init__(self, known: Sequence[Payment]):
        its = sorted((p for p in known if p.confirmations is None and not p.replaced), key=lambda p: p.first_seen_at)
        self.left = {p.key: p for p in its}

    def give_way(self, shown: Payment) -> datetime:
        """Takes what is shown from the earliest that are left, else it would count twice. Returns since when it is known."""
        known_since, to_take = shown.first_seen_at, shown.amount_sat
        for total in self.left.values():
            if total.replaced or to_take == 0:
                continue
            taken = min(total.amount_sat, to_take)
            to_take -= taken
            known_since = min(known_since, total.first_seen_at)
            is_used_up = taken == total.amount_sat
            self.left[total.key] = replace(
                total, amount_sat=total.amount_sat - (0 if is_used_up else taken), replaced=is_used_up
            )
        return known_since


def _gone(payment: Payment, reading: ChainReading) -> Payment:
    return replace(payment, replaced=True, confirmations=0, block_height=None, block_hash=None, source=reading.source)


def _once(outputs: Sequence[ChainOutput]) -> Iterator[ChainOutput]:
    """Each outpoint once, as deep as it is told, the deepest first: they came first."""
    deepest: dict[str, ChainOutput] = {}
    for output in outputs:
        told = deepest.setdefault(output.outpoint, output)
        if output.confirmations > told.confirmations:
            deepest[output.outpoint] = output
    yield from sorted(deepest.values(), key=lambda output: -output.confirmations)


def _seen(
    output: ChainOutput, before: Payment | None, reading: ChainReading, *, born_at: datetime, is_newest: bool
) -> Payment:
    # A block's time may lie well back: it only dates money that we did not see before it was in a block.
    told_at = before.first_seen_at if before else output.block_time or reading.asked_at
    # Nobody can pay an address before it exists.
    first_seen_at = max(min(reading.asked_at, told_at), born_at)
    if before is not None and not is_newest:
        return replace(before, first_seen_at=first_seen_at)
    return Payment(
        key=output.outpoint,
        amount_sat=output.amount_sat,
        amount_msat=output.amount_msat,
        confirmations=output.confirmations,
        first_seen_at=first_seen_at,
        replaceable=output.replaceable,
        replaced=not is_newest,
        block_height=output.block_height,
        block_hash=output.block_hash,
        coinbase=output.coinbase,
        source=reading.source if is_newest else "",
        spends=output.spends or (before.spends if before else None),
    )


def _is_believed(seen: Payment, before: Payment, reading: ChainReading, lacks: str, horizon: Horizon) -> bool:
    """Whether a payment that we know stands as the reading shows it. A source that is behind shows blocks that may be undone."""
    if before.replaced and not before.source:  # only an older answer has shown it: new money
        return True
    if before.is_final and seen.amount_sat != before.amount_sat:  # what was final is no other sum later
        return False
    if lacks in _BEHIND:
        return False
    if before.replaced:
        # That it waits again only the source says that told it gone: two whose mempools differ would take turns for ever.
        return bool(seen.confirmations) or reading.source == before.source
    is_less = (seen.confirmations or 0) < (before.confirmations or 0)
    return not is_less or _may_lessen(before, reading, horizon)


def _is_undone(gone: Payment, reading: ChainReading, lacks: str, horizon: Horizon, *, beaten: frozenset[str]) -> bool:
    """Whether a payment that is not listed is gone: by proof, whatever else the source lacks, or by what it has searched in vain."""
    if gone.confirmations is None:  # a total of the gateway's, which the chain's own outputs take the place of
        return not lacks
    fate = reading.fates.get(gone.key)
    if fate is None or lacks in _BEHIND:
        return False
    if fate.code == "rival_confirmed":
        return gone.confirmations == 0 or _may_lessen(gone, reading, horizon)
    if fate.code == "rival_waits":
        # Two mempools may each hold one of two rivals: the first that is believed stays, else neither would count.
        return gone.confirmations == 0 and fate.rival not in beaten
    return not lacks and _is_lost(gone, reading) and _may_lessen(gone, reading, horizon)


def _is_lost(gone: Payment, reading: ChainReading) -> bool:
    """Whether there is something against a payment that is found nowhere: its block is another now, or it had a day to get
    into one. A mempool forgets what waits, at a restart or when it is full, and that proves nothing.
    """
    if gone.confirmations:
        return gone.block_hash is not None  # stored before blocks were, nothing can be held against it
    return reading.asked_at - gone.first_seen_at >= CONFIRMS_WITHIN


def _may_lessen(before: Payment, reading: ChainReading, horizon: Horizon) -> bool:
    """Whether a reading may make less of a payment: the source that showed it may once its tip is not behind; of two sources
    that differ the fuller counts, unless the other has the longer chain.
    """
    is_confirmed = bool(before.confirmations)
    if before.is_final:
        return False
    if reading.tip.height < _told_height(before):
        return False
    if reading.source == before.source or not before.source:
        return True
    return is_confirmed and reading.tip.height > max(_told_height(before), horizon.height - 1)


def _told_height(payment: Payment) -> int:
    """How high the chain was at least when the payment was last seen so deep."""
    return payment.block_height + (payment.confirmations or 1) - 1 if payment.block_height is not None else 0
