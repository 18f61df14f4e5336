#!/usr/bin/env bash
# Prints the paths of the real servers that tests and demo run, one "VERSION PATH" a line, installing what is missing:
#   2.42     Debian bookworm's package (or $PROMETHEUS, or whatever `prometheus` is on PATH)
#   3.5      Debian sid's package (or $PROMETHEUS_SID), unpacked beside the sources and never installed; it needs libc6 2.34 only
#   vmagent  of Debian sid's victoria-metrics (or $VMAGENT_SID), unpacked there, too: a static binary that does not say its version
# Usage: fetch-prometheus.sh [stable] [sid] [vmagent]      (the first two when none is given)
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$PWD/.cache
log() { printf 'fetch-prometheus: %s\n' "$*" >&2; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

version_of() { "$1" --version 2>&1 | sed -n 's/^prometheus, version \([0-9]*\.[0-9]*\).*/\1/p'; }

stable() {
    local binary=${PROMETHEUS:-$(command -v prometheus || true)}
    if [ -z "$binary" ]; then
        command -v apt-get >/dev/null || { log "no prometheus on PATH and no apt-get: install it, or set PROMETHEUS"; exit 1; }
        log "installing Debian's prometheus package"
        # Debian starts the server it installs; the tests start their own, so its start is forbidden while installing.
        as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 sh -c '
            apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus' >&2
        binary=$(command -v prometheus)
    fi
    echo "$(version_of "$binary") $binary"
}

from_sid() { # PACKAGE DIRECTORY [MEMBER ...]: unpacks Debian sid's package, or these files of it, into the cache
    local package=$1 directory=$2
    shift 2
    log "downloading Debian sid's $package package"
    mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
    # The same mirror that this machine's own Debian packages come from.
    local mirror
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }')
    [ -n "$mirror" ] || { log "this machine's apt knows no Debian mirror; run apt-get update, or name a binary of your own"; exit 1; }
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" > "$cache/apt/sources.list"
    local options=(-qq -o "Dir::Etc::SourceList=$cache/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update >&2
    (cd "$cache/apt" && apt-get "${options[@]}" download "$package" >&2)
    rm -rf "$cache/$directory.partial" && mkdir -p "$cache/$directory.partial"
    dpkg --fsys-tarfile "$cache/apt/$package"_*.deb | tar -x -C "$cache/$directory.partial" "$@"
    rm -rf "$cache/apt" "${cache:?}/$directory" && mv "$cache/$directory.partial" "$cache/$directory"
}

sid() {
    local binary=${PROMETHEUS_SID:-$cache/sid/usr/bin/prometheus}
    [ -x "$binary" ] || from_sid prometheus sid
    echo "$(version_of "$binary") $binary"
}

vmagent() {
    local binary=${VMAGENT_SID:-$cache/vmagent/usr/bin/vmagent}
    [ -x "$binary" ] || from_sid victoria-metrics vmagent ./usr/bin/vmagent
    echo "vmagent $binary"
}

[ $# -gt 0 ] || set -- stable sid
for which in "$@"; do
    case $which in
        stable | sid | vmagent) "$which" ;;
        *) log "unknown release $which"; exit 1 ;;
    esac
done
