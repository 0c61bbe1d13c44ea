"""Reads an address from the operator's own Bitcoin node through python-bitcoinlib's raw proxy.

Owns a watch-only wallet at the node that knows our addresses; must not hold a private key or conclude anything.

A node has no index by address. `scantxoutset` would see unspent outputs only, so that a sweep would look like a
vanished payment; a descriptor wallet without private keys gives txid, depth and replaceability and forgets nothing.
"""

import base64
import http.client
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

from bitcoin.rpc import JSONRPCError, RawProxy

from bridge.chain import SIGNALS_BELOW
from bridge.core.errors import ProtocolError, Unavailable
from bridge.core.evidence import ChainOutput, ChainReading
from bridge.core.money import MAX_MONEY_SAT, SAT_PER_BTC

log = logging.getLogger(__name__)

_NOT_FOUND = -5
_WALLET_EXISTS = -4
_WALLET_MISSING = -18
_WALLET_LOADED = -35
_CHAINS = {"main": {"main"}, "test": {"test", "testnet4"}, "signet": {"signet"}, "regtest": {"regtest"}}


class CoreRpcReader:
    """Chain evidence from one node at `url` (http, loopback or a private network). Threads may share it.

    An address is imported at its first read and searched `lookback_seconds` into the past: read it while it is young.
    """

    def __init__(
        self,
        *,
        url: str,
        user: str,
        password: str | Callable[[], str],
        network: str,
        wallet: str = "bridge-watch",
        timeout_seconds: float = 30,
        lookback_seconds: int = 86_400,
    ):
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.username is not None:
            raise ValueError("the node's URL must be http://host:port without a login")
        self._host, self._port = parts.hostname, parts.port or 8332
        self._user = user
        self._password = password if callable(password) else lambda: password
        self._network = network
        self._wallet = wallet
        self._timeout_seconds = timeout_seconds
        self._lookback_seconds = lookback_seconds
        self._ready = False

    def __repr__(self) -> str:
        return f"CoreRpcReader({self._host}:{self._port}, {self._network}, login redacted)"

    def read(self, address: str, *, asked_at: datetime) -> ChainReading:
        """Every output that pays `address`, in blocks and in the mempool. Raises Unavailable or ProtocolError."""
        node = self._node()
        tip_height = self._tip(node)
        if not self._call(node, "getaddressinfo", address).get("ismine"):
            self._import(node, address, since=asked_at.timestamp() - self._lookback_seconds)
        if self._call(node, "getwalletinfo").get("scanning"):
            # A half-scanned wallet would show old payments as absent.
            raise Unavailable("chain_scanning", "The node is still searching the past for new addresses.")
        txids = [
            txid
            for row in self._call(node, "listreceivedbyaddress", 0, False, True, address)
            for txid in row.get("txids", [])
        ]
        outputs = tuple(output for txid in sorted(set(txids)) for output in self._outputs(node, txid, address))
        source = f"core:{self._host}"
        return ChainReading(address=address, outputs=outputs, tip_height=tip_height, source=source, asked_at=asked_at)

    def tip_height(self) -> int:
        """Height of the best block. Raises Unavailable."""
        return self._tip(self._node())

    def import_address(self, address: str, *, since: datetime) -> None:
        """Watch an address whose payments may be older than the usual look back; the node rescans from `since`."""
        self._import(self._node(), address, since=since.timestamp())

    def _tip(self, node: RawProxy) -> int:
        height = self._call(node, "getblockcount")
        if type(height) is not int or height < 0:
            raise _unreadable()
        return height

    def _import(self, node: RawProxy, address: str, *, since: float) -> None:
        descriptor = self._call(node, "getdescriptorinfo", f"addr({address})").get("descriptor")
        request = {"desc": descriptor, "timestamp": max(0, int(since)), "label": "invoice"}
        results = self._call(node, "importdescriptors", [request])
        if not (isinstance(results, list) and results and results[0].get("success") is True):
            raise Unavailable("chain_import_failed", "The node could not watch this address yet.")
        log.info("an address is watched at the node", extra={"action": "chain_address_imported", "address": address})

    def _outputs(self, node: RawProxy, txid: str, address: str) -> list[ChainOutput]:
        transaction = self._call(node, "gettransaction", txid, True, True)
        confirmations = transaction.get("confirmations")
        if type(confirmations) is not int:
            raise _unreadable()
        # Below zero a block holds a rival of it. At zero the wallet remembers it even when the mempool has dropped it.
        if confirmations < 0 or (confirmations == 0 and not self._in_mempool(node, txid)):
            return []
        decoded = transaction.get("decoded")
        if not isinstance(decoded, dict):
            raise _unreadable()
        seconds = transaction.get("blocktime")
        return [
            ChainOutput(
                outpoint=f"{txid}:{output['n']}",
                amount_sat=_sat(output.get("value")),
                confirmations=confirmations,
                replaceable=confirmations == 0 and _is_replaceable(transaction, decoded),
                block_time=datetime.fromtimestamp(seconds, UTC) if confirmations and type(seconds) is int else None,
            )
            for output in decoded.get("vout", [])
            if _address_of(output) == address
        ]

    def _in_mempool(self, node: RawProxy, txid: str) -> bool:
        try:
            self._call(node, "getmempoolentry", txid)
        except _NotFound:
            return False
        return True

    def _node(self) -> RawProxy:
        """A proxy for each reading: its connection is not made for threads and dies with a node's restart."""
        if not self._ready:
            self._prepare(self._proxy(""))
            self._ready = True
        return self._proxy(f"/wallet/{quote(self._wallet, safe='')}")

    def _prepare(self, node: RawProxy) -> None:
        chain = self._call(node, "getblockchaininfo").get("chain")
        if chain not in _CHAINS[self._network]:
            raise ProtocolError("wrong_network", f"The node is on the chain {chain!r}, not on {self._network!r}.")
        try:
            self._call(node, "loadwallet", self._wallet, True, known=frozenset({_WALLET_LOADED, _WALLET_EXISTS}))
        except _NotFound:
            # No private keys, blank, no passphrase, no reuse flag, descriptors, loaded again at every start.
            arguments = (self._wallet, True, True, "", False, True, True)
            self._call(node, "createwallet", *arguments, known=frozenset({_WALLET_EXISTS}))

    def _proxy(self, path: str) -> RawProxy:
        login = base64.b64encode(f"{self._user}:{self._password()}".encode()).decode()
        connection = _LoginConnection(self._host, self._port, timeout=self._timeout_seconds)
        connection.authorization = f"Basic {login}"
        return RawProxy(service_url=f"http://{self._host}:{self._port}{path}", connection=connection)

    def _call(self, node: RawProxy, method: str, *arguments: Any, known: frozenset[int] = frozenset()) -> Any:
        started = time.monotonic()
        try:
            return getattr(node, method)(*arguments)
        except JSONRPCError as error:
            code = error.error.get("code")
            if code in known:
                return None
            if code == _WALLET_MISSING:
                self._ready = False
            if code in {_NOT_FOUND, _WALLET_MISSING}:
                raise _NotFound("chain_unavailable", f"The node does not know this ({method}).") from None
            raise Unavailable("chain_unavailable", f"The node refused {method} (code {code}).") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            spent = round(time.monotonic() - started, 1)
            kind = type(error).__name__
            raise Unavailable(
                "chain_unreachable", f"The node did not answer {method}: {kind} after {spent} s."
            ) from None


class _NotFound(Unavailable):
    """The node answered that it knows no such thing."""


class _LoginConnection(http.client.HTTPConnection):
    """Carries the login beside the URL: the proxy would take it from the URL, which ends up in errors."""

    authorization = ""

    def request(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        super().request(method, url or "/", body, {**(headers or {}), "Authorization": self.authorization})


def _unreadable() -> ProtocolError:
    return ProtocolError("chain_unreadable", "The node's answer does not have the expected shape.")


def _sat(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _unreadable()
    amount_sat = value * SAT_PER_BTC
    if amount_sat != int(amount_sat) or not 0 <= amount_sat <= MAX_MONEY_SAT:
        raise _unreadable()
    return int(amount_sat)


def _address_of(output: Mapping[str, Any]) -> object:
    script = output.get("scriptPubKey")
    return script.get("address") if isinstance(script, dict) else None


def _is_replaceable(transaction: Mapping[str, Any], decoded: Mapping[str, Any]) -> bool:
    """The node's own word counts unconfirmed ancestors too; where it gives none, the inputs' sequences speak."""
    signals = any(each.get("sequence", 0) < SIGNALS_BELOW for each in decoded.get("vin", []))
    return signals or transaction.get("bip125-replaceable", "no") != "no"
