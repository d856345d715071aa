#!/bin/sh
# What `make tsan` runs: the daemon and the tests with threads built with the thread sanitizer, then the system, wire and fault tests and those unit
# tests (or the arguments given here instead). Any report fails the run; they are left in build-tsan/reports.
# libmicrohttpd, SQLite, libpq, OpenSSL and curl are not instrumented: their locks are seen, so what is passed through them is ordered, but races
# within them are not looked for.
set -eu
cd "$(dirname "$0")/.."

scripts/install-packages.sh test
scripts/python.sh
if [ ! -f build-tsan/build.ninja ]; then
	meson setup build-tsan -Dtests=true -Dbuildtype=debug -Doptimization=1 -Db_sanitize=thread -Db_lundef=false -Dc_args='-fno-omit-frame-pointer'
fi
ninja -C build-tsan

reports=$PWD/build-tsan/reports
rm -rf "$reports"
mkdir -p "$reports"
export TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 history_size=4 log_path=$reports/report"

# Does it see a race at all? A test that finds nothing must be able to.
printf '%s\n' '#include <pthread.h>' 'static int n;' 'static void *add(void *x) { n++; return x; }' \
	'int main(void) { pthread_t t; pthread_create(&t, 0, add, 0); n++; return pthread_join(t, 0); }' >build-tsan/race.c
cc -fsanitize=thread -g -pthread -o build-tsan/race build-tsan/race.c
if build-tsan/race || ! grep -qs 'data race' "$reports"/report.*; then
	echo "the thread sanitizer does not report a race that is there: kernel.mmap_rnd_bits above 28?" >&2
	exit 1
fi
rm -f "$reports"/report.*

threaded=$(grep -lE 'pthread_create|ingest_start' tests/unit/test_*.c)
[ $# -gt 0 ] || set -- -q tests/system tests/wire tests/faults $threaded --deselect tests/system/test_make.py
result=0
OUTCOMED_BUILD="$PWD/build-tsan" .venv/bin/python -m pytest -p no:cacheprovider "$@" || result=$?
found=$(find "$reports" -type f | wc -l)
if [ "$found" -gt 0 ]; then
	cat "$reports"/*
	echo "$found reports: $reports" >&2
	exit 66
fi
echo "thread sanitizer: 0 reports"
exit $result
