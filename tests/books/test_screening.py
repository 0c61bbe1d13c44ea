"""Money is screened before the billing system is told: lists, commands, people who clear it."""

import json
import sys

import pytest

from bridge.core.evidence import Screened, Subject
from bridge.desk.resolve_review import list_reviews, resolve, show_review
from bridge.screening import CommandScreening, ListScreening, matched_entry, read_list, worst
from tests.flows.world import World

ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite"])


def subject(**changes) -> Subject:
    fields = {
        "invoice_id": "inv_1",
        "merchant": "shop",
        "billing_payment_id": "7",
        "customer_id": "1001",
        "country": "RU",
        "addresses": ("tb1qsender",),
        "outpoints": ("aa:0",),
        "received_sat": 1,
    }
    return Subject(**fields | changes)


def the_review(world: World) -> str:
    items = list_reviews(world.bridge, match={"state": "open"}, limit=10)
    assert [item["kind"] for item in items] == ["screening"]
    return items[0]["id"]


def rule(world: World, decision: str) -> None:
    resolve(world.bridge, the_review(world), decision=decision, actor="anna", reason="looked at it")


@pytest.mark.parametrize("line", ["country IR", "customer c-7"])
def test_a_listed_client_waits_for_a_person_and_is_credited_after_the_ruling(worlds, tmp_path, line):
    (tmp_path / "list").write_text(f"# ours\n{line}\n")
    world = worlds(screening={"list_file": str(tmp_path / "list")})
    invoice = world.open(customer_id="c-7", customer_country="ir")
    world.pay(invoice)
    world.mine()
    assert world.seen(invoice) == ("processing", "none", "review")
    world.deliver()
    assert "invoice.settled" not in world.billing.types()
    shown = show_review(world.bridge, the_review(world))
    assert shown["blocks"]["screening"][0]["matched"] == line.replace("IR", "ir")
    assert "credit" in {action["decision"] for action in shown["blocks"]["actions"]}
    rule(world, "credit")
    assert world.invoice(invoice)["status"] == "settled"
    world.deliver()
    assert world.billing.types().count("invoice.settled") == 1


@ONE_ENGINE
def test_money_from_a_listed_address_waits_for_a_person(worlds, tmp_path):
    listed = tmp_path / "list"
    listed.write_text("")
    world = worlds(screening={"list_file": str(listed)})
    first = world.open("1")
    txid = world.pay(first)
    now = world.bridge.clock()
    reading = world.bridge.chain.read(first["address"], born_at=now, asked_at=now)
    assert reading.outputs[0].outpoint.startswith(txid)
    senders = reading.outputs[0].senders
    assert senders
    listed.write_text("".join(f"address {sender.upper()}\n" for sender in senders))
    world.mine()
    assert world.seen(first)[2] == "review"


@ONE_ENGINE
def test_everybody_else_is_served_at_once_and_asked_about_once(worlds, tmp_path):
    (tmp_path / "list").write_text("country IR\n")
    world = worlds(screening={"list_file": str(tmp_path / "list")})
    invoice = world.open(customer_country="DE")
    world.pay(invoice)
    world.look(invoice)
    world.look(invoice)
    world.mine()
    assert world.seen(invoice) == ("settled", "none", None)
    assert [row.verdict for row in world.rows("SELECT verdict FROM screenings")] == ["clear"]


@ONE_ENGINE
def test_a_screening_that_cannot_say_delays_and_in_the_end_asks_a_person(worlds, tmp_path):
    world = worlds(screening={"list_file": str(tmp_path / "missing")})
    invoice = world.open()
    world.pay(invoice)
    world.mine()
    assert world.seen(invoice) == ("processing", "none", None)
    world.advance(601)
    assert world.seen(invoice) == ("processing", "none", "review")
    (tmp_path / "missing").write_text("")
    world.look(invoice)
    rule(world, "credit")
    assert world.invoice(invoice)["status"] == "settled"


@ONE_ENGINE
def test_a_screening_that_comes_back_in_time_lets_the_money_settle(worlds, tmp_path):
    world = worlds(screening={"list_file": str(tmp_path / "late")})
    invoice = world.open()
    world.pay(invoice)
    world.mine()
    assert world.seen(invoice) == ("processing", "none", None)
    (tmp_path / "late").write_text("country IR\n")
    assert world.seen(invoice) == ("settled", "none", None)


@ONE_ENGINE
def test_a_hit_may_be_refunded_instead(worlds, tmp_path):
    (tmp_path / "list").write_text("customer bad\n")
    world = worlds(screening={"list_file": str(tmp_path / "list")})
    invoice = world.open(customer_id="bad")
    world.pay(invoice)
    world.mine()
    world.look(invoice)
    rule(world, "refund")
    assert world.invoice(invoice)["status"] == "invalid"
    assert world.balance("refunds_payable") == -invoice["remaining_sat"]


def test_a_command_reads_the_subject_and_says_its_verdict():
    program = (
        "import json,sys; s=json.load(sys.stdin);"
        "print(json.dumps({'verdict': 'hit' if s['country'] == 'IR' else 'clear', 'reason': s['customer_id']}))"
    )
    command = CommandScreening([sys.executable, "-c", program], timeout_seconds=10)
    assert command.screen(subject(country="IR")) == Screened(verdict="hit", matched="command", detail="1001")
    assert command.screen(subject()).verdict == "clear"


@pytest.mark.parametrize(
    "program",
    ["import time; time.sleep(30)", "raise SystemExit(1)", "print('no')", "print('{}')", "print('[1]')"],
)
def test_a_command_that_cannot_say_is_pending(program):
    command = CommandScreening([sys.executable, "-c", program], timeout_seconds=1)
    assert command.screen(subject()).verdict == "pending"


def test_a_missing_command_is_pending():
    assert CommandScreening(["/nonexistent"], timeout_seconds=1).screen(subject()).verdict == "pending"


def test_nothing_a_payer_wrote_reaches_a_shell(tmp_path):
    program = 'import sys; print(\'{"verdict": "clear"}\')'
    command = CommandScreening([sys.executable, "-c", program], timeout_seconds=10)
    assert command.screen(subject(customer_id=f"$(touch {tmp_path}/owned); rm")).verdict == "clear"
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_list_names_its_line_and_lets_nobody_pass(tmp_path):
    with pytest.raises(ValueError, match="line 2"):
        read_list("country IR\nadress tb1q\n")
    (tmp_path / "list").write_text("adress tb1q\n")
    assert ListScreening(str(tmp_path / "list")).screen(subject()).verdict == "pending"


def test_values_match_without_case_and_empty_ones_match_nothing():
    listed = read_list("country ir\naddress TB1QSENDER # theirs")
    assert matched_entry(subject(country="IR"), listed) == "address tb1qsender"
    assert matched_entry(subject(addresses=()), listed) is None
    assert matched_entry(subject(addresses=(), country=""), {"country": frozenset({""})}) is None


def test_the_worst_answer_counts():
    clear, hit, pending = (Screened(verdict=v) for v in ("clear", "hit", "pending"))
    assert worst((clear, pending, hit)) == hit
    assert worst((clear, pending)) == pending
    assert worst(()) == clear


def test_the_same_subject_is_always_the_same_text():
    assert subject().text() == subject().text()
    assert json.loads(subject().text())["outpoints"] == ["aa:0"]
