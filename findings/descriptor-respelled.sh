#!/usr/bin/env bash
# A descriptor that went through another program comes back as another text with another checksum, and is the same wallet.
#
# BIP-380 lets a hardened step be written 84h or 84', and makes the checksum over the text as it stands. bdkpython 3.1.1 reads both and
# always gives back 84' with that spelling's checksum; embit 0.8.0 reads both and always gives back 84h with no checksum at all. So the
# eight letters at the end do not tell whether two programs watch the same wallet, and a descriptor with its checksum is no key to
# file a wallet under: compare the addresses, of which the first are the same in both.
#
# Usage: findings/descriptor-respelled.sh. Installs pinned packages into a temporary folder; exit 0 while it is so.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check embit==0.8.0 bdkpython==3.1.1

"$place/venv/bin/python" - <<'PY'
import sys

import bdkpython
from embit.descriptor import Descriptor
from embit.descriptor.checksum import add_checksum
from embit.networks import NETWORKS

# The key is the master of BIP-32's first test vector.
KEY = "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8"
seen, addresses = [], set()
for mark in ("h", "'"):
    given = add_checksum(f"wpkh([3442193e/84{mark}/0{mark}/0{mark}]{KEY}/0/*)")
    of_bdk = bdkpython.Descriptor(given, bdkpython.NetworkKind.MAIN)
    of_embit = Descriptor.from_string(given)
    wallet = bdkpython.Wallet.create_single(of_bdk, bdkpython.Network.BITCOIN, bdkpython.Persister.new_in_memory())
    addresses |= {
        str(wallet.peek_address(bdkpython.KeychainKind.EXTERNAL, 0).address),
        of_embit.derive(0).address(NETWORKS["main"]),
    }
    print(f"given {given[:26]}...{given[-9:]}: bdkpython {str(of_bdk)[:26]}...{str(of_bdk)[-9:]}", end="; ")
    print(f"embit {str(of_embit)[:26]}...{str(of_embit)[-9:]}")
    seen.append((str(of_bdk) == given, "84'" in str(of_bdk), "84h" in str(of_embit), "#" in str(of_embit)))
print(f"first address by both, of both spellings: {', '.join(addresses)}")
if seen != [(False, True, True, False), (True, True, True, False)] or len(addresses) != 1:
    sys.exit("CHANGED: this is not what bdkpython 3.1.1 and embit 0.8.0 said on 2026-11-30")
PY
