#!/bin/sh
# Debian's Chromium and its driver, where they are missing and can be installed. The tests say what is missing where they cannot.
set -eu
if command -v chromedriver > /dev/null && command -v chromium > /dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "Not found: chromium. Installing it needs root and apt-get: the tests in a browser will say that they are skipped." >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet
apt-get install --quiet --quiet --yes --no-install-recommends chromium chromium-driver > /dev/null
