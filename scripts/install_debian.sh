#!/bin/sh
# Installs what Python's own registry cannot bring: venv, postgresql, pgbouncer, iproute2, nginx, systemd, openssl, promtool,
# wrk, chromium, zbar, calc (LibreOffice's), npm, php, debootstrap, nspawn, slirp4netns, buildah, faketime. Silent and instant when all is there.
# Usage: install_debian.sh NAME...
set -eu

present() {
    case $1 in
        venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
        postgresql) ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null ;;
        pgbouncer) [ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null ;;
        iproute2) command -v ip >/dev/null || [ -x /sbin/ip ] ;;
        nginx) command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] ;;
        systemd) command -v systemd-analyze >/dev/null ;;
        openssl) command -v openssl >/dev/null ;;
        promtool) command -v promtool >/dev/null ;;
        wrk) command -v wrk >/dev/null ;;
        chromium) command -v chromium-headless-shell >/dev/null || command -v chromium-browser >/dev/null ;;
        zbar) command -v zbarimg >/dev/null ;;
        calc) command -v soffice >/dev/null ;;
        npm) command -v npm >/dev/null ;;
        debootstrap) [ -x /usr/sbin/debootstrap ] ;;
        nspawn) command -v systemd-nspawn >/dev/null ;;
        buildah) command -v buildah >/dev/null ;;
        slirp4netns) command -v slirp4netns >/dev/null ;;
        faketime) command -v faketime >/dev/null ;;
        php) php -m 2>/dev/null | grep -q pdo_sqlite ;;
        *) echo "install_debian.sh: unknown name $1" >&2; exit 2 ;;
    esac
}

packages_of() {
    case $1 in
        venv) echo python3-venv ;;
        postgresql) echo postgresql ;;
        pgbouncer) echo pgbouncer ;;
        iproute2) echo iproute2 ;;
        nginx) echo nginx-light ;;
        systemd) echo systemd ;;
        openssl) echo openssl ;;
        promtool) ;;  # unpacked below
        wrk) echo wrk ;;
        chromium) echo chromium-headless-shell fonts-dejavu-core ;;
        zbar) echo zbar-tools ;;
        calc) echo libreoffice-calc-nogui ;;
        npm) echo npm ;;
        debootstrap) echo debootstrap ;;
        nspawn) echo systemd-container ;;
        buildah) echo buildah ;;
        slirp4netns) echo slirp4netns ;;
        faketime) echo faketime ;;
        php) echo php-cli php-curl php-xml php-sqlite3 ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "Neither root nor sudo: install these yourself: $packages" >&2
        exit 1
    fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Debian's package prometheus would start a server on this machine; only its checker of rules is taken.
unpack_promtool() {
    place=$(mktemp -d)
    (cd "$place" && apt-get download -qq prometheus >/dev/null 2>&1 && dpkg-deb -x prometheus_*.deb .)
    as_root install -m 755 "$place/usr/bin/promtool" /usr/local/bin/promtool
    rm -rf "$place"
}

packages=""
wants_promtool=""
for name in "$@"; do
    present "$name" && continue
    packages="$packages $(packages_of "$name")"
    [ "$name" != promtool ] || wants_promtool=yes
done
if [ -z "$packages" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "This is not a Debian system: install the equivalent of:$packages" >&2
    exit 1
fi

echo "Installing with apt-get:$packages"
# A fresh machine has no package lists yet; an old one has stale ones. So: refresh, then install.
as_root apt-get update -qq
# Word splitting makes the list of packages.
# shellcheck disable=SC2086
[ -z "${packages# }" ] || apt_install $packages
[ -z "$wants_promtool" ] || unpack_promtool
