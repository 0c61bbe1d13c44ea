#!/usr/bin/env bash
# Unpacks Debian's own Electrum into DIR and makes an environment there with what it needs and with an Electrum server, as locked.
# A second call is instant. Usage: get_electrum.sh DIR PYTHON. Afterwards DIR/electrum and DIR/electrum-python run.
set -euo pipefail

directory=${1:?usage: get_electrum.sh DIR PYTHON}
python=${2:?usage: get_electrum.sh DIR PYTHON}
here=$(cd "$(dirname "$0")" && pwd)
lock=$here/../locks/electrum.lock
# Newer ones answer otherwise, perhaps: then the tests are to be looked at, not to pass by luck.
wanted=4.8.3
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)

is_there() { cmp -s "$lock" "$directory/lock.done"; }

# Two programs may ask at once: the second waits and finds the work done.
exec 9>"$directory/lock"
flock 9
if is_there; then
    exit 0
fi
if [ "$(uname -m)" != x86_64 ]; then
    echo "get_electrum.sh: the library that Electrum signs with is taken from Debian's packages for x86_64" >&2
    exit 1
fi

bash "$here/unpack_debian.sh" "$directory" electrum/sid python3-electrum/sid libsecp256k1-6/sid
"$python" -m venv --clear "$directory/venv"
# Its curve library would else be compiled; Debian's is there.
pip() { ELECTRUM_ECC_DONT_COMPILE=1 "$directory/venv/bin/python" -m pip "$@"; }
# What is to be had as source only is built without fetching anything: so what builds it has to be there first.
awk '/^setuptools==/ {found=1} found {print} found && !/\\$/ {exit}' "$lock" >"$directory/build.lock"
pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement "$directory/build.lock"
pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-build-isolation --requirement "$lock"

cat >"$directory/electrum-python" <<RUN
#!/bin/sh
LD_LIBRARY_PATH=$directory/root/usr/lib/x86_64-linux-gnu PYTHONPATH=$directory/root/usr/lib/python3/dist-packages exec $directory/venv/bin/python "\$@"
RUN
printf '#!/bin/sh\nexec %s %s "$@"\n' "$directory/electrum-python" "$directory/root/usr/bin/electrum" >"$directory/electrum"
chmod +x "$directory/electrum-python" "$directory/electrum"
if [ "$("$directory/electrum" version --offline 2>"$directory/why")" != "$wanted" ]; then
    echo "get_electrum.sh: Debian's unstable has another Electrum than $wanted, or it does not start: $(tail -1 "$directory/why")" >&2
    exit 1
fi
cp "$lock" "$directory/lock.done"
