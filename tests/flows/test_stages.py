"""A merchant on trial: so much a day, counted exactly, refused with a reason, and nobody else is touched."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bridge.books.keep_books import refresh_gauges
from bridge.config import ConfigError, MerchantSettings
from bridge.core.errors import BridgeError, Refused
from bridge.core.policy import Stage, Used
from bridge.invoices.stage import stage_uses
from bridge.upkeep.check import alerts
from tests.flows.world import World

Worlds = Callable[..., World]
KEYS = {"api_keys": ["k" * 30], "notify_secrets": ["whsec_" + "c2VjcmV0" * 5]}


def staged(
    world: World, *, invoices: int | None = None, minor: dict[str, int] | None = None, zone: str = "UTC"
) -> World:
    stage = Stage(name="pilot", invoices_per_day=invoices, minor_per_day=minor or {}, time_zone=zone)
    merchants = dict(world.bridge.merchants)
    merchants["shop"] = replace(merchants["shop"], stage=stage)
    return replace(world, bridge=replace(world.bridge, merchants=merchants))


def refused(world: World, billing_payment_id: str, **request: str) -> Refused:
    with pytest.raises(Refused) as error:
        world.ask(billing_payment_id, **request)
    assert error.value.code == "stage_limit_reached"
    return error.value


def test_the_count_of_a_day_is_exact_and_the_next_day_begins_anew(world: World) -> None:
    world = staged(world, invoices=2)
    for number in range(2):
        world.open(str(number))
    before = world.calls("inbox_create")
    assert "invoices of today's stage pilot" in refused(world, "3").detail
    assert world.calls("inbox_create") == before
    assert json.loads(world.ask("1", key="another-key").body)["billing_payment_id"] == "1"
    world.advance(86_400)
    world.open("3")


def test_amounts_are_counted_by_currency_and_what_still_fits_is_served(world: World) -> None:
    world = staged(world, minor={"USD": 2_500, "RUB": 100_000})
    world.open("1", amount_text="20.00")
    assert refused(world, "2", amount_text="5.01").field == "amount"
    world.open("3", amount_text="5.00")
    world.open("4", amount_text="1000.00", currency="RUB")
    refused(world, "5", amount_text="500.00", currency="RUB")


def test_a_changed_amount_is_judged_as_a_new_one(world: World) -> None:
    world = staged(world, minor={"USD": 2_500})
    world.open("1", amount_text="20.00")
    assert json.loads(world.ask("1", key="k2", amount_text="25.00").body)["amount"] == "25.00"
    refused(world, "1", key="k3", amount_text="25.01")
    assert json.loads(world.ask("1", key="k4", amount_text="25.00").body)["amount"] == "25.00"


def test_a_refusal_frees_its_key_and_its_billing_payment(world: World) -> None:
    limited = staged(world, invoices=1)
    limited.open("1")
    refused(limited, "2")
    assert world.rows("SELECT * FROM openings") == []
    world.open("2")


@pytest.mark.parametrize("spares", [0, 20])
def test_many_at_once_open_exactly_as_many_as_are_allowed(worlds: Worlds, spares: int) -> None:
    world = staged(worlds(subtc={"spare_addresses": spares}), invoices=5)
    for _ in range(spares):
        from bridge.invoices.targets import fill_spare_addresses

        fill_spare_addresses(world.bridge, owner="w1")
    seen: list[str] = []

    def ask(number: int) -> None:
        try:
            seen.append(str(world.ask(str(number)).status))
        except BridgeError as error:
            seen.append(error.code)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(seen) == ["201"] * 5 + ["stage_limit_reached"] * 7
    ((count,),) = world.rows("SELECT count(*) FROM invoices")
    assert count == 5
    assert world.rows("SELECT * FROM openings") == []


def test_another_merchant_is_neither_limited_nor_counted(world: World) -> None:
    world = staged(world, invoices=1)
    world.open("1", merchant="other")
    world.open("1")
    world.open("2", merchant="other")
    refused(world, "2")


def test_a_used_up_day_is_an_alert_a_figure_and_named_to_people(world: World) -> None:
    world = staged(world, invoices=2, minor={"USD": 5_000}, zone="Europe/Moscow")
    world.open("1")
    assert "stage_reached" not in {alert.rule for alert in alerts(world.bridge)}
    world.open("2")
    refused(world, "3")
    (alert,) = [alert for alert in alerts(world.bridge) if alert.rule == "stage_reached"]
    told = "shop: stage pilot, 2 of 2 invoices, 20.00 of 50.00 USD today (Europe/Moscow)"
    assert (alert.detail, alert.owner) == (told, "operations")
    with world.bridge.store.read() as tx:
        assert [use.merchant for use in stage_uses(tx, world.bridge, now=world.bridge.clock())] == ["shop"]
    refresh_gauges(world.bridge)
    value = world.bridge.metrics.registry.get_sample_value
    assert value("bridge_stage_used", {"merchant": "shop", "measure": "invoices"}) == 2
    assert value("bridge_stage_limit", {"merchant": "shop", "measure": "USD"}) == 5_000
    assert value("bridge_stage_refusals_total", {"merchant": "shop", "limit": "invoices"}) == 1


@pytest.mark.parametrize(
    ("zone", "now", "begin", "end"),
    [
        ("UTC", "2026-03-14T23:59:59", "2026-03-14T00:00", "2026-03-15T00:00"),
        ("Europe/Moscow", "2026-03-14T21:00:00", "2026-03-14T21:00", "2026-03-15T21:00"),
        ("Europe/Moscow", "2026-03-14T20:59:59", "2026-03-13T21:00", "2026-03-14T21:00"),
        ("Europe/Berlin", "2026-03-29T12:00:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "2026-10-25T12:00:00", "2026-10-24T22:00", "2026-10-25T23:00"),
    ],
)
def test_a_day_is_the_zones_own_also_when_its_clock_is_changed(zone: str, now: str, begin: str, end: str) -> None:
    days = Stage(name="pilot", time_zone=zone).day_of(datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert days == tuple(datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (begin, end))


def test_a_stage_without_limits_refuses_nothing() -> None:
    used = Used(invoices=10**6, minor={"USD": 10**12})
    assert Stage(name="full").exceeded(used, "USD") == ""
    assert not Stage(name="full").is_used_up(used)


@pytest.mark.parametrize(
    ("stage", "fault"),
    [
        ({"name": "pilot", "time_zone": "Mars/Olympus"}, "unknown time zone"),
        ({"name": "pilot", "minor_per_day": {"USD": 100}}, "must name each of the currencies"),
        ({"name": "pilot", "invoices_per_day": 0}, "greater than 0"),
        ({"name": "Pilot stage"}, "pattern"),
        ({"name": "pilot", "amount": 5}, "Unexpected keyword"),
    ],
)
def test_a_stage_that_would_not_mean_what_it_says_is_refused(stage: dict[str, object], fault: str) -> None:
    with pytest.raises((ValueError, ConfigError), match=fault):
        MerchantSettings.model_validate({"id": "shop", "currencies": ["USD", "RUB"], "stage": stage} | KEYS)


def test_the_stage_of_the_settings_reaches_the_bridge(worlds: Worlds) -> None:
    world = worlds(shop={"stage": {"name": "sandbox", "invoices_per_day": 1, "time_zone": "Asia/Tokyo"}})
    stage = world.bridge.merchants["shop"].stage
    assert stage == Stage(name="sandbox", invoices_per_day=1, time_zone="Asia/Tokyo")
