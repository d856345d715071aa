"""Whatever reads bytes from outside is fuzzed: which parser belongs to which target, and that it is really called there."""

import pathlib
import re

import pytest

from support import seeds

pytestmark = pytest.mark.unit

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FUZZ = ROOT / "tests/fuzz"

# What comes in, the functions that read it, the target. Each function is called by its target.
PARSERS = [
    ("webhook body, every spelling", "decode_event", "spelling"),
    ("webhook body, any bytes", "decode_event", "decode"),
    ("JSON, numbers and texts in it", "jdoc_parse jdoc_text jdoc_text_is jdoc_member jdoc_int64", "jdoc"),
    ("secrets in a body", "redact_secrets redact_bytes", "redact"),
    ("LiveKit's token", "jwt_parse signature_verify base64_decode", "jwt"),
    ("LIVEKIT_KEYS", "keyring_parse", "keyring"),
    ("bearer tokens, user_id", "access_decide access_is_service access_user_id_is_valid", "access"),
    ("OUTCOMED_SERVICE_TOKEN, OUTCOMED_TENANT_SECRET", "access_options_read access_first_token access_has_secret access_hash_line", "access"),
    ("posted and kept marks", "mark_parse mark_decode decode_kept", "mark"),
    ("Idempotency-Key, If-None-Match, path, query, cursors", "mark_key_is_valid etag_matches endpoint_find percent_decode query_parse cursor_decode events_cursor_decode", "query"),
    ("whom a proxy speaks for, Host, --trusted-proxy", "forwarded_client address_parse networks_parse host_is_own", "forwarded"),
    ("times, spans, whole numbers", "rfc3339_parse iso_time_to_s slice_to_span_ms slice_to_int64", "times"),
    ("whom to forget, and where", "person_of_number person_of_user person_is_mentioned person_in_bytes", "person"),
    ("routes file", "routes_parse", "routes"),
    ("overrides file", "overrides_parse", "overrides"),
    ("flags and environment", "config_load http_listen_is_local store_url_kind", "config"),
    ("a database's URL in messages", "store_url_for_log", "url"),
    ("replies of LiveKit's API, its URL",
     "livekit_read_rooms livekit_read_participants livekit_read_egresses livekit_answer_of livekit_error_text livekit_base_url", "livekit_api"),
    ("recordings of send, verify and explain", "recording_read_http recording_read_json", "recording"),
    ("journal exports", "told_read", "timeline"),
    ("requests as bytes: heads, framing, pipelines", "http_start", "http"),
    ("the spool's files and their names", "spool_scan_file spool_place_read spool_payload_read spool_name_read", "spool"),
    ("facts out of the database", "facts_decode", "facts"),
    ("verdicts, payloads and metadata out of the database", "call_reply list_reply outcome_reply events_reply", "stored"),
    ("texts of others in the log and on the terminal", "log_write buf_put_masked terminal_clean terminal_line report_verdict", "log"),
]
# The headers through whose functions bytes from outside are read.
READERS = ("wire/*.h", "base/mask.h", "base/person.h", "http/access.h", "http/address.h", "http/forwarded.h", "http/query.h", "cmd/recording.h", "cmd/timeline.h")
# Functions of those that take a slice and read nothing from outside with it, or are read through another.
NO_PARSERS = {
    "hash_sha256", "hash_hmac_sha256", "base64_encode", "jwt_sign", "signature_sign", "jwt_mac_matches", "mark_id", "mark_encode", "livekit_request_make",
    "redact_document", "signature_explain", "jwt_is_for", "jdoc_escaped_text_is", "mark_unseen_is_named", "slice_of", "cursor_encode", "events_cursor_encode",
}


def targets() -> set[str]:
    return {p.stem.removeprefix("fuzz_") for p in FUZZ.glob("fuzz_*.c")}


def code_of(target: str) -> str:
    own = (FUZZ / f"fuzz_{target}.c").read_text()
    return own + "".join((FUZZ / name).read_text() for name in re.findall(r'#include "(\w+\.h)"', own))


def test_each_parser_is_called_by_its_target():
    wrong = [f"{function}: not in fuzz_{target}.c" for _, functions, target in PARSERS for function in functions.split()
             if not re.search(rf"\b{function}\(", code_of(target))]
    assert wrong == []


def test_each_target_is_in_the_list_and_in_the_build():
    listed = {target for _, _, target in PARSERS}
    assert targets() == listed
    assert set(re.findall(r"^  '(\w+)': \[", (FUZZ / "meson.build").read_text(), re.MULTILINE)) == listed


def test_whatever_is_read_from_outside_has_a_target():
    """Each function that one of those headers declares and that takes a slice."""
    known = NO_PARSERS | {function for _, functions, _ in PARSERS for function in functions.split()}
    wrong = []
    for path in (p for pattern in READERS for p in sorted((ROOT / "src").glob(pattern))):
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.DOTALL)
        for name, arguments in re.findall(r"\b(\w+)\(([^()]*)\)\s*;", text):
            if "struct slice " in arguments and name not in known:
                wrong.append(f"{path.name}: {name}")
    assert wrong == []
    assert [pattern for pattern in READERS if not any((ROOT / "src").glob(pattern))] == []


def test_each_target_has_something_to_begin_with():
    assert set(seeds.SEEDS) == targets()
    assert [t for t in sorted(targets()) if not seeds.SEEDS[t]() and not any((FUZZ / "corpus" / t).glob("*"))] == []


def test_regressions_belong_to_targets():
    assert {p.name for p in (FUZZ / "regressions").iterdir() if p.is_dir()} <= targets()
