"""The worker: one loop over the jobs, hands in a thread pool, leases in the database.

Owns the order of jobs and the way to stop; must not know what a job does inside.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from bridge.books.keep_books import add_up, archive_due, number_events, purge_due, seal_audit
from bridge.books.reconcile import reconcile_due
from bridge.books.verify import verify_due
from bridge.context import Bridge
from bridge.core.errors import Unavailable
from bridge.invoices.chain import follow_tip
from bridge.invoices.deliver import Courier, deliver_due
from bridge.invoices.mail_receipts import mail_receipts
from bridge.invoices.poll import (
    BESIDE_EVERY_SECONDS,
    answer_doorbells,
    arm_watches,
    due_now,
    poll_due,
    sense_balance,
    sense_beside,
)
from bridge.invoices.targets import fill_spare_addresses
from bridge.logs import log
from bridge.payouts.outcome import confirm_payouts, watch_unknown
from bridge.payouts.send_payouts import send_payouts
from bridge.payouts.sweep import sweep_due
from bridge.payouts.treasury import read_balances
from bridge.people.policy import in_force, take_file
from bridge.turns import give_back_leases
from bridge.upkeep.watch import WatchedClock, keep_generation, watch_clock, write_back

# The pause grows while there is nothing to do, so that a burst is met at once and an idle night costs nothing.
SHORTEST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.5
LISTEN_SECONDS = 0.2
CROWD_PAUSE_SECONDS = 0.02
POLICY_PAUSE_SECONDS = 1


@dataclass(frozen=True, kw_only=True)
class Round:
    """Jobs that follow one another, by the names that a log gives them. Each says how much it did.

    `hand`: waits for outside worlds, so it is one at a time in a hand of its own and the loop goes on; the loop does the others
    itself. `every_seconds`: not more often. `again`: round after round while there is work. `due`: only while `due_now` has that.
    """

    jobs: Mapping[str, Callable[["Worker"], int]]
    hand: str = ""
    every_seconds: float = 0
    due: str = ""
    again: bool = False


# Everything that a worker does, in the order of the loop. What a job waits for, which lease it needs and which mode stops it
# stands at its beginning.
ROUNDS = (
    # First: what it brings back is found by those that follow.
    Round(jobs={"clock": lambda w: watch_clock(w.bridge, w.watched, owner=w.owner)}),
    # Where books are to be compared it asks the gateway, which may hang.
    Round(hand="generation", jobs={"generation": lambda w: keep_generation(w.bridge)}, every_seconds=5),
    Round(hand="file", jobs={"write_back": lambda w: write_back(w.bridge)}, every_seconds=2),
    Round(jobs={"doorbells": lambda w: w.hand_out(answer_doorbells, w.lookers, courier=w.courier)}, due="doorbells"),
    Round(jobs={"poll": lambda w: w.hand_out(poll_due, w.lookers, courier=w.courier)}, due="looks"),
    Round(jobs={"deliver": lambda w: w.hand_out(deliver_due, w.carriers, courier=w.courier)}, due="deliveries"),
    Round(
        hand="errands",
        jobs={
            "tip": lambda w: follow_tip(w.bridge, owner=w.owner),
            "balance": lambda w: sense_balance(w.bridge, owner=w.owner),
            "spare": lambda w: fill_spare_addresses(w.bridge, owner=w.owner),
        },
        every_seconds=0.25,
        again=True,
    ),
    # Not again at once: what was opened meanwhile is taken together.
    Round(hand="watches", jobs={"watch": lambda w: arm_watches(w.bridge, limit=50)}, every_seconds=0.25),
    # A payer watches the page: this waits behind no gateway that hangs.
    Round(
        hand="beside",
        jobs={"beside": lambda w: sense_beside(w.bridge, owner=w.owner)},
        every_seconds=BESIDE_EVERY_SECONDS / 4,
    ),
    # Long, seldom and never urgent.
    Round(
        hand="books",
        jobs={
            "purge": lambda w: purge_due(w.bridge),
            "archive": lambda w: archive_due(w.bridge),
            "audit": lambda w: verify_due(w.bridge),
            "reconcile": lambda w: reconcile_due(w.bridge, owner=w.owner),
        },
        every_seconds=5,
        again=True,
    ),
    # Money leaves slowly anyway: a busy hour of payers is not slowed by asking after it.
    Round(
        hand="money_out",
        jobs={
            "payouts": lambda w: send_payouts(w.bridge, owner=w.owner),
            "payouts_confirmed": lambda w: confirm_payouts(w.bridge),
            "payouts_unknown": lambda w: watch_unknown(w.bridge, owner=w.owner),
            "balances": lambda w: read_balances(w.bridge, owner=w.owner),
            "sweep": lambda w: sweep_due(w.bridge, owner=w.owner),
        },
        every_seconds=1,
    ),
    # A mail server that hangs holds up nothing but letters.
    Round(hand="mail", jobs={"mail": lambda w: mail_receipts(w.bridge)}, every_seconds=2),
    # Many rows at a time: a reader of the feed asks every few seconds, nobody waits for the seal, and each by itself would cost
    # commits per payment. Doorbells do not wait for these commits.
    Round(
        hand="rows",
        jobs={
            "number": lambda w: number_events(w.bridge, owner=w.owner),
            "seal": lambda w: seal_audit(w.bridge, owner=w.owner),
        },
        every_seconds=0.5,
    ),
    # What is not added up yet is read beside the sums: a few seconds of it cost nobody anything. Not the hand of another round: in a
    # quiet hour the loop comes by no more often than that one is due, and finds the hand just taken.
    Round(hand="sums", jobs={"add_up": lambda w: add_up(w.bridge, owner=w.owner)}, every_seconds=2),
)


def _tell(action: str, trouble: Exception, **told: Any) -> None:
    """What passes, as a database that is away, by its name and in one line; a defect with its traceback."""
    if isinstance(trouble, Unavailable):
        cause = str(getattr(trouble.__cause__, "orig", trouble)).partition("\n")[0]
        log(action, level=logging.ERROR, code=trouble.code, detail=cause, **told)
    else:
        log(action, level=logging.ERROR, exc_info=True, **told)


class Hands:
    """A pool that never takes more than it can do: what is claimed is being worked on, not queued behind a slow peer.

    `done` is set when one of them is free again: more may wait for it.
    """

    def __init__(self, count: int, *, done: threading.Event | None = None):
        self._done = done
        self._pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix="hand")
        self._free = count
        self._lock = threading.Lock()

    @property
    def free(self) -> int:
        with self._lock:
            return self._free

    def submit(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._free -= 1
        # A context of its own: the trace that one work follows is not the next one's.
        self._pool.submit(copy_context().run, self._do, work)

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as trouble:
            _tell("work.failed", trouble)
        finally:
            with self._lock:
                was_free, self._free = self._free > 0, self._free + 1
            if self._done is not None and not was_free:
                self._done.set()

    def drain(self) -> None:
        """Waits for what is under way; nothing new is taken."""
        self._pool.shutdown(wait=True)


class Worker:
    """One worker process. `run` returns after `stop`, with every lease given back."""

    owner: str
    watched: WatchedClock
    # Looks and deliveries have their own hands: a slow receiver cannot keep us from seeing money.
    # And more hands carry than look, so that a few dead endpoints at a time leave some free.
    lookers: Hands
    carriers: Hands
    courier: Courier

    def __init__(self, bridge: Bridge, *, threads: int = 8, name: str = ""):
        self._bridge = bridge
        self.owner = name or bridge.new_id("wrk")
        self._wake = threading.Event()
        self.lookers, self.carriers = Hands(threads, done=self._wake), Hands(2 * threads, done=self._wake)
        self.courier = Courier(owner=self.owner, hands=self.carriers)
        # Whatever else calls an outside world has one hand for all: a gateway that hangs must not stop this loop.
        self._hands = {each.hand: Hands(1) for each in ROUNDS if each.hand}
        self._due_at = [time.monotonic() for _ in ROUNDS]
        self._policy_at = time.monotonic()
        self.watched = WatchedClock()
        self._stopping = threading.Event()

    @property
    def bridge(self) -> Bridge:
        """The bridge under the policy that this worker goes by now."""
        return self._bridge

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        log("worker.started", owner=self.owner)
        pause = SHORTEST_PAUSE_SECONDS
        gc.collect()
        gc.freeze()  # the program itself is no garbage, and looking it through holds everything up
        listener = threading.Thread(target=self._listen, name="listener")
        listener.start()
        while not self._stopping.is_set():
            self._wake.clear()
            was_busy = self.step()
            pause = SHORTEST_PAUSE_SECONDS if was_busy else min(1.1 * pause, LONGEST_PAUSE_SECONDS)
            if self._wake.wait(pause):
                pause = SHORTEST_PAUSE_SECONDS
                if self.lookers.free <= 0 or self.carriers.free <= 0:
                    # In a crowd hands end one after another: what they leave is claimed together, not each by itself.
                    self._stopping.wait(CROWD_PAUSE_SECONDS)
        listener.join()
        for hands in (self.lookers, self.carriers, *self._hands.values()):
            hands.drain()
        give_back_leases(self._bridge, owner=self.owner)
        # The price sources of the version in force are this worker's own; the rest is closed by who built it.
        self._bridge.rates.close()
        log("worker.stopped", owner=self.owner)

    def _listen(self) -> None:
        """Wakes the loop when another program announces work, where the database can say so."""
        with self._bridge.store.wake_ups() as wait_for_wake_up:
            while not self._stopping.is_set():
                if wait_for_wake_up(LISTEN_SECONDS):
                    self._wake.set()

    def step(self) -> bool:
        """Runs every job once, by the policy in force. True when there was work, so that the loop comes back at once."""
        if not self._is_under_policy():
            return False
        # Asked once, and not before what the clock brought back is there to be found.
        due, worked = None, False
        for number, each in enumerate(ROUNDS):
            if each.due and due is None:
                due = self._due()
            if not each.due or each.due in (due or ()):
                worked |= self._turn(number, each)
        return worked

    def _due(self) -> frozenset[str]:
        if self.lookers.free <= 0 and self.carriers.free <= 0:
            return frozenset()
        try:
            return due_now(self._bridge)
        except Exception as trouble:
            _tell("job.failed", trouble, job="due")
            return frozenset()

    def _turn(self, number: int, each: Round) -> bool:
        """Does a round that is due, or has its hand do it. True when there was work for the loop itself."""
        hand = self._hands.get(each.hand)
        if time.monotonic() < self._due_at[number] or (hand is not None and not hand.free):
            return False
        self._due_at[number] = time.monotonic() + each.every_seconds
        if hand is None:
            return self._go_round(each)
        hand.submit(lambda: self._go_on(each))
        return False

    def _go_round(self, each: Round) -> bool:
        return any([self._attempt(name, job) for name, job in each.jobs.items()])

    def _go_on(self, each: Round) -> None:
        while self._go_round(each) and each.again and not self._stopping.is_set():
            pass

    def hand_out(self, job: Callable[..., int], hands: Hands, **options: Any) -> int:
        """Claims as much as there are free hands for. Without one nothing is asked: the first that ends wakes the loop."""
        free = hands.free
        return job(self._bridge, owner=self.owner, limit=free, submit=hands.submit, **options) if free > 0 else 0

    def _is_under_policy(self) -> bool:
        """Looks once in a while which version is in force. While that was never known nothing is done by the file alone."""
        bridge = self._bridge
        is_known = bridge.policy_file is None or bridge.policy_number > 0
        if time.monotonic() >= self._policy_at:
            self._policy_at = time.monotonic() + POLICY_PAUSE_SECONDS
            try:
                self._bridge = in_force(bridge) if is_known else take_file(bridge)
            except Exception as trouble:
                _tell("policy.unread", trouble)
                return is_known
        return is_known or self._bridge is not bridge

    def _attempt(self, name: str, job: Callable[["Worker"], int]) -> bool:
        """A job that fails is logged and tried again on the next round; the other jobs go on."""
        try:
            return job(self) > 0
        except Exception as trouble:
            _tell("job.failed", trouble, job=name)
            return False
