#!/usr/bin/env bash
# An address as QR codes have it, in capitals, is refused by a library that takes the same address in small letters.
#
# BIP-173 lets a whole address be written in capitals, and recommends it for QR codes, which are smaller that way. embit 0.8.0,
# `embit.script.address_to_scriptpubkey`, answers "Invalid bech32 address" to it, for version 0 and for taproot: it compares the part
# before the "1" as it stands with the one that its decoder has made small, though `embit.bech32.decode("bc", ...)` of the same text
# works. bip_utils 2.12.3 and bdkpython 3.1.1 take both. So: write a scanned address in small letters before embit gets it.
#
# Usage: findings/embit-capital-address.sh. Installs pinned packages into a temporary folder; exit 0 while it is so.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check embit==0.8.0 bip_utils==2.12.3 bdkpython==3.1.1

"$place/venv/bin/python" - <<'PY'
import sys

import bdkpython
from bip_utils import SegwitBech32Decoder
from embit import bech32
from embit.script import address_to_scriptpubkey

# The examples of BIP-173 and BIP-350.
ADDRESSES = (
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
)
READERS = {
    "embit address_to_scriptpubkey": address_to_scriptpubkey,
    "embit bech32.decode": lambda address: bech32.decode("bc", address)[1] or 1 / 0,
    "bip_utils": lambda address: SegwitBech32Decoder.Decode("bc", address),
    "bdkpython": lambda address: bdkpython.Address(address, bdkpython.Network.BITCOIN),
}


def told(read, address: str) -> str:
    try:
        read(address)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


seen = {}
for name, read in READERS.items():
    for address in ADDRESSES:
        for written in (address, address.upper()):
            seen[name, written] = told(read, written)
            print(f"{name}, {written[:6]}...: {seen[name, written]}")
refused = {which for which, said in seen.items() if said != "accepted"}
wanted = {("embit address_to_scriptpubkey", address.upper()) for address in ADDRESSES}
if refused != wanted or any("Invalid bech32 address" not in seen[which] for which in refused):
    sys.exit("CHANGED: this is not what embit 0.8.0 said on 2026-11-30")
PY
