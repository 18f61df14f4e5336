#!/usr/bin/env bash
# Everything that decides whether a change lands. Stops at the first step that fails; its last line has the counts.
#
#   e2e/run.sh                    all steps: format lint doc unit demo e2e
#   e2e/run.sh STEP ...           only these
#   e2e/run.sh e2e TEST ...       only the end-to-end tests of these files: twin, targets_change, ...
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
log=$root/e2e/.run
mkdir -p "$log"
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
# Where a test failed is in its message; backtraces of errors only hide it.
export RUST_LIB_BACKTRACE=0
bin=${CARGO_TARGET_DIR:-$root/target}/release

say() { printf '\n=== %s\n' "$*"; }

passed=0
failed=0
count() { # LOG: adds up what the test runners said
    local p f
    while read -r p f; do
        passed=$((passed + p))
        failed=$((failed + f))
    done < <(sed -n 's/^test result: [^.]*\. \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$1")
}
closing() {
    local status=$?
    [ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    exit "$status"
}
trap closing EXIT

step() { # NAME COMMAND ...: a step that is one check
    local name=$1
    shift
    say "$name: $*"
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "$name failed" >&2; exit 1; fi
}

tests() { # NAME COMMAND ...: a step that is many tests
    local name=$1 status=0
    shift
    say "$name: $*"
    "$@" 2>&1 | tee "$log/$name.log" || status=$?
    count "$log/$name.log"
    [ "$status" -eq 0 ] || { echo "$name failed" >&2; exit 1; }
}

format() { step format cargo fmt --all --check; }
lint() {
    step lint cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
    # Built to be checked only: running them needs the nightly compiler.
    step "lint fuzz" cargo clippy --locked --manifest-path common/fuzz/Cargo.toml \
        --target-dir "${CARGO_TARGET_DIR:-$root/target}/fuzz" -- -D warnings
}
doc() { RUSTDOCFLAGS="-D warnings" step doc cargo doc --locked --workspace --no-deps --document-private-items; }
unit() { tests unit cargo test --locked --workspace --no-fail-fast; }
demo() { step demo examples/demo/run.sh --check; }

servers() {
    PROMETHEUS_2_42=$(e2e/bin/fetch-prometheus.sh stable | cut -d' ' -f2-)
    PROMETHEUS_3_5=$(e2e/bin/fetch-prometheus.sh sid | cut -d' ' -f2-)
    VMAGENT=$(e2e/bin/fetch-prometheus.sh vmagent | cut -d' ' -f2-)
    DNSMASQ=$(e2e/bin/fetch-dnsmasq.sh)
    export PROMETHEUS_2_42 PROMETHEUS_3_5 VMAGENT DNSMASQ
}

e2e() {
    local only=(--test '*') name
    if [ $# -gt 0 ]; then
        only=()
        for name in "$@"; do only+=(--test "$name"); done
    fi
    servers
    step build cargo build --release --locked -p narthex-coordinator -p narthex-sidecar -p narthex-e2e
    NARTHEX_BIN_DIR=$bin tests e2e cargo test --locked -p narthex-e2e --features real-prometheus --no-fail-fast \
        "${only[@]}" -- --nocapture
}

e2e/bin/prerequisites.sh
if [ "${1-}" = e2e ]; then
    "$@"
    exit
fi
[ $# -gt 0 ] || set -- format lint doc unit demo e2e
for name in "$@"; do
    case $name in
        format | lint | doc | unit | demo | e2e) "$name" ;;
        *) echo "unknown step $name: format, lint, doc, unit, demo or e2e" >&2; exit 1 ;;
    esac
done
