"""Disks that are full: a small file system where this user may mount one, and a limit on the size of a running process's files for everybody."""

import contextlib
import pathlib
import resource
import subprocess


class NoMount(Exception):
    """This user, or this container, may not mount anything."""


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, size_kib: int):
    """A tmpfs of that size at `folder`, which is made; it is unmounted afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kib}k,mode=0700", "outcomed-test", folder], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoMount(done.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: pathlib.Path) -> pathlib.Path:
    """Takes what room is left there with one file, which is given."""
    path = folder / "fills-the-disk"
    with path.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while out.write(bytes(65536)) == 65536:
            pass
        while out.write(bytes(512)):
            pass
    return path


def limit_file_size(pid: int, size: int | None) -> None:
    """No file of that process grows beyond it (EFBIG); None takes the limit away."""
    unlimited = resource.RLIM_INFINITY
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (unlimited if size is None else size, unlimited))
