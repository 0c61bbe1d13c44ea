"""Pages that ask again and again: while nothing of their invoices changes, no question reaches the database.

Owns what this process remembers of them; what time alone changes is told by the view, which is made anew for each answer.
"""

import threading
import time
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
    known: Known
    asked_at: float = field(default_factory=time.monotonic)


class Polled:
    """Threads may share it. Of all pages together it is asked once per pause, and after whatever this process has written, whether
    anything has changed: one thread asks, and who comes meanwhile reads for itself.
    """

    def __init__(self) -> None:
        self._pages: dict[str, _Page] = {}
        self._turn = threading.Lock()
        # When it was asked last, and how much this process had written then.
        self._asked = (float("-inf"), 0)

    def view(self, bridge: Bridge, public_id: str) -> PayView:
        """Raises Refused("unknown_invoice")."""
        now = bridge.clock()
        return view_of(bridge, **vars(self._known(bridge, public_id)), now=now)

    def _known(self, bridge: Bridge, public_id: str) -> Known:
        page = self._pages.get(public_id)
        if page is not None and self._is_due(bridge):
            page = self._asked_anew(bridge, public_id)
        if page is None:
            return self._read(bridge, public_id)
        page.asked_at = time.monotonic()
        return page.known

    def _is_due(self, bridge: Bridge) -> bool:
        at, writes = self._asked
        return writes != bridge.store.writes or time.monotonic() - at >= PAUSE_SECONDS

    def _asked_anew(self, bridge: Bridge, public_id: str) -> _Page | None:
        """The page, if it still is as it was."""
        if not self._turn.acquire(blocking=False):
            return None
        try:
            at, writes, pages = time.monotonic(), bridge.store.writes, dict(self._pages)
            with bridge.store.read() as tx:
                rows, paused = invoices.as_shown(tx, pages), paused_beside(tx, bridge)
            for each, page in pages.items():
                if rows.get(each) != page.known.row or at - page.asked_at > FORGOTTEN_AFTER_SECONDS:
                    self._pages.pop(each, None)
                elif page.known.paused != paused:
                    page.known = replace(page.known, paused=paused)
            self._asked = (at, writes)
            return self._pages.get(public_id)
        finally:
            self._turn.release()

    def _read(self, bridge: Bridge, public_id: str) -> Known:
        writes = bridge.store.writes
        known = known_of(bridge, public_id)
        # What was written meanwhile may be newer than what was read. And what goes back to a payer changes by itself.
        if writes == bridge.store.writes and not known.may_go_back and self._turn.acquire(blocking=False):
            try:
                while len(self._pages) >= MOST_PAGES:
                    del self._pages[next(iter(self._pages))]
                self._pages[public_id] = _Page(known=known)
            finally:
                self._turn.release()
        return known
