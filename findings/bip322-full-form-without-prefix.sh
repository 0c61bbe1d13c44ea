#!/usr/bin/env bash
# A signature that one program makes and calls valid, a verifier refuses; with three letters in front of it, the verifier agrees.
#
# bitcoin-knots 29.4.knots20260508 (Debian sid), `signmessage` for a P2SH-segwit address, answers BIP-322's *full* form (a whole
# transaction) without the prefix "ful" that the present BIP gives it. Text without a prefix is the *simple* form by the BIP, so
# bip322-core 0.12.0 refuses it, though the node's own `verifymessage` says true. For native segwit the node writes the simple form,
# and both agree. So: of P2SH-segwit, try text without a prefix as both forms.
#
# Usage: findings/bip322-full-form-without-prefix.sh. Installs pinned packages into a temporary folder; exit 0 while it is so.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check bip322-core==0.12.0 btclib==2026.9.24 embit==0.8.0

# Both signatures were made by the node's signmessage on regtest, by keys that never held anything.
"$place/venv/bin/python" - <<'PY'
import sys

from bip322core import verify_message

MESSAGE = b"refund to me"
P2SH_SEGWIT, NATIVE = "2N2vZLAGTWhK1F3LFuhzf1o5H4NMEjE5enQ", "bcrt1q6rfakeat72edfw6dy04cs0rugtm62kh5dmjg09"
OF_P2SH_SEGWIT = (
    "AAAAAAABAbnRWSRmOGgn6DMG8dghXy2OWQIfg3o5yIX62j1kfyaoAAAAABcWABTW0JH991qnIF2OgSIOm0+rbGGLkQAAAAABAAAAAAAAAAABagJHMEQCIFqw"
    "RAGBzdhRPBWHKGTpKiAvF0mAJ2Cvg2EHKgFwRLoMAiBMB0rzoXoC+xhjDQlj7jgyd21XCmo1yjKY1/cjb6uuDQEhAsPXD1qrdVTNW3dSqIiraptkkel6kgG1"
    "uByUajAkyHp5AAAAAA=="
)
OF_NATIVE = (
    "AkcwRAIgLHmmrlD1is8lwco0kRUR3mmZPukAi9inBIqFwQB18KgCIBXROP4lxXQQtu31svigu4S18+0mbqQjgVO685l2iOioASEDFqGy7VY2hdbfYUQW/kKL"
    "ytO7qBtoNtyV5l7vDDE9psk="
)
seen = []
for what, address, signature in (
    ("native segwit, as the node wrote it", NATIVE, OF_NATIVE),
    ("P2SH-segwit, as the node wrote it", P2SH_SEGWIT, OF_P2SH_SEGWIT),
    ('P2SH-segwit, "ful" in front', P2SH_SEGWIT, "ful" + OF_P2SH_SEGWIT),
):
    told = verify_message(address, signature, MESSAGE)
    seen.append(told.state.value)
    print(f"{what}: {told.state.value}, {told.reason}")
if seen != ["valid", "invalid", "valid"]:
    sys.exit("CHANGED: this is not what bip322-core 0.12.0 with btclib 2026.9.24 said on 2026-11-28")
PY
