#!/usr/bin/env bash
# serving: server CPU per request, durable inserts and log syncs of a real server under the load generator
#
# usage: bench/run_serve.sh [--seconds 5] [--folder DIR] [--strict]
#
# Each row is a fresh server on a new data folder inside --folder (default: the temporary directory; its disk decides the
# insert rows). Replies are checked and rows counted; a wrong one fails the run. Aims are printed beside the figures;
# --strict makes a missed aim a failure too. JSON lines: build/release/bench/serve.jsonl.
set -euo pipefail

bench=${QUIVER_BUILD:?is set by ./dev bench}/bench
seconds=5
folder=${TMPDIR:-/tmp}
strict=0
while (($#)); do
  case $1 in
    --seconds) seconds=$2; shift ;;
    --folder) folder=$2; shift ;;
    --strict) strict=1 ;;
    *) echo "unknown option '$1'" >&2; exit 2 ;;
  esac
  shift
done

results=$bench/serve.jsonl
: >"$results"
failed=0

# load NAME ARGUMENTS...: runs one row, prints its table line, keeps its JSON line.
load() {
  local output
  if ! output=$("$bench/quiver_load" "$@" --folder "$folder" --server-arg=--log.level --server-arg=warn); then
    printf '%s\n' "$output"
    failed=1
  fi
  grep -v '^{' <<<"$output" || true
  grep '^{' <<<"$output" >>"$results" || true
}

# aim KEY COMPARISON VALUE TEXT: compares a figure of the last row.
aim() {
  local figure
  figure=$(tail -n 1 "$results" | sed -n "s/.*\"$1\":\(-\{0,1\}[0-9.]*\).*/\1/p")
  if [[ -n $figure ]] && awk "BEGIN { exit !($figure $2 $3) }"; then
    echo "    aim $4: met ($figure)"
  else
    echo "    aim $4: MISSED (${figure:-no figure})"
    if ((strict)); then failed=1; fi
  fi
}

echo "load of the machine before: $(cut -d ' ' -f 1-3 /proc/loadavg)"
load version --depth 1 --seconds "$seconds"
load version --depth 64 --seconds "$seconds"
load search --depth 1 --seconds "$seconds"
aim server_cpu_us '<=' 45 "at most 45 us of server CPU per search of an empty collection at depth 1"
load search --depth 64 --seconds "$seconds"
aim server_cpu_us '<=' 25 "at most 25 us at 64 in flight"
load search --depth 64 --connections 8 --seconds "$seconds"
load search --rows 200000 --dim 384 --depth 4 --seconds "$seconds"
load search --rows 200000 --dim 384 --depth 2 --nq 100 --seconds "$seconds"
load insert --batch 1000 --clients 4 --seconds "$seconds"
aim rows_per_second '>=' 150000 "at least 150,000 durable rows/s of 128 dims in batches of 1,000"
load insert --batch 1 --clients 64 --seconds "$seconds"
aim calls_per_second '>=' 15000 "at least 15,000 single-row inserts/s from 64 clients"
aim log_syncs_per_call '<=' 0.25 "syncs at most a quarter of the acknowledgements"
exit "$failed"
