#!/bin/sh
# Creates .venv with the Python given, else with the first one found that setup.cfg names; keeps one that works.
# Brings Debian's venv package when this Python came without it. Usage: make_venv.sh [PYTHON]
set -eu
cd "$(dirname "$0")/.."

supported=$(sed -n 's/^ *Programming Language :: Python :: \(3\.[0-9]*\)$/\1/p' setup.cfg | tr '\n' ' ')
needed="Python $(echo "$supported" | sed 's/ $//; s/ /, /g; s/, \([^,]*\)$/ or \1/') is needed"
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
fits() { case " $supported" in *" $(version_of "$1") "*) ;; *) return 1 ;; esac; }

if [ -x .venv/bin/python ] && [ -x .venv/bin/pip ]; then
    fits .venv/bin/python && exit 0
    echo "$needed; .venv has $(version_of .venv/bin/python). Remove it with make clean, then try again." >&2
    exit 1
fi
python=${1:-}
if [ -z "$python" ]; then
    for name in $(echo "$supported" | sed 's/3\./python3./g') python3; do
        if fits "$name"; then
            python=$name
            break
        fi
    done
    [ -n "$python" ] || { echo "$needed and was not found. Install one, or name it: make setup PYTHON=..." >&2; exit 1; }
fi
fits "$python" || { echo "$needed; $python is $(version_of "$python" || echo no Python that starts)." >&2; exit 1; }
"$python" -c 'import ensurepip, venv' 2>/dev/null || sh scripts/install_debian.sh venv
"$python" -m venv --clear .venv
