#!/usr/bin/env bash
# Walks the operator guide on an empty Debian 12 with a booted systemd, up to a paid order. Usage: install_drill.sh [PYTHON]
# The empty system is kept in var/install-drill (DIR in INSTALL_DRILL_CACHE), so that it costs once. Everything else lives in
# namespaces and in memory and is gone at the end, however that comes: when this script is killed, so is all it started.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${1:-.venv/bin/python}
cache=${INSTALL_DRILL_CACHE:-var/install-drill}
suite=bookworm
group=subtc-install-drill

# A machine that cannot do this says why and is no failure; a machine that can and fails is one.
not_here() {
    echo "install drill: NOT RUN on this machine: $1"
    exit 0
}
[ "$(id -u)" -eq 0 ] || not_here "it needs root (namespaces, debootstrap)"
command -v apt-get >/dev/null || not_here "it needs Debian's apt-get for debootstrap and systemd-nspawn"
unshare --mount --pid --net --fork --mount-proc true 2>/dev/null || not_here "the kernel gives no new namespaces"
grep -qw overlay /proc/filesystems || not_here "the kernel has no overlay file system"
[ -e /dev/net/tun ] || not_here "there is no /dev/net/tun for the new machine's network"
[ -d /sys/fs/cgroup/systemd ] || [ -e /sys/fs/cgroup/cgroup.procs ] || not_here "there are no control groups for systemd"

sh scripts/install_debian.sh debootstrap nspawn iproute2 slirp4netns nginx openssl

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ ! -d "$cache/$suite" ]; then
    # The mirror is the one that this machine's own apt uses.
    mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' | sed -n "s/^$suite //p" | head -1)
    started=$SECONDS
    rm -rf "$cache/$suite.unfinished"
    mkdir -p "$cache/place"
    # Unpacked in memory, where dpkg's many flushes cost nothing, then copied.
    # shellcheck disable=SC2016
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc sh -ec 'mount -t tmpfs install-drill "$1"
        debootstrap --variant=minbase --include=systemd-sysv,dbus "$2" "$1/root" ${4:+"$4"}
        rm -f "$1"/root/var/cache/apt/archives/*.deb
        cp -a "$1/root" "$3"' - "$cache/place" "$suite" "$cache/$suite.unfinished" "$mirror" >"$cache/debootstrap.log" 2>&1 ||
        { tail -20 "$cache/debootstrap.log"; exit 1; }
    mv "$cache/$suite.unfinished" "$cache/$suite"
    echo "empty Debian 12 made in $((SECONDS - started)) s"
fi
flock -u 9

# A control group of our own in every hierarchy that systemd uses, taken away at the end. A run that was killed leaves its empty
# ones to the next.
remove_group() { find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || true; }
groups=()
for top in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    [ -e "$top/cgroup.procs" ] || continue
    for old in "$top/$group-"*; do
        [ ! -d "$old" ] || kill -0 "${old##*-}" 2>/dev/null || remove_group "$old"
    done
    mkdir "$top/$group-$$"
    groups+=("$top/$group-$$")
done

drill=
# shellcheck disable=SC2317
end() {
    [ -z "$drill" ] || kill -KILL "$drill" 2>/dev/null || true
    wait 2>/dev/null || true
    for each in "${groups[@]}"; do
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            remove_group "$each"
            [ -d "$each" ] || break
            sleep 0.2
        done
    done
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The first process of a process namespace: when it ends, the kernel ends all others, and the mounts go with them.
(
    for each in "${groups[@]}"; do echo "$BASHPID" >"$each/cgroup.procs"; done
    exec setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
        "$python" -m tests.install --base "$cache/$suite" 9>&-
) &
drill=$!
wait "$drill"
