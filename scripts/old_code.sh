#!/bin/sh
# Runs the code and the tests of an earlier revision over the schema of this tree, as old nodes do while an upgrade rolls.
# Usage: scripts/old_code.sh REVISION [pytest arguments; default: its tests of flows and payouts]
# A release may be named by its tag (v0.1.0) also where tags did not come with the clone: its commit says which one it is.
set -eu
cd "$(dirname "$0")/.."
here=$PWD
named=$1
shift
version=$(printf '%s' "${named#v}" | sed 's/\./\\./g')
revision=$(git rev-parse --quiet --verify "$named^{commit}") ||
    revision=$(git log -1 --format=%H --extended-regexp --grep="^Release $version( |\$)")
if [ -z "$revision" ]; then
    echo "$0: there is no revision $named here, and no commit 'Release ${named#v}'." >&2
    echo "Bring the history and its tags (git fetch --unshallow --tags, without --unshallow if nothing is cut off), or name a commit." >&2
    exit 2
fi
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT INT TERM
git archive "$revision" bridge tests setup.cfg pyproject.toml | tar -x -C "$old"
cp bridge/store/migrations/versions/*.py "$old/bridge/store/migrations/versions/"
cp bridge/store/append_only.py "$old/bridge/store/"
cd "$old"
[ $# -gt 0 ] || set -- tests/flows tests/payouts
PYTHONPATH="$old" "$here/.venv/bin/python" -m pytest -q "$@"
