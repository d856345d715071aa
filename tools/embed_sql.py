"""Makes one C file with the migrations of both dialects (struct migration of store/backend.h) from
sql/{sqlite,postgres}/NNNN_name.{up,down}.sql.

usage: embed_sql.py SQL_DIR OUTPUT.c OUTPUT.d

The versions of a dialect have to be 1, 2, 3, … without a gap and every one needs its up and its down file. The depfile names the
directories too, so that a new file is noticed."""
import hashlib
import pathlib
import re
import sys

DIALECTS = ("sqlite", "postgres")
NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.(up|down)\.sql")


def fail(text):
    sys.exit(f"embed_sql.py: {text}")


def migrations(directory):
    """[(version, name, up text, down text)] in order."""
    found = {}
    for path in sorted(directory.glob("*.sql")):
        match = NAME.fullmatch(path.name)
        if not match:
            fail(f"{path}: the name is not NNNN_name.up.sql or NNNN_name.down.sql")
        version, name, way = int(match[1]), match[2], match[3]
        ways = found.setdefault((version, name), {})
        ways[way] = path.read_bytes()
    result = []
    for expected, ((version, name), ways) in enumerate(sorted(found.items()), 1):
        if version != expected:
            fail(f"{directory}: version {expected} is missing or there twice")
        if set(ways) != {"up", "down"}:
            fail(f"{directory}/{version:04}_{name}: needs both an up and a down file")
        result.append((version, name, ways["up"], ways["down"]))
    return result


def c_literal(data):
    """Bytes as adjacent C string literals, a line each."""
    escapes = {0x22: '\\"', 0x5C: "\\\\", 0x0A: "\\n", 0x09: "\\t"}
    lines = []
    for line in data.splitlines(keepends=True):
        text = "".join(escapes.get(b) or (chr(b) if 0x20 <= b < 0x7F else f"\\{b:03o}") for b in line)
        lines.append(f'\t\t"{text}"')
    return "\n".join(lines) or '\t\t""'


def main():
    source, output, depfile = map(pathlib.Path, sys.argv[1:4])
    parts = ["/* Made by tools/embed_sql.py. */\n#include \"store/backend.h\"\n"]
    inputs = []
    for dialect in DIALECTS:
        directory = source / dialect
        found = migrations(directory)
        inputs += [directory, *sorted(directory.glob("*.sql"))]
        parts.append(f"const struct migration {dialect}_migrations[] = {{")
        for version, name, up, down in found:
            digest = hashlib.sha256(up).hexdigest()
            parts.append(f'\t{{ {version}, "{name}",\n{c_literal(up)},\n{c_literal(down)},\n\t\t"{digest}" }},')
        parts.append("\t{ 0, NULL, NULL, NULL, NULL },\n};")
        parts.append(f"const size_t {dialect}_migration_count = {len(found)};\n")
    output.write_text("\n".join(parts))
    listed = " ".join(str(p).replace(" ", "\\ ") for p in inputs)
    depfile.write_text(f"{output}: {listed}\n")


main()
