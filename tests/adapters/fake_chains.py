"""One small invented chain, shown by two fake servers: Esplora-style HTTP and a node's JSON-RPC.

Owns the invented facts and the two dialects; must not share code with the readers under test.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(5)


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
    """The JSON-RPC dialect of the facts: a watch-only wallet that knows what was imported."""

    def __init__(self, facts: Facts):
        self.facts = facts
        self.wallet: set[str] | None = None
        self.loaded = False
        self.methods: list[str] = []
        self.logins: set[str] = set()
        self.chain = "test"
        self.scanning: Any = False

    def __call__(self, _method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        self.logins.add(headers.get("Authorization", ""))
        call = json.loads(body)
        self.methods.append(call["method"])
        if self.facts.broken is not None:
            return (503, b"down") if self.facts.broken == "down" else (200, self.facts.broken.encode())
        try:
            if path.startswith("/wallet/") and not self.loaded:
                raise RpcError(-18)
            result = getattr(self, call["method"])(*call["params"])
            return 200, json.dumps({"result": result, "error": None}, default=Amount.text).replace('"#', "").replace(
                '#"', ""
            ).encode()
        except RpcError as error:
            reply = {"result": None, "error": {"code": error.code, "message": "no"}}
            return 500, json.dumps(reply).encode()

    def getblockchaininfo(self) -> Any:
        return {"chain": self.chain}

    def getblockcount(self) -> int:
        return self.facts.tip

    def syncwithvalidationinterfacequeue(self) -> None:
        raise RpcError(-32601)

    def loadwallet(self, _name: str, _on_startup: bool) -> Any:
        if self.wallet is None:
            raise RpcError(-18)
        if self.loaded:
            raise RpcError(-35)
        self.loaded = True
        return {}

    def createwallet(
        self, name: str, no_keys: bool, blank: bool, _pass: str, _reuse: bool, descriptors: bool, _load: bool
    ) -> Any:
        assert (name, no_keys, blank, descriptors) == ("bridge-watch", True, True, True)
        self.wallet, self.loaded = set(), True
        return {"name": name}

    def getwalletinfo(self) -> Any:
        return {"scanning": self.scanning}

    def getaddressinfo(self, address: str) -> Any:
        return {"ismine": address in (self.wallet or set())}

    def getdescriptorinfo(self, descriptor: str) -> Any:
        return {"descriptor": descriptor + "#qwertyui"}

    def importdescriptors(self, requests: list[Any]) -> Any:
        for request in requests:
            assert request["desc"].endswith("#qwertyui")
            assert type(request["timestamp"]) is int
            self.wallet.add(request["desc"][5:-10])  # type: ignore[union-attr]
        return [{"success": True}]

    def listreceivedbyaddress(self, _minimum: int, _empty: bool, _watch: bool, address: str) -> Any:
        assert self.wallet is not None
        assert address in self.wallet
        found = [t.txid for t in self.facts.txs.values() if any(a == address for a, _ in t.outputs)]
        return [{"address": address, "txids": found}] if found else []

    def gettransaction(self, txid: str, _watch: bool, verbose: bool) -> Any:
        assert verbose
        tx = self.facts.txs[txid]
        confirmations = -1 if tx.conflicted else 0 if tx.height is None else self.facts.tip - tx.height + 1
        outputs = [{"n": n, "value": Amount(v), "scriptPubKey": {"address": a}} for n, (a, v) in enumerate(tx.outputs)]
        outputs.append({"n": len(outputs), "value": Amount(0), "scriptPubKey": {"type": "nulldata"}})
        spent = zip(tx.parents, tx.sequences, strict=True)
        return {
            "confirmations": confirmations,
            **({"blocktime": self.facts.time_of(tx.height)} if tx.height is not None else {}),
            "bip125-replaceable": "yes" if confirmations == 0 and self.facts.signals(tx) else "no",
            "decoded": {"vin": [{"txid": p, "sequence": s} for p, s in spent], "vout": outputs},
        }

    def getmempoolentry(self, txid: str) -> Any:
        tx = self.facts.txs[txid]
        if tx.gone or tx.height is not None:
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
