"""Reads an address from Esplora-style HTTP servers: outputs, depth, replaceability.

Owns paging, failover and the reading of their JSON; must not conclude anything from what it reads.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from bridge.chain import SIGNALS_BELOW
from bridge.core.errors import BridgeError, ProtocolError, Unavailable
from bridge.core.evidence import ChainOutput, ChainReading
from bridge.core.money import MAX_MONEY_SAT
from bridge.outbound import CallFailed, Guard, Limits, Outbound

log = logging.getLogger(__name__)

_TXID = re.compile(r"[0-9a-f]{64}")
_MAX_PAGES = 40
_MAX_ANCESTORS = 12
TOO_LONG = "chain_too_long"
_T = TypeVar("_T")
_Tx = Mapping[str, Any]


class EsploraReader:
    """Chain evidence from the first of several servers that answers. Threads may share it.

    Hosts named here are the operator's choice, so they may be private and speak plain http.
    """

    def __init__(self, *, base_urls: Sequence[str], limits: Limits | None = None, outbound: Outbound | None = None):
        if not base_urls:
            raise ValueError("a chain reader needs at least one URL")
        self._base_urls = tuple(url.rstrip("/") for url in base_urls)
        hosts = frozenset(urlsplit(url).hostname or "" for url in base_urls)
        # A page of 25 transactions with many inputs each is larger than any other answer we read.
        limits = limits or Limits(max_bytes=8 * 1024 * 1024)
        self._outbound = outbound or Outbound(limits=limits, guard=Guard(allow_hosts=hosts, plain_http=True))
        self._preferred = 0

    def read(self, address: str, *, asked_at: datetime) -> ChainReading:
        """Every output that pays `address`, in blocks and in the mempool.

        Raises Unavailable if no server can tell, and ProtocolError("chain_too_long") if none lists so many transactions.
        """

        def read_from(base_url: str) -> ChainReading:
            # The tip first: a block that arrives meanwhile makes depths too small, never too large.
            tip_height = self._tip(base_url)
            outputs = tuple(
                output
                for transaction in self._transactions(base_url, address)
                for output in self._outputs(base_url, transaction, address, tip_height)
            )
            source = f"esplora:{urlsplit(base_url).hostname}"
            return ChainReading(
                address=address, outputs=outputs, tip_height=tip_height, source=source, asked_at=asked_at
            )

        return self._first_answer(read_from)

    def tip_height(self) -> int:
        """Height of the best block. Raises Unavailable."""
        return self._first_answer(self._tip)

    def close(self) -> None:
        """Drop the pooled connections."""
        self._outbound.close()

    def _first_answer(self, ask: Callable[[str], _T]) -> _T:
        """One server answers a whole reading: pieces from two servers may contradict each other."""
        last: BridgeError | None = None
        for step in range(len(self._base_urls)):
            index = (self._preferred + step) % len(self._base_urls)
            try:
                answer = ask(self._base_urls[index])
            except (Unavailable, ProtocolError) as error:
                last = error
                host = urlsplit(self._base_urls[index]).hostname
                log.warning(
                    "a chain server failed", extra={"action": "chain_source_failed", "source": host, "code": error.code}
                )
            else:
                self._preferred = index
                return answer
        if last is not None and last.code == TOO_LONG:
            raise last
        detail = last.detail if last else "no server"
        wait = last.retry_after_seconds if last else None
        raise Unavailable("chain_unavailable", f"No chain server can answer: {detail}", retry_after_seconds=wait)

    def _tip(self, base_url: str) -> int:
        height = self._get(base_url, "/blocks/tip/height")
        return _int(height, most=10**8)

    def _transactions(self, base_url: str, address: str) -> Iterator[_Tx]:
        """Mempool and the first confirmed page come together; older pages hang on the last confirmed txid seen."""
        seen: set[str] = set()
        page = _list(self._get(base_url, f"/address/{address}/txs"))
        for _ in range(_MAX_PAGES):
            fresh = [transaction for transaction in page if _txid(transaction) not in seen]
            yield from fresh
            seen.update(_txid(transaction) for transaction in fresh)
            confirmed = [_txid(transaction) for transaction in fresh if _height(transaction) is not None]
            if not confirmed:
                return
            page = _list(self._get(base_url, f"/address/{address}/txs/chain/{confirmed[-1]}"))
        raise ProtocolError(TOO_LONG, "The address has more transactions than an invoice address can have.")

    def _outputs(self, base_url: str, transaction: _Tx, address: str, tip_height: int) -> list[ChainOutput]:
        paying = [
            (index, amount_sat)
            for index, output in enumerate(_list(transaction.get("vout")))
            # A miner may send an output of nothing: it is no payment.
            if output.get("scriptpubkey_address") == address
            and (amount_sat := _int(output.get("value"), most=MAX_MONEY_SAT))
        ]
        if not paying:
            return []
        height = _height(transaction)
        confirmations = 0 if height is None else max(1, tip_height - height + 1)
        replaceable = height is None and self._is_replaceable(base_url, transaction)
        senders = _senders(transaction)
        return [
            ChainOutput(
                outpoint=f"{_txid(transaction)}:{index}",
                amount_sat=amount_sat,
                confirmations=confirmations,
                replaceable=replaceable,
                block_time=_block_time(transaction) if height is not None else None,
                senders=senders,
            )
            for index, amount_sat in paying
        ]

    def _is_replaceable(self, base_url: str, transaction: _Tx) -> bool:
        """BIP-125: an input signals, or that of an unconfirmed ancestor. Too many ancestors to look at is a yes."""
        waiting, asked = [transaction], set[str]()
        while waiting:
            inputs = _list(waiting.pop().get("vin"))
            if any(_signals(each) for each in inputs):
                return True
            parents = {_txid(each) for each in inputs if not each.get("is_coinbase")} - asked
            asked |= parents
            if len(asked) > _MAX_ANCESTORS:
                return True
            known = [self._transaction(base_url, parent) for parent in sorted(parents)]
            waiting += [parent for parent in known if parent is not None and _height(parent) is None]
        return False

    def _transaction(self, base_url: str, txid: str) -> _Tx | None:
        parsed = self._get(base_url, f"/tx/{txid}", may_miss=True)
        return None if parsed is None else _object(parsed)

    def _get(self, base_url: str, path: str, *, may_miss: bool = False) -> object:
        try:
            reply = self._outbound.call("GET", base_url + path)
        except CallFailed as failure:
            raise Unavailable("chain_unreachable", f"The call failed ({failure.reason}).") from None
        if may_miss and reply.status == 404:
            return None
        if reply.status != 200:
            wait = reply.retry_after_seconds()
            raise Unavailable("chain_unavailable", f"It answered HTTP {reply.status}.", retry_after_seconds=wait)
        try:
            return reply.json()
        except ValueError:
            raise ProtocolError("chain_unreadable", "Its answer is not JSON.") from None


def _unreadable() -> ProtocolError:
    return ProtocolError("chain_unreadable", "Its answer does not have the Esplora shape.")


def _int(value: object, *, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise _unreadable()
    return value


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _unreadable()
    return value


def _list(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise _unreadable()
    return [_object(each) for each in value]


def _txid(value: Mapping[str, Any]) -> str:
    txid = value.get("txid")
    if not isinstance(txid, str) or not _TXID.fullmatch(txid):
        raise _unreadable()
    return txid


def _height(transaction: _Tx) -> int | None:
    """Height of the block that holds the transaction; None in the mempool."""
    status = _object(transaction.get("status"))
    if type(status.get("confirmed")) is not bool:
        raise _unreadable()
    return _int(status.get("block_height"), most=10**8) if status["confirmed"] else None


def _block_time(transaction: _Tx) -> datetime | None:
    seconds = _object(transaction.get("status")).get("block_time")
    return datetime.fromtimestamp(_int(seconds, most=2**32), UTC) if seconds is not None else None


def _senders(transaction: _Tx) -> tuple[str, ...]:
    """The addresses spent from. A server that leaves `prevout` out tells none: that is less to screen, not an error."""
    spent = (each.get("prevout") for each in _list(transaction.get("vin")))
    addresses = (each.get("scriptpubkey_address") for each in spent if isinstance(each, dict))
    return tuple(sorted({address for address in addresses if isinstance(address, str) and len(address) <= 100}))


def _signals(spent: Mapping[str, Any]) -> bool:
    return not spent.get("is_coinbase") and _int(spent.get("sequence"), most=0xFFFFFFFF) < SIGNALS_BELOW
