"""What would be on the disk had the power failed: worked out from a record of what a daemon did to its files.

kill -9 leaves the page cache to the kernel, so nothing that it does shows whether a 200 waited for the disk. Here the record is played to a
disk that is as bad as POSIX lets it be: what was written is there only once a sync of that very file, begun after the write, has ended well; a
name is there only once its directory was synced; what a failed sync was to bring is gone, though whoever reads the file sees it still
(that is what Linux does: the pages are marked clean), and only writing it again can bring it back.

The record is a list of operations, made by tests/faults/inject.c or read off strace's output (support/trace.py): two witnesses, one judge."""

import dataclasses
import pathlib
import re

ACKNOWLEDGED = re.compile(rb'HTTP/1\.1 200.*"event_id":"([^"]+)"', re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Operation:
    kind: str  # write, sync, synced, truncate, create, unlink, rename, send, tell, hear
    path: str = ""
    numbers: tuple = ()
    data: bytes = b""


def read_record(path: pathlib.Path) -> list[Operation]:
    """The record of inject.c."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        end = data.index(b"\n", at)
        kind, name, *rest, length = data[at:end].decode().split(" ")
        body = data[end + 1:end + 1 + int(length)]
        assert data[end + 1 + int(length)] == ord("\n"), data[at:end]
        found.append(Operation(kind, name, tuple(r if kind == "rename" else int(r) for r in rest), body))
        at = end + 2 + int(length)
    return found


class File:
    """As it would read after the power was back: `sure`; and what is not sure yet."""

    def __init__(self, content: bytes = b"") -> None:
        self.sure = bytearray(content)
        self.waiting: list[Operation] = []
        self.syncing: dict[int, list[Operation]] = {}  # by thread, what its sync that is under way covers

    def begin_sync(self, thread: int) -> None:
        self.syncing[thread] = list(self.waiting)

    def end_sync(self, thread: int, ok: bool) -> None:
        for operation in self.syncing.pop(thread):
            if operation not in self.waiting:
                continue  # another sync had it
            self.waiting.remove(operation)
            if not ok:
                continue
            if operation.kind == "truncate":
                size = operation.numbers[0]
                del self.sure[size:]
                self.sure.extend(bytes(size - len(self.sure)))
            else:
                at, n = operation.numbers[0], len(operation.data)
                self.sure.extend(bytes(max(0, at + n - len(self.sure))))
                self.sure[at:at + n] = operation.data


class Disk:
    """`folder` as it is when the record begins."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.names: dict[str, File] = {str(p): File(p.read_bytes()) for p in folder.rglob("*") if p.is_file()}  # as a reader sees them
        self.sure_names = dict(self.names)
        self._renaming: dict[str, list] = {}  # by directory, what its next sync makes sure
        self.acknowledged: set[str] = set()

    def play(self, operation: Operation) -> str | None:
        """Gives the event id that the operation acknowledges."""
        kind, path = operation.kind, operation.path
        if path.endswith("-shm"):
            return None  # SQLite makes it anew from the log
        if kind == "send":
            found = ACKNOWLEDGED.search(operation.data)
            if found:
                self.acknowledged.add(found[1].decode())
                return found[1].decode()
        elif kind in ("sync", "synced") and path not in self.names:
            self._sync_folder(kind, path, operation)
        elif kind == "sync":
            self.names[path].begin_sync(operation.numbers[0])
        elif kind == "synced":
            self.names[path].end_sync(operation.numbers[0], operation.numbers[1] == 0)
        elif kind in ("write", "truncate"):
            self.names[path].waiting.append(operation)
        elif kind == "create":
            self._name(path, File())
        elif kind == "unlink":
            self._name(path, None)
        elif kind == "rename":
            file = self.names[path]
            self._name(operation.numbers[0], file)
            self._name(path, None)
        return None

    def _name(self, path: str, file: File | None) -> None:
        if file is None:
            self.names.pop(path, None)
        else:
            self.names[path] = file
        self._renaming.setdefault(str(pathlib.Path(path).parent), []).append((path, file))

    def _sync_folder(self, kind: str, path: str, operation: Operation) -> None:
        if kind == "sync" or operation.numbers[1] != 0:
            return
        for name, file in self._renaming.pop(path.rstrip("/"), []):
            if file is None:
                self.sure_names.pop(name, None)
            else:
                self.sure_names[name] = file

    def image(self, folder: pathlib.Path, to: pathlib.Path) -> None:
        """Writes what is sure of `folder` to the empty folder `to`."""
        for name, file in self.sure_names.items():
            path = to / pathlib.Path(name).relative_to(folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.sure)


class Server:
    """PostgreSQL as the daemon sees it: what it was told is sure once the answer to a COMMIT that was sent after it has been read."""

    def __init__(self) -> None:
        self._told: dict[str, bytes] = {}
        self.sure = b""
        self.acknowledged: set[str] = set()

    def play(self, operation: Operation) -> str | None:
        if operation.kind == "tell":
            self._told[operation.path] = self._told.get(operation.path, b"") + operation.data
        elif operation.kind == "hear" and b"COMMIT\0" in operation.data:
            self.sure += self._told.pop(operation.path, b"")
        elif operation.kind == "send":
            found = ACKNOWLEDGED.search(operation.data)
            if found:
                self.acknowledged.add(found[1].decode())
                return found[1].decode()
        return None
