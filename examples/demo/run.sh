#!/usr/bin/env bash
# The demo: six targets of 10,045 series each, shards of at most 30,000 series, and a global view over all of them.
#
#   examples/demo/run.sh            runs until Ctrl-C
#   examples/demo/run.sh --check    runs unattended, verifies, prints what it saw, and exits 0 or 1
#
# Settings, from the environment:
#   PROMETHEUS   the prometheus binary to run (found on PATH otherwise, or installed from Debian)
#   DEMO_PORT    the first of the 200 ports that the demo uses (19000)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
run=$here/.run
port=${DEMO_PORT:-19000}

# What the demo is about.
targets=6
series_per_target=10045
max_series=30000
expected_shards=3
expected_series=$((targets * series_per_target))

coordinator_url=http://127.0.0.1:$port
global_url=http://127.0.0.1:$((port + 1))
first_target=$((port + 10))
shard_ports=$((port + 100))-$((port + 199))

check=false
case ${1-} in
    "") ;;
    --check) check=true ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit 1 ;;
esac

say() { printf '%s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

pids=()
finish() {
    local status=$?
    trap - EXIT INT TERM
    [ ${#pids[@]} -eq 0 ] || say "stopping everything ..."
    # The coordinator stops its shards; it goes first and is waited for.
    local pid
    for pid in "${pids[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    # One that was started again by hand, and the shards of one that was killed.
    end "$run/shards/lock" "--shard.local.data-dir=$run/shards"
    local shard
    for shard in "$run"/shards/shard-*; do end "$shard/sidecar.pid" "--store.path=$shard"; done
    exit "$status"
}

end() { # FILE ARGUMENT: ends the process whose id the file holds, if it was started with the argument, and waits for it
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 0
    while tr '\0' '\n' 2>/dev/null < "/proc/$pid/cmdline" | grep -qxF -e "$2"; do
        kill -TERM "$pid" 2>/dev/null || true
        sleep 1
    done
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start() { # NAME COMMAND ...: in the background, its output in .run/NAME.log
    local name=$1
    shift
    # Out of the terminal's process group: Ctrl-C reaches this script, which then ends them in order.
    setsid "$@" > "$run/$name.log" 2>&1 &
    pids=("$!" "${pids[@]}")
}

alive() { # NAME PID
    kill -0 "$2" 2>/dev/null || { tail -n 20 "$run/$1.log" >&2; die "$1 ended; its log is $run/$1.log"; }
}

query() { # URL PROMQL: the value of a query with one result, or nothing
    { curl -s --max-time 20 --data-urlencode "query=$2" "$1/api/v1/query" || true; } |
        sed -n 's/.*"value":\[[^,]*,"\([^"]*\)"\].*/\1/p'
}

# --- what is needed --------------------------------------------------------------------------------------------------
"$root/e2e/bin/prerequisites.sh"
prometheus=$("$root/e2e/bin/fetch-prometheus.sh" stable | cut -d' ' -f2-)
prometheus_version=$("$prometheus" --version 2>&1 | sed -n 's/^prometheus, version \([0-9]*\.[0-9]*\).*/\1/p')

say "building release binaries (a few minutes the first time) ..."
(cd "$root" && cargo build --release --locked -q -p narthex-coordinator -p narthex-sidecar -p narthex-e2e)
bin=${CARGO_TARGET_DIR:-$root/target}/release

# --- targets, coordinator, shards ------------------------------------------------------------------------------------
rm -rf "$run"
mkdir -p "$run"

say "starting $targets targets of $series_per_target series each on ports $first_target-$((first_target + targets - 1)) ..."
start targets "$bin/narthex-loadgen" --listen "127.0.0.1:$first_target" --targets "$targets" --series "$series_per_target"
loadgen=${pids[0]}

{
    say "global:"
    say "  scrape_interval: 5s"
    say "scrape_configs:"
    say "  - job_name: demo"
    say "    static_configs:"
    say "      - targets:"
    for ((i = 0; i < targets; i++)); do say "          - 127.0.0.1:$((first_target + i))"; done
} > "$run/prometheus.yml"

say "starting the coordinator, which may give each shard $max_series series ..."
start coordinator "$bin/narthex-coordinator" \
    --config.file="$run/prometheus.yml" \
    --web.address="127.0.0.1:$port" \
    --coordinator.interval=2s \
    --prometheus.version="$prometheus_version" \
    --shard.type=local \
    --shard.max-series="$max_series" \
    --shard.local.data-dir="$run/shards" \
    --shard.local.ports="$shard_ports" \
    --shard.local.prometheus="$prometheus" \
    --shard.local.stop-with-coordinator
coordinator=${pids[0]}

# Nothing while the coordinator is still coming up.
status() { "$bin/narthex-coordinator" status --url "$coordinator_url" 2>/dev/null || true; }
ready_shards() { status | awk '$2 == "ready" { n++ } END { print n + 0 }'; }
scraped() {
    { curl -s --max-time 5 "$coordinator_url/api/v1/targets?state=active&health=up" || true; } |
        awk -F'"health":"up"' '{ n += NF > 1 ? NF - 1 : 0 } END { print n + 0 }'
}

last=
for ((second = 0; ; second++)); do
    alive targets "$loadgen"
    alive coordinator "$coordinator"
    now="$(ready_shards) shards ready, $(scraped) of $targets targets scraped"
    [ "$now" = "$last" ] || say "  ${second}s: $now"
    last=$now
    [ "$now" = "$expected_shards shards ready, $targets of $targets targets scraped" ] && break
    if [ "$second" -ge 120 ]; then
        status >&2
        tail -n 20 "$run/coordinator.log" >&2
        die "the shards did not come up within two minutes; logs are in $run"
    fi
    sleep 1
done

# --- the global view: a stock Prometheus that reads from every shard ----------------------------------------------
{
    say "global:"
    say "  scrape_interval: 1h"
    say "remote_read:"
    status | awk '$2 == "ready" { for (i = 1; i <= NF; i++) if ($i ~ /^http:/) { print $i; break } }' | while read -r url; do
        say "  - url: ${url%/}/api/v1/read"
        say "    read_recent: true"
    done
} > "$run/global.yml"
say "starting the global view ..."
start global "$prometheus" --config.file="$run/global.yml" --storage.tsdb.path="$run/global" \
    --web.listen-address="127.0.0.1:$((port + 1))"
global=${pids[0]}

for ((second = 0; ; second++)); do
    alive global "$global"
    seen=$(query "$global_url" 'sum(scrape_samples_scraped{job="demo"})')
    [ "${seen:-0}" = "$expected_series" ] && break
    [ "$second" -lt 60 ] || die "the global view sees ${seen:-no} samples a scrape instead of $expected_series"
    sleep 1
done

counted=$(query "$global_url" 'count({job="demo", __name__=~"loadgen_.+"})')
up=$(query "$global_url" 'sum(up{job="demo"})')

say ""
status
say ""
say "global view: $up targets up, ${counted:-0} series of the targets (expected: $expected_series)"

if $check; then
    failed=0
    expect() { # WHAT SEEN EXPECTED
        if [ "$2" = "$3" ]; then say "ok    $1: $2"; else say "FAIL  $1: $2, expected $3"; failed=1; fi
    }
    expect "shards ready" "$(ready_shards)" "$expected_shards"
    expect "shards with two targets" "$(status | awk '$2 == "ready" && $3 == 2 { n++ } END { print n + 0 }')" "$expected_shards"
    expect "targets up in the global view" "$up" "$targets"
    expect "series of the targets in the global view" "${counted:-0}" "$expected_series"
    exit "$failed"
fi

say ""
say "open:  $global_url/graph     the global view: try  count by (instance) ({__name__=~\"loadgen_.+\"})"
say "       $coordinator_url/api/v1/targets   every target, its series and its shard"
say "       $coordinator_url/api/v1/shards    every shard"
say "       $coordinator_url/metrics          the coordinator's metrics"
say "Ctrl-C ends everything."
while alive targets "$loadgen" && kill -0 "$coordinator" 2>/dev/null; do sleep 1; done
say "the coordinator ended (its log is $run/coordinator.log); the shards go on scraping. Ctrl-C ends everything."
while alive targets "$loadgen"; do sleep 1; done
