#!/usr/bin/env bash
# Prints the path of a dnsmasq, the name server that tests of dns_sd_configs ask: $DNSMASQ, whatever is on PATH, or Debian's
# package, which is installed if missing. Nothing is started: tests run their own, on ports of their own.
set -euo pipefail
binary=${DNSMASQ:-$(PATH=$PATH:/usr/sbin:/sbin command -v dnsmasq || true)}
if [ -z "$binary" ]; then
    command -v apt-get >/dev/null || { echo "fetch-dnsmasq: no dnsmasq on PATH and no apt-get: install it, or set DNSMASQ" >&2; exit 1; }
    echo "fetch-dnsmasq: installing Debian's dnsmasq-base package" >&2
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    # The package with the program only; the one with the service is called dnsmasq.
    $sudo env DEBIAN_FRONTEND=noninteractive sh -c '
        apt-get update -qq && apt-get install -y -qq --no-install-recommends dnsmasq-base' >&2
    binary=$(PATH=$PATH:/usr/sbin:/sbin command -v dnsmasq)
fi
echo "$binary"
