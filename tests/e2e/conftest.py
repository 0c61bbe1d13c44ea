"""The demo's programs as tests use them: once per engine and test process, with a second merchant that only pulls.

Owns starting and ending them; the steps of an order are `sandbox.demo.Walk`'s.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.clock import turn
from sandbox.demo import PORTS, Demo, Walk, call, running, until

PULLER_KEY = "puller-" + "p" * 30
PULLER_SECRET = "whsec_" + "cHVsbGVy" * 5


@pytest.fixture(scope="package", params=["sqlite", "postgresql"])
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Both outside worlds and the bridge as separate programs. The bridge's clock is moved by the file `clock`."""
    place = tmp_path_factory.mktemp("demo")

    def change(settings: dict[str, Any]) -> None:
        settings["clock_offset_file"] = str(place / "clock")
        merchant = settings["merchants"][0]
        puller = {"id": "puller", "api_keys": [PULLER_KEY], "notify_secrets": [PULLER_SECRET]}
        settings["merchants"].append({"currencies": merchant["currencies"]} | puller)
        merchant["policy"] = {**merchant.get("policy", {}), "tiers": {"trusted": {"tolerance_bps": 50}}}
        if request.param == "postgresql":
            cluster = request.getfixturevalue("postgresql_cluster")
            cluster.create_database("e2e")
            settings["database_url"] = cluster.url("e2e")

    with running(place, wanted_ports=dict.fromkeys(PORTS, 0), change=change, tick_seconds=0) as demo:
        Walk(demo).add_method()
        yield demo
    if request.param == "postgresql":
        request.getfixturevalue("postgresql_cluster").drop_database("e2e")


@pytest.fixture
def order(demo: Demo) -> Iterator["Order"]:
    """A new order with every fault of an earlier test cleared."""
    walk = Order(demo)
    yield walk
    walk.knobs(clear_faults=True, latency_s=0)
    walk.control("billmanager", "faults", {"clear": True})


class Order(Walk):
    """One order, with words for what tests turn and ask."""

    def __init__(self, demo: Demo, **options: str):
        super().__init__(demo, **options)
        self.demo = demo

    def knobs(self, **changes: Any) -> None:
        self.control("bitcoin", "knobs", changes)

    def place_and_open(self) -> dict[str, Any]:
        self.place_order()
        self.open_pay_page()
        return self.invoice

    def travel(self, seconds: int) -> None:
        """Moves the bridge's clock ahead, from wherever it is."""
        path = self.demo.directory / "clock"
        ahead = seconds + (int(path.read_text()) if path.exists() else 0)
        assert ahead < 300, "the module keeps real time: it refuses what is signed five minutes ahead of it"
        turn(path, ahead)

    def pay_less(self, missing_sat: int) -> None:
        due = {"address": self.invoice["address"], "amount_sat": self.invoice["remaining_sat"] - missing_sat}
        until(lambda: self.invoice["address"] in str(self.control("bitcoin", "watches")), "no watch was armed")
        self.control("bitcoin", "pay", due)

    def payment(self) -> dict[str, Any]:
        """What BILLmanager knows about the billing payment."""
        return dict(self.control("billmanager", f"payments/{self.order['payment_id']}"))

    def statuses(self) -> list[int]:
        """The statuses that the billing payment got, oldest first, one per history row."""
        rows = self.control("billmanager", f"payments/{self.order['payment_id']}/history")["history"]
        return [row["status_new"] for row in rows if row["status"] != row["status_new"]]

    def events(self, *, api_key: str | None = None) -> list[str]:
        """Types of this invoice's events in the feed."""
        key = {"Authorization": f"Bearer {api_key or self.demo.secrets['api_key']}"}
        feed = call(f"{self.demo.url('bridge')}/v1/events?after=0&limit=500", headers=key).json()["events"]
        return [event["type"] for event in feed if event["invoice"]["id"] == self.invoice["id"]]

    def told(self, *types: str) -> None:
        """Waits for these events in the feed, which is numbered several times a second."""
        until(lambda: self.events() == list(types), f"the feed does not tell {types}")

    def rung(self) -> list[dict[str, Any]]:
        """The gateway's callbacks about this invoice's address."""
        found = self.control("bitcoin", "deliveries")["deliveries"]
        return [each for each in found if self.invoice["address"] in each["body"]]

    def callback_url(self) -> str:
        watches = self.control("bitcoin", "watches")["watches"]
        return str(next(w["callback_url"] for w in watches if w["address"] == self.invoice["address"]))
