#!/bin/sh
# Installs what Python's own registry cannot bring: venv, postgresql, nginx, wrk, chromium, zbar, npm, php. Silent and instant when all is there.
# Usage: install_debian.sh NAME...
set -eu

present() {
    case $1 in
        venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
        postgresql) ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null ;;
        nginx) command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] ;;
        wrk) command -v wrk >/dev/null ;;
        chromium) command -v chromium >/dev/null ;;
        zbar) command -v zbarimg >/dev/null ;;
        npm) command -v npm >/dev/null ;;
        php) command -v php >/dev/null ;;
        *) echo "install_debian.sh: unknown name $1" >&2; exit 2 ;;
    esac
}

packages_of() {
    case $1 in
        venv) echo python3-venv ;;
        postgresql) echo postgresql ;;
        nginx) echo nginx-light ;;
        wrk) echo wrk ;;
        chromium) echo chromium fonts-dejavu-core ;;
        zbar) echo zbar-tools ;;
        npm) echo npm ;;
        php) echo php-cli php-curl php-xml ;;
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

packages=""
for name in "$@"; do
    present "$name" || packages="$packages $(packages_of "$name")"
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
apt_install $packages
