"""A daemon under strace, and its system calls as the operations that support/disk.py judges.

The order of strace's lines is that of what it saw: a call's entry before anything that the call could have caused, its end before anything
that waited for it. A call that another thread's line interrupted stands in two pieces, which are put together here: a write counts where it
ended, a sync where it began and where it ended, a send where it began. Descriptors are followed from the calls that made them."""

import functools
import os
import pathlib
import re
import shutil
import subprocess

from support.disk import Operation

CALLS = ("open,openat,creat,close,accept,accept4,connect,write,pwrite64,writev,pwritev,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,"
         "unlinkat,sendto,sendmsg,recvfrom,lseek")
_LINE = re.compile(r"(\d+) +(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)", re.DOTALL)
_NAME = re.compile(r'(?:(\d+|AT_FDCWD), )?"((?:\\x[0-9a-f]{2})*)"')
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


@functools.cache
def refusal() -> str | None:
    """Why nothing can be traced here; None where it can."""
    if shutil.which("strace") is None:
        return "there is no strace"
    done = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else "strace may not trace here: " + done.stderr.strip()[-200:]


def command(output: pathlib.Path) -> list[str]:
    return ["strace", "-f", "-xx", "-s", "1000000", "-e", "trace=" + CALLS, "-e", "signal=none", "-o", str(output)]


def strings(text: str) -> list[bytes]:
    found = []
    for quoted, cut in _STRING.findall(text):
        assert not cut, "strace cut a string off"
        found.append(bytes.fromhex(quoted.replace("\\x", "")))
    return found


def events(text: str):
    """(thread, call, arguments, result) of each call's beginning (result None) and end, in the order in which they were seen."""
    begun: dict[str, str] = {}
    for line in text.splitlines():
        pid, rest = _LINE.fullmatch(line).groups()
        if rest.startswith(("+++", "---")):
            continue
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
            name, arguments = begun[pid].split("(", 1)
            yield int(pid), name, arguments, None
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>", rest)
        if resumed:
            rest = begun.pop(pid) + rest[resumed.end():]
        call = _CALL.match(rest)
        if call is None:
            continue  # a thread that ended within a call
        name, arguments, result = call.groups()
        if not resumed:
            yield int(pid), name, arguments, None
        if result != "?":
            yield int(pid), name, arguments, int(result)


class Reader:
    """Operations on the files below `folder`, answers on accepted sockets, and what was said on connections that the daemon made."""

    def __init__(self, folder: pathlib.Path, present: set[str]) -> None:
        self._folder, self._present = folder, set(present)
        self._files: dict[int, str] = {}
        self._at: dict[int, int] = {}  # where the next write without an offset goes
        self._size: dict[str, int] = {}
        self._accepted: set[int] = set()
        self._connected: set[int] = set()
        self._thread = 0
        self.operations: list[Operation] = []

    def read(self, text: str) -> list[Operation]:
        for self._thread, name, arguments, result in events(text):
            if result is None:
                self._began(name, arguments)
            else:
                self._ended(name, arguments, result)
        return self.operations

    def _add(self, kind: str, path: str, *numbers, data: bytes = b"") -> None:
        self.operations.append(Operation(kind, path, tuple(numbers), data))

    def _paths(self, arguments: str) -> list[str | None]:
        """The names among the arguments, each with the directory before it if there is one; None where it is not ours."""
        found: list[str | None] = []
        for directory, quoted in _NAME.findall(arguments):
            name = bytes.fromhex(quoted.replace("\\x", "")).decode(errors="replace")
            path = os.path.join(self._files.get(int(directory), "") if directory.isdigit() else "", name)
            found.append(path if path.startswith(str(self._folder)) else None)
        return found

    def _began(self, name: str, arguments: str) -> None:
        number = re.match(r"\d+", arguments)
        fd = int(number[0]) if number else -1
        if name in ("fsync", "fdatasync") and fd in self._files:
            self._add("sync", self._files[fd], self._thread)
        elif name in ("write", "writev", "sendto", "sendmsg") and fd in self._accepted:
            self._add("send", str(fd), data=b"".join(strings(arguments)))
        elif name in ("write", "sendto") and fd in self._connected:
            self._add("tell", str(fd), data=b"".join(strings(arguments)))

    def _ended(self, name: str, arguments: str, result: int) -> None:
        if name in ("open", "openat", "creat") and result >= 0:
            self._opened(arguments, result)
        elif name in ("accept", "accept4") and result >= 0:
            self._accepted.add(result)
        elif name in ("rename", "renameat", "renameat2", "unlink", "unlinkat") and result == 0:
            self._renamed(name, arguments)
        else:
            number = re.match(r"(\d+)", arguments)
            if number:
                self._done(name, int(number[0]), arguments, result)

    def _opened(self, arguments: str, fd: int) -> None:
        path = self._paths(arguments)[0]
        self._forget(fd)
        if path is None:
            return
        self._files[fd] = path
        if "O_CREAT" in arguments and path not in self._present:
            self._add("create", path)
        elif "O_TRUNC" in arguments:
            self._add("truncate", path, 0)
        self._present.add(path)
        if path not in self._size:
            self._size[path] = os.path.getsize(path) if os.path.exists(path) and "O_CREAT" not in arguments else 0
        self._at[fd] = self._size[path] if "O_APPEND" in arguments else 0

    def _renamed(self, name: str, arguments: str) -> None:
        names = self._paths(arguments)
        if names[0] is None:
            return
        self._present.discard(names[0])
        if name.startswith("unlink"):
            self._add("unlink", names[0])
        else:
            self._add("rename", names[0], names[1])
            self._present.add(names[1])

    def _forget(self, fd: int) -> None:
        self._files.pop(fd, None)
        self._accepted.discard(fd)
        self._connected.discard(fd)

    def _done(self, name: str, fd: int, arguments: str, result: int) -> None:
        if name == "close":
            self._forget(fd)
        elif name == "connect":
            if "AF_INET" in arguments:
                self._connected.add(fd)
        elif name == "recvfrom" and fd in self._connected and result > 0:
            self._add("hear", str(fd), data=strings(arguments)[0][:result])
        elif fd in self._files:
            self._on_file(name, self._files[fd], fd, arguments, result)

    def _on_file(self, name: str, path: str, fd: int, arguments: str, result: int) -> None:
        if name in ("fsync", "fdatasync"):
            self._add("synced", path, self._thread, result)
        elif name == "ftruncate" and result == 0:
            self._add("truncate", path, int(arguments.rsplit(", ", 1)[1]))
        elif name == "lseek" and result >= 0:
            self._at[fd] = result
        elif name in ("write", "writev", "pwrite64", "pwritev") and result > 0:
            offset = int(arguments.rsplit(", ", 1)[1]) if name.startswith("p") else self._at[fd]
            self._add("write", path, offset, data=b"".join(strings(arguments))[:result])
            self._size[path] = max(self._size.get(path, 0), offset + result)
            if not name.startswith("p"):
                self._at[fd] = offset + result
