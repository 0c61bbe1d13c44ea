#!/usr/bin/env bash
# Unpacks Debian's own bitcoin-knots node into DIR, touching nothing outside it but missing libraries. A second call is instant.
# Usage: get_node.sh DIR. Afterwards DIR/bitcoind and DIR/bitcoin-cli run; DIR should be outside the repository or under var/.
set -euo pipefail

directory=${1:?usage: get_node.sh DIR}
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
programs=(bitcoind bitcoin-cli)

if [ -x "$directory/bitcoind" ] && "$directory/bitcoind" -version >/dev/null 2>&1; then
    exit 0
fi
if ! command -v apt-get >/dev/null || [ "$(uname -m)" != x86_64 ]; then
    echo "get_node.sh: the node comes from Debian's packages for x86_64; install one yourself and name its folder in BRIDGE_NODE_DIR" >&2
    exit 1
fi

# Two programs may ask at once: the second waits and finds the work done.
exec 9>"$directory/lock"
flock 9
if [ -x "$directory/bitcoind" ] && "$directory/bitcoind" -version >/dev/null 2>&1; then
    exit 0
fi

# The node is only in unstable, and the libraries it was built against are in testing.
bash "$(dirname "$0")/unpack_debian.sh" "$directory" bitcoin-knots/sid libc6/trixie libstdc++6/trixie libgcc-s1/trixie

# Every other library comes from this machine; each program starts through the unpacked loader.
libraries=$directory/root/usr/lib/x86_64-linux-gnu
for program in "${programs[@]}"; do
    printf '#!/bin/sh\nexec %s --library-path %s %s "$@"\n' \
        "$libraries/ld-linux-x86-64.so.2" "$libraries:/usr/lib/x86_64-linux-gnu:/lib/x86_64-linux-gnu" \
        "$directory/root/usr/bin/$program" >"$directory/$program"
    chmod +x "$directory/$program"
done

if ! "$directory/bitcoind" -version >/dev/null 2>&1; then
    missing="libzmq5 libevent-core-2.1-7 libevent-extra-2.1-7 libevent-pthreads-2.1-7 libsqlite3-0"
    echo "get_node.sh: installing with apt-get: $missing"
    as_root=""
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    "$directory/bitcoind" -version >/dev/null
fi
