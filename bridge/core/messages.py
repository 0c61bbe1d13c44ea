"""Messages signed with the key of an address (BIP-137): they show that its owner named it.

Owns the check; must not know what a message is for.
"""

from btclib.ecc import bms
from btclib.exceptions import BTClibTypeError, BTClibValueError

from bridge.core.addresses import Address
from bridge.core.errors import Refused

# One key hashed: the others, taproot among them, have no such signature.
_SIGNABLE = frozenset({"p2pkh", "p2sh", "p2wpkh"})


def check_signed(message: str, *, address: Address, signature: str) -> None:
    """Raises Refused unless the base64 `signature` over `message` was made with the key of `address`.

    Its codes are signature_unsupported for addresses without such signatures, and signature_differs.
    """
    if address.kind not in _SIGNABLE:
        raise Refused("signature_unsupported", "This kind of address cannot sign a message.", field="signature")
    try:
        is_signed = bms.verify(message.encode(), address.text, signature.strip())
    except (BTClibValueError, BTClibTypeError):
        is_signed = False
    if not is_signed:
        raise Refused("signature_differs", "The signature is not of this address and text.", field="signature")
