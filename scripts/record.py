#!/usr/bin/env python3
"""Adds a recording to tests/captures: receives a LiveKit server's webhooks and writes them down as they came, below a header with the truth.

    scripts/record.py NAME --what "Callee is busy: 180 then 486." --truth '{"direction": "outbound", "outcome": "busy", "sipCode": 486}'

Point the server's webhook.urls at the address that it prints, make the call, then press Ctrl-C (or give --seconds). tests/captures/README.md
describes what is written. The truth is what really happened, from the phones' own traces and clocks, never from the webhooks.

Passwords inside the bodies (room.turnPassword) are overwritten with as many letters x; --keep-secrets leaves them. The tokens in the
Authorization headers ran out by the time anybody reads them, but were signed with the server's secret: record with a server and a secret of
no other use.
"""

import argparse
import http.server
import json
import pathlib
import re
import signal
import sys
import threading
import time

DIRECTIONS = ("outbound", "inbound", "web")
OUTCOMES = ("completed", "no_answer", "busy", "failed")
FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "captures"
LARGEST_BODY = 8 * 1024 * 1024
SECRET = re.compile(rb'("turn_?[pP]assword"\s*:\s*")((?:[^"\\]|\\.)*)(")')


def truth_of(text: str) -> dict:
    """The truth as a JSON object with the members that README.md asks for; what may be left out is filled in."""
    try:
        truth = json.loads(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"no JSON: {e}") from e
    if not isinstance(truth, dict) or truth.get("direction") not in DIRECTIONS or truth.get("outcome") not in OUTCOMES:
        raise argparse.ArgumentTypeError(f"needs direction ({', '.join(DIRECTIONS)}) and outcome ({', '.join(OUTCOMES)})")
    truth = {"answered": False, "answeredAtMs": None, "endedAtMs": None, "endedBy": None, "sipCode": None, "accept": [truth["outcome"]], "why": ""} | truth
    if truth["outcome"] not in truth["accept"] or not set(truth["accept"]) <= set(OUTCOMES):
        raise argparse.ArgumentTypeError("accept must be a list of outcomes with the outcome among them")
    return truth


def address_of(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError("expected ADDR:PORT")
    return host, int(port)


class Recorder:
    """The open file. Deliveries come from several connections at once and are written one after the other."""

    def __init__(self, path: pathlib.Path, keep_secrets: bool) -> None:
        self.file = path.open("x", encoding="utf-8")
        self.lock = threading.Lock()
        self.keep_secrets = keep_secrets
        self.count = 0

    def header(self, scenario: dict) -> None:
        self.line({"scenario": scenario})

    def line(self, row: dict) -> None:
        self.file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
        self.file.flush()

    def delivery(self, received_at_ms: int, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        if not self.keep_secrets:
            body = SECRET.sub(lambda m: m[1] + b"x" * len(m[2]) + m[3], body)
        with self.lock:
            self.line({"receivedAtMs": received_at_ms, "status": status, "headers": dict(headers), "body": body.decode()})
            self.count += 1


def handler_for(recorder: Recorder, status: int) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            received_at_ms = time.time_ns() // 1_000_000
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > LARGEST_BODY:
                self.answer(413 if length.isdigit() else 411)
                return
            body = self.rfile.read(int(length))
            try:
                body.decode()
            except UnicodeDecodeError:
                self.answer(400)
                return
            recorder.delivery(received_at_ms, status, list(self.headers.items()), body)
            self.answer(status)

        def answer(self, status: int) -> None:
            self.send_response_only(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the recording: NAME.jsonl")
    parser.add_argument("--what", required=True, help="one sentence about what was done")
    parser.add_argument("--truth", required=True, type=truth_of, help="JSON object: what really happened; @FILE reads it from a file")
    parser.add_argument("--builds", default="", help="versions of the server and the SIP service")
    parser.add_argument("--room", default="", help="the room's name")
    parser.add_argument("--listen", default="127.0.0.1:8099", type=address_of, help="where (127.0.0.1:8099; port 0: any)")
    parser.add_argument("--status", default=200, type=int, help="what to answer (200)")
    parser.add_argument("--seconds", type=float, help="stop by itself after so long")
    parser.add_argument("--folder", default=FOLDER, type=pathlib.Path, help="where the file goes (tests/captures)")
    parser.add_argument("--keep-secrets", action="store_true", help="leave passwords in the bodies as they are")
    words = sys.argv[1:]
    for i, word in enumerate(words[:-1]):
        if word == "--truth" and words[i + 1].startswith("@"):
            words[i + 1] = pathlib.Path(words[i + 1][1:]).read_text(encoding="utf-8")
    options = parser.parse_args(words)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", options.name):
        parser.error("the name is made of small letters, digits and hyphens")
    path = options.folder / f"{options.name}.jsonl"
    try:
        recorder = Recorder(path, options.keep_secrets)
    except OSError as e:
        print(f"record: {path}: {e.strerror}", file=sys.stderr)
        return 1
    recorder.header({"name": options.name, "what": options.what, "builds": options.builds, "room": options.room, "truth": options.truth, "timeline": []})
    server = http.server.ThreadingHTTPServer(options.listen, handler_for(recorder, options.status))
    done = threading.Event()
    for sig in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sig, lambda *_: done.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"listening on http://{options.listen[0]}:{server.server_port}/", flush=True)
    done.wait(options.seconds)
    server.shutdown()
    server.server_close()
    recorder.file.close()
    print(f"{recorder.count} deliveries in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
