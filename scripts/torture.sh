#!/bin/sh
# What `make torture` runs: TORTURE_KILLS kill -9 (1000) of each kind, and a fault at every single call, against a build without
# sanitizers, which is quicker on its feet. TORTURE_SEED repeats a run.
set -eu
cd "$(dirname "$0")/.."

scripts/install-packages.sh test
scripts/python.sh
[ -f build-faults/build.ninja ] || meson setup build-faults -Dtests=true
ninja -C build-faults outcomed tests/faults/inject.so

export TORTURE_KILLS="${TORTURE_KILLS:-1000}" FAULTS_EVERY=1 OUTCOMED_BUILD="$PWD/build-faults"
exec .venv/bin/python -m pytest -s tests/faults/test_torture.py tests/faults/test_power.py tests/faults/test_every_fault.py "$@"
