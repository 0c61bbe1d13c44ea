"""What is watched stands at zero from the start of each program: every process of the web, and the worker. Each process gets its share."""

import re
from collections import Counter
from contextlib import ExitStack, closing
from http.client import HTTPConnection

import pytest
import requests

from tests.durability.programs import free_port, wait_until_answering

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])
BURSTS, AT_ONCE = 10, 16
FIRST = re.compile(r'^bridge_callbacks_total\{outcome="bad_signature"(?:,process="(\d+)")?\} (\S+)$', re.MULTILINE)


def test_a_first_burst_is_a_rise_in_every_program(shops):
    shop = shops()
    web = shop.start_web(web_processes=2)
    seen: dict[str, str] = {}

    def both_answered() -> bool:
        # A new connection each time, so that the other process answers, too.
        seen.update(FIRST.findall(requests.get(f"http://127.0.0.1:{web.port}/metrics", timeout=10).text))
        return len(seen) == 2

    shop.until(both_answered, "both processes of the web have shown their figures")
    assert set(seen.values()) == {"0.0"}

    port = free_port()
    worker = shop.start_worker(worker_listen=f"127.0.0.1:{port}")
    wait_until_answering(worker, port, "/metrics")
    assert FIRST.findall(requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text) == [("", "0.0")]


def test_connections_that_come_at_once_are_shared_by_the_processes(shops):
    """What stays open stays where it was taken: half of a server would have nothing to do."""
    shop = shops()
    port = shop.start_web(web_processes=2).port
    shares = Counter[str]()
    for _ in range(BURSTS):
        with ExitStack() as stack:
            burst = [
                stack.enter_context(closing(HTTPConnection("127.0.0.1", port, timeout=30))) for _ in range(AT_ONCE)
            ]
            for connection in burst:
                connection.connect()
            for connection in burst:
                connection.request("GET", "/metrics")
            for connection in burst:
                shares.update(process for process, _ in FIRST.findall(connection.getresponse().read().decode()))
    assert sum(shares.values()) == BURSTS * AT_ONCE
    assert min(shares.values()) > BURSTS * AT_ONCE // 3
