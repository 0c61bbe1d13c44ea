"""Every seed, every finding and what guided runs have grown, and a short run from them with a fixed beginning.

Owns nothing but the loop; long runs are `make fuzz`.
"""

import random
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.fuzz.findings import CORPUS, attempt, grown_of, seeds_of
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import Target, targets
from tests.web.conftest import build_site

INPUTS = 120
NAMES = [
    "callback_body",
    "callback_token",
    "callback_header",
    "api_order",
    "api_change",
    "api_check",
    "api_query",
    "feed_query",
    "api_key",
    "idempotency_key",
    "language",
    "any_route",
    "pay_page",
    "subtc_poll",
    "subtc_inbox",
    "subtc_balance",
    "subtc_health",
    "subtc_sent",
    "esplora",
    "esplora_block",
    "esplora_page",
    "esplora_tx",
    "price",
    "price_xml",
    "bolt11",
    "bolt11_inside",
    "lnbits_read",
    "lnbits_offer",
    "lnbits_balance",
    "lnbits_sent",
    "lightning_address",
    "electrum_read",
    "electrum_offer",
    "electrum_balance",
    "electrum_sent",
    "signed_message",
    "webhook_signature",
    "callback_signature",
    "address",
    "descriptor",
    "money",
    "module_cgi",
    "module_signature",
    "module_answer",
    "module_event",
    "module_xml",
]


# These reach the database, and the engines refuse different bytes: PostgreSQL takes no NUL in a text, for one.
STORED = [
    name for name in NAMES if name.startswith(("callback_b", "callback_t", "any_", "api_", "feed", "idem", "pay_"))
]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory, sqlite_template) -> Iterator[dict[str, Target]]:
    path = tmp_path_factory.mktemp("fuzz") / "bridge.db"
    path.write_bytes(sqlite_template.read_bytes())
    site = build_site(f"sqlite:///{path}")
    with closing(site.bridge.store):
        yield targets(site)


@pytest.fixture(scope="module")
def known_on_postgresql(postgresql_cluster, postgresql_template) -> Iterator[dict[str, Target]]:
    postgresql_cluster.create_database("fuzz", template=postgresql_template)
    site = build_site(postgresql_cluster.url("fuzz"))
    with closing(site.bridge.store):
        yield targets(site)
    postgresql_cluster.drop_database("fuzz")


@pytest.mark.parametrize("name", STORED)
def test_no_bytes_of_a_stranger_trouble_postgresql(known_on_postgresql, name):
    throw(known_on_postgresql[name], name)


@pytest.mark.parametrize("name", NAMES)
def test_no_bytes_of_a_stranger_become_a_traceback(known, name):
    throw(known[name], name)


def throw(target: Target, name: str) -> None:
    """Every seed, finding and grown input, and INPUTS more that are the same in every run."""
    chance = random.Random(name)
    seeds = seeds_of(name, target)
    for raw in [*seeds, *grown_of(name), *(mutated(chance.choice(seeds), chance) for _ in range(INPUTS))]:
        assert attempt(target, raw) == "", raw


def test_every_target_is_run(known):
    assert sorted(NAMES) == sorted(known)
    assert {path.name for path in CORPUS.glob("*") if path.is_dir()} <= set(NAMES)


def test_the_fuzzer_finds_a_planted_fault():
    def faulty(raw: bytes) -> None:
        int(raw)

    planted = Target(run=faulty, seeds=(b"1",), expected=())
    chance = random.Random(1)
    assert any("ValueError" in attempt(planted, mutated(b"1", chance)) for _ in range(50))
