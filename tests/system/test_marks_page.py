"""docs/MARKS.md holds as written: its commands are run, in order, and print what the page says."""

import os
import pathlib

import pytest

from support import console, signing

pytestmark = pytest.mark.integration
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "MARKS.md"


def test_every_command_of_the_marks_page_prints_what_the_page_says(daemon, outcomed_binary, tmp_path, say):
    (tmp_path / "captures").symlink_to(ROOT / "tests" / "captures")
    env = {"PATH": f"{outcomed_binary.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8",
           "LIVEKIT_API_KEY": signing.KEY, "LIVEKIT_API_SECRET": signing.SECRET}
    shell = console.Shell(tmp_path, env)
    real = f"127.0.0.1:{daemon.port}"
    ran = 0
    try:
        for step in console.steps(PAGE):
            command = step.command.replace("127.0.0.1:5000", real).replace("outcomed send ", f"outcomed send --url http://{real}/api/webhooks/call_completed ")
            printed = shell.run(command)
            assert console.pattern(step.expected).fullmatch(printed), (
                f"{PAGE.name}:{step.line}: $ {step.command}\nthe page says:\n{step.expected}\nit printed:\n{printed}")
            ran += 1
    finally:
        shell.close()
    assert ran >= 9
    say(f"docs/MARKS.md: {ran} commands printed what the page says")
