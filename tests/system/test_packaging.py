"""The units that are installed: right by systemd's own judgement, hardened, and complete."""

import pathlib
import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.unit

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORST_EXPOSURE = 2.0  # systemd calls everything under 2 "OK" or better


@pytest.fixture
def units(tmp_path, outcomed_binary) -> pathlib.Path:
    """Both units, as installed, but for the program's place."""
    program = tmp_path / "outcomed"
    program.symlink_to(outcomed_binary)
    (tmp_path / "outcomed.service").write_text((ROOT / "packaging/outcomed.service.in").read_text().replace("@bindir@", str(tmp_path)))
    shutil.copy(ROOT / "packaging/outcomed.socket", tmp_path)
    return tmp_path


def analyze(folder: pathlib.Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(["systemd-analyze", "--no-pager", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False,
                          env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{folder}:", "LC_ALL": "C.UTF-8"})


def test_systemd_finds_nothing_wrong_with_the_units(units):
    done = analyze(units, "verify", "--man=no", "./outcomed.service", "./outcomed.socket")
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "outcomed" in line]
    assert done.returncode == 0 and ours == [], done


def test_the_service_is_hardened(units, say):
    done = analyze(units, "security", "--offline=true", f"--threshold={int(WORST_EXPOSURE * 10)}", "./outcomed.service")
    shown = re.search(r"Overall exposure level for outcomed\.service: ([0-9.]+) (\w+)", done.stdout)
    assert shown and float(shown[1]) <= WORST_EXPOSURE and done.returncode == 0, done.stdout + done.stderr
    say(f"systemd-analyze security: {shown[1]} {shown[2]}")


def settings(path: pathlib.Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))


def test_the_service_has_a_user_of_its_own_and_writes_nowhere_but_in_its_state(units):
    service = settings(units / "outcomed.service")
    assert service["DynamicUser"] == "yes" and service["ProtectSystem"] == "strict" and service["StateDirectory"] == "outcomed"
    assert service["WorkingDirectory"] == "/var/lib/" + service["StateDirectory"], "where a relative path of the database and the spool lies"
    assert "ReadWritePaths" not in service
    assert service["Type"] == "notify" and int(service["WatchdogSec"]) >= 60 and service["Requires"] == "outcomed.socket"


def test_the_socket_listens_where_outcomed_would_by_itself(units, outcomed_binary):
    shown = subprocess.run([outcomed_binary, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"--listen .*?Default: (\S+)\.\n", shown, re.DOTALL)[1] == settings(units / "outcomed.socket")["ListenStream"]


def test_make_install_puts_both_units(units, build_folder, tmp_path):
    done = subprocess.run(["meson", "install", "-C", build_folder, "--no-rebuild", "--quiet", "--destdir", tmp_path / "root"], capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 0, done
    installed = {path.name for path in (tmp_path / "root").rglob("*") if path.is_file()}
    assert {"outcomed", "outcomed.1", "outcomed.service", "outcomed.socket"} <= installed
