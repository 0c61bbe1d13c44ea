"""One sandbox world: the chain, the gateway, prices, knobs, faults and the lock that all of them share.

Must not know HTTP. Nothing outlives the process.
"""

from __future__ import annotations

import random
import secrets
import threading
from collections import deque
from collections.abc import Iterable

from sandbox.addresses import HRP
from sandbox.callbacks import Callbacks
from sandbox.chain import Chain
from sandbox.clock import Clock
from sandbox.faults import FaultTable
from sandbox.gateway import Gateway
from sandbox.knobs import Knobs
from sandbox.lightning import Lightning
from sandbox.node import NodeRpc
from sandbox.node_chain import NodeChain
from sandbox.prices import Prices
from sandbox.record import Call

KEPT_CALLS = 5_000


class World:
    """Everything a sandbox remembers. `changed` wakes blocking waits; hold `lock` to read or change anything.

    `net` is test (default), regtest, or main, the last only with `allow_main`: a person who is shown a random
    valid `bc1q` address can burn real money (SUBTC contract 12.1). `api_key` and `wallet_id` preset one account, `lnbits` one
    Lightning wallet: its id, invoice key and admin key.
    `callback_hosts` are hosts besides loopback that callbacks may go to. With `node` the chain is that regtest node's.
    """

    def __init__(
        self,
        *,
        net: str = "test",
        allow_main: bool = False,
        seed: int | None = None,
        api_key: str | None = None,
        wallet_id: str | None = None,
        lnbits: tuple[str, str, str] | None = None,
        callback_hosts: Iterable[str] = (),
        knobs: dict[str, object] | None = None,
        node: NodeRpc | None = None,
    ) -> None:
        if net not in HRP:
            raise ValueError(f"net must be one of {', '.join(HRP)}")
        if net == "main" and not allow_main:
            raise ValueError("net main needs allow_main: money sent to a random main address is lost")
        if node is not None and net != "regtest":
            raise ValueError("a node of one's own is on net regtest")
        self.net, self.node = net, node
        self.seed, self.api_key, self.wallet_id, self.lnbits = seed, api_key, wallet_id, lnbits
        self.first_knobs = dict(knobs or {})
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.stopping = threading.Event()
        self.clock = Clock()
        self.callbacks = Callbacks(self, hosts=callback_hosts)
        self.reset()

    def reset(self, *, at: float | None = None) -> None:
        """Forget everything; the presets and first knobs are back. The new world begins now, or at the time `at`."""
        with self.lock:
            rng = random.Random(secrets.randbits(128) if self.seed is None else self.seed)
            self.rng = rng
            self.clock.offset_s = 0.0
            if at is not None:
                self.clock.set(at)
            self.knobs = Knobs()
            self.knobs.turn(self.first_knobs)
            self.faults = FaultTable()
            self.chain = (
                NodeChain(self.node, rng, self.clock.now) if self.node else Chain(self.net, rng, self.clock.now)
            )
            self.gateway = Gateway(net=self.net, chain=self.chain, rng=rng)
            self.lightning = Lightning(self)
            self.prices = Prices()
            self.calls: deque[Call] = deque(maxlen=KEPT_CALLS)
            self.callbacks.forget()
            self._preset()
            self.changed.notify_all()

    def chain_changed(self, addresses: Iterable[str] | None = None) -> None:
        """Tell waits and watches; `addresses` None means any address may have changed. Hold the lock."""
        self.callbacks.check(addresses)
        self.changed.notify_all()

    def clock_moved(self) -> None:
        """Tell everything that waits for a time. Hold the lock."""
        self.callbacks.wake()
        self.changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait in real time, without the lock, until `seconds` are over or the world stops."""
        if seconds > 0:
            self.stopping.wait(seconds)

    def close(self) -> None:
        """Stop waits and callback threads; safe to call twice."""
        self.stopping.set()
        with self.lock:
            self.clock_moved()

    def _preset(self) -> None:
        if self.lnbits:
            self.lightning.create_wallet("preset", self.lnbits)
        if self.api_key:
            account = self.gateway.create_key(self.api_key)
            if self.wallet_id:
                self.gateway.create_wallet(account, net=self.net, version="4.2", wallet_id=self.wallet_id)
