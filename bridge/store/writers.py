"""Who writes to a file next, and whose changes are committed together.

Owns the queue of one process's writers and the order in a group; must not know what a transaction is.
"""

import threading
from collections import deque
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

# So many at most: other programs wait for all of them.
MOST_TOGETHER = 8


@dataclass(kw_only=True, eq=False)
class _Turn:
    joins: bool
    durable: bool
    lock: threading.Lock = field(default_factory=threading.Lock)
    group: "Group | None" = None


@dataclass(kw_only=True, eq=False)
class Group:
    """Writers one behind another in one transaction. None of them goes on before it is committed; where it is not, none of them has
    written anything.
    """

    opened: AbstractContextManager[Any]
    tx: Any
    durable: bool
    members: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)
    trouble: BaseException | None = None


class FairLock:
    """A first-come-first-served lock: SQLite's own waiting is unfair and lets a writer starve for half a second."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[_Turn] = deque()
        self._is_held = False

    def acquire(self, *, joins: bool = False, durable: bool = True) -> Group | None:
        """Who `joins` may be given the group of the one before, one that is `durable` where that is wanted."""
        with self._guard:
            if not self._is_held:
                self._is_held = True
                return None
            turn = _Turn(joins=joins, durable=durable)
            turn.lock.acquire()
            self._waiting.append(turn)
        turn.lock.acquire()
        return turn.group

    def release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().lock.release()
            else:
                self._is_held = False

    def hand_over(self, group: Group) -> bool:
        """Gives the lock to the next one with the group, if there is one who joins it."""
        with self._guard:
            following = self._waiting[0] if self._waiting else None
            if following is None or not following.joins or (following.durable and not group.durable):
                return False
            self._waiting.popleft()
            following.group = group
            following.lock.release()
            return True
