"""What is watched stands at zero from the start of each program: every process of the web, and the worker."""

import re

import pytest
import requests

from tests.durability.programs import free_port, wait_until_answering

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])
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
