#!/bin/sh
# What `make faults` runs: PostgreSQL taken away in every way under FAULTS_RATE webhooks a second, for as long as the promise says, then the same
# FAULTS_EVENTS events at two nodes of which one is killed half-way. A share of each is among the tests.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
rate=${FAULTS_RATE:-500}

[ -x "$python" ] || {
	echo "no .venv: run make test first" >&2
	exit 1
}
"$python" tests/faults/outage.py stopped --seconds "${FAULTS_SECONDS:-60}" --rate "$rate"
"$python" tests/faults/outage.py frozen cut-off --seconds 20 --rate "$rate"
"$python" tests/faults/outage.py killed failed-over --seconds 10 --rate "$rate"
OUTCOMED_BUILD=build NODES_EVENTS="${FAULTS_EVENTS:-100000}" NODES_RATE="$rate" exec "$python" -m pytest -q tests/faults/test_nodes.py -k killed
