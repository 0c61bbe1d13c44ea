#!/usr/bin/env bash
# The address to pay on chain that a Lightning invoice carries comes out of its reader as one that no wallet accepts, if it is taproot.
#
# BOLT 11 lets an invoice carry a fallback address (field f) of any witness version; by BIP-350 version 0 is written in bech32 and every
# later one in bech32m. bolt11 2.2.0 writes all of them in bech32, because bech32 1.2.0, which it builds on, knows no other: of a taproot
# address it tells all letters right but the last six, raises nothing, and embit 0.8.0 refuses the result. So show such an address only
# after writing version and program in bech32m yourself; version 0 is right as it is.
#
# Usage: findings/bolt11-taproot-fallback.sh. Installs pinned packages into a temporary folder; exit 0 while it is so. Needs Python 3.10
# to 3.12, as bolt11 does.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
	bolt11==2.2.0 bitstring==4.4.0 base58==2.1.1 bech32==1.2.0 click==8.5.1 coincurve==21.0.0 embit==0.8.0

"$place/venv/bin/python" - <<'PY'
import sys

from bitstring import Bits, pack
from bolt11 import Bolt11, decode, encode
from bolt11.models.fallback import Fallback
from bolt11.models.tags import TagChar, Tags
from embit import bech32
from embit.script import address_to_scriptpubkey

# The private key is that of BOLT 11's own examples; the programs are those of BIP-173's and BIP-350's.
KEY = "e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734"
PROGRAMS = {
    0: "751e76e8199196d454941c45d1b3a323f1433bd6",
    1: "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
}


def invoice(version: int, program: bytes) -> str:
    tags = Tags()
    tags.add(TagChar.payment_hash, "0001020304050607080900010203040506070809000102030405060708090102")
    tags.add(TagChar.payment_secret, "11" * 32)
    tags.add(TagChar.description, "with a way to pay on chain")
    tags.add(TagChar.fallback, Fallback(pack("uint:5", version) + Bits(program), "bc"))
    return encode(Bolt11(currency="bc", date=1496314658, tags=tags), KEY)


def is_accepted(address: str) -> bool:
    try:
        return bool(address_to_scriptpubkey(address))
    except Exception:
        return False


seen = []
for version, program in PROGRAMS.items():
    right = bech32.encode("bc", version, bytes.fromhex(program))
    told = decode(invoice(version, bytes.fromhex(program))).tags.get(TagChar.fallback).data.address
    seen += [told == right, told[:-6] == right[:-6], is_accepted(right), is_accepted(told)]
    print(f"version {version}: the address is {right}, bolt11 says {told}, {'accepted' if is_accepted(told) else 'refused'}")
if seen != [True, True, True, True, False, True, True, False]:
    sys.exit("CHANGED: this is not what bolt11 2.2.0 with bech32 1.2.0 said on 2026-11-30")
PY
