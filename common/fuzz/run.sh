#!/usr/bin/env bash
# Runs the fuzz targets one after the other and stops at the first finding.
#
#   common/fuzz/run.sh [SECONDS_EACH] [TARGET ...]     600 seconds and all targets unless given
#
# Needs the nightly compiler and cargo-fuzz: rustup toolchain install nightly; cargo install cargo-fuzz --locked
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
shift || true
[ $# -gt 0 ] || set -- exposition config relabel api
for target in "$@"; do
    # What is found new goes to the first folder, which git ignores.
    mkdir -p "fuzz/corpus/$target"
    seeds=("fuzz/corpus/$target")
    for folder in "fuzz/seeds/$target" "testdata/$target"; do [ ! -d "$folder" ] || seeds+=("$folder"); done
    printf '\n=== %s for %s s\n' "$target" "$seconds"
    cargo +nightly fuzz run "$target" "${seeds[@]}" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
        -max_len=16384
done
