"""Arms the faults of tests/faults/inject.c in a running daemon, and finds its record."""

import ctypes
import dataclasses
import mmap
import os
import pathlib

KINDS = ("write", "sync", "rename", "truncate", "open", "unlink", "read", "map", "memory", "net")
MODES = ("error", "short", "torn", "kill", "kill_torn")
_PATH_MAX = 4096


class _Control(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("mode", ctypes.c_int32), ("error", ctypes.c_int32), ("sticky", ctypes.c_int32),
                ("countdown", ctypes.c_int64), ("hits", ctypes.c_int64), ("calls", ctypes.c_int64 * len(KINDS)), ("folder", ctypes.c_char * _PATH_MAX)]


@dataclasses.dataclass(frozen=True)
class Fault:
    kind: str
    error: int = 0
    mode: str = "error"

    def __str__(self) -> str:
        how = "" if self.mode == "error" else " " + self.mode
        return f"{self.kind}{how}" + (f" {os.strerror(self.error)}" if self.error else "")


class Injector:
    """`folder`: below it files count. `environment()` is for the daemon."""

    def __init__(self, library: pathlib.Path, control_path: pathlib.Path, folder: pathlib.Path) -> None:
        assert library.exists(), f"{library} is not built"
        self._library, self._path = library, control_path
        self.record_path = control_path.with_suffix(".record")
        control_path.write_bytes(b"\0" * ctypes.sizeof(_Control))
        with control_path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._control = _Control.from_buffer(self._map)
        self._control.folder = str(folder).encode()
        self.disarm()

    def environment(self, record: bool = False, spool: str = "none") -> dict[str, str]:
        """Without a spool what the database refuses is seen at once; the spool is met by itself."""
        env = {"OUTCOMED_SPOOL": spool, "LD_PRELOAD": str(self._library), "INJECT_CONTROL": str(self._path),
               "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:verify_asan_link_order=0:allocator_may_return_null=1"}
        return env | ({"INJECT_RECORD": str(self.record_path)} if record else {})

    def arm(self, fault: Fault, n: int, sticky: bool = False) -> None:
        """The nth call of this kind from now on is to fail; sticky: and all after it."""
        self._control.kind = -1
        self._control.mode, self._control.error, self._control.sticky = MODES.index(fault.mode), fault.error, sticky
        self._control.countdown, self._control.hits = n, 0
        self._control.kind = KINDS.index(fault.kind)

    def disarm(self) -> None:
        self._control.kind = -1

    @property
    def hits(self) -> int:
        return self._control.hits

    def calls(self, kind: str) -> int:
        return self._control.calls[KINDS.index(kind)]

    def close(self) -> None:
        del self._control
        self._map.close()
