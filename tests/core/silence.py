"""A true chain in memory, sources that show it well or badly, and a life of one invoice that is told by them alone.

Owns what a real server can say, as chain/esplora.py reads it, and what is known to be true; must not decide anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from bridge.core.clock import believed
from bridge.core.coverage import Horizon, covered_until, known_outputs, learn
from bridge.core.evidence import ChainOutput, ChainReading, Fate, KnownOutput, Tip
from bridge.core.invoice import CONFIRMS_WITHIN, Decision, Invoice
from bridge.invoices import chain as follow_tip
from bridge.invoices import observe
from tests.core.builders import T0
from tests.core.life import Life

OLDEST_TIP = timedelta(hours=2)
BLOCK_EVERY = timedelta(minutes=20)
FIRST_HEIGHT = 1_000

# How a source may show the chain. A server says nothing of its state: what is wrong has to be found in its answers.
MODES = (
    "honest",
    "lag",  # some blocks behind; what they hold still waits
    "back",  # some blocks behind; what they hold is found nowhere
    "frozen",  # shows what it showed when it froze
    "low",  # indexes anew from the first block
    "blind",  # the right tip, an empty index, no transaction known
    "blind_list",  # the right tip, an empty index, transactions still known by their ids
    "hides",  # its list lacks one transaction, which it knows
    "hides_all_of_it",  # it lacks one transaction altogether
    "cut",  # lists the newest only, and says that there are more
    "pruned",  # a node that has thrown away what it would have to search
    "not_searched",  # a node that has searched from some time only
    "twice",  # a block came between two pages
    "down",
)
# With these the source does not know some of what came, and nothing in its answer says so. A payment that it never showed, or
# that waited and that it does not know any more, cannot be told from one that is not there.
FORGETFUL = frozenset({"blind", "blind_list", "hides", "hides_all_of_it", "frozen", "back"})


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One that pays the address (or, of 0 satoshi, spends the payer's coin elsewhere). Of two with one `coin` one can stand."""

    txid: str
    coin: str
    amount_sat: int
    came_at: datetime
    coinbase: bool = False


@dataclass(frozen=True, kw_only=True)
class Block:
    height: int
    hash: str
    time: datetime
    txids: tuple[str, ...] = ()


@dataclass(kw_only=True)
class TrueChain:
    """What really is there."""

    now: datetime
    known: dict[str, Transaction] = field(default_factory=dict)
    mempool: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    made: int = 0

    def __post_init__(self) -> None:
        for age in (timedelta(days=9), timedelta(days=8), BLOCK_EVERY, timedelta(0)):
            self._append((), at=self.now - age)

    def pay(self, amount_sat: int, *, coin: str = "") -> str:
        txid = f"tx{len(self.known):03d}"
        self.known[txid] = Transaction(txid=txid, coin=coin or txid, amount_sat=amount_sat, came_at=self.now)
        self.mempool.append(txid)
        return txid

    def mine(self, *, coinbase_sat: int = 0, is_empty: bool = False) -> None:
        txids = () if is_empty else tuple(self.mempool)
        if coinbase_sat:
            txid = f"cb{len(self.known):03d}"
            self.known[txid] = Transaction(
                txid=txid, coin=txid, amount_sat=coinbase_sat, came_at=self.now, coinbase=True
            )
            txids = (txid, *txids)
        self._append(txids, at=self.now)

    def replace(self, txid: str, amount_sat: int) -> None:
        """A rival of a waiting transaction takes its place: a fee bump when it pays us, a double spend when not."""
        self.mempool.remove(txid)
        self.pay(amount_sat, coin=self.known[txid].coin)

    def reorganise(self, depth: int, *, fate: str) -> None:
        """The last blocks give way to one more: their transactions wait again, are in again, or lose to a rival."""
        depth = min(depth, len(self.blocks) - 3)
        undone = [txid for block in self.blocks[-depth:] for txid in block.txids]
        del self.blocks[-depth:]
        back = [txid for txid in undone if not self.known[txid].coinbase]
        self.mempool[:0] = back
        if fate == "rival":
            for txid in back:
                self.replace(txid, 0)
        for nth in range(depth + 1):
            self.mine(is_empty=fate == "waits" or nth > 0)

    def passes(self, seconds: int, *, is_empty: bool) -> None:
        """A block in a while, in long times seldom; the newest is never older than that."""
        end = self.now + timedelta(seconds=seconds)
        pause = max(BLOCK_EVERY, timedelta(seconds=seconds) / 8)
        while self.blocks[-1].time + BLOCK_EVERY <= end:
            self.now = max(self.now, min(self.blocks[-1].time + pause, end - BLOCK_EVERY / 2))
            self.mine(is_empty=is_empty)
        self.now = end

    def place(self, txid: str) -> Block | None:
        return next((block for block in reversed(self.blocks) if txid in block.txids), None)

    def depth(self, txid: str) -> int:
        block = self.place(txid)
        return 0 if block is None else self.blocks[-1].height - block.height + 1

    def alive(self) -> list[Transaction]:
        """What pays us, waiting or in a block."""
        there = {*self.mempool, *(txid for block in self.blocks for txid in block.txids)}
        return [self.known[txid] for txid in sorted(there) if self.known[txid].amount_sat]

    def _append(self, txids: tuple[str, ...], *, at: datetime) -> None:
        height = self.blocks[-1].height + 1 if self.blocks else FIRST_HEIGHT
        self.made += 1
        self.blocks.append(Block(height=height, hash=f"{self.made:064d}", time=at, txids=txids))
        self.mempool = [txid for txid in self.mempool if txid not in txids]


@dataclass(frozen=True, kw_only=True)
class View:
    """What a source has of the chain: its blocks, what waits there, what it lists, what it knows by its id."""

    blocks: Sequence[Block]
    mempool: Sequence[str]
    listed: frozenset[str]
    findable: frozenset[str]

    def spender(self, chain: TrueChain, coin: str | None) -> str | None:
        """The transaction that it knows to spend a coin."""
        return next((txid for txid in sorted(self.findable) if chain.known[txid].coin == coin), None)


@dataclass(kw_only=True)
class Source:
    name: str
    mode: str = "honest"
    blocks_behind: int = 1
    turned_at: datetime = T0
    frozen: tuple[list[Block], list[str]] = ((), ())  # type: ignore[assignment]

    def turn(self, mode: str, chain: TrueChain, *, blocks_behind: int = 1) -> None:
        if mode != self.mode:
            self.frozen = (list(chain.blocks), list(chain.mempool))
            self.turned_at = chain.now
        self.mode, self.blocks_behind = mode, blocks_behind

    def read(self, chain: TrueChain, known: Sequence[KnownOutput], *, asked_at: datetime) -> ChainReading:
        view = self.view(chain)
        tip = view.blocks[-1]
        outputs = [output for txid in sorted(view.listed) for output in _outputs(chain, view, txid)]
        if self.mode == "twice":
            outputs += [replace(o, confirmations=0, block_height=None, block_hash=None) for o in outputs]
            outputs += [replace(o, confirmations=max(o.confirmations - 1, 0)) for o in outputs]
        fates, found, gap = _fates(chain, view, known, {output.outpoint for output in outputs})
        gap = {"cut": "history_cut", "pruned": "pruned"}.get(self.mode, gap)
        return ChainReading(
            address="tb1q",
            outputs=(*outputs, *found),
            tip=Tip(height=tip.height, hash=tip.hash, time=tip.time),
            source=self.name,
            asked_at=asked_at,
            since=self.turned_at if self.mode == "not_searched" else None,
            gap=gap,
            fates=fates,
        )

    def view(self, chain: TrueChain) -> View:
        blocks, mempool = chain.blocks, chain.mempool
        if self.mode in ("lag", "back"):
            missing = min(self.blocks_behind, len(blocks) - 3)
            if self.mode == "lag":
                mempool = [*(txid for block in blocks[-missing:] for txid in block.txids), *mempool]
            blocks = blocks[:-missing]
        if self.mode == "frozen":
            blocks, mempool = self.frozen
        if self.mode == "low":
            blocks, mempool = blocks[:2], []
        held = frozenset(mempool).union(*(block.txids for block in blocks))
        listed, findable = self._known(held, blocks, mempool)
        return View(blocks=blocks, mempool=mempool, listed=listed, findable=findable)

    def _known(
        self, held: frozenset[str], blocks: Sequence[Block], mempool: Sequence[str]
    ) -> tuple[frozenset[str], frozenset[str]]:
        first = frozenset(sorted(held)[:1])
        recent = frozenset(mempool).union(*(b.txids for b in blocks if b.time >= self.turned_at))
        return {
            "blind": (frozenset(), frozenset()),
            "blind_list": (frozenset(), held),
            "hides": (held - first, held),
            "hides_all_of_it": (held - first, held - first),
            "cut": (held - first, held),
            "pruned": (recent, recent),
            "not_searched": (recent, recent),
        }.get(self.mode, (held, held))  # type: ignore[return-value]


def _outputs(chain: TrueChain, view: View, txid: str) -> list[ChainOutput]:
    paid = chain.known[txid]
    if not paid.amount_sat:
        return []
    block = next((each for each in reversed(view.blocks) if txid in each.txids), None)
    return [
        ChainOutput(
            outpoint=f"{txid}:0",
            amount_sat=paid.amount_sat,
            confirmations=view.blocks[-1].height - block.height + 1 if block else 0,
            replaceable=block is None,
            block_time=block.time if block else None,
            block_height=block.height if block else None,
            block_hash=block.hash if block else None,
            coinbase=paid.coinbase,
            spends=None if paid.coinbase else paid.coin,
        )
    ]


def _fates(
    chain: TrueChain, view: View, known: Sequence[KnownOutput], listed: set[str]
) -> tuple[dict[str, Fate], list[ChainOutput], str]:
    """What a server says of outputs that its list lacks, as chain.esplora asks it: by the id, who spends the coin, and for the
    block it stood in.
    """
    fates, found, gap = dict[str, Fate](), list[ChainOutput](), ""
    for each in known:
        if each.outpoint in listed:
            continue
        txid = each.outpoint.partition(":")[0]
        if txid in view.findable:
            found += _outputs(chain, view, txid)
            gap = gap or "history_differs"
        elif fate := _fate(chain, view, each):
            fates[each.outpoint] = fate
        else:
            gap = "payment_not_shown"
    return fates, found, gap


def _fate(chain: TrueChain, view: View, known: KnownOutput) -> Fate | None:
    rival = view.spender(chain, known.spends)
    if rival is not None and rival not in view.mempool:
        return Fate(code="rival_confirmed")
    if rival is not None and known.block_hash is None:
        return Fate(code="rival_waits", rival=rival)
    return Fate(code="not_found") if known.block_hash is None or _block_differs(view, known) else None


def _block_differs(view: View, known: KnownOutput) -> bool:
    if known.block_height is None or known.block_height > view.blocks[-1].height:
        return False
    held = next((block for block in reversed(view.blocks) if block.height == known.block_height), None)
    return held is None or held.hash != known.block_hash


@dataclass
class SilentLife(Life):
    """One invoice of the shop's own wallet. Time runs in the chain; the bridge's clock may be wrong by what a look says."""

    sources: tuple[Source, ...] = ()
    clock_was_ahead: int = 0
    chain_asked_at: datetime | None = None
    gap_code: str | None = None
    gap_source: str | None = None
    gap_since: datetime | None = None
    gap_at: datetime | None = None
    best: tuple[int, datetime] | None = None
    shown: set[str] = field(default_factory=set)
    excused: set[str] = field(default_factory=set)
    statuses: list[str] = field(default_factory=list)
    proved: set[frozenset[str]] = field(default_factory=set)
    has_looked: bool = False
    may_be_forgetful: bool = False
    newest_block_at: datetime = T0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.invoice = replace(self.invoice, has_gateway=False)
        self.chain = TrueChain(now=T0 - timedelta(seconds=self.clock_was_ahead))
        self.now = self.chain.now
        self.statuses = [self.invoice.status]

    # --- what invoices.observe and invoices.chain do, without their database ---

    def looks(self, first: int = 0, *, clock_off: int = 0) -> None:
        """One look at the first source that answers, beginning with the `first`; none once it is over."""
        if self.is_over():
            return
        asked_at = self.chain.now + timedelta(seconds=clock_off)
        horizon = self.horizon(asked_at)
        order = [*self.sources[first % len(self.sources) :], *self.sources[: first % len(self.sources)]]
        source = next((each for each in order if each.mode != "down"), None)
        is_newest = observe._is_newer(asked_at, self.chain_asked_at, now=asked_at)
        reached = max(asked_at, believed(self.chain_asked_at, now=asked_at) or asked_at)
        self.may_be_forgetful = False
        if source is None:
            if is_newest:
                self.keep_gap("chain_unavailable", "", asked_at)
        else:
            reading = source.read(self.chain, known_outputs(tuple(self.payments.values())), asked_at=asked_at)
            self.note_tip(reading.tip, now=asked_at)
            is_behind = reading.tip.height < horizon.height or asked_at - reading.tip.time > OLDEST_TIP
            self.may_be_forgetful = source.mode in FORGETFUL and not is_behind
            self.take_in(reading, horizon=horizon, is_newest=is_newest)
            if is_newest and not is_behind:
                self.note_proofs(source.view(self.chain))
            self.check_rivals()
        self.now = reached
        self.has_looked = True
        self.decide()
        self.now = self.chain.now
        # From now on: what this look showed first was not counted on before, and what only an older answer showed never was.
        self.shown |= {key for key, payment in self.payments.items() if not payment.replaced}
        if self.invoice.status != self.statuses[-1]:
            self.statuses.append(self.invoice.status)

    def take_in(self, reading: ChainReading, *, horizon: Horizon, is_newest: bool) -> None:
        before = dict(self.payments)
        learned = learn(
            tuple(self.payments.values()),
            reading,
            born_at=T0,
            horizon=horizon,
            is_newest=is_newest,
            is_settled=self.invoice.settled_at is not None,
        )
        for payment, _ in learned.payments:
            self.payments[payment.key] = payment
        self.check_learned(before, now=reading.asked_at)
        if not is_newest:
            return
        self.chain_asked_at = reading.asked_at
        if not learned.gap:
            until = covered_until(reading, horizon=horizon, watched_until=self.invoice.monitor_until)
            self.invoice = replace(self.invoice, covered_until=until)
            self.newest_block_at = reading.tip.time
        self.keep_gap(learned.gap, reading.source, reading.asked_at)

    def keep_gap(self, code: str, source: str, asked_at: datetime) -> None:
        row = SimpleNamespace(
            gap=self.gap_code,
            gap_source=self.gap_source,
            gap_since=self.gap_since,
            gap_at=self.gap_at,
            rule_terms=self.rule.terms(),
        )
        changed: dict[str, Any] = observe._gap(row, code, source, asked_at)
        self.gap_code = changed.get("gap", self.gap_code)
        self.gap_source = changed.get("gap_source", self.gap_source)
        self.gap_since = changed.get("gap_since", self.gap_since)
        self.gap_at = changed.get("gap_at", self.gap_at)
        gap = (self.gap_since, self.gap_at) if self.gap_since and self.gap_at else None
        self.invoice = replace(self.invoice, gap=gap)

    def horizon(self, now: datetime) -> Horizon:
        is_known = self.best is not None and not follow_tip._is_forgotten(self.best[1], OLDEST_TIP, now=now)
        return Horizon(height=self.best[0] if self.best and is_known else 0, oldest_tip=OLDEST_TIP)

    def note_tip(self, tip: Tip, *, now: datetime) -> None:
        if tip.height >= self.horizon(now).height:
            self.best = (tip.height, now)

    def apply(self, decision: Decision) -> None:
        before = self.invoice
        super().apply(decision)
        if "evidence_missing" in before.open_reviews and before.gap is None:
            self.invoice = replace(self.invoice, open_reviews=self.invoice.open_reviews - {"evidence_missing"})
        if self.has_looked:
            self.check_told(before, decision)

    def is_over(self) -> bool:
        """Money on a closed invoice is a person's, and another story."""
        return self.invoice.closed_at is not None and bool(self.chain.alive())

    # --- what must hold whatever the sources say ---

    def note_proofs(self, view: View) -> None:
        """A source that is not behind has shown which of two rivals it has."""
        standing = {key.partition(":")[0] for key, payment in self.payments.items() if payment.spends}
        for txid in standing:
            spender = view.spender(self.chain, self.chain.known[txid].coin)
            if spender is not None and spender != txid:
                self.proved.add(frozenset({txid, spender}))

    def check_rivals(self) -> None:
        """A replaced payment never counts beside its replacement, whoever shows it again."""
        counting = {key.partition(":")[0] for key, payment in self.payments.items() if not payment.replaced}
        for rivals in self.proved:
            assert not rivals <= counting, f"{sorted(rivals)} spend one coin and count both"

    def check_learned(self, before: dict[str, Any], *, now: datetime) -> None:
        """A payment that stood in a block is gone only when another block has its place. One that waited is gone only to a rival,
        or when nobody knows it after a day.
        """
        for key, payment in self.payments.items():
            known = before.get(key)
            if known is None or known.replaced or not payment.replaced:
                continue
            txid = key.partition(":")[0]
            block = self.chain.place(txid)
            if known.block_hash is not None:
                assert block is None or block.hash != known.block_hash, f"{key} stands where it stood"
            else:
                coin = self.chain.known[txid].coin
                has_rival = any(t.coin == coin and t.txid != txid for t in self.chain.known.values())
                assert has_rival or now - known.first_seen_at >= CONFIRMS_WITHIN, f"{key} was undone by silence"
            if any(each.txid == txid for each in self.chain.alive()):
                self.excused.add(txid)

    def check_told(self, before: Invoice, decision: Decision) -> None:
        there = [t for t in self.chain.alive() if t.amount_sat >= self.rule.dust_sat and not self.is_excused(t)]
        if decision.closed and before.closed_at is None:
            assert not there, f"closed although {there} came"
            assert before.covered_until is not None and before.covered_until >= before.monitor_until
            assert self.newest_block_at >= before.monitor_until, "closed by a source that may stand still"
        if decision.status == "expired" and before.status != "expired" and decision.exception != "paid_late":
            assert before.covered_until is not None and before.covered_until >= before.expires_at
            in_time = [t for t in there if t.came_at <= before.expires_at and not t.coinbase]
            assert sum(t.amount_sat for t in in_time) < 15_924, f"expired although {in_time} came in time"
        if decision.status == "invalid" and before.status == "settled":
            final = [t for t in self.chain.alive() if self.chain.depth(t.txid) >= self.rule.final_depth]
            stands = [t for t in final if f"{t.txid}:0" in self.shown and t.txid not in self.excused]
            held = sum(t.amount_sat for t in stands if not t.coinbase)
            assert held < before.received_sat, "final money was told to be gone"

    def is_excused(self, paid: Transaction) -> bool:
        """Of what a source never showed, it may be silent unnoticed; but not while it is known to be behind."""
        return paid.txid in self.excused or (self.may_be_forgetful and f"{paid.txid}:0" not in self.shown)


def an_honest_end(life: SilentLife) -> None:
    """All sources are honest again, and looked at until everything is over."""
    for source in life.sources:
        source.turn("honest", life.chain)
    for hours in [0.25] * 4 + [1] * 3 + [6] * 4 + [24] * 9:
        life.chain.passes(int(hours * 3_600), is_empty=False)
        for first in range(len(life.sources)):
            life.looks(first)
