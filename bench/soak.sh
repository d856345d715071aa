#!/bin/sh
# `make soak`: SOAK_SECONDS (1800) at half of the full speed on each of SOAK_STORES ("sqlite postgres"). Arguments: see soak.py --help.
set -eu
cd "$(dirname "$0")/.."
if [ ! -f build-bench/build.ninja ]; then
	meson setup build-bench -Dbench=true -Dbuildtype=release
fi
ninja -C build-bench outcomed bench/load >&2
exec python3 bench/soak.py --build build-bench "$@"
