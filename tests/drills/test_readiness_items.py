"""The doctor prints every item of readiness, passed or not, each with what mends it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bridge.upkeep import doctor
from bridge.upkeep.doctor import FAIL, PASS, WARN, Finding, Place, examine
from tests.flows.test_own_wallet import WITHOUT_GATEWAY
from tests.flows.world import World, open_world
from tests.flows.world import answer as answered

# What an operator must be shown before the first real coin, and the item that shows it.
ITEMS = {
    "the wallet's network is the bridge's": "net_guard",
    "no secret has two roles": "keys_distinct",
    "nobody else reads the secrets": "file_modes",
    "no secret stands in the settings": "inline_secrets",
    "the clock agrees with the gateway's": "clock",
    "the database answers": "database",
    "the mode is normal": "mode",
    "the gateway is well": "provider",
    "the gateway knows the key": "provider_key",
    "what the gateway takes is known": "gateway_terms",
    "every open invoice has its wallet": "wallet_missing",
    "there are prices": "price_USD",
    "the chain reader answers": "chain",
    "the billing system hears us": "billing:shop",
    "we hear the billing system": "heard:shop",
    "the newest copy is fresh": "backup",
    "no bold limits": "staged_limits:shop",
    "no unconfirmed money counts": "unconfirmed_credit:shop",
    "the stage of a merchant": "stage:shop",
    "no price is fixed": "fixed_prices",
}


def found(world: World, place: Place | None = None, **options: bool) -> dict[str, Finding]:
    return {each.name: each for each in examine(world.bridge, place or Place(), **options)}


def test_every_item_is_printed_and_every_item_that_does_not_pass_names_its_mend(sqlite_url: str) -> None:
    with open_world(sqlite_url) as world:
        items = found(world)
        assert set(ITEMS.values()) <= set(items)
        for item in items.values():
            assert item.state in (PASS, WARN, FAIL)
            assert bool(item.mend) == (item.state != PASS), item.name


def test_every_kind_of_item_has_a_mend() -> None:
    for name in ITEMS.values():
        kind = name.partition(":")[0]
        assert kind in doctor.MENDS or kind.partition("_")[0] in doctor.MENDS, name


def test_both_ways_to_the_billing_system_are_judged_by_what_last_happened(sqlite_url: str) -> None:
    with open_world(sqlite_url) as world:
        before = found(world)
        assert (before["billing:shop"].state, before["heard:shop"].state) == (WARN, WARN)
        assert before["billing:puller"].state == PASS
        invoice = world.open()
        world.pay(invoice, confirmations=1)
        world.look(invoice)
        world.deliver()
        after = found(world)
        assert (after["billing:shop"].state, after["heard:shop"].state) == (PASS, PASS)
        assert "the last message was delivered on" in after["billing:shop"].detail
        world.advance(3 * 86_400)
        silent = found(world)["heard:shop"]
        assert silent.state == WARN and "it last called on" in silent.detail


def test_a_message_that_was_refused_is_a_failure_until_one_gets_through(sqlite_url: str) -> None:
    with open_world(sqlite_url) as world:
        world.billing.answers["shop"] = lambda _event: answered("parked", 401)
        invoice = world.open()
        world.pay(invoice, confirmations=1)
        world.look(invoice)
        world.deliver()
        assert found(world)["billing:shop"].state == FAIL
        world.billing.answers.clear()
        assert found(world, tell_billing=True)["billing:shop"].state == PASS


def test_a_gateway_without_a_date_is_said_and_not_taken_for_agreement(sqlite_url: str, monkeypatch) -> None:
    with open_world(sqlite_url) as world:
        assert found(world)["clock"].state in (PASS, FAIL)
        health = world.wallet.health()
        silent = type(health)(**vars(health) | {"server_time": None})
        monkeypatch.setattr(type(world.wallet), "health", lambda self: silent)
        assert found(world)["clock"].state == WARN


def test_with_an_own_wallet_the_chain_tells_the_time(sqlite_url: str) -> None:
    with open_world(sqlite_url, **WITHOUT_GATEWAY) as world:
        world.mine()
        clock = found(world)["clock"]
        assert (clock.state, clock.detail.partition(" ")[2]) == (PASS, "s after the newest block")
        world.clock_ahead = -timedelta(hours=3)
        clock = found(world)["clock"]
        assert clock.state == FAIL and "this machine's clock is behind the chain's by 2:59:5" in clock.detail


def test_a_chain_that_stands_still_may_be_a_clock_that_is_ahead(sqlite_url: str) -> None:
    with open_world(sqlite_url, **WITHOUT_GATEWAY) as world:
        world.mine()
        world.bridge = replace(world.bridge, oldest_tip=timedelta(hours=12))
        assert found(world)["clock"].state == PASS
        world.clock_ahead = timedelta(days=3)
        clock = found(world)["clock"]
        assert clock.state == FAIL and "or this machine's clock is ahead" in clock.detail


def test_a_jump_that_a_worker_noticed_is_shown(sqlite_url: str) -> None:
    with open_world(sqlite_url, **WITHOUT_GATEWAY) as world:
        world.clock_ahead = timedelta(hours=5)
        world.work()
        world.clock_ahead = timedelta(0)
        assert "a worker's clock stood 4:59:5" in found(world)["clock"].detail
        world.work()
        clock = found(world)["clock"]
        assert (clock.state, "jumps of a clock in a day: 1" in clock.detail) == (WARN, True)


@pytest.mark.parametrize(("age_hours", "state"), [(1, PASS), (30, WARN)])
def test_a_copy_is_judged_by_its_age(sqlite_url: str, age_hours: int, state: str) -> None:
    with open_world(sqlite_url) as world:
        place = Place(newest_backup_at=world.bridge.clock() - timedelta(hours=age_hours))
        assert found(world, place)["backup"].state == state


def test_files_and_fixed_prices_are_named(sqlite_url: str) -> None:
    with open_world(sqlite_url) as world:
        place = Place(loose_files=("/etc/x",), inline_secrets=("subtc.key",), fixed_prices=True)
        items = found(world, place)
        assert (items["file_modes"].state, items["file_modes"].detail) == (FAIL, "/etc/x")
        assert items["inline_secrets"].state == WARN
        assert items["fixed_prices"].state == WARN


def test_unconfirmed_credit_is_warned_of_with_what_may_be_lost(sqlite_url: str) -> None:
    policy = {"default": {"zero_conf_max_sat": 0}, "tiers": {"regular": {"zero_conf_max_sat": 20_000}}}
    with open_world(sqlite_url, policy=policy) as world:
        item = found(world)["unconfirmed_credit:shop"]
    assert item.state == WARN
    assert "can be replaced" in item.detail and "regular up to 20000 sat" in item.detail
    assert "default" not in item.detail and "zero_conf_max_sat: 0" in item.mend
    with open_world(sqlite_url) as world:
        assert found(world)["unconfirmed_credit:shop"].state == PASS
