"""Addresses from public keys, held to the vectors of BIP-32, 84, 86, 380 and 389."""

import re

import pytest
from btclib import base58

from bridge.core.descriptors import checksum_of, parse_descriptor
from bridge.core.errors import Refused

# BIP-84 and BIP-86: the account key m/84'/0'/0' (there written as zpub) and m/86'/0'/0' of the same words.
SEGWIT = (
    "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf31mGDtKsAYz2oz2AGutZYs"
)
TAPROOT = (
    "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ"
)
# BIP-32, vectors 1 and 2.
PARENT = (
    "xpub6D4BDPcP2GT577Vvch3R8wDkScZWzQzMMUm3PWbmWvVJrZwQY4VUNgqFJPMM3No2dFDFGTsxxpG5uJh7n7epu4trkrX7x7DogT5Uv6fcLW5"
)
CHILD = (
    "xpub6FHa3pjLCk84BayeJxFW2SP4XRrFd1JYnxeLeU8EqN3vDfZmbqBqaGJAyiLjTAwm6ZLRQUMv1ZACTj37sR62cfN7fe5JnJ7dh8zL4fiyLHV"
)
GRANDCHILD = (
    "xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVqNTEcYFgJS2UaFcxupHiYkro49S8yGasTvXEYBVPamhGW6cFJodrTHy"
)
XPRV = "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
# BIP-32, vector 5: what is no extended public key.
BROKEN = [
    "xpub661MyMwAqRbcEYS8w7XLSVeEsBXy79zSzH1J8vCdxAZningWLdN3zgtU6LBpB85b3D2yc8sfvZU521AAwdZafEz7mnzBBsz4wKY5fTtTQBm",
    "xpub661MyMwAqRbcEYS8w7XLSVeEsBXy79zSzH1J8vCdxAZningWLdN3zgtU6Txnt3siSujt9RCVYsx4qHZGc62TG4McvMGcAUjeuwZdduYEvFn",
    "xpub661MyMwAqRbcEYS8w7XLSVeEsBXy79zSzH1J8vCdxAZningWLdN3zgtU6N8ZMMXctdiCjxTNq964yKkwrkBJJwpzZS4HS2fxvyYUA4q2Xe4",
    "xpub661no6RGEX3uJkY4bNnPcw4URcQTrSibUZ4NqJEw5eBkv7ovTwgiT91XX27VbEXGENhYRCf7hyEbWrR3FewATdCEebj6znwMfQkhRYHRLpJ",
    "xpub661MyMwAuDcm6CRQ5N4qiHKrJ39Xe1R1NyfouMKTTWcguwVcfrZJaNvhpebzGerh7gucBvzEQWRugZDuDXjNDRmXzSZe4c7mnTK97pTvGS8",
    "DMwo58pR1QLEFihHiXPVykYB6fJmsTeHvyTp7hRThAtCX8CvYzgPcn8XnmdfHGMQzT7ayAmfo4z3gY5KfbrZWZ6St24UVf2Qgo6oujFktLHdHY4",
]


def as_xpub(key: str, version: str = "0488b21e") -> str:
    """The same key with the version bytes of another prefix."""
    return base58.encode(bytes.fromhex(version) + base58.decode(key, 78)[4:]).decode()


def signed(body: str) -> str:
    return f"{body}#{checksum_of(body)}"


def refused(text: str, network: str = "main") -> str:
    with pytest.raises(Refused) as error:
        parse_descriptor(text, network=network)
    assert not re.search(r"[xt](pub|prv)[A-Za-z0-9]{20}", error.value.detail)
    return error.value.code


def test_the_first_addresses_of_bip_84() -> None:
    known = parse_descriptor(signed(f"wpkh([73c5da0a/84'/0'/0']{as_xpub(SEGWIT)}/0/*)"), network="main")
    assert [known.address(index) for index in (0, 1)] == [
        "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
        "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g",
    ]


def test_the_first_addresses_of_bip_86() -> None:
    known = parse_descriptor(signed(f"tr([73c5da0a/86h/0h/0h]{TAPROOT}/0/*)"), network="main")
    assert [known.address(index) for index in (0, 1)] == [
        "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
        "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh",
    ]


def test_of_two_branches_the_receiving_one_is_taken() -> None:
    one = parse_descriptor(signed(f"tr({TAPROOT}/0/*)"), network="main")
    both = parse_descriptor(signed(f"tr({TAPROOT}/<0;1>/*)"), network="main")
    assert both == one


def test_public_derivation_is_that_of_bip_32() -> None:
    directly = parse_descriptor(signed(f"wpkh({PARENT}/2/1000000000/*)"), network="main")
    assert directly == parse_descriptor(signed(f"wpkh({CHILD}/1000000000/*)"), network="main")
    assert directly == parse_descriptor(signed(f"wpkh({GRANDCHILD}/*)"), network="main")


def test_the_order_of_the_keys_makes_no_other_wallet() -> None:
    one = parse_descriptor(signed(f"wsh(sortedmulti(2,{PARENT}/0/*,{TAPROOT}/0/*,{CHILD}/0/*))"), network="main")
    two = parse_descriptor(signed(f"wsh(sortedmulti(2,{CHILD}/0/*,{PARENT}/0/*,{TAPROOT}/0/*))"), network="main")
    assert one.address(7) == two.address(7)
    assert one.wallet_id == two.wallet_id
    other = parse_descriptor(signed(f"wsh(sortedmulti(1,{PARENT}/0/*,{TAPROOT}/0/*,{CHILD}/0/*))"), network="main")
    assert other.wallet_id != one.wallet_id


def test_the_checksum_is_that_of_bip_380() -> None:
    assert checksum_of("raw(deadbeef)") == "89f8spxm"


def test_a_lost_or_changed_character_is_noticed() -> None:
    text = signed(f"wpkh({PARENT}/0/*)")
    for broken in (text.replace("/0/*", "/1/*"), text[:-1], text + "q", text.replace("wpkh", "wpkg")):
        assert refused(broken) == "bad_checksum"


def test_without_a_checksum_the_right_one_is_named() -> None:
    with pytest.raises(Refused) as error:
        parse_descriptor(f"wpkh({PARENT}/0/*)", network="main")
    assert error.value.code == "bad_checksum"
    assert checksum_of(f"wpkh({PARENT}/0/*)") in error.value.detail


@pytest.mark.parametrize(
    "body",
    [
        f"wpkh({XPRV}/0/*)",
        f"wsh(sortedmulti(1,{PARENT}/0/*,{XPRV}/0/*))",
        f"wpkh({as_xpub(XPRV, '04358394')}/0/*)",
        "wpkh(L4rK1yDtCWekvXuE6oXD9jCYfFNV2cWRpVuPLBcCU2z8TrisoyY1)",
        "wpkh(5KYZdUEo39z3FPrtuX2QbbwGnNP5zTd7yyr2SC1j299sBCnWjss)",
    ],
)
def test_a_private_key_is_refused_and_never_repeated(body: str) -> None:
    assert refused(signed(body)) == "private_key"


@pytest.mark.parametrize("key", BROKEN)
def test_what_bip_32_calls_invalid_is_refused(key: str) -> None:
    assert refused(signed(f"wpkh({key}/0/*)")) == "bad_descriptor"


@pytest.mark.parametrize(
    "body",
    [
        f"pkh({PARENT}/0/*)",
        f"sh(wpkh({PARENT}/0/*))",
        f"wsh(multi(1,{PARENT}/0/*))",
        f"tr({PARENT}/0/*,pk({CHILD}/0/*))",
        f"wpkh({PARENT}/0)",
        f"wpkh({PARENT})",
        f"wpkh({PARENT}/0'/*)",
        f"wpkh({PARENT}/0/*')",
        f"wpkh({PARENT}/2147483648/*)",
        f"wpkh([73c5da0/84']{PARENT}/0/*)",
        f"wpkh({SEGWIT}/0/*)",
        f"wsh(sortedmulti(3,{PARENT}/0/*,{CHILD}/0/*))",
        f"wsh(sortedmulti(0,{PARENT}/0/*))",
        "wpkh(02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5)",
        "addr(bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu)",
        "",
    ],
)
def test_what_is_not_known_is_refused(body: str) -> None:
    assert refused(signed(body)) == "bad_descriptor"


def test_a_key_of_another_network_is_refused() -> None:
    assert refused(signed(f"wpkh({PARENT}/0/*)"), network="test") == "wrong_network"
    assert refused(signed(f"wpkh({as_xpub(PARENT, '043587cf')}/0/*)"), network="main") == "wrong_network"


def test_every_network_has_its_prefix() -> None:
    text = signed(f"wpkh({as_xpub(PARENT, '043587cf')}/0/*)")
    prefixes = {"test": "tb1q", "signet": "tb1q", "regtest": "bcrt1q"}
    assert {net: parse_descriptor(text, network=net).address(3)[: len(p)] for net, p in prefixes.items()} == prefixes


def test_beyond_the_last_index_there_is_no_address() -> None:
    known = parse_descriptor(signed(f"wpkh({PARENT}/0/*)"), network="main")
    with pytest.raises(Refused) as error:
        known.address(2**31)
    assert error.value.code == "addresses_used_up"
