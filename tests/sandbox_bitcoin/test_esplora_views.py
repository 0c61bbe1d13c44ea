"""The two Esplora-style servers of the sandbox: whose pages they have, and what each of them can be made to hide or double."""

import pytest

DUST = 300


def ask(sandbox, path, *, server="esplora"):
    answer = sandbox.http.get(f"{sandbox.url}/{server}/{path}", timeout=10)
    return (
        answer.json() if answer.status_code == 200 and "json" in answer.headers["Content-Type"] else answer.status_code
    )


def listed(sandbox, address, rest="", *, server="esplora"):
    return [each["txid"] for each in ask(sandbox, f"address/{address}/txs{rest}", server=server)]


@pytest.fixture
def crowded(sandbox):
    """An address with thirty confirmed transactions, newest first, and sixty that wait, oldest first."""
    address = sandbox.inbox()
    confirmed = [sandbox.pay(address, DUST, confirmations=1) for _ in range(30)][::-1]
    return address, confirmed, [sandbox.pay(address, DUST) for _ in range(60)]


def test_blockstreams_pages_show_fifty_that_wait_and_never_the_rest(sandbox, crowded):
    address, confirmed, waiting = crowded
    assert listed(sandbox, address) == waiting[:50] + confirmed[:25]
    assert listed(sandbox, address, f"?after_txid={waiting[49]}") == waiting[:50] + confirmed[:25]
    assert listed(sandbox, address, f"/chain/{confirmed[24]}") == confirmed[25:]
    assert listed(sandbox, address, "/mempool") == waiting[:50]
    counts = ask(sandbox, f"address/{address}")
    assert (counts["mempool_stats"]["tx_count"], counts["chain_stats"]["tx_count"]) == (60, 30)


def test_mempools_pages_hold_fifty_of_both_and_go_on_after_a_transaction(sandbox, crowded):
    address, confirmed, waiting = crowded
    sandbox.control("knobs", esplora_pages="mempool")
    both = waiting + confirmed
    assert listed(sandbox, address) == both[:50]
    assert listed(sandbox, address, f"?after_txid={both[49]}") == both[50:]
    assert listed(sandbox, address, f"?after_txid={both[-1]}") == []
    assert ask(sandbox, f"address/{address}/txs?after_txid={'ab' * 32}") == 422
    assert listed(sandbox, address, f"/chain/{confirmed[24]}") == confirmed[25:]


def test_pages_over_an_electrum_server_hold_ten_and_there_is_no_chain_route(sandbox, crowded):
    address, confirmed, waiting = crowded
    sandbox.control("knobs", esplora_pages="mempool_electrum")
    both = waiting + confirmed
    assert listed(sandbox, address) == both[:10]
    assert listed(sandbox, address, f"?after_txid={both[79]}") == both[80:]
    assert listed(sandbox, address, f"?after_txid={'ab' * 32}") == both[:10]
    for path in (f"txs/chain/{confirmed[0]}", "txs/chain", "txs/mempool"):
        assert ask(sandbox, f"address/{address}/{path}") == 404


def test_pages_of_a_kind_that_nobody_serves_are_refused(sandbox):
    answer = sandbox.http.post(f"{sandbox.url}/_control/knobs", json={"esplora_pages": "other"}, timeout=5)
    assert answer.status_code == 400


def test_a_server_can_forget_one_address_and_still_know_its_transactions(sandbox):
    address, other = sandbox.inbox(), sandbox.inbox()
    txid, kept = sandbox.pay(address, 1_000, confirmations=1), sandbox.pay(other, 1_000)
    sandbox.fault("forgets", "esplora", times=None, address=address)
    assert listed(sandbox, address) == []
    assert ask(sandbox, f"address/{address}")["chain_stats"]["tx_count"] == 0
    assert ask(sandbox, f"tx/{txid}")["status"]["confirmed"] is True
    assert listed(sandbox, other) == [kept]
    sandbox.fault("forgets", "esplora", times=None, address=address, by_id=True)
    assert ask(sandbox, f"tx/{txid}") == 404
    assert ask(sandbox, f"tx/{kept}")["txid"] == kept


def test_the_second_server_has_faults_of_its_own(sandbox):
    address = sandbox.inbox()
    lacked, kept = sandbox.pay(address, 1_000, confirmations=1), sandbox.pay(address, 2_000)
    sandbox.fault("lacks", "esplora2", times=None, txid=lacked)
    assert listed(sandbox, address) == [kept, lacked]
    assert listed(sandbox, address, server="esplora2") == [kept]
    assert ask(sandbox, f"tx/{lacked}", server="esplora2") == 404
    sandbox.fault("down", "esplora", times=None)
    assert ask(sandbox, "blocks/tip/height") == 503
    assert listed(sandbox, address, server="esplora2") == [kept]
    sandbox.ok("wallet_balance")


def test_a_server_that_indexes_anew_knows_nothing_above_its_low_tip(sandbox):
    address = sandbox.inbox()
    start = int(sandbox.esplora("blocks/tip/height")) - 11
    early = sandbox.pay(address, 1_000, confirmations=1)
    late, waiting = sandbox.pay(address, 1_000, confirmations=8), sandbox.pay(address, 1_000)
    sandbox.fault("reindexing", "esplora", times=None, blocks=12)
    assert int(sandbox.esplora("blocks/tip/height")) == start + 12
    assert listed(sandbox, address) == [early]
    assert [ask(sandbox, f"tx/{txid}") for txid in (late, waiting)] == [404, 404]
    assert ask(sandbox, f"block-height/{start + 13}") == 404
    sandbox.control("knobs", clear_faults=True)
    sandbox.fault("reindexing", "esplora", times=None)
    assert int(sandbox.esplora("blocks/tip/height")) == start


def test_a_server_that_stands_still_shows_what_it_has_not_seen_as_waiting_or_not_at_all(sandbox):
    address = sandbox.inbox()
    txid = sandbox.pay(address, 1_000, confirmations=3)
    height = int(sandbox.esplora("blocks/tip/height"))
    sandbox.fault("lag", "esplora", times=None, blocks=3)
    assert ask(sandbox, f"tx/{txid}/status") == {"confirmed": False}
    sandbox.control("knobs", clear_faults=True)
    sandbox.fault("lag", "esplora", times=None, blocks=3, waiting=False)
    assert int(sandbox.esplora("blocks/tip/height")) == height - 3
    assert (listed(sandbox, address), ask(sandbox, f"tx/{txid}")) == ([], 404)


def test_a_server_can_list_each_transaction_twice(sandbox):
    address = sandbox.inbox()
    confirmed, waiting = sandbox.pay(address, 1_000, confirmations=1), sandbox.pay(address, 2_000)
    sandbox.fault("doubled", "esplora", times=None)
    shown = [(each["txid"], each["status"]["confirmed"]) for each in ask(sandbox, f"address/{address}/txs")]
    assert shown == [(waiting, False), (confirmed, False), (waiting, False), (confirmed, True)]
    assert ask(sandbox, f"address/{address}")["chain_stats"]["tx_count"] == 1


def test_a_server_can_keep_what_an_undone_block_held(sandbox):
    txid = sandbox.pay(sandbox.inbox(), 1_000, confirmations=2)
    coin = ask(sandbox, f"tx/{txid}")["vin"][0]
    spent = f"tx/{coin['txid']}/outspend/{coin['vout']}"
    assert ask(sandbox, spent)["txid"] == txid
    sandbox.control("reorg", depth=2, drop=[txid])
    assert ask(sandbox, f"tx/{txid}") == 404
    sandbox.fault("remembers", "esplora", times=None)
    assert ask(sandbox, f"tx/{txid}")["status"] == {"confirmed": False}
    assert ask(sandbox, spent) == {"spent": False}


def test_a_block_can_pay_its_miner_at_an_address_and_nobody_spends_it_before_it_is_deep(sandbox):
    address = sandbox.inbox()
    sandbox.control("mine", blocks=1, address=address, amount_sat=80_000)
    (shown,) = ask(sandbox, f"address/{address}/txs")
    assert [coin["is_coinbase"] for coin in shown["vin"]] == [True]
    assert (shown["vout"][0]["value"], shown["fee"], shown["status"]["confirmed"]) == (80_000, 0, True)

    def figures():
        balance = sandbox.ok("wallet_balance")
        return sandbox.poll(address)["received_sat"], balance["confirmed_sat"], balance["immature_sat"]

    assert figures() == (0, 0, 80_000)
    assert sandbox.send(sandbox.stranger(), 60_000).json()["ok"] is False
    sandbox.control("mine", blocks=99)
    assert figures() == (0, 0, 80_000)
    sandbox.control("mine", blocks=1)
    assert figures() == (80_000, 80_000, 0)
    assert sandbox.send(sandbox.stranger(), 60_000).json()["ok"] is True


def test_what_a_block_paid_its_miner_vanishes_with_the_block(sandbox):
    address = sandbox.inbox()
    sandbox.control("mine", blocks=1, address=address, amount_sat=80_000)
    paid = sandbox.pay(address, 1_000, confirmations=1)
    sandbox.control("reorg", depth=2)
    assert listed(sandbox, address) == [paid]
    assert sandbox.ok("wallet_balance")["immature_sat"] == 0


def test_an_empty_block_may_still_pay_its_miner(sandbox):
    address = sandbox.inbox()
    waiting = sandbox.pay(address, 1_000)
    sandbox.control("mine", blocks=2, empty=True, address=address, amount_sat=500)
    assert sandbox.look("state")["mempool"] == [waiting]
    assert len(listed(sandbox, address)) == 2


def test_the_first_blocks_are_ten_minutes_apart_and_the_newest_is_from_when_the_world_began(sandbox, served):
    served.world.reset(at=1_773_489_600)
    height = int(sandbox.esplora("blocks/tip/height"))
    names = [sandbox.esplora(f"block-height/{height - back}") for back in range(3)]
    times = [ask(sandbox, f"block/{name}")["timestamp"] for name in names]
    assert times == [1_773_489_600, 1_773_489_600 - 600, 1_773_489_600 - 1_200]
