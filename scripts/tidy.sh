#!/bin/sh
# What `make tidy` runs: clang-tidy with .clang-tidy over src/. Quiet when there is nothing to say; any finding fails.
set -eu
cd "$(dirname "$0")/.."

[ -f build-tidy/build.ninja ] || CC=clang meson setup build-tidy >/dev/null
ninja -C build-tidy >/dev/null
if ! run-clang-tidy -quiet -p build-tidy "$(pwd | sed 's/[][\.*^$+?(){}|]/\\&/g')/src/.*" >build-tidy/tidy.txt 2>build-tidy/tidy.err; then
	grep -v '^clang-tidy\|^[0-9]* warnings generated' build-tidy/tidy.txt
	exit 1
fi
