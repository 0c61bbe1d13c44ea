"""Proofs of an address as a real node signs them: every kind that its wallet has."""

import pytest

from bridge.core.addresses import check_payable
from bridge.core.errors import Refused
from bridge.core.messages import check_signed
from sandbox.node import NodeProgram

MESSAGE = "Refund of inv_1, https://pay.example.com"
OWNER = "signer"


@pytest.fixture(scope="module")
def owner(node: NodeProgram) -> str:
    node.rpc("createwallet", OWNER)
    return OWNER


@pytest.mark.parametrize("kind", ["legacy", "p2sh-segwit", "bech32", "bech32m"])
def test_what_the_node_signs_is_read_and_nothing_else(node: NodeProgram, owner: str, kind: str) -> None:
    mine, other = (node.rpc("getnewaddress", "", kind, wallet=owner) for _ in range(2))
    signature = node.rpc("signmessage", mine, MESSAGE, wallet=owner)
    assert node.rpc("verifymessage", mine, signature, MESSAGE)
    address = check_payable(mine, network="regtest")
    mailed = f"{signature[:60]}\r\n{signature[60:]}\r\n"
    for text in (signature, mailed):
        check_signed(MESSAGE, address=address, signature=text)
    for message, wrong in ((MESSAGE + ".", address), (MESSAGE, check_payable(other, network="regtest"))):
        with pytest.raises(Refused) as error:
            check_signed(message, address=wrong, signature=signature)
        assert error.value.code == "signature_differs"
