"""Playing a scenario against running programs: the sandbox and a bridge, both only over HTTP, watched by a person.

Owns that way of acting and seeing; must not import the bridge: what HTTP does not offer (rulings, books, stories) comes
from the `Desk` that the command brings along.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sandbox.clock import turn
from sandbox.demo import call
from sandbox.scenario import Refusal, ScenarioFailed

PAUSE_S = 0.2
# A worker that hears no doorbell looks at an address with money on its way every 30 s.
PATIENCE_S = 45.0


class Desk(Protocol):
    """What an operator does and sees beside the HTTP interface."""

    def rule(self, invoice_id: str, *, kind: str, decision: str, actor: str, reason: str) -> None: ...

    def sights(self, invoice_id: str, wanted: frozenset[str]) -> dict[str, Any]: ...

    def offer(self, invoice_id: str) -> None: ...

    def check_again(self, invoice_id: str) -> None: ...

    def worker(self, state: str) -> None: ...


class Travel:
    """The time of everybody: the sandbox is told over HTTP, the bridge reads the file that this writes."""

    def __init__(self, sandbox: RunningSandbox, file: Path) -> None:
        self._sandbox, self._file = sandbox, file
        self._before_s = int(file.read_text().strip() or 0) if file.exists() else 0
        self._offset_s, self._bridge_ahead_s = self._before_s, 0
        self._started = time.time()

    def to(self, seconds: int) -> None:
        """Let `seconds` have passed since the start; time that has passed by itself is not taken back."""
        ahead_s = max(0, round(seconds - (time.time() - self._started)))
        self._offset_s = max(self._before_s + ahead_s, self._offset_s)
        self._write()
        self._sandbox.control("clock", {"set": time.time() + self._offset_s})

    def put_bridge_ahead(self, seconds: int) -> None:
        """The bridge's clock alone is so wrong."""
        self._bridge_ahead_s = seconds
        self._write()

    def _write(self) -> None:
        turn(self._file, self._offset_s + self._bridge_ahead_s)


class RunningSandbox:
    """The control surface of a running sandbox."""

    def __init__(self, url: str, clock_file: Path) -> None:
        self._url = url.rstrip("/")
        self.travel = Travel(self, clock_file)

    def control(self, command: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answered = call(f"{self._url}/_control/{command}", dict(body))
        if answered.status != 200:
            raise ScenarioFailed(f"the sandbox refused {command}: {answered.text()[:200]}")
        return dict(answered.json())

    def watches(self) -> list[dict[str, Any]]:
        return list(call(f"{self._url}/_control/watches").json()["watches"])

    def clock_to(self, seconds: int) -> None:
        self.travel.to(seconds)


class RunningBridge:
    """A bridge behind its HTTP interface, with its own worker."""

    patience_s = PATIENCE_S

    def __init__(self, url: str, *, api_key: str, sandbox: RunningSandbox, desk: Desk) -> None:
        self._url, self._sandbox, self._desk = url.rstrip("/"), sandbox, desk
        self._key = {"Authorization": f"Bearer {api_key}"}
        self._run = secrets.token_hex(4)
        self.ids: dict[str, str] = {}

    def clock_to(self, seconds: int, *, ahead: int) -> None:
        """The file that the sandbox's travel writes is the bridge's clock too."""
        self._sandbox.travel.put_bridge_ahead(ahead)

    def pause(self) -> None:
        time.sleep(PAUSE_S)

    def work(self) -> None:
        """The bridge's own worker does it; as an operator would, ask it to look now and not within the hour."""
        for invoice_id in self.ids.values():
            self._desk.check_again(invoice_id)

    def open(self, name: str, wanted: Mapping[str, Any]) -> None:
        asked = dict(wanted)
        customer = {"id": asked.pop("customer", ""), "tier": asked.pop("tier", "")}
        body = {"billing_payment_id": f"scenario-{self._run}-{name}", "customer": customer, **asked}
        key = {"Idempotency-Key": f"scn-{secrets.token_hex(8)}"}
        self.ids[name] = self._call("/v1/invoices", body, headers=key)["id"]

    def invoice(self, name: str) -> dict[str, Any]:
        return self._call(f"/v1/invoices/{self.ids[name]}")

    def act(self, verb: str, name: str, details: Mapping[str, Any]) -> None:
        getattr(self, f"_{verb}")(name, dict(details))

    def seen(self, name: str, wanted: frozenset[str]) -> dict[str, Any]:
        """What the HTTP interface shows, and what the desk adds."""
        shown = self.invoice(name)
        page = call(shown["payment_url"] + "/status").json()
        over_http = {
            **{key: shown[key] for key in ("status", "exception", "hold", "reason")},
            **{key: shown[f"{key}_sat"] for key in ("received", "confirmed", "remaining")},
            **{"page": page["reason"], "asks": page["shown_sat"]},
            **{"due": shown["quote"]["due_sat"], "rate": shown["quote"]["rate"], "quote": shown["quote"]["version"]},
        }
        return over_http | self._desk.sights(self.ids[name], wanted)

    def _requote(self, name: str, details: dict[str, Any]) -> None:
        answered = call(self.invoice(name)["payment_url"] + "/quote", {})
        if answered.status >= 400:
            raise Refusal("price_unavailable" if answered.status == 503 else str(answered.status))

    def _offer(self, name: str, details: dict[str, Any]) -> None:
        self._desk.offer(self.ids[name])

    def _billing(self, name: str, details: dict[str, Any]) -> None:
        self._call(f"/v1/invoices/{self.ids[name]}/billing-changes", details)

    def _answers(self, name: str, details: dict[str, Any]) -> None:
        raise ScenarioFailed("this scenario scripts the billing system's answers, which only a test can")

    def _callback(self, name: str, details: dict[str, Any]) -> None:
        address = self.invoice(name)["address"]
        urls = [watch["callback_url"] for watch in self._sandbox.watches() if watch["address"] == address]
        if not urls:
            raise ScenarioFailed("no watch is armed for this address yet")
        for _ in range(details.get("times", 1)):
            self._sandbox.control("forge", {"callback_url": urls[-1], "body": details.get("body", "{}")})

    def _rule(self, name: str, details: dict[str, Any]) -> None:
        self._desk.rule(self.ids[name], **details)

    def _worker(self, name: str, details: dict[str, Any]) -> None:
        self._desk.worker(details["state"])

    def _call(self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        answered = call(self._url + path, body, headers={**self._key, **(headers or {})})
        try:
            content = dict(answered.json())
        except (json.JSONDecodeError, ValueError):
            raise ScenarioFailed(f"{path}: {answered.status} {answered.text()[:200]}") from None
        if answered.status >= 400:
            raise Refusal(str(content.get("code", answered.status)))
        return content
