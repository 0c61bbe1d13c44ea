"""Callbacks: kept to the byte before they are answered, believed in nothing, rung once."""

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
import requests
from sqlalchemy.engine import make_url

from bridge.core.errors import Refused, Unavailable
from bridge.invoices.inbox import receive_callback, replay
from bridge.invoices.poll import arm_watches
from tests.builders import with_rail
from tests.flows.world import World, until

FORGED = b'{"address":"%s","reached":true,"received_sat":15539,"status":"confirmed","coin":"btc","net":"test"}'


def kept(world: World) -> list[tuple[bytes, str, int]]:
    return [(bytes(body), state, copies) for body, state, copies in world.rows("SELECT body, state, copies FROM inbox")]


def test_a_callback_is_kept_to_the_byte_with_its_plain_headers_only(world: World) -> None:
    invoice = world.open()
    headers = {
        "content-type": "application/json",
        "user-agent": "u" * 500,
        "authorization": "Bearer secret",
        "cookie": "c",
    }
    token = world.bridge.callback_token(invoice["id"])
    receive_callback(world.bridge, token=token, headers=headers, body=b"\x00\xff not even text", signature="valid")
    ((body, text, state),) = world.rows("SELECT body, headers, state FROM inbox")
    assert (bytes(body), state) == (b"\x00\xff not even text", "new")
    assert "secret" not in text
    assert "cookie" not in text
    assert len(text) < 400


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("token", ["", "x", "A" * 22, "../../etc/passwd", "ü" * 30, "%00", "' OR 1=1 --"])
def test_an_unknown_token_is_refused_and_nothing_is_kept(world: World, token: str) -> None:
    world.open()
    with pytest.raises(Refused) as refused:
        receive_callback(world.bridge, token=token, headers={}, body=b"{}", signature="unchecked")
    assert refused.value.code == "unknown_token"
    assert kept(world) == []


def test_the_token_of_one_invoice_rings_only_that_one(world: World) -> None:
    first, second = world.open("1"), world.open("2")
    world.ring(second)
    rung = world.rows("SELECT invoice_id FROM inbox")
    assert [row.invoice_id for row in rung] == [second["id"]]
    assert first["id"] != second["id"]


def test_a_doubled_callback_is_kept_once_and_counted(world: World) -> None:
    invoice = world.open()
    for _ in range(3):
        world.ring(invoice, b'{"same":1}')
    world.ring(invoice, b'{"another":1}')
    assert sorted(kept(world)) == [(b'{"another":1}', "new", 0), (b'{"same":1}', "new", 2)]


def test_twelve_copies_at_once_are_kept_once(world: World) -> None:
    invoice = world.open()
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda _: world.ring(invoice, b"{}"), range(12)))
    assert kept(world) == [(b"{}", "new", 11)]


def test_a_forged_callback_with_the_right_amounts_leads_to_a_look_and_to_nothing_else(world: World) -> None:
    invoice = world.open()
    world.ring(invoice, FORGED % invoice["address"].encode())
    assert world.answer_doorbells() == 1
    now = world.invoice(invoice)
    assert (now["status"], now["received_sat"], now["sequence"]) == ("new", 0, 1)
    world.deliver()
    assert world.billing.told == []
    assert kept(world)[0][1] == "done"


def test_many_rings_lead_to_one_look(world: World) -> None:
    invoice = world.open()
    world.poll()
    before = world.calls("wallet_poll")
    for number in range(20):
        world.ring(invoice, b'{"n":%d}' % number)
    assert world.answer_doorbells() == 1
    assert world.answer_doorbells() == 0
    assert world.calls("wallet_poll") == before + 1
    assert {state for _, state, _ in kept(world)} == {"done"}


def test_a_doorbell_brings_the_look_forward(world: World) -> None:
    invoice = world.open()
    world.work()
    world.pay(invoice, confirmations=1)
    assert world.poll() == 0
    world.ring(invoice)
    assert world.answer_doorbells() == 1
    assert world.invoice(invoice)["status"] == "settled"


def test_a_gateway_that_repeats_the_callback_address_leaves_no_token_behind(world: World) -> None:
    invoice = world.open()
    token = world.bridge.callback_token(invoice["id"])
    body = f'{{"reached":true,"callback_url":"https://pay.example/callbacks/subtc/{token}"}}'.encode()
    world.ring(invoice, body=body)
    world.ring(invoice, body=body)
    [row] = world.rows("SELECT id, body, copies FROM inbox")
    assert (bytes(row.body), row.copies) == (body.replace(token.encode(), b"[token]"), 1)
    # What is kept is still the same callback when somebody plays it again.
    assert replay(world.bridge, f"in:{row.id}", actor="anna", reason="a test") == "unchanged"
    assert [copies for _, _, copies in kept(world)] == [2]


def test_a_callback_of_a_closed_invoice_is_unknown(world: World) -> None:
    invoice = world.open()
    world.advance(86_400 + 604_801)
    world.look(invoice)
    with pytest.raises(Refused) as refused:
        world.ring(invoice)
    assert refused.value.code == "unknown_token"


def test_a_callback_of_an_expired_invoice_still_rings(world: World) -> None:
    invoice = world.open()
    world.advance(86_401)
    world.look(invoice)
    world.ring(invoice)
    assert world.answer_doorbells() == 1


def test_a_wrong_signature_is_refused_kept_as_a_dead_letter_and_rings_nothing(world: World) -> None:
    invoice = world.open()
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            world.ring(invoice, b"{}", "invalid")
        assert refused.value.code == "bad_signature"
    assert kept(world) == [(b"{}", "dead", 1)]
    assert world.answer_doorbells() == 0
    world.ring(invoice, b"{}", "valid")  # the dead copy does not stand in the way of the true one
    assert world.answer_doorbells() == 1


def test_a_huge_callback_is_kept_whole(world: World) -> None:
    invoice = world.open()
    body = bytes(range(256)) * 256
    world.ring(invoice, body)
    assert kept(world) == [(body, "new", 0)]


def test_the_token_is_neither_stored_nor_logged(
    world: World, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "bridge")
    invoice = world.open()
    token = world.bridge.callback_token(invoice["id"])
    world.ring(invoice)
    with pytest.raises(Refused):
        world.ring(invoice, b"{}", "invalid")
    world.work()
    assert len(token) == 22
    assert token not in caplog.text
    assert token not in "".join(str(vars(record)) for record in caplog.records)
    assert token not in _everything_in(world, database_url)


def _everything_in(world: World, database_url: str) -> str:
    url = make_url(database_url)
    tables = [
        row[0]
        for row in world.rows(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            if url.get_backend_name() == "postgresql"
            else "SELECT name FROM sqlite_master WHERE type = 'table'"
        )
    ]
    assert "inbox" in tables
    return "".join(str(world.rows(f"SELECT * FROM {table}")) for table in tables)


def test_the_gateways_own_callback_rings_through_http(world: World) -> None:
    """The watch that the worker arms leads to one POST to the invoice's own address."""
    invoice = world.open()
    assert arm_watches(world.bridge, limit=10) == 1
    (watch,) = requests.get(f"{world.sandbox.url}/_control/watches", timeout=10).json()["watches"]
    assert watch["callback_url"] == f"http://127.0.0.1:9/callbacks/subtc/{world.bridge.callback_token(invoice['id'])}"
    assert watch["expected_sat"] == invoice["remaining_sat"]
    assert arm_watches(world.bridge, limit=10) == 0
    world.advance(541)
    assert arm_watches(world.bridge, limit=10) == 1


def test_a_watch_that_cannot_be_armed_is_tried_again_a_minute_later(world: World) -> None:
    world.open()
    world.fault("wallet_wait_event", "down", times=1)
    assert [arm_watches(world.bridge, limit=10) for _ in range(2)] == [1, 0]
    world.advance(61)
    assert arm_watches(world.bridge, limit=10) == 1
    until(lambda: requests.get(f"{world.sandbox.url}/_control/watches", timeout=10).json()["watches"])


def test_of_many_watches_those_that_fail_alone_are_tried_again(world: World) -> None:
    for number in range(5):
        world.open(str(number))
    world.fault("wallet_wait_event", "down", times=2)
    assert arm_watches(world.bridge, limit=4) == 4
    assert [arm_watches(world.bridge, limit=10) for _ in range(2)] == [1, 0]
    world.advance(61)
    assert arm_watches(world.bridge, limit=10) == 2


def test_two_workers_do_not_arm_the_same_watch(world: World) -> None:
    armed = []
    world.open()

    class Slow:
        """Meanwhile another worker looks for watches to arm."""

        def watch(self, **_asked: object) -> None:
            armed.append(arm_watches(world.bridge, limit=10))

    assert arm_watches(with_rail(world.bridge, reader=Slow()), limit=10) == 1
    assert armed == [0]


def test_a_gateway_that_hangs_keeps_the_other_errands_waiting_for_one_watch_alone(world: World) -> None:
    for number in range(3):
        world.open(str(number))

    class Hanging:
        def watch(self, **_asked: object) -> None:
            world.advance(20)
            raise Unavailable("provider_unavailable", "timeout")

    hanging = with_rail(world.bridge, reader=Hanging())
    asked = "SELECT name, SUM(spent) FROM budget_calls GROUP BY name ORDER BY name"
    before = dict(map(tuple, world.rows(asked)))
    assert arm_watches(hanging, limit=10) == 1
    assert dict(map(tuple, world.rows(asked))) == before | {"provider": before.get("provider", 0) + 1, "watches": 1}
    world.advance(61)
    assert arm_watches(world.bridge, limit=10) == 3


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_a_callback_that_was_answered_is_there_for_every_other_connection(world: World, database_url: str) -> None:
    invoice = world.open()
    world.ring(invoice)
    url = make_url(database_url)
    with closing(psycopg.connect(host=url.query["host"], user=url.username, dbname=url.database)) as other:
        assert other.execute("SELECT count(*) FROM inbox").fetchone() == (1,)
