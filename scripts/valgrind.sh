#!/bin/sh
# What `make valgrind` runs: the unit and property tests under valgrind's memcheck; any error or leak fails.
set -eu
cd "$(dirname "$0")/.."

if [ ! -f build-valgrind/build.ninja ]; then
	meson setup build-valgrind -Dtests=true -Dbuildtype=debug -Doptimization=1
fi
ninja -C build-valgrind

failed=
for test in build-valgrind/tests/unit/test_* build-valgrind/tests/property/prop_*; do
	[ -f "$test" ] && [ -x "$test" ] || continue
	echo "== ${test##*/}"
	valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,possible --errors-for-leak-kinds=definite \
		--num-callers=20 "$test" >build-valgrind/out.txt 2>&1 || {
		cat build-valgrind/out.txt
		failed="$failed ${test##*/}"
	}
done
if [ -n "$failed" ]; then
	echo "failed under valgrind:$failed" >&2
	exit 1
fi
