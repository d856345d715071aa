#!/bin/sh
# What `make test` runs: packages, a Python of its own, a build with sanitizers, then pytest with the arguments given here or in
# PYTEST_ARGS (`make test PYTEST_ARGS='-m unit'`).
# Afterwards `.venv/bin/pytest -v -m unit` and the like work by themselves: they bring up what they need.
set -eu
cd "$(dirname "$0")/.."

scripts/install-packages.sh test
scripts/python.sh

# gcc says itself that sanitizers bring false alarms of the warnings that follow values around: those are no errors here.
if [ ! -f build-test/build.ninja ]; then
	meson setup build-test -Dtests=true -Dbuildtype=debug -Doptimization=1 -Dwerror=true \
		-Db_sanitize=address,undefined -Db_lundef=false \
		-Dc_args='-fno-sanitize-recover=all -fno-omit-frame-pointer -Wno-error=format-truncation -Wno-error=stringop-overread -Wno-error=stringop-overflow -Wno-error=maybe-uninitialized -Wno-error=array-bounds'
fi
ninja -C build-test

eval "set -- \"\$@\" ${PYTEST_ARGS:-}"
exec .venv/bin/python -m pytest "$@"
