#!/usr/bin/env bash
# Search by lists over vectors on disk: all in memory, and with a quarter of the memory that the vectors need.
#
# usage: bench/run_disk.sh [ROWS [DIM [ROUNDS]]]   (100000 768 3; as root, for the memory limit of a cgroup)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
program=${QUIVER_BUILD:-$root/build/release}/bench/disk_bench
rows=${1:-100000} dim=${2:-768} rounds=${3:-3}
if [[ ! -x $program ]]; then
  echo "$program is missing: cmake --build --preset release --target disk_bench" >&2
  exit 1
fi
data=${QUIVER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/quiver}/disk-$rows-$dim
if [[ ! -s $data/index ]]; then
  mkdir -p "$data"
  "$program" prepare "$data" "$rows" "$dim"
  sync "$data/vectors"
fi
limit=$(($(stat -c %s "$data/vectors") / 4))
group='' setting=''
if [[ -w /sys/fs/cgroup/memory ]]; then
  group=/sys/fs/cgroup/memory/quiver_disk_bench setting=memory.limit_in_bytes
elif [[ -w /sys/fs/cgroup/cgroup.procs ]]; then
  group=/sys/fs/cgroup/quiver_disk_bench setting=memory.max
fi
if [[ -n $group ]]; then
  mkdir -p "$group"
  trap 'rmdir "$group"' EXIT
  echo "$limit" >"$group/$setting"
  echo "vectors $((limit * 4)) bytes, codes and links $(stat -c %s "$data/index"); limit $limit bytes"
else
  echo "no memory limit can be set here: vectors are dropped from memory before each run, and then stay" >&2
fi
# What an earlier run left in memory counts for nobody.
drop() { dd of="$data/vectors" oflag=nocache conv=notrunc,fdatasync count=0 status=none; }
limited() {
  drop
  (
    if [[ -n $group ]]; then echo "$BASHPID" >"$group/cgroup.procs"; fi
    exec "$program" search "$data" "$1"
  )
}
for ((round = 0; round < rounds; ++round)); do
  drop
  "$program" search "$data" memory
  "$program" search "$data" plain
  limited asked
  limited random
  limited faults
done
uptime
