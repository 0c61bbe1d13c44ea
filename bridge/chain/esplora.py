"""Reads an address from Esplora-style HTTP servers: outputs, depth, replaceability, and what became of earlier ones.

Owns failover and what an answer covers; must not conclude anything about an invoice from what it reads.
"""

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from bridge.chain import SIGNALS_BELOW
from bridge.chain.esplora_server import (
    TOO_LONG,
    EsploraServer,
    Spender,
    Tx,
    as_hash,
    as_int,
    as_list,
    as_object,
    coins_of,
    is_confirmed,
    txid_of,
    unreadable,
)
from bridge.core.errors import BridgeError, ProtocolError, Unavailable
from bridge.core.evidence import ChainOutput, ChainReading, Fate, KnownOutput, Tip
from bridge.core.money import MAX_MONEY_SAT
from bridge.outbound import Guard, Limits, Outbound

log = logging.getLogger(__name__)

_MAX_ANCESTORS = 12
# A server that forgot an address of a thousand crumbs is not asked a thousand times, but in each look for others of them.
_MAX_LOST = 20
# Of the questions for the tip alone: a minute, as they are asked for.
_RESTED_ROUNDS = 12
_T = TypeVar("_T")


class EsploraReader:
    """Chain evidence from the first of several servers that answers and is not behind another. Threads may share it: what it
    remembers of a server is a number that a later answer replaces, whichever thread it came to.

    Hosts named here are the operator's choice, so they may be private and speak plain http. None of another `network` is read.
    """

    def __init__(
        self,
        *,
        base_urls: Sequence[str],
        network: str | None = None,
        limits: Limits | None = None,
        outbound: Outbound | None = None,
    ):
        if not base_urls:
            raise ValueError("a chain reader needs at least one URL")
        hosts = [urlsplit(url).hostname or "" for url in base_urls]
        # A page of 25 transactions with many inputs each is larger than any other answer we read.
        limits = limits or Limits(max_bytes=8 * 1024 * 1024)
        guard = Guard(allow_hosts=frozenset(hosts), plain_http=True)
        self._outbound = outbound or Outbound(limits=limits, guard=guard)
        self._servers = tuple(
            EsploraServer(base_url=url.rstrip("/"), name=name, outbound=self._outbound, network=network)
            for url, name in zip(base_urls, _names(hosts), strict=True)
        )
        self._preferred = 0
        # What each told last: None before its first answer, 0 once it failed, so that nobody waits for what it knew.
        self._heights: list[int | None] = [None] * len(self._servers)
        self._rests = [0] * len(self._servers)

    def read(
        self, address: str, *, born_at: datetime, asked_at: datetime, known: Sequence[KnownOutput] = ()
    ) -> ChainReading:
        """Every output that pays `address`, in blocks and in the mempool; these servers search all of the chain.

        Raises Unavailable if no server can tell, and ProtocolError("chain_too_long") if none lists so many transactions.
        """

        def read_from(server: EsploraServer, tip: Tip) -> ChainReading:
            history = server.history(address)
            outputs = [o for each in history.transactions for o in _outputs(server, each, address, tip)]
            listed = {output.outpoint for output in outputs}
            lost = [each for each in known if each.outpoint not in listed]
            spenders = _spenders(history.transactions)
            found = _look_for(server, _some_of(lost, asked_at), address, tip, spenders)
            return ChainReading(
                address=address,
                outputs=(*outputs, *found.outputs),
                tip=tip,
                source=f"esplora:{server.name}",
                asked_at=asked_at,
                gap="history_cut" if history.is_cut else found.gap,
                fates=found.fates,
            )

        failures: list[BridgeError] = []
        # One server answers a whole reading: pieces from two servers may contradict each other.
        for index, tip in self._highest_first(failures):
            reading = self._ask(index, partial(read_from, tip=tip), failures)
            if reading is not None:
                self._preferred = index
                return reading
        raise _unavailable(failures)

    def tip(self) -> Tip:
        """The best block of all servers, so that one that stands still is noticed by the others. Raises Unavailable.

        A server that failed is left out for some rounds: one that hangs would hold up each of them.
        """
        order, failures = self._order(), list[BridgeError]()
        resting = [index for index in order if self._rests[index]]
        for index in resting:
            self._rests[index] -= 1
        for some in ([index for index in order if index not in resting], resting):
            told = [tip for index in some if (tip := self._tip_of(index, failures)) is not None]
            if told:
                return max(told, key=lambda tip: tip.height)
        raise _unavailable(failures)

    def close(self) -> None:
        """Drop the pooled connections."""
        self._outbound.close()

    def _order(self) -> list[int]:
        first, count = self._preferred, len(self._servers)
        return [(first + step) % count for step in range(count)]

    def _highest_first(self, failures: list[BridgeError]) -> Iterator[tuple[int, Tip]]:
        """Servers with the tip that a reading is then as old as: a block that comes meanwhile makes depths too small, never too
        large. No more are asked than it takes to find one that is as high as any is known to be.
        """
        order = self._order()
        asked = {i: self._tip_of(i, failures) for i in order} if None in self._heights else {}
        behind: list[tuple[int, Tip]] = []
        for index in order:
            tip = asked[index] if index in asked else self._tip_of(index, failures)
            highest = max(height or 0 for height in self._heights)
            if tip is not None and tip.height >= highest:
                yield index, tip
            elif tip is not None:
                behind.append((index, tip))
                told = {"source": self._servers[index].name, "height": tip.height, "highest": highest}
                log.warning("a chain server is behind", extra={"action": "chain_source_behind", **told})
        yield from sorted(behind, key=lambda each: -each[1].height)

    def _tip_of(self, index: int, failures: list[BridgeError]) -> Tip | None:
        tip = self._ask(index, EsploraServer.tip, failures)
        self._heights[index], self._rests[index] = (0, _RESTED_ROUNDS) if tip is None else (tip.height, 0)
        return tip

    def _ask(self, index: int, ask: Callable[[EsploraServer], _T], failures: list[BridgeError]) -> _T | None:
        """None when the server failed, which is added to `failures`."""
        server = self._servers[index]
        try:
            return ask(server)
        except (Unavailable, ProtocolError) as error:
            failures.append(error)
            failed = {"action": "chain_source_failed", "source": server.name, "code": error.code}
            log.warning("a chain server failed", extra=failed)
            return None


def _unavailable(failures: Sequence[BridgeError]) -> BridgeError:
    """The last failure is told."""
    last = failures[-1]
    if last.code == TOO_LONG:
        return last
    detail = f"No chain server can answer: {last.detail}"
    return Unavailable("chain_unavailable", detail, retry_after_seconds=last.retry_after_seconds)


@dataclass(kw_only=True)
class _Found:
    """What became of outputs that the list for the address lacks; `gap` is "" when each of them is gone."""

    outputs: list[ChainOutput] = field(default_factory=list)
    fates: dict[str, Fate] = field(default_factory=dict)
    gap: str = ""


def _spenders(transactions: Iterable[Tx]) -> dict[str, Spender]:
    """Who spends which coin, as the list for the address says: a raised fee is seen there without a further call."""
    return {
        coin: Spender(txid=txid_of(each), is_confirmed=is_confirmed(each))
        for each in transactions
        for coin in coins_of(each)
    }


def _some_of(lost: Iterable[KnownOutput], asked_at: datetime) -> list[tuple[KnownOutput, list[str]]]:
    """Lost transactions with their outputs, no more than may be asked for: by lot, so that none stands behind others for ever."""
    groups: dict[KnownOutput, list[str]] = {}
    for each in lost:
        groups.setdefault(replace(each, outpoint=each.outpoint.partition(":")[0]), []).append(each.outpoint)
    return random.Random(asked_at.isoformat()).sample(list(groups.items()), min(len(groups), _MAX_LOST))


def _look_for(
    server: EsploraServer,
    lost: Iterable[tuple[KnownOutput, list[str]]],
    address: str,
    tip: Tip,
    spenders: Mapping[str, Spender],
) -> _Found:
    """Asks for the transactions of lost outputs by their ids, once for all outputs of one."""
    found = _Found()
    for known, outpoints in lost:
        transaction = server.transaction(known.outpoint)
        spender = _spender(server, known, transaction, spenders)
        shown: list[ChainOutput] = []
        if transaction is not None and _stands(known, transaction, spender):
            shown = _outputs(server, transaction, address, tip)
        elif fate := _fate(server, known, transaction, spender, tip):
            found.fates |= dict.fromkeys(outpoints, fate)
            continue
        standing = [output for output in shown if output.outpoint in outpoints]
        found.outputs += standing
        if len(standing) < len(outpoints):
            found.gap = "payment_not_shown"
        found.gap = found.gap or "history_differs"
    return found


def _spender(
    server: EsploraServer, known: KnownOutput, transaction: Tx | None, spenders: Mapping[str, Spender]
) -> Spender | None:
    """Who spends the first coin of a lost transaction; not asked where a block holds that itself."""
    if transaction is not None and is_confirmed(transaction):
        return None
    coin = known.spends or (next(iter(coins_of(transaction)), None) if transaction is not None else None)
    return (spenders.get(coin) or server.spender_of(coin)) if coin else None


def _stands(known: KnownOutput, transaction: Tx, spender: Spender | None) -> bool:
    """Servers keep what an undone block held. What they show as unconfirmed therefore waits only if it is what spends its
    coin, or, where nobody says what does, if we never saw it in a block.
    """
    if is_confirmed(transaction):
        return True
    return known.block_hash is None if spender is None else spender.txid == known.outpoint


def _fate(
    server: EsploraServer, known: KnownOutput, transaction: Tx | None, spender: Spender | None, tip: Tip
) -> Fate | None:
    """What became of a transaction that does not stand; None when nothing says it."""
    if spender is not None and spender.txid != known.outpoint:
        if spender.is_confirmed:
            return Fate(code="rival_confirmed")
        if known.block_hash is None:
            return Fate(code="rival_waits", rival=spender.txid)
    elif spender is not None or transaction is not None:
        return None
    if known.block_hash is None:
        return Fate(code="not_found")
    if known.block_height is None or known.block_height > tip.height:
        return None
    return Fate(code="not_found") if server.hash_at(known.block_height) != known.block_hash else None


def _outputs(server: EsploraServer, transaction: Tx, address: str, tip: Tip) -> list[ChainOutput]:
    paying = [
        (index, amount_sat)
        for index, output in enumerate(as_list(transaction.get("vout")))
        # A miner may send an output of nothing: it is no payment.
        if output.get("scriptpubkey_address") == address
        and (amount_sat := as_int(output.get("value"), most=MAX_MONEY_SAT))
    ]
    if not paying:
        return []
    block = _block_of(server, transaction)
    inputs = as_list(transaction.get("vin"))
    replaceable = block is None and _is_replaceable(server, transaction)
    coinbase, senders = _is_coinbase(inputs), _senders(inputs)
    spends = next(iter(coins_of(transaction)), None)
    return [
        ChainOutput(
            outpoint=f"{txid_of(transaction)}:{index}",
            amount_sat=amount_sat,
            confirmations=0 if block is None else max(1, tip.height - block.height + 1),
            replaceable=replaceable,
            block_time=block.time if block else None,
            block_height=block.height if block else None,
            block_hash=block.hash if block else None,
            coinbase=coinbase,
            senders=senders,
            spends=spends,
        )
        for index, amount_sat in paying
    ]


def _block_of(server: EsploraServer, transaction: Tx) -> Tip | None:
    """The block that holds it, by its hash: the height that a server tells beside may be counted from a tip that lags."""
    if not is_confirmed(transaction):
        return None
    return server.block(as_hash(as_object(transaction.get("status")).get("block_hash")))


def _is_replaceable(server: EsploraServer, transaction: Tx) -> bool:
    """BIP-125: an input signals, or that of an unconfirmed ancestor. Too many ancestors to look at is a yes."""
    waiting, asked = [transaction], set[str]()
    while waiting:
        inputs = as_list(waiting.pop().get("vin"))
        if any(_signals(each) for each in inputs):
            return True
        parents = {txid_of(each) for each in inputs if not each.get("is_coinbase")} - asked
        asked |= parents
        if len(asked) > _MAX_ANCESTORS:
            return True
        known = [server.transaction(parent) for parent in sorted(parents)]
        waiting += [parent for parent in known if parent is not None and not is_confirmed(parent)]
    return False


def _is_coinbase(inputs: Sequence[Tx]) -> bool:
    told = inputs[0].get("is_coinbase", False) if inputs else False
    if type(told) is not bool:
        raise unreadable()
    return told


def _senders(inputs: Iterable[Tx]) -> tuple[str, ...]:
    """The addresses spent from. A server that leaves `prevout` out tells none: that is less to screen, not an error."""
    spent = (each.get("prevout") for each in inputs)
    addresses = (each.get("scriptpubkey_address") for each in spent if isinstance(each, dict))
    return tuple(sorted({address for address in addresses if isinstance(address, str) and len(address) <= 100}))


def _signals(spent: Tx) -> bool:
    return not spent.get("is_coinbase") and as_int(spent.get("sequence"), most=0xFFFFFFFF) < SIGNALS_BELOW


def _names(hosts: Sequence[str]) -> list[str]:
    """What tells servers apart in records: the host, numbered where two share one. A whole URL may hold a key."""
    return [host if host not in hosts[:place] else f"{host}#{place + 1}" for place, host in enumerate(hosts)]
