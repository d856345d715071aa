"""What a service manager does, made small: it holds the listening socket over restarts and hears what the service says (sd_notify)."""

import pathlib
import socket
import threading
import time


def listening(family: int = socket.AF_INET, address="127.0.0.1") -> socket.socket:
    """Inherited by nobody unless passed."""
    s = socket.socket(family, socket.SOCK_STREAM)
    s.bind((address, 0) if family != socket.AF_UNIX else str(address))
    s.listen(1024)
    return s


class Ear:
    """NOTIFY_SOCKET of one service: its messages, line by line, with the moment they came."""

    def __init__(self, path: pathlib.Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.05)
        self.env = {"NOTIFY_SOCKET": str(path)}
        self.heard: list[tuple[float, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                message = self._socket.recv(65536).decode()
            except TimeoutError:
                continue
            self.heard += [(time.monotonic(), line) for line in message.splitlines()]

    def lines(self, prefix: str = "") -> list[str]:
        return [line for _, line in list(self.heard) if line.startswith(prefix)]

    def wait_for(self, line: str, count: int = 1, timeout_s: float = 20) -> None:
        deadline = time.monotonic() + timeout_s
        while len(self.lines(line)) < count:
            assert time.monotonic() < deadline, f"{line} was said {len(self.lines(line))} times of {count}: {self.lines()[-10:]}"
            time.sleep(0.01)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()
