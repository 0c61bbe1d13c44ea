"""Pages that ask again and again: while nothing of their invoices changes, no question reaches the database.

Owns what this process remembers of them; what time alone changes is told by the view, which is made anew for each answer.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bridge.context import Bridge
from bridge.invoices.pay import Known, PayView, known_of, view_of
from bridge.invoices.ways import paused_beside
from bridge.store import invoices

# As long may what another process writes be unknown here: less than a page waits until it asks again.
PAUSE_SECONDS = 0.5
MOST_PAGES = 500
FORGOTTEN_AFTER_SECONDS = 60


@dataclass(kw_only=True)
class _Page:
    """`seen` is what is known and how much this process had written when that was so: in one, because threads share it."""

    seen: tuple[Known, int]
    asked_at: float = field(default_factory=time.monotonic)


class Polled:
    """Threads may share it. Of all pages together it is asked once per pause whether anything has changed: one thread asks, and who
    comes meanwhile reads for itself. After whatever this process has written, it is asked of the one page that is wanted.
    """

    def __init__(self) -> None:
        self._pages: dict[str, _Page] = {}
        self._turn = threading.Lock()
        # When it was asked of all.
        self._asked_at = float("-inf")

    def view(self, bridge: Bridge, public_id: str) -> PayView:
        """Raises Refused("unknown_invoice")."""
        now = bridge.clock()
        return view_of(bridge, **vars(self._known(bridge, public_id)), now=now)

    def _known(self, bridge: Bridge, public_id: str) -> Known:
        page = self._pages.get(public_id)
        if page is not None and time.monotonic() - self._asked_at >= PAUSE_SECONDS:
            page = self._asked_anew(bridge, public_id)
        if page is None or (page.seen[1] != bridge.store.writes and not self._is_as_it_was(bridge, public_id, page)):
            return self._read(bridge, public_id)
        page.asked_at = time.monotonic()
        return page.seen[0]

    def _asked_anew(self, bridge: Bridge, public_id: str) -> _Page | None:
        """The page, if it still is as it was."""
        if not self._turn.acquire(blocking=False):
            return None
        try:
            at, pages = time.monotonic(), dict(self._pages)
            changed = self._compared(bridge, pages)
            for each, page in pages.items():
                if each in changed or at - page.asked_at > FORGOTTEN_AFTER_SECONDS:
                    self._pages.pop(each, None)
            self._asked_at = at
            return self._pages.get(public_id)
        finally:
            self._turn.release()

    def _is_as_it_was(self, bridge: Bridge, public_id: str, page: _Page) -> bool:
        """A page that is not is read anew, or forgotten with the next question of all."""
        return not self._compared(bridge, {public_id: page})

    def _compared(self, bridge: Bridge, pages: Mapping[str, _Page]) -> set[str]:
        """Those that have changed; the others are as of now."""
        writes = bridge.store.writes
        with bridge.store.read() as tx:
            rows, paused = invoices.as_shown(tx, pages), paused_beside(tx, bridge)
        changed = {each for each, page in pages.items() if rows.get(each) != page.seen[0].row}
        for page in (pages[each] for each in pages.keys() - changed):
            known = page.seen[0]
            page.seen = (known if known.paused == paused else replace(known, paused=paused), writes)
        return changed

    def _read(self, bridge: Bridge, public_id: str) -> Known:
        writes = bridge.store.writes
        known = known_of(bridge, public_id)
        # What was written meanwhile may be newer than what was read. And what goes back to a payer changes by itself.
        if writes == bridge.store.writes and not known.may_go_back and self._turn.acquire(blocking=False):
            try:
                while len(self._pages) >= MOST_PAGES:
                    del self._pages[next(iter(self._pages))]
                self._pages[public_id] = _Page(seen=(known, writes))
            finally:
                self._turn.release()
        return known
