#!/usr/bin/env bash
# A reader of Lightning invoices, installed as its own metadata asks, cannot be imported; with an older bitstring it reads them.
#
# bolt11 2.2.0 (the newest on PyPI; LNbits 1.6.2 has 2.1.1, which does the same) requires "bitstring" of any version. Since
# bitstring 5.0.0 the name ConstBitStream is gone from it, so a fresh `pip install bolt11` gives a package whose import raises
# ImportError, and pip's resolver calls the set sound. bitstring 4.4.0 is the last one before that and works: pin it beside.
#
# Usage: findings/bolt11-with-bitstring-5.sh. Installs pinned packages into a temporary folder; exit 0 while it is so. Needs Python
# 3.10 to 3.12, as bolt11 does.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
quietly=(--quiet --disable-pip-version-check)
"$place/venv/bin/pip" install "${quietly[@]}" bolt11==2.2.0 bitstring==5.0.0 base58==2.1.1 bech32==1.2.0 click==8.5.1 coincurve==21.0.0
"$place/venv/bin/pip" check --disable-pip-version-check

# The first example of BOLT 11: any amount, "Please consider supporting this project".
example=lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2
example+=ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrv
example+=ywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql
cat >"$place/read.py" <<'PY'
import sys

try:
    from bolt11 import decode
except ImportError as error:
    print(f"ImportError: {error.name}, {str(error).partition(' (')[0]}")
else:
    print(f"read: {decode(sys.argv[1]).description}")
PY
new=$("$place/venv/bin/python" "$place/read.py" "$example")
"$place/venv/bin/pip" install "${quietly[@]}" bitstring==4.4.0
old=$("$place/venv/bin/python" "$place/read.py" "$example")
printf 'with bitstring 5.0.0: %s\nwith bitstring 4.4.0: %s\n' "$new" "$old"
if [ "$new" != "ImportError: bitstring, cannot import name 'ConstBitStream' from 'bitstring'" ] ||
	[ "$old" != "read: Please consider supporting this project" ]; then
	echo "CHANGED: this is not what bolt11 2.2.0 did on 2026-11-30" >&2
	exit 1
fi
