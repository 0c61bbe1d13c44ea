"""What only the reader of Esplora servers can do: every kind of pages, failover, calls that are few, lost outputs."""

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bridge.chain.esplora import EsploraReader
from bridge.core.coverage import GAPS
from bridge.core.errors import ProtocolError, Unavailable
from bridge.core.evidence import ChainReading, Fate, KnownOutput
from tests.adapters.fake_chains import Esplora, Facts, Tx, served
from tests.adapters.servers import RawServer, always, answer, free_port, silent
from tests.adapters.test_chain_contract import ADDRESS, NOW, OTHER, esplora_at, fates, outputs, read, seen, tip_of

PAGES = ("blockstream", "mempool", "electrum")


@contextmanager
def reading_from(server: Esplora) -> Iterator[EsploraReader]:
    with served(server) as url:
        reader = esplora_at(url)
        yield reader
        reader.close()


@pytest.fixture
def facts() -> Facts:
    return Facts()


@pytest.fixture(params=PAGES)
def server(facts: Facts, request: pytest.FixtureRequest) -> Esplora:
    """One server of each kind."""
    return Esplora(facts, pages=request.param)


@pytest.fixture
def reader(server: Esplora) -> Iterator[EsploraReader]:
    with reading_from(server) as opened:
        yield opened


def pay_many(facts: Facts, count: int, sat: int = 300) -> list[Tx]:
    return [facts.pay((ADDRESS, sat)) for _ in range(count)]


# --- pages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 9, 10, 11, 20, 24, 25, 26, 49, 50, 51, 100, 130])
def test_every_confirmed_payment_is_listed_whatever_the_pages(reader: EsploraReader, facts: Facts, count: int) -> None:
    for tx in pay_many(facts, count):
        # Several in each block, so that a page ends inside one.
        if int(tx.txid, 16) % 3 == 0:
            facts.mine()
    facts.mine()
    reading = read(reader)
    assert sorted(o.outpoint for o in reading.outputs) == sorted(f"{txid}:0" for txid in facts.txs)
    assert reading.gap == ""


def test_waiting_dust_does_not_stand_in_front_of_what_was_paid(
    reader: EsploraReader, server: Esplora, facts: Facts
) -> None:
    paid = facts.pay((ADDRESS, 20_000))
    facts.mine(3)
    pay_many(facts, 60)
    reading = read(reader)
    assert [(o.outpoint, o.confirmations) for o in reading.outputs if o.amount_sat == 20_000] == [(f"{paid.txid}:0", 3)]
    if server.pages == "blockstream":
        # It lists no more than fifty that wait, and says so by its count.
        assert (len(reading.outputs), reading.gap) == (51, "history_cut")
    else:
        assert (len(reading.outputs), reading.gap) == (61, "")
    facts.mine()
    reading = read(reader)
    assert (len(reading.outputs), reading.gap) == (61, "")


def test_a_payment_behind_waiting_dust_is_found_or_the_list_is_called_cut(
    reader: EsploraReader, server: Esplora, facts: Facts
) -> None:
    pay_many(facts, 60)
    paid = facts.pay((ADDRESS, 20_000))
    known = seen(facts, paid)
    reading = read(reader)
    if server.pages == "blockstream":
        assert reading.gap == "history_cut"
        assert known.outpoint not in {o.outpoint for o in reading.outputs}
        # What was seen before is asked for by its id.
        reading = read(reader, known)
        assert (reading.gap, reading.fates) == ("history_cut", {})
    assert [o.amount_sat for o in reading.outputs if o.outpoint == known.outpoint] == [20_000]


def test_a_block_that_comes_between_two_pages_hides_nothing_in_silence(
    reader: EsploraReader, server: Esplora, facts: Facts
) -> None:
    pay_many(facts, 70)
    server.on_path[f"/address/{ADDRESS}/txs?"] = facts.mine
    reading = read(reader)
    assert len({o.outpoint for o in reading.outputs}) == len(reading.outputs)
    assert len(reading.outputs) == 70 or reading.gap == "history_cut"
    assert (len(read(reader).outputs), read(reader).gap) == (70, "")


def test_a_transaction_that_leaves_between_two_pages_hides_nothing_in_silence(
    reader: EsploraReader, server: Esplora, facts: Facts
) -> None:
    waiting = pay_many(facts, 70)

    def drop() -> None:
        for tx in waiting:
            tx.gone = f"after_txid={tx.txid}" in server.paths[-1]

    server.on_path[f"/address/{ADDRESS}/txs?"] = drop
    reading = read(reader)
    assert len(reading.outputs) >= 69 or reading.gap == "history_cut"


def test_a_server_that_refuses_to_count_so_many_is_not_called_complete(facts: Facts) -> None:
    pay_many(facts, 12)
    server = Esplora(facts)
    plain = server.found

    def found(parts: list[str], after: str | None) -> Any:
        return 400 if parts == ["address", ADDRESS] else plain(parts, after)

    server.found = found  # type: ignore[method-assign]
    with reading_from(server) as reader:
        reading = read(reader)
    assert (len(reading.outputs), reading.gap) == (12, "history_cut")


@pytest.mark.parametrize("way", ["endless", "refused"])
def test_an_address_with_more_transactions_than_a_server_lists_is_told_apart_from_a_silent_server(
    facts: Facts, way: str
) -> None:
    pay_many(facts, 10 * 41)
    facts.mine()
    server: Any = Esplora(facts, pages="electrum")
    if way == "refused":
        # What mempool answers when the Electrum server behind it finds the history too long.
        server = lambda *call: (413, b"history too long") if "/txs" in call[1] else Esplora(facts)(*call)  # noqa: E731
    with served(server) as url:
        reader = esplora_at(f"http://127.0.0.1:{free_port()}", url)
        with pytest.raises(ProtocolError) as error:
            read(reader)
        reader.close()
    assert error.value.code == "chain_too_long"


def test_a_server_that_repeats_a_page_does_not_keep_us_for_ever(facts: Facts) -> None:
    pay_many(facts, 30)
    facts.mine()
    server = Esplora(facts)
    plain = server.found
    server.found = lambda parts, after: plain(parts[:3], None)  # type: ignore[method-assign]
    with reading_from(server) as reader:
        reading = read(reader)
    assert (len(reading.outputs), reading.gap) == (25, "history_cut")


# --- one transaction twice ---------------------------------------------------------------------------------------------


def test_a_transaction_that_is_listed_twice_is_one_payment(
    reader: EsploraReader, server: Esplora, facts: Facts
) -> None:
    confirmed = facts.pay((ADDRESS, 100), (ADDRESS, 200))
    facts.mine(2)
    waiting = facts.pay((ADDRESS, 400))
    once = outputs(reader)
    server.doubled = True
    assert outputs(reader) == once
    depths = {o.outpoint: o.confirmations for o in once}
    assert depths == {f"{confirmed.txid}:0": 2, f"{confirmed.txid}:1": 2, f"{waiting.txid}:0": 0}


@pytest.mark.parametrize("count", [8, 40])
def test_many_that_are_listed_twice_are_counted_once(
    reader: EsploraReader, server: Esplora, facts: Facts, count: int
) -> None:
    pay_many(facts, count)
    facts.mine()
    server.doubled = True
    reading = read(reader)
    assert [o.confirmations for o in reading.outputs] == [1] * count
    assert reading.gap == ""


# --- depth -------------------------------------------------------------------------------------------------------------


def test_a_block_that_arrives_between_two_questions_never_makes_a_payment_too_deep(facts: Facts) -> None:
    facts.pay((ADDRESS, 100)).height = facts.tip + 1
    with reading_from(Esplora(facts)) as reader:
        assert [output.confirmations for output in outputs(reader)] == [1]


def test_heights_counted_from_a_tip_that_lags_do_not_make_a_payment_too_deep(facts: Facts) -> None:
    """mempool over an Electrum server counts them back from the last block that it has worked through itself."""
    facts.pay((ADDRESS, 100))
    facts.mine(2)
    server = Esplora(facts, pages="electrum")
    server.height_behind = 8
    with reading_from(server) as reader:
        (output,) = outputs(reader)
    assert (output.confirmations, output.block_height) == (2, facts.tip - 1)


# --- calls -------------------------------------------------------------------------------------------------------------


def paths_of(server: Esplora, reader: EsploraReader) -> list[str]:
    server.paths.clear()
    read(reader)
    return [path.replace(ADDRESS, "A") for path in server.paths]


def test_a_look_costs_two_calls_and_one_more_for_a_new_block(
    reader: EsploraReader, server: Esplora, facts: Facts
) -> None:
    look = ["/blocks/tip/hash", "/address/A/txs"]
    new_block = ["/blocks/tip/hash", f"/block/{facts.hash_of(facts.tip)}", "/address/A/txs"]
    assert paths_of(server, reader) == new_block
    assert paths_of(server, reader) == look

    waiting = facts.pay((ADDRESS, 100))
    parents = [f"/tx/{parent}" for parent in sorted(waiting.parents)]
    assert paths_of(server, reader) == [*look, *parents]

    facts.mine()
    assert len(paths_of(server, reader)) == 3
    assert paths_of(server, reader) == look
    facts.mine(6)
    assert len(paths_of(server, reader)) == 3
    assert paths_of(server, reader) == look


def test_the_block_of_an_old_payment_is_asked_for_once(facts: Facts) -> None:
    facts.pay((ADDRESS, 100), (ADDRESS, 200))
    facts.mine(4)
    server = Esplora(facts)
    with reading_from(server) as reader:
        assert len(paths_of(server, reader)) == 4
        assert len(paths_of(server, reader)) == 2


def test_following_the_tip_costs_one_call(facts: Facts) -> None:
    server = Esplora(facts)
    with reading_from(server) as reader:
        for _ in range(3):
            assert reader.tip() == tip_of(facts)
    assert server.paths == ["/blocks/tip/hash", f"/block/{facts.hash_of(facts.tip)}", *["/blocks/tip/hash"] * 2]


# --- outputs that the list lacks ---------------------------------------------------------------------------------------


@pytest.fixture
def paid(facts: Facts) -> Tx:
    """A payment nine blocks deep."""
    tx = facts.pay((ADDRESS, 100), (OTHER, 5), (ADDRESS, 200))
    facts.mine(9)
    return tx


def both(facts: Facts, tx: Tx) -> list[KnownOutput]:
    return [seen(facts, tx, 0), seen(facts, tx, 2)]


def test_what_is_known_by_its_id_alone_is_shown_with_the_difference(
    reader: EsploraReader, server: Esplora, facts: Facts, paid: Tx
) -> None:
    before, once = both(facts, paid), read(reader)
    assert once.gap == ""
    server.forgets = True
    reading = read(reader, *before)
    assert reading == replace(once, gap="history_differs")
    assert [o.confirmations for o in reading.outputs] == [9, 9]
    waiting = facts.pay((ADDRESS, 400))
    reading = read(reader, *before, seen(facts, waiting))
    assert sorted(o.confirmations for o in reading.outputs) == [0, 9, 9]
    assert (reading.gap, reading.fates) == ("history_differs", {})


def test_what_a_server_knows_nothing_of_is_not_undone_while_its_block_stands(
    reader: EsploraReader, server: Esplora, facts: Facts, paid: Tx
) -> None:
    before = both(facts, paid)
    server.lacks.add(paid.txid)
    reading = read(reader, *before)
    assert (reading.outputs, reading.fates, reading.gap) == ((), {}, "payment_not_shown")
    assert read(reader).gap == ""


def test_a_server_that_has_not_come_to_the_block_yet_undoes_nothing(
    reader: EsploraReader, server: Esplora, facts: Facts, paid: Tx
) -> None:
    before = both(facts, paid)
    server.behind = 20
    server.lacks.add(paid.txid)
    reading = read(reader, *before)
    assert (reading.outputs, reading.fates, reading.gap) == ((), {}, "payment_not_shown")
    assert reading.tip.height == facts.tip - 20
    assert not [path for path in server.paths if path.startswith("/block-height/")]


def test_a_server_that_keeps_what_an_undone_block_held_hides_no_loss(facts: Facts, paid: Tx) -> None:
    """Both electrs and a node's index still know the transaction by its id, as if it were waiting."""
    before = both(facts, paid)
    server = Esplora(facts)
    server.remembers = True
    with reading_from(server) as reader:
        facts.reorganise(9, conflict=paid)
        reading = read(reader, *before)
        assert (reading.outputs, reading.gap) == ((), "")
        assert fates(reading) == dict.fromkeys((f"{paid.txid}:0", f"{paid.txid}:2"), "rival_confirmed")
        # No rival: nobody shows that its coins were spent by another.
        paid.conflicted, paid.gone = False, True
        reading = read(reader, *before)
        assert (reading.outputs, reading.fates, reading.gap) == ((), {}, "payment_not_shown")
        # Only the list lacks it: it spends its coins.
        paid.gone, server.forgets = False, True
        reading = read(reader, *before)
        assert [o.confirmations for o in reading.outputs] == [0, 0]
        assert (reading.fates, reading.gap) == ({}, "history_differs")


def test_a_server_that_cannot_say_who_spends_a_coin_undoes_nothing(facts: Facts, paid: Tx) -> None:
    before = both(facts, paid)
    server = Esplora(facts, pages="electrum")
    server.remembers = True
    with reading_from(server) as reader:
        facts.reorganise(9, conflict=paid)
        reading = read(reader, *before)
    assert (reading.outputs, reading.fates, reading.gap) == ((), {}, "payment_not_shown")


def test_a_reward_whose_block_is_undone_is_undone(reader: EsploraReader, facts: Facts) -> None:
    reward = facts.mine_to((ADDRESS, 5_000_000))
    before = seen(facts, reward)
    facts.reorganise(1)
    reading = read(reader, before)
    assert reading.outputs == ()
    assert (fates(reading), reading.gap) == ({before.outpoint: "not_found"}, "")


def test_a_thousand_lost_crumbs_are_not_a_thousand_questions(facts: Facts) -> None:
    crumbs = facts.pay(*[(ADDRESS, 300)] * 1_000)
    others = pay_many(facts, 40)
    facts.mine()
    known = [seen(facts, crumbs, n) for n in range(1_000)] + [seen(facts, tx) for tx in others]
    server = Esplora(facts)
    server.forgets = True
    told: set[str] = set()
    with reading_from(server) as reader:
        for minutes in range(20):
            calls = len(server.paths)
            reading = reader.read(ADDRESS, born_at=NOW, asked_at=NOW + timedelta(minutes=minutes), known=known)
            assert len(server.paths) - calls < 30
            assert (reading.fates, reading.gap) == ({}, "history_differs")
            told |= {output.outpoint for output in reading.outputs}
    assert told == {each.outpoint for each in known}


def test_any_number_of_payments_that_lost_their_block_is_told_look_by_look(facts: Facts) -> None:
    """Those that are told are known by then, as is done with a reading; what keeps its silence stops nobody else."""
    losers, kept = pay_many(facts, 70), pay_many(facts, 30)
    facts.mine(2)
    left = {seen(facts, tx).outpoint: seen(facts, tx) for tx in [*losers, *kept]}
    server = Esplora(facts)
    facts.reorganise(2)
    for tx in losers:
        tx.gone = True
    facts.mine(3)
    server.forgets = True
    server.lacks = {tx.txid for tx in kept}
    with reading_from(server) as reader:
        for minutes in range(60):
            reading = reader.read(
                ADDRESS, born_at=NOW, asked_at=NOW + timedelta(minutes=minutes), known=[*left.values()]
            )
            left = {outpoint: each for outpoint, each in left.items() if outpoint not in reading.fates}
    assert not [tx for tx in losers if f"{tx.txid}:0" in left]


def test_a_rival_is_known_at_a_server_that_never_heard_of_the_payment(facts: Facts) -> None:
    """The server that showed it is gone. This one knows only who spends the coin now."""
    lost, bumped = facts.pay((ADDRESS, 200)), facts.pay((ADDRESS, 300))
    before = [seen(facts, lost), seen(facts, bumped)]
    double_spend, raised = facts.outbid(lost, (OTHER, 200)), facts.outbid(bumped, (ADDRESS, 290))
    with reading_from(Esplora(facts)) as another:
        reading = read(another, *before)
        assert reading.fates == {
            before[0].outpoint: Fate(code="rival_waits", rival=double_spend.txid),
            before[1].outpoint: Fate(code="rival_waits", rival=raised.txid),
        }
        facts.mine()
        reading = read(another, *before)
        assert fates(reading) == dict.fromkeys((each.outpoint for each in before), "rival_confirmed")
        assert [output.amount_sat for output in reading.outputs] == [290]


def test_a_raised_fee_is_seen_in_the_list_where_nobody_says_who_spends_a_coin(facts: Facts) -> None:
    server = Esplora(facts, pages="electrum")
    bumped, lost = facts.pay((ADDRESS, 300)), facts.pay((ADDRESS, 200))
    before = [seen(facts, bumped), seen(facts, lost)]
    with reading_from(server) as reader:
        raised, _ = facts.outbid(bumped, (ADDRESS, 290)), facts.outbid(lost, (OTHER, 200))
        reading = read(reader, *before)
    assert reading.fates == {
        before[0].outpoint: Fate(code="rival_waits", rival=raised.txid),
        before[1].outpoint: Fate(code="not_found"),
    }


def test_a_server_whose_list_is_cut_proves_a_raised_fee(facts: Facts) -> None:
    server = Esplora(facts)
    first = facts.pay((ADDRESS, 300))
    before = seen(facts, first)
    pay_many(facts, 60)
    raised = facts.outbid(first, (ADDRESS, 290))
    with reading_from(server) as reader:
        reading = read(reader, before)
    assert (reading.gap, reading.fates) == (
        "history_cut",
        {before.outpoint: Fate(code="rival_waits", rival=raised.txid)},
    )


def test_a_rival_that_waits_proves_nothing_of_what_was_in_a_block(facts: Facts, paid: Tx) -> None:
    before = both(facts, paid)
    facts.reorganise(9)
    facts.outbid(paid, (OTHER, 5))
    with reading_from(Esplora(facts)) as reader:
        assert fates(read(reader, *before)) == dict.fromkeys((each.outpoint for each in before), "not_found")
        facts.mine()
        assert fates(read(reader, *before)) == dict.fromkeys((each.outpoint for each in before), "rival_confirmed")


def test_every_gap_is_one_that_the_core_knows() -> None:
    assert {"history_cut", "history_differs", "payment_not_shown"} <= GAPS


# --- several servers ---------------------------------------------------------------------------------------------------


def test_the_next_server_is_asked_and_kept_while_it_answers(facts: Facts, caplog: pytest.LogCaptureFixture) -> None:
    facts.pay((ADDRESS, 100))
    with RawServer(always(answer("down", status="503 Down"))) as first, served(Esplora(facts)) as url:
        reader = esplora_at(first.url, url)
        assert len(outputs(reader)) == len(outputs(reader)) == 1
        reader.close()
    assert len(first.requests) == 1
    assert [record.__dict__["action"] for record in caplog.records] == ["chain_source_failed"]


def test_a_reading_names_its_server_and_no_path_that_may_hold_a_key(
    facts: Facts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with served(Esplora(facts)) as url:
        reader = esplora_at(f"http://127.0.0.1:{free_port()}/key-of-the-shop", url)
        assert read(reader).source == "esplora:127.0.0.1#2"
        reader.close()
    assert [record.__dict__["source"] for record in caplog.records if "source" in record.__dict__] == ["127.0.0.1"]
    assert "key-of-the-shop" not in caplog.text


def test_a_reading_never_mixes_two_servers(facts: Facts) -> None:
    """The first server tells its tip and then fails: its tip must not be joined with the other's transactions."""
    facts.pay((ADDRESS, 100))
    facts.mine()
    ahead = Facts(tip=facts.tip + 500)
    tip_only = Esplora(ahead)
    tip_only.on_path["/address/"] = lambda: setattr(ahead, "broken", "down")
    with served(tip_only) as first, served(Esplora(facts)) as second:
        reader = esplora_at(first, second)
        reading = read(reader)
        reader.close()
    assert (reading.tip, reading.outputs[0].confirmations) == (tip_of(facts), 1)


@contextmanager
def reading_from_all(*servers: Any) -> Iterator[EsploraReader]:
    with ExitStack() as stack:
        reader = esplora_at(*[stack.enter_context(served(server)) for server in servers])
        yield reader
        reader.close()


def test_the_tip_is_the_highest_that_any_server_shows(facts: Facts) -> None:
    first, second = Esplora(facts), Esplora(facts)
    facts.mine(5)
    with reading_from_all(first, second) as reader:
        for first.behind, second.behind in ((3, 0), (0, 4), (0, 0)):
            assert reader.tip() == tip_of(facts)
        second.behind = 2
        first.found = lambda *_: 503  # type: ignore[method-assign]
        assert reader.tip().height == facts.tip - 2


def test_a_server_that_stands_still_is_not_read_while_another_goes_on(
    facts: Facts, caplog: pytest.LogCaptureFixture
) -> None:
    stalled, other = Esplora(facts), Esplora(facts)
    with reading_from_all(stalled, other) as reader:
        assert read(reader).source.endswith("127.0.0.1")
        paid = facts.pay((ADDRESS, 100))
        facts.mine(3)
        stalled.behind = 3
        stalled.lacks.add(paid.txid)
        assert reader.tip() == tip_of(facts)
        reading = read(reader)
        assert (reading.source, reading.tip) == ("esplora:127.0.0.1#2", tip_of(facts))
        assert [output.confirmations for output in reading.outputs] == [3]
    (told,) = [record for record in caplog.records if record.__dict__.get("action") == "chain_source_behind"]
    assert (told.__dict__["source"], told.__dict__["highest"]) == ("127.0.0.1", facts.tip)


def test_the_first_reading_of_all_finds_the_server_that_stands_still(facts: Facts) -> None:
    """A worker that has just started has not followed the tip yet."""
    facts.mine(5)
    stalled, other = Esplora(facts), Esplora(facts)
    stalled.behind = 3
    with reading_from_all(stalled, other) as reader:
        assert read(reader).tip == tip_of(facts)


def test_of_servers_that_are_all_behind_the_highest_is_read(facts: Facts) -> None:
    """The one that showed the highest block does not list what it has: another is better than none."""
    facts.pay((ADDRESS, 100))
    facts.mine(9)
    first, second, third = Esplora(facts), Esplora(facts), Esplora(facts)
    first.behind, second.behind = 5, 2
    plain = third.found
    third.found = lambda parts, after: 503 if parts[0] == "address" else plain(parts, after)  # type: ignore[method-assign]
    with reading_from_all(first, second, third) as reader:
        reading = read(reader)
    assert (reading.source, reading.tip.height) == ("esplora:127.0.0.1#2", facts.tip - 2)
    assert [output.confirmations for output in reading.outputs] == [7]


def test_the_server_that_is_read_changes_only_when_it_is_behind_or_fails(facts: Facts) -> None:
    first, second = Esplora(facts), Esplora(facts)
    with reading_from_all(first, second) as reader:
        sources = []
        for first.behind, second.behind in ((0, 0), (0, 1), (1, 0), (0, 0), (0, 0), (0, 1), (0, 0), (0, 0)):
            facts.mine()
            reader.tip()
            sources.append(read(reader).source.removeprefix("esplora:127.0.0.1") or "#1")
    assert sources == ["#1", "#1", "#2", "#2", "#2", "#1", "#1", "#1"]


def test_a_height_that_a_server_has_taken_back_holds_nobody_to_it(facts: Facts) -> None:
    """It showed another network's chain for a while."""
    wrong = Esplora(Facts(tip=facts.tip + 90_000))
    right = Esplora(facts)
    with reading_from_all(right, wrong) as reader:
        assert reader.tip().height == facts.tip + 90_000
        wrong.facts = facts
        assert reader.tip() == tip_of(facts)
        right.paths.clear()
        assert read(reader).source == "esplora:127.0.0.1"
        wrong.paths.clear()
        assert read(reader).source == "esplora:127.0.0.1"
    assert wrong.paths == []


def test_servers_in_good_order_cost_a_look_no_more_calls_than_one(facts: Facts) -> None:
    first, second = Esplora(facts), Esplora(facts)
    with reading_from_all(first, second) as reader:
        reader.tip()
        second.paths.clear()
        assert len(paths_of(first, reader)) == 2
    assert second.paths == []


def test_a_server_that_hangs_does_not_hold_up_every_question_for_the_tip(facts: Facts) -> None:
    with RawServer(silent) as hanging, served(Esplora(facts)) as url:
        reader = esplora_at(hanging.url, url)
        for _ in range(13):
            assert reader.tip() == tip_of(facts)
        assert len(hanging.requests) == 1
        reader.tip()
        assert len(hanging.requests) == 2
        reader.close()


def test_servers_that_all_failed_are_all_asked_again(facts: Facts) -> None:
    first, second = Esplora(facts), Esplora(facts)
    with reading_from_all(first, second) as reader:
        facts.broken = "down"
        with pytest.raises(Unavailable):
            reader.tip()
        facts.broken = None
        assert reader.tip() == tip_of(facts)


def test_when_all_servers_fail_the_longest_known_wait_is_passed_on() -> None:
    slow_down = answer("", status="429 Slow Down", headers="Retry-After: 9\r\n")
    with RawServer(always(slow_down)) as server:
        reader = esplora_at(f"http://127.0.0.1:{free_port()}", server.url)
        with pytest.raises(Unavailable) as error:
            read(reader)
        reader.close()
    assert error.value.retry_after_seconds == 9


# --- answers of another shape ------------------------------------------------------------------------------------------


def reading_with(facts: Facts, path: str, content: Any) -> ChainReading:
    """What is read from a good server that answers one path with something else."""
    good = Esplora(facts)

    def answering(method: str, asked: str, *rest: Any) -> tuple[int, bytes]:
        if asked.startswith(path):
            return 200, content if isinstance(content, bytes) else json.dumps(content).encode()
        return good(method, asked, *rest)

    with served(answering) as url:
        reader = esplora_at(url)
        try:
            return read(reader)
        finally:
            reader.close()


@pytest.mark.parametrize(
    "change",
    [
        {"txid": "zz"},
        {"txid": None},
        {"status": None},
        {"status": {"confirmed": "yes"}},
        {"status": {"confirmed": True}},
        {"status": {"confirmed": True, "block_hash": "zz", "block_height": 5}},
        {"status": {"confirmed": True, "block_hash": 5, "block_height": 5}},
        {"vout": [{"scriptpubkey_address": ADDRESS, "value": 1.5}]},
        {"vout": [{"scriptpubkey_address": ADDRESS, "value": "100"}]},
        {"vout": [{"scriptpubkey_address": ADDRESS, "value": -1}]},
        {"vout": [{"scriptpubkey_address": ADDRESS}]},
        {"vout": "none"},
        {"vin": [{"txid": "ee" * 32}]},
        {"vin": [{"txid": "ee" * 32, "sequence": 5, "is_coinbase": "no"}]},
        {"vin": None},
    ],
)
def test_a_transaction_of_another_shape_is_no_evidence(facts: Facts, change: dict[str, Any]) -> None:
    shown = {**Esplora(facts).shown(facts.pay((ADDRESS, 100))), **change}
    with pytest.raises(Unavailable, match="Esplora shape"):
        reading_with(facts, "/address/", [shown])


@pytest.mark.parametrize(
    "change",
    [
        {"id": "00" * 32},
        {"id": None},
        {"height": "5"},
        {"height": -1},
        {"height": None},
        {"timestamp": 1.5},
        {"timestamp": 2**40},
        {"timestamp": None},
    ],
)
def test_a_tip_of_another_shape_is_no_tip(facts: Facts, change: dict[str, Any]) -> None:
    block = {**Esplora(facts).block(facts.tip), **change}
    with pytest.raises(Unavailable, match="Esplora shape"):
        reading_with(facts, "/block/", block)


@pytest.mark.parametrize("text", [b"5", b"", b"<html>", b"\xff" * 32, b"zz" * 32, b"AB" * 32, b"[]"])
def test_a_tip_that_is_no_hash_is_no_tip(facts: Facts, text: bytes) -> None:
    with pytest.raises(Unavailable, match="Esplora shape"):
        reading_with(facts, "/blocks/tip/hash", text)


# --- networks ----------------------------------------------------------------------------------------------------------

FIRST_BLOCKS = {
    "main": "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    "test": "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
    "signet": "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
    "regtest": "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
}


class OfNetwork(Esplora):
    """A server of one network, `None`: it does not know its first block."""

    def __init__(self, facts: Facts, network: str | None):
        super().__init__(facts)
        self.first_block: Any = FIRST_BLOCKS[network] if network else 404

    def found(self, parts: list[str], after: str | None) -> Any:
        return self.first_block if parts == ["block-height", "0"] else super().found(parts, after)


def test_a_server_of_another_network_is_not_read_however_high_its_chain(facts: Facts) -> None:
    facts.pay((ADDRESS, 20_000))
    facts.mine()
    elsewhere = Facts()
    elsewhere.mine(500)
    with served(OfNetwork(elsewhere, "test")) as wrong, served(OfNetwork(facts, "main")) as right:
        reader = EsploraReader(base_urls=[wrong, right], network="main")
        assert reader.tip().height == facts.tip
        assert [o.amount_sat for o in read(reader).outputs] == [20_000]
        reader.close()


@pytest.mark.parametrize("network", FIRST_BLOCKS)
def test_where_all_servers_are_of_another_network_that_is_said(facts: Facts, network: str) -> None:
    for other in FIRST_BLOCKS:
        with served(OfNetwork(facts, other)) as url:
            reader = EsploraReader(base_urls=[url], network=network)
            if other == network:
                assert reader.tip().height == facts.tip
            else:
                with pytest.raises(Unavailable, match="another network"):
                    reader.tip()
            reader.close()


@pytest.mark.parametrize("said", [404, 403, "<html>not for you</html>", {"ok": True}])
def test_the_first_block_is_asked_for_once_and_need_not_be_told(facts: Facts, said: Any) -> None:
    server = OfNetwork(facts, None)
    server.first_block = said
    with served(server) as url:
        reader = EsploraReader(base_urls=[url], network="main")
        reader.tip()
        read(reader)
        assert server.paths.count("/block-height/0") == 1
        reader.close()
