"""schemathesis loads this (SCHEMATHESIS_HOOKS). Webhooks are signed as LiveKit signs; a request that is meant to be valid gets what no schema can say:
members and parameters that exclude each other do not come together, limits are bytes, and mostly it is about the calls and the tenant that there
are (OUTCOMED_CALLS, OUTCOMED_TENANT). A request that is meant to be invalid stays as it was made."""

import json
import os
import zlib

import schemathesis
from schemathesis.core import NOT_SET
from schemathesis.generation import GenerationMode

from support import signing

CALLS = os.environ["OUTCOMED_CALLS"].split()
TENANT = os.environ["OUTCOMED_TENANT"]
NAMES = ("roomSid", "roomName", "callId")


def _bytes(value: object) -> bytes:
    if value is NOT_SET:
        return b""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def _choice(case, n: int) -> int:
    """The same for the same case, so that a seed repeats a run."""
    return zlib.crc32(repr((case.operation.label, case.path_parameters, case.query, repr(case.body))).encode()) % n


def _fits(text: object) -> object:
    return text.replace("\0", "")[:60].encode(errors="ignore").decode() or "x" if isinstance(text, str) else text


@schemathesis.serializer("application/webhook+json")
def webhook(context, value):
    return _bytes(value)


def _tidy_query(case) -> None:
    query = case.query
    query.pop("cursor", None)  # only the server makes one
    if "user_id" in query:
        query["user_id"] = TENANT if _choice(case, 4) else _fits(query["user_id"])
    for name in ("phone_number", "room_name"):
        if name in query:
            query[name] = _fits(query[name])
    if "from" in query and "to" in query:
        query.pop("to")


def _tidy_mark(mark: dict) -> dict:
    """Names one call, says one thing, and not of the future."""
    mark = {name: _fits(value) for name, value in mark.items() if value is not None}
    named = [name for name in NAMES if name in mark]
    for name in named[1:]:
        mark.pop(name)
    if not named and "sipCallId" not in mark:
        mark["roomSid"] = CALLS[0]
    for name in ("at", "answeredAt"):
        if name in mark:
            mark[name] = "2026-11-22T13:12:19.250Z"
    kind = mark.get("kind") or ("answered" if "answeredAt" in mark else "sip_result" if "sipCode" in mark or mark.get("sipText") else "note")
    if kind != "sip_result":
        mark.pop("sipCode", None)
        mark.pop("sipText", None)
    elif not mark.get("sipText"):
        mark.setdefault("sipCode", 486)
    if kind != "answered":
        mark.pop("answeredAt", None)
    if kind == "note":
        mark["value"] = mark.get("value") or "x"
    return mark | {"kind": kind}


@schemathesis.hook
def before_call(context, case, kwargs):
    valid = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if valid:
        if case.query:
            _tidy_query(case)
        if case.path_parameters and "call_id" in case.path_parameters:
            case.path_parameters["call_id"] = CALLS[_choice(case, len(CALLS))] if _choice(case, 4) else _fits(case.path_parameters["call_id"])
        if case.operation.path == "/api/marks" and isinstance(case.body, dict):
            case.body = _tidy_mark(case.body)
            if "Idempotency-Key" in case.headers:  # one key, one mark
                case.headers["Idempotency-Key"] = f"key-{zlib.crc32(_bytes(case.body))}"
    if valid and case.operation.path == "/api/webhooks/call_completed" and case.method.upper() == "POST":
        case.headers["Authorization"] = signing.sign(_bytes(case.body))["Authorization"]
