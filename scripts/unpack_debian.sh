#!/usr/bin/env bash
# Unpacks packages of Debian's other suites into DIR/root, touching nothing outside DIR: the machine's own sources, pins and package
# lists are neither read (but for the address of the registry) nor written. Usage: unpack_debian.sh DIR PACKAGE/SUITE...
set -euo pipefail

directory=$(cd "${1:?usage: unpack_debian.sh DIR PACKAGE/SUITE...}" && pwd)
shift
apt_place=$directory/apt

if ! command -v apt-get >/dev/null; then
    echo "unpack_debian.sh: there is no apt-get on this machine" >&2
    exit 1
fi
mkdir -p "$apt_place"/parts "$apt_place"/none "$apt_place"/state/lists/partial "$apt_place"/cache/archives/partial "$directory"/deb "$directory"/root
sed -n '/^$/q;p' /etc/apt/sources.list.d/debian.sources | sed 's/^Suites:.*/Suites: sid trixie/' >"$apt_place/parts/node.sources"
: >"$apt_place/status"
cat >"$apt_place/apt.conf" <<CONF
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$apt_place/parts";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$apt_place/none";
Dir::State "$apt_place/state";
Dir::State::status "$apt_place/status";
Dir::Cache "$apt_place/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
CONF
private_apt() { APT_CONFIG="$apt_place/apt.conf" apt-get -qq "$@"; }

private_apt update
rm -f "$directory"/deb/*.deb
(cd "$directory/deb" && private_apt download "$@")
for package in "$directory"/deb/*.deb; do
    dpkg-deb -x "$package" "$directory/root"
done
rm -rf "$apt_place/cache/archives" "$apt_place/state/lists"
