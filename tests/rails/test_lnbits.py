"""The rail over an LNbits: what it makes of good answers, of bad ones and of none, asked of the emulated server."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.config import Lnbits
from bridge.core.errors import BridgeError, OutcomeUnknown, ProtocolError, Refused, Unavailable
from bridge.core.evidence import ChainReading
from bridge.core.rail import Offer, Wanted
from bridge.lightning.bolt11 import decoded
from bridge.rails.lnbits import LnbitsWallet
from sandbox.bitcoin import Served, serve_in_thread
from tests.sandbox_bitcoin.driver import Receiver, until

KEYS = ("a" * 32, "b" * 32, "c" * 32)


@dataclass(kw_only=True)
class Place:
    """The emulated server, and the rail's client of one wallet there."""

    sandbox: Served
    wallet: LnbitsWallet

    def control(self, command: str, **body: Any) -> Any:
        client = self.sandbox.server.app.test_client()
        reply = client.post(f"/_control/{command}", json=body) if body or command != "ln_state" else None
        reply = reply or client.get(f"/_control/{command}")
        assert reply.status_code == 200, reply.text
        return reply.json

    def fault(self, mode: str, kind: str, **parameters: Any) -> None:
        self.control("knobs", fault={"mode": mode, "kind": kind, **parameters})

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.sandbox.world.clock.now(), UTC)

    def wanted(self, sat: int = 1_500, *, seconds: int = 600, **more: Any) -> Wanted:
        terms: dict[str, Any] = {
            "reference": "inv_1:1",
            "memo": "VPS",
            "expires_at": self.now + timedelta(seconds=seconds),
        }
        return Wanted(due_units=sat, **terms | more)

    def offer(self, sat: int = 1_500, **more: Any) -> Offer:
        return self.wallet.offer(self.wanted(sat, **more))

    def read(self, offer: Offer) -> ChainReading:
        return self.wallet.read(offer.text, born_at=self.now, asked_at=self.now)

    def pay(self, offer: Offer) -> None:
        self.control("ln_pay", bolt11=offer.text)

    def made(self) -> list[dict[str, Any]]:
        return [each for each in self.control("ln_state")["payments"] if each["amount"] > 0]

    def fund(self, sat: int = 100_000) -> None:
        self.pay(self.offer(sat, reference="fund"))


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    sandbox = serve_in_thread(lnbits=KEYS)
    yield sandbox
    sandbox.stop()


@pytest.fixture
def wallets(served: Served) -> Iterator[Callable[..., LnbitsWallet]]:
    """Clients of the server with changed settings, of a world that is new."""
    served.world.reset()
    made: list[LnbitsWallet] = []

    def make(network: str = "test", **changes: Any) -> LnbitsWallet:
        account = {"url": f"{served.url}/lnbits", "wallet_id": KEYS[0], "invoice_key": KEYS[1], "admin_key": KEYS[2]}
        made.append(LnbitsWallet(Lnbits.model_validate(account | {"timeout_seconds": 2} | changes), network=network))
        return made[-1]

    yield make
    for wallet in made:
        wallet.close()


@pytest.fixture
def place(served: Served, wallets: Callable[..., LnbitsWallet]) -> Place:
    return Place(sandbox=served, wallet=wallets())


def test_an_offer_is_an_invoice_for_just_the_sum_and_the_time_that_are_wanted(place: Place) -> None:
    wanted = place.wanted(1_500)
    offer = place.wallet.offer(wanted)
    asked = decoded(offer.text)
    assert (asked.amount_msat, asked.description, asked.network) == (1_500_000, "VPS", "test")
    assert (offer.key, offer.expires_at) == (asked.payment_hash, asked.expires_at)
    assert wanted.expires_at is not None
    assert abs(asked.expires_at - wanted.expires_at) <= timedelta(seconds=2)


@pytest.mark.parametrize("kind", ["lost_response", "cut_midway", "truncated_json", "not_json", "error_500_after"])
def test_an_answer_that_was_lost_is_found_again_and_no_second_invoice_is_made(place: Place, kind: str) -> None:
    place.fault("ln_create", kind, times=1)
    with pytest.raises(BridgeError):
        place.offer()
    offer = place.offer()
    assert [each["bolt11"] for each in place.made()] == [offer.text]
    assert place.offer() == offer


def test_a_first_try_looks_nothing_up_once_the_servers_clock_is_known(place: Place) -> None:
    place.wallet.health()
    place.fault("ln_list", "error")
    first = place.offer(is_first_try=True)
    assert decoded(first.text).expires_at == first.expires_at
    with pytest.raises(Unavailable):
        place.offer()


def test_a_first_try_at_a_server_that_never_answered_asks_for_its_clock(place: Place) -> None:
    place.control("clock", advance_s=-3 * 86_400)
    first = place.offer(is_first_try=True)
    assert first.expires_at is not None
    assert abs(first.expires_at - place.now - timedelta(seconds=600)) < timedelta(seconds=5)


def test_another_reference_gets_another_invoice(place: Place) -> None:
    assert place.offer(reference="inv_1:1").key != place.offer(reference="inv_1:2").key


def test_one_that_ran_out_is_not_offered_again(place: Place) -> None:
    first = place.offer(seconds=60)
    place.control("clock", advance_s=61)
    second = place.offer(seconds=60)
    assert second.key != first.key
    assert second.expires_at is not None and second.expires_at > place.now


def test_a_server_that_knows_no_filter_does_not_lend_another_invoice(place: Place) -> None:
    other = place.offer(reference="inv_2:1")
    place.fault("ln_list", "unfiltered")
    assert place.offer(reference="inv_1:1").key != other.key


@pytest.mark.parametrize(
    ("kind", "code", "field"),
    [
        ("wrong_amount", "wrong_amount", "bolt11"),
        ("no_amount", "no_amount", "bolt11"),
        ("wrong_network", "wrong_network", "bolt11"),
        ("expires_late", "bolt11_expires_late", "bolt11"),
        ("credits_other", "wrong_amount", "amount"),
        ("other_hash", "provider_other_answer", "payment_hash"),
    ],
)
def test_an_invoice_that_was_not_asked_for_is_refused_with_a_code_and_the_field(
    place: Place, kind: str, code: str, field: str
) -> None:
    place.fault("ln_create", kind)
    with pytest.raises(ProtocolError) as refused:
        place.offer()
    assert (refused.value.code, refused.value.field) == (code, field)


@pytest.mark.parametrize("member", ["bolt11", "amount", "payment_hash", "wallet_id"])
@pytest.mark.parametrize("value", [None, "", [], 1.5, "x" * 32, True])
def test_a_member_of_another_shape_is_never_an_offer(place: Place, member: str, value: object) -> None:
    place.fault("ln_create", "set_member", member=member, value=value)
    with pytest.raises(BridgeError) as refused:
        place.offer()
    assert refused.value.code


def test_a_pretended_node_names_the_main_network_and_only_a_setting_lets_that_pass(
    place: Place, wallets: Callable[..., LnbitsWallet]
) -> None:
    place.control("knobs", ln_prefix="bc")
    with pytest.raises(ProtocolError, match="network main"):
        place.offer()
    assert decoded(wallets("main").offer(place.wanted()).text).network == "main"


def test_nothing_paid_is_a_fact(place: Place) -> None:
    reading = place.read(place.offer())
    assert (reading.outputs, reading.gap, reading.source) == ((), "", "lnbits")


def test_what_was_paid_is_one_fact_with_a_key_for_ever(place: Place) -> None:
    offer = place.offer(1_500)
    place.pay(offer)
    (output,) = place.read(offer).outputs
    assert (output.outpoint, output.amount_sat) == (f"{offer.key}:0", 1_500)
    assert output == place.read(offer).outputs[0]


def test_a_preimage_in_the_answer_to_the_creation_pays_nothing(place: Place) -> None:
    offer = place.offer()
    (made,) = place.made()
    assert made["preimage"]
    assert place.read(offer).outputs == ()


def test_what_is_held_counts_only_once_it_is_settled(place: Place) -> None:
    place.control("knobs", ln_hold=True)
    offer = place.offer()
    place.pay(offer)
    assert (place.read(offer).outputs, place.read(offer).gap) == ((), "")
    place.control("ln_settle", payment_hash=offer.key)
    assert [output.amount_sat for output in place.read(offer).outputs] == [1_500]


def test_what_was_held_and_went_back_never_came(place: Place) -> None:
    place.control("knobs", ln_hold=True)
    offer = place.offer()
    place.pay(offer)
    place.control("ln_cancel", payment_hash=offer.key)
    assert place.read(offer).outputs == ()


def test_paid_after_it_ran_out_is_told_with_its_time(place: Place) -> None:
    offer = place.offer(seconds=60)
    place.control("clock", advance_s=3_600)
    place.pay(offer)
    (output,) = place.read(offer).outputs
    assert output.block_time is not None and offer.expires_at is not None
    assert output.block_time > offer.expires_at


def test_one_that_ran_out_unpaid_is_told_completely(place: Place) -> None:
    offer = place.offer(seconds=60)
    place.control("clock", advance_s=61)
    assert (place.read(offer).outputs, place.read(offer).gap) == ((), "")


@pytest.mark.parametrize("says", ["forgotten", "failed"])
def test_what_waited_when_the_server_restarted_is_evidence_that_is_missing(place: Place, says: str) -> None:
    offer = place.offer()
    place.control("ln_restart", says=says)
    assert (place.read(offer).outputs, place.read(offer).gap) == ((), "rail_forgot")
    place.control("clock", advance_s=86_400)
    assert place.read(offer).gap == "rail_forgot"


def test_what_its_node_gave_up_in_the_last_moments_has_run_out(place: Place) -> None:
    """The node's clock may be ahead of LNbits' own, which then does not say why it failed."""
    offer = place.offer(seconds=600)
    place.control("clock", advance_s=595)
    place.control("ln_restart", says="failed")
    assert (place.read(offer).outputs, place.read(offer).gap) == ((), "")


def test_another_wallets_key_and_nobodys_are_errors_and_never_an_empty_answer(
    place: Place, wallets: Callable[..., LnbitsWallet]
) -> None:
    offer = place.offer()
    place.pay(offer)
    stranger = wallets(invoice_key="d" * 32)
    with pytest.raises(Refused, match="key") as refused:
        stranger.read(offer.text, born_at=place.now, asked_at=place.now)
    assert refused.value.field == "invoice_key"
    for call in (stranger.balance, stranger.health, lambda: stranger.offer(place.wanted())):
        with pytest.raises(Refused):
            call()


def test_the_key_of_another_wallet_there_sees_only_that_something_is_missing(
    place: Place, wallets: Callable[..., LnbitsWallet]
) -> None:
    offer = place.offer()
    place.pay(offer)
    place.sandbox.world.lightning.create_wallet("other", ("1" * 32, "2" * 32, "3" * 32))
    reading = wallets(invoice_key="2" * 32).read(offer.text, born_at=place.now, asked_at=place.now)
    assert (reading.outputs, reading.gap) == ((), "rail_forgot")


@pytest.mark.parametrize(
    ("kind", "parameters", "code"),
    [
        ("paid_without_status", {}, "provider_disagrees"),
        ("set_member", {"member": "status", "value": "done"}, "provider_bad_member"),
        ("set_member", {"member": "status", "value": "success"}, "provider_disagrees"),
        ("set_member", {"member": "wallet_id", "value": "0" * 32}, "provider_other_answer"),
        ("set_member", {"member": "payment_hash", "value": "0" * 64}, "provider_other_answer"),
        ("no_details", {}, "provider_refused"),
    ],
)
def test_an_answer_that_contradicts_itself_or_is_about_another_payment_is_no_fact(
    place: Place, kind: str, parameters: dict[str, Any], code: str
) -> None:
    offer = place.offer()
    place.fault("ln_read", kind, **parameters)
    with pytest.raises(BridgeError) as refused:
        place.read(offer)
    assert refused.value.code == code


def test_a_page_that_a_proxy_does_not_know_is_no_forgotten_payment(
    place: Place, wallets: Callable[..., LnbitsWallet]
) -> None:
    offer = place.offer()
    elsewhere = wallets(url=f"{place.sandbox.url}/nothing-here")
    with pytest.raises(Refused, match="HTTP 404"):
        elsewhere.read(offer.text, born_at=place.now, asked_at=place.now)


@pytest.mark.parametrize("value", [0, -1_500_000, 3_000_001, "1500000", 1500000.5, None, True])
def test_a_sum_that_cannot_have_come_is_no_fact(place: Place, value: object) -> None:
    offer = place.offer(1_500)
    place.pay(offer)
    place.fault("ln_read", "set_member", member="amount", value=value)
    with pytest.raises(ProtocolError) as refused:
        place.read(offer)
    assert (refused.value.code, refused.value.field) == ("provider_bad_amount", "amount")


@pytest.mark.parametrize(("msat", "sat"), [(1_499_999, 1_499), (1_500_999, 1_500), (3_000_000, 3_000)])
def test_of_a_sum_in_millisatoshi_the_whole_satoshi_count(place: Place, msat: int, sat: int) -> None:
    offer = place.offer(1_500)
    place.pay(offer)
    place.fault("ln_read", "set_member", member="amount", value=msat)
    assert [(output.amount_sat, output.amount_msat) for output in place.read(offer).outputs] == [(sat, msat)]


@pytest.mark.parametrize("value", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "soon", 7, None, []])
def test_money_counts_whatever_time_is_told_of_it(place: Place, value: object) -> None:
    offer = place.offer(1_500)
    place.pay(offer)
    place.fault("ln_read", "set_member", member="updated_at", value=value)
    assert [(output.amount_sat, output.block_time) for output in place.read(offer).outputs] == [(1_500, None)]


@pytest.mark.parametrize(
    "kind",
    [
        "error_500_before",
        "error_500_after",
        "cut_before",
        "cut_midway",
        "lost_response",
        "truncated_json",
        "not_json",
        "redirect",
        "rate_limited",
        "down",
        "error",
    ],
)
@pytest.mark.parametrize("mode", ["ln_read", "ln_wallet", "ln_list"])
def test_silence_is_an_error_whatever_its_kind(place: Place, mode: str, kind: str) -> None:
    offer = place.offer()
    place.fault(mode, kind)
    calls = {"ln_read": lambda: place.read(offer), "ln_wallet": place.wallet.balance, "ln_list": place.offer}
    with pytest.raises((Unavailable, ProtocolError)):
        calls[mode]()


def test_a_slow_server_is_waited_for_only_so_long(place: Place) -> None:
    place.fault("ln_wallet", "latency", seconds=4)
    with pytest.raises(Unavailable):
        place.wallet.health()


def test_a_redirect_is_not_followed_with_the_key(place: Place) -> None:
    place.fault("ln_wallet", "redirect")
    with pytest.raises(ProtocolError, match="redirect"):
        place.wallet.health()


def test_the_balance_is_in_whole_satoshi_that_are_there(place: Place) -> None:
    place.pay(place.offer(2_000))
    place.fault("ln_wallet", "set_member", member="balance", value=2_000_999, times=1)
    assert place.wallet.balance().confirmed_sat == 2_000
    assert place.wallet.balance().balance_sat == 2_000


def test_health_tells_the_servers_own_clock(place: Place) -> None:
    health = place.wallet.health()
    assert health.ok
    assert health.server_time is not None
    assert abs(health.server_time - place.now) < timedelta(seconds=3)


def test_its_version_is_one_that_was_tried_and_a_server_that_hides_it_says_none(place: Place) -> None:
    assert place.wallet.version() == "1.6.2"
    for hidden in (None, {"version": 7}, {"version": "1.6\n2"}):
        place.fault("ln_version", "set_member", member="info", value=hidden, times=1)
        assert place.wallet.version() == ""
    place.control("knobs", ln_outage="503")
    assert place.wallet.version() == ""


def test_how_much_can_come_in_is_unknown_as_is_its_network(place: Place) -> None:
    health = place.wallet.health()
    assert (health.inbound_sat, health.network, health.blocks_behind) == (None, "", None)


def test_a_webhook_rings_twice_unsigned_with_json_in_json_and_is_tried_once(place: Place) -> None:
    receiver = Receiver()
    try:
        receiver.answers = [500, 500, 500]
        offer = place.offer(ring_url=receiver.url)
        place.pay(offer)
        until(lambda: len(receiver.bodies) == 2)
        place.control("callbacks/flush", now=True)
        assert len(receiver.bodies) == 2
        assert receiver.bodies[0].startswith(b'"{')
    finally:
        receiver.stop()


def test_a_webhook_that_the_server_refuses_does_not_cost_the_invoice(place: Place) -> None:
    offer = place.offer(ring_url="ftp://bridge.example/x")
    (made,) = place.made()
    assert (made["bolt11"], made["webhook"]) == (offer.text, None)


def payee(place: Place, sat: int = 20_000, **more: Any) -> str:
    return str(place.control("ln_payee", sat=sat, **more)["bolt11"])


def test_what_is_sent_arrives_and_the_route_costs_extra(place: Place) -> None:
    place.fund()
    destination = payee(place)
    sent = place.wallet.send(destination=destination, gross_sat=20_000, idempotency_key="pay_1")
    assert (sent.txid, sent.requested_sat, sent.sent_sat) == (decoded(destination).payment_hash, 20_000, 20_000)
    assert sent.fee_sat == 2  # 1,500 msat: never less than it was
    assert place.wallet.balance().confirmed_sat == 100_000 - 20_000 - 2


def test_the_same_send_again_is_the_same_send(place: Place) -> None:
    place.fund()
    destination = payee(place)
    first = place.wallet.send(destination=destination, gross_sat=20_000, idempotency_key="pay_1")
    again = place.wallet.send(destination=destination, gross_sat=20_000, idempotency_key="pay_1")
    assert first == again
    assert place.wallet.balance().confirmed_sat == 79_998


@pytest.mark.parametrize("kind", ["lost_response", "cut_midway", "not_json", "error_500_after", "truncated_json"])
def test_a_send_whose_answer_was_lost_is_known_by_its_hash(place: Place, kind: str) -> None:
    place.fund()
    place.fault("ln_send", kind, times=1)
    destination = payee(place)
    sent = place.wallet.send(destination=destination, gross_sat=20_000, idempotency_key="pay_1")
    assert sent.txid == decoded(destination).payment_hash


@pytest.mark.parametrize("kind", ["lost_response", "cut_before", "error_500_before"])
def test_a_send_of_which_nobody_can_say_what_came_is_for_a_person(place: Place, kind: str) -> None:
    place.fund()
    place.fault("ln_send", kind, times=1)
    place.fault("ln_read", "down", skip=1)
    with pytest.raises(OutcomeUnknown):
        place.wallet.send(destination=payee(place), gross_sat=20_000, idempotency_key="pay_1")


def test_a_call_that_never_arrived_leaves_the_outcome_open(place: Place) -> None:
    """The server knows no such payment now, and may yet take on the call."""
    place.fund()
    place.fault("ln_send", "cut_before", times=1)
    with pytest.raises(OutcomeUnknown):
        place.wallet.send(destination=payee(place), gross_sat=20_000, idempotency_key="pay_1")


def test_what_is_still_on_its_way_is_for_a_person_until_it_ends(place: Place) -> None:
    place.fund()
    place.control("knobs", ln_sends="pending")
    destination = payee(place)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            place.wallet.send(destination=destination, gross_sat=20_000, idempotency_key="pay_1")
    place.control("ln_end_sends", status="success")
    assert place.wallet.send(destination=destination, gross_sat=20_000, idempotency_key="pay_1").sent_sat == 20_000


def test_what_failed_has_not_left_and_may_be_tried_again(place: Place) -> None:
    place.fund()
    place.control("knobs", ln_sends="failed")
    destination = payee(place)
    with pytest.raises(Refused):
        place.wallet.send(destination=destination, gross_sat=20_000, idempotency_key="pay_1")
    assert place.wallet.balance().confirmed_sat == 100_000
    place.control("knobs", ln_sends="success")
    assert place.wallet.send(destination=destination, gross_sat=20_000, idempotency_key="pay_1").sent_sat == 20_000


def test_an_empty_wallet_refuses_and_nothing_has_left(place: Place) -> None:
    with pytest.raises(Refused, match="Insufficient balance"):
        place.wallet.send(destination=payee(place), gross_sat=20_000, idempotency_key="pay_1")


@pytest.mark.parametrize(
    ("made", "code"),
    [
        ({"amount_msat": 20_000_001}, "wrong_amount"),
        ({"amount_msat": None}, "no_amount"),
        ({"prefix": "bc"}, "wrong_network"),
    ],
)
def test_only_an_invoice_for_just_what_was_approved_is_paid(place: Place, made: dict[str, Any], code: str) -> None:
    place.fund()
    with pytest.raises(Refused) as refused:
        place.wallet.send(destination=payee(place, **made), gross_sat=20_000, idempotency_key="pay_1")
    assert (refused.value.code, refused.value.field) == (code, "destination")
    assert place.wallet.balance().confirmed_sat == 100_000


def test_a_call_that_the_server_asks_to_make_later_has_surely_sent_nothing(place: Place) -> None:
    place.fund()
    place.fault("ln_send", "rate_limited", retry_after_s=7, times=1)
    with pytest.raises(Unavailable) as waits:
        place.wallet.send(destination=payee(place), gross_sat=20_000, idempotency_key="pay_1")
    assert waits.value.retry_after_seconds == 7


def test_without_the_admin_key_nothing_is_sent(wallets: Callable[..., LnbitsWallet], place: Place) -> None:
    place.fund()
    with pytest.raises(Refused):
        wallets(admin_key=None).send(destination=payee(place), gross_sat=20_000, idempotency_key="pay_1")


def test_no_key_is_shown_anywhere(place: Place, wallets: Callable[..., LnbitsWallet]) -> None:
    texts = [repr(place.wallet)]
    for kind in ("cut_before", "error", "redirect"):
        place.fault("ln_wallet", kind, times=1)
        with pytest.raises(BridgeError) as refused:
            place.wallet.balance()
        texts.append(refused.value.detail)
    with pytest.raises(Refused) as refused:
        wallets(invoice_key="kéy").balance()
    texts.append(refused.value.detail)
    assert not any(secret in text for text in texts for secret in (KEYS[1], KEYS[2], "kéy"))
