#!/bin/sh
# Stands in for narthex-sidecar: runs a "Prometheus" that outlives it if it is killed, takes that over, and ends it in
# order. It ends when its store is gone, so that a test that fails leaves nothing behind.
for argument; do
    case $argument in
    --store.path=*) store=${argument#--store.path=} ;;
    --prometheus.exec=*) prometheus=${argument#--prometheus.exec=} ;;
    --prometheus.arg=--break) echo "the last words of a sidecar"; exit 3 ;;
    esac
done
if ! kill -0 "$(cat "$store/prometheus.pid" 2>/dev/null)" 2>/dev/null; then
    "$prometheus" "--storage.tsdb.path=$store/data" &
    echo $! >"$store/prometheus.pid"
fi
trap 'kill "$(cat "$store/prometheus.pid")"; exit 0' TERM
echo ready >>"$store/starts"
while [ -d "$store" ]; do sleep 0.05; done
