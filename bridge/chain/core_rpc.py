"""Reads an address from the operator's own Bitcoin node.

Owns a watch-only wallet at the node that knows our addresses; must not hold a private key or conclude anything.

A node has no index by address. `scantxoutset` would see unspent outputs only, so that a sweep would look like a
vanished payment; a descriptor wallet without private keys gives txid, depth and replaceability and forgets nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeGuard
from urllib.parse import quote

from bridge.chain import SIGNALS_BELOW
from bridge.chain.node import METHOD_UNKNOWN, WALLET_LOADED, WALLET_REFUSES, Node, NotFound, WalletMissing, unreadable
from bridge.chain.search import Mark, Search
from bridge.core.errors import ProtocolError, Unavailable
from bridge.core.evidence import ChainOutput, ChainReading, Fate, KnownOutput, Tip
from bridge.core.money import MAX_MONEY_SAT, SAT_PER_BTC

_CHAINS = {"main": {"main"}, "test": {"test", "testnet4"}, "signet": {"signet"}, "regtest": {"regtest"}}


@dataclass(frozen=True, kw_only=True)
class _Best:
    """The node's best chain: its tip, and the lowest block that has not been pruned."""

    tip: Tip
    lowest: int


class CoreRpcReader:
    """Chain evidence from one node, Bitcoin Core 23 or later. Threads may share it.

    An address is imported at its first read and searched from its birth on, however late that read is.
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
    ):
        self._node = Node(url=url, user=user, password=password, timeout_seconds=timeout_seconds)
        self._network = network
        self._wallet = wallet
        self._path = f"/wallet/{quote(wallet, safe='')}"
        self._search = Search(self._node, path=self._path)
        self._is_open = False

    def __repr__(self) -> str:
        return f"CoreRpcReader({self._node.host}, {self._network}, login redacted)"

    def read(
        self, address: str, *, born_at: datetime, asked_at: datetime, known: Sequence[KnownOutput] = ()
    ) -> ChainReading:
        """Every output that pays `address`, in blocks and in the mempool. Raises Unavailable or ProtocolError.

        While the past is still being searched, or the node has thrown it away, the reading has a gap; what the wallet
        follows meanwhile is in it.
        """
        best, born = self._best(), int(born_at.timestamp())
        self._open()
        try:
            # The wallet follows chain and mempool in the background; wait until it has seen what the node has seen.
            self._node.call("syncwithvalidationinterfacequeue", known=frozenset({METHOD_UNKNOWN}))
            mark = self._search.bring_on(address, born=born, tip=best.tip, lowest=best.lowest)
            outputs = [each for txid in self._txids(address) for each in self._outputs(txid, address, best.tip)]
            gap = _gap(mark, born=born, lowest=best.lowest)
            listed = {output.outpoint for output in outputs}
            absent = [each for each in known if each.outpoint not in listed]
            fates = {each.outpoint: self._fate(each, best.tip, is_complete=not gap) for each in absent}
        except WalletMissing:
            # The node was restarted without it; the next reading loads it.
            self._is_open = False
            self._search.forget()
            raise
        return ChainReading(
            address=address,
            outputs=tuple(outputs),
            tip=best.tip,
            source=f"core:{self._node.host}",
            asked_at=asked_at,
            since=datetime.fromtimestamp(mark.since, UTC) if mark.is_done else asked_at,
            gap=gap,
            fates={outpoint: fate for outpoint, fate in fates.items() if fate is not None},
        )

    def tip(self) -> Tip:
        """The best block. Raises Unavailable or ProtocolError."""
        return self._best().tip

    def close(self) -> None:
        """Nothing is kept open; here because every chain reader has it."""

    def _best(self) -> _Best:
        told = self._node.ask("getblockchaininfo")
        if told.get("chain") not in _CHAINS[self._network]:
            raise ProtocolError("wrong_network", f"The node is not on a chain of the network {self._network!r}.")
        if "time" not in told:
            raise ProtocolError("chain_node_too_old", "The node must be Bitcoin Core 23 or later, or of its kind.")
        height, block, seconds = (told.get(name) for name in ("blocks", "bestblockhash", "time"))
        lowest = told.get("pruneheight", 0) if told.get("pruned") is True else 0
        if not (_is_count(height) and isinstance(block, str) and _is_count(seconds) and _is_count(lowest)):
            raise unreadable("getblockchaininfo")
        return _Best(tip=Tip(height=height, hash=block, time=datetime.fromtimestamp(seconds, UTC)), lowest=lowest)

    def _txids(self, address: str) -> list[str]:
        # No depth, none that are empty, watched ones, this address, and what a miner cannot spend yet.
        rows = self._node.call("listreceivedbyaddress", 0, False, True, address, True, path=self._path)
        if not isinstance(rows, list):
            raise unreadable("listreceivedbyaddress")
        return sorted({str(txid) for row in rows for txid in _object(row).get("txids", [])})

    def _outputs(self, txid: str, address: str, tip: Tip) -> list[ChainOutput]:
        transaction = self._node.ask("gettransaction", txid, True, True, path=self._path)
        if _depth(transaction) == 0 and not self._in_mempool(txid):
            # The wallet remembers what the mempool has dropped; or a block has just taken it from there.
            transaction = self._node.ask("gettransaction", txid, True, True, path=self._path)
            if _depth(transaction) == 0:
                return []
        depth = _depth(transaction)
        if depth < 0:
            # A block holds a rival of it.
            return []
        decoded = _object(transaction.get("decoded"))
        return [
            ChainOutput(
                outpoint=f"{txid}:{index}",
                amount_sat=amount_sat,
                replaceable=depth == 0 and _is_replaceable(transaction, decoded),
                coinbase=transaction.get("generated") is True,
                spends=_first_coin(decoded),
                **(_block_of(transaction, depth, tip) if depth else {"confirmations": 0}),
            )
            for index, output in enumerate(_objects(decoded.get("vout")))
            # A miner may send an output of nothing: it is no payment.
            if _object(output.get("scriptPubKey")).get("address") == address
            and (amount_sat := _sat(output.get("value")))
        ]

    def _fate(self, absent: KnownOutput, tip: Tip, *, is_complete: bool) -> Fate | None:
        """What became of an output that the node does not list; `is_complete`: no block is unsearched.

        The wallet knows rivals by itself, searched or not: of each transaction that it has heard of, and in every block that
        it follows.
        """
        txid = absent.outpoint.partition(":")[0]
        rivals: list[str] = []
        try:
            transaction = self._node.ask("gettransaction", txid, True, path=self._path)
        except NotFound:
            # A wallet that does not know the transaction is a witness only of blocks that it has searched.
            if not is_complete:
                return None
        else:
            if depth := _depth(transaction):
                return Fate(code="rival_confirmed") if depth < 0 else None
            rivals = _rivals(transaction)
        if absent.block_hash is not None and self._is_in_chain(absent, tip):
            return None
        if self._in_mempool(txid):
            return None
        if absent.block_hash is None and (waiting := next(filter(self._in_mempool, rivals), None)):
            return Fate(code="rival_waits", rival=waiting)
        # A mempool that is still being read from disk has not shown everything yet.
        is_read = self._node.ask("getmempoolinfo").get("loaded") is not False
        return Fate(code="not_found") if is_read else None

    def _is_in_chain(self, absent: KnownOutput, tip: Tip) -> bool:
        """Whether the output's block is on the best chain, or may be: the node has not come to that height yet."""
        try:
            confirmations = self._node.ask("getblockheader", absent.block_hash).get("confirmations")
        except NotFound:
            return absent.block_height is None or absent.block_height > tip.height
        return confirmations != -1

    def _in_mempool(self, txid: str) -> bool:
        try:
            self._node.call("getmempoolentry", txid)
        except NotFound:
            return False
        return True

    def _open(self) -> None:
        """Once: our wallet loaded, or made."""
        if self._is_open:
            return
        if not self._is_loaded():
            self._load()
        self._is_open = True

    def _is_loaded(self) -> bool:
        names = self._node.call("listwallets")
        if not isinstance(names, list):
            raise unreadable("listwallets")
        return self._wallet in names

    def _load(self) -> None:
        refused = frozenset({WALLET_REFUSES})
        try:
            is_loaded = self._node.call("loadwallet", self._wallet, True, known=refused | {WALLET_LOADED})
        except WalletMissing:
            # No private keys, blank, no passphrase, no reuse flag, descriptors, loaded again at every start.
            arguments = (self._wallet, True, True, "", False, True, True)
            is_loaded = self._node.call("createwallet", *arguments, known=refused)
        if is_loaded is None and not self._is_loaded():
            raise Unavailable(
                "chain_wallet_not_loaded",
                f"The node cannot load its wallet {self._wallet} now; it is asked again. If this stays, the node's debug.log "
                "says why. If it says that the wallet goes beyond pruned data, move the wallet's folder away: the bridge makes "
                "a new one and searches again.",
            )


def _gap(mark: Mark, *, born: int, lowest: int) -> str:
    if mark.is_done and mark.since <= born:
        return ""
    return "pruned" if lowest and mark.since > born else "not_searched"


def _depth(transaction: Mapping[str, Any]) -> int:
    confirmations = transaction.get("confirmations")
    if type(confirmations) is not int:
        raise unreadable("gettransaction")
    return confirmations


def _block_of(transaction: Mapping[str, Any], depth: int, tip: Tip) -> dict[str, Any]:
    """Where a transaction stands. A block that came after the tip was read makes nothing deeper than that tip says."""
    height, block, seconds = (transaction.get(name) for name in ("blockheight", "blockhash", "blocktime"))
    if not (_is_count(height) and isinstance(block, str) and _is_count(seconds)):
        raise unreadable("gettransaction")
    return {
        "confirmations": min(depth, max(1, tip.height - height + 1)),
        "block_height": height,
        "block_hash": block,
        "block_time": datetime.fromtimestamp(seconds, UTC),
    }


def _rivals(transaction: Mapping[str, Any]) -> list[str]:
    """What spends a coin of it too, as the wallet has heard: in the mempool first (Bitcoin Core 28 and later say so)."""
    told = [transaction.get(name) for name in ("mempoolconflicts", "walletconflicts")]
    return [str(txid) for each in told if isinstance(each, list) for txid in each]


def _first_coin(decoded: Mapping[str, Any]) -> str | None:
    """The first coin that it spends, "txid:vout"; a block's reward spends none."""
    first = next(iter(_objects(decoded.get("vin"))), {})
    txid, vout = first.get("txid"), first.get("vout")
    return f"{txid}:{vout}" if isinstance(txid, str) and _is_count(vout) else None


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


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
