#!/bin/sh
# Creates .venv with the Python given; brings Debian's venv package when this Python came without it.
set -eu

python=${1:-}
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed and was not found." >&2
    exit 1
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed; $python is $("$python" --version)." >&2
    exit 1
}
if [ -x .venv/bin/pip ]; then
    exit 0
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null || sh "$(dirname "$0")/install_debian.sh" venv
"$python" -m venv .venv
