#!/bin/sh
# Runs the tests that tests/later/paths names with the clock DAYS ahead, 400 unless told: what holds a date must not run out.
# Usage: test_later.sh PYTEST [ARGUMENT...]
set -eu

# pytest removes the directories of runs that look days old, and to a clock of tomorrow's year every other run does.
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

# Deadlines and waits go by the monotonic clock, which stays as it is. FAKETIME_FORCE_MONOTONIC_FIX: the library's own
# work-around lets every wait for Python's lock return at once, and a run takes ten times as long.
export FAKETIME_FORCE_MONOTONIC_FIX=0
# tests/later holds the mend that Python needs under this library, and is on no other path.
export PYTHONPATH="$PWD/tests/later${PYTHONPATH:+:$PYTHONPATH}"

# Word splitting makes the list of paths.
# shellcheck disable=SC2046
faketime --exclude-monotonic -m -f "+${DAYS:-400}d" "$@" --basetemp "$place/run" $(sed 's/#.*//' tests/later/paths)
