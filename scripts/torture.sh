#!/bin/sh
# What `make torture` runs: TORTURE_KILLS kill -9 (1000) of each kind, against build/outcomed, which is
# quicker on its feet than the one with sanitizers. TORTURE_SEED repeats a run.
set -eu
cd "$(dirname "$0")/.."

scripts/install-packages.sh test
scripts/python.sh
[ -f build/build.ninja ] || meson setup build
ninja -C build

export TORTURE_KILLS="${TORTURE_KILLS:-1000}" OUTCOMED_BUILD="$PWD/build"
exec .venv/bin/python -m pytest -s tests/faults/test_torture.py "$@"
