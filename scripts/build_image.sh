#!/usr/bin/env bash
# Builds deploy/container's image without a container engine, by hand: buildah with chroot isolation, as root on Debian 12, from the
# empty system of install_drill.sh in place of the published base image. Then serves from it and asks for its health.
# Usage: build_image.sh [KEEP.tar]. Afterwards nothing is left but KEEP.tar, an archive for `docker load`.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${INSTALL_DRILL_CACHE:-var/install-drill}
base=$cache/bookworm
[ "$(id -u)" -eq 0 ] || { echo "build_image.sh: needs root" >&2; exit 1; }
[ -d "$base" ] || { echo "build_image.sh: run make drill first, it makes the empty Debian 12" >&2; exit 1; }
sh scripts/install_debian.sh buildah

place=$(mktemp -d "$(realpath "$cache")/image.XXXXXX")
trap 'rm -rf "$place"' EXIT
build() { buildah --root "$place/store" --runroot "$place/run" --storage-driver vfs "$@"; }

echo "== a base image with Python 3.11"
cp -a "$base" "$place/root"
cp /etc/resolv.conf "$place/root/etc/resolv.conf"
chroot "$place/root" sh -ec 'export DEBIAN_FRONTEND=noninteractive; apt-get update -qq
    apt-get install -y -qq --no-install-recommends python3.11-venv ca-certificates >/dev/null 2>&1
    ln -s /usr/bin/python3.11 /usr/local/bin/python; apt-get clean'
container=$(build from scratch)
build add -q "$container" "$place/root" / >/dev/null
build config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
build commit -q "$container" "$(sed -n 's/^FROM \(python:[^ ]*\)$/docker.io\/library\/\1/p' deploy/container/Containerfile)" >/dev/null
build rm "$container" >/dev/null
rm -rf "$place/root"

echo "== the image"
# The machine's own certificates, in case its registry's is one that only it trusts.
store=/etc/ssl/certs/ca-certificates.crt
build bud --isolation chroot --pull-never --network host --format docker --volume "$store:$store:ro" \
    --ignorefile deploy/container/Containerfile.dockerignore -f deploy/container/Containerfile -t subtc-bridge . >"$place/build.log" 2>&1 ||
    { tail -30 "$place/build.log"; exit 1; }

echo "== a container of it"
container=$(build from --pull-never subtc-bridge)
cat >"$place/config.yaml" <<'YAML'
network: test
database_url: sqlite:////var/lib/subtc-bridge/bridge.db
public_url: https://pay.example.com
token_secret: made-up-for-this-check-0123456789
subtc: {base_url: "https://gateway.example.com", key: SUBTC-KEY-made-up-for-this-check, wallet_id: wt_0000000000000000000000000000000000000000000a}
prices: {fixed: {USD: "65000.00"}, i_know_fixed_prices_lose_money: true, min_sources: 1}
merchants: [{id: main, api_keys: [made-up-key-for-this-check-0123], currencies: [USD], notify_secrets: [whsec_bm90aWZ5bm90aWZ5bm90aWZ5]}]
YAML
chmod 644 "$place/config.yaml"
inside() { build run --isolation chroot --network host --volume "$place/config.yaml:/etc/subtc-bridge/config.yaml:ro" "$container" -- "$@"; }
inside sh -ec '
    test "$(id -u)" = 10001; ! touch /opt/subtc-bridge/x 2>/dev/null
    subtc-bridge --version; bridge="subtc-bridge --config $SUBTC_BRIDGE_CONFIG"
    $bridge migrate; $bridge serve 2>/tmp/serve.log & trap "kill $!" EXIT
    look="import urllib.request; urllib.request.urlopen(\"http://127.0.0.1:8080/healthz\", timeout=4)"
    for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 1; python -c "$look" 2>/dev/null && echo "healthz: 200, as user $(id -u)" && exit 0; done
    cat /tmp/serve.log; exit 1'
[ $# -eq 0 ] || build push -q subtc-bridge "docker-archive:$1:subtc-bridge:latest"
