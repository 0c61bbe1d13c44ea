"""The simulated chain, moved through the control surface and seen through the gateway and the Esplora view."""

import re

import pytest

from sandbox.addresses import BadAddress, encode_segwit, script_of


def refusal(sandbox, name, **body):
    answer = sandbox.http.post(f"{sandbox.url}/_control/{name}", json=body, timeout=5)
    assert answer.status_code == 400
    return answer.json()["error"]


def test_one_transaction_can_pay_two_addresses_and_one_address_twice(sandbox):
    one, two = sandbox.inbox(), sandbox.inbox()
    outputs = [{"address": a, "amount_sat": s} for a, s in ((one, 10_000), (two, 20_000), (one, 30_000))]
    paid = sandbox.control("pay", outputs=outputs)
    assert paid["outputs"] == outputs
    assert (sandbox.poll(one)["received_sat"], sandbox.poll(two)["received_sat"]) == (40_000, 20_000)
    assert len(sandbox.esplora(f"address/{one}/txs")) == 1
    assert sandbox.esplora(f"address/{one}")["mempool_stats"]["funded_txo_count"] == 2


def test_a_replacement_takes_the_place_of_a_signalling_payment(sandbox):
    address = sandbox.inbox()
    old = sandbox.control("pay", address=address, amount_sat=50_000, replaceable=True)
    new = sandbox.control("replace", txid=old["txid"], amount_sat=20_000)
    assert new["fee_sat"] > old["fee_sat"]
    assert sandbox.poll(address)["received_sat"] == 20_000
    assert [entry["txid"] for entry in sandbox.esplora(f"address/{address}/txs")] == [new["txid"]]
    assert sandbox.http.get(f"{sandbox.url}/esplora/tx/{old['txid']}", timeout=5).status_code == 404


def test_a_replacement_spends_the_same_coin_and_may_pay_somebody_else(sandbox):
    address, other = sandbox.inbox(), sandbox.stranger()
    old = sandbox.pay(address, 50_000, replaceable=True)
    coin = sandbox.esplora(f"tx/{old}")["vin"][0]
    new = sandbox.control("replace", txid=old, address=other)["txid"]
    again = sandbox.esplora(f"tx/{new}")["vin"][0]
    assert (again["txid"], again["vout"]) == (coin["txid"], coin["vout"])
    assert sandbox.poll(address)["received_sat"] == 0


def test_a_payment_that_does_not_signal_is_replaced_all_the_same(sandbox):
    address = sandbox.inbox()
    txid = sandbox.pay(address, 50_000)
    assert sandbox.esplora(f"tx/{txid}")["vin"][0]["sequence"] == 0xFFFFFFFE
    sandbox.control("replace", txid=txid, amount_sat=1)
    assert sandbox.poll(address)["received_sat"] == 1


def test_a_dropped_payment_vanishes_from_every_view(sandbox):
    address = sandbox.inbox()
    txid = sandbox.pay(address, 50_000)
    sandbox.control("drop", txid=txid)
    assert sandbox.poll(address)["received_sat"] == 0
    assert sandbox.ok("wallet_balance")["balance_sat"] == 0
    assert sandbox.esplora(f"address/{address}/txs") == []


def test_a_confirmed_payment_is_neither_dropped_nor_replaced(sandbox):
    txid = sandbox.pay(sandbox.inbox(), 50_000, replaceable=True, confirmations=1)
    assert "confirmed" in refusal(sandbox, "drop", txid=txid)
    assert "confirmed" in refusal(sandbox, "replace", txid=txid)
    assert "no such" in refusal(sandbox, "drop", txid="00")


def test_a_reorganisation_returns_payments_to_the_mempool_under_a_longer_chain(sandbox):
    address = sandbox.inbox()
    txid = sandbox.pay(address, 50_000, confirmations=2)
    height, old = int(sandbox.esplora("blocks/tip/height")), sandbox.esplora(f"tx/{txid}/status")
    sandbox.control("reorg", depth=2)
    assert sandbox.esplora(f"tx/{txid}/status") == {"confirmed": False}
    assert int(sandbox.esplora("blocks/tip/height")) == height + 1
    assert sandbox.esplora(f"block-height/{old['block_height']}") != old["block_hash"]
    assert sandbox.ok("wallet_balance")["unconfirmed_sat"] == 50_000
    sandbox.control("mine", blocks=1)
    assert sandbox.esplora(f"tx/{txid}/status")["block_height"] == height + 2


def test_a_reorganisation_can_drop_one_payment_and_keep_another(sandbox):
    one, two = sandbox.inbox(), sandbox.inbox()
    gone, kept = sandbox.pay(one, 50_000), sandbox.pay(two, 50_000)
    sandbox.control("mine", blocks=1)
    sandbox.control("reorg", depth=1, drop=[gone], include=True)
    assert sandbox.poll(one)["received_sat"] == 0
    assert sandbox.esplora(f"tx/{kept}/status")["confirmed"] is True


def test_a_double_spend_wins_after_a_reorganisation(sandbox):
    address = sandbox.inbox()
    txid = sandbox.pay(address, 50_000, confirmations=1)
    sandbox.control("reorg", depth=1, mine=0)
    winner = sandbox.control("replace", txid=txid, address=sandbox.stranger())["txid"]
    sandbox.control("mine", blocks=2)
    assert sandbox.poll(address)["received_sat"] == 0
    assert sandbox.esplora(f"tx/{winner}/status")["confirmed"] is True


def test_dropping_a_payment_takes_what_spent_it(sandbox):
    address = sandbox.inbox()
    txid = sandbox.pay(address, 100_000, confirmations=1)
    to = sandbox.stranger()
    child = sandbox.send(to, 60_000).json()["result"]["txid"]
    sandbox.control("reorg", depth=1, drop=[txid])
    assert sandbox.look("state")["mempool"] == []
    assert sandbox.http.get(f"{sandbox.url}/esplora/tx/{child}", timeout=5).status_code == 404


def test_empty_blocks_leave_the_mempool_alone(sandbox):
    txid = sandbox.pay(sandbox.inbox(), 50_000)
    sandbox.control("mine", blocks=3, empty=True)
    assert sandbox.look("state")["mempool"] == [txid]


@pytest.mark.parametrize("sat", [0, -5, 1.5, "5", True, None])
def test_a_payment_needs_a_positive_whole_number_of_satoshi(sandbox, sat):
    assert "amount_sat" in refusal(sandbox, "pay", address=sandbox.inbox(), amount_sat=sat)


def test_a_payment_to_another_net_or_a_misspelt_address_is_refused(sandbox):
    address = sandbox.inbox()
    wrong = address[:-1] + ("q" if address[-1] != "q" else "p")
    assert "checksum" in refusal(sandbox, "pay", address=wrong, amount_sat=5)
    refusal(sandbox, "pay", address="bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", amount_sat=5)


def test_esplora_shows_a_transaction_with_everything_a_reader_needs(sandbox):
    address = sandbox.inbox()
    txid = sandbox.pay(address, 50_000, replaceable=True)
    shown = sandbox.esplora(f"tx/{txid}")
    assert re.fullmatch(r"[0-9a-f]{64}", shown["txid"])
    assert shown["vin"][0]["sequence"] < 0xFFFFFFFE
    assert shown["vin"][0]["prevout"]["value"] == 50_000 + shown["fee"]
    script = script_of(address, "test").hex()
    assert shown["vout"] == [
        {"scriptpubkey": script, "scriptpubkey_address": address, "scriptpubkey_type": "v0_p2wpkh", "value": 50_000}
    ]
    assert shown["status"] == {"confirmed": False}
    sandbox.control("mine", blocks=1)
    status = sandbox.esplora(f"tx/{txid}")["status"]
    tip = sandbox.esplora("blocks/tip/hash")
    assert status | {"confirmed": True, "block_height": int(sandbox.esplora("blocks/tip/height"))} == status
    assert status["block_hash"] == tip == sandbox.esplora(f"block-height/{status['block_height']}")
    assert sandbox.esplora(f"block/{tip}")["timestamp"] == status["block_time"]


def test_esplora_shows_who_spent_an_output(sandbox):
    txid = sandbox.pay(sandbox.inbox(), 100_000, confirmations=1)
    assert sandbox.esplora(f"tx/{txid}/outspends") == [{"spent": False}]
    child = sandbox.send(sandbox.stranger(), 60_000).json()["result"]["txid"]
    spent = {"spent": True, "txid": child, "vin": 0, "status": {"confirmed": False}}
    assert sandbox.esplora(f"tx/{txid}/outspends") == [spent]


def test_esplora_counts_confirmed_and_unconfirmed_apart(sandbox):
    address = sandbox.inbox()
    sandbox.pay(address, 10_000, confirmations=1)
    sandbox.pay(address, 5_000)
    stats = sandbox.esplora(f"address/{address}")
    assert (stats["chain_stats"]["funded_txo_sum"], stats["chain_stats"]["tx_count"]) == (10_000, 1)
    assert (stats["mempool_stats"]["funded_txo_sum"], stats["mempool_stats"]["tx_count"]) == (5_000, 1)


def test_esplora_pages_through_confirmed_history_newest_first(sandbox):
    address = sandbox.inbox()
    txids = []
    for _ in range(30):
        txids.insert(0, sandbox.pay(address, 1_000, confirmations=1))
    unconfirmed = sandbox.pay(address, 1_000)
    first = [entry["txid"] for entry in sandbox.esplora(f"address/{address}/txs/chain")]
    rest = [entry["txid"] for entry in sandbox.esplora(f"address/{address}/txs/chain/{first[-1]}")]
    assert first + rest == txids
    assert sandbox.esplora(f"address/{address}/txs/chain/{txids[-1]}") == []
    assert [entry["txid"] for entry in sandbox.esplora(f"address/{address}/txs")] == [unconfirmed, *txids[:25]]
    assert [entry["txid"] for entry in sandbox.esplora(f"address/{address}/txs/mempool")] == [unconfirmed]


@pytest.mark.parametrize(("path", "status"), [("tx/00", 404), ("block-height/9", 404), ("address/nonsense", 400)])
def test_esplora_refuses_in_plain_text(sandbox, path, status):
    answer = sandbox.http.get(f"{sandbox.url}/esplora/{path}", timeout=5)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (status, "text/plain")


def test_esplora_can_be_down_blind_or_behind(sandbox):
    address = sandbox.inbox()
    txid = sandbox.pay(address, 50_000, confirmations=1)
    height = int(sandbox.esplora("blocks/tip/height"))
    sandbox.fault("down", "esplora")
    assert sandbox.http.get(f"{sandbox.url}/esplora/tx/{txid}", timeout=5).status_code == 503
    sandbox.fault("blind", "esplora")
    assert sandbox.esplora(f"address/{address}/txs") == []
    sandbox.fault("lag", "esplora", times=2, blocks=1)
    assert int(sandbox.esplora("blocks/tip/height")) == height - 1
    assert sandbox.esplora(f"tx/{txid}/status") == {"confirmed": False}
    assert sandbox.esplora(f"tx/{txid}/status")["confirmed"] is True


def test_block_times_follow_the_sandbox_clock(sandbox):
    sandbox.control("clock", set=2_000_000_000)
    sandbox.control("mine", blocks=1)
    block = sandbox.esplora("block/" + sandbox.esplora("blocks/tip/hash"))
    assert 0 <= block["timestamp"] - 2_000_000_000 < 60


@pytest.mark.parametrize(
    ("address", "script"),
    [
        ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "0014751e76e8199196d454941c45d1b3a323f1433bd6"),
        (
            "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
            "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
        ),
        (
            "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
            "5120000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
        ),
        ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "76a914243f1394f44554f4ce3fd68649c19adc483ce92488ac"),
        ("2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc", "a9144e9f39ca4688ff102128ea4ccda34105324305b087"),
    ],
)
def test_addresses_of_every_kind_are_read_by_published_vectors(address, script):
    assert script_of(address, "test").hex() == script


def test_a_v0_program_under_the_v1_checksum_is_refused():
    program = script_of("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "test")[2:]
    assert encode_segwit("tb", 0, program) == "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
    wrong = "tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47"
    with pytest.raises(BadAddress, match="checksum"):
        script_of(wrong, "test")
