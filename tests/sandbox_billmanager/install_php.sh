#!/bin/sh
# Brings PHP and the extensions that modules of vendors load (XML, curl, MySQL), from the distribution's own packages.
# Does nothing when they are there.
set -eu
if command -v php >/dev/null && php -r 'exit(extension_loaded("simplexml") && extension_loaded("curl") && extension_loaded("mysqli") ? 0 : 1);'; then
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends php-cli php-xml php-curl php-mysql
