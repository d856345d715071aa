"""Makes one C file with the description of the HTTP API from src/http/openapi.json. Lists and limits are not written there a second time:
"@NAME" in an array stands for the names of the X-macro NAME of a header, "@NAME" elsewhere for a number or text that is #defined.

usage: embed_openapi.py OPENAPI.json VERSION OUTPUT.c SOURCE…"""
import json
import pathlib
import re
import sys


def fail(text):
    sys.exit(f"embed_openapi.py: {text}")


def names_of(macro, sources):
    """The first text of each X(…) of #define MACRO(X)."""
    for text in sources:
        found = re.search(rf"^#define {macro}\(X\)((?:[^\n]*\\\n)*[^\n]*)", text, re.MULTILINE)
        if found:
            return re.findall(r'\bX\([^"()]*"([^"]*)"', found[1])
    fail(f"no header has #define {macro}(X)")


def value_of(macro, sources):
    for text in sources:
        found = re.search(rf'^#define {macro} (?:"([^"]*)"|(\d+))', text, re.MULTILINE)
        if found:
            return found[1] if found[1] is not None else int(found[2])
    fail(f"no source has #define {macro}")


def filled(value, sources, version):
    if isinstance(value, dict):
        return {k: filled(v, sources, version) for k, v in value.items()}
    if isinstance(value, list):
        items = []
        for item in value:
            listed = isinstance(item, str) and item.startswith("@")
            items += names_of(item[1:], sources) if listed else [filled(item, sources, version)]
        return items
    if value == "@VERSION":
        return version
    return value_of(value[1:], sources) if isinstance(value, str) and value.startswith("@") else value


def main():
    template, version, output = sys.argv[1:4]
    sources = [pathlib.Path(p).read_text() for p in sys.argv[4:]]
    text = json.dumps(filled(json.loads(pathlib.Path(template).read_text()), sources, version), ensure_ascii=True, separators=(",", ":"))
    lines = [text[i:i + 100] for i in range(0, len(text), 100)]
    literal = "\n".join('\t"' + line.replace("\\", "\\\\").replace('"', '\\"') + '"' for line in lines)
    pathlib.Path(output).write_text(f'/* Made by tools/embed_openapi.py. */\n#include "http/openapi.h"\n\nconst char openapi_text[] =\n{literal};\nconst size_t openapi_bytes = sizeof openapi_text - 1;\n')


main()
