"""What we start ends with us, also when pytest itself is killed."""

import ctypes
import fcntl
import os
import signal
import socket
from collections.abc import Callable, Sequence

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent(number: signal.Signals = signal.SIGKILL):
    """For Popen's preexec_fn: the kernel sends this signal when the thread that started the process is gone. Start from the main thread."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number))

    return prepare


def pass_sockets(sockets: Sequence[socket.socket], then: Callable[[], None]):
    """For Popen's preexec_fn with close_fds=False: these become descriptors 3, 4 and so on of the child (sd_listen_fds(3))."""
    numbers = [s.fileno() for s in sockets]

    def prepare() -> None:
        high = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3 + len(numbers)) for number in numbers]  # out of the way first
        for at, number in enumerate(high, 3):
            os.dup2(number, at)
        then()

    return prepare
