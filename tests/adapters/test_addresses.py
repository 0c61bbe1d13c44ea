"""Address checking, held to every published vector of BIP-173 and BIP-350."""

import subprocess
import sys
from pathlib import Path

import pytest

from bridge.core.addresses import check_address, check_payable, check_wallet_net
from bridge.core.errors import Refused

ROOT = Path(__file__).resolve().parents[2]

VALID = [  # BIP-350: address, scriptPubKey
    ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "0014751e76e8199196d454941c45d1b3a323f1433bd6"),
    (
        "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
        "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
    ),
    (
        "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
        "5128751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6",
    ),
    ("BC1SW50QGDZ25J", "6002751e"),
    ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", "5210751e76e8199196d454941c45d1b3a323"),
    (
        "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
        "0020000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
    ),
    (
        "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
        "5120000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
    ),
    (
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    ),
]
INVALID = [
    # BIP-350, segwit addresses
    "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
    "tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf",
    "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
    "tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47",
    "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
    "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R",
    "bc1pw5dgrnzv",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j",
    "bc1gmk9yu",
    # BIP-173, segwit addresses
    "tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
    "BC13W508D6QEJXTDG4Y5R3ZARVARY0C5XW7KN40WF2",
    "bc1rw5uspcuh",
    "bc10w508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kw5rljs90",
    "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sL5k7",
    "bc1zw508d6qejxtdg4y5r3zarvaryvqyzf3du",
    "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3pjxtptv",
    # BIP-173 addresses of version 1 and up that BIP-350 withdrew
    "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7k7grplx",
    "BC1SW50QA3JX3S",
    "bc1zw508d6qejxtdg4y5r3zarvaryvg6kdaj",
    # BIP-173 strings: good or bad checksum, none of them an address
    "A12UEL5L",
    "a12uel5l",
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
    "11qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqc8247j",
    "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
    "?1ezyfcl",
    " 1nwldj5",
    "\x7f1axkwrx",
    "\x801eym55h",
    "an84characterslonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1569pvx",
    "pzry9x0s0muk",
    "1pzry9x0s0muk",
    "x1b4n0q5v",
    "li1dgmt3",
    "de1lg7wt\xff",
    "A1G7SGD8",
    "10a06t8",
    "1qzzfhee",
    # BIP-350 strings
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
    " 1xj0phk",
    "\x7f1g6xzxy",
    "\x801vctc34",
    "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
    "qyrz8wqd2c9m",
    "1qyrz8wqd2c9m",
    "y1b0jsk6g",
    "lt1igcx5c0",
    "in1muywd",
    "mm1crxm3i",
    "au1s5cgom",
    "M1VUXWEZ",
    "16plkw9",
    "1p2gdwpf",
    # strangers
    "",
    " ",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\n",
    " bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7\u212aV8F3T4",
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3",
    "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLx",
    "ltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kgmn4n9",
    "bitcoin:bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "5KYZdUEo39z3FPrtuX2QbbwGnNP5zTd7yyr2SC1j299sBCnWjss",
    "1" * 90,
    "q" * 100_000,
]
BASE58 = [
    ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "main", "p2pkh", "76a91477bff20c60e522dfaa3350c39b030a5d004e839a88ac"),
    ("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "main", "p2sh", "a914b472a266d0bd89c13706a4132ccfb16f7c3b9fcb87"),
    ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "test", "p2pkh", "76a914243f1394f44554f4ce3fd68649c19adc483ce92488ac"),
    ("2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc", "regtest", "p2sh", "a9144e9f39ca4688ff102128ea4ccda34105324305b087"),
]


def network_of(text: str) -> str:
    return "main" if text.lower().startswith("bc1") else "test"


@pytest.mark.parametrize(("text", "script_hex"), VALID)
def test_valid_vectors_give_their_script(text: str, script_hex: str) -> None:
    address = check_address(text, network=network_of(text))
    assert address.script_hex == script_hex
    assert address.text == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_invalid_vectors_are_refused_on_every_network(text: str) -> None:
    for network in ("main", "test", "signet", "regtest"):
        with pytest.raises(Refused) as refusal:
            check_address(text, network=network, field="refund_address")
        assert refusal.value.code == "bad_address"
        assert refusal.value.field == "refund_address"


@pytest.mark.parametrize("text", [None, 5, b"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", ["bc1"]])
def test_what_is_no_text_is_refused(text: object) -> None:
    with pytest.raises(Refused, match="not a Bitcoin address"):
        check_address(text, network="main")  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "network", "kind", "script_hex"), BASE58)
def test_base58_addresses_keep_their_case(text: str, network: str, kind: str, script_hex: str) -> None:
    address = check_address(text, network=network)
    assert (address.text, address.kind, address.script_hex) == (text, kind, script_hex)
    assert address.witness_version is None


def test_taproot_and_regtest_are_known() -> None:
    taproot = check_address(VALID[-1][0], network="main")
    assert (taproot.kind, taproot.witness_version) == ("p2tr", 1)
    regtest = check_address("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", network="regtest")
    assert regtest.kind == "p2wpkh"


@pytest.mark.parametrize(("text", "_script"), VALID)
def test_an_address_of_another_network_is_refused(text: str, _script: str) -> None:
    for network in {"main", "test", "regtest"} - {network_of(text)}:
        with pytest.raises(Refused) as refusal:
            check_address(text, network=network)
        assert refusal.value.code == "wrong_network"


def test_regtest_segwit_is_not_testnet_though_their_base58_is_shared() -> None:
    with pytest.raises(Refused) as refusal:
        check_address("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", network="test")
    assert refusal.value.code == "wrong_network"
    assert check_address(BASE58[2][0], network="regtest").kind == "p2pkh"
    with pytest.raises(Refused):
        check_address(BASE58[2][0], network="main")


def test_nothing_is_ever_paid_to_a_witness_version_without_rules() -> None:
    assert check_address("BC1SW50QGDZ25J", network="main").kind == "future"
    with pytest.raises(Refused) as refusal:
        check_payable("BC1SW50QGDZ25J", network="main", field="destination")
    assert refusal.value.field == "destination"
    assert check_payable(VALID[0][0], network="main").kind == "p2wpkh"


def test_every_single_wrong_letter_is_noticed() -> None:
    good = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
    check_address(good, network="test")
    for place in range(4, len(good)):
        wrong = good[:place] + ("p" if good[place] == "q" else "q") + good[place + 1 :]
        with pytest.raises(Refused):
            check_address(wrong, network="test")


def test_the_vectors_hold_when_assertions_are_switched_off() -> None:
    """Another library accepts version 1 with the old checksum under -O and sends the money to version 0."""
    script = (
        "import sys; from tests.adapters.test_addresses import INVALID, VALID, network_of\n"
        "from bridge.core.addresses import check_address; from bridge.core.errors import Refused\n"
        "bad = [text for text, script in VALID if check_address(text, network=network_of(text)).script_hex != script]\n"
        "for text in INVALID:\n"
        "    for network in ('main', 'test', 'regtest'):\n"
        "        try: bad.append(check_address(text, network=network))\n"
        "        except Refused: pass\n"
        "assert False, 'assertions are on'\n"
        "sys.exit(repr(bad) if bad else 0)\n"
    )
    done = subprocess.run([sys.executable, "-O", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("wallet_id", "network", "code"),
    [
        ("wm_" + "a" * 44, "test", "wrong_network"),
        ("wm_" + "a" * 44, "regtest", "wrong_network"),
        ("wt_" + "a" * 44, "main", "wrong_network"),
        ("wlt_abc123", "main", "bad_wallet_id"),
        ("", "main", "bad_wallet_id"),
        ("w_", "main", "bad_wallet_id"),
        ("w_abc\n", "main", "bad_wallet_id"),
        ("w_" + "a" * 129, "main", "bad_wallet_id"),
    ],
)
def test_a_wallet_of_another_network_is_refused(wallet_id: str, network: str, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        check_wallet_net(wallet_id, network)
    assert refusal.value.code == code


def test_wallet_ids_of_every_gateway_version_are_known() -> None:
    check_wallet_net("wm_" + "a" * 44, "main")
    check_wallet_net("wt_" + "a" * 44, "test")
    check_wallet_net("w_" + "a" * 44, "main")
    check_wallet_net("w_" + "a" * 44, "test")
