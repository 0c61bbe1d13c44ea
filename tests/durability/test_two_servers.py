"""Two database servers under running programs: the cable to the primary is pulled, and commits wait for a standby that is gone."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from bridge.store.db import migrate, open_store
from tests.cable import Cable, NoNetwork, open_cable
from tests.durability.programs import Zygote
from tests.durability.shop import Shop, open_shop
from tests.durability.truth import faults_in
from tests.parts import WHOLE
from tests.postgres import Pair, open_pair

BACK_SECONDS = 5
# A standby is promoted later than this.
NOTICED_SECONDS = 10
# Far below what anything that waits for a silent database waits.
AT_ONCE_SECONDS = 2.5
THREADS = 4


@pytest.fixture
def cable() -> Iterator[Cable]:
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(open_cable())
        except NoNetwork as missing:
            if WHOLE:
                raise
            pytest.skip(f"NO CABLE IS PULLED on this machine, which takes root and iproute2: {missing}")
        yield opened


@contextmanager
def shop_over(pair: Pair, zygote: Zygote, directory: Path, **settings: object) -> Iterator[Shop]:
    """A shop at work with whom the first order is paid; its commits wait for the standby."""
    migrate(pair.primary.url("bridge"))
    pair.wait_for_commits()
    settings |= {"state_directory": str(directory), "web_threads": THREADS}
    with open_shop(zygote, directory, pair.url, settings=settings) as shop:
        shop.store.close()
        # This shop's own looks are fenced as its programs are.
        shop.store = open_store(pair.url, pool_size=2, state_directory=directory)
        shop.start()
        settle(shop, "1")
        yield shop


def settle(shop: Shop, *payments: str) -> None:
    for payment in payments:
        shop.pay(shop.open(payment))
    shop.control("mine", blocks=6)
    for payment in payments:
        shop.until_set_paid(payment)


@contextmanager
def heartbeats(shop: Shop) -> Iterator[list[float]]:
    """How long each answer of `/healthz` took."""
    took: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.05):
            began = time.monotonic()
            assert requests.get(f"http://127.0.0.1:{shop.port}/healthz", timeout=60).status_code == 200
            took.append(time.monotonic() - began)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield took
        finally:
            over.set()
            asking.result()


def opening(shop: Shop, payment: str) -> int:
    """The status that one try to open an invoice ends with."""
    body = {"billing_payment_id": payment, "amount": "10.00", "currency": "USD"}
    return shop.api("POST", "/v1/invoices", json=body, headers={"Idempotency-Key": f"bm-{payment}-1"}).status_code


def crowd(shop: Shop, payments: list[str]) -> list[int]:
    with ThreadPoolExecutor(len(payments)) as pool:
        return list(pool.map(lambda each: opening(shop, each), payments))


def all_is_true(shop: Shop, payments: list[str]) -> None:
    shop.until_quiet()
    assert shop.receiver.paid() == dict.fromkeys(payments, 1)
    shop.kill_all()
    assert faults_in(shop.config(), shop.sandbox.world) == []


def test_after_a_pulled_cable_the_programs_are_back_seconds_after_the_promotion(
    cable: Cable, zygote: Zygote, tmp_path: Path
) -> None:
    """With the limits that everybody has; nothing says that the primary is gone, it only does not answer."""
    many = [f"{number}" for number in range(10, 16)]
    with open_pair("bridge", cable=cable) as pair, shop_over(pair, zygote, tmp_path) as shop:
        with heartbeats(shop) as took:
            accepted = shop.open("2")
            cable.pull()
            began = time.monotonic()
            shop.pay(accepted)
            shop.control("mine", blocks=6)
            assert set(crowd(shop, 2 * many)) == {503}
            assert time.monotonic() - began < NOTICED_SECONDS
            assert set(crowd(shop, 2 * many)) == {503}
            pair.standby.promote()
            began = time.monotonic()
            while opening(shop, "3") != 201:
                time.sleep(0.1)
            settle(shop, "3")
            assert time.monotonic() - began < BACK_SECONDS
            shop.until_set_paid("2")
            # The former primary can be reached again, and takes writes.
            cable.plug()
            settle(shop, *many)
        assert max(took) < AT_ONCE_SECONDS
        assert shop.count("SELECT number FROM generation") == 2
        all_is_true(shop, ["1", "2", "3", *many])


def test_commits_that_wait_for_a_standby_that_is_gone_hold_nobody_else_up(zygote: Zygote, tmp_path: Path) -> None:
    many = [f"{number}" for number in range(10, 16)]
    limits = {"database_wait_seconds": 2}
    with open_pair("bridge") as pair, shop_over(pair, zygote, tmp_path, **limits) as shop:

        def hanging() -> int:
            [(found,)] = pair.primary.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            return int(found)

        with heartbeats(shop) as took:
            page = "/pay/" + shop.open("2")["payment_url"].partition("/pay/")[2]
            pair.standby.kill()
            assert set(crowd(shop, many)) == {503}
            shop.until(lambda: shop.api("GET", page).status_code == 200, "what only reads is answered")
            time.sleep(2 * limits["database_wait_seconds"])
            before = hanging()
            for _ in range(3):
                began = time.monotonic()
                assert set(crowd(shop, many)) == {503}
                assert [shop.api("GET", path).status_code for path in (page, "/readyz")] == [200, 503]
                assert time.monotonic() - began < AT_ONCE_SECONDS
            # Each goes on to wait in the server, which has room for a hundred.
            assert 0 < hanging() == before < 2 * THREADS
            pair.standby.start()
            settle(shop, "2", *many)
        assert max(took) < AT_ONCE_SECONDS
        all_is_true(shop, ["1", "2", *many])
