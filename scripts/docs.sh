#!/bin/sh
# What `make docs` runs: writes the generated parts of the documents anew from the program's tables. A part stands between the
# lines <!-- generated: NAME --> and <!-- end: NAME -->.
set -eu
cd "$(dirname "$0")/.."
outcomed=${OUTCOMED:-build/outcomed}

for file in docs/*.md; do
	for part in configuration metrics verdicts; do
		grep -q "^<!-- generated: $part -->$" "$file" || continue
		"$outcomed" docs "$part" >"$file.part"
		awk -v part="$part" -v new="$file.part" '
			$0 == "<!-- end: " part " -->" { skip = 0 }
			!skip { print }
			$0 == "<!-- generated: " part " -->" { while ((getline line < new) > 0) print line; skip = 1 }
		' "$file" >"$file.new"
		mv "$file.new" "$file"
		rm -f "$file.part"
	done
done
"$outcomed" docs manual >packaging/outcomed.1
