"""Watches and the callbacks they lead to: who is told, when, how often it is tried, and how it goes wrong.

Must not send anywhere but loopback and the hosts the operator named. The whole callback is undocumented for the real
gateway (SUBTC contract 6): body, tries and back-off are our own choices; it is unsigned because nothing says otherwise.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sandbox.addresses import random_address
from sandbox.faults import Fault

if TYPE_CHECKING:
    from sandbox.world import World

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
CALLBACK_TIMEOUT_S = 10.0
SENDERS = 8
KEPT = 5_000


@dataclass(kw_only=True, slots=True, eq=False)
class Watch:
    """`state` is watching, fired, expired or lost; nobody is told of an expiry (contract 10, EMU)."""

    number: int
    wallet_id: str
    net: str
    address: str
    expected_sat: int
    callback_url: str
    expires_at: float
    state: str = "watching"

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(kw_only=True, slots=True, eq=False)
class Delivery:
    """`state` is scheduled, sending, delivered, failed, dropped or refused."""

    number: int
    watch: int | None
    callback_url: str
    body: bytes
    due_at: float
    state: str = "scheduled"
    # How often it is tried; None is as the knob says.
    tries: int | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        shown: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return {**shown, "body": self.body.decode("utf-8", "replace")}


class Callbacks:
    """Watches by address, deliveries by due time. Methods that say so need the world's lock held."""

    def __init__(self, world: World, *, hosts: Iterable[str] = ()) -> None:
        self._world = world
        self._hosts = LOOPBACK | frozenset(hosts)
        self._due = threading.Condition(world.lock)
        self._senders: list[threading.Thread] = []
        self.forget()

    def forget(self) -> None:
        """Drop all watches and deliveries. Hold the lock, or be the only owner."""
        self.watches: deque[Watch] = deque(maxlen=KEPT)
        self.deliveries: deque[Delivery] = deque(maxlen=KEPT)
        self._active: dict[str, list[Watch]] = {}
        self._pending: list[Delivery] = []
        self._busy: list[Delivery] = []
        self._hurry = False
        self._watch_count = self._delivery_count = 0

    def watch(self, *, wallet_id: str, net: str, address: str, expected_sat: int, url: str, seconds: int) -> Watch:
        """Remember a watch; an address that is already funded fires at once (EMU). Hold the lock."""
        self._watch_count += 1
        watch = Watch(
            number=self._watch_count,
            wallet_id=wallet_id,
            net=net,
            address=address,
            expected_sat=expected_sat,
            callback_url=url,
            expires_at=self._world.clock.now() + seconds,
        )
        self.watches.append(watch)
        self._active.setdefault(address, []).append(watch)
        self.check((address,))
        return watch

    def check(self, addresses: Iterable[str] | None = None) -> None:
        """Fire what is reached, expire what is over; None looks at every watch. Hold the lock."""
        for address in list(self._active if addresses is None else addresses):
            if address in self._active:
                left = [watch for watch in self._active.pop(address) if not self._finish(watch)]
                if left:
                    self._active[address] = left

    def lose_watches(self) -> None:
        """The gateway restarted: watches are not persistent (EMU). Hold the lock."""
        for watches in self._active.values():
            for watch in watches:
                watch.state = "lost"
        self._active.clear()

    def wake(self) -> None:
        """The clock moved or the world stops. Hold the lock."""
        self.check()
        self._due.notify_all()

    def flush(self, timeout_s: float = 15.0) -> int:
        """Send everything now, retries without pause; returns how many deliveries ended. Takes the lock itself."""
        with self._world.lock:
            self.check()
            waiting = [*self._pending, *self._busy]
            self._hurry = True
            self._due.notify_all()
            self._world.changed.wait_for(lambda: not self._pending and not self._busy, timeout_s)
            self._hurry = False
            return sum(delivery.state not in ("scheduled", "sending") for delivery in waiting)

    def post(self, url: str, body: bytes) -> dict[str, Any]:
        """One attempt, without the lock: `{"status"}` or `{"error"}`. Redirects are not followed (EMU)."""
        parts = urlsplit(url)
        if parts.hostname not in self._hosts:
            return {"error": "refused: not a loopback host"}
        secure = parts.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        try:
            connection = connect(parts.hostname, parts.port, timeout=CALLBACK_TIMEOUT_S)
            try:
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("POST", target, body, {"Content-Type": "application/json"})
                with connection.getresponse() as answer:
                    return {"status": answer.status}
            finally:
                connection.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            return {"error": type(error).__name__}

    def _finish(self, watch: Watch) -> bool:
        world = self._world
        if world.clock.now() >= watch.expires_at:
            watch.state = "expired"
            return True
        received_sat = world.chain.received_sat(watch.address, min_conf=world.knobs.min_conf)
        if received_sat < watch.expected_sat:
            return False
        watch.state = "fired"
        self._schedule(watch, received_sat, world.faults.take("callback"))
        return True

    def _schedule(self, watch: Watch, received_sat: int, faults: list[Fault]) -> None:
        body = self._body(watch, received_sat, {fault.kind: fault for fault in faults})
        self.ring(watch.callback_url, body, faults, watch=watch.number)

    def ring(
        self,
        url: str,
        body: bytes,
        faults: list[Fault],
        *,
        watch: int | None = None,
        copies: int = 1,
        tries: int | None = None,
    ) -> list[Delivery]:
        """Send `body` as often as `copies` say, unless a fault says otherwise. Hold the lock."""
        by_kind = {fault.kind: fault for fault in faults}
        due_at = self._world.clock.now()
        if delay := by_kind.get("delay"):
            due_at += delay.seconds(30)
        if "duplicate" in by_kind:
            copies = int(by_kind["duplicate"].params.get("copies", 2))
        made = []
        for _ in range(copies):
            self._delivery_count += 1
            delivery = Delivery(
                number=self._delivery_count,
                watch=watch,
                callback_url=url,
                body=body,
                due_at=due_at,
                state="dropped" if "drop" in by_kind else "scheduled",
                tries=tries,
            )
            made.append(delivery)
            self.deliveries.append(delivery)
            if delivery.state == "scheduled":
                self._pending.append(delivery)
        self._start_senders()
        self._due.notify(copies)
        return made

    def _body(self, watch: Watch, received_sat: int, faults: dict[str, Fault]) -> bytes:
        if "not_json" in faults:
            return b"<html>payment received</html>"
        result: dict[str, Any] = {
            "address": watch.address,
            "callback_url": watch.callback_url,
            "coin": "btc",
            "expected_sat": watch.expected_sat,
            "net": watch.net,
            "reached": True,
            "received_sat": received_sat,
            "status": "confirmed",
            "wallet_id": watch.wallet_id,
        }
        if "wrong_address" in faults:
            result["address"] = random_address(self._world.net, self._world.rng)
        if "too_little" in faults:
            result["received_sat"] = watch.expected_sat // 2
        if self._world.knobs.callback_body == "envelope":
            result = {"ok": True, "request_id": self._world.gateway.request_id(), "result": result}
        return json.dumps(result, sort_keys=True).encode()

    def _start_senders(self) -> None:
        """Threads start with the first delivery, never in the app factory."""
        while self._pending and len(self._senders) < SENDERS and not self._world.stopping.is_set():
            thread = threading.Thread(target=self._send_forever, name="sandbox-callback", daemon=True)
            self._senders.append(thread)
            thread.start()

    def _send_forever(self) -> None:
        while (delivery := self._next()) is not None:
            outcome = self.post(delivery.callback_url, delivery.body)
            with self._world.lock:
                self._settle(delivery, outcome)

    def _next(self) -> Delivery | None:
        """Claim the next due delivery under the lock, so that two senders never take the same one."""
        with self._world.lock:
            while not self._world.stopping.is_set():
                now = self._world.clock.now()
                for delivery in self._pending:
                    if self._hurry or delivery.due_at <= now:
                        self._pending.remove(delivery)
                        self._busy.append(delivery)
                        delivery.state = "sending"
                        self._due.notify()  # another sender looks for what is left
                        return delivery
                nearest = min((delivery.due_at - now for delivery in self._pending), default=None)
                self._due.wait(None if nearest is None else max(0.001, nearest))
            return None

    def _settle(self, delivery: Delivery, outcome: dict[str, Any]) -> None:
        knobs, now = self._world.knobs, self._world.clock.now()
        delivery.attempts.append({"at": now, **outcome})
        if delivery not in self._busy:
            return  # reset came between: nothing of the old world is retried
        self._busy.remove(delivery)
        tried = len(delivery.attempts)
        if 200 <= outcome.get("status", 0) < 300:
            delivery.state = "delivered"
        elif "refused" in outcome.get("error", ""):
            delivery.state = "refused"
        elif tried >= (delivery.tries or knobs.callback_tries):
            delivery.state = "failed"
        else:
            delivery.state = "scheduled"
            delivery.due_at = now + knobs.callback_backoff_s[min(tried, len(knobs.callback_backoff_s)) - 1]
            self._pending.append(delivery)
            self._due.notify()
        self._world.changed.notify_all()
