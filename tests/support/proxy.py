"""A TCP proxy between outcomed and PostgreSQL that fails as networks do: refuses, cuts with a reset, falls silent without one, delays, and breaks
off around a COMMIT."""

import contextlib
import select
import socket
import struct
import threading
import time
import urllib.parse

COMMIT = b"\0oc_COMMIT\0"  # the Bind message of the prepared statement: an empty portal's name, the statement's


class _Pair:
    """A connection of outcomed's and the one behind it."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far, self.born = near, far, time.monotonic()

    def end(self) -> None:
        for s in (self.near, self.far):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        with contextlib.suppress(OSError):
            self.near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end()


class Proxy:
    def __init__(self, host: str, port: int) -> None:
        self.to = (host, port)
        self._open, self._silent, self._delay_s = True, False, 0.0
        self._cut_commits, self._forward_commit = 0, False
        self.commits_cut = 0
        self._lock, self._closing = threading.Lock(), False
        self._pairs: set[_Pair] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @classmethod
    def before(cls, url: str) -> tuple["Proxy", str]:
        """A proxy to the URL's server, and the URL that leads through it."""
        parts = urllib.parse.urlsplit(url)
        proxy = cls(parts.hostname, parts.port)
        return proxy, parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}").geturl()

    # ---- what it does to the network ----

    def cut(self) -> None:
        """Ends every connection, and refuses new ones until mend()."""
        with self._lock:
            self._open = False
            pairs = list(self._pairs)
        for pair in pairs:
            pair.end()

    def silence(self) -> None:
        """Passes nothing on from now on, and says nothing: a cable that was pulled. Connections are still taken, as by a router's queue."""
        with self._lock:
            self._silent = True

    def mend(self) -> None:
        """As new. What was under way while it was silent is gone for good: those connections are reset, as late packets would find them."""
        with self._lock:
            was_silent, self._silent, self._open, self._delay_s, self._cut_commits = self._silent, False, True, 0.0, 0
            pairs = list(self._pairs)
        for pair in pairs if was_silent else ():
            pair.reset()

    def delay(self, seconds: float) -> None:
        """Each piece of data takes so much longer, each way."""
        with self._lock:
            self._delay_s = seconds

    def cut_commits(self, count: int, arrives: bool) -> None:
        """The next `count` COMMITs end their connection: those that arrive are carried out and their answer is lost, the others never are."""
        with self._lock:
            self._cut_commits, self._forward_commit = count, arrives

    # ---- how ----

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                is_open = self._open and not self._closing
            if not is_open:
                near.close()
                continue
            try:
                far = socket.create_connection(self.to, timeout=10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            pair = _Pair(near, far)
            with self._lock:
                self._pairs.add(pair)
            threading.Thread(target=self._pump, args=(pair,), daemon=True).start()

    def _takes_commit(self, data: bytes) -> bool:
        with self._lock:
            if self._cut_commits == 0 or COMMIT not in data:
                return False
            self._cut_commits -= 1
            self.commits_cut += 1
            return True

    def _pump(self, pair: _Pair) -> None:
        with contextlib.suppress(OSError, ValueError):
            while True:
                if self._silent:
                    time.sleep(0.02)
                    if pair.near.fileno() < 0 or self._closing:
                        break
                    continue
                ready, _, _ = select.select([pair.near, pair.far], [], [], 0.05)
                if self._silent:
                    continue
                if not all(self._pass_on(pair, s) for s in ready):
                    break
        pair.end()
        with self._lock:
            self._pairs.discard(pair)
        pair.near.close()
        pair.far.close()

    def _pass_on(self, pair: _Pair, source: socket.socket) -> bool:
        data = source.recv(65536)
        if not data:
            return False
        if self._delay_s:
            time.sleep(self._delay_s)
        if source is pair.near and self._takes_commit(data):
            if self._forward_commit:
                pair.far.sendall(data)
                select.select([pair.far], [], [], 5)  # it is done once the first answers come
                time.sleep(0.05)
            return False
        (pair.far if source is pair.near else pair.near).sendall(data)
        return True

    def close(self) -> None:
        with self._lock:
            self._closing = True
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
