"""The worker: one loop over the jobs, hands in a thread pool, leases in the database.

Owns the order of jobs and the way to stop; must not know what a job does inside.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from bridge.books.keep_books import number_events, seal_audit
from bridge.books.purge import purge_due
from bridge.books.reconcile import reconcile_due
from bridge.books.verify_audit import verify_due
from bridge.context import Bridge
from bridge.invoices.chain import follow_tip
from bridge.invoices.deliver import deliver_due
from bridge.invoices.poll import answer_doorbells, arm_watches, poll_due, sense_balance
from bridge.invoices.targets import fill_spare_addresses
from bridge.logs import log
from bridge.payouts.outcome import confirm_payouts
from bridge.payouts.send_payouts import send_payouts
from bridge.payouts.settle_unknown import watch_unknown
from bridge.payouts.sweep import sweep_due
from bridge.payouts.treasury import read_balances
from bridge.people.policy import in_force, take_file
from bridge.upkeep.after_restore import give_back_leases
from bridge.upkeep.watch_clock import WatchedClock, watch_clock

# The pause grows while there is nothing to do, so that a burst is met at once and an idle night costs nothing.
SHORTEST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.5
LISTEN_SECONDS = 0.2
SEAL_PAUSE_SECONDS = 0.5
# Money leaves slowly anyway: a busy hour of payers is not slowed by asking after it.
MONEY_OUT_PAUSE_SECONDS = 1
BOOKS_PAUSE_SECONDS = 5
POLICY_PAUSE_SECONDS = 1


class Hands:
    """A pool that never takes more than it can do: what is claimed is being worked on, not queued behind a slow peer.

    `done` is set whenever a work has ended: what it wrote may be work for somebody else.
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
        except Exception:
            log("work.failed", level=logging.ERROR, exc_info=True)
        finally:
            with self._lock:
                self._free += 1
            if self._done is not None:
                self._done.set()

    def drain(self) -> None:
        """Waits for what is under way; nothing new is taken."""
        self._pool.shutdown(wait=True)


class Worker:
    """One worker process. `run` returns after `stop`, with every lease given back."""

    def __init__(self, bridge: Bridge, *, threads: int = 8, name: str = ""):
        self._bridge = bridge
        self.owner = name or bridge.new_id("wrk")
        # Looks and deliveries have their own hands: a slow receiver cannot keep us from seeing money.
        # And more hands carry than look, so that a few dead endpoints at a time leave some free.
        self._wake = threading.Event()
        self._lookers, self._carriers = Hands(threads, done=self._wake), Hands(2 * threads, done=self._wake)
        # Whatever else calls an outside world has one hand for all: a gateway that hangs must not stop this loop.
        self._runner = Hands(1)
        self._treasurer = Hands(1)
        self._money_out_at = time.monotonic()
        self._bookkeeper = Hands(1)
        self._books_at = time.monotonic()
        self._seal_at = time.monotonic()
        self._policy_at = time.monotonic()
        self._watched = WatchedClock()
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
        listener.join()
        self._lookers.drain()
        self._carriers.drain()
        self._treasurer.drain()
        self._bookkeeper.drain()
        self._runner.drain()
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
        done = [self._attempt(name, job) for name, job in self._jobs().items()]
        return any(done)

    def _jobs(self) -> dict[str, Callable[[], int]]:
        bridge, owner = self._bridge, self.owner
        return {
            # First: what it brings back is found by those that follow.
            "clock": lambda: watch_clock(bridge, self._watched, owner=owner),
            "doorbells": lambda: self._hand_out(answer_doorbells, self._lookers),
            "poll": lambda: self._hand_out(poll_due, self._lookers),
            "deliver": lambda: self._hand_out(deliver_due, self._carriers),
            "errands": self._send_errands,
            "number": lambda: number_events(bridge, owner=owner),
            "books": self._keep_books,
            "money_out": self._money_out,
            "seal": self._seal,
        }

    def _hand_out(self, job: Callable[..., int], hands: Hands) -> int:
        """Claims as much as there are free hands for. Without one nothing is asked: the first that ends wakes the loop."""
        free = hands.free
        return job(self._bridge, owner=self.owner, limit=free, submit=hands.submit) if free else 0

    def _is_under_policy(self) -> bool:
        """Looks once in a while which version is in force. While that was never known nothing is done by the file alone."""
        bridge = self._bridge
        is_known = bridge.policy_file is None or bridge.policy_number > 0
        if time.monotonic() >= self._policy_at:
            self._policy_at = time.monotonic() + POLICY_PAUSE_SECONDS
            try:
                self._bridge = in_force(bridge) if is_known else take_file(bridge)
            except Exception:
                log("policy.unread", level=logging.ERROR, exc_info=True)
                return is_known
        return is_known or self._bridge is not bridge

    def _seal(self) -> int:
        """Many rows at a time: nobody waits for the seal, and sealing each by itself would cost a commit per payment."""
        if time.monotonic() < self._seal_at:
            return 0
        self._seal_at = time.monotonic() + SEAL_PAUSE_SECONDS
        return seal_audit(self._bridge, owner=self.owner)

    def _send_errands(self) -> int:
        if self._runner.free:
            self._runner.submit(self._run_errands)
        return 0

    def _run_errands(self) -> None:
        """Tip, watches and spare addresses, round after round while there is work."""
        owner = self.owner
        errands: dict[str, Callable[[], int]] = {
            "tip": lambda: follow_tip(self._bridge, owner=owner),
            "balance": lambda: sense_balance(self._bridge, owner=owner),
            "watch": lambda: arm_watches(self._bridge, limit=2),
            "spare": lambda: fill_spare_addresses(self._bridge, owner=owner),
        }
        was_busy = True
        while was_busy and not self._stopping.is_set():
            was_busy = any([self._attempt(name, errand) for name, errand in errands.items()])

    def _keep_books(self) -> int:
        """Reconciliation and purge have a hand of their own: they are long, seldom and never urgent."""
        if self._bookkeeper.free and time.monotonic() >= self._books_at:
            self._books_at = time.monotonic() + BOOKS_PAUSE_SECONDS
            self._bookkeeper.submit(self._all_books)
        return 0

    def _all_books(self) -> None:
        bridge, owner = self._bridge, self.owner
        self._attempt("purge", lambda: purge_due(bridge))
        self._attempt("audit", lambda: verify_due(bridge))
        while self._attempt("reconcile", lambda: reconcile_due(bridge, owner=owner)) and not self._stopping.is_set():
            pass

    def _money_out(self) -> int:
        """Payouts wait for the gateway in a hand of their own, one after the other; the loop waits for none of them."""
        if self._treasurer.free and time.monotonic() >= self._money_out_at:
            self._money_out_at = time.monotonic() + MONEY_OUT_PAUSE_SECONDS
            self._treasurer.submit(self._all_money_out)
        return 0

    def _all_money_out(self) -> None:
        bridge, owner = self._bridge, self.owner
        self._attempt("payouts", lambda: send_payouts(bridge, owner=owner))
        self._attempt("payouts_confirmed", lambda: confirm_payouts(bridge))
        self._attempt("payouts_unknown", lambda: watch_unknown(bridge, owner=owner))
        self._attempt("balances", lambda: read_balances(bridge, owner=owner))
        self._attempt("sweep", lambda: sweep_due(bridge, owner=owner))

    def _attempt(self, name: str, job: Callable[[], int]) -> bool:
        """A job that fails is logged and tried again on the next round; the other jobs go on."""
        try:
            return job() > 0
        except Exception:
            log("job.failed", level=logging.ERROR, exc_info=True, job=name)
            return False
