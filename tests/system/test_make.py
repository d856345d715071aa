"""What `make run` shows, and what the install script does and says."""

import os
import pathlib
import re
import signal
import socket
import stat
import subprocess

import pytest

from support import captures as capture_files
from support import daemon as daemons

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ANSWERED = capture_files.FOLDER / "out-answered-bye.jsonl"
BUSY = capture_files.FOLDER / "out-486.jsonl"
SECRET = "a-signing-secret-of-more-than-32-bytes"


# ---- make run ----

@pytest.fixture
def clone(tmp_path, outcomed_binary):
    """What scripts/run.sh needs of a clone, in a directory with spaces in its path."""
    folder = tmp_path / "a clone with spaces"
    (folder / "scripts").mkdir(parents=True)
    (folder / "build").mkdir()
    (folder / "tests/captures").mkdir(parents=True)
    (folder / "scripts/run.sh").write_bytes((ROOT / "scripts/run.sh").read_bytes())
    (folder / "scripts/run.sh").chmod(0o755)
    (folder / "build/outcomed").symlink_to(outcomed_binary)
    (folder / "tests/captures" / ANSWERED.name).symlink_to(ANSWERED)
    return folder


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def run_script(folder: pathlib.Path, port: int, env: dict | None = None) -> tuple[subprocess.Popen, str]:
    """scripts/run.sh until it has shown what to do next."""
    env = daemons.environment({"OUTCOMED_LISTEN": f"127.0.0.1:{port}"} | (env or {}), keys=False)
    process = subprocess.Popen([folder / "scripts/run.sh"], cwd=folder.parent, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True)
    shown = b""
    while chunk := process.stdout.readline():
        shown += chunk
        if b"Ctrl-C stops it" in chunk:
            break
    return process, shown.decode()


def test_make_run_shows_a_verdict_and_stays(clone):
    port = free_port()
    for _ in range(2):
        process, shown = run_script(clone, port, {"DATABASE_URL": "postgresql://127.0.0.1:1/never"})
        try:
            assert "DEMO KEY, not for production" in shown, shown
            assert '"outcome": "completed"' in shown, shown
            assert f"curl 'http://127.0.0.1:{port}/api/calls/RM_h9Q44tYGqmEg/outcome?user_id=user-9'" in shown
            why = re.search(r"^  (.* explain .*)$", shown, re.MULTILINE)[1]
            drawn = subprocess.run(why, shell=True, cwd=clone, env=daemons.environment(keys=False), timeout=60, capture_output=True, text=True, check=False)
            assert drawn.returncode == 0 and "completed / hangup, certain" in drawn.stdout, drawn
            assert process.poll() is None
            busy = re.search(r"^  (.* send .*) tests/captures/out-486.jsonl$", shown, re.MULTILINE)[1]
            advised = subprocess.run(f"{busy} '{BUSY}'", shell=True, cwd=clone, env=daemons.environment(keys=False), timeout=60, capture_output=True,
                                     text=True, check=False)
            assert advised.returncode == 0, advised.stderr
            second = subprocess.run([clone / "scripts/run.sh"], env=daemons.environment({"OUTCOMED_LISTEN": f"127.0.0.1:{port}"}), timeout=60,
                                    capture_output=True, text=True, check=False)
            assert second.returncode == 2
            assert f"listening on 127.0.0.1:{port} already" in second.stderr
        finally:
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
            rest = process.communicate(timeout=30)[0].decode()
        assert process.returncode == 0, rest
    assert stat.S_IMODE((clone / "outcomed.db").stat().st_mode) & 0o077 == 0


def test_make_run_with_own_keys_shows_no_banner(clone):
    process, shown = run_script(clone, free_port(), {"LIVEKIT_API_KEY": "APIown", "LIVEKIT_API_SECRET": SECRET})
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert "DEMO KEY" not in shown
    assert '"outcome": "completed"' in shown, shown


def test_make_run_ends_when_the_daemon_cannot_start(clone):
    process, shown = run_script(clone, free_port(), {"OUTCOMED_MAX_BODY": "nonsense"})
    process.communicate(timeout=30)
    assert process.returncode == 2
    assert "OUTCOMED_MAX_BODY=nonsense" in shown


# ---- packages ----

@pytest.fixture
def packages(tmp_path):
    """packages(known, *words) runs install-packages.sh where dpkg-query knows only `known`; apt-get and sudo write down how they are called."""
    tools = tmp_path / "tools"
    tools.mkdir()
    called = tmp_path / "called"

    def run_it(known: str, *words: str) -> tuple[subprocess.CompletedProcess, str]:
        called.write_text("")
        scripts = {"dpkg-query": f"printf '{known}'; exit 1", "apt-get": f'echo "apt-get $*" >> "{called}"', "sudo": '"$@"'}
        for name, text in scripts.items():
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
        done = subprocess.run([ROOT / "scripts/install-packages.sh", *words], env={"PATH": f"{tools}:{os.environ['PATH']}"}, capture_output=True,
                              text=True, timeout=60, check=False)
        return done, called.read_text()

    return run_it


def section(name: str) -> list[str]:
    text = (ROOT / "packaging/debian-packages.txt").read_text()
    found = re.search(rf"^\[{name}\]\n((?:[^\[].*\n)*)", text, re.MULTILINE)[1]
    return [line for line in found.splitlines() if line and not line.startswith("#")]


def test_packages_that_are_there_are_left_alone(packages):
    known = "".join(f"{name} installed\\n" for name in section("build"))
    for words in (("build",), ("--check", "build")):
        done, called = packages(known, *words)
        assert (done.returncode, done.stdout, done.stderr, called) == (0, "", "", "")


def test_check_names_what_is_missing_and_make_deps(packages):
    known = "".join(f"{name} installed\\n" for name in section("build") if name not in ("meson", "libpq-dev"))
    done, called = packages(known + "meson config-files\\n", "--check", "build")
    assert (done.returncode, called) == (1, "")
    assert done.stderr == "These Debian packages are missing: meson libpq-dev. Run 'make deps' (as root or with sudo), then try again.\n"


def test_install_says_first_what_it_installs(packages):
    known = "".join(f"{name} installed\\n" for name in section("build"))
    done, called = packages(known, "run")
    assert done.returncode == 0, done.stderr
    wanted = " ".join(section("run"))
    assert done.stdout == f"About to install these Debian packages with apt-get: {wanted}\n"
    assert re.fullmatch(rf"apt-get update .*\napt-get install .* {re.escape(wanted)}\n", called)


def test_sections_stand_on_each_other(packages):
    for name, sections in (("run", ("build", "run")), ("test", ("build", "run", "test")), ("bench", ("build", "run", "test", "bench")),
                           ("dev", ("build", "run", "test", "dev"))):
        done, _ = packages("", "--check", name)
        missing = re.search(r"missing: (.*)\. Run", done.stderr)[1].split()
        assert missing == [package for part in sections for package in section(part)]
