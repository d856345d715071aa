"""Each cmocka case of tests/unit/test_X.c and tests/property/prop_X.c, and each fuzz target, as a pytest item.

cmocka cannot list its cases, so a program is run once and its XML read. The names are remembered beside the program, so that the next
collection needs no run; results never are: in each session the program runs at most once, when the first of its cases is due
(or at collection, when the names are not known yet)."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree

import pytest

from support import postgres, seeds

TIMEOUT_S = 150
IDEMPOTENCY = re.compile(r"duplicate|idempot|once|twice")
MULTITENANT = re.compile(r"tenant")


class Result:
    def __init__(self, failure: str | None = None, skipped: bool = False) -> None:
        self.failure, self.skipped = failure, skipped


class Program:
    """A built test program: its cases, run once a session."""

    def __init__(self, binary: pathlib.Path) -> None:
        self.binary = binary
        self._results: dict[str, Result] | None = None

    def case_names(self) -> list[str]:
        stamp = self.binary.stat().st_mtime_ns
        remembered = self.binary.with_name(self.binary.name + ".cases.json")
        try:
            known = json.loads(remembered.read_text())
            if known["stamp"] == stamp:
                return known["names"]
        except (OSError, ValueError, KeyError):
            pass
        results = self.results()
        if self.crash() is None:
            remembered.write_text(json.dumps({"stamp": stamp, "names": list(results)}))
        return list(results)

    def crash(self) -> Result | None:
        return self.results().get("crashed")

    def results(self) -> dict[str, Result]:
        if self._results is None:
            self._results = self._run()
        return self._results

    def _run(self) -> dict[str, Result]:
        environment = dict(os.environ)
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        database = None
        if b"TEST_DATABASE_URL" in self.binary.read_bytes():  # it asks for a database
            server = postgres.shared()
            database = server.create()
            environment["TEST_DATABASE_URL"] = server.url(database)
        try:
            with tempfile.TemporaryDirectory(prefix="outcomed-unit-") as folder:
                environment |= {"CMOCKA_MESSAGE_OUTPUT": "XML", "CMOCKA_XML_FILE": folder + "/%g.xml", "TMPDIR": folder}
                return self._run_in(folder, environment)
        finally:
            if database is not None:
                postgres.shared().drop(database)

    def _run_in(self, folder: str, environment: dict[str, str]) -> dict[str, Result]:
        source_root = pathlib.Path(__file__).resolve().parent.parent.parent
        try:
            done = subprocess.run([self.binary], cwd=source_root, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)
            output = (done.stdout + done.stderr).decode(errors="replace")
            code = done.returncode
        except subprocess.TimeoutExpired as late:
            output = f"still running after {TIMEOUT_S} s\n" + (late.stderr or b"").decode(errors="replace")
            code = -1
        results: dict[str, Result] = {}
        for path in sorted(pathlib.Path(folder).glob("*.xml")):
            for case in ElementTree.parse(path).iter("testcase"):
                failed = case.find("failure")
                if failed is None:
                    failed = case.find("error")
                text = None if failed is None else (failed.text or failed.get("message") or "failed")
                results[case.get("name", "?")] = Result(text, case.find("skipped") is not None)
        failures = sum(1 for r in results.values() if r.failure is not None)
        # cmocka's exit code is the number of failed cases; anything else is a crash, a sanitizer report or a leak.
        if not results or code != failures:
            results["crashed"] = Result(f"exit code {code}, {failures} failed cases\n{output}")
        return results


class CaseItem(pytest.Item):
    def __init__(self, *, program: Program, case: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.program, self.case = program, case
        self.add_marker(pytest.mark.unit)
        if IDEMPOTENCY.search(case):
            self.add_marker(pytest.mark.idempotency)
        if MULTITENANT.search(case):
            self.add_marker(pytest.mark.multitenant)

    def runtest(self) -> None:
        results = self.program.results()
        crash = self.program.crash()
        result = results.get(self.case, crash)
        if result is None:
            pytest.fail(f"{self.program.binary.name} has no case {self.case} any more", pytrace=False)
        if result.failure is None and crash is not None:
            pytest.fail("the program did not end well:\n" + (crash.failure or ""), pytrace=False)
        if result.failure is not None:
            pytest.fail(result.failure, pytrace=False)
        if result.skipped:
            pytest.skip("skipped by the program")

    def reportinfo(self):
        return self.path, None, f"{self.path.stem}::{self.case}"


class CaseFile(pytest.File):
    """tests/unit/test_X.c or tests/property/prop_X.c."""

    def collect(self):
        build = self.config.stash[BUILD]
        binary = build / self.path.parent.relative_to(self.config.rootpath) / self.path.stem
        if not binary.exists():
            yield MissingItem.from_parent(self, name="built", binary=binary)
            return
        program = Program(binary)
        for case in program.case_names():
            yield CaseItem.from_parent(self, name=case, program=program, case=case)


class MissingItem(pytest.Item):
    def __init__(self, *, binary: pathlib.Path, **kwargs) -> None:
        super().__init__(**kwargs)
        self.binary = binary
        self.add_marker(pytest.mark.unit)

    def runtest(self) -> None:
        pytest.fail(f"{self.binary} is not built: is it in the meson.build beside its source? `make test` builds", pytrace=False)

    def reportinfo(self):
        return self.path, None, f"{self.path.stem}::built"


class ReplayFile(pytest.File):
    """tests/fuzz/fuzz_X.c: its seeds, its committed corpus and what was found once, run through the replay program, and a fixed number of changes of
    them."""

    def collect(self):
        name = self.path.stem.removeprefix("fuzz_")
        binary = self.config.stash[BUILD] / "tests" / "fuzz" / f"replay_{name}"
        if not binary.exists():
            yield MissingItem.from_parent(self, name="built", binary=binary)
            return
        yield ReplayItem.from_parent(self, name="corpus", binary=binary, target=name)


class ReplayItem(pytest.Item):
    MUTATIONS, MILLISECONDS = 400, 400

    def __init__(self, *, binary: pathlib.Path, target: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.binary, self.target = binary, target
        self.add_marker(pytest.mark.unit)

    def runtest(self) -> None:
        committed = [p for p in (self.path.parent / "corpus" / self.target, self.path.parent / "regressions" / self.target) if p.is_dir()]
        with tempfile.TemporaryDirectory(prefix="outcomed-fuzz-") as folder:
            made = pathlib.Path(folder)
            seeds.write(self.target, made / "seeds")
            environment = os.environ | {"FUZZ_MUTATIONS": str(self.MUTATIONS), "FUZZ_MILLISECONDS": str(self.MILLISECONDS), "TMPDIR": folder}
            command = [self.binary, made / "seeds", *committed]
            done = subprocess.run(command, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)
            if done.returncode == 0:
                return
            kept = made / "input"
            subprocess.run(command, env=environment | {"FUZZ_CRASH": str(kept), "FUZZ_MILLISECONDS": "10000"}, capture_output=True, timeout=TIMEOUT_S, check=False)
            changed = f"\nthe input, if a change did it: {kept.read_bytes()!r}" if kept.exists() else ""
            pytest.fail((done.stdout + done.stderr).decode(errors="replace")[-8000:] + changed, pytrace=False)

    def reportinfo(self):
        return self.path, None, f"{self.path.stem}::corpus"


BUILD = pytest.StashKey[pathlib.Path]()


def collect_file(parent: pytest.Collector, path: pathlib.Path) -> pytest.Collector | None:
    if path.suffix != ".c":
        return None
    folder = path.parent.name
    if (folder == "unit" and path.name.startswith("test_")) or (folder == "property" and path.name.startswith("prop_")):
        return CaseFile.from_parent(parent, path=path)
    if folder == "fuzz" and path.name.startswith("fuzz_"):
        return ReplayFile.from_parent(parent, path=path)
    return None
