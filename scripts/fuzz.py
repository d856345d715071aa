#!/usr/bin/python3
"""What `make fuzz` runs: the libFuzzer targets of tests/fuzz, each for FUZZ_SECONDS (60), FUZZ_JOBS (as many as there are processors) at once; FUZZ_TARGETS
names some ("jwt mark"), else all. Each starts from seeds made of the recorded deliveries (tests/support/seeds.py), the committed corpus, the
regressions and what earlier runs found (build-fuzz/corpus). A finding leaves its input in build-fuzz/findings; once mended it belongs into
tests/fuzz/regressions/TARGET, which the normal tests run. Prints a table; exits with 1 where anything was found."""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build-fuzz"
sys.path.insert(0, str(ROOT / "tests"))

from support import seeds  # noqa: E402

C_ARGS = "-fsanitize=fuzzer-no-link -fno-sanitize-recover=all -fno-omit-frame-pointer"
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # for targets with a database
STATISTIC = re.compile(rb"stat::number_of_executed_units:\s*(\d+)")
COVERAGE = re.compile(rb"cov: (\d+) ft: (\d+)")


def build(targets: list[str]) -> None:
    if not (BUILD / "build.ninja").exists():
        subprocess.run(["meson", "setup", BUILD, "-Dtests=true", "-Dfuzzers=true", "-Dbuildtype=debugoptimized", "-Db_sanitize=address,undefined",
                        "-Db_lundef=false", f"-Dc_args={C_ARGS}"], cwd=ROOT, env=os.environ | {"CC": "clang"}, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", BUILD, *(f"tests/fuzz/fuzz_{t}" for t in targets)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def run(target: str, seconds: int) -> tuple[str, float, int, str, list[str]]:
    """target, seconds, executions, coverage, findings"""
    found, made = BUILD / "findings" / target, BUILD / "seeds" / target
    kept, dictionary = BUILD / "corpus" / target, BUILD / f"{target}.dict"
    for folder in (found, kept):
        folder.mkdir(parents=True, exist_ok=True)
    seeds.write(target, made)
    before = set(found.iterdir())
    committed = [p for p in (ROOT / "tests/fuzz/corpus" / target, ROOT / "tests/fuzz/regressions" / target) if p.is_dir()]
    command = [BUILD / f"tests/fuzz/fuzz_{target}", f"-max_total_time={seconds}", "-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1",
               f"-artifact_prefix={found}/", "-close_fd_mask=0", kept, made, *committed]
    if seeds.write_dictionary(target, dictionary):
        command.insert(1, f"-dict={dictionary}")
    log = BUILD / f"{target}.log"
    began = time.monotonic()
    with log.open("wb") as out, tempfile.TemporaryDirectory(prefix="outcomed-fuzz-", dir=IN_MEMORY) as scratch:
        code = subprocess.run(command, cwd=BUILD, stdout=out, stderr=out, check=False, env=os.environ | {
            "ASAN_OPTIONS": "detect_leaks=1", "TMPDIR": scratch, "UBSAN_OPTIONS": "print_stacktrace=1"}).returncode
    took = time.monotonic() - began
    text = log.read_bytes()
    executions = int(m[-1]) if (m := STATISTIC.findall(text)) else 0
    coverage = "{} edges, {} features".format(*(n.decode() for n in m[-1])) if (m := COVERAGE.findall(text)) else "-"
    findings = [str(p.relative_to(ROOT)) for p in sorted(set(found.iterdir()) - before)]
    if code != 0 and not findings:
        findings = [f"exit code {code}: {log.relative_to(ROOT)}"]
    return target, took, executions, coverage, findings


def main() -> int:
    every = sorted(p.stem.removeprefix("fuzz_") for p in (ROOT / "tests/fuzz").glob("fuzz_*.c"))
    targets = os.environ.get("FUZZ_TARGETS", "").split() or every
    if unknown := set(targets) - set(every):
        print(f"no such target: {' '.join(sorted(unknown))}; there are {' '.join(every)}", file=sys.stderr)
        return 2
    seconds, jobs = int(os.environ.get("FUZZ_SECONDS") or 60), int(os.environ.get("FUZZ_JOBS") or os.cpu_count() or 1)
    build(targets)
    print(f"{len(targets)} targets, {seconds} s each, {jobs} at once")
    print(f"{'target':<14} {'seconds':>8} {'executions':>12}  {'coverage':<28} findings")
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for target, took, executions, coverage, findings in pool.map(lambda t: run(t, seconds), targets):
            print(f"{target:<14} {took:>8.0f} {executions:>12}  {coverage:<28} {' '.join(findings) or '0'}", flush=True)
            bad += bool(findings)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
