#!/bin/sh
# `make bench`: outcomed beside nginx and pgbench, all on this machine in one run. Arguments (here or in BENCH_ARGS): see bench.py --help.
set -eu
cd "$(dirname "$0")/.."
if [ ! -f build-bench/build.ninja ]; then
	meson setup build-bench -Dbench=true -Dbuildtype=release
fi
ninja -C build-bench outcomed bench/load >&2
eval "set -- \"\$@\" ${BENCH_ARGS:-}"
exec python3 bench/bench.py --build build-bench "$@"
