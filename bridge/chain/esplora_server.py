"""One Esplora-style HTTP server: its calls, its pages, and the reading of its JSON.

Owns where the known servers differ; must not know which payments we saw before nor what an answer means.

Three kinds of server speak this language, and none says which it is:
- Blockstream's electrs: up to 50 waiting transactions and the newest 25 confirmed, more of these by /txs/chain/. Waiting
  ones beyond 50 it never lists.
- mempool's electrs, as at mempool.space: 50 of both together, waiting first, more by ?after_txid=.
- mempool over an Electrum server: 10 of both together, more by ?after_txid=, no /txs/chain/. It counts a transaction's height
  back from a tip that it may still be catching up to.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bridge.core.errors import ProtocolError, Unavailable
from bridge.core.evidence import Tip
from bridge.outbound import CallFailed, Outbound, Reply

Tx = Mapping[str, Any]
TOO_LONG = "chain_too_long"
_HASH = re.compile(r"[0-9a-f]{64}")
_MAX_PAGES = 40
_SHORTEST_FULL_PAGE = 10
_KEPT_BLOCKS = 1_000
_MAX_HEIGHT = 10**8
# The first block of each network's chains: Bitcoin Core, src/kernel/chainparams.cpp. Every signet has the same one.
_FIRST_BLOCKS = {
    "main": {"000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"},
    "test": {
        "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
        "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
    },
    "signet": {"00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6"},
    "regtest": {"0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"},
}


@dataclass(frozen=True, kw_only=True)
class History:
    """Each transaction of an address once. `is_cut`: the server has more of them than it lists."""

    transactions: tuple[Tx, ...]
    is_cut: bool


@dataclass(frozen=True, kw_only=True)
class Spender:
    """The transaction that spends a coin."""

    txid: str
    is_confirmed: bool


class EsploraServer:
    """Answers of one server, checked. Every method raises Unavailable or ProtocolError; threads may share it. Of a `network`
    given, its tip has to be.
    """

    def __init__(self, *, base_url: str, name: str, outbound: Outbound, network: str | None = None):
        self.name = name
        self._first_blocks = _FIRST_BLOCKS[network] if network is not None else None
        self._base_url, self._outbound = base_url, outbound
        self._blocks: dict[str, Tip] = {}

    def tip(self) -> Tip:
        """Its best block. One call, and a second one when the block is new to us."""
        self._check_network()
        return self.block(_hash_in(_good(self._call("/blocks/tip/hash"))))

    def block(self, block_hash: str) -> Tip:
        """The block with this hash, which is asked for once: a hash names its height and its time for ever."""
        known = self._blocks.get(block_hash)
        if known is None:
            shown = as_object(_parsed(_good(self._call(f"/block/{block_hash}"))))
            if shown.get("id") != block_hash:
                raise unreadable()
            known = Tip(
                height=as_int(shown.get("height"), most=_MAX_HEIGHT),
                hash=block_hash,
                time=datetime.fromtimestamp(as_int(shown.get("timestamp"), most=2**32), UTC),
            )
            if len(self._blocks) >= _KEPT_BLOCKS:
                self._blocks.clear()
            self._blocks[block_hash] = known
        return known

    def _check_network(self) -> None:
        """Once: a server of another network may show the higher chain, and would be taken for the one that is ahead.

        Only another first block is proof. One that does not tell it, or a proxy that does not let the question through, is let be.
        """
        if self._first_blocks is None:
            return
        reply = self._call("/block-height/0")
        told = reply.text().strip() if reply.status == 200 else ""
        if _HASH.fullmatch(told) and told not in self._first_blocks:
            raise ProtocolError("wrong_network", "Its first block is that of another network.")
        if reply.status < 500:
            self._first_blocks = None

    def hash_at(self, height: int) -> str:
        """The block of its best chain at a height that is not above its tip."""
        return _hash_in(_good(self._call(f"/block-height/{height}")))

    def transaction(self, txid: str) -> Tx | None:
        """None when it knows no such transaction. One that only an undone block held may still be known, as unconfirmed."""
        reply = self._ask(f"/tx/{txid}", lacking=404)
        if reply is None:
            return None
        shown = as_object(_parsed(reply))
        if txid_of(shown) != txid:
            raise unreadable()
        return shown

    def spender_of(self, coin: str) -> Spender | None:
        """Who spends a coin ("txid:vout"); None when it is unspent or the server cannot say."""
        txid, _, vout = coin.partition(":")
        reply = self._ask(f"/tx/{txid}/outspend/{vout}", lacking=404)
        spent = {} if reply is None else as_object(_parsed(reply))
        if spent.get("spent") is not True or spent.get("txid") is None:
            return None
        return Spender(txid=txid_of(spent), is_confirmed=is_confirmed(spent))

    def history(self, address: str) -> History:
        """All that it lists. Only where a page is as long as a full one of some server may there be a next.

        Raises ProtocolError("chain_too_long") when there is no end to them.
        """
        path = f"/address/{address}/txs"
        listed: dict[str, Tx] = {}
        page = self._page(path)
        may_be_cut = len(page) >= _SHORTEST_FULL_PAGE
        by_chain = False
        for _ in range(_MAX_PAGES):
            has_new = _take_in(page, listed)
            if len(page) < _SHORTEST_FULL_PAGE or (by_chain and not has_new):
                break
            # A server that does not know ?after_txid= gives its first page again.
            by_chain = by_chain or not has_new
            page = self._chain_page(path, page) if by_chain else self._page_after(path, page)
        else:
            raise too_long()
        # Counted last: what came meanwhile makes the count too large, so that nothing is missed in silence.
        is_cut = may_be_cut and len(listed) < self._count(address, at_least=len(listed))
        return History(transactions=tuple(listed.values()), is_cut=is_cut)

    def _page_after(self, path: str, page: list[Tx]) -> list[Tx]:
        """Nothing (HTTP 422) when the last transaction of the page has left the mempool since."""
        return self._page(f"{path}?after_txid={txid_of(page[-1])}", lacking=422)

    def _chain_page(self, path: str, page: list[Tx]) -> list[Tx]:
        confirmed = [txid_of(each) for each in page if is_confirmed(each)]
        return self._page(f"{path}/chain/{confirmed[-1]}", lacking=404) if confirmed else []

    def _page(self, path: str, *, lacking: int | None = None) -> list[Tx]:
        reply = self._ask(path, lacking=lacking)
        return [] if reply is None else as_list(_parsed(reply))

    def _count(self, address: str, *, at_least: int) -> int:
        """How many transactions it says the address has; more than are listed when it refuses (HTTP 400) to count so many."""
        reply = self._ask(f"/address/{address}", lacking=400)
        if reply is None:
            return at_least + 1
        shown = as_object(_parsed(reply))
        stats = (as_object(shown.get(name)) for name in ("chain_stats", "mempool_stats"))
        return sum(as_int(each.get("tx_count"), most=10**9) for each in stats)

    def _ask(self, path: str, *, lacking: int | None) -> Reply | None:
        """None when it answers with the status `lacking`."""
        reply = self._call(path)
        return None if reply.status == lacking else _good(reply)

    def _call(self, path: str) -> Reply:
        try:
            return self._outbound.call("GET", self._base_url + path)
        except CallFailed as failure:
            raise Unavailable("chain_unreachable", f"The call failed ({failure.reason}).") from None


def _good(reply: Reply) -> Reply:
    if reply.status == 413:
        raise too_long()
    if reply.status != 200:
        wait = reply.retry_after_seconds()
        raise Unavailable("chain_unavailable", f"It answered HTTP {reply.status}.", retry_after_seconds=wait)
    return reply


def _hash_in(reply: Reply) -> str:
    """A hash that is told as plain text."""
    try:
        return as_hash(reply.text().strip())
    except ValueError:
        raise unreadable() from None


def _take_in(page: list[Tx], listed: dict[str, Tx]) -> bool:
    """Whether the page had a transaction that was not listed.

    A block that comes between two answers, or within one, shows a transaction twice: the confirmed copy is the later one.
    """
    has_new = False
    for transaction in page:
        txid, confirmed = txid_of(transaction), is_confirmed(transaction)
        has_new = has_new or txid not in listed
        if confirmed or txid not in listed:
            listed[txid] = transaction
    return has_new


def unreadable() -> ProtocolError:
    """The answer is not what these servers give."""
    return ProtocolError("chain_unreadable", "Its answer does not have the Esplora shape.")


def too_long() -> ProtocolError:
    """There are more transactions than anybody pays an invoice with."""
    return ProtocolError(TOO_LONG, "The address has more transactions than an invoice address can have.")


def _parsed(reply: Reply) -> object:
    try:
        return reply.json()
    except ValueError:
        raise ProtocolError("chain_unreadable", "Its answer is not JSON.") from None


def as_int(value: object, *, most: int) -> int:
    """A whole number from 0 to `most`."""
    if type(value) is not int or not 0 <= value <= most:
        raise unreadable()
    return value


def as_hash(value: object) -> str:
    """64 hexadecimal digits: the name of a transaction or a block."""
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise unreadable()
    return value


def as_object(value: object) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise unreadable()
    return value


def as_list(value: object) -> list[Mapping[str, Any]]:
    """A JSON array of objects."""
    if not isinstance(value, list):
        raise unreadable()
    return [as_object(each) for each in value]


def txid_of(value: Mapping[str, Any]) -> str:
    """The transaction that an object names."""
    return as_hash(value.get("txid"))


def coins_of(transaction: Tx) -> list[str]:
    """The coins that a transaction spends, "txid:vout"; a block's reward spends none."""
    spent = (each for each in as_list(transaction.get("vin")) if not each.get("is_coinbase"))
    return [f"{txid_of(each)}:{as_int(each.get('vout'), most=2**32)}" for each in spent]


def is_confirmed(value: Mapping[str, Any]) -> bool:
    """Whether its status says that a block holds it."""
    confirmed = as_object(value.get("status")).get("confirmed")
    if type(confirmed) is not bool:
        raise unreadable()
    return confirmed
