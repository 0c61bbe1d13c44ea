"""One small invented chain, shown by two fake servers: Esplora-style HTTP and a node's JSON-RPC.

Owns the invented facts and the two dialects; must not share code with the readers under test.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BLOCK_TIME = 1_795_000_000
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


@dataclass
class Facts:
    """What is true on the invented chain."""

    tip: int = 800_000
    txs: dict[str, Tx] = field(default_factory=dict)
    broken: str | None = None

    def pay(self, *outputs: tuple[str, int], sequence: int = FINAL, parent: str | None = None) -> Tx:
        txid = hashlib.sha256(str(len(self.txs)).encode()).hexdigest()
        self.txs[txid] = Tx(txid, list(outputs), [FINAL, sequence], [parent or "ee" * 32, "ff" * 32])
        return self.txs[txid]

    def mine(self, blocks: int = 1) -> None:
        for tx in self.txs.values():
            if tx.height is None and not tx.gone and not tx.conflicted:
                tx.height = self.tip + 1
        self.tip += blocks

    def signals(self, tx: Tx) -> bool:
        parents = [self.txs[parent] for parent in tx.parents if parent in self.txs]
        return any(s < 0xFFFFFFFE for s in tx.sequences) or any(self.signals(p) for p in parents if p.height is None)


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
    """The Esplora dialect of the facts, with small pages so that paging is exercised."""

    page = 3

    def __init__(self, facts: Facts):
        self.facts = facts
        self.paths: list[str] = []

    def __call__(self, _method: str, path: str, _headers: Any, _body: bytes) -> tuple[int, bytes]:
        self.paths.append(path)
        if self.facts.broken is not None:
            return (503, b"down") if self.facts.broken == "down" else (200, self.facts.broken.encode())
        parts = path.strip("/").split("/")
        if parts == ["blocks", "tip", "height"]:
            return 200, str(self.facts.tip).encode()
        if parts[0] == "tx":
            tx = self.facts.txs.get(parts[1])
            return (200, json.dumps(self.shown(tx)).encode()) if tx else (404, b"Transaction not found")
        return 200, json.dumps(self.history(parts[1], parts[4] if len(parts) > 4 else None)).encode()

    def history(self, address: str, after: str | None) -> list[Any]:
        mine = [t for t in self.facts.txs.values() if not t.gone and any(a == address for a, _ in t.outputs)]
        confirmed = sorted((t for t in mine if t.height is not None), key=lambda t: (-(t.height or 0), t.txid))
        if after is not None:
            place = [t.txid for t in confirmed].index(after) + 1
            return [self.shown(t) for t in confirmed[place : place + self.page]]
        waiting = [t for t in mine if t.height is None and not t.conflicted]
        return [self.shown(t) for t in [*waiting, *confirmed[: self.page]]]

    def shown(self, tx: Tx) -> dict[str, Any]:
        status: dict[str, Any] = {"confirmed": tx.height is not None}
        if tx.height is not None:
            status |= {"block_height": tx.height, "block_hash": "00" * 32, "block_time": BLOCK_TIME}
        spent = zip(tx.parents, tx.sequences, strict=True)
        return {
            "txid": tx.txid,
            "vin": [{"txid": parent, "vout": 0, "is_coinbase": False, "sequence": s} for parent, s in spent],
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
            **({"blocktime": BLOCK_TIME} if confirmations > 0 else {}),
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
