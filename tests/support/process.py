"""What we start ends with us, also when pytest itself is killed."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent(number: signal.Signals = signal.SIGKILL):
    """For Popen's preexec_fn: the kernel sends this signal when the thread that started the process is gone. Start from the main thread."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number))

    return prepare
