"""Messages signed with the key of an address: they show that its owner named it.

Owns the check of both forms that wallets write, the older one (BIP-137) and BIP-322; must not know what a message is for.
"""

import binascii
from base64 import b64decode

from btclib.ecc import bms
from btclib.exceptions import BTClibRuntimeError, InconclusiveError
from btclib.hashes import hash160
from btclib.script.witness import Witness
from btclib.tx import Tx
from btclib_wallet import bip322
from ecc.exceptions import EccRuntimeError

from bridge.core.addresses import Address
from bridge.core.errors import Refused

# One key hashed: for the others there is no older form.
_OLDER_KINDS = frozenset({"p2pkh", "p2sh", "p2wpkh"})
_OLDER_BYTES = 65
_PREFIXES = (bip322.SIMPLE, bip322.FULL, bip322.PROOF_OF_FUNDS)
# Whatever is wrong with a stranger's bytes, the libraries say it with one of these.
_WRONG = (ValueError, BTClibRuntimeError, EccRuntimeError)


def check_signed(message: str, *, address: Address, signature: str) -> None:
    """Raises Refused unless the base64 `signature` over `message` was made with the key, or for the script, of `address`.

    Its codes are signature_unsupported (no form that is read here), signature_differs, and signature_time_locked for
    a BIP-322 proof that counts only from some time on. Mail may have broken the text into lines.
    """
    text = "".join(signature.split())
    prefix = text[:3] if text.startswith(_PREFIXES) else ""
    body = text.removeprefix(prefix)
    body += "=" * (-len(body) % 4)
    if not prefix and _length(body) == _OLDER_BYTES:
        _check_older(message, address, body)
    else:
        _check_bip322(message.encode(), address, _proof(prefix, body))


def _length(body: str) -> int:
    try:
        return len(b64decode(body, validate=True))
    except (binascii.Error, ValueError):
        raise _unsupported("The signature is not a text in base64.") from None


def _check_older(message: str, address: Address, body: str) -> None:
    if address.kind not in _OLDER_KINDS:
        raise _unsupported("For this kind of address there is no signature of the older form: BIP-322 is needed.")
    try:
        is_signed = bms.verify(message.encode(), address.text, body)
    except _WRONG:
        is_signed = False
    if not is_signed:
        raise _differs()


def _proof(prefix: str, body: str) -> bip322.Sig:
    """The form that the prefix names. Without one it is the simple form, or the full one as bitcoin-knots writes it."""
    for form in [prefix] if prefix else [bip322.SIMPLE, bip322.FULL]:
        try:
            return bip322.Sig.b64decode(form + body)
        except _WRONG:
            continue
    raise _unsupported("The signature is neither of the older form nor of BIP-322.")


def _check_bip322(message: bytes, address: Address, proof: bip322.Sig) -> None:
    try:
        bip322.assert_as_valid(message, address.text, _completed(message, address, proof), legacy=False)
    except InconclusiveError:
        raise _unsupported("Today's rules cannot judge this signature.") from None
    except _WRONG:
        raise _differs() from None
    if _is_time_locked(proof):
        detail = "The signature counts only from some time on: sign with lock time and sequence 0."
        raise Refused("signature_time_locked", detail, field="signature")


def _completed(message: bytes, address: Address, proof: bip322.Sig) -> bip322.Sig:
    """A nested segwit address needs its script beside the witness; a simple form leaves it out, and its key tells it.

    Drafts of BIP-322 had that form, and wallets still write it. The hash in the address says whether the key is right.
    """
    witness = proof.payload
    if address.kind != "p2sh" or not isinstance(witness, Witness) or len(witness.stack) != 2:
        return proof
    program = b"\x00\x14" + hash160(witness.stack[1])
    spent = bip322.to_spend(message, bytes.fromhex(address.script_hex))
    return bip322.Sig(bip322.to_sign(spent, bytes([len(program)]) + program, witness))


def _is_time_locked(proof: bip322.Sig) -> bool:
    if isinstance(proof.payload, Witness):
        return False
    transaction = proof.payload if isinstance(proof.payload, Tx) else proof.payload.tx
    return bool(transaction.lock_time or transaction.vin[0].sequence)


def _differs() -> Refused:
    return Refused("signature_differs", "The signature is not of this address and text.", field="signature")


def _unsupported(detail: str) -> Refused:
    return Refused("signature_unsupported", detail, field="signature")
