"""Every endpoint, by every form of another tenant's ids, with every credential, on both stores: what is another's is answered exactly like
what is not there. And nothing of another tenant's is in anything that leaves: replies, errors, log, metrics, `explain`.

The endpoints are those that the daemon lists itself, so that a new one without a row here is a failure."""

import dataclasses
import json
import re
import subprocess
import time
import urllib.parse
from collections.abc import Callable

import pytest

from support import hosts, signing
from support.daemon import Daemon, Response, environment
from support.events import CallMaker, new_id

pytestmark = [pytest.mark.integration, pytest.mark.multitenant]

SERVICE = "service-token-of-the-backend-0123456789"
TENANT_SECRET = "tenant-secret-of-at-least-32-bytes-0123456789"
TOKENS = {"OUTCOMED_SERVICE_TOKEN": SERVICE, "OUTCOMED_TENANT_SECRET": TENANT_SECRET}
KEY = "one-key-of-both"  # Idempotency-Key


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": "Bearer " + token}


def token(claims: dict, secret: str = TENANT_SECRET, header: dict | None = None) -> dict[str, str]:
    return bearer(signing.jwt({"sub": "acme", "exp": int(time.time()) + 600} | claims, secret, header))


# Credentials: whether user_id is named beside, and the header. Those below are nobody's.
GENUINE = {
    "service": (True, lambda: bearer(SERVICE)),
    "tenant": (False, lambda: token({})),
    "tenant_named": (True, lambda: token({})),
}
FORGED = {
    "none": dict,
    "empty": lambda: {"Authorization": ""},
    "no_scheme": lambda: {"Authorization": SERVICE},
    "basic": lambda: {"Authorization": "Basic " + SERVICE},
    "service_longer": lambda: bearer(SERVICE + "x"),
    "service_shorter": lambda: bearer(SERVICE[:-1]),
    "service_hash": lambda: bearer("sha256:" + "0" * 64),
    "secret_itself": lambda: bearer(TENANT_SECRET),
    "other_secret": lambda: token({}, "x" * 40),
    "no_secret": lambda: token({}, ""),
    "expired": lambda: token({"exp": int(time.time()) - 3600}),
    "not_yet": lambda: token({"nbf": int(time.time()) + 3600}),
    "exp_text": lambda: token({"exp": "soon"}),
    "no_exp": lambda: bearer(signing.jwt({"sub": "acme"}, TENANT_SECRET)),
    "no_sub": lambda: bearer(signing.jwt({"exp": int(time.time()) + 600}, TENANT_SECRET)),
    "empty_sub": lambda: token({"sub": ""}),
    "sub_list": lambda: token({"sub": ["acme"]}),
    "alg_none": lambda: token({}, header={"alg": "none"}),
    "alg_hs384": lambda: token({}, header={"alg": "HS384"}),
    "alg_rs256": lambda: token({}, header={"alg": "RS256"}),
    "alg_lower": lambda: token({}, header={"alg": "hs256"}),
    "crit": lambda: token({}, header={"alg": "HS256", "crit": ["exp"]}),
    "two_parts": lambda: bearer(signing.jwt({"sub": "acme"}, TENANT_SECRET).rpartition(".")[0]),
    "participant": lambda: token({"iss": signing.KEY, "video": {"room": "r", "roomJoin": True}}, signing.SECRET),
    "webhook": lambda: bearer(signing.sign(b"")["Authorization"]),
}


@dataclasses.dataclass
class Tenant:
    """A tenant whose every free text is a canary."""
    name: str
    calls: list[CallMaker] = dataclasses.field(default_factory=list)
    ids: dict[str, str] = dataclasses.field(default_factory=dict)  # call_logs.id by SID
    events: list[str] = dataclasses.field(default_factory=list)
    canaries: set[str] = dataclasses.field(default_factory=set)
    cursors: dict[str, str] = dataclasses.field(default_factory=dict)
    tags: list[str] = dataclasses.field(default_factory=list)

    def fill(self, daemon: Daemon, digits: str) -> None:
        for i in range(3):
            call = CallMaker(self.name, room_name=f"canary-room-{self.name}-{i}", number=f"+1202{digits}{i}")
            self.calls.append(call)
            for event in (call.answered() if i != 1 else call.unanswered()):
                event["room"] = event["room"] | {"metadata": json.dumps({"user_id": self.name, "note": f"canary-metadata-{self.name}"})}
                party = event.get("participant", {})
                if "attributes" in party:
                    party["attributes"] = party["attributes"] | {"canary": f"canary-attribute-{self.name}"}
                assert daemon.post_event(event).status == 200
                self.events.append(event["id"])
            self.canaries |= {call.number, call.sid, call.call_id, call.name, call.leg, call.agent}
        rows = daemon.database.query('SELECT id, "livekitRoomSid" FROM call_logs WHERE "userId" = ?', self.name)
        self.ids = {sid: str(row_id) for row_id, sid in rows}
        assert set(self.ids) == {c.sid for c in self.calls}
        self.canaries |= {*self.ids.values(), *self.events, f"canary-metadata-{self.name}", f"canary-attribute-{self.name}",
                          f"canary-value-{self.name}", self.name}

    def mark(self, daemon: Daemon, headers: dict[str, str]) -> None:
        body = {"roomSid": self.calls[0].sid, "kind": "note", "value": f"canary-value-{self.name}"}
        reply = daemon.request("POST", f"/api/marks?user_id={self.name}", json.dumps(body).encode(), headers | {"Idempotency-Key": KEY})
        assert (reply.status, reply.json()["message"]) == (200, "Event processed"), reply.body
        self.canaries.add(reply.json()["event_id"])

    def look(self, daemon: Daemon, headers: dict[str, str]) -> None:
        """What only this tenant has been given: tags and cursors."""
        user = f"user_id={self.name}"
        self.tags = [daemon.get(f"/api/calls/{c.sid}?{user}", headers).headers["etag"] for c in self.calls]
        self.cursors = {"list": daemon.get(f"/api/calls?limit=1&{user}", headers).json()["nextCursor"],
                        "events": daemon.get(f"/api/calls/{self.calls[0].sid}/events?limit=1&{user}", headers).json()["nextCursor"]}

    def forms(self) -> dict[str, str]:
        """Everything by which one may try to name a call of this tenant's."""
        call = self.calls[0]
        return {"call_logs_id": self.ids[call.sid], "room_sid": call.sid, "room_name": call.name, "sip_call_id": call.call_id,
                "event_id": self.events[0], "number": call.number, "leg": call.leg, "cursor": self.cursors["events"]}


def nothing(like: Tenant) -> Tenant:
    """The same forms of calls that do not exist."""
    call = CallMaker("nobody", room_name=f"canary-room-{'n' * len(like.name)}-0", number="+12029999990")
    row = re.sub(r"[0-9a-f]", "0", like.ids[like.calls[0].sid])
    return Tenant("nobody", [call], {call.sid: row}, [new_id("EV")], cursors=like.cursors, tags=like.tags)


# ---- the rows: METHOD and path of an endpoint, and the requests that try it by another tenant's things ----

Request = tuple[str, str, bytes | None, dict[str, str]]


def quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def about_a_call(what: str) -> Callable[[Tenant], dict[str, Request]]:
    def requests(other: Tenant) -> dict[str, Request]:
        made = {form: ("GET", f"/api/calls/{quoted(key)}{what}", None, {}) for form, key in other.forms().items()}
        sid = other.calls[0].sid
        made |= {f"tag_{i}": ("GET", f"/api/calls/{sid}{what}", None, {"If-None-Match": tag}) for i, tag in enumerate((*other.tags, "*"))}
        made |= {"head": ("HEAD", f"/api/calls/{sid}{what}", None, {}), "encoded": ("GET", f"/api/calls/%52{quoted(sid[1:])}{what}", None, {})}
        return made
    return requests


def events_of_a_call(other: Tenant) -> dict[str, Request]:
    cursor = quoted(other.cursors["events"])
    return about_a_call("/events")(other) | {"limit": ("GET", f"/api/calls/{other.calls[0].sid}/events?limit=200", None, {}),
                                             "with_cursor": ("GET", f"/api/calls/{other.calls[0].sid}/events?cursor={cursor}", None, {})}


def list_by(other: Tenant) -> dict[str, Request]:
    call = other.calls[0]
    filters = {"room_name": call.name, "phone_number": call.number, "cursor": other.cursors["list"], "outcome": "completed"}
    return {name: ("GET", f"/api/calls?{name}={quoted(value)}", None, {}) for name, value in filters.items()}


def marks_about(other: Tenant) -> dict[str, Request]:
    call, made = other.calls[0], {}
    names = {"roomSid": call.sid, "roomName": call.name, "sipCallId": call.call_id, "callId": other.ids[call.sid], "callId_of_sid": call.sid}
    for form, key in names.items():
        for kind in ({"kind": "note", "value": "mine"}, {"sipCode": 486}, {"kind": "ended"}):
            body = json.dumps({form.partition("_")[0]: key} | kind).encode()
            made[f"{form}_{kind.get('kind', 'sip')}"] = ("POST", "/api/marks", body, {})
    return made


# None: the endpoint shows no tenant's data, whoever asks; it is asked and searched all the same.
ROWS: dict[str, Callable[[Tenant], dict[str, Request]] | None] = {
    "GET /api/calls/*/outcome": about_a_call("/outcome"),
    "GET /api/calls/*/events": events_of_a_call,
    "GET /api/calls/*": about_a_call(""),
    "GET /api/calls": list_by,
    "POST /api/marks": marks_about,
    "POST /api/webhooks/call_completed": None,
    "GET /api/webhooks/call_completed/health": None,
    "GET /livez": None,
    "GET /readyz": None,
    "GET /metrics": None,
    "GET /openapi.json": None,
    "GET /": None,
}


def listed(daemon: Daemon) -> set[str]:
    lines = daemon.get("/").body.decode().splitlines()
    return {" ".join(line.split()) for line in lines if line.startswith(("GET ", "POST "))}


def shown(reply: Response) -> tuple:
    """What a client can tell by: all but the date, and an id that a mark's own text decides."""
    headers = {k: v for k, v in reply.headers.items() if k != "date"}
    return reply.status, headers, re.sub(rb"MK_[0-9A-Za-z_-]+", b"MK", reply.body)


class House:
    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.acme, self.globex = Tenant("acme"), Tenant("globex")
        self.acme.fill(daemon, "555017")
        self.globex.fill(daemon, "777038")
        for tenant in (self.acme, self.globex):
            tenant.look(daemon, bearer(SERVICE))
        self.globex.mark(daemon, bearer(SERVICE))
        self.nobody = nothing(self.globex)
        self.replies: list[tuple[str, Response]] = []

    def ask(self, credential: str, request: Request) -> Response:
        method, path, body, more = request
        named, header = GENUINE[credential]
        if named:
            path += ("&" if "?" in path else "?") + "user_id=acme"
        return self.send(credential, (method, path, body, more | header()))

    def send(self, who: str, request: Request) -> Response:
        method, path, body, headers = request
        reply = self.daemon.request(method, path, body, headers)
        self.replies.append((f"{who}: {method} {path}", reply))
        return reply


@pytest.fixture(scope="module")
def house(make_shared_daemon):
    return House(make_shared_daemon(env=TOKENS))


def test_every_endpoint_has_its_row(house):
    assert listed(house.daemon) <= set(ROWS), "add a row, or say with None that it shows nobody's data"
    assert set(ROWS) - listed(house.daemon) <= {"GET /openapi.json"}


@pytest.mark.parametrize("credential", GENUINE)
def test_what_is_anothers_is_answered_like_what_is_not_there(house, credential):
    compared = 0
    for endpoint, row in ROWS.items():
        if row is None:
            continue
        theirs, missing = row(house.globex), row(house.nobody)
        assert theirs.keys() == missing.keys()
        for form in theirs:
            got, expected = house.ask(credential, theirs[form]), house.ask(credential, missing[form])
            assert shown(got) == shown(expected), (endpoint, form)
            if endpoint.startswith("GET /api/calls/*"):
                assert got.status in (404, 400) and "etag" not in got.headers, (endpoint, form, got.status)
            compared += 1
    assert compared > 50


def test_an_idempotency_key_of_anothers_is_free(house):
    for key in (KEY, "never-used"):
        body = json.dumps({"roomSid": house.acme.calls[0].sid, "kind": "note", "value": key}).encode()
        reply = house.ask("tenant", ("POST", "/api/marks", body, {"Idempotency-Key": key}))
        assert (reply.status, reply.json()["message"]) == (200, "Event processed")


def test_a_mark_about_anothers_call_changes_nothing_of_it(house):
    calls = house.globex.calls
    before = [house.daemon.get(f"/api/calls/{c.sid}?user_id=globex", bearer(SERVICE)) for c in calls]
    for request in marks_about(house.globex).values():
        house.ask("tenant", request)
    after = [house.daemon.get(f"/api/calls/{c.sid}?user_id=globex", bearer(SERVICE)) for c in calls]
    assert [(r.status, r.body, r.headers["etag"]) for r in before] == [(r.status, r.body, r.headers["etag"]) for r in after]


@pytest.mark.parametrize("credential", FORGED)
def test_a_forged_credential_is_told_nothing(house, credential):
    """Not even whether the id is its own, another's or nobody's; and the attempts of one address are counted."""
    said = set()
    for row in filter(None, ROWS.values()):
        requests = [next(iter(row(t).values())) for t in (house.acme, house.globex, house.nobody)]
        for method, path, body, more in requests:
            for user in ("", "user_id=acme", "user_id=globex"):
                asked = path + ("&" if "?" in path else "?") + user if user else path
                reply = house.send(credential, (method, asked, body, more | FORGED[credential]()))
                assert reply.status in (401, 429), (credential, asked)
                said.add((reply.status, reply.body))
    assert len([status for status, _ in said if status == 401]) <= 1
    assert len(said) <= 2


def test_tokens_of_one_tenant_open_nothing_when_they_name_another(house):
    missing = house.send("tenant", ("GET", "/api/calls/RM_nosuchcall/outcome", None, token({})))
    for what in ("/outcome", "", "/events"):
        for key in (*house.acme.ids, *house.globex.ids, *house.globex.ids.values()):
            assert shown(house.send("tenant", ("GET", f"/api/calls/{key}{what}?user_id=globex", None, token({})))) == shown(missing)
    for method, path, body in (("GET", "/api/calls?user_id=globex", None), ("POST", "/api/marks?user_id=globex", b'{"roomSid":"RM_x","sipCode":486}')):
        assert house.send("tenant", (method, path, body, token({}))).status == 403


def test_without_tokens_the_named_tenant_sees_its_own_only(start_daemon, database):
    daemon = start_daemon(database=database)
    acme, globex = Tenant("acme"), Tenant("globex")
    for tenant, digits in ((acme, "555017"), (globex, "777038")):
        tenant.fill(daemon, digits)
        tenant.look(daemon, {})
    nobody = nothing(globex)
    for row in filter(None, ROWS.values()):
        theirs, missing = row(globex), row(nobody)
        for form in theirs:
            replies = []
            for method, path, body, headers in (theirs[form], missing[form]):
                replies.append(shown(daemon.request(method, path + ("&" if "?" in path else "?") + "user_id=acme", body, headers)))
            assert replies[0] == replies[1], form


def test_the_same_statements_are_carried_out_for_what_is_anothers(house, postgres_server):
    """As far as PostgreSQL's own log shows: which statements, how often, with how many rows."""
    daemon = house.daemon
    log = postgres_server.log_path()
    if daemon.database.kind != "postgres" or log is None:
        pytest.skip("wants the log of a PostgreSQL of our own")
    name = urllib.parse.urlsplit(daemon.database.url).path[1:]
    hosts.execute(daemon.database.url, f'ALTER DATABASE "{name}" SET log_min_duration_statement = 0')
    hosts.execute(daemon.database.url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    executed = re.compile(r"execute (oc_READ_\w+)")

    def statements(request: Request) -> list[str]:
        at = log.stat().st_size
        reply = house.ask("service", request)
        assert reply.status != 503
        with log.open("rb") as f:
            f.seek(at)
            return executed.findall(f.read().decode(errors="replace"))

    deadline = time.monotonic() + 15
    while house.daemon.get("/readyz").status != 200 or not statements(("GET", f"/api/calls/{house.acme.calls[0].sid}/outcome", None, {})):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    try:
        looked = 0
        for endpoint in ("GET /api/calls/*/outcome", "GET /api/calls/*", "GET /api/calls/*/events", "GET /api/calls"):
            theirs, missing = ROWS[endpoint](house.globex), ROWS[endpoint](house.nobody)
            for form in theirs:
                mine = statements(theirs[form])
                assert mine == statements(missing[form]), (endpoint, form)
                looked += len(mine)
        assert looked > 20
    finally:
        hosts.execute(daemon.database.url, f'ALTER DATABASE "{name}" RESET log_min_duration_statement')


def test_nothing_of_another_tenants_is_in_anything_that_leaves(house, outcomed_binary):
    """After all that was asked above (or after asking everything once, when this test runs alone)."""
    daemon = house.daemon
    for row in filter(None, ROWS.values()):
        for request in row(house.globex).values():
            house.ask("service", request)
    for endpoint, row in ROWS.items():
        if row is None:
            method, path = endpoint.split()
            house.send("nobody", (method, path, b"{}" if method == "POST" else None, {}))
    own = {value for form, value in house.globex.forms().items() if form != "cursor"}  # what the request itself said may be said back by nobody either
    for what, reply in house.replies:
        text = reply.body + repr(sorted(reply.headers.items())).encode()
        for canary in house.globex.canaries - {"globex"} | own:
            assert canary.encode() not in text, (what, canary)
        for secret in (SERVICE, TENANT_SECRET, "turn-secret-", "eyJhbGciOi"):
            assert secret.encode() not in text, (what, secret)
    log, metrics = daemon.log(), daemon.get("/metrics").body.decode()
    numbers = {c.number for t in (house.acme, house.globex) for c in t.calls}
    texts = {f"canary-{kind}-{t}" for kind in ("metadata", "attribute", "value") for t in ("acme", "globex")}
    for canary in numbers | texts | {SERVICE, TENANT_SECRET, "turn-secret-", "eyJhbGciOi", "secret=" + signing.SECRET}:
        assert canary not in log, canary
        assert canary not in metrics, canary
    for tenant in (house.acme, house.globex):
        assert not any(canary in metrics for canary in tenant.canaries)
    explained = subprocess.run([outcomed_binary, "explain", "--user", "acme", "--database", daemon.database.url, house.globex.calls[0].sid],
                               env=environment(), capture_output=True, text=True, timeout=60, check=False)
    nobody = subprocess.run([outcomed_binary, "explain", "--user", "acme", "--database", daemon.database.url, house.nobody.calls[0].sid],
                            env=environment(), capture_output=True, text=True, timeout=60, check=False)
    asked = re.compile(r"RM_\w+")
    assert (explained.returncode, asked.sub("RM", explained.stdout + explained.stderr)) == (nobody.returncode, asked.sub("RM", nobody.stdout + nobody.stderr))
    assert explained.returncode == 1
