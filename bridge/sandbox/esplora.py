"""The simulated chain seen through an Esplora-style HTTP view.

Must not change the chain. Member names and paging follow Esplora's public API; scripts and sizes are plausible filler,
blocks have no coinbase, and the faults `blind` (sees no transactions) and `lag` (misses recent blocks) are our own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response

from bridge.sandbox import wire
from bridge.sandbox.addresses import BadAddress, script_of, script_type
from bridge.sandbox.chain import Chain, Transaction
from bridge.sandbox.world import World

MEMPOOL_PAGE, CHAIN_PAGE = 50, 25
PLACES = (
    "/blocks/tip/height",
    "/blocks/tip/hash",
    "/block-height/<int:height>",
    "/block/<block_hash>",
    "/address/<address>",
    "/address/<address>/txs",
    "/address/<address>/txs/mempool",
    "/address/<address>/txs/chain",
    "/address/<address>/txs/chain/<last_txid>",
    "/tx/<txid>",
    "/tx/<txid>/status",
    "/tx/<txid>/outspends",
)


class NotThere(Exception):
    """Esplora's plain-text refusal."""

    def __init__(self, text: str, status: int = 404) -> None:
        super().__init__(text)
        self.text, self.status = text, status


class View:
    """What one request sees: the chain up to `top`, or nothing of its transactions when `blind`."""

    def __init__(self, chain: Chain, *, top: int, blind: bool) -> None:
        self.chain, self.top, self.blind = chain, top, blind

    def tip_height(self) -> str:
        return str(self.top)

    def tip_hash(self) -> str:
        return self.block_hash(self.top)

    def block_hash(self, height: int) -> str:
        block = self.chain.block_at(height)
        if block is None or height > self.top:
            raise NotThere("Block not found")
        return block.hash

    def block(self, block_hash: str) -> dict[str, Any]:
        for block in self.chain.blocks:
            if block.hash == block_hash and block.height <= self.top:
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
        seen = self._seen(address)
        return {
            "address": address,
            "chain_stats": self._stats(address, [t for t in seen if self._height(t) is not None]),
            "mempool_stats": self._stats(address, [t for t in seen if self._height(t) is None]),
        }

    def history(self, address: str) -> list[dict[str, Any]]:
        return self.unconfirmed(address) + self.confirmed(address)

    def unconfirmed(self, address: str) -> list[dict[str, Any]]:
        found = [t for t in reversed(self._seen(address)) if self._height(t) is None]
        return [self._transaction(t) for t in found[:MEMPOOL_PAGE]]

    def confirmed(self, address: str, last_txid: str | None = None) -> list[dict[str, Any]]:
        """Newest first, 25 at a time, those after `last_txid`."""
        placed = [(height, t) for t in self._seen(address) if (height := self._height(t)) is not None]
        found = [t for _, t in sorted(placed, key=lambda pair: pair[0], reverse=True)]
        txids = [t.txid for t in found]
        start = txids.index(last_txid) + 1 if last_txid in txids else 0
        return [self._transaction(t) for t in found[start : start + CHAIN_PAGE]]

    def transaction(self, txid: str) -> dict[str, Any]:
        return self._transaction(self._known(txid))

    def status(self, txid: str) -> dict[str, Any]:
        return self._status(self._known(txid))

    def outspends(self, txid: str) -> list[dict[str, Any]]:
        spends: list[dict[str, Any]] = []
        for vout in range(len(self._known(txid).outputs)):
            spender = self.chain.spenders.get((txid, vout))
            if spender is None:
                spends.append({"spent": False})
                continue
            status = self._status(self.chain.transactions[spender[0]])
            spends.append({"spent": True, "txid": spender[0], "vin": spender[1], "status": status})
        return spends

    def _known(self, txid: str) -> Transaction:
        transaction = self.chain.transactions.get(txid)
        if transaction is None or self.blind:
            raise NotThere("Transaction not found")
        return transaction

    def _seen(self, address: str) -> list[Transaction]:
        try:
            script_of(address, self.chain.net)
        except BadAddress as error:
            raise NotThere("Invalid Bitcoin address", 400) from error
        if self.blind:
            return []
        return [self.chain.transactions[txid] for txid in self.chain.history_of.get(address, ())]

    def _height(self, transaction: Transaction) -> int | None:
        height = self.chain.heights.get(transaction.txid)
        return None if height is None or height > self.top else height

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
            "vin": [
                {
                    "txid": i.txid,
                    "vout": i.vout,
                    "prevout": self._output(i.address, i.value_sat),
                    "scriptsig": "",
                    "scriptsig_asm": "",
                    "is_coinbase": False,
                    "sequence": i.sequence,
                }
                for i in transaction.inputs
            ],
            "vout": [self._output(o.address, o.value_sat) for o in transaction.outputs],
            "size": vsize,
            "weight": vsize * 4,
            "fee": transaction.fee_sat,
            "status": self._status(transaction),
        }

    def _output(self, address: str, value_sat: int) -> dict[str, Any]:
        script = script_of(address, self.chain.net)
        return {
            "scriptpubkey": script.hex(),
            "scriptpubkey_type": script_type(script),
            "scriptpubkey_address": address,
            "value": value_sat,
        }


_ANSWERS: dict[str, Callable[..., Any]] = dict(
    zip(
        PLACES,
        (
            View.tip_height,
            View.tip_hash,
            View.block_hash,
            View.block,
            View.address,
            View.history,
            View.unconfirmed,
            View.confirmed,
            View.confirmed,
            View.transaction,
            View.status,
            View.outspends,
        ),
        strict=True,
    )
)


def blueprint(world: World) -> Blueprint:
    """The routes of the chain view; heights and hashes are plain text, all else JSON."""
    routes = Blueprint("esplora", __name__, url_prefix="/esplora")
    for place, look in _ANSWERS.items():
        routes.add_url_rule(place, place.replace("/", "_").replace(".", "_"), _route(world, look))
    return routes


def _route(world: World, look: Callable[..., Any]) -> Callable[..., Response]:
    def view(**asked: Any) -> Response:
        with world.lock:
            faults = world.faults.take("esplora")
        if (early := wire.before(world, faults)) is not None:
            return early
        by_kind = {fault.kind: fault for fault in faults}
        with world.lock:
            lag = int(by_kind["lag"].params.get("blocks", 1)) if "lag" in by_kind else 0
            top = max(world.chain.start_height, world.chain.tip.height - lag)
            try:
                found = look(View(world.chain, top=top, blind="blind" in by_kind), **asked)
            except NotThere as error:
                return Response(error.text, error.status, mimetype="text/plain")
        if isinstance(found, str):
            return wire.after(world, faults, Response(found, mimetype="text/plain"))
        return wire.after(world, faults, Response(wire.encode(found), mimetype="application/json"))

    return view
