"""Signed messages: both forms that wallets write, held to the vectors of BIP-322, and what is said of any other text."""

import json
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from btclib.b58 import prv_key_data_from_wif
from btclib.ecc import bms
from btclib.script import serialize
from btclib.script.script_pub_key import ScriptPubKey
from btclib.script.sig_hash import ALL, from_tx
from btclib.tx import Tx, TxIn
from btclib_wallet import bip322
from btclib_wallet.psbt import Psbt
from ecc.ecc import dsa

from bridge.core.addresses import check_payable
from bridge.core.errors import Refused
from bridge.core.messages import check_signed

VECTORS = json.loads((Path(__file__).parent / "bip322.json").read_text(encoding="utf-8"))
SIMPLE, TIME_LOCKED, WRONG = VECTORS["simple"], VECTORS["time_locked"], VECTORS["wrong"]
# The private key 7 and its addresses that can sign.
KEY = prv_key_data_from_wif("cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87MbvFSpLf")
P2PKH, NESTED = "mp5cELDJZ2pUNYrF1i5dCyT34j48UzaKRU", "2N34MozbZgun3wHRya6RbMcia91trTTC9xY"
SEGWIT = "tb1qthklh702txwafc72d2qtxv7ywt7sk0mfwhqaph"
MESSAGE = "Refund of inv_1, https://pay.example.com"


def answer(message: str, address: str, signature: str, network: str = "main") -> str:
    """The code of the refusal, or "signed"."""
    try:
        check_signed(message, address=check_payable(address, network=network), signature=signature)
    except Refused as refused:
        assert refused.field == "signature"
        return refused.code
    return "signed"


def of(vector: dict[str, Any], **other: str) -> str:
    return answer(**{name: other.get(name, vector[name]) for name in ("message", "address", "signature")})


def mine(address: str) -> str:
    return bip322.sign(MESSAGE.encode(), KEY, address).b64encode()


def script(address: str) -> bytes:
    return ScriptPubKey.from_address(address).script


def made(*, version: int = 0, lock_time: int = 0, sequence: int = 0) -> Tx:
    """What a signer of the full form makes for the key's first address, by hand: the library's own sets no lock."""
    spent = bip322.to_spend(MESSAGE.encode(), script(P2PKH))
    unsigned = bip322.to_sign(spent, version=version, lock_time=lock_time, sequence=sequence)
    signature = dsa.sign_(from_tx(spent.vout, unsigned, 0, ALL), KEY.q).serialize() + bytes([ALL])
    unsigned.vin[0].script_sig = serialize([signature, KEY.pub.sec])
    return unsigned


@pytest.mark.parametrize("vector", SIMPLE)
def test_every_simple_vector_is_signed_with_its_prefix_and_without(vector: dict[str, Any]) -> None:
    bare = vector["signature"].removeprefix("smp")
    assert of(vector) == of(vector, signature=bare) == of(vector, signature=f"smp{bare}") == "signed"
    assert of(vector, message=vector["message"] + ".") == "signature_differs"
    assert of(vector, signature=f"ful{bare}") == "signature_unsupported"
    assert of(vector, signature=f"pof{bare}") == "signature_unsupported"


@pytest.mark.parametrize("vector", SIMPLE)
def test_a_signature_says_nothing_of_another_address(vector: dict[str, Any]) -> None:
    others = [each["address"] for each in SIMPLE + TIME_LOCKED if each["address"] != vector["address"]]
    assert {of(vector, address=other) for other in others} == {"signature_differs"}


@pytest.mark.parametrize("vector", TIME_LOCKED)
def test_a_proof_that_counts_only_later_is_told_so(vector: dict[str, Any]) -> None:
    assert of(vector) == "signature_time_locked"
    assert of(vector, message=vector["message"] + ".") == "signature_differs"


@pytest.mark.parametrize("vector", WRONG)
def test_no_vector_of_an_error_is_signed(vector: dict[str, Any]) -> None:
    assert of(vector) in ("signature_differs", "signature_unsupported")


@pytest.mark.parametrize("address", [P2PKH, NESTED, SEGWIT])
def test_the_older_form_is_read_for_a_key_that_is_hashed(address: str) -> None:
    signature = bms.sign(MESSAGE.encode(), KEY, address).b64encode()
    assert answer(MESSAGE, address, signature, "test") == "signed"
    assert answer(MESSAGE + ".", address, signature, "test") == "signature_differs"


@pytest.mark.parametrize("first_byte", [31, 39])
def test_both_first_bytes_that_wallets_write_for_segwit_are_read(first_byte: int) -> None:
    made = bms.sign(MESSAGE.encode(), KEY, SEGWIT)
    signature = replace(made, rf=first_byte + (made.rf - 27) % 4).b64encode()
    assert answer(MESSAGE, SEGWIT, signature, "test") == "signed"


def test_the_older_form_for_taproot_is_told_what_is_needed() -> None:
    signature = bms.sign(MESSAGE.encode(), KEY, P2PKH).b64encode()
    assert answer(MESSAGE, SIMPLE[5]["address"], signature) == "signature_unsupported"


@pytest.mark.parametrize("address", [P2PKH, NESTED])
def test_the_full_form_is_signed_with_its_prefix_and_without(address: str) -> None:
    signature = mine(address)
    assert signature.startswith("ful")
    for text in (signature, signature[3:]):
        assert answer(MESSAGE, address, text, "test") == "signed"
        assert answer(MESSAGE + ".", address, text, "test") == "signature_differs"


def test_a_nested_address_may_leave_its_script_to_the_key() -> None:
    witness = bip322.Sig.b64decode(mine(NESTED)).payload.vin[0].script_witness
    simple = bip322.Sig(witness).b64encode()
    for text in (simple, simple.removeprefix("smp")):
        assert answer(MESSAGE, NESTED, text, "test") == "signed"
        assert answer(MESSAGE + ".", NESTED, text, "test") == "signature_differs"
        assert answer(MESSAGE, "2MuSGxcp86624Mbn8mJFDeYgQzd5BTe1M3h", text, "test") == "signature_differs"


@pytest.mark.parametrize(("lock_time", "sequence", "expected"), [(0, 0, "signed"), (1, 0, ""), (0, 1, ""), (9, 9, "")])
def test_a_full_form_is_as_strict_about_time_as_a_simple_one(lock_time: int, sequence: int, expected: str) -> None:
    signature = bip322.Sig(made(lock_time=lock_time, sequence=sequence)).b64encode()
    assert answer(MESSAGE, P2PKH, signature, "test") == (expected or "signature_time_locked")


@pytest.mark.parametrize(("lock_time", "expected"), [(0, "signed"), (800_000, "signature_time_locked")])
def test_a_proof_of_funds_is_a_proof_and_just_as_strict(lock_time: int, expected: str) -> None:
    signed = made(lock_time=lock_time)
    psbt = Psbt.from_tx(Tx(signed.version, signed.lock_time, [TxIn(signed.vin[0].prev_out, b"", 0)], signed.vout))
    psbt.inputs[0].non_witness_utxo = bip322.to_spend(MESSAGE.encode(), script(P2PKH))
    psbt.inputs[0].final_script_sig = signed.vin[0].script_sig
    signature = bip322.Sig(psbt).b64encode()
    assert signature.startswith("pof")
    assert answer(MESSAGE, P2PKH, signature, "test") == expected
    assert answer(MESSAGE + ".", P2PKH, signature, "test") == "signature_differs"
    assert answer(MESSAGE, P2PKH, signature[3:], "test") == "signature_unsupported"


def test_a_version_that_no_rule_knows_yet_is_not_taken() -> None:
    assert answer(MESSAGE, P2PKH, bip322.Sig(made(version=3)).b64encode(), "test") == "signature_unsupported"


@pytest.mark.parametrize("kind", ["older", "simple", "full"])
def test_what_a_mail_does_to_a_signature_does_no_harm(kind: str) -> None:
    whole = {"older": bms.sign(MESSAGE.encode(), KEY, SEGWIT).b64encode(), "simple": mine(SEGWIT), "full": mine(NESTED)}
    address = NESTED if kind == "full" else SEGWIT
    for broken in (
        "\r\n".join(re.findall(".{1,64}", whole[kind])),
        " ".join(re.findall(".{1,20}", whole[kind])),
        f"\n  {whole[kind]}\t ",
        f"{whole[kind][:2]}\n{whole[kind][2:]}",
        whole[kind].rstrip("="),
    ):
        assert answer(MESSAGE, address, broken, "test") == "signed"


@pytest.mark.parametrize(
    "text", ["nonsense", "A", "=", "smp", "ful", "pof", "подпись", "A" * 500, "smp====", "\x00", "-----"]
)
@pytest.mark.parametrize("address", [P2PKH, NESTED, SEGWIT])
def test_what_is_no_signature_at_all_is_told_so(address: str, text: str) -> None:
    assert answer(MESSAGE, address, text, "test") == "signature_unsupported"


def test_a_changed_byte_is_never_signed_and_never_an_error() -> None:
    for vector in SIMPLE[4:6] + TIME_LOCKED[4:6]:
        prefix = vector["signature"][:3] if vector["signature"][:3] in ("smp", "ful") else ""
        raw = b64decode(vector["signature"].removeprefix(prefix))
        for place in range(0, len(raw), 3):
            changed = raw[:place] + bytes([raw[place] ^ 0x41]) + raw[place + 1 :]
            assert of(vector, signature=prefix + b64encode(changed).decode()).startswith("signature_")
