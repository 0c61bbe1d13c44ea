#!/bin/sh
# Brings .venv to what the locks say: installs nothing without a hash, removes what an earlier lock had and none has now.
# Usage: install_locked.sh MARK LOCK... The caller writes MARK, a copy of the locks, once all is well; the next run compares with it.
set -eu

mark=$1
shift
names() { sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' "$@" | sort -u; }

echo "Setting up .venv, locked libraries: $(names "$@" | wc -l | tr -d ' '). Their first download takes a minute or two, once."
from=$(printf ' --requirement %s' "$@")
# A lock is complete: older versions of pip, left to look for what is needed, come upon later releases all the same.
# Python compiles what it uses when it first does: to compile all of it takes as long as the rest, and a demo uses a third.
# Word splitting makes the list of locks.
# shellcheck disable=SC2086
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-compile $from

[ -s "$mark" ] || exit 0
locked=$(names deploy/*.lock locks/*.lock; echo pip)
for name in $(names "$mark"); do
    echo "$locked" | grep -qx "$name" || .venv/bin/python -m pip uninstall --quiet --yes "$name"
done
