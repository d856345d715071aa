"""Runs the ```console blocks of a Markdown page in one shell and holds their output to the page's.

A line that begins with "$ " is a command ("> " continues it); the lines after it are what it prints. In these, "…" stands for any text
within a line, and a line that is only "…" for any number of lines. A block whose first line is "# not run: REASON" is left out."""

import dataclasses
import pathlib
import re
import subprocess
import threading
import queue


@dataclasses.dataclass
class Step:
    line: int
    command: str
    expected: list[str]


def steps(page: pathlib.Path) -> list[Step]:
    found: list[Step] = []
    inside = skipped = False
    for number, text in enumerate(page.read_text().splitlines(), 1):
        if not inside:
            inside = text.strip() == "```console"
            skipped = False
        elif text.strip() == "```":
            inside = False
        elif text.startswith("# not run:"):
            skipped = True
        elif skipped:
            continue
        elif text.startswith("$ "):
            found.append(Step(number, text[2:], []))
        elif text.startswith("> ") and found and not found[-1].expected:
            found[-1].command += "\n" + text[2:]
        else:
            assert found, f"{page}:{number}: output before any command"
            found[-1].expected.append(text)
    return found


def pattern(expected: list[str]) -> re.Pattern:
    parts = []
    for text in expected:
        if text.strip() == "…":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(".*".join(re.escape(piece) for piece in text.split("…")) + r"\n")
    return re.compile("".join(parts))


class Shell:
    """One bash that keeps its variables and folder between commands; ends what it started in the background."""

    def __init__(self, folder: pathlib.Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(["bash", "--norc", "--noprofile"], cwd=folder, env=env, text=True, bufsize=1,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def run(self, command: str, timeout: float = 60) -> str:
        mark = "--- done ---"
        self._process.stdin.write(f"{command}\nprintf '%s\\n' '{mark}'\n")
        self._process.stdin.flush()
        printed = []
        while True:
            line = self._lines.get(timeout=timeout)
            if line is None or line.rstrip("\n") == mark:
                return "".join(printed)
            if line.rstrip("\n").endswith(mark):  # the command's last line had no end
                printed.append(line.rstrip("\n").removesuffix(mark) + "\n")
                return "".join(printed)
            printed.append(line)

    def close(self) -> None:
        self._process.stdin.write("trap - EXIT; kill $(jobs -p) 2>/dev/null; wait; exit\n")
        self._process.stdin.close()
        self._process.wait(30)
