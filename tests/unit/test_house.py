"""The house's own rules, read off the sources: which room may include which, what has a test, what may not be written."""

import fnmatch
import pathlib
import re
import subprocess

import pytest

pytestmark = pytest.mark.unit

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.[ch]"))

# Each room may include itself and these (docs/ARCHITECTURE.md).
MAY_INCLUDE = {
    "base": set(),
    "core": {"base"},
    "wire": {"base", "core"},
    "store": {"base", "core"},
    "ingest": {"base", "core", "wire", "store"},
    "http": {"base", "core", "wire", "store", "ingest"},
    "cmd": {"base", "core", "wire", "store", "ingest", "http"},
}
NOT_FOR_CORE = {"base/clock.h", "base/log.h", "base/config.h", "base/metrics.h"}
# The C library's parts that neither ask the time nor touch a file, a socket, a thread or the environment.
PURE_HEADERS = {"assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "math.h", "stdalign.h", "stdarg.h", "stdbool.h", "stddef.h",
                "stdint.h", "stdlib.h", "string.h"}
LIBRARIES = {
    "jansson.h": {"wire"},
    "openssl/": {"wire", "store"},
    "sqlite3.h": {"store"},
    "libpq-fe.h": {"store"},
    "microhttpd.h": {"http"},
    "gnutls/": {"http"},
    "curl/": {"cmd", "ingest"},
    "systemd/": {"cmd"},
}
MAX_LINES = 620

# Sources whose behaviour is shown by other tests than tests/unit/test_NAME.c: a room, patterns of names, the test that shows them.
ELSEWHERE = [
    ("base", "clock", "tests/unit/test_error.c"),
    ("base", "config_help", "tests/unit/test_config.c"),
    ("cmd", "*", "tests/system/test_cli.py"),
    ("", "main", "tests/system/test_cli.py"),
    ("http", "adopt", "tests/system/test_service.py"),
    ("http", "asking", "tests/system/test_tenants.py"),
    ("http", "list pages reads reply throttle", "tests/system/test_http.py"),
    ("http", "acceptor connection head request", "tests/wire/test_http_wire.py"),
    ("http", "tls", "tests/wire/test_http_tls.py"),
    ("http", "limits", "tests/wire/test_http_limits.py"),
    ("http", "receiver submit", "tests/system/test_refusals.py"),
    ("http", "server", "tests/system/test_stop.py"),
    ("ingest", "watcher watcher_ask watcher_http", "tests/system/test_watcher.py"),
    ("ingest", "erase", "tests/system/test_erase.py"),
    ("ingest", "forgetting janitor retention", "tests/system/test_prune.py"),
    ("ingest", "rebuild", "tests/unit/test_replay.c"),
    ("store", "store_retention", "tests/unit/store_cases_retention.c"),
    ("store", "spool*", "tests/unit/test_spool.c"),
    ("ingest", "drainer", "tests/unit/test_spooler.c"),
    ("store", "store_replay", "tests/unit/store_cases_replay.c"),
    ("store", "durability inspect migrate", "tests/system/test_cli.py"),
    ("store", "postgres_index postgres_migrate", "tests/system/test_migrations_postgres.py"),
    ("store", "sqlite_migrate", "tests/unit/test_migrate_sqlite.c"),
    ("store", "sqlite sqlite_db", "tests/unit/test_store_sqlite.c"),
    ("store", "postgres* sqlite_*", "tests/unit/test_store.c"),
]


def is_shown(path: pathlib.Path, folder: str, pattern: str) -> bool:
    return str(path.parent.relative_to(ROOT / "src")) == (folder or ".") and path.suffix == ".c" and fnmatch.fnmatch(path.stem, pattern)


def room(path: pathlib.Path) -> str:
    return path.relative_to(ROOT / "src").parts[0]


def includes(path: pathlib.Path) -> list[tuple[str, str]]:
    """(bracket, name) of each #include."""
    return re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", sorted(MAY_INCLUDE))
def test_includes_point_one_way(name: str):
    allowed = MAY_INCLUDE[name] | {name}
    wrong = [f"{path.name} includes {included}" for path in SOURCES if room(path) == name
             for bracket, included in includes(path) if bracket == '"' and included.split("/")[0] not in allowed]
    assert wrong == []


def test_core_is_pure():
    wrong = []
    for path in SOURCES:
        if room(path) != "core":
            continue
        for bracket, included in includes(path):
            if included in NOT_FOR_CORE or (bracket == "<" and included not in PURE_HEADERS):
                wrong.append(f"{path.name} includes {included}")
    assert wrong == []


def test_libraries_stay_in_their_rooms():
    wrong = [f"{path.relative_to(ROOT)} includes {included}" for path in SOURCES for _, included in includes(path)
             for library, rooms in LIBRARIES.items() if included.startswith(library) and room(path) not in rooms]
    assert wrong == []


def test_every_header_stands_by_itself():
    """Each can be included first: it names all that it needs."""
    flags = subprocess.run(["pkg-config", "--cflags", "gnutls", "libpq", "jansson", "libmicrohttpd", "sqlite3"], capture_output=True, text=True, check=True)
    wrong = []
    for path in (p for p in SOURCES if p.suffix == ".h"):
        done = subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", "-Wno-pragma-once-outside-header", *flags.stdout.split(),
                               "-I", ROOT / "src", "-x", "c", path], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            wrong.append(f"{path.relative_to(ROOT)}: {done.stderr.splitlines()[0]}")
    assert wrong == []


def test_headers_are_guarded():
    assert [str(p.relative_to(ROOT)) for p in SOURCES if p.suffix == ".h" and "#pragma once" not in p.read_text()] == []


def test_every_module_says_at_its_head_what_it_is_for():
    """In the source, or in the header that is its contract."""
    wrong = [str(p.relative_to(ROOT)) for p in SOURCES if not p.read_text().startswith("/*")
             and not (p.suffix == ".c" and p.with_suffix(".h").exists() and p.with_suffix(".h").read_text().startswith("/*"))]
    assert wrong == []


def test_every_source_has_a_test():
    tests = {p.stem.removeprefix("test_") for p in (ROOT / "tests/unit").glob("test_*.c")}
    elsewhere = [(folder, pattern) for folder, patterns, _ in ELSEWHERE for pattern in patterns.split()]
    wrong = [str(path.relative_to(ROOT)) for path in SOURCES if path.suffix == ".c" and path.stem not in tests
             and not any(is_shown(path, *where) for where in elsewhere)]
    assert wrong == [], "add tests/unit/test_NAME.c, or say in ELSEWHERE where it is shown"


def test_the_list_of_sources_shown_elsewhere_is_true():
    assert [test for _, _, test in ELSEWHERE if not (ROOT / test).exists()] == []
    unused = [(folder, pattern) for folder, patterns, _ in ELSEWHERE for pattern in patterns.split()
              if not any(is_shown(path, folder, pattern) for path in SOURCES)]
    assert unused == []


def test_files_stay_small_enough_to_know():
    assert [f"{p.relative_to(ROOT)}: {n} lines" for p in SOURCES if (n := len(p.read_text().splitlines())) > MAX_LINES] == []


def tracked() -> list[pathlib.Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git working tree")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    data = {".jsonl", ".json", ".png", ".svg"}
    return [p for p in paths if p.is_file() and p.suffix not in data and "corpus" not in p.parts and p != pathlib.Path(__file__).resolve()]


def test_nothing_is_left_unfinished():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    wrong = [f"{p.relative_to(ROOT)}:{n}" for p in tracked()
             for n, line in enumerate(p.read_text(errors="replace").splitlines(), 1) if marks.search(line)]
    assert wrong == []


def test_no_path_of_one_machine_is_written_down():
    paths = re.compile(r"(?<![\w.])/(work|home/\w+|Users/\w+)/")
    wrong = [f"{p.relative_to(ROOT)}:{n}" for p in tracked()
             for n, line in enumerate(p.read_text(errors="replace").splitlines(), 1) if paths.search(line)]
    assert wrong == []


def test_tests_talk_to_loopback_only():
    """Every URL in the tests points at this machine or at a name that RFC 2606 keeps free."""
    urls = re.compile(r"https?://([\w.-]+)")
    allowed = re.compile(r"^(127\.0\.0\.1|localhost|(.*\.)?example(\.(com|org|net))?|.*\.(test|invalid))$")
    wrong = [f"{p.relative_to(ROOT)}: {host}" for p in tracked() if p.parts[len(ROOT.parts)] == "tests"
             for host in urls.findall(p.read_text(errors="replace")) if not allowed.match(host)]
    assert wrong == []


# ---- tenants ----

TENANTLESS_READERS = {"open", "close", "last_error", "ping"}


def reader_functions(header: str) -> dict[str, str]:
    """The functions that take a struct store_reader, by name without prefix: their parameters."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / "src/store" / header).read_text(), flags=re.DOTALL)
    found = re.findall(r"(\(\*\w+\)|\b(?:store|sqlite|pg)_\w+)\(([^();{]*struct store_reader \*[^();{]*)\);", text)
    return {re.sub(r"^(store|sqlite|pg)_|^reader_", "", re.sub(r"^(store|sqlite|pg)_", "", name.strip("(*)"))): parameters for name, parameters in found}


@pytest.mark.multitenant
@pytest.mark.parametrize("header", ["store.h", "backend.h", "sqlite.h", "postgres.h"])
def test_no_function_reads_without_a_tenant(header: str):
    """A reader is asked for one tenant's things: by a parameter, or by a question that has a tenant among its members."""
    text = (ROOT / "src/store/store.h").read_text()
    asks = {name for name, members in re.findall(r"^struct (\w+) \{(.*?)^\};", text, re.MULTILINE | re.DOTALL) if "struct slice tenant;" in members}
    assert {"outcome_query", "list_filter", "events_query"} <= asks
    functions = reader_functions(header)
    assert {"read_outcomes", "read_list", "read_call", "read_events"} <= functions.keys()
    wrong = [name for name, parameters in functions.items() if name.removeprefix("reader_") not in TENANTLESS_READERS
             and "struct slice tenant" not in parameters and not any(f"struct {ask} *" in parameters for ask in asks)]
    assert wrong == []


@pytest.mark.multitenant
def test_every_statement_of_a_sqlite_reader_names_the_tenant():
    """Or is asked only about a call that was found for the tenant, in the same transaction."""
    text = (ROOT / "src/store/sqlite_read.c").read_text()
    after_the_call_was_found = {"READ_FACTS_OF", "READ_REVISIONS", "READ_PING"}
    assert after_the_call_was_found < set(re.findall(r"\bREAD_[A-Z_]+\b", text))
    assert re.search(r'#define OF_TENANT "\(l\.\\"userId\\" = \?2 OR \(l\.\\"userId\\" IS NULL AND f\.\\"userId\\" = \?2\)\)"', text)
    wrong = [line.strip() for line in text.splitlines() if re.search(r"FROM (call_|livekit_)|FROM_LOGS \"", line)
             and not re.search(r'userId\\" = \?|OF_TENANT|SELECT 1 FROM call_logs|#define', line)
             and not any(f"[{kind}]" in line for kind in after_the_call_was_found)]
    assert wrong == []
