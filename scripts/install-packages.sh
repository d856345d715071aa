#!/bin/sh
# install-packages.sh [--check] SECTION: installs the Debian packages of a section of packaging/debian-packages.txt that are
# missing, after it said which. With nothing missing it does nothing and needs no network. --check only looks: exit 1
# and one line when something is missing.
set -eu
cd "$(dirname "$0")/.."
list=packaging/debian-packages.txt

check=no
if [ "${1-}" = --check ]; then
	check=yes
	shift
fi
case "${1-}" in
build) sections='build' ;;
run) sections='build run' ;;
test) sections='build run test' ;;
bench) sections='build run test bench' ;;
dev) sections='build run test dev' ;;
*)
	echo "usage: $0 [--check] build|run|test|bench|dev" >&2
	exit 2
	;;
esac

wanted=$(awk -v sections="$sections" '
	BEGIN { n = split(sections, s, " "); for (i = 1; i <= n; i++) take["[" s[i] "]"] = 1 }
	/^#/ || /^[ \t]*$/ { next }
	/^\[/ { on = ($1 in take); next }
	on { print $1 }' "$list")

if ! command -v dpkg-query >/dev/null 2>&1; then
	[ "$check" = yes ] && exit 0
	echo "This is no Debian system. What is needed, by its Debian names:" $wanted >&2
	exit 0
fi

# One line "NAME STATUS" for each that dpkg knows; with Multi-Arch a name may have several.
known=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' $wanted 2>/dev/null || true)
missing=$(
	for package in $wanted; do
		printf '%s\n' "$known" | grep -qx "$package installed" || printf '%s ' "$package"
	done
)
missing=${missing% }
[ -n "$missing" ] || exit 0

if [ "$check" = yes ]; then
	echo "These Debian packages are missing: $missing. Run 'make deps' (as root or with sudo), then try again." >&2
	exit 1
fi

echo "About to install these Debian packages with apt-get: $missing"
as_root=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "That needs root, and there is no sudo. As root: apt-get install $missing" >&2
		exit 1
	fi
	as_root=sudo
fi
$as_root apt-get update -q || echo "apt-get update failed; trying with the lists that are here" >&2
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
