#!/usr/bin/env bash
# filters: rows per second of each kind of test over a million rows, and compile times; counts are checked
set -euo pipefail

output=$("${QUIVER_BUILD:?}/bench/expr_bench" --benchmark_min_time=0.3 "$@" 2>/dev/null)
printf '%s\n' "$output"
if grep -q 'ERROR OCCURRED' <<<"$output"; then
  echo "a case has a wrong answer, see above" >&2
  exit 1
fi
