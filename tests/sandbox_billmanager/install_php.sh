#!/bin/sh
# Brings PHP for the modules written in it, from the distribution's own packages. Does nothing when it is there.
set -eu
if command -v php >/dev/null && php -r 'exit(function_exists("simplexml_load_string") ? 0 : 1);'; then
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends php-cli php-xml
