"""What each fuzz target begins with, made from the recorded deliveries (tests/captures) and from the forms that the documents name, and the words
that its dictionary has. Made anew for each run; nothing of it is committed."""

import base64
import hashlib
import hmac
import json
import pathlib
import struct

from support import captures

CORPUS = captures.FOLDER.parent / "fuzz" / "corpus"
SECRET = b"secret of thirty-two bytes, or more"  # tests/fuzz/jwt_mutator.h
NOW = 1795352846


def _shape(value: object) -> object:
    """What two deliveries must have in common to be one seed: names and types, and the few texts that a reader looks at."""
    if isinstance(value, dict):
        return tuple((k, _shape(v) if k not in ("event", "kind", "status", "disconnectReason", "sip.callStatus") else v) for k, v in value.items())
    if isinstance(value, list):
        return tuple(_shape(v) for v in value[:2])
    return type(value).__name__


def _deliveries() -> list[captures.Delivery]:
    """One of each shape, in the order of the files."""
    seen: dict[object, captures.Delivery] = {}
    for capture in captures.all_captures():
        for delivery in capture.deliveries:
            seen.setdefault(_shape(delivery.event), delivery)
    return list(seen.values())


def _bodies() -> list[bytes]:
    return [d.body for d in _deliveries()]


def _api_replies() -> list[bytes]:
    lines = (captures.FOLDER / "api" / "api-replies.jsonl").read_text().splitlines()
    polls = [json.loads(line) for path in sorted(captures.FOLDER.glob("*.polls.jsonl")) for line in path.read_text().splitlines()]
    replies = [json.loads(line) for line in lines] + polls
    texts = [r.get("body") or r.get("reply") or r.get("response") for r in replies]
    return [t.encode() if isinstance(t, str) else json.dumps(t).encode() for t in texts if t][:60]


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _token(claims: dict) -> bytes:
    signed = _base64url(b'{"alg":"HS256","typ":"JWT"}') + b"." + _base64url(json.dumps(claims, separators=(",", ":")).encode())
    return signed + b"." + _base64url(hmac.digest(SECRET, signed, "sha256"))


def _webhook_token(body: bytes) -> str:
    claims = {"iss": "devkey", "nbf": NOW - 400 * 86400, "exp": NOW + 4000 * 86400, "sha256": base64.b64encode(hashlib.sha256(body).digest()).decode()}
    signed = _base64url(b'{"alg":"HS256"}') + b"." + _base64url(json.dumps(claims).encode())
    return (signed + b"." + _base64url(hmac.digest(b"S3CR3T-of-the-keyring", signed, "sha256"))).decode()


def _jwt() -> list[bytes]:
    genuine = [d.headers["Authorization"].encode() + b"\n" + d.body for d in _deliveries()[:12] if "Authorization" in d.headers]
    body = b'{"event":"room_started","id":"EV_1"}'
    claim = base64.b64encode(hashlib.sha256(body).digest()).decode()
    ours = [_token({"iss": "devkey", "exp": NOW + 300, "nbf": NOW, "sha256": claim} | more) + b"\n" + body
            for more in ({}, {"sub": "acme"}, {"aud": ["a", "b"]}, {"exp": float(NOW)}, {"iat": NOW - 1})]
    return genuine + ours


def _access() -> list[bytes]:
    tokens = [_token({"sub": sub, "exp": NOW + 300} | more) for sub in ("acme", "t\u00e9nant", "") for more in ({}, {"nbf": NOW}, {"aud": "outcomed"}, {"iss": "app"})]
    return [t + end for t in tokens for end in (b"", b"\nacme")] + [b"the-service-token-of-this-target\nacme", b"\n", b"x\nacme"]


MARKS = [
    {"sipCallId": "SCL_1", "source": "dialer", "sipCode": 486, "sipText": "Busy Here"}, {"roomSid": "RM_1", "kind": "answered", "at": "2026-11-22T13:12:19.250Z"},
    {"roomName": "call-1", "answeredAt": "2026-11-22T13:12:19Z", "source": "agent"}, {"callId": "cl_1", "kind": "machine", "value": "voicemail"},
    {"roomSid": "RM_1", "kind": "note", "value": "caf\u00e9"}, {"roomSid": "RM_1", "kind": "transferred", "value": "+15550100", "source": "carrier"},
    {"event": "mark", "kind": "ended", "source": "watcher", "at": "2026-11-22T13:12:19.250Z", "withinMs": 250, "createdAt": 1795353139, "postedAt": "2026-11-22T13:12:20.000Z",
     "roomSid": "RM_1", "userId": "acme"}, {"roomSid": None, "roomName": "r", "kind": "human"},
]
VERDICT = {
    "outcome": "busy", "reason": "rejected_ambiguous", "confidence": "ambiguous", "alternatives": [{"outcome": "failed", "reason": "auth_or_forbidden"}], "fault": "unknown",
    "evidence": [{"eventId": "MK_0123456789abcdef0123456789abcdef", "says": "486"}], "rule": "rejected", "rules": 2, "rawOutcome": "busy", "explanation": "x", "answeredAt": None,
    "answeredAtEarliest": None, "answeredAtLatest": None, "answeredSource": None, "ringSeconds": None, "talkSeconds": None,
}


def _stored() -> list[bytes]:
    verdict = json.dumps(VERDICT).encode()
    facts = [p.read_bytes() for p in sorted((CORPUS / "facts").iterdir())]
    return [b"\x1e".join(parts) for f in facts for parts in ((f, verdict, verdict, b'{"outcomed":{"revision":1}}', b'{"id":"EV_1"}', b"call-1"), (f, b"", b"", b"null", b"[1]", b"\xc3\xa9"))]


TIMES = ["90d", "12h", "999999s", "1000000m", "+5d", "-9223372036854775808", "9223372036854775808", "2026-11-22T13:12:19Z", "2026-11-22T13:12:19.250Z", "2026-11-22t13:12:19.123456789+02:00", "2024-02-29T23:59:60-05:30", "1969-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z",
         "9999-12-31T23:59:59.999Z", "2026-11-22 13:12:19", "2026-11-22T13:12:19,5+0200", "2026-11-22T13:12:19+02", "1970-01-01T00:00:00+23:59", "2100-02-29T00:00:00Z"]
CONFIGS = [
    "LIVEKIT_API_KEY=devkey\nLIVEKIT_API_SECRET=secret\n--listen\n127.0.0.1:5000", "LIVEKIT_KEYS=a: b, c: d\n--max-body=8MiB\n--log-level\ndebug",
    "OUTCOMED_MAX_BODY=9223372036854775807G\nOUTCOMED_TENANT_SECRET=short", "--listen=unix:/run/outcomed.sock\n--database\npostgresql://u:p@127.0.0.1/x\n--migrate",
    "OUTCOMED_SERVICE_TOKEN=with blanks\n--yes\n--body\nfile", "--help", "--listen\n[::1]:0\n--request-timeout=0\n--nothing", "OUTCOMED_LISTEN=:5000\nOUTCOMED_ACCEPT_HMAC=maybe",
]
KEYRINGS = ["devkey: secret", "a: b, c: d", "a:b\nc: d:e\n\n", " a : b \r\n", "a:", ":b", "", "a: b,,c"]
URLS = ["user", "us:er\n%40x@y", "?application_name=x\n&password=y", "sqlite:outcomed.db", "postgresql:///calls", "a@b\n/c@d", "", "postgres://h1,h2:5433/x?target_session_attrs=read-write"]
TEXTS = ['{"outcome":"busy","confidence":"certain","reason":"a\\u0085b\\u202e"}', "call_completed", "+4915123456789", "a=b \"c\"\n level=info", "\u2028x\u0085y\u202e", "123456 1234567", "sip_+4930123456 in EV_8sQ2vRkY7Lmb", "2026-11-22T13:12:19 10.0.0.1 (030) 123-45 67", "0123456789abcdef 1b4e28ba-2fa1-11d2-883f-0016d3cca427", "\x1b[31mred", "日本語テキスト", "\ufffd\x7f"]
JSONS = ['{"a":[1,2.5e3,-0,"\\u00e9\\ud83d\\ude00",null,true,false,{}],"b":{"c":[[[]]]}}', "9223372036854775807", "-9223372036854775808", "1e19", "1.5e1", '"\\ud83d"', "[" * 64 + "]" * 64]
PEOPLE = ["+4930123456\nsip_+49-30-123456 or 004930123456", "004930123456\n14930123456", "acme\n{\"user_id\":\"acme\"}", "t\u00e9nant\n\tt\u00e9nant\t", "a\"b\\c%\n\"a\\\"b\"", "7\n17"]
QUERIES = ["/api/calls?user_id=acme&from=2026-11-22T13%3A12%3A19Z&limit=5", "/api/calls/RM_x/events?user_id=a+b&cursor=AQ", "/api/calls/%2F/outcome?user_id=%C3%A9", "\"1-ab\", W/\"x\""]


def _request(line: str, body: bytes = b"", headers: tuple[str, ...] = ()) -> bytes:
    fields = ("Host: localhost", *headers, *((f"Content-Length: {len(body)}",) if body else ()))
    return "\r\n".join([f"{line} HTTP/1.1", *fields, "", ""]).encode() + body


def _http() -> list[bytes]:
    """Requests as clients send them; the webhooks are signed for fuzz_http's key, for a long time."""
    receiver, get = "POST /api/webhooks/call_completed", _request("GET /livez")
    made = [_request(receiver, d.body, (f"Authorization: {_webhook_token(d.body)}", "Content-Type: application/webhook+json")) for d in _deliveries()[:25]]
    chunked = _request("POST /api/marks", b"", ("Transfer-Encoding: chunked",)) + b'5\r\n{"kin\r\n3;x=y\r\nd":\r\n0\r\nX-T: 1\r\n\r\n'
    made += [_request("POST /api/marks?user_id=acme", json.dumps(m).encode(), ("Idempotency-Key: k1",)) for m in MARKS]
    made += [_request(f"{method} {path}") for path in QUERIES for method in ("GET", "HEAD", "OPTIONS", "DELETE")]
    made += [get * 3, chunked, chunked + get, made[0] + get, get.replace(b"\r\n", b"\n"), get.replace(b"HTTP/1.1", b"HTTP/1.0"), get[:20], b"\r\n" + get, b"GET /\r\n\r\n",
             _request("GET /metrics", b"", ("Expect: 100-continue", "Connection: close", "If-None-Match: *", "X-Forwarded-For: 10.0.0.1, 1.2.3.4")),
             _request(receiver, b"{}", ("X-LiveKit-Signature: " + "0" * 64, "Origin: null")), _request("GET /openapi.json", b"", ("Content-Length: 0", "Content-Length: 1"))]
    return made


def _spool_record(sequence: int, payload: bytes) -> bytes:
    """As src/store/spool_work.h draws it, in a file of salt 0."""
    fields = b"".join(struct.pack("<H", len(f)) + f for f in (b"EV_1", b"livekit")) + struct.pack("<H", 0xffff)
    inside = bytes(32) + b"\0" + fields + payload
    head = b"\xffOCSPL\xfe\x01" + struct.pack("<QQqQ", sequence, 7, 1700000000000, len(inside)) + hashlib.sha256(inside).digest()[:16]
    return head + hashlib.sha256(bytes(8) + head).digest()[:16] + inside


def _spool() -> list[bytes]:
    """Files, files to be written and damaged, names."""
    records = [_spool_record(i + 1, body) for i, body in enumerate(_bodies()[:3])]
    written = [bytes([1, 2, 1, 5, 90, 0, 3, 4]) + body for body in _bodies()[:8]]
    return [b"\0" + b"".join(records * 2), b"\0" + records[0], *written, b"\x02000012-a123456789abcdef.spool.damaged"]


def _texts(items: list[str]) -> list[bytes]:
    return [t.encode() for t in items]


def _choices(bodies: list[bytes]) -> list[bytes]:
    """Eight bytes of choices before each, as fuzz_spelling wants it."""
    return [hashlib.sha256(b).digest()[:8] + b for b in bodies]


SEEDS = {
    "access": _access, "config": lambda: _texts(CONFIGS), "decode": _bodies, "facts": list, "forwarded": list, "http": _http, "jdoc": lambda: _bodies()[:20] + _texts(JSONS), "jwt": _jwt,
    "keyring": lambda: _texts(KEYRINGS), "livekit_api": _api_replies, "log": lambda: _texts(TEXTS), "mark": lambda: [json.dumps(m).encode() for m in MARKS],
    "overrides": list, "person": lambda: _texts(PEOPLE), "query": lambda: _texts(QUERIES), "recording": lambda: [p.read_bytes() for p in sorted(captures.FOLDER.glob("out-4*.jsonl"))],
    "redact": _bodies, "routes": list, "spelling": lambda: _choices(_bodies()), "spool": _spool, "stored": _stored, "times": lambda: _texts(TIMES),
    "timeline": lambda: [p.read_bytes() for p in sorted(captures.FOLDER.glob("out-4*.jsonl"))], "url": lambda: _texts(URLS),
}

# Targets whose words are those of LiveKit's JSON.
SPEAK_LIVEKIT = ("decode", "spelling", "redact", "livekit_api", "recording", "timeline", "jdoc", "stored")


def write(target: str, folder: pathlib.Path) -> int:
    """The target's seeds as files named by their content; how many."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = set(SEEDS[target]())
    for seed in seeds:
        (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    return len(seeds)


def _names(value: object, into: set[str]) -> None:
    if isinstance(value, dict):
        for name, member in value.items():
            into.add(name)
            _names(member, into)
    elif isinstance(value, list):
        for item in value:
            _names(item, into)
    elif isinstance(value, str) and value.isupper() and len(value) < 40:
        into.add(value)


def write_dictionary(target: str, path: pathlib.Path) -> bool:
    """libFuzzer's dictionary of the target; False where it has none."""
    words: set[str] = set()
    if target in SPEAK_LIVEKIT:
        for body in _bodies():
            _names(json.loads(body), words)
        words |= {"".join("_" + c.lower() if c.isupper() else c for c in w) for w in words if w[:1].islower()}
    if target == "mark":
        for mark in MARKS:
            words |= set(mark)
    if target == "config":
        words |= {f"{word}=" for text in CONFIGS for line in text.split("\n") for word in [line.split("=")[0]]}
    if target == "http":
        words |= {"HTTP/1.1\r\n", "HTTP/1.0\r\n", "\r\n\r\n", "\r\n ", "Transfer-Encoding: chunked\r\n", "Content-Length: ", "Expect: 100-continue\r\n", "Connection: close\r\n",
                  "Host: localhost\r\n", "0\r\n\r\n", "GET ", "POST ", "HEAD ", "OPTIONS ", "/api/calls/", "/outcome", "/events", "?user_id=acme", "Idempotency-Key: ",
                  "If-None-Match: *\r\n", "Authorization: Bearer "}
    if not words:
        return False
    escaped = ("".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "".join(f"\\x{b:02x}" for b in c.encode()) for c in w) for w in sorted(words))
    path.write_text("".join(f'"{w}"\n' for w in escaped))
    return True
