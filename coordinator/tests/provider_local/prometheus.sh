#!/bin/sh
# Stands in for the Prometheus that a sidecar runs.
store=${1#--storage.tsdb.path=}
store=${store%/data}
trap 'exit 0' TERM
while [ -d "$store" ]; do sleep 0.05; done
