"""The search for secrets finds one in every place where it looks, and says which without repeating it."""

import subprocess
import sys

import pytest
import requests

from bridge.store import leases
from tests.durability.leaks import Answers, ProcessList, leaks
from tests.flows.world import KEY, WALLET, World, open_world, until

SECRETS = {"the gateway's key": KEY, "a planted word": "planted-secret-word"}


@pytest.fixture
def places(tmp_path):
    (tmp_path / "answers").touch()
    return {"logs": tmp_path, "answers": Answers(tmp_path / "answers"), "processes": ProcessList()}


def plant(world: World, places: dict, place: str) -> None:
    word = SECRETS["a planted word"]
    if place == "the log":
        (places["logs"] / "web-1.log").write_text(f'{{"action":"x","said":"{word}"}}\n')
    if place == "the table":
        with world.bridge.store.write() as tx:
            leases.set_mode(tx, "bridge", mode="limited", now=world.bridge.clock(), actor="a", reason=word)
    if place == "the process":
        with subprocess.Popen([sys.executable, "-c", "input()", word], stdin=subprocess.PIPE) as running:
            until(lambda: places["processes"].look() or word.encode() in places["processes"].content)
            running.communicate(b"\n")
    if place == "an answer":
        # The gateway's own emulated answer names the wallet; nothing of the bridge does.
        reply = requests.get(f"{world.sandbox.url}/_control/state", timeout=10)
        reply._content += word.encode()
        places["answers"].keep(reply)


@pytest.mark.parametrize("place", ["the log", "the table", "the process", "an answer"])
def test_a_secret_that_shows_is_found_and_not_repeated(database_url, places, place):
    with open_world(database_url) as world:
        world.pay(world.open())
        world.work()
        assert leaks(SECRETS, store=world.bridge.store, **places) == []
        plant(world, places, place)
        (found,) = leaks(SECRETS, store=world.bridge.store, **places)
    assert found.startswith(f"a planted word shows in {place}")
    assert not any(secret in found for secret in (*SECRETS.values(), WALLET))
