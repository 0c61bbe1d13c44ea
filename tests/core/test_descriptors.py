"""Addresses from public keys, held to the vectors of BIP-32, 84, 86, 380 and 389."""

import re

import pytest

from bridge.core.descriptors import checksum_of, parse_descriptor
from bridge.core.errors import Refused
from tests.core.descriptor_table import ACCEPTED, NOT_OURS, REFUSED, A, B, spelled

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


# The same key as BIP-84's zpub, in the spelling of BIP-32.
SEGWIT_XPUB = (
    "xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4ZeZXYVUhLv1VMrjPC7PW6V"
)


def signed(body: str) -> str:
    """With its checksum, where it can have one."""
    try:
        return f"{body}#{checksum_of(body)}"
    except ValueError:
        return body


def refused(text: str, network: str = "main") -> str:
    with pytest.raises(Refused) as error:
        parse_descriptor(text, network=network)
    assert not re.search(r"[xt]prv[A-Za-z0-9]{20}", error.value.detail)
    return error.value.code


def said_of(text: str, network: str = "main") -> str:
    with pytest.raises(Refused) as error:
        parse_descriptor(text, network=network, field="own_wallet.descriptor")
    assert (error.value.code, error.value.field) == ("bad_descriptor", "own_wallet.descriptor")
    return error.value.detail


def test_the_first_addresses_of_bip_84() -> None:
    known = parse_descriptor(signed(f"wpkh([73c5da0a/84'/0'/0']{SEGWIT_XPUB}/0/*)"), network="main")
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
    for broken in (text.replace("/0/*", "/1/*"), text[:-1], text + "q", text + "#"):
        assert refused(broken) == "bad_checksum"
    assert "a character of it was lost or changed" in said_of(text.replace(PARENT[-9:], PARENT[-8:]))


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
        f"wpkh({spelled(XPRV, '04358394')}/0/*)",
        "wpkh(L4rK1yDtCWekvXuE6oXD9jCYfFNV2cWRpVuPLBcCU2z8TrisoyY1)",
        "wpkh(5KYZdUEo39z3FPrtuX2QbbwGnNP5zTd7yyr2SC1j299sBCnWjss)",
    ],
)
def test_a_private_key_is_refused_and_never_repeated(body: str) -> None:
    assert refused(signed(body)) == "private_key"


@pytest.mark.parametrize("key", BROKEN)
def test_what_bip_32_calls_invalid_is_refused(key: str) -> None:
    assert refused(signed(f"wpkh({key}/0/*)")) == "bad_descriptor"


@pytest.mark.parametrize("body", ACCEPTED)
def test_what_bitcoin_core_takes_too_is_accepted(body: str) -> None:
    assert parse_descriptor(signed(body), network="regtest").address(0).startswith("bcrt1")


@pytest.mark.parametrize(("body", "said"), REFUSED + NOT_OURS)
def test_what_is_wrong_is_said_before_the_checksum_is_looked_at(body: str, said: str) -> None:
    for text in (signed(body), body, f"{body}#qqqqqqqq"):
        assert said in said_of(text, network="regtest")


def test_a_bare_key_is_told_its_form_and_the_descriptor() -> None:
    assert said_of(SEGWIT) == (
        f"This is a bare zpub, not a descriptor; its xpub form is {SEGWIT_XPUB}; write wpkh({SEGWIT_XPUB}/0/*)."
    )
    assert f"write wpkh({SEGWIT_XPUB}/0/*) for segwit addresses" in said_of(SEGWIT_XPUB)
    nested, shared = spelled(SEGWIT, "049d7cb2"), spelled(SEGWIT, "02aa7ed3")
    assert (nested[:4], shared[:4]) == ("ypub", "Zpub")
    assert f"its xpub form is {SEGWIT_XPUB}; it is of a wallet of sh(wpkh(…)), not known here" in said_of(nested)
    assert f"as {SEGWIT_XPUB}/0/*" in said_of(shared)
    assert "a character of it was lost or changed" in said_of(SEGWIT[:-1])
    # What is told is right: with its checksum it gives BIP-84's first address.
    told = re.search(r"wpkh\(.*\)", said_of(SEGWIT))
    first = parse_descriptor(signed(told[0]), network="main").address(0)
    assert first == "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"


def test_white_space_around_a_descriptor_is_no_fault() -> None:
    assert parse_descriptor(f"\n {signed(f'wpkh({A}/0/*)')}\n", network="regtest").address(0)


@pytest.mark.parametrize(
    ("body", "is_change"),
    [
        (f"wpkh({A}/0/*)", False),
        (f"wpkh({A}/<0;1>/*)", False),
        (f"wpkh({A}/1/0/*)", False),
        (f"wpkh({A}/*)", False),
        (f"wpkh({A}/1/*)", True),
        (f"tr({A}/<1;0>/*)", True),
        (f"wsh(sortedmulti(1,{A}/1/*,{B}/1/*))", True),
        (f"wsh(sortedmulti(1,{A}/0/*,{A}/1/*))", False),
    ],
)
def test_the_branch_of_change_is_accepted_with_a_warning(body: str, is_change: bool) -> None:
    warning = parse_descriptor(signed(body), network="regtest").warning
    assert ("/1/*" in warning) == is_change == bool(warning)


def test_a_key_of_another_network_is_refused() -> None:
    assert refused(signed(f"wpkh({PARENT}/0/*)"), network="test") == "wrong_network"
    assert refused(signed(f"wpkh({spelled(PARENT, '043587cf')}/0/*)"), network="main") == "wrong_network"


def test_every_network_has_its_prefix() -> None:
    text = signed(f"wpkh({spelled(PARENT, '043587cf')}/0/*)")
    prefixes = {"test": "tb1q", "signet": "tb1q", "regtest": "bcrt1q"}
    assert {net: parse_descriptor(text, network=net).address(3)[: len(p)] for net, p in prefixes.items()} == prefixes


def test_beyond_the_last_index_there_is_no_address() -> None:
    known = parse_descriptor(signed(f"wpkh({PARENT}/0/*)"), network="main")
    with pytest.raises(Refused) as error:
        known.address(2**31)
    assert error.value.code == "addresses_used_up"
