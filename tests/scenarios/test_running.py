"""A scenario file played over HTTP against running programs: a bridge with its own worker, and a clock that jumps."""

import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Response

from bridge.config import Settings
from bridge.runtime import build
from bridge.worker import Worker
from bridge.wsgi import application
from sandbox.bitcoin import serve_in_thread
from sandbox.clock import turn
from sandbox.play import play_against_demo
from sandbox.scenario import ScenarioFailed, load
from sandbox.serving import WsgiServer
from tests.flows.world import LNBITS, account_at
from tests.scenarios.play import KEY, SHAPES, WALLET

FILES = Path(__file__).parent


def settings_for(path: Path, database_url: str, outside: str, port: int, tmp_path: Path) -> Settings:
    """What the demo would write for this file; the billing system's endpoint is on the same port as the bridge."""
    scenario = load(path)
    sources = [
        {"name": n, "url": f"{outside}/prices/{n}?currency={{currency}}", "pointer": at}
        for n, (at, _) in SHAPES.items()
    ]
    merchant: dict[str, Any] = {
        "id": "shop",
        "api_keys": ["api-key-of-the-running-scenario"],
        "currencies": ["USD"],
        "notify_url": f"http://127.0.0.1:{port}/agrees",
        "notify_secrets": ["whsec_" + b64encode(b"a secret of the scenario").decode()],
        "policy": scenario.policy,
        "offering": scenario.offering,
    }
    return Settings.model_validate(
        {
            "network": "test",
            "database_url": database_url,
            "public_url": f"http://127.0.0.1:{port}",
            "token_secret": "a token secret of the scenario",
            "allow_hosts": ["127.0.0.1"],
            "clock_offset_file": str(tmp_path / "clock"),
            "subtc": {"base_url": outside, "key": KEY, "wallet_id": WALLET, "calls_per_minute": 6_000},
            "chain": {"esplora": [f"{outside}/{view}" for view in scenario.views], "max_tip_age_seconds": 0},
            "lnbits": account_at(outside, "lnbits"),
            "prices": {"sources": sources, "keep_seconds": 0},
            "merchants": [merchant],
        }
    )


@contextmanager
def running(path: Path, database_url: str, tmp_path: Path) -> Iterator[Settings]:
    """Sandbox, web server and worker, each with its own bridge as in separate programs."""
    outside = serve_in_thread(api_key=KEY, wallet_id=WALLET, lnbits=LNBITS)
    server = WsgiServer("127.0.0.1", 0, lambda *_: [])
    settings = settings_for(path, database_url, outside.url, server.server_port, tmp_path)
    web = application(settings)
    server.app = DispatcherMiddleware(web, {"/agrees": Response("")})
    bridge = build(settings)
    worker = Worker(bridge, threads=2)
    working = threading.Thread(target=worker.run)
    server.start()
    working.start()
    try:
        yield settings
    finally:
        worker.stop()
        working.join(20)
        server.close()
        bridge.store.close()
        web.extensions["bridge"].bridge.store.close()
        outside.stop()


@pytest.mark.parametrize(
    "name",
    [
        "20-late-accepted",
        "31-replaced-by-less",
        "08-tolerance-absorbs",
        "96-the-clock-was-ahead",
        "105-a-part-on-chain-the-rest-over-lightning",
        "134-small-sums-over-lightning-alone",
    ],
)
def test_the_file_comes_true_over_http(name: str, sqlite_url: str, tmp_path: Path) -> None:
    path, said = FILES / f"{name}.yaml", list[str]()
    with running(path, sqlite_url, tmp_path) as settings:
        desk = build(settings)
        try:
            play_against_demo(path, settings, desk, say=said.append)
        finally:
            desk.store.close()
    assert "Every expectation came true." in said
    assert [line for line in said if line.startswith("a  inv_")]


def test_a_scenario_with_its_own_policy_says_how_to_start_the_demo(sqlite_url: str, tmp_path: Path) -> None:
    settings = settings_for(FILES / "01-paid-in-full.yaml", sqlite_url, "http://127.0.0.1:9", 8, tmp_path)
    desk = build(settings)
    try:
        with pytest.raises(ScenarioFailed, match="start the demo with --scenario"):
            play_against_demo(FILES / "08-tolerance-absorbs.yaml", settings, desk, say=print)
    finally:
        desk.store.close()


def test_who_reads_the_clock_while_it_is_turned_reads_what_it_was(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    turn(clock, 60)
    with clock.open() as opened:
        turn(clock, 120)
        assert (opened.read(), clock.read_text()) == ("60\n", "120\n")
