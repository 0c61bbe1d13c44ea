"""Playing a scenario file against the running demo, and what an operator's desk sees of an invoice.

Owns that desk; the file's format and steps are `sandbox.scenario`'s.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.config import Settings, load_settings, read_offering, read_rules
from bridge.context import Bridge
from bridge.core.errors import BridgeError
from bridge.desk.explain import explain
from bridge.desk.resolve_review import resolve
from bridge.invoices.offer_beside import offer_beside
from bridge.invoices.pay import pay_view
from bridge.invoices.read_invoices import read_feed
from bridge.permit import set_mode
from bridge.runtime import build
from bridge.store import deliveries, invoices, ledger, reviews, targets
from sandbox.demo import demo_place, running, stay_up
from sandbox.scenario import Player, Refusal, Scenario, ScenarioFailed, load
from sandbox.scenario_http import RunningBridge, RunningSandbox

LOOK_TRIES, LOOK_PAUSE_SECONDS = 100, 0.05


class FlowDesk:
    """The operator's side of one bridge, by its flows."""

    def __init__(self, bridge: Bridge):
        self._bridge = bridge
        self._is_stopped = False

    def rule(self, invoice_id: str, *, kind: str, decision: str, actor: str, reason: str) -> None:
        """Rules on the newest item of a kind. Raises Refusal with the code."""
        with self._bridge.store.read() as tx:
            items = [item for item in reviews.of_invoice(tx, invoice_id) if item.kind == kind]
        if not items:
            raise Refusal("unknown_review")
        try:
            resolve(self._bridge, items[-1].id, decision=decision, actor=actor, reason=reason)
        except BridgeError as error:
            raise Refusal(error.code) from None

    def offer(self, invoice_id: str) -> None:
        """The payer asks to pay over Lightning. Raises Refusal with the code."""
        with self._bridge.store.read() as tx:
            row = invoices.find(tx, id=invoice_id)
        try:
            offer_beside(self._bridge, row.public_id if row is not None else "", "lightning")
        except BridgeError as error:
            raise Refusal(error.code) from None

    def check_again(self, invoice_id: str) -> None:
        """Makes the invoice due and waits, within reason, until the worker has looked at its address."""
        woken_at = self._bridge.clock()
        with self._bridge.store.write() as tx:
            invoices.wake(tx, invoice_id, now=woken_at)
        for _ in range(0 if self._is_stopped else LOOK_TRIES):
            with self._bridge.store.read() as tx:
                row = invoices.find(tx, id=invoice_id)
            if row is None or row.next_look_at > woken_at:
                return
            time.sleep(LOOK_PAUSE_SECONDS)

    def worker(self, state: str) -> None:
        """`stopped` keeps every worker from looking and telling, as long as the scenario wants it."""
        self._is_stopped = state == "stopped"
        mode = "read_only" if self._is_stopped else "normal"
        set_mode(self._bridge, scope="bridge", mode=mode, actor="scenario", reason="a scenario is played")

    def sights(self, invoice_id: str, wanted: frozenset[str]) -> dict[str, Any]:
        """Everything a scenario may expect that is not the invoice's own JSON."""
        with self._bridge.store.read() as tx:
            row = invoices.find(tx, id=invoice_id)
            if row is None:
                raise ScenarioFailed("the invoice is gone")
            items = reviews.of_invoice(tx, invoice_id)
            sent = deliveries.listing(tx, match={"invoice_id": invoice_id, "state": "delivered"}, limit=1_000)
            shown = {
                "quotes": " ".join(q.kind for q in invoices.quote_rows(tx, invoice_id)),
                "payments": sum(not p.replaced for p in invoices.payment_rows(tx, invoice_id)),
                "rule": row.rule,
                "confirmations": f"{row.confirmations_seen}/{row.confirmations_needed}",
                "reviews": sorted(item.kind for item in items if item.state == "open"),
                "ruled": [f"{item.kind}={item.decision}" for item in items if item.state == "resolved"],
                "ledger": ledger.balances(tx, invoice_id=invoice_id),
                "offers": max(len(targets.of_invoice(tx, invoice_id)) - 1, 0),
                "gap": row.gap or "",
            }
        if self._bridge.merchants[row.merchant].wants_push:
            shown["told"] = [_short(d.type) for d in sorted(sent, key=lambda d: d.sequence)]
        view = pay_view(self._bridge, row.public_id)
        shown |= {"page": view.reason, "asks": view.shown_sat, "events": self._events(row.merchant, invoice_id)}
        shown["ways"] = [f"{each.way}={each.code or each.state}" for each in view.ways]
        if "explain" in wanted:
            shown["explain"] = {lang: explain(self._bridge, invoice_id, lang=lang) for lang in ("en", "ru")}
        return shown

    def _events(self, merchant: str, invoice_id: str) -> list[str]:
        """The invoice's events as the merchant reads them in the feed."""
        found, after, has_more = list[str](), 0, True
        while has_more:
            page = read_feed(self._bridge, merchant, after=after, limit=500)
            found += [_short(e["type"]) for e in page["events"] if e.get("invoice", {}).get("id") == invoice_id]
            after, has_more = page["next_after"], page["has_more"]
        return found


def play_against_demo(path: Path, settings: Settings, bridge: Bridge, *, say: Callable[[str], None]) -> None:
    """Plays one file against the programs that `settings` name. Raises ScenarioFailed."""
    scenario, merchant = load(path), settings.merchants[0]
    if settings.clock_offset_file is None or settings.subtc is None:
        raise ScenarioFailed("the bridge is not the demo's: its settings need clock_offset_file and subtc")
    _require_policy(scenario, settings)
    sandbox = RunningSandbox(settings.subtc.base_url, Path(settings.clock_offset_file))
    inside = RunningBridge(
        settings.public_url, api_key=merchant.api_keys[0].get_secret_value(), sandbox=sandbox, desk=FlowDesk(bridge)
    )
    say(scenario.title)
    Player(scenario, outside=sandbox, inside=inside, say=say).play()
    say("Every expectation came true.")
    for name, invoice_id in inside.ids.items():
        say(f"{name}  {invoice_id}  {inside.invoice(name)['payment_url']}")


def play_in_new_demo(path: Path, *, directory: Path | None, once: bool, say: Callable[[str], None]) -> None:
    """Starts a demo with the file's policy and a clock that can jump, plays the file, and stays up unless `once`."""
    with demo_place(directory) as place, running(place, change=demo_change(path, place)) as demo:
        settings = load_settings(place / "config.yaml")
        bridge = build(settings)
        try:
            play_against_demo(path, settings, bridge, say=say)
        finally:
            bridge.close()
        if not once:
            stay_up(demo)


def demo_change(path: Path, place: Path) -> Callable[[dict[str, Any]], None]:
    """What a demo that is to play this file changes in its settings: policy, ways, evidence, currencies, a clock that can jump.

    The module in BILLmanager keeps real time and refuses messages from a clock that jumped, so it is not pushed to.
    """
    scenario = load(path)

    def change(settings: dict[str, Any]) -> None:
        settings["clock_offset_file"] = str(place / "clock")
        settings["prices"]["keep_seconds"] = 0
        for source in settings["prices"]["sources"]:
            source |= {"time_pointer": "/data/{currency}/time"} if source["name"] == "alpha" else {}
        settings["merchants"][0].pop("notify_url")
        settings["merchants"][0] |= {"policy": scenario.policy, "currencies": ["RUB", "USD", "EUR", "JPY", "KWD"]}
        settings["merchants"][0]["offering"] = scenario.offering
        settings["lnbits"] |= scenario.beside.get("lnbits", {})
        outside = settings["chain"]["esplora"][0].rpartition("/")[0]
        settings["chain"] = {"esplora": [f"{outside}/{view}" for view in scenario.views]}

    return change


def _require_policy(scenario: Scenario, settings: Settings) -> None:
    """A policy is fixed when an invoice opens, so the bridge must have been started with the scenario's."""
    if read_rules(scenario.policy) != settings.merchants[0].policy:
        raise ScenarioFailed(f"it has its own policy: start the demo with --scenario {scenario.path}")
    readers = len(settings.chain.esplora) + (settings.chain.core_rpc is not None)
    if read_offering(scenario.offering) != settings.merchants[0].offering:
        raise ScenarioFailed(f"it has its own rules of offering: start the demo with --scenario {scenario.path}")
    if scenario.beside and not any(getattr(settings, rail) for rail in scenario.beside):
        raise ScenarioFailed(f"it needs a second way to pay over {' or '.join(scenario.beside)}")
    if readers < len(scenario.views) or (readers and not scenario.views):
        raise ScenarioFailed(f"it needs {scenario.evidence} evidence: start the demo with --scenario {scenario.path}")


def _short(event_type: str) -> str:
    return event_type.removeprefix("invoice.")
