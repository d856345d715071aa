#!/bin/sh
# What `make upgrade-test` runs: the version of before the newest migration is built beside this one, and both serve one database while it is upgraded.
set -eu
cd "$(dirname "$0")/.."
previous=$(git log -1 --format=%H --diff-filter=A -- 'sql/postgres/*.up.sql')^
tree=$(mktemp -d)
trap 'git worktree remove --force "$tree/source" >/dev/null 2>&1 || true; rm -rf "$tree"' EXIT
git worktree add --quiet --detach "$tree/source" "$previous"
echo "building $(git log -1 --format='%h %s' "$previous") as the version before"
meson setup "$tree/build" "$tree/source" -Dbuildtype=debugoptimized >/dev/null
ninja -C "$tree/build" outcomed >/dev/null
[ -x build-test/outcomed ] || scripts/test.sh --collect-only -q >/dev/null
OUTCOMED_PREVIOUS="$tree/build/outcomed" .venv/bin/python -m pytest tests/system/test_upgrade.py "$@"
