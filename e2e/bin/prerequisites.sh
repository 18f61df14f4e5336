#!/usr/bin/env bash
# Installs what building and running need and is missing: a C compiler and curl, on Debian. Rust must be there.
set -euo pipefail
missing=()
command -v curl >/dev/null || missing+=(curl ca-certificates)
command -v cc >/dev/null || missing+=(gcc libc6-dev)
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || { echo "please install: ${missing[*]}" >&2; exit 1; }
    echo "installing ${missing[*]} ..." >&2
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq >&2
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi
command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.90 or later (https://rustup.rs)" >&2; exit 1; }
