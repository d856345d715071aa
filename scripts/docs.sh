#!/bin/sh
# What `make docs` runs: writes the generated parts of the documents anew from the program's tables. A part stands between two marker lines.
set -eu
cd "$(dirname "$0")/.."
outcomed=${OUTCOMED:-build/outcomed}
part=$(mktemp)
page=$(mktemp)
trap 'rm -f "$part" "$page"' EXIT

# put FILE PART BEGIN END
put() {
	"$outcomed" docs "$2" >"$part"
	awk -v begin="$3" -v end="$4" -v new="$part" '
		$0 == end { skip = 0; found++ }
		!skip { print }
		$0 == begin { while ((getline line < new) > 0) print line; skip = 1; found++ }
		END { exit found == 2 ? 0 : 1 }
	' "$1" >"$page" || {
		echo "$1 does not have the lines $3 and $4" >&2
		exit 1
	}
	cat "$page" >"$1"
}

put docs/CONFIGURATION.md configuration '<!-- generated: configuration -->' '<!-- end: configuration -->'
put docs/CONFIGURATION.md metrics '<!-- generated: metrics -->' '<!-- end: metrics -->'
put docs/VERDICTS.md verdicts '<!-- made: begin -->' '<!-- made: end -->'
"$outcomed" docs manual >packaging/outcomed.1
