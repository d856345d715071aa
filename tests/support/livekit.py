"""A stand-in for LiveKit's server API: answers as the recorded server does (tests/captures/api), checks tokens and grants as LiveKit does, and fails
on demand in the ways HTTP can. Loopback only."""

import base64
import collections
import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time

from support import signing

REPLY_HEADERS = "Content-Type: application/json\r\nVary: Origin\r\n"


def http_date(at: float | None = None) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() if at is None else at))


def decode_part(part: str) -> dict:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


Request = collections.namedtuple("Request", "at method body claims headers")


class Refusal(Exception):
    def __init__(self, status: int, body: str, content_type: str = "application/json") -> None:
        super().__init__(body)
        self.status, self.body, self.content_type = status, body, content_type


class LiveKit:
    """`rooms` maps room names to SIDs; `participants[name]` is a list of ParticipantInfo or a function that gives one, or a whole body as text;
    `egresses` is a list of EgressInfo. `fault` (see FAULTS) breaks every request until it is None again, or until `fault_left` are used up."""

    def __init__(self, key: str = signing.KEY, secret: str = signing.SECRET, host: str = "127.0.0.1") -> None:
        self.keys = {key: secret}
        self.rooms: dict[str, str] = {}
        self.participants: dict[str, object] = {}
        self.egresses: list[dict] = []
        self.fault: str | None = None
        self.fault_left: int | None = None
        self.retry_after: str | None = None
        self.date_offset_s = 0.0
        self.requests: list[Request] = []
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    # ---- life ----

    def close(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for s in self._open:
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def cut(self) -> None:
        """Closes every connection that is open, as a restarted server or an impatient proxy does."""
        with self._lock:
            for s in self._open:
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)

    def asked(self, method: str | None = None) -> list[Request]:
        with self._lock:
            return [r for r in self.requests if method is None or r.method == method]

    def wait_asked(self, count: int, method: str | None = None, timeout_s: float = 10) -> list[Request]:
        deadline = time.monotonic() + timeout_s
        while len(self.asked(method)) < count:
            assert time.monotonic() < deadline, f"{len(self.asked(method))} requests instead of {count}"
            time.sleep(0.02)
        return self.asked(method)

    # ---- connections ----

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                s, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(s)
            thread = threading.Thread(target=self._serve, args=(s,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, s: socket.socket) -> None:
        try:
            with s, s.makefile("rb") as stream:
                while self._one(s, stream):
                    pass
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(s)

    def _one(self, s: socket.socket, stream) -> bool:
        line = stream.readline().decode("latin-1")
        if not line:
            return False
        if not line.startswith("POST /"):
            return False
        path = line.split(" ")[1]
        headers = {}
        while (header := stream.readline().decode("latin-1").strip()):
            name, value = header.split(":", 1)
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", "0")))
        with self._lock:
            fault = self.fault
            if fault and self.fault_left is not None:
                self.fault_left -= 1
                if self.fault_left <= 0:
                    self.fault, self.fault_left = None, None
        try:
            status, text, content_type = 200, self._answer(line.split(" ")[0], path, headers, body), "application/json"
        except Refusal as refusal:
            status, text, content_type = refusal.status, refusal.body, refusal.content_type
        if fault:
            return FAULTS[fault](self, s, text)
        self._send(s, status, text, content_type)
        return True

    def _send(self, s: socket.socket, status: int, text: str, content_type: str = "application/json", more: str = "", length: int | None = None) -> None:
        data = text.encode()
        head = (f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nVary: Origin\r\nDate: {http_date(time.time() + self.date_offset_s)}\r\n"
                f"Content-Length: {len(data) if length is None else length}\r\n{more}\r\n")
        s.sendall(head.encode() + data)

    # ---- what LiveKit does ----

    def _answer(self, verb: str, path: str, headers: dict[str, str], body: bytes) -> str:
        method = path.removeprefix("/twirp/livekit.")
        claims = self._claims(headers)
        request = json.loads(body)
        with self._lock:
            self.requests.append(Request(time.time(), method, request, claims, headers))
        assert verb == "POST" and headers["content-type"] == "application/json"
        video = claims.get("video", {})
        if method == "RoomService/ListRooms":
            self._require(video.get("roomList"))
            return self._list_rooms(request)
        if method == "RoomService/ListParticipants":
            self._require(video.get("roomAdmin") and video.get("room") == request["room"])
            return self._list_participants(request["room"])
        if method == "Egress/ListEgress":
            self._require(video.get("roomRecord"))
            name = request.get("room_name", "")
            items = [e for e in self.egresses if not name or e["room_name"] == name]
            return json.dumps({"items": items, "next_page_token": None})
        raise Refusal(404, json.dumps({"code": "bad_route", "msg": f'no handler for path "{path}"', "meta": {"twirp_invalid_route": f"POST {path}"}}))

    def _claims(self, headers: dict[str, str]) -> dict:
        authorization = headers.get("authorization", "")
        if not authorization.startswith("Bearer "):
            raise Refusal(401, "invalid authorization header. Must start with Bearer ", "text/plain; charset=utf-8")
        head, payload, mac = authorization.removeprefix("Bearer ").split(".")
        claims = decode_part(payload)
        secret = self.keys.get(claims["iss"])
        if secret is None:
            raise Refusal(401, "invalid API key: " + claims["iss"], "text/plain; charset=utf-8")
        right = hmac.new(secret.encode(), f"{head}.{payload}".encode(), hashlib.sha256).digest()
        if decode_part(head)["alg"] != "HS256" or signing.base64url(right) != mac:
            raise Refusal(401, "invalid authorization token: token signature is invalid: signature is invalid", "text/plain; charset=utf-8")
        now = time.time() + self.date_offset_s
        if not claims["nbf"] - 60 <= now <= claims["exp"] + 60:
            raise Refusal(401, "invalid authorization token: token has invalid claims: token is expired", "text/plain; charset=utf-8")
        return claims

    @staticmethod
    def _require(granted) -> None:
        if not granted:
            raise Refusal(401, '{"code":"unauthenticated","msg":"permissions denied"}')

    def _list_rooms(self, request: dict) -> str:
        names = request.get("names")
        return json.dumps({"rooms": [{"sid": sid, "name": name, "empty_timeout": 5, "departure_timeout": 2, "max_participants": 0,
                                      "creation_time": str(int(time.time())), "turn_password": "throw-away", "metadata": "", "num_participants": 0,
                                      "active_recording": False, "version": None}
                                     for name, sid in self.rooms.items() if names is None or name in names]})

    def _list_participants(self, room: str) -> str:
        found = self.participants.get(room, [])
        if callable(found):
            found = found()
        return found if isinstance(found, str) else json.dumps({"participants": found})


def participant(event_participant: dict, **attributes) -> dict:
    """A webhook's participant as ListParticipants shows it: snake_case, defaults written out."""
    names = {"joinedAt": "joined_at", "joinedAtMs": "joined_at_ms", "disconnectReason": "disconnect_reason", "isPublisher": "is_publisher"}
    out = {"tracks": [], "metadata": "", "disconnect_reason": "UNKNOWN_REASON", "attributes": {}, "kind": "STANDARD"}
    out |= {names.get(k, k): v for k, v in event_participant.items()}
    out["attributes"] = out["attributes"] | attributes
    return out


# ---- faults: what is done to the connection instead of answering; True keeps it ----

def _hang(server: LiveKit, s: socket.socket, text: str) -> bool:
    server._stopping.wait(60)
    return False


def _drip(server: LiveKit, s: socket.socket, text: str) -> bool:
    s.sendall(f"HTTP/1.1 200 OK\r\n{REPLY_HEADERS}Content-Length: {len(text)}\r\n\r\n".encode())
    for byte in text.encode():
        if server._stopping.wait(0.5):
            break
        s.sendall(bytes([byte]))
    return False


def _status(status: int, body: str = "", more: str = "", content_type: str = "text/plain"):
    def act(server: LiveKit, s: socket.socket, text: str) -> bool:
        extra = more + (f"Retry-After: {server.retry_after}\r\n" if server.retry_after else "")
        server._send(s, status, body, content_type, extra)
        return True
    return act


def _body(body: str, content_type: str = "application/json"):
    def act(server: LiveKit, s: socket.socket, text: str) -> bool:
        server._send(s, 200, body, content_type)
        return True
    return act


def _truncated(server: LiveKit, s: socket.socket, text: str) -> bool:
    server._send(s, 200, text[:-2] or "{", length=len(text))
    return False


def _truncated_chunks(server: LiveKit, s: socket.socket, text: str) -> bool:
    s.sendall(f"HTTP/1.1 200 OK\r\n{REPLY_HEADERS}Transfer-Encoding: chunked\r\n\r\n{len(text):x}\r\n{text}\r\n".encode())
    return False


def _no_length(server: LiveKit, s: socket.socket, text: str) -> bool:
    s.sendall(f"HTTP/1.1 200 OK\r\n{REPLY_HEADERS}\r\n{text[:len(text) // 2]}".encode())
    return False


def _huge(server: LiveKit, s: socket.socket, text: str) -> bool:
    size = 9 << 20
    s.sendall(f"HTTP/1.1 200 OK\r\n{REPLY_HEADERS}Content-Length: {size}\r\n\r\n".encode() + b'{"participants":[' + b" " * (size - 19) + b"]}")
    return False


def _closed(server: LiveKit, s: socket.socket, text: str) -> bool:
    return False


def _not_http(server: LiveKit, s: socket.socket, text: str) -> bool:
    s.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    return False


FAULTS = {
    "hang": _hang,
    "drip": _drip,
    "301": _status(301, more="Location: http://127.0.0.1:1/elsewhere\r\n"),
    "302": _status(302, more="Location: /twirp/livekit.RoomService/ListRooms\r\n"),
    "304": _status(304),
    "400": _status(400, '{"code":"malformed","msg":"the json request could not be decoded"}', content_type="application/json"),
    "401": _status(401, "invalid API key"),
    "403": _status(403, "forbidden"),
    "404": _status(404, "<html>not found</html>", content_type="text/html"),
    "bad_route": _status(404, '{"code":"bad_route","msg":"no handler"}', content_type="application/json"),
    "429": _status(429),
    "500": _status(500, '{"code":"internal","msg":"oops"}', content_type="application/json"),
    "503": _status(503),
    "truncated": _truncated,
    "truncated_chunks": _truncated_chunks,
    "no_length": _no_length,
    "wrong_type": _body('{"rooms":[],"participants":[],"items":[]}', "text/html"),
    "garbage": _body("<html>welcome</html>"),
    "empty": _body(""),
    "empty_object": _body("{}"),
    "null": _body('{"rooms":null,"participants":null,"items":null}'),
    "error_in_200": _body('{"code":"internal","msg":"oops"}'),
    "broken_entry": _body('{"rooms":[{"name":"x"}],"participants":[{"sid":7}],"items":[{"egress_id":{}}]}'),
    "twice": _body('{"rooms":[],"rooms":[],"participants":[],"participants":[]}'),
    "huge": _huge,
    "closed": _closed,
    "not_http": _not_http,
}
