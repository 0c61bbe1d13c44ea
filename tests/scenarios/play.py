"""A scenario's bridge in a test: the real flows and the real adapters over HTTP, one step after the other, no threads.

Owns the wiring and what each party can see; must not decide nor repeat any rule of the bridge.
"""

import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from bridge.books.keep_books import number_events, seal_audit
from bridge.chain.esplora import EsploraReader
from bridge.config import read_offering, read_rules
from bridge.context import Bridge, Chain
from bridge.core.errors import BridgeError
from bridge.core.evidence import Answer
from bridge.core.rail import Rail
from bridge.invoices.billing_change import note_billing_change
from bridge.invoices.deliver import deliver_due
from bridge.invoices.inbox import receive_callback
from bridge.invoices.observe import look
from bridge.invoices.open_invoice import NewInvoice, open_invoice
from bridge.invoices.pay import requote
from bridge.invoices.poll import answer_doorbells, poll_due
from bridge.invoices.read_invoices import invoice_by_id
from bridge.outbound import Limits
from bridge.rails import rails_of
from bridge.rails.subtc.client import SubtcWallet
from bridge.rates.reading import Reading
from bridge.rates.sources import HttpPriceSource, RateReader
from bridge.store import invoices
from bridge.upkeep.watch import WatchedClock, watch_clock
from sandbox.play import FlowDesk
from sandbox.scenario import Refusal, Scenario
from tests.builders import build_bridge, build_merchant, gateway_rail
from tests.fakes import SettableClock, answer
from tests.flows.world import settings_for

START = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
KEY = "SUBTC-KEY-" + "5a" * 24
WALLET = "w_" + "5a" * 22
CURRENCIES = ("USD", "RUB", "JPY", "KWD")
OWNER = "scenario"
QUICK = Limits(connect_seconds=2, read_seconds=2, deadline_seconds=4)
SHAPES = {
    "alpha": ("/data/{currency}/last", "/data/{currency}/time"),
    "beta": ("/bitcoin/{currency_lower}", None),
    "gamma": ("/result/0/price", None),
}


class SandboxHttp:
    """The sandbox's control surface; its clock is set to the scenario's."""

    def __init__(self, url: str):
        self._url, self._http = url, requests.Session()
        self._http.trust_env = False

    def control(self, command: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answered = self._http.post(f"{self._url}/_control/{command}", json=dict(body), timeout=10)
        assert answered.status_code == 200, answered.text
        return dict(answered.json())

    def clock_to(self, seconds: int) -> None:
        self.control("clock", {"set": START.timestamp() + seconds})

    def wallet(self) -> dict[str, int]:
        state = self._http.get(f"{self._url}/_control/state", timeout=10).json()
        return dict(state["wallets"][0])

    def lightning_sat(self) -> int:
        """What came for good to the Lightning wallets, of each payment the whole satoshi."""
        made = self._http.get(f"{self._url}/_control/ln_state", timeout=10).json()["payments"]
        return sum(int(each["amount"]) // 1_000 for each in made if each["status"] == "success")

    def close(self) -> None:
        self._http.close()


class RecordingBilling:
    """The merchant's endpoint: remembers what was delivered; `statuses` are the next answers, 0 for none."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.statuses: list[int] = []

    def notify(self, merchant: str, *, event_id: str, body: bytes, now: datetime) -> Answer:
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.told.append(json.loads(body))
            return answer("delivered", 200)
        return answer("parked" if status in (401, 409, 422) else "retry", status or None)


def build(
    database_url: str,
    scenario: Scenario,
    url: str,
    *,
    network: str = "test",
    reader: Chain | None = None,
    beside: str = "",
) -> "FlowBridge":
    """A bridge with the scenario's policy over the sandbox at `url`; `reader` instead of its Esplora views, and `beside` the
    rail of the second way.
    """
    world_clock, clock, billing = SettableClock(START), SettableClock(START), RecordingBilling()
    policy = read_rules(scenario.policy)
    sources = [
        HttpPriceSource(
            name=name,
            url_template=f"{url}/prices/{name}?currency={{currency}}",
            reading=Reading(pointer=at, time_pointer=t),
        )
        for name, (at, t) in SHAPES.items()
    ]
    gateway = SubtcWallet(base_url=url, key=KEY, network=network, wallet_id=WALLET, limits=QUICK)
    views = [f"{url}/{view}" for view in scenario.views]
    bridge = build_bridge(
        database_url,
        rails=(gateway_rail(gateway, WALLET, calls_per_minute=10_000), *rails_beside(scenario, url, beside)),
        chain=(reader or EsploraReader(base_urls=views)) if views else None,
        network=network,
        rates=RateReader(sources, keep_seconds=0),
        billing=billing,
        clock=clock,
        monotonic=lambda: world_clock.now.timestamp(),
        merchants={
            "shop": build_merchant(currencies=CURRENCIES, policy=policy, offering=read_offering(scenario.offering))
        },
    )
    return FlowBridge(bridge, world_clock, clock, billing)


def rails_beside(scenario: Scenario, url: str, rail: str) -> tuple[Rail, ...]:
    """The second way's rail as the settings name it, at the sandbox."""
    section = {rail: scenario.beside.get(rail, {})} if rail else {}
    return tuple(each for each in rails_of(settings_for(url, "sqlite:///not-opened.db", **section)) if each.is_beside)


class FlowBridge:
    """The Inside of a test. Everything is done at once, so patience is not needed."""

    patience_s = 0.0

    def __init__(self, bridge: Bridge, world_clock: SettableClock, clock: SettableClock, billing: RecordingBilling):
        self.bridge, self._billing_port = bridge, billing
        self._world_clock, self._clock, self._watched = world_clock, clock, WatchedClock()
        self.ids: dict[str, str] = {}
        self._keys = itertools.count(1)
        self._is_working = True
        self._desk = FlowDesk(bridge)

    def clock_to(self, seconds: int, *, ahead: int) -> None:
        self._world_clock.now = START + timedelta(seconds=seconds)
        self._clock.now = self._world_clock.now + timedelta(seconds=ahead)

    def pause(self) -> None:
        """Nothing runs beside the test."""

    def open(self, name: str, wanted: Mapping[str, Any]) -> None:
        asked = dict(wanted)
        request = NewInvoice.of(
            billing_payment_id=f"bill-{name}",
            amount_text=str(asked.pop("amount")),
            currency=asked.pop("currency"),
            customer_id=asked.pop("customer", ""),
            **asked,
        )
        merchant = self.bridge.merchants["shop"]
        key = f"bm-{name}-{next(self._keys)}"
        try:
            answered = open_invoice(self.bridge, merchant=merchant, request=request, key=key, body_sha256="0" * 64)
        except BridgeError as error:
            raise Refusal(error.code) from None
        self.ids[name] = json.loads(answered.body)["id"]

    def work(self) -> None:
        """What a worker does until nothing is left to do now."""
        if not self._is_working:
            return
        watch_clock(self.bridge, self._watched, owner=OWNER)
        poll_due(self.bridge, owner=OWNER, limit=100, submit=_at_once)
        for invoice_id in self.ids.values():
            look(self.bridge, invoice_id)
        for _ in range(50):
            if not deliver_due(self.bridge, owner=OWNER, limit=100, submit=_at_once):
                break
        number_events(self.bridge, owner=OWNER)
        seal_audit(self.bridge, owner=OWNER)

    def invoice(self, name: str) -> dict[str, Any]:
        return invoice_by_id(self.bridge, "shop", self.ids[name])

    def act(self, verb: str, name: str, details: Mapping[str, Any]) -> None:
        try:
            getattr(self, f"_{verb}")(name, dict(details))
        except BridgeError as error:
            raise Refusal(error.code) from None

    def _requote(self, name: str, details: dict[str, Any]) -> None:
        with self.bridge.store.read() as tx:
            public_id = invoices.find(tx, id=self.ids[name]).public_id  # type: ignore[union-attr]
        requote(self.bridge, public_id)

    def _offer(self, name: str, details: dict[str, Any]) -> None:
        self._desk.offer(self.ids[name])

    def _billing(self, name: str, details: dict[str, Any]) -> None:
        note_billing_change(
            self.bridge,
            "shop",
            self.ids[name],
            change=details["change"],
            amount_text=details.get("amount"),
            currency=details.get("currency"),
        )

    def _answers(self, name: str, details: dict[str, Any]) -> None:
        self._billing_port.statuses = list(details["statuses"])

    def _callback(self, name: str, details: dict[str, Any]) -> None:
        token = self.bridge.callback_token(self.ids[name])
        body = str(details.get("body", "{}")).encode()
        source = details.get("source", "subtc")
        for _ in range(details.get("times", 1)):
            receive_callback(self.bridge, token=token, headers={}, body=body, signature="unchecked", source=source)
        answer_doorbells(self.bridge, owner=OWNER, limit=10, submit=_at_once)

    def _rule(self, name: str, details: dict[str, Any]) -> None:
        self._desk.rule(self.ids[name], **details)

    def _worker(self, name: str, details: dict[str, Any]) -> None:
        self._is_working = details["state"] == "running"

    def seen(self, name: str, wanted: frozenset[str]) -> dict[str, Any]:
        """What each party sees of one invoice now; "told" is what its endpoint really took."""
        shown = self.invoice(name)
        return {
            **{key: shown[key] for key in ("status", "exception", "hold", "reason")},
            **{key: shown[f"{key}_sat"] for key in ("received", "confirmed", "remaining")},
            **{"due": shown["quote"]["due_sat"], "rate": shown["quote"]["rate"], "quote": shown["quote"]["version"]},
            **self._desk.sights(self.ids[name], wanted),
            "told": [_short(e) for e in self._billing_port.told if e["invoice"]["id"] == self.ids[name]],
        }


def _short(event: Mapping[str, Any]) -> str:
    return str(event["type"]).removeprefix("invoice.")


def _at_once(work: Any) -> None:
    work()
