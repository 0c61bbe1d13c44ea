"""Keys are replaced, addresses rewritten, methods added: the account at the bridge stays the same one."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.clock import TURNED
from tests.plugin_stub.conftest import Push
from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import KEY, OLD_SECRET, SECRET, STUB, Panel
from tests.upgrade.stored import MODULE, RELEASES, names

SECOND_KEY = "mk_test_the_second_key_01"


@pytest.fixture
def second_bridge() -> Iterator[FakeBridge]:
    running = FakeBridge()
    yield running
    running.close()


def settings_of(url: str, key: str) -> dict[str, str]:
    return {"subtc_bridge_url": url, "subtc_api_key": key, "subtc_notify_secret": SECRET}


def set_method(panel: Panel, method: str, url: str, key: str) -> None:
    methods = panel.read()["methods"]
    panel.change(
        methods={**methods, method: {"module": "pmsubtc", "currency": "RUB", "settings": settings_of(url, key)}}
    )


def open_payments(panel: Panel, *elids: str, method: str = "1") -> None:
    for elid in elids:
        panel.add_payment(elid, randomnumber=f"random{elid}", method=method)
        assert panel.pay(elid).status == 302


def feeds(panel: Panel) -> list[dict[str, Any]]:
    return [json.loads(where.read_text()) for where in sorted((panel.base / "var/subtc/feeds").glob("*.json"))]


def an_hour_later(panel: Panel) -> None:
    for note in (panel.base / "var/subtc/reports").glob("*.json"):
        note.write_text('{"at": 0}')


def replace_key(panel: Panel, bridge: FakeBridge) -> None:
    """As the guide says: the new one at the bridge, in the method, the old one away."""
    bridge.keys[SECOND_KEY] = SECRET
    set_method(panel, "1", bridge.url, SECOND_KEY)
    del bridge.keys[KEY]


def test_a_replaced_key_leaves_earlier_payments_watched(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7", "8", "9", "10")
    bridge.settled("10")
    panel.checkpay()
    replace_key(panel, bridge)
    panel.edit_payment("7", status=9)
    panel.delete_payment("8")
    panel.edit_payment("9", amount="12.00")
    an_hour_later(panel)
    panel.checkpay()
    assert sorted((invoice, told["change"]) for invoice, told in bridge.changes) == [
        ("inv_1", "cancelled"),
        ("inv_2", "deleted"),
        ("inv_3", "amount"),
    ]
    told = {row["billing_payment_id"]: row["externalid"] for row in bridge.reports[-1]["payments"]}
    assert told == {"7": "inv_1", "9": "inv_3", "10": "inv_4"}
    assert [(feed["position"], feed["parked"], feed["retry"]) for feed in feeds(panel)] == [(1, [], [])]
    assert "checkpay has not read" not in panel.check()[1]


def test_a_replaced_key_before_anything_happened_is_found_by_the_invoice(panel: Panel, bridge: FakeBridge) -> None:
    """The feed has no event yet, so only the payment itself shows where it belongs."""
    open_payments(panel, "7")
    panel.checkpay()
    replace_key(panel, bridge)
    panel.edit_payment("7", status=9)
    panel.checkpay()
    assert bridge.changes == [("inv_1", {"change": "cancelled", "billing_status": 9})]


def left_by_0_2_0(panel: Panel, bridge: FakeBridge) -> str:
    """What an installed 0.2.0 keeps: everything under a hash of address and key, nothing that says whose it is."""
    source = hashlib.sha256(f"{bridge.url}\n{KEY}".encode()).hexdigest()[:16]
    records = panel.base / "var/subtc/payments"
    for where in records.glob("*.json"):
        kept = json.loads(where.read_text())
        where.write_text(json.dumps({**kept, "source": source}))
    state = panel.base / "var/subtc"
    feed = {"position": 1, "retry": [], "parked": [], "pulled_at": 1}
    for name in ("accounts", "feeds", "reports"):
        for where in (state / name).glob("*.json"):
            where.unlink()
    (state / "feeds" / f"{source}.json").write_text(json.dumps(feed))
    return source


def test_an_upgrade_adopts_open_payments_whose_key_was_replaced_before(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7", "8", "9")
    bridge.settled("9")
    panel.checkpay()
    source = left_by_0_2_0(panel, bridge)
    replace_key(panel, bridge)
    panel.edit_payment("7", status=9)
    bridge.settled("8")
    panel.checkpay()
    assert bridge.changes == [("inv_1", {"change": "cancelled", "billing_status": 9})]
    assert (panel.payment("8")["status"], panel.credits()) == (4, ["10.00", "10.00"])
    told = {row["billing_payment_id"]: row["externalid"] for row in bridge.reports[-1]["payments"]}
    assert told == {"7": "inv_1", "8": "inv_2", "9": "inv_3"}
    [feed] = feeds(panel)
    assert (feed["position"], feed["parked"], feed["retry"]) == (2, [], [])
    assert not (panel.base / f"var/subtc/feeds/{source}.json").exists()


def package_of(release: Path, place: Path) -> Path:
    """The module as it was published."""
    with tarfile.open(release / MODULE) as tar:
        tar.extractall(place, filter="data")
    (package,) = place.iterdir()
    return package


def make(package: Path, target: str, base: Path) -> None:
    command = ["make", "-s", "-C", str(package), target, f"BASE={base}", "RELOAD=no", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **TURNED})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("release", [name for name in names() if (RELEASES / name / MODULE).exists()])
@pytest.mark.parametrize("replaced", ["before the upgrade", "after the upgrade"])
def test_an_installed_release_is_upgraded_with_open_payments_and_a_new_key(
    panel: Panel, bridge: FakeBridge, push: Push, tmp_path: Path, release: str, replaced: str
) -> None:
    """The published programs themselves open the payments and read the feed; those of now go on with what they left."""
    for part in ("paymethods", "cgi", "etc/xml", "lib/python"):
        shutil.rmtree(panel.base / part)
    make(package_of(RELEASES / release, tmp_path / "published"), "install", panel.base)
    manifest = panel.base / "lib/python/subtc/MANIFEST"
    assert "identity.py" not in manifest.read_text()
    open_payments(panel, "7", "8", "9", "10", "11")
    assert push(bridge.settled("9")).status == 200
    panel.checkpay()
    assert [panel.payment(elid)["status"] for elid in ("7", "8", "9", "10", "11")] == [2, 2, 4, 2, 2]
    bridge.settled("10")
    if replaced == "before the upgrade":
        replace_key(panel, bridge)
    make(STUB, "upgrade", panel.base)
    assert "identity.py" in manifest.read_text()
    if replaced == "after the upgrade":
        panel.checkpay()
        replace_key(panel, bridge)
    panel.edit_payment("7", status=9)
    panel.delete_payment("11")
    bridge.settled("8")
    an_hour_later(panel)
    panel.checkpay()
    assert sorted((invoice, told["change"]) for invoice, told in bridge.changes) == [
        ("inv_1", "cancelled"),
        ("inv_5", "deleted"),
    ]
    assert [panel.payment(elid)["status"] for elid in ("7", "8", "9", "10")] == [9, 4, 4, 4]
    assert panel.credits() == ["10.00"] * 3
    told = {row["billing_payment_id"]: row["externalid"] for row in bridge.reports[-1]["payments"]}
    assert told == {"7": "inv_1", "8": "inv_2", "9": "inv_3", "10": "inv_4"}
    [feed] = feeds(panel)
    assert (feed["position"], feed["parked"], feed["retry"]) == (3, [], [])


def test_a_feed_of_a_bridge_that_nobody_names_any_more_is_no_fault(
    panel: Panel, bridge: FakeBridge, second_bridge: FakeBridge
) -> None:
    open_payments(panel, "7")
    bridge.settled("7")
    panel.checkpay()
    set_method(panel, "1", second_bridge.url, KEY)
    panel.add_payment("8")
    assert panel.pay("8").status == 302
    for where in (panel.base / "var/subtc/feeds").glob("*.json"):
        where.write_text(json.dumps({**json.loads(where.read_text()), "pulled_at": 1}))
    panel.checkpay()
    said = panel.check()[1]
    assert "no payment method leads to account" in said
    assert "checkpay has not read" not in said


@pytest.mark.parametrize("other", ["key", "address"])
def test_two_methods_that_reach_one_merchant_are_one_account(
    panel: Panel, bridge: FakeBridge, push: Push, other: str
) -> None:
    """Two keys, or one bridge written in two ways: every paid event counts once and nothing waits for a person."""
    bridge.keys[SECOND_KEY] = SECRET
    url = bridge.url if other == "key" else bridge.url.replace("127.0.0.1", "localhost")
    set_method(panel, "2", url, SECOND_KEY if other == "key" else KEY)
    open_payments(panel, "7")
    open_payments(panel, "8", method="2")
    for elid in ("7", "8"):
        bridge.settled(elid)
    panel.checkpay()
    panel.checkpay()
    assert [panel.payment(elid)["status"] for elid in ("7", "8")] == [4, 4]
    assert panel.credits() == ["10.00", "10.00"]
    [feed] = feeds(panel)
    assert (feed["position"], feed["parked"], feed["retry"]) == (2, [], [])
    assert len(bridge.reports) == 1


def test_a_revoked_key_beside_a_good_one_stops_nothing(panel: Panel, bridge: FakeBridge) -> None:
    bridge.keys[SECOND_KEY] = SECRET
    set_method(panel, "2", bridge.url, SECOND_KEY)
    open_payments(panel, "7")
    open_payments(panel, "8", method="2")
    bridge.event("updated", "7")
    panel.checkpay()
    for revoked in (KEY, SECOND_KEY):
        bridge.keys = {one: SECRET for one in (KEY, SECOND_KEY) if one != revoked}
        elid = "7" if revoked == KEY else "8"
        bridge.settled(elid)
        panel.checkpay()
        assert panel.payment(elid)["status"] == 4


def test_what_another_account_says_of_our_payment_is_never_believed(
    panel: Panel, bridge: FakeBridge, second_bridge: FakeBridge
) -> None:
    second_bridge.keys = {SECOND_KEY: OLD_SECRET}
    set_method(panel, "2", second_bridge.url, SECOND_KEY)
    open_payments(panel, "7")
    open_payments(panel, "8", method="2")
    bridge.event("updated", "7")
    second_bridge.settled("7")
    for _ in range(2):
        panel.checkpay()
    assert (panel.payment("7")["status"], panel.credits()) == (2, [])
    assert "not_vouched_for" in {case["reason"] for feed in feeds(panel) for case in feed["parked"]}


def waits_for_a_person(panel: Panel, bridge: FakeBridge) -> None:
    """A client cancels and pays anyway."""
    open_payments(panel, "7")
    panel.edit_payment("7", status=9)
    bridge.settled("7")
    panel.checkpay()
    assert [case["reason"] for feed in feeds(panel) for case in feed["parked"]] == ["status_9"]
    assert "1 events need a person, the last one: billing payment 7, status_9" in panel.check()[1]


def a_while_later(panel: Panel) -> None:
    for where in (panel.base / "var/subtc/feeds").glob("*.json"):
        kept = json.loads(where.read_text())
        where.write_text(json.dumps({**kept, "parked": [{**case, "asked_at": 0} for case in kept["parked"]]}))


def test_a_case_ends_by_itself_when_the_bridge_gave_the_money_back(panel: Panel, bridge: FakeBridge) -> None:
    waits_for_a_person(panel, bridge)
    a_while_later(panel)
    panel.checkpay()
    assert "need a person" in panel.check()[1]
    bridge.invoice("7", status="invalid", exception="none")
    a_while_later(panel)
    panel.checkpay()
    assert "need a person" not in panel.check()[1]
    assert (panel.payment("7")["status"], panel.credits()) == (9, [])


def test_a_case_ends_by_itself_when_the_amount_was_put_right(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    panel.edit_payment("7", amount="12.00")
    bridge.settled("7")
    panel.checkpay()
    assert "billing payment 7, amount" in panel.check()[1]
    panel.edit_payment("7", amount="10.00")
    a_while_later(panel)
    panel.checkpay()
    assert (panel.payment("7")["status"], panel.credits()) == (4, ["10.00"])
    assert "need a person" not in panel.check()[1]


def test_a_case_ends_by_a_command(panel: Panel, bridge: FakeBridge) -> None:
    waits_for_a_person(panel, bridge)
    assert "--command solved --payment 7" in panel.check()[1]
    argv = [str(panel.base / "paymethods/pmsubtc"), "--command", "solved", "--payment"]

    def run(elid: str) -> str:
        return panel.start([*argv, elid], panel.environment()).communicate(timeout=60)[0].decode()

    assert run("8") == "0 cases are solved\n"
    assert "need a person" in panel.check()[1]
    assert "is no payment's number" in run("seven")
    assert run("7") == "1 cases are solved\n"
    panel.checkpay()
    assert "need a person" not in panel.check()[1]


def test_a_tick_that_is_ended_in_the_middle_keeps_what_it_did(panel: Panel, bridge: FakeBridge) -> None:
    elids = [str(number) for number in range(7, 19)]
    open_payments(panel, *elids)
    for elid in elids:
        bridge.settled(elid)
    panel.forget_calls()
    child = panel.start([str(panel.base / "paymethods/pmsubtc"), "--command", "checkpay"], panel.environment())
    while panel.functions().count("payment.setpaid") < 6:
        assert child.poll() is None
    child.kill()
    child.communicate()
    assert feeds(panel)[0]["position"] >= 5
    panel.checkpay()
    assert len(panel.credits()) == len(elids)
    assert panel.functions().count("payment.setpaid") <= len(elids) + 1


def test_what_a_later_event_says_too_is_not_asked_for_twice(panel: Panel, bridge: FakeBridge) -> None:
    open_payments(panel, "7")
    for _ in range(30):
        bridge.event("updated", "7")
    bridge.event("processing", "7", status="processing")
    bridge.settled("7")
    panel.forget_calls()
    panel.checkpay()
    assert panel.payment("7")["status"] == 4
    # The method's settings, the payment before and after it is paid.
    assert panel.functions().count("payment.info") == 3


NOT_OVER = pytest.mark.parametrize(
    "now", [{"status": "new"}, {"status": "processing"}, {"status": "expired", "hold": "review"}]
)
BOTH_WAYS = pytest.mark.parametrize("way", ["push", "pull"])


def hear(event: dict[str, Any], panel: Panel, push: Push, way: str) -> None:
    if way == "push":
        assert push(event).status == 200
    else:
        panel.checkpay()


@NOT_OVER
@BOTH_WAYS
def test_a_cancel_that_no_longer_holds_is_not_obeyed(
    panel: Panel, bridge: FakeBridge, push: Push, now: dict[str, Any], way: str
) -> None:
    open_payments(panel, "7")
    cancelled = bridge.event("cancelled", "7", status="expired")
    bridge.invoice("7", **now)
    hear(cancelled, panel, push, way)
    assert (panel.payment("7")["status"], panel.history()) == (2, [(8, 2)])


@NOT_OVER
@BOTH_WAYS
def test_a_cancel_of_an_invoice_that_is_not_over_is_not_obeyed(
    panel: Panel, bridge: FakeBridge, push: Push, now: dict[str, Any], way: str
) -> None:
    open_payments(panel, "7")
    cancelled = bridge.event("cancelled", "7", **now)
    hear(cancelled, panel, push, way)
    assert panel.payment("7")["status"] == 2


def test_a_cancel_waits_while_the_bridge_cannot_say_that_it_still_holds(
    panel: Panel, bridge: FakeBridge, push: Push
) -> None:
    open_payments(panel, "7")
    cancelled = bridge.event("cancelled", "7", status="expired")
    bridge.status = 503
    assert push(cancelled).status == 503
    assert panel.payment("7")["status"] == 2
    bridge.status = 0
    assert push(cancelled).status == 200
    assert panel.payment("7")["status"] == 9
