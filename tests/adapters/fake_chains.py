"""One small invented chain, shown by two fake servers: Esplora-style HTTP and a node's JSON-RPC.

Owns the invented facts and the two dialects; must not share code with the readers under test.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from typing import Any

from sandbox.serving import HttpServer

BLOCK_TIME = 1_795_000_000
FIRST_BLOCK = 800_001  # the first one that a test mines
FINAL, REPLACEABLE = 0xFFFFFFFF, 0xFFFFFFFD


@dataclass
class Tx:
    txid: str
    outputs: list[tuple[str, int]]
    sequences: list[int]
    parents: list[str]
    height: int | None = None
    gone: bool = False
    conflicted: bool = False
    coinbase: bool = False

    @property
    def stands(self) -> bool:
        return not self.gone and not self.conflicted


@dataclass
class Facts:
    """What is true on the invented chain."""

    tip: int = FIRST_BLOCK - 1
    txs: dict[str, Tx] = field(default_factory=dict)
    broken: str | None = None
    branches: dict[int, int] = field(default_factory=dict)

    def pay(self, *outputs: tuple[str, int], sequence: int = FINAL, parent: str | None = None) -> Tx:
        txid = _digest(f"transaction {len(self.txs)}")
        coins = [parent or _digest(f"coin of {txid}"), _digest(f"other coin of {txid}")]
        self.txs[txid] = Tx(txid, list(outputs), [FINAL, sequence], coins)
        return self.txs[txid]

    def outbid(self, tx: Tx, *outputs: tuple[str, int]) -> Tx:
        """Another transaction takes the place of one that waits: it spends the same coins."""
        rival = self.pay(*outputs)
        rival.parents, tx.gone = tx.parents, True
        return rival

    def rivals(self, tx: Tx) -> list[Tx]:
        return [t for t in self.txs.values() if t is not tx and t.stands and set(t.parents) & set(tx.parents)]

    def mine(self, blocks: int = 1) -> None:
        for tx in self.txs.values():
            if tx.height is None and tx.stands:
                tx.height = self.tip + 1
        self.tip += blocks

    def mine_to(self, *outputs: tuple[str, int]) -> Tx:
        """A block whose miner is paid these outputs."""
        reward = self.pay(*outputs)
        reward.coinbase, reward.parents, reward.sequences = True, [], []
        self.mine()
        return reward

    def reorganise(self, depth: int, *, drop: Tx | None = None, conflict: Tx | None = None) -> None:
        """Other blocks take the place of the last ones; their transactions wait again, but for the one that is dropped or
        has lost to a rival in the new blocks.
        """
        lost = range(self.tip - depth + 1, self.tip + 1)
        for height in lost:
            self.branches[height] = self.branches.get(height, 0) + 1
        for tx in self.txs.values():
            if tx.height in lost:
                tx.height, tx.gone, tx.conflicted = None, tx.coinbase or tx is drop, tx is conflict

    def hash_of(self, height: int) -> str:
        return _digest(f"block {height} of branch {self.branches.get(height, 0)}")

    def time_of(self, height: int) -> int:
        return BLOCK_TIME + 600 * (height - FIRST_BLOCK)

    def signals(self, tx: Tx) -> bool:
        parents = [self.txs[parent] for parent in tx.parents if parent in self.txs]
        return any(s < 0xFFFFFFFE for s in tx.sequences) or any(self.signals(p) for p in parents if p.height is None)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def served(answer: Any) -> Iterator[str]:
    """Serves `answer(method, path, headers, body) -> (status, bytes)` on loopback."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one piece, or each answer waits 40 ms for an acknowledgement

        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _reply

        def log_message(self, *_: Any) -> None:
            pass

    with HttpServer(("127.0.0.1", 0), Answering) as server:
        yield f"http://127.0.0.1:{server.server_port}"


class Esplora:
    """The Esplora dialect of the facts. `pages` is whose pages: blockstream, mempool, electrum.

    It may be `behind` by some blocks, count heights from a tip that lags (`height_behind`), say all twice (`doubled`), know
    the list of no address (`forgets`), lack transactions altogether (`lacks`), keep those of undone blocks (`remembers`).
    """

    def __init__(self, facts: Facts, *, pages: str = "blockstream"):
        self.facts, self.pages = facts, pages
        self.paths: list[str] = []
        self.behind = self.height_behind = 0
        self.doubled = self.forgets = self.remembers = False
        self.lacks: set[str] = set()
        self.on_path: dict[str, Callable[[], None]] = {}

    @property
    def tip(self) -> int:
        return self.facts.tip - self.behind

    def __call__(self, _method: str, path: str, _headers: Any, _body: bytes) -> tuple[int, bytes]:
        self.paths.append(path)
        for start, happen in list(self.on_path.items()):
            if path.startswith(start):
                del self.on_path[start]
                happen()
        if self.facts.broken is not None:
            return (503, b"down") if self.facts.broken == "down" else (200, self.facts.broken.encode())
        place, _, query = path.partition("?after_txid=")
        found = self.found(place.strip("/").split("/"), query or None)
        if isinstance(found, int):
            return found, b"no"
        return 200, found.encode() if isinstance(found, str) else json.dumps(found).encode()

    def found(self, parts: list[str], after: str | None) -> Any:
        """The answer to a path, or a status other than 200."""
        match parts:
            case ["blocks", "tip", "hash"]:
                return self.facts.hash_of(self.tip)
            case ["block-height", height]:
                return self.facts.hash_of(int(height)) if int(height) <= self.tip else 404
            case ["block", name]:
                # A block may have arrived since the tip was asked for.
                newest = self.tip if self.behind else self.tip + 1
                heights = [h for h in range(newest, newest - 200, -1) if self.facts.hash_of(h) == name]
                return self.block(heights[0]) if heights else 404
            case ["tx", txid]:
                tx = self.known(txid)
                return self.shown(tx) if tx else 404
            case ["tx", coin, "outspend", "0"]:
                return self.spender(coin)
            case ["address", address]:
                waiting, confirmed = self.lists(address)
                counts = {"chain_stats": len(confirmed), "mempool_stats": len(waiting)}
                return {name: {"tx_count": count} for name, count in counts.items()}
            case ["address", address, "txs"]:
                return self.page(address, after)
            case ["address", address, "txs", "chain", last] if self.pages != "electrum":
                return self.chain_page(address, last)
        return 404

    def known(self, txid: str) -> Tx | None:
        tx = self.facts.txs.get(txid)
        return tx if tx and txid not in self.lacks and (tx.stands or self.remembers) else None

    def spender(self, coin: str) -> Any:
        if self.pages == "electrum":
            return 404
        for tx in self.facts.txs.values():
            if coin in tx.parents and not tx.gone and tx.txid not in self.lacks:
                status = {"confirmed": tx.conflicted or tx.height is not None}
                return {"spent": True, "txid": _digest("rival") if tx.conflicted else tx.txid, "status": status}
        return {"spent": False}

    def lists(self, address: str) -> tuple[list[Tx], list[Tx]]:
        """Waiting transactions, oldest first, and confirmed ones, newest first."""
        if self.forgets:
            return [], []
        mine = [t for t in self.facts.txs.values() if t.stands and any(a == address for a, _ in t.outputs)]
        mine = [t for t in mine if t.txid not in self.lacks]
        confirmed = sorted((t for t in mine if self.is_in_block(t)), key=lambda t: (-(t.height or 0), t.txid))
        return [t for t in mine if not self.is_in_block(t)], confirmed

    def is_in_block(self, tx: Tx) -> bool:
        return tx.height is not None and (tx.height <= self.tip or not self.behind)

    def page(self, address: str, after: str | None) -> Any:
        waiting, confirmed = self.lists(address)
        if self.pages == "blockstream":
            return self.twice(waiting[:50], confirmed[:25])
        both = [*waiting, *confirmed]
        places = [tx.txid for tx in both]
        if after is not None and after not in places and self.pages == "mempool":
            return 422
        start = places.index(after) + 1 if after in places else 0
        end = start + (50 if self.pages == "mempool" else 10)
        return self.twice([], both[start:end])

    def chain_page(self, address: str, last: str) -> Any:
        _, confirmed = self.lists(address)
        place = (
            [tx.txid for tx in confirmed].index(last) + 1 if last in [tx.txid for tx in confirmed] else len(confirmed)
        )
        return self.twice([], confirmed[place : place + 25])

    def twice(self, waiting: list[Tx], confirmed: list[Tx]) -> list[Any]:
        shown = [self.shown(tx) for tx in [*waiting, *confirmed]]
        copies = [{**each, "status": {"confirmed": False}} for each in shown] if self.doubled else []
        return [*copies, *shown]

    def block(self, height: int) -> dict[str, Any]:
        return {"id": self.facts.hash_of(height), "height": height, "timestamp": self.facts.time_of(height)}

    def shown(self, tx: Tx) -> dict[str, Any]:
        status: dict[str, Any] = {"confirmed": self.is_in_block(tx)}
        if tx.height is not None and status["confirmed"]:
            height = tx.height - self.height_behind
            place = {"block_hash": self.facts.hash_of(tx.height), "block_time": self.facts.time_of(tx.height)}
            status |= {"block_height": height, **place}
        spent = zip(tx.parents, tx.sequences, strict=True)
        coins = [{"txid": parent, "vout": 0, "is_coinbase": False, "sequence": s} for parent, s in spent]
        created = [{"txid": "00" * 32, "vout": 0xFFFFFFFF, "is_coinbase": True, "sequence": FINAL, "prevout": None}]
        return {
            "txid": tx.txid,
            "vin": created if tx.coinbase else coins,
            "vout": [{"scriptpubkey_address": a, "value": v} for a, v in tx.outputs]
            + [{"scriptpubkey": "6a", "value": 0}],
            "status": status,
        }


class Node:
    """The JSON-RPC dialect of the facts: a watch-only wallet that knows what it followed, and what it was made to search.

    `pruned_below` is the lowest block it still has; `slow_over` the most blocks that it
    searches before its client has gone, `pace` the seconds of one search; `misses` blocks it lacks without being pruned.
    """

    def __init__(self, facts: Facts):
        self.facts = facts
        self.wallet: dict[str, str] | None = None
        self.loaded = False
        self.loads = True
        self.methods: list[str] = []
        self.logins: set[str] = set()
        self.chain = "test"
        self.scanning = False
        self.pruned_below: int | None = None
        self.misses: frozenset[int] = frozenset()
        self.slow_over: int | None = None
        self.pace = 0.0
        self.searched: list[tuple[int, int]] = []
        self.mempool_loaded = self.tells_mempool_conflicts = True
        self.refusal: tuple[int, bytes] | None = None
        self._known: set[str] = set()
        self._followed = facts.tip
        self._named: dict[str, int] = {}
        self._births: list[int] = []

    def __call__(self, _method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        self.logins.add(headers.get("Authorization", ""))
        call = json.loads(body)
        self.methods.append(call["method"])
        if self.refusal is not None:
            return self.refusal
        if self.facts.broken is not None:
            return (503, b"down") if self.facts.broken == "down" else (200, self.facts.broken.encode())
        try:
            if path.startswith("/wallet/") and not self.loaded:
                raise RpcError(-18)
            self._follow()
            result = getattr(self, call["method"])(*call["params"])
            return 200, json.dumps({"result": result, "error": None}, default=Amount.text).replace('"#', "").replace(
                '#"', ""
            ).encode()
        except RpcError as error:
            reply = {"result": None, "error": {"code": error.code, "message": "no"}}
            return 500, json.dumps(reply).encode()

    def holds(self, address: str, label: str) -> None:
        """Its wallet has this address from earlier on, and has heard of nothing that came before now."""
        self._follow()
        self.wallet, self.loaded = {**(self.wallet or {}), address: label}, True

    def lose_wallet(self) -> None:
        """Somebody deleted it, or this is another node."""
        self.wallet, self.loaded, self._known, self._births = None, False, set(), []

    def _is_ours(self, tx: Tx) -> bool:
        return any(address in (self.wallet or {}) for address, _ in tx.outputs)

    def _follow(self) -> None:
        """What the wallet hears of by itself: new blocks, unless they are older than all its addresses, and the mempool."""
        for tx in self.facts.txs.values():
            is_new = tx.stands if tx.height is None else tx.height > self._followed and self._is_past_birth(tx.height)
            if is_new and self._is_ours(tx):
                self._known.add(tx.txid)
        self._followed = self.facts.tip

    def _is_past_birth(self, height: int) -> bool:
        return self._births == [] or self.facts.time_of(height) >= min(self._births) - 14_400

    def _search(self, first: int, last: int) -> bool:
        """Whether every one of these blocks could be read; slow ones are done after the client has gone."""
        self.searched.append((first, last))
        low = max(first, self.pruned_below or 0)
        mine = [t.txid for t in self.facts.txs.values() if t.height is not None and low <= t.height <= last]
        self._known |= {txid for txid in mine if self._is_ours(self.facts.txs[txid])}
        time.sleep(0.8 if self.slow_over is not None and last - first >= self.slow_over else self.pace)
        return low == first and not any(first <= height <= last for height in self.misses)

    def getblockchaininfo(self) -> Any:
        told = {"chain": self.chain, "blocks": self.facts.tip, "bestblockhash": self.facts.hash_of(self.facts.tip)}
        told |= {"time": self.facts.time_of(self.facts.tip), "pruned": self.pruned_below is not None}
        return told if self.pruned_below is None else {**told, "pruneheight": self.pruned_below}

    def getblockhash(self, height: int) -> str:
        if height > self.facts.tip:
            raise RpcError(-8)
        self._named[self.facts.hash_of(height)] = height
        return self.facts.hash_of(height)

    def getblockheader(self, block: str) -> Any:
        if (height := self._height_of(block)) is None:
            raise RpcError(-5)
        is_best = height <= self.facts.tip and self.facts.hash_of(height) == block
        times = {"time": self.facts.time_of(height), "mediantime": self.facts.time_of(height - 5)}
        return {"height": height, "confirmations": self.facts.tip - height + 1 if is_best else -1, **times}

    def _height_of(self, block: str) -> int | None:
        """Of a block that was named, or a late one, on the best chain or on a branch that was given up."""
        if block in self._named:
            return self._named[block]
        for height in range(self.facts.tip, self.facts.tip - 400, -1):
            branches = range(self.facts.branches.get(height, 0) + 1)
            if block in (_digest(f"block {height} of branch {branch}") for branch in branches):
                return height
        return None

    def getmempoolinfo(self) -> Any:
        return {"loaded": self.mempool_loaded}

    def syncwithvalidationinterfacequeue(self) -> None:
        raise RpcError(-32601)

    def listwallets(self) -> list[str]:
        return ["bridge-watch"] if self.loaded else []

    def loadwallet(self, _name: str, _on_startup: bool) -> Any:
        if self.wallet is None:
            raise RpcError(-18)
        if not self.loads:
            raise RpcError(-4)
        if self.loaded:
            raise RpcError(-35)
        self.loaded = True
        return {}

    def createwallet(
        self, name: str, no_keys: bool, blank: bool, _pass: str, _reuse: bool, descriptors: bool, _load: bool
    ) -> Any:
        assert (name, no_keys, blank, descriptors) == ("bridge-watch", True, True, True)
        self.wallet, self.loaded = {}, True
        return {"name": name}

    def getaddressinfo(self, address: str) -> Any:
        assert self.wallet is not None
        return {"ismine": address in self.wallet, "labels": [self.wallet[address]] if address in self.wallet else []}

    def setlabel(self, address: str, label: str) -> None:
        assert self.wallet is not None
        assert address in self.wallet
        self.wallet[address] = label

    def getdescriptorinfo(self, descriptor: str) -> Any:
        return {"descriptor": descriptor + "#qwertyui"}

    def importdescriptors(self, requests: list[Any]) -> Any:
        if self.scanning:
            raise RpcError(-4)
        (request,) = requests
        assert request["desc"].endswith("#qwertyui")
        assert self.wallet is not None
        self.wallet[request["desc"][5:-10]] = request["label"]
        since = self.facts.time_of(self.facts.tip - 5) if request["timestamp"] == "now" else request["timestamp"]
        assert type(since) is int
        self._births.append(since)
        since = min(since, self.facts.time_of(self.facts.tip)) - 7200
        self._follow()
        if self._search(max(0, FIRST_BLOCK - (BLOCK_TIME - since) // 600), self.facts.tip):
            return [{"success": True}]
        return [{"success": False, "error": {"code": -1, "message": "Rescan failed"}}]

    def rescanblockchain(self, first: int, last: int) -> Any:
        if self.scanning:
            raise RpcError(-4)
        if not 0 <= first <= last <= self.facts.tip:
            raise RpcError(-8)
        if first < (self.pruned_below or 0) or any(first <= height <= last for height in self.misses):
            raise RpcError(-1)
        self._search(first, last)
        return {"start_height": first, "stop_height": last}

    def listreceivedbyaddress(
        self, _minimum: int, _empty: bool, _watch: bool, address: str, immature: bool = False
    ) -> Any:
        assert self.wallet is not None
        assert address in self.wallet
        found = [
            t for t in self.facts.txs.values() if t.txid in self._known and any(a == address for a, _ in t.outputs)
        ]
        shown = [t.txid for t in found if immature or not t.coinbase or self._depth(t) > 100]
        # Nobody promises that a transaction is named once.
        return [{"address": address, "txids": shown + shown[:1]}] if shown else []

    def _depth(self, tx: Tx) -> int:
        if tx.conflicted or any(rival.height is not None for rival in self.facts.rivals(tx)):
            return -1
        return 0 if tx.height is None else self.facts.tip - tx.height + 1

    def gettransaction(self, txid: str, _watch: bool, verbose: bool = False) -> Any:
        if txid not in self._known:
            raise RpcError(-5)
        tx = self.facts.txs[txid]
        confirmations = self._depth(tx)
        told: dict[str, Any] = {
            "confirmations": confirmations,
            "bip125-replaceable": "yes" if confirmations == 0 and self.facts.signals(tx) else "no",
            "walletconflicts": [rival.txid for rival in self.facts.rivals(tx) if rival.txid in self._known],
        }
        if self.tells_mempool_conflicts:
            told["mempoolconflicts"] = [rival.txid for rival in self.facts.rivals(tx) if rival.height is None]
        if tx.height is not None:
            block = {"blockheight": tx.height, "blockhash": self.facts.hash_of(tx.height)}
            told |= {**block, "blocktime": self.facts.time_of(tx.height)}
        if tx.coinbase:
            told["generated"] = True
        if verbose:
            outputs = [
                {"n": n, "value": Amount(v), "scriptPubKey": {"address": a}} for n, (a, v) in enumerate(tx.outputs)
            ]
            outputs.append({"n": len(outputs), "value": Amount(0), "scriptPubKey": {"type": "nulldata"}})
            spent = zip(tx.parents, tx.sequences, strict=True)
            told["decoded"] = {"vin": [{"txid": p, "vout": 0, "sequence": s} for p, s in spent], "vout": outputs}
        return told

    def getmempoolentry(self, txid: str) -> Any:
        tx = self.facts.txs.get(txid)
        if tx is None or not tx.stands or tx.height is not None:
            raise RpcError(-5)
        return {"vsize": 141}


class RpcError(Exception):
    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


class Amount:
    """Satoshi that show as the node shows them: a JSON number of bitcoin with eight digits."""

    def __init__(self, value_sat: int):
        self.value_sat = value_sat

    def text(self) -> str:
        return f"#{Decimal(self.value_sat).scaleb(-8):.8f}#"
