"""One Esplora-style server's view of the simulated chain: what it shows, how it pages, and what it leaves out.

Must not change the chain nor know HTTP beyond a refusal's status. Member names and paging follow the published servers;
scripts and sizes are plausible filler.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.addresses import BadAddress, script_of, script_type
from sandbox.chain import Chain, Transaction

MEMPOOL_PAGE, CHAIN_PAGE, MIXED_PAGE, ELECTRUM_PAGE = 50, 25, 50, 10
NOBODY, FROM_NOWHERE = "00" * 32, 0xFFFFFFFF


class NotThere(Exception):
    """Esplora's plain-text refusal."""

    def __init__(self, text: str, status: int = 404) -> None:
        super().__init__(text)
        self.text, self.status = text, status


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What one request gets to see: the chain up to the height `top`, and with `waiting` what no block up to there holds.

    `pages` is whose pages: blockstream, mempool (its electrs) or mempool_electrum (mempool over an Electrum server). `blind`
    sees no transactions. `lacking` are transactions that are not there at all, `forgotten` addresses without a history.
    `doubled` lists each transaction twice, `remembers` knows by its id what an undone block held.
    """

    top: int
    pages: str = "blockstream"
    waiting: bool = True
    blind: bool = False
    lacking: frozenset[str] = frozenset()
    forgotten: frozenset[str] = frozenset()
    doubled: bool = False
    remembers: bool = False


class View:
    """The answers to one request."""

    def __init__(self, chain: Chain, sight: Sight, *, after_txid: str | None = None) -> None:
        self.chain, self.sight, self._after_txid = chain, sight, after_txid

    def tip_height(self) -> str:
        return str(self.sight.top)

    def tip_hash(self) -> str:
        return self.block_hash(self.sight.top)

    def block_hash(self, height: int) -> str:
        block = self.chain.block_at(height)
        if block is None or height > self.sight.top:
            raise NotThere("Block not found")
        return block.hash

    def block(self, block_hash: str) -> dict[str, Any]:
        for block in self.chain.blocks:
            if block.hash == block_hash and block.height <= self.sight.top:
                shown: dict[str, Any] = {
                    "id": block.hash,
                    "height": block.height,
                    "timestamp": block.time,
                    "tx_count": len(block.txids),
                    "previousblockhash": block.previous,
                }
                return shown
        raise NotThere("Block not found")

    def address(self, address: str) -> dict[str, Any]:
        waiting, confirmed = self._waiting(address), self._confirmed(address)
        stats = {"chain_stats": self._stats(address, confirmed), "mempool_stats": self._stats(address, waiting)}
        return {"address": address, **stats}

    def history(self, address: str) -> list[dict[str, Any]]:
        """The first page, or in the two kinds that know it what comes after `after_txid`."""
        waiting, confirmed = self._waiting(address), self._confirmed(address)
        if self.sight.pages == "blockstream":
            return self._listed([*waiting[:MEMPOOL_PAGE], *confirmed[:CHAIN_PAGE]])
        both = [*waiting, *confirmed]
        txids = [t.txid for t in both]
        if self.sight.pages == "mempool" and self._after_txid not in (None, *txids):
            raise NotThere("after_txid not found", 422)
        start = txids.index(self._after_txid) + 1 if self._after_txid in txids else 0
        size = MIXED_PAGE if self.sight.pages == "mempool" else ELECTRUM_PAGE
        return self._listed(both[start : start + size])

    def unconfirmed(self, address: str) -> list[dict[str, Any]]:
        self._needs_electrs()
        return self._listed(self._waiting(address)[:MEMPOOL_PAGE])

    def confirmed(self, address: str, last_txid: str | None = None) -> list[dict[str, Any]]:
        """Newest first, 25 at a time, those after `last_txid`."""
        self._needs_electrs()
        found = self._confirmed(address)
        txids = [t.txid for t in found]
        start = 0 if last_txid is None else txids.index(last_txid) + 1 if last_txid in txids else len(found)
        return self._listed(found[start : start + CHAIN_PAGE])

    def transaction(self, txid: str) -> dict[str, Any]:
        return self._transaction(self._known(txid))

    def status(self, txid: str) -> dict[str, Any]:
        return self._status(self._known(txid))

    def outspends(self, txid: str) -> list[dict[str, Any]]:
        return [self._spent(txid, vout) for vout in range(len(self._known(txid).outputs))]

    def outspend(self, txid: str, vout: int) -> dict[str, Any]:
        """Also of a coin that comes from nowhere, as a payer's does here."""
        self._needs_electrs()
        return self._spent(txid, vout)

    def _spent(self, txid: str, vout: int) -> dict[str, Any]:
        spender = self.chain.spenders.get((txid, vout))
        if spender is None or not self._is_seen(self.chain.transactions[spender[0]]):
            return {"spent": False}
        status = self._status(self.chain.transactions[spender[0]])
        return {"spent": True, "txid": spender[0], "vin": spender[1], "status": status}

    def _needs_electrs(self) -> None:
        if self.sight.pages == "mempool_electrum":
            raise NotThere("Cannot GET it")

    def _known(self, txid: str) -> Transaction:
        transaction = self.chain.transactions.get(txid)
        if transaction is None and self.sight.remembers:
            transaction = self.chain.orphans.get(txid)
        if transaction is None or not self._is_seen(transaction):
            raise NotThere("Transaction not found")
        return transaction

    def _is_seen(self, transaction: Transaction) -> bool:
        sight = self.sight
        if sight.blind or transaction.txid in sight.lacking:
            return False
        return sight.waiting or self._height(transaction) is not None

    def _waiting(self, address: str) -> list[Transaction]:
        """Oldest first, as the servers list them."""
        return [t for t in self._seen(address) if self._height(t) is None]

    def _confirmed(self, address: str) -> list[Transaction]:
        """Newest first."""
        placed = [(height, t) for t in self._seen(address) if (height := self._height(t)) is not None]
        return [t for _, t in sorted(placed, key=lambda pair: pair[0], reverse=True)]

    def _seen(self, address: str) -> list[Transaction]:
        try:
            script_of(address, self.chain.net)
        except BadAddress as error:
            raise NotThere("Invalid Bitcoin address", 400) from error
        if address in self.sight.forgotten:
            return []
        found = [self.chain.transactions[txid] for txid in self.chain.history_of.get(address, ())]
        return [t for t in found if self._is_seen(t)]

    def _height(self, transaction: Transaction) -> int | None:
        height = self.chain.heights.get(transaction.txid)
        return None if height is None or height > self.sight.top else height

    def _listed(self, found: list[Transaction]) -> list[dict[str, Any]]:
        """A server that reads its mempool and its blocks one after the other may show one in both."""
        shown = [self._transaction(t) for t in found]
        return [*({**each, "status": {"confirmed": False}} for each in shown), *shown] if self.sight.doubled else shown

    def _stats(self, address: str, transactions: list[Transaction]) -> dict[str, int]:
        funded = [o.value_sat for t in transactions for o in t.outputs if o.address == address]
        spent = [i.value_sat for t in transactions for i in t.inputs if i.address == address]
        return {
            "funded_txo_count": len(funded),
            "funded_txo_sum": sum(funded),
            "spent_txo_count": len(spent),
            "spent_txo_sum": sum(spent),
            "tx_count": len(transactions),
        }

    def _status(self, transaction: Transaction) -> dict[str, Any]:
        height = self._height(transaction)
        block = None if height is None else self.chain.block_at(height)
        if block is None:
            return {"confirmed": False}
        place: dict[str, Any] = {"block_height": block.height, "block_hash": block.hash, "block_time": block.time}
        return {"confirmed": True, **place}

    def _transaction(self, transaction: Transaction) -> dict[str, Any]:
        vsize = 11 + 68 * len(transaction.inputs) + 31 * len(transaction.outputs)
        return {
            "txid": transaction.txid,
            "version": 2,
            "locktime": 0,
            "vin": self._inputs(transaction),
            "vout": [self._output(o.address, o.value_sat) for o in transaction.outputs],
            "size": vsize,
            "weight": vsize * 4,
            "fee": transaction.fee_sat,
            "status": self._status(transaction),
        }

    def _inputs(self, transaction: Transaction) -> list[dict[str, Any]]:
        filler = {"scriptsig": "", "scriptsig_asm": ""}
        if transaction.is_coinbase:
            nothing = {"txid": NOBODY, "vout": FROM_NOWHERE, "prevout": None, "sequence": FROM_NOWHERE}
            return [{**nothing, **filler, "is_coinbase": True}]
        return [
            {
                "txid": i.txid,
                "vout": i.vout,
                "prevout": self._output(i.address, i.value_sat),
                **filler,
                "is_coinbase": False,
                "sequence": i.sequence,
            }
            for i in transaction.inputs
        ]

    def _output(self, address: str, value_sat: int) -> dict[str, Any]:
        script = script_of(address, self.chain.net)
        return {
            "scriptpubkey": script.hex(),
            "scriptpubkey_type": script_type(script),
            "scriptpubkey_address": address,
            "value": value_sat,
        }
