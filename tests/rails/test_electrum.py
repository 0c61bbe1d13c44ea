"""The rail over an Electrum daemon: what it makes of good answers, of bad ones and of none, asked of the emulated daemon.

What the real one answers is in tests/lightning/electrum.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from bridge.config import Electrum
from bridge.core.errors import BridgeError, OutcomeUnknown, ProtocolError, Refused, Unavailable
from bridge.core.evidence import FINAL
from bridge.lightning.bolt11 import decoded
from bridge.rails.electrum import ElectrumWallet
from sandbox import electrum
from sandbox.bitcoin import Served, serve_in_thread
from tests.rails.test_lnbits import Place, payee

WALLET_PASSWORD = "of the wallet file"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    sandbox = serve_in_thread()
    yield sandbox
    sandbox.stop()


@pytest.fixture
def wallets(served: Served) -> Iterator[Callable[..., ElectrumWallet]]:
    """Clients of the daemon with changed settings, of a world that is new."""
    served.world.reset()
    made: list[ElectrumWallet] = []

    def make(network: str = "test", **changes: Any) -> ElectrumWallet:
        account = {
            "url": f"{served.url}/electrum",
            "user": electrum.USER,
            "password": electrum.PASSWORD,
            "node_id": electrum.NODE_ID,
            "wallet_password": WALLET_PASSWORD,
            "timeout_seconds": 2,
        }
        made.append(ElectrumWallet(Electrum.model_validate(account | changes), network=network))
        return made[-1]

    yield make
    for wallet in made:
        wallet.close()


@pytest.fixture
def place(served: Served, wallets: Callable[..., ElectrumWallet]) -> Place:
    return Place(sandbox=served, wallet=wallets())


def send(place: Place, destination: str, sat: int = 20_000) -> Any:
    return place.wallet.send(destination=destination, gross_sat=sat, idempotency_key="pay_1")


def test_an_offer_is_a_request_for_just_the_sum_and_the_time_that_are_wanted(place: Place) -> None:
    wanted = place.wanted(1_500)
    offer = place.wallet.offer(wanted)
    asked = decoded(offer.text)
    assert (asked.amount_msat, asked.description, asked.network) == (1_500_000, "VPS (7667c3eb556177de)", "test")
    assert (offer.key, offer.expires_at) == (asked.payment_hash, asked.expires_at)
    assert wanted.expires_at is not None
    assert abs(asked.expires_at - wanted.expires_at) <= timedelta(seconds=2)


@pytest.mark.parametrize("sat", [1, 999, 12_345_678 // 3, 4_989_999])
def test_every_sum_reaches_the_daemon_exactly(place: Place, sat: int) -> None:
    assert decoded(place.offer(sat).text).amount_msat == sat * 1_000


@pytest.mark.parametrize("kind", ["lost_response", "cut_midway", "truncated_json", "not_json", "error_500_after"])
def test_an_answer_that_was_lost_is_found_again_and_no_second_request_is_made(place: Place, kind: str) -> None:
    place.fault("ln_create", kind, times=1)
    with pytest.raises(BridgeError):
        place.offer()
    offer = place.offer()
    assert [each["bolt11"] for each in place.made()] == [offer.text]
    assert place.offer() == offer


def test_what_the_payers_wallet_shows_names_nothing_inside_of_us(place: Place) -> None:
    offer = place.offer(reference="inv_secret:1", memo="Hosting #1047")
    told = place.sandbox.world.lightning.payments[-1].memo
    assert told.startswith("Hosting #1047 (") and "inv_" not in told
    assert place.offer(reference="inv_secret:1", memo="Hosting #1047") == offer


def test_a_first_try_does_not_list_what_is_open(place: Place) -> None:
    place.fault("ln_list", "error")
    first = place.offer(is_first_try=True)
    assert decoded(first.text).expires_at == first.expires_at
    with pytest.raises(Unavailable):
        place.offer()


def test_another_reference_or_sum_gets_another_request(place: Place) -> None:
    keys = {place.offer(sat, reference=reference).key for sat in (1_500, 1_600) for reference in ("inv_1:1", "inv_1:2")}
    assert len(keys) == 4


def test_one_that_ran_out_is_not_offered_again(place: Place) -> None:
    first = place.offer(seconds=60)
    place.control("clock", advance_s=61)
    second = place.offer(seconds=60)
    assert second.key != first.key
    with pytest.raises(Refused) as refused:
        place.offer(reference="inv_9:1", seconds=-5)
    assert refused.value.code == "bolt11_expired"


def test_what_no_channel_can_carry_is_not_offered_and_leaves_nothing_open(place: Place) -> None:
    assert place.wallet.inbound_sat() == electrum.INBOUND_SAT - electrum.RESERVE_SAT
    with pytest.raises(Unavailable) as refused:
        place.offer(6_000_000)
    assert refused.value.code == "no_inbound_capacity"
    assert place.made() == []


@pytest.mark.parametrize(
    ("kind", "code", "field"),
    [
        ("wrong_amount", "wrong_amount", "bolt11"),
        ("no_amount", "no_amount", "bolt11"),
        ("wrong_network", "wrong_network", "bolt11"),
        ("expires_late", "bolt11_expires_late", "bolt11"),
        ("credits_other", "wrong_amount", "amount"),
        ("other_hash", "provider_other_answer", "rhash"),
    ],
)
def test_a_request_that_was_not_asked_for_is_refused_with_a_code_and_the_field(
    place: Place, kind: str, code: str, field: str
) -> None:
    place.fault("ln_create", kind)
    with pytest.raises(ProtocolError) as refused:
        place.offer()
    assert (refused.value.code, refused.value.field) == (code, field)


@pytest.mark.parametrize("member", ["lightning_invoice", "amount_msat", "rhash", "timestamp", "expiry"])
@pytest.mark.parametrize("value", [None, "", [], 1.5, "x" * 32, True, -1])
def test_a_member_of_another_shape_is_never_an_offer(place: Place, member: str, value: object) -> None:
    place.fault("ln_create", "set_member", member=member, value=value)
    with pytest.raises(BridgeError) as refused:
        place.offer()
    assert refused.value.code


def test_a_request_of_another_wallet_is_refused(place: Place, wallets: Callable[..., ElectrumWallet]) -> None:
    offer, other = place.offer(), wallets(node_id="02" + "11" * 32)
    for call in (lambda: other.offer(place.wanted()), lambda: place.wallet and other.health()):
        with pytest.raises(ProtocolError) as refused:
            call()
        assert refused.value.code == "provider_other_wallet"
    with pytest.raises(ProtocolError):
        other.read(offer.text, born_at=place.now, asked_at=place.now)


def test_what_was_paid_is_one_final_fact_with_a_key_for_ever(place: Place) -> None:
    offer = place.offer(1_500)
    assert (place.read(offer).outputs, place.read(offer).gap) == ((), "")
    place.pay(offer)
    (output,) = place.read(offer).outputs
    assert (output.outpoint, output.amount_sat, output.confirmations) == (f"{offer.key}:0", 1_500, FINAL)
    assert output == place.read(offer).outputs[0]


def test_what_was_paid_in_time_is_in_time_however_late_it_is_read(place: Place) -> None:
    offer = place.offer(seconds=60)
    place.pay(offer)
    place.control("clock", advance_s=86_400)
    (output,) = place.read(offer).outputs
    assert output.block_time == offer.expires_at


def test_what_is_held_counts_only_once_it_is_settled(place: Place) -> None:
    place.control("knobs", ln_hold=True)
    offer = place.offer()
    place.pay(offer)
    assert (place.read(offer).outputs, place.read(offer).gap) == ((), "")
    place.control("ln_settle", payment_hash=offer.key)
    assert [output.amount_sat for output in place.read(offer).outputs] == [1_500]


def test_what_is_called_paid_and_not_settled_is_neither_money_nor_nothing(place: Place) -> None:
    offer = place.offer()
    place.fault("ln_read", "set_member", member="status", value=3, times=1)
    with pytest.raises(Unavailable) as waits:
        place.read(offer)
    assert waits.value.code == "rail_not_settled"


@pytest.mark.parametrize("value", [1_499, 0])
def test_as_long_as_not_all_parts_are_settled_nothing_is_told(place: Place, value: int) -> None:
    offer = place.offer(1_500)
    place.pay(offer)
    place.fault("ln_read", "set_member", member="received_amount_sat", value=value)
    with pytest.raises(Unavailable):
        place.read(offer)


@pytest.mark.parametrize("value", [-1, 3_001, "1500", 1500.5, None, True])
def test_a_sum_that_cannot_have_come_is_no_fact(place: Place, value: object) -> None:
    offer = place.offer(1_500)
    place.pay(offer)
    place.fault("ln_read", "set_member", member="received_amount_sat", value=value)
    with pytest.raises(ProtocolError) as refused:
        place.read(offer)
    assert (refused.value.code, refused.value.field) == ("provider_bad_amount", "amount")


def test_more_than_was_asked_for_counts_as_it_came(place: Place) -> None:
    offer = place.offer(1_500)
    place.pay(offer)
    place.fault("ln_read", "set_member", member="received_amount_sat", value=3_000)
    assert [output.amount_sat for output in place.read(offer).outputs] == [3_000]


@pytest.mark.parametrize("value", [2, 9, "3", None, True])
def test_a_status_that_is_unknown_is_no_fact(place: Place, value: object) -> None:
    offer = place.offer()
    place.fault("ln_read", "set_member", member="status", value=value)
    with pytest.raises(ProtocolError) as refused:
        place.read(offer)
    assert refused.value.field == "status"


def test_one_that_ran_out_unpaid_is_told_completely(place: Place) -> None:
    offer = place.offer(seconds=60)
    place.control("clock", advance_s=61)
    assert (place.read(offer).outputs, place.read(offer).gap) == ((), "")


def test_what_the_daemon_forgot_is_evidence_that_is_missing(place: Place) -> None:
    offer = place.offer()
    place.control("ln_restart", says="forgotten")
    assert (place.read(offer).outputs, place.read(offer).gap) == ((), "rail_forgot")


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


def test_a_wallet_that_a_restart_closed_is_opened_again(place: Place) -> None:
    offer = place.offer()
    place.pay(offer)
    place.fault("ln_read", "not_loaded", times=1)
    assert len(place.read(offer).outputs) == 1
    place.fault("ln_read", "not_loaded")
    with pytest.raises(Refused, match="wallet not loaded"):
        place.read(offer)


def test_balance_is_what_lies_in_channels_on_our_side(place: Place) -> None:
    place.pay(place.offer(2_000))
    assert place.wallet.balance().balance_sat == place.wallet.balance().confirmed_sat == 2_000


@pytest.mark.parametrize(
    ("member", "value", "code"),
    [
        ("network", "mainnet", "wrong_network"),
        ("network", "mutinynet", "wrong_network"),
        ("version", "4.7.2", "provider_too_old"),
        ("version", "new", "provider_too_old"),
    ],
)
def test_a_daemon_that_is_not_the_shops_says_neither_balance_nor_health(
    place: Place, member: str, value: str, code: str
) -> None:
    place.fault("ln_wallet", "set_member", member=member, value=value)
    for call in (place.wallet.balance, place.wallet.health, place.wallet.version):
        with pytest.raises(ProtocolError) as refused:
            call()
        assert (refused.value.code, refused.value.field) == (code, member)


@pytest.mark.parametrize(
    ("member", "value", "behind"), [("connected", False, 0), ("server_height", 101, 1), ("server_height", None, None)]
)
def test_a_daemon_that_is_behind_or_alone_is_not_well(
    place: Place, member: str, value: object, behind: int | None
) -> None:
    health = place.wallet.health()
    assert health.ok
    assert health.server_time is not None and abs(health.server_time - place.now) < timedelta(seconds=3)
    assert (health.network, health.blocks_behind, place.wallet.version()) == ("test", 0, "4.8.3")
    place.fault("ln_wallet", "set_member", member=member, value=value)
    unwell = place.wallet.health()
    assert (unwell.ok, unwell.blocks_behind) == (False, behind)


def test_what_is_sent_arrives_and_the_route_costs_extra(place: Place) -> None:
    place.fund()
    destination = payee(place)
    sent = send(place, destination)
    assert (sent.txid, sent.requested_sat, sent.sent_sat) == (decoded(destination).payment_hash, 20_000, 20_000)
    assert sent.fee_sat == 2  # 1,500 msat: never less than it was
    assert send(place, destination) == sent
    assert place.wallet.balance().confirmed_sat == 100_000 - 20_000 - 2


@pytest.mark.parametrize("kind", ["lost_response", "cut_midway", "not_json", "error_500_after", "truncated_json"])
def test_a_send_whose_answer_was_lost_is_known_by_its_hash(place: Place, kind: str) -> None:
    place.fund()
    place.fault("ln_send", kind, times=1)
    destination = payee(place)
    assert send(place, destination).txid == decoded(destination).payment_hash


@pytest.mark.parametrize("kind", ["lost_response", "cut_before", "error_500_before", "error"])
def test_a_send_of_which_nobody_can_say_what_came_is_for_a_person(place: Place, kind: str) -> None:
    place.fund()
    place.fault("ln_send", kind, times=1)
    place.fault("ln_read", "down", skip=1)
    with pytest.raises(OutcomeUnknown):
        send(place, payee(place))


def test_a_call_that_never_arrived_leaves_the_outcome_open(place: Place) -> None:
    place.fund()
    place.fault("ln_send", "cut_before", times=1)
    with pytest.raises(OutcomeUnknown):
        send(place, payee(place))


def test_what_is_still_on_its_way_is_for_a_person_until_it_ends(place: Place) -> None:
    place.fund()
    place.control("knobs", ln_sends="pending")
    destination = payee(place)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            send(place, destination)
    place.control("ln_end_sends", status="success")
    assert send(place, destination).sent_sat == 20_000


def test_what_found_no_way_has_not_left_and_may_be_tried_again(place: Place) -> None:
    place.fund()
    place.control("knobs", ln_sends="failed")
    destination = payee(place)
    with pytest.raises(Refused):
        send(place, destination)
    assert place.wallet.balance().confirmed_sat == 100_000
    place.control("knobs", ln_sends="success")
    assert send(place, destination).sent_sat == 20_000


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
        send(place, payee(place, **made))
    assert (refused.value.code, refused.value.field) == (code, "destination")
    assert place.wallet.balance().confirmed_sat == 100_000


def test_no_password_is_shown_anywhere(place: Place, wallets: Callable[..., ElectrumWallet]) -> None:
    texts = [repr(place.wallet)]
    place.fault("ln_wallet", "error", detail=electrum.PASSWORD, times=1)
    with pytest.raises(Unavailable) as failed:
        place.wallet.balance()
    for wrong in ("another", "pässword"):
        with pytest.raises(Refused) as refused:
            wallets(password=wrong).balance()
        assert refused.value.code == "provider_login_wrong"
        texts.append(refused.value.detail)
    texts.append(failed.value.detail)
    secrets = (electrum.PASSWORD, WALLET_PASSWORD, "another", "pässword")
    assert not any(secret in text for text in texts for secret in secrets)


@pytest.mark.parametrize("value", [None, "", [], {}, 7])
def test_a_channel_in_a_state_of_another_shape_is_an_error_and_no_balance(place: Place, value: object) -> None:
    place.fault("ln_wallet", "set_member", member="state", value=value, times=2)
    with pytest.raises(ProtocolError) as refused:
        place.wallet.balance()
    assert (refused.value.code, refused.value.field) == ("provider_bad_member", "state")
