"""How far back the node's wallet was searched for an address, and the search itself.

Owns the mark that says so and the pieces that a long search goes in; must not read a payment.

The mark is the label of the address in the wallet: a wallet that is new, or another node's, has searched nothing and says
so. A descriptor alone says nothing: the node keeps it also when the search that came with it failed or was cut off.
"""

import logging
import re
import time
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from typing import Any

from bridge.chain.node import MISCELLANEOUS, WALLET_REFUSES, Node, TooSlow, unreadable
from bridge.core.errors import Unavailable
from bridge.core.evidence import Tip

log = logging.getLogger(__name__)

# A block's time may be so far from the truth: the node's own allowance.
_CLOCKS_DIFFER_SECONDS = 7_200
# An address this young is searched in one call while it is imported: some fifty blocks.
_YOUNG_SECONDS = 6 * 3_600
# So many blocks in one call at first: a day of them. A node that needs longer than our patience gets half of it the next time.
_PIECE_BLOCKS = 144
# This part of the time that one call may take is spent on further pieces of one look.
_PART_OF_TIMEOUT = 4
# Pieces that are remembered for others, and how long after one an address that comes new waits for those that follow.
_KEPT_PIECES = 1_000
_JOINS_WITHIN_SECONDS = 60
_BUSY = frozenset({WALLET_REFUSES})
_NOT_NOW = _BUSY | {MISCELLANEOUS}
_MARK = re.compile(r"(searched|searching):([0-9]{1,11})(?::([0-9]{1,9}))?")


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Blocks that were searched for all addresses that the wallet knew at `began` of the monotonic clock."""

    began: float
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Whether all blocks since the Unix time `since` were searched, or from which `height` on this is still to be done.

    The `height` of a search that is done is the lowest block that the node still had: it could not go back further.
    """

    is_done: bool
    since: int
    height: int | None = None

    def __str__(self) -> str:
        parts = ["searched" if self.is_done else "searching", self.since, self.height]
        return ":".join(str(part) for part in parts if part is not None)

    def is_enough(self, *, born: int, lowest: int) -> bool:
        """Whether no search could show more. `lowest` is the lowest block that the node has now."""
        return self.is_done and (self.since <= born or (self.height is not None and 0 < self.height <= lowest))


def mark_of(label: object) -> Mark | None:
    """The mark that a label is; None for any other label, such as that of release 0.2.0."""
    found = _MARK.fullmatch(str(label))
    if found is None:
        return None
    state, since, height = found.groups()
    return Mark(is_done=state == "searched", since=int(since), height=None if height is None else int(height))


class Search:
    """The search for addresses in one wallet of a node. Threads and processes may search at once: the wallet lets one of
    them at a time, and a piece that two have done is only done twice. Of one process many addresses share their pieces: after a
    new node has taken over, the past is searched about once and not once for each of them.
    """

    def __init__(self, node: Node, *, path: str):
        self._node = node
        self._path = path
        self._piece_blocks = _PIECE_BLOCKS
        self._pieces: deque[_Piece] = deque(maxlen=_KEPT_PIECES)
        # Since when of the monotonic clock an address is known to be in the wallet, until its search is done.
        self._in_wallet: dict[str, float] = {}

    def forget(self) -> None:
        """The wallet may be another from now on."""
        self._pieces.clear()
        self._in_wallet.clear()

    def bring_on(self, address: str, *, born: int, tip: Tip, lowest: int) -> Mark:
        """Makes the wallet know `address` and searches a bounded part of what is left since `born`; where it stands then.

        Raises Unavailable when the wallet does not know the address yet.
        """
        asked = time.monotonic()
        known = self._node.ask("getaddressinfo", address, path=self._path)
        labels = known.get("labels")
        if not isinstance(labels, list):
            raise unreadable("getaddressinfo")
        mark = mark_of(labels[0]) if labels and known.get("ismine") is True else None
        if mark is None:
            if address in self._in_wallet:
                self.forget()
            mark = self._import(address, born=born, tip=tip)
            self._in_wallet[address] = time.monotonic()
            if not mark.is_done and self._is_searching():
                return mark
        if mark.is_enough(born=born, lowest=lowest):
            self._in_wallet.pop(address, None)
            return mark
        known_since = self._in_wallet.setdefault(address, asked)
        if mark.is_done:
            mark = Mark(is_done=False, since=born)
        return self._go_on(address, mark, known_since=known_since, born=born, tip=tip, lowest=lowest)

    def _import(self, address: str, *, born: int, tip: Tip) -> Mark:
        """The wallet follows the address from now on, in the mempool too; a young one is searched with it."""
        newest = int(tip.time.timestamp())
        is_young = newest - born <= _YOUNG_SECONDS
        mark = Mark(is_done=False, since=born)
        descriptor = self._node.ask("getdescriptorinfo", f"addr({address})").get("descriptor")
        # The label is written before the search: a search that is cut off leaves the word that it is not done. A wallet
        # skips blocks that are older than all its addresses: no birth may lie ahead of the chain.
        request = {"desc": descriptor, "timestamp": min(born, newest) if is_young else "now", "label": str(mark)}
        results = self._node.call("importdescriptors", [request], path=self._path, known=_BUSY)
        if results is None:
            raise Unavailable(
                "chain_scanning", "The node is searching the past for another address; it is asked again."
            )
        if not isinstance(results, list) or not results or not isinstance(results[0], dict):
            raise unreadable("importdescriptors")
        is_searched = results[0].get("success") is True
        # Blocks that the node does not have: the descriptor is in the wallet all the same.
        if not is_searched and _code(results[0].get("error")) != MISCELLANEOUS:
            raise Unavailable("chain_import_failed", "The node could not watch this address yet.")
        log.info("an address is watched at the node", extra={"action": "chain_address_imported", "address": address})
        return self._write(address, Mark(is_done=True, since=born)) if is_searched and is_young else mark

    def _go_on(self, address: str, mark: Mark, *, known_since: float, born: int, tip: Tip, lowest: int) -> Mark:
        """Searches piece by piece up to the tip, or until a look's time is spent. What comes later the wallet follows."""
        ends = time.monotonic() + self._node.timeout_seconds / _PART_OF_TIMEOUT
        since, height = self._place(mark, tip=tip, lowest=lowest)
        while height <= tip.height:
            last = self._piece(height, tip, known_since=known_since)
            if last is None:
                log.info(
                    "the past of an address could not be searched now",
                    extra={"action": "chain_search_held_up", "address": address, "height": height},
                )
                return Mark(is_done=False, since=since, height=height)
            height = last + 1
            if height <= tip.height:
                mark = self._write(address, Mark(is_done=False, since=since, height=height))
                if time.monotonic() >= ends:
                    return mark
        self._in_wallet.pop(address, None)
        return self._write(address, Mark(is_done=True, since=since, height=lowest if since > born else None))

    def _is_searching(self) -> bool:
        """Whether the past is being searched for another address: then a new one takes part in the pieces to come."""
        return bool(self._pieces) and time.monotonic() - self._pieces[-1].began < _JOINS_WITHIN_SECONDS

    def _piece(self, height: int, tip: Tip, *, known_since: float) -> int | None:
        """Searches on from a height, unless that was done since the wallet knew the address. Up to which block that is, or None
        when another search runs, a block is missing or time is up.
        """
        shared = [p.last for p in tuple(self._pieces) if p.began >= known_since and p.first <= height <= p.last]
        if shared:
            return max(shared)
        last, began = min(height + self._piece_blocks - 1, tip.height), time.monotonic()
        try:
            told = self._node.call("rescanblockchain", height, last, path=self._path, known=_NOT_NOW)
        except TooSlow:
            # The node goes on with it, but nobody will tell us how it ended.
            self._piece_blocks = max(1, self._piece_blocks // 2)
            return None
        if told is None:
            return None
        self._pieces.append(_Piece(began=began, first=height, last=last))
        return last

    def _place(self, mark: Mark, *, tip: Tip, lowest: int) -> tuple[int, int]:
        """Since when the search will be complete, and the block at which it goes on."""
        height = self._first_block(mark.since, tip) if mark.height is None else mark.height
        if height >= lowest:
            return mark.since, height
        # The blocks before are gone; whatever was mined later than this is in one that the node has.
        return self._header(lowest - 1, "time") + _CLOCKS_DIFFER_SECONDS, lowest

    def _write(self, address: str, mark: Mark) -> Mark:
        self._node.call("setlabel", address, str(mark), path=self._path)
        return mark

    def _first_block(self, since: int, tip: Tip) -> int:
        """The lowest block that may have been mined at or after `since`."""
        heights = range(tip.height + 1)
        past_median = bisect_left(
            heights, since - _CLOCKS_DIFFER_SECONDS, key=lambda height: self._header(height, "mediantime")
        )
        # The median of eleven times passes it with the sixth block at the latest.
        return max(0, past_median - 5)

    def _header(self, height: int, name: str) -> int:
        seconds = self._node.ask("getblockheader", self._node.call("getblockhash", height)).get(name)
        if type(seconds) is not int:
            raise unreadable("getblockheader")
        return seconds


def _code(error: Any) -> object:
    return error.get("code") if isinstance(error, dict) else None
