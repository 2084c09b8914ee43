#!/usr/bin/env bash
# Distance kernels in GB/s, each level against plain loops and against the bandwidth of a pure read.
#
# usage: bench/run_kernels.sh [--json] [--seconds S] [--megabytes M]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
program=${QUIVER_BUILD:-$root/build/release}/bench/kernels_bench
if [[ ! -x $program ]]; then
  echo "$program is missing: cmake --build --preset release --target kernels_bench" >&2
  exit 1
fi
exec "$program" "$@"
