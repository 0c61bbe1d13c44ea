"""The simulated chain: blocks, a mempool, conflicting spends, fee replacement, dropped transactions, reorganisations.

Must not know the gateway, HTTP or time zones. Our own choices: no scripts, no fee market, no proof of work, a coinbase only
where somebody is to be paid by it; an outside payer spends a coin that comes from nowhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from sandbox.addresses import random_address, random_taproot

REPLACEABLE, FINAL = 0xFFFFFFFD, 0xFFFFFFFE
START_HEIGHT, START_BLOCKS, BLOCK_SECONDS = 800_000, 12, 600
PAYER_FEE_SAT = 500
# Core's wallet counts a coinbase from here on: its next block may hold what spends it.
MATURE_DEPTH = 101


class ChainError(ValueError):
    """What was asked cannot happen on this chain."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    address: str
    value_sat: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    txid: str
    vout: int
    address: str
    value_sat: int
    sequence: int = FINAL


@dataclass(frozen=True, kw_only=True, slots=True)
class Transaction:
    txid: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    first_seen_at: int
    is_coinbase: bool = False

    @property
    def fee_sat(self) -> int:
        return 0 if self.is_coinbase else sum(i.value_sat for i in self.inputs) - sum(o.value_sat for o in self.outputs)

    @property
    def replaceable(self) -> bool:
        """True if an input signals replaceability (BIP-125)."""
        return any(i.sequence < FINAL for i in self.inputs)

    @property
    def addresses(self) -> set[str]:
        return {i.address for i in self.inputs} | {o.address for o in self.outputs}


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    height: int
    hash: str
    previous: str
    time: int
    txids: tuple[str, ...]


Outpoint = tuple[str, int]


class Chain:
    """One best chain and its mempool. Callers hold the world's lock."""

    def __init__(self, net: str, rng: random.Random, now: Callable[[], float]) -> None:
        self.net, self._rng, self._now = net, rng, now
        self.start_height = START_HEIGHT
        self.transactions: dict[str, Transaction] = {}
        self.heights: dict[str, int] = {}
        self.mempool: dict[str, None] = {}
        self.blocks: list[Block] = []
        self.spenders: dict[Outpoint, tuple[str, int]] = {}
        self.outputs_of: dict[str, list[Outpoint]] = {}
        self.history_of: dict[str, list[str]] = {}
        self.orphans: dict[str, Transaction] = {}
        self.mine(START_BLOCKS)
        ages = range(START_BLOCKS - 1, -1, -1)
        self.blocks = [
            replace(block, time=block.time - age * BLOCK_SECONDS) for block, age in zip(self.blocks, ages, strict=True)
        ]

    def refresh(self) -> None:
        """Nothing happens on this chain but through it."""

    def new_address(self) -> str:
        """A fresh address for whoever receives here; nobody has its key."""
        return random_address(self.net, self._rng)

    @property
    def tip(self) -> Block:
        return self.blocks[-1]

    def block_at(self, height: int) -> Block | None:
        """The block of the best chain at `height`, or None."""
        place = height - self.start_height
        return self.blocks[place] if 0 <= place < len(self.blocks) else None

    def confirmations(self, txid: str) -> int:
        """0 in the mempool, 1 in the tip block."""
        height = self.heights.get(txid)
        return 0 if height is None else self.blocks[-1].height - height + 1

    def is_immature(self, txid: str) -> bool:
        """Whether it pays a miner and is not deep enough to be spent."""
        return self.transactions[txid].is_coinbase and self.confirmations(txid) < MATURE_DEPTH

    def received_sat(self, address: str, *, min_conf: int) -> int:
        """All that ever came to `address` and still stands, spent or not (SUBTC contract 5.10); no immature coinbase."""
        return sum(
            self.transactions[txid].outputs[vout].value_sat
            for txid, vout in self.outputs_of.get(address, ())
            if self.confirmations(txid) >= min_conf and not self.is_immature(txid)
        )

    def pay(self, outputs: Sequence[Output], *, replaceable: bool = False, taproot: bool = False) -> Transaction:
        """An outside payer sends `outputs` in one transaction, unconfirmed; `taproot` is where their coin lies."""
        value_sat = sum(output.value_sat for output in outputs) + PAYER_FEE_SAT
        coin = Input(
            txid=self._random_hex(),
            vout=self._rng.randrange(4),
            address=random_taproot(self.net, self._rng) if taproot else random_address(self.net, self._rng),
            value_sat=value_sat,
            sequence=REPLACEABLE if replaceable else FINAL,
        )
        return self.spend([coin], outputs)

    def spend(self, inputs: Sequence[Input], outputs: Sequence[Output]) -> Transaction:
        """Put a transaction into the mempool; raises ChainError when it conflicts, overspends or pays nothing."""
        if not outputs or any(output.value_sat <= 0 for output in outputs):
            raise ChainError("every output needs a positive value")
        if any((i.txid, i.vout) in self.spenders for i in inputs):
            raise ChainError("an input is already spent")
        transaction = Transaction(
            txid=self._random_hex(), inputs=tuple(inputs), outputs=tuple(outputs), first_seen_at=int(self._now())
        )
        if transaction.fee_sat < 0:
            raise ChainError("outputs exceed inputs")
        self._add(transaction)
        return transaction

    def mine(self, count: int, *, empty: bool = False, reward: Output | None = None) -> None:
        """Mine `count` blocks; the first takes the whole mempool unless `empty`, and `reward` is what it pays its miner."""
        for number in range(count):
            if reward and number == 0:
                self._add(self._coinbase(reward))
            txids = tuple(t for t in self.mempool if not empty or self.transactions[t].is_coinbase)
            height = self.blocks[-1].height + 1 if self.blocks else START_HEIGHT
            previous = self.blocks[-1].hash if self.blocks else self._block_hash()
            block = Block(height=height, hash=self._block_hash(), previous=previous, time=int(self._now()), txids=txids)
            self.blocks.append(block)
            self.heights.update(dict.fromkeys(txids, height))
            for txid in txids:
                del self.mempool[txid]

    def replace(self, txid: str, *, value_sat: int | None, address: str | None, vout: int = 0) -> Transaction:
        """Spend the same inputs anew with a higher fee; the old transaction and its descendants vanish.

        `value_sat` and `address` change output `vout`; the fee grows by at least PAYER_FEE_SAT, taken from nowhere.
        Whether the old one signalled makes no difference, as in today's network (full RBF).
        """
        old = self._unconfirmed(txid)
        if not 0 <= vout < len(old.outputs):
            raise ChainError("no such output")
        kept = list(old.outputs)
        sat = kept[vout].value_sat if value_sat is None else value_sat
        if sat <= 0:
            raise ChainError("every output needs a positive value")
        kept[vout] = Output(address=address or kept[vout].address, value_sat=sat)
        need_sat = sum(output.value_sat for output in kept) + old.fee_sat + PAYER_FEE_SAT
        missing_sat = max(0, need_sat - sum(i.value_sat for i in old.inputs))
        first = replace(old.inputs[0], value_sat=old.inputs[0].value_sat + missing_sat)
        self._remove(txid)
        return self.spend((first, *old.inputs[1:]), kept)

    def double_spend(self, txid: str) -> None:
        """A block confirms another spending of the same coins; the transaction vanishes."""
        rival = self.replace(txid, value_sat=None, address=random_address(self.net, self._rng))
        self.mine(1)
        if rival.txid not in self.heights:
            raise ChainError("the rival was not mined")

    def drop(self, txid: str) -> Transaction:
        """An unconfirmed transaction and its descendants leave the mempool for good."""
        transaction = self._unconfirmed(txid)
        self._remove(txid)
        return transaction

    def reorganise(
        self, depth: int, *, drop: Iterable[str] = (), mine: int | None = None, include: bool = False
    ) -> None:
        """The last `depth` blocks lose to a side chain of `mine` blocks (default one more than lost).

        Their transactions return to the mempool, those in `drop` vanish. The side chain is empty unless `include`.
        """
        if not 1 <= depth < len(self.blocks):
            raise ChainError(f"depth must be 1 to {len(self.blocks) - 1}")
        dropped = list(drop)
        if unknown := [txid for txid in dropped if txid not in self.transactions]:
            raise ChainError(f"no such transaction: {unknown[0]}")
        lost = self.blocks[-depth:]
        if deep := [t for t in dropped if self.heights.get(t, lost[0].height) < lost[0].height]:
            raise ChainError(f"confirmed below the reorganisation: {deep[0]}")
        returned = [txid for block in lost for txid in block.txids]
        self.orphans.update({txid: self.transactions[txid] for txid in returned})
        dropped += [txid for txid in returned if self.transactions[txid].is_coinbase]
        del self.blocks[-depth:]
        for txid in returned:
            del self.heights[txid]
        self.mempool = dict.fromkeys([*returned, *self.mempool])
        for txid in dropped:
            if txid in self.transactions:
                self._remove(txid)
        self.mine(depth + 1 if mine is None else mine, empty=not include)

    def _unconfirmed(self, txid: str) -> Transaction:
        if txid not in self.transactions:
            raise ChainError(f"no such transaction: {txid}")
        if txid in self.heights:
            raise ChainError("the transaction is confirmed; reorganise first")
        return self.transactions[txid]

    def _add(self, transaction: Transaction) -> None:
        self.transactions[transaction.txid] = transaction
        self.mempool[transaction.txid] = None
        for place, coin in enumerate(transaction.inputs):
            self.spenders[coin.txid, coin.vout] = (transaction.txid, place)
        for vout, output in enumerate(transaction.outputs):
            self.outputs_of.setdefault(output.address, []).append((transaction.txid, vout))
        for address in transaction.addresses:
            self.history_of.setdefault(address, []).append(transaction.txid)

    def _remove(self, txid: str) -> None:
        transaction = self.transactions[txid]
        for vout in range(len(transaction.outputs)):
            if (txid, vout) in self.spenders:
                self._remove(self.spenders[txid, vout][0])
        del self.transactions[txid], self.mempool[txid]
        for coin in transaction.inputs:
            del self.spenders[coin.txid, coin.vout]
        for vout, output in enumerate(transaction.outputs):
            self.outputs_of[output.address].remove((txid, vout))
        for address in transaction.addresses:
            self.history_of[address].remove(txid)

    def _coinbase(self, reward: Output) -> Transaction:
        seen_at = int(self._now())
        return Transaction(
            txid=self._random_hex(), inputs=(), outputs=(reward,), first_seen_at=seen_at, is_coinbase=True
        )

    def _random_hex(self) -> str:
        return self._rng.randbytes(32).hex()

    def _block_hash(self) -> str:
        return "00000000" + self._rng.randbytes(28).hex()
