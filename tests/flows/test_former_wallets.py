"""Another key, another wallet, another kind of wallet while invoices are open: the old ones are read to their end."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from bridge.core.errors import Refused
from bridge.desk.explain import explain
from bridge.desk.resolve_review import list_reviews, resolve
from bridge.invoices.poll import arm_watches, sense_balance
from bridge.payouts.treasury import old_balances, read_balances, treasury_rows, treasury_view
from bridge.permit import scopes
from bridge.upkeep.check import alerts
from bridge.upkeep.doctor import FAIL, PASS, WARN, Finding, Place, examine
from tests.books.runs import codes, reconcile
from tests.flows.moving import NEW_KEY, moved, new_account, old_account, restarted
from tests.flows.test_own_wallet import DESCRIPTOR, OWN
from tests.flows.world import KEY, WALLET, World

DAY = 86_400
# Without a chain reader, as a small shop begins: the gateway's word alone settles.
ALONE = {"chain": {}, "policy": {"default": {"provider_only_max_sat": 1_000_000}}}
OWN_WALLET = {"subtc": None, "own_wallet": {"descriptor": DESCRIPTOR}}


def worked(world: World, *, seconds: int = 31, rounds: int = 3) -> None:
    """The worker's rounds, as time goes by."""
    for _ in range(rounds):
        world.advance(seconds)
        world.work()


def tripped(world: World, **options: bool) -> dict[str, str]:
    return {alert.rule: alert.detail for alert in alerts(world.bridge, **options)}


def examined(world: World) -> dict[str, Finding]:
    return {each.name: each for each in examine(world.bridge, Place())}


@pytest.mark.parametrize("settings", [{}, ALONE], ids=["chain and gateway", "the gateway alone"])
def test_an_invoice_that_is_paid_after_the_switch_settles(worlds: Callable[..., World], settings: Any) -> None:
    world = worlds(**settings)
    before = world.open("1")
    world.pay(seen := world.open("2"))
    world.look(seen)
    world = moved(world, **settings)
    after = world.open("3")
    assert after["address"] not in (before["address"], seen["address"])
    for invoice in (before, after):
        world.pay(invoice)
    world.mine()
    worked(world)
    assert [world.invoice(each)["status"] for each in (before, seen, after)] == ["settled"] * 3
    assert world.reviews() == []
    assert "wallet_missing" not in tripped(world, ask_outside=True)


def test_another_wallet_of_the_same_key_needs_no_key_of_its_own(worlds: Callable[..., World]) -> None:
    world = worlds(**ALONE)
    invoice = world.open()
    second = world.wallet.create_wallet()  # type: ignore[attr-defined]
    world = restarted(world, subtc={"wallet_id": second}, former_wallets=[{"wallet_id": WALLET}], **ALONE)
    world.pay(invoice)
    world.mine()
    assert world.seen(invoice)[0] == "settled"


def test_a_watch_stands_under_the_invoices_own_wallet(world: World) -> None:
    invoice = world.open()
    world = moved(world)
    later = world.open("8")
    assert arm_watches(world.bridge, limit=5) == 2
    watches = world.sandbox.world.callbacks.watches
    armed = {(watch.address, watch.wallet_id) for watch in watches if watch.state == "watching"}
    assert armed == {(invoice["address"], WALLET), (later["address"], world.bridge.wallet_id)}


def test_a_paid_invoice_of_a_wallet_in_no_setting_asks_a_person_at_once(world: World) -> None:
    invoice = world.open()
    world = moved(world, former=[])
    assert tripped(world)["wallet_missing"] == f"1 open invoices of wallet {WALLET}, which no setting can read"
    assert examined(world)["wallet_missing"].state == FAIL
    worked(world)
    assert world.reviews() == [], "nothing came yet: the alert is enough"
    world.pay(invoice)
    world.mine()
    worked(world)
    assert world.reviews() == ["wallet_unread"]
    now = world.invoice(invoice)
    assert (now["status"], now["hold"], now["reason"]) == ("processing", "review", "wallet_unread")
    assert "no setting names it" in " ".join(explain(world.bridge, invoice["id"], lang="en"))


def test_the_question_ends_by_itself_when_the_wallet_is_named(world: World) -> None:
    invoice = world.open()
    unread = moved(world, former=[])
    unread.pay(invoice)
    unread.mine()
    worked(unread)
    assert unread.reviews() == ["wallet_unread"]
    named = moved(world)
    worked(named)
    assert named.reviews() == []
    assert named.invoice(invoice)["status"] == "settled"
    assert "answered itself: the wallet was read again." in " ".join(explain(named.bridge, invoice["id"], lang="en"))
    named.deliver()
    assert named.billing.types().count("invoice.settled") == 1


def test_an_answer_that_the_machine_gave_lets_nothing_pass(world: World) -> None:
    """The wallet is read again, and says less than the chain: its word is not set aside by the question that ended."""
    invoice = world.open()
    unread = moved(world, former=[])
    txid = unread.pay(invoice)
    unread.mine()
    worked(unread)
    named = moved(world)
    named.fault("wallet_poll", "set_member", member="received_sat", value=0)
    named.fault("wallet_poll", "set_member", member="reached", value=False)
    worked(named)
    assert named.invoice(invoice)["status"] == "processing"
    named.advance(700)
    worked(named)
    assert named.reviews() == ["provider_disagrees"] and txid


def test_a_person_may_rule_by_the_chain_when_the_key_is_gone(world: World) -> None:
    invoice = world.open()
    world = moved(world, former=[])
    world.pay(invoice)
    world.mine()
    worked(world)
    (item,) = list_reviews(world.bridge, match={"state": "open"}, limit=5)
    assert item["severity"] == "urgent"
    resolve(world.bridge, item["id"], decision="credit", actor="fay", reason="two explorers show it")
    assert world.invoice(invoice)["status"] == "settled"
    worked(world)
    assert world.reviews() == []


def test_a_ruling_that_does_not_settle_yet_is_not_asked_for_again(world: World) -> None:
    invoice = world.open()
    world = moved(world, former=[])
    world.pay(invoice)
    worked(world)
    (item,) = list_reviews(world.bridge, match={"state": "open"}, limit=5)
    resolve(world.bridge, item["id"], decision="credit", actor="fay", reason="it is in the mempool")
    worked(world)
    assert (world.reviews(), world.invoice(invoice)["status"]) == ([], "processing")
    world.mine()
    worked(world)
    assert world.invoice(invoice)["status"] == "settled"


def test_what_nobody_can_read_is_never_closed_by_a_machine(worlds: Callable[..., World]) -> None:
    world = worlds(**ALONE)
    invoice = world.open()
    world = moved(world, former=[], **ALONE)
    world.pay(invoice)
    world.mine()
    for _ in range(10):
        worked(world, seconds=DAY, rounds=1)
    assert world.invoice(invoice)["status"] in ("new", "expired")
    assert world.reviews() == ["wallet_unread"]
    assert "invoice.cancelled" not in world.billing.types()
    named = moved(world, **ALONE)
    worked(named, seconds=DAY, rounds=2)
    assert named.invoice(invoice)["received_sat"] == invoice["remaining_sat"], "late, and not lost"


def test_what_nobody_can_read_is_tried_ever_more_rarely(worlds: Callable[..., World]) -> None:
    world = worlds(**ALONE)
    world.open()
    world.poll()
    world = moved(world, former=[], **ALONE)
    tries = 0
    for _ in range(72):
        world.advance(600)
        tries += world.poll()
    assert 0 < tries < 20
    named = moved(world, **ALONE)
    named.advance(DAY)
    assert named.poll() == 1


@pytest.mark.parametrize("settings", [{}, ALONE], ids=["chain and gateway", "the gateway alone"])
def test_a_refused_key_is_an_alert_and_a_paid_invoice_asks(worlds: Callable[..., World], settings: Any) -> None:
    world = worlds(**settings)
    world.pay(invoice := world.open())
    world.look(invoice)
    wrong = old_account(world, key="SUBTC-KEY-" + "d" * 48)
    world = moved(world, former=[wrong], **settings)
    said = f"the gateway refuses to answer for wallet {WALLET}"
    assert said in tripped(world, ask_outside=True)["wallet_missing"]
    assert examined(world)[f"former_wallet_key:{WALLET}"].state == FAIL
    worked(world)
    assert world.reviews() == [], "a busy node may refuse for a while"
    world.advance(600)
    worked(world)
    assert world.reviews() == ([] if settings else ["wallet_unread"])


def test_a_node_that_refuses_for_a_while_makes_nobody_look(world: World) -> None:
    """A gateway that answers every failure with HTTP 200 (SUBTC contract 10) calls an outage a refusal."""
    world.control("knobs", status="always200")
    world.pay(invoice := world.open())
    world.look(invoice)
    world.fault("wallet_poll", "node_unavailable")
    worked(world, rounds=10)
    assert (world.reviews(), world.invoice(invoice)["hold"]) == ([], None)
    world.heal()
    world.mine()
    worked(world)
    assert world.invoice(invoice)["status"] == "settled"


def test_the_doctor_says_how_long_a_former_wallet_is_needed(world: World) -> None:
    invoice = world.open()
    world = moved(world)
    item = examined(world)[f"former_wallet:{WALLET}"]
    assert (item.state, item.detail.startswith("1 open invoices")) == (PASS, True)
    world.pay(invoice)
    world.mine(6)
    worked(world)
    assert examined(world)[f"former_wallet:{WALLET}"].state == PASS, "late money may still come"
    world.advance(9 * DAY)
    worked(world, rounds=1)
    read_balances(world.bridge, owner="w1")
    over = examined(world)[f"former_wallet:{WALLET}"]
    until = datetime.fromisoformat(world.invoice(invoice)["monitor_until"])
    assert over.state == WARN
    assert f"former wallet {WALLET} is not needed any more since {until:%Y-%m-%d %H:%M} UTC" in over.detail
    assert f"{invoice['remaining_sat']} sat lay there" in over.detail
    assert "wallet_missing" not in tripped(restarted(world, subtc=new_account(world)))


def test_money_in_a_former_wallet_is_seen_counted_and_reconciled(worlds: Callable[..., World]) -> None:
    world = worlds()
    world.pay(first := world.open("1"))
    world.mine(6)
    world.look(first)
    bare = moved(world, former=[])
    assert "wallet_differs" in codes(reconcile(bare.bridge))
    world = moved(world, treasury={"max_hot_sat": 25_000})
    world.pay(second := world.open("2"))
    world.mine(6)
    world.look(second)
    read_balances(world.bridge, owner="w1")
    view = treasury_view(world.bridge)
    assert [(each["role"], each["confirmed_sat"]) for each in view["wallets"]] == [("hot", second["remaining_sat"])]
    (former,) = view["former_wallets"]
    assert (former["wallet_id"], former["role"], former["confirmed_sat"]) == (WALLET, "hot", first["remaining_sat"])
    total_sat = first["remaining_sat"] + second["remaining_sat"]
    assert view["wallets"][0]["ledger_sat"] == total_sat > 25_000 > second["remaining_sat"]
    assert view["is_over_cap"] and "hot_balance" in tripped(world, ask_outside=True)
    assert codes(reconcile(world.bridge)) == []
    now = world.bridge.clock()
    (hot,) = [r for r in treasury_rows(world.bridge, from_at=now - timedelta(days=1), to_at=now) if r["role"] == "hot"]
    assert hot["closing_sat"] == hot["read_sat"] == total_sat
    assert f'role="hot:{WALLET}"' in world.bridge.metrics.text().decode()


def test_a_former_wallet_with_money_that_cannot_be_read_is_an_alert(world: World) -> None:
    world.pay(invoice := world.open())
    world.mine(6)
    world.look(invoice)
    world = moved(world)
    read_balances(world.bridge, owner="w1")
    world.fault("wallet_balance", "down")
    for _ in range(3):
        world.advance(1_300)
        read_balances(world.bridge, owner="w1")
    with world.bridge.store.read() as tx:
        assert old_balances(tx, world.bridge, now=world.bridge.clock()) == [f"hot:{WALLET}"]
        gone = restarted(world, subtc=new_account(world)).bridge
        assert old_balances(tx, gone, now=gone.clock()) == [], "people took it out of the settings"


def test_a_quiet_new_wallet_makes_no_invoice_of_the_old_one_wait(world: World) -> None:
    invoice = world.open()
    world.poll()
    world = moved(world)
    world.advance(7)
    sense_balance(world.bridge, owner="w1")
    world.pay(invoice)
    world.advance(31)
    sense_balance(world.bridge, owner="w1")
    assert world.poll() == 1
    assert world.invoice(invoice)["status"] == "processing"


def test_a_former_wallet_has_its_own_switch(world: World) -> None:
    invoice = world.open()
    world = moved(world)
    assert f"wallet:{WALLET}" in scopes(world.bridge)
    world.switch("paused", scope=f"wallet:{WALLET}")
    polls = world.calls("wallet_poll")
    world.pay(invoice)
    worked(world)
    assert world.calls("wallet_poll") == polls
    assert arm_watches(world.bridge, limit=5) == 0
    assert reconcile(world.bridge)["findings"] == []
    world.switch("normal", scope=f"wallet:{WALLET}")
    world.mine()
    worked(world)
    assert world.invoice(invoice)["status"] == "settled"


def test_from_the_gateway_to_an_own_wallet_the_old_invoices_are_read_on(worlds: Callable[..., World]) -> None:
    world = worlds()
    invoice = world.open()
    bare = restarted(world, **OWN_WALLET)
    assert "wallet_missing" in tripped(bare)
    world = restarted(world, **OWN_WALLET, former_wallets=[old_account(world)])
    own = world.open("8")
    assert own["address"] == OWN.address(0)
    assert arm_watches(world.bridge, limit=5) == 1
    for each in (invoice, own):
        world.pay(each)
    world.mine()
    worked(world)
    assert [world.invoice(each)["status"] for each in (invoice, own)] == ["settled", "settled"]
    assert (world.balance("wallet:hot"), world.balance("wallet:cold")) == (
        invoice["remaining_sat"],
        own["remaining_sat"],
    )
    assert codes(reconcile(world.bridge)) == []
    assert "wallet_missing" not in tripped(world, ask_outside=True)


def test_from_an_own_wallet_to_the_gateway_the_chain_reads_the_old_invoices_on(worlds: Callable[..., World]) -> None:
    world = worlds(**OWN_WALLET)
    invoice = world.open()
    world = restarted(world)
    later = world.open("8")
    for each in (invoice, later):
        world.pay(each)
    world.mine()
    worked(world)
    assert [world.invoice(each)["status"] for each in (invoice, later)] == ["settled", "settled"]
    assert "wallet_missing" not in tripped(world, ask_outside=True)


def test_an_own_wallets_invoice_without_any_chain_reader_is_not_left_alone(worlds: Callable[..., World]) -> None:
    world = worlds(**OWN_WALLET)
    world.pay(invoice := world.open())
    world.look(invoice)
    blind = restarted(world, **ALONE)
    assert f"1 open invoices of wallet {OWN.wallet_id}" in tripped(blind)["wallet_missing"]
    worked(blind)
    assert blind.reviews() == ["wallet_unread"]
    world = restarted(world)
    world.mine()
    worked(world, rounds=2)
    assert (world.reviews(), world.invoice(invoice)["status"]) == ([], "settled")


def test_a_former_wallet_can_only_be_read(world: World) -> None:
    world = moved(world)
    reader = world.bridge.former[WALLET].reader
    assert not hasattr(reader, "send") and not hasattr(reader, "create_inbox")
    assert KEY not in repr(reader) and NEW_KEY not in repr(world.wallet)
    with pytest.raises(Refused):
        world.switch("paused", scope="wallet:wt_0")
