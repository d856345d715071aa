"""GET /openapi.json is the contract: what it says is what the daemon does. Its paths, parameters and lists are compared with the code's, answers with
its schemas to the last member, and schemathesis makes requests from it, valid ones and invalid ones. SCHEMATHESIS_EXAMPLES (6) is how many for each
operation and phase; `make schemathesis` runs more."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import jsonschema_rs
import pytest

from support import signing
from support.captures import all_captures
from support.daemon import WEBHOOK, Daemon, Database, Response

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TENANT, TENANT_SECRET, SERVICE_TOKEN = "user-1", "a tenant secret of thirty-two bytes", "the-service-token"
CAPTURES = ("out-486", "out-answered-bye", "in-answered-by-human", "egress-complete")
LOST = ("egress-complete", "participant_left")  # so that there are losses to look at


@pytest.fixture
def token() -> str:
    return signing.jwt({"sub": TENANT, "exp": int(time.time()) + 3600}, TENANT_SECRET)


@pytest.fixture
def api(start_daemon, database, token):
    """A daemon with tokens and some recorded calls, and the room SIDs of those."""
    daemon = start_daemon(database=database, env={"OUTCOMED_TENANT_SECRET": TENANT_SECRET, "OUTCOMED_SERVICE_TOKEN": SERVICE_TOKEN})
    sids = []
    for capture in all_captures():
        if capture.name in CAPTURES:
            for delivery in capture.deliveries:
                if (capture.name, delivery.event["event"]) == LOST:
                    continue
                assert daemon.post(re.sub(rb"user-\d+", TENANT.encode(), delivery.body)).status == 200
            sids += [call.room_sid for call in capture.calls]
    shown = [sid for sid in sids if read(daemon, token, f"/api/calls/{sid}/outcome").status == 200]
    assert len(shown) >= 3
    return daemon, shown


@pytest.fixture(scope="module")
def pages(outcomed_binary, tmp_path_factory) -> dict[str, Response]:
    folder = tmp_path_factory.mktemp("openapi")
    daemon = Daemon(outcomed_binary, folder, Database("sqlite", f"sqlite:{folder}/outcomed.db"))
    try:
        daemon.start()
        return {path: daemon.get(path) for path in ("/", "/openapi.json")}
    finally:
        daemon.finish()


@pytest.fixture(scope="module")
def description(pages) -> dict:
    """As a daemon gives it out."""
    return pages["/openapi.json"].json()


def read(daemon: Daemon, token: str, path: str):
    return daemon.get(path, {"Authorization": f"Bearer {token}"})


# ---- against the code ----

def test_every_path_is_described_and_every_description_has_its_path(description, pages):
    listed = {tuple(line.split()) for line in pages["/"].body.decode().splitlines()[2:]}
    described = {(method.upper(), re.sub(r"\{\w+\}", "*", path)) for path, item in description["paths"].items() for method in item if method != "parameters"}
    assert described == listed


def parameters(description: dict, path: str, where: str) -> set[str]:
    item = description["paths"][path]
    operation = next(v for k, v in item.items() if k != "parameters")
    resolved = [description["components"]["parameters"][p["$ref"].rsplit("/", 1)[1]] if "$ref" in p else p for p in item.get("parameters", []) + operation.get("parameters", [])]
    return {p["name"] for p in resolved if p["in"] == where}


@pytest.mark.parametrize(("path", "source"), [
    ("/api/calls", "list.c"), ("/api/calls/{call_id}", "call.c"), ("/api/calls/{call_id}/outcome", "outcome.c"), ("/api/calls/{call_id}/events", "events.c"),
    ("/api/marks", "marks.c"),
])
def test_the_parameters_are_those_that_the_code_knows(description, path, source):
    known = set(re.findall(r'\{ "(\w+)", (?:true|false) \}', (ROOT / "src/http" / source).read_text()))
    assert parameters(description, path, "query") == known != set()


def test_the_lists_are_those_of_the_documents(description):
    schemas = description["components"]["schemas"]
    table = (ROOT / "docs/VERDICTS.md").read_text().split("### Reasons")[1].split("###")[0]
    assert set(schemas["Reason"]["enum"]) == set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) | {None}
    listed = next(line for line in (ROOT / "docs/HTTP.md").read_text().splitlines() if line.startswith("| `outcome` |"))
    assert set(schemas["Outcome"]["enum"]) == set(re.findall(r"`(\w+)`", listed)) - {"outcome"} | {None}


def test_the_version_is_the_binary_s(description, outcomed_binary):
    said = subprocess.run([outcomed_binary, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    assert description["info"]["version"] == said


def test_the_members_of_a_mark_are_those_of_its_page(description):
    page = (ROOT / "docs/MARKS.md").read_text().split("## Members")[1].split("## ")[0].split("| kind | says")[0]
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert set(description["components"]["schemas"]["Mark"]["properties"]) == {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_every_status_of_a_refusal_is_described(description):
    """A refusal comes before the path is looked at, so each must be where a body is taken and a token is needed."""
    table = (ROOT / "src/http/internal.h").read_text().split("#define REFUSALS(X)")[1].split("enum refusal")[0]
    statuses = set(re.findall(r'X\("\w+", \w+, ([1-9]\d\d),', table))
    assert statuses <= set(description["paths"]["/api/marks"]["post"]["responses"])


def test_every_status_that_is_counted_is_described(description):
    table = (ROOT / "src/http/reply.c").read_text().split("#define STATUSES(X)")[1].split("static")[0]
    described = {status for item in description["paths"].values() for method, operation in item.items() if method != "parameters" for status in operation["responses"]}
    assert described - set(re.findall(r"X\((\d{3}),", table)) == {"431"}, "libmicrohttpd's own"
    assert set(re.findall(r"X\((\d{3}),", table)) - described <= {"500"}, "which nothing sends"


# ---- against the answers ----

def strict(description: dict) -> dict:
    """No member that is not described may come."""
    schemas = json.loads(json.dumps(description["components"]["schemas"]))
    for name, schema in schemas.items():
        if "allOf" in schema:
            schema["unevaluatedProperties"] = False
        elif "properties" in schema and not name.endswith("Members"):
            schema["additionalProperties"] = False
    schemas["Leg"]["properties"]["verdict"]["unevaluatedProperties"] = False
    return schemas


def check(description: dict, name: str, value: object) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": strict(description)}}
    errors = [f"{'/'.join(map(str, e.instance_path))}: {e.message}" for e in jsonschema_rs.Draft202012Validator(schema, validate_formats=True).iter_errors(value)]
    assert errors == [], name


def test_answers_have_the_described_members_and_no_others(description, api, token):
    daemon, sids = api
    mark = {"roomSid": sids[0], "source": "dialer", "sipCode": 486, "sipText": "Busy Here"}
    posted = daemon.request("POST", f"/api/marks?user_id={TENANT}", json.dumps(mark).encode(), {"Authorization": f"Bearer {SERVICE_TOKEN}"})
    assert posted.status == 200
    check(description, "Taken", posted.json())
    for sid in sids:
        check(description, "Call", read(daemon, token, f"/api/calls/{sid}/outcome").json())
        check(description, "WholeCall", read(daemon, token, f"/api/calls/{sid}").json())
        check(description, "EventList", read(daemon, token, f"/api/calls/{sid}/events").json())
    whole = [read(daemon, token, f"/api/calls/{sid}").json() for sid in sids]
    for kind in ("legs", "witnesses", "revisions", "losses"):
        assert any(call[kind] for call in whole), f"no {kind} were looked at"
    page = read(daemon, token, "/api/calls?limit=2").json()
    check(description, "CallList", page)
    assert page["nextCursor"] and read(daemon, token, f"/api/calls?limit=2&cursor={page['nextCursor']}").status == 200
    check(description, "Readiness", daemon.get("/readyz").json())
    for reply in (read(daemon, token, "/api/calls/nobody"), daemon.post(b"{}", {}), daemon.get("/api/calls"), daemon.request("DELETE", WEBHOOK)):
        check(description, "Problem", reply.json())


def test_rows_that_somebody_damaged_are_still_answered_as_described(description, api, token, store):
    """SQLite takes any text where JSON belongs; PostgreSQL's columns do not, so there only the facts can be spoilt."""
    daemon, sids = api
    if store == "sqlite":
        daemon.database.query("UPDATE call_facts SET verdict = '{\"outcome\":\"busy'")
        daemon.database.query("UPDATE livekit_call_events SET \"rawPayload\" = '{'")
        daemon.database.query("UPDATE call_logs SET metadata = 'x'")
    daemon.database.query("UPDATE call_facts SET facts = 'neither facts nor JSON'")
    for sid in sids:
        check(description, "Call", read(daemon, token, f"/api/calls/{sid}/outcome").json())
        check(description, "WholeCall", read(daemon, token, f"/api/calls/{sid}").json())
        check(description, "EventList", read(daemon, token, f"/api/calls/{sid}/events").json())
    check(description, "CallList", read(daemon, token, "/api/calls").json())


# ---- schemathesis ----

@pytest.mark.timeout(3600 if "SCHEMATHESIS_EXAMPLES" in os.environ else 180)
def test_generated_requests_are_answered_as_described(api, token, say, tmp_path, store):
    """No 500, every status, content type, header and body as described, undescribed methods refused, invalid requests refused, valid ones not."""
    daemon, sids = api
    examples = os.environ.get("SCHEMATHESIS_EXAMPLES", "6")
    environment = os.environ | {"OUTCOMED_CALLS": " ".join(sids), "OUTCOMED_TENANT": TENANT, "OUTCOMED_API_TOKEN": token, "SCHEMATHESIS_HOOKS": "support.api_hooks",
                                "PYTHONPATH": str(ROOT / "tests"), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", ROOT / "tests/support/schemathesis.toml", "run", f"http://127.0.0.1:{daemon.port}/openapi.json",
         "--phases", "examples,coverage,fuzzing", "--max-examples", examples, "--seed", os.environ.get("SCHEMATHESIS_SEED", "1"), "--no-shrink",
         "--continue-on-failure", "--suppress-health-check", "all", "--generation-database", "none"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=3600, check=False)
    told = re.sub(r"(%[0-9A-Fa-f]{2}){40,}", "%…", done.stdout)
    assert done.returncode == 0, told[-12000:] + done.stderr[-4000:]
    answered = {code: n for code in ("200", "400", "401", "404", "405", "500", "503")
                if (n := daemon.request("GET", "/metrics", headers={"Authorization": f"Bearer {SERVICE_TOKEN}"}).body.decode()) and
                (n := int(re.search(rf'outcomed_http_requests_total\{{code="{code}"\}} (\d+)', n)[1]))}
    assert answered["200"] > 100 and answered["400"] > 10 and answered["405"] > 10 and "500" not in answered
    assert daemon.database.count("livekit_call_events", "source = 'livekit' AND processed = 0") > 0, "no generated webhook was taken"
    generated = re.search(r"(\d+) generated", done.stdout)
    say(f"schemathesis, {store}: {generated[1] if generated else '?'} requests; answers {', '.join(f'{n} x {code}' for code, n in answered.items())}")
