#!/bin/sh
# Makes the tests' own Python, .venv, or brings it up to date with tests/requirements.txt; does nothing where it is.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-/usr/bin/python3}
wanted=$(sha256sum tests/requirements.txt | cut -d' ' -f1)
if [ "$(cat .venv/requirements.sha256 2>/dev/null || true)" != "$wanted" ]; then
	"$python" -m venv --clear .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	printf '%s\n' "$wanted" > .venv/requirements.sha256
fi
