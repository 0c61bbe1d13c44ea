#!/bin/sh
# Runs the code and the tests of an earlier revision over the schema of this tree, as old nodes do while an upgrade rolls.
# Usage: scripts/old_code.sh REVISION [pytest arguments; default: its tests of flows and payouts]
set -eu
cd "$(dirname "$0")/.."
here=$PWD
revision=$1
shift
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT INT TERM
git archive "$revision" bridge tests setup.cfg pyproject.toml | tar -x -C "$old"
cp bridge/store/migrations/versions/*.py "$old/bridge/store/migrations/versions/"
cp bridge/store/append_only.py "$old/bridge/store/"
cd "$old"
[ $# -gt 0 ] || set -- tests/flows tests/payouts
PYTHONPATH="$old" "$here/.venv/bin/python" -m pytest -q "$@"
