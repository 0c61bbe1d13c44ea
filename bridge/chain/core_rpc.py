"""Reads an address from the operator's own Bitcoin node.

Owns a watch-only wallet at the node that knows our addresses; must not hold a private key or conclude anything.

A node has no index by address. `scantxoutset` would see unspent outputs only, so that a sweep would look like a
vanished payment; a descriptor wallet without private keys gives txid, depth and replaceability and forgets nothing.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from bridge.chain import SIGNALS_BELOW
from bridge.chain.node import METHOD_UNKNOWN, WALLET_EXISTS, WALLET_LOADED, Node, NotFound, WalletMissing, unreadable
from bridge.core.errors import ProtocolError, Unavailable
from bridge.core.evidence import ChainOutput, ChainReading
from bridge.core.money import MAX_MONEY_SAT, SAT_PER_BTC

log = logging.getLogger(__name__)

_CHAINS = {"main": {"main"}, "test": {"test", "testnet4"}, "signet": {"signet"}, "regtest": {"regtest"}}


class CoreRpcReader:
    """Chain evidence from one node. Threads may share it.

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
        self._node = Node(url=url, user=user, password=password, timeout_seconds=timeout_seconds)
        self._network = network
        self._wallet = wallet
        self._path = f"/wallet/{quote(wallet, safe='')}"
        self._lookback_seconds = lookback_seconds
        self._ready = False

    def __repr__(self) -> str:
        return f"CoreRpcReader({self._node.host}, {self._network}, login redacted)"

    def read(self, address: str, *, asked_at: datetime) -> ChainReading:
        """Every output that pays `address`, in blocks and in the mempool. Raises Unavailable or ProtocolError."""
        self._prepare()
        tip_height = self._tip()
        try:
            self._watch(address, since=asked_at.timestamp() - self._lookback_seconds)
            outputs = tuple(output for txid in self._txids(address) for output in self._outputs(txid, address))
        except WalletMissing:
            # The node was restarted without it; the next reading loads it.
            self._ready = False
            raise
        source = f"core:{self._node.host}"
        return ChainReading(address=address, outputs=outputs, tip_height=tip_height, source=source, asked_at=asked_at)

    def tip_height(self) -> int:
        """Height of the best block. Raises Unavailable or ProtocolError."""
        self._prepare()
        return self._tip()

    def import_address(self, address: str, *, since: datetime) -> None:
        """Watch an address whose payments may be older than the usual look back; the node rescans from `since`."""
        self._prepare()
        self._import(address, since=since.timestamp())

    def close(self) -> None:
        """Nothing is kept open; here because every chain reader has it."""

    def _tip(self) -> int:
        height = self._node.call("getblockcount")
        if type(height) is not int or height < 0:
            raise unreadable("getblockcount")
        return height

    def _watch(self, address: str, *, since: float) -> None:
        # The wallet follows chain and mempool in the background; wait until it has seen what the node has seen.
        self._node.call("syncwithvalidationinterfacequeue", known=frozenset({METHOD_UNKNOWN}))
        if not self._node.ask("getaddressinfo", address, path=self._path).get("ismine"):
            self._import(address, since=since)
        if self._node.ask("getwalletinfo", path=self._path).get("scanning"):
            # A half-scanned wallet would show old payments as absent.
            raise Unavailable("chain_scanning", "The node is still searching the past for new addresses.")

    def _import(self, address: str, *, since: float) -> None:
        descriptor = self._node.ask("getdescriptorinfo", f"addr({address})").get("descriptor")
        request = {"desc": descriptor, "timestamp": max(0, int(since)), "label": "invoice"}
        results = self._node.call("importdescriptors", [request], path=self._path)
        if not (isinstance(results, list) and results and _object(results[0]).get("success") is True):
            raise Unavailable("chain_import_failed", "The node could not watch this address yet.")
        log.info("an address is watched at the node", extra={"action": "chain_address_imported", "address": address})

    def _txids(self, address: str) -> list[str]:
        rows = self._node.call("listreceivedbyaddress", 0, False, True, address, path=self._path)
        if not isinstance(rows, list):
            raise unreadable("listreceivedbyaddress")
        return sorted({str(txid) for row in rows for txid in _object(row).get("txids", [])})

    def _outputs(self, txid: str, address: str) -> list[ChainOutput]:
        transaction = self._node.ask("gettransaction", txid, True, True, path=self._path)
        confirmations = transaction.get("confirmations")
        if type(confirmations) is not int:
            raise unreadable("gettransaction")
        # Below zero a block holds a rival of it. At zero the wallet remembers it even when the mempool has dropped it.
        if confirmations < 0 or (confirmations == 0 and not self._in_mempool(txid)):
            return []
        decoded = _object(transaction.get("decoded"))
        seconds = transaction.get("blocktime")
        return [
            ChainOutput(
                outpoint=f"{txid}:{index}",
                amount_sat=amount_sat,
                confirmations=confirmations,
                replaceable=confirmations == 0 and _is_replaceable(transaction, decoded),
                block_time=datetime.fromtimestamp(seconds, UTC) if confirmations and type(seconds) is int else None,
            )
            for index, output in enumerate(_objects(decoded.get("vout")))
            # A miner may send an output of nothing: it is no payment.
            if _object(output.get("scriptPubKey")).get("address") == address
            and (amount_sat := _sat(output.get("value")))
        ]

    def _in_mempool(self, txid: str) -> bool:
        try:
            self._node.call("getmempoolentry", txid)
        except NotFound:
            return False
        return True

    def _prepare(self) -> None:
        """Once: the right chain, and our wallet loaded or made."""
        if self._ready:
            return
        chain = self._node.ask("getblockchaininfo").get("chain")
        if chain not in _CHAINS[self._network]:
            raise ProtocolError("wrong_network", f"The node is not on a chain of the network {self._network!r}.")
        try:
            self._node.call("loadwallet", self._wallet, True, known=frozenset({WALLET_LOADED, WALLET_EXISTS}))
        except WalletMissing:
            # No private keys, blank, no passphrase, no reuse flag, descriptors, loaded again at every start.
            arguments = (self._wallet, True, True, "", False, True, True)
            self._node.call("createwallet", *arguments, known=frozenset({WALLET_EXISTS}))
        self._ready = True


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise unreadable("a wallet call")
    return value


def _objects(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise unreadable("a wallet call")
    return [_object(each) for each in value]


def _sat(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise unreadable("gettransaction")
    # The range first: an absurd exponent must not be multiplied.
    amount_sat = value * SAT_PER_BTC if 0 <= value <= MAX_MONEY_SAT else -1
    if not 0 <= amount_sat <= MAX_MONEY_SAT or amount_sat != int(amount_sat):
        raise unreadable("gettransaction")
    return int(amount_sat)


def _is_replaceable(transaction: Mapping[str, Any], decoded: Mapping[str, Any]) -> bool:
    """The node's own word counts unconfirmed ancestors too; where it gives none, the inputs' sequences speak."""
    sequences = [each.get("sequence") for each in _objects(decoded.get("vin"))]
    signals = any(type(sequence) is not int or sequence < SIGNALS_BELOW for sequence in sequences)
    return signals or transaction.get("bip125-replaceable", "no") != "no"
