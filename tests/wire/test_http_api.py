"""Paths, parameters, tokens and pages of the HTTP interface: what each wrong value is called, and what is shown to whom."""

import concurrent.futures
import json
import urllib.parse

import pytest

from support import signing
from support.daemon import WEBHOOK, Daemon, Database
from support.events import CallMaker

pytestmark = pytest.mark.integration

SERVICE = "the-service-token-of-the-backend"
TENANT_SECRET = "a tenant secret of at least 32 bytes"
TOKENS = {"OUTCOMED_SERVICE_TOKEN": SERVICE, "OUTCOMED_TENANT_SECRET": TENANT_SECRET}


@pytest.fixture(scope="module")
def api(outcomed_binary, tmp_path_factory):
    """Without tokens, on loopback; with three calls of one tenant."""
    folder = tmp_path_factory.mktemp("api")
    daemon = Daemon(outcomed_binary, folder, Database("sqlite", f"sqlite:{folder}/outcomed.db")).start()
    for n in range(3):
        for event in CallMaker("user 1+2", started_s=1_795_000_000 + 100 * n).answered():
            assert daemon.post_event(event).status == 200
    yield daemon
    daemon.finish()


def listed(api: Daemon, **parameters):
    return api.get("/api/calls?" + urllib.parse.urlencode({"user_id": "user 1+2"} | parameters))


# ---- parameters ----

BAD_VALUES = [
    ("from", "yesterday"), ("from", "2026-11-22"), ("from", "1795000000000"), ("from", "2026-11-22T13:12:19"), ("to", "2026-02-30T00:00:00Z"),
    ("outcome", "COMPLETED"), ("outcome", ""), ("direction", "sideways"), ("status", "done"), ("limit", "0"), ("limit", "201"), ("limit", "-1"),
    ("limit", "+5"), ("limit", "5.0"), ("limit", ""), ("limit", "1000000000000000000000"), ("phone_number", ""), ("phone_number", "1" * 65),
    ("phone_number", "\0"), ("room_name", ""), ("room_name", "x" * 1025), ("cursor", ""), ("cursor", "!"), ("user_id", ""), ("user_id", "x" * 201),
    ("user_id", "a\nb"), ("user_id", "a\x7fb"), ("user_id", "a\u0085b"),
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_wrong_value_is_a_400_that_names_its_parameter(api: Daemon, name, value):
    reply = listed(api, **{name: value})
    assert reply.status == 400
    assert name in reply.json()["detail"]


@pytest.mark.parametrize("query", ["user_id=%ff", "user_id=%zz", "user_id=%", "user_id=a&user_id=a", "user_id=a&limit=1&limit=1",
                                   "user_id=a&userid=b", "user_id=a&phone=1", "user_id=a&Limit=1", "user_id=a&=1", "user_id=a&limit%5b%5d=1"])
def test_unknown_repeated_and_badly_encoded_parameters_are_400(api: Daemon, query):
    assert api.get("/api/calls?" + query).status == 400


def test_the_outcome_takes_no_other_parameter_than_its_own(api: Daemon):
    reply = api.get("/api/calls/x/outcome?user_id=a&limit=1")
    assert (reply.status, "limit" in reply.json()["detail"]) == (400, True)


def test_from_later_than_to_is_refused(api: Daemon):
    assert listed(api, **{"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}).status == 400


def test_a_plus_is_a_space_in_names_and_a_plus_in_numbers_and_times(api: Daemon):
    assert len(api.get("/api/calls?user_id=user+1%2B2&phone_number=+12025550123").json()["calls"]) == 3
    assert api.get("/api/calls?user_id=user+1%2B2&from=1970-01-01T00:00:00+01:00").status == 200
    assert api.get("/api/calls?user_id=user+1+2").json()["calls"] == []


# ---- cursors ----

def test_a_cursor_belongs_to_its_list(api: Daemon):
    page = listed(api, limit=1).json()
    cursor = page["nextCursor"]
    assert len(listed(api, limit=2, cursor=cursor).json()["calls"]) == 2
    for other in ({"outcome": "completed"}, {"direction": "outbound"}, {"status": "ended"}, {"from": "2020-01-01T00:00:00Z"},
                  {"to": "2099-01-01T00:00:00Z"}, {"phone_number": "+12025550123"}, {"room_name": "r"}, {"user_id": "another"}):
        assert listed(api, cursor=cursor, **other).status == 400, other
    assert listed(api, cursor=cursor[:-1]).status == 400
    assert listed(api, cursor=cursor + "=").status == 400


def test_the_last_page_has_no_cursor(api: Daemon):
    assert listed(api, limit=3).json()["nextCursor"] is None
    assert listed(api, limit=2).json()["nextCursor"] is not None


# ---- a call whole, and its events ----

def first_sid(api: Daemon) -> str:
    return listed(api).json()["calls"][0]["livekitRoomSid"]


def about(sid: str, what: str = "", **parameters) -> str:
    return f"/api/calls/{sid}{what}?" + urllib.parse.urlencode({"user_id": "user 1+2"} | parameters)


@pytest.mark.parametrize(("name", "value"), [("limit", "0"), ("limit", "201"), ("limit", "+5"), ("limit", ""), ("cursor", ""), ("cursor", "!"),
                                             ("user_id", ""), ("user_id", "a\nb")])
def test_a_wrong_value_of_events_is_a_400_that_names_its_parameter(api: Daemon, name, value):
    reply = api.get(about(first_sid(api), "/events", **{name: value}))
    assert reply.status == 400
    assert name in reply.json()["detail"]


@pytest.mark.parametrize("query", ["user_id=a&limit=1&limit=1", "user_id=a&from=2026-01-01T00:00:00Z", "user_id=%ff", "user_id=a&Cursor=x"])
def test_unknown_and_repeated_parameters_of_events_are_400(api: Daemon, query):
    assert api.get(f"/api/calls/{first_sid(api)}/events?{query}").status == 400


def test_the_call_takes_no_other_parameter_than_its_own(api: Daemon):
    reply = api.get("/api/calls/x?user_id=a&limit=1")
    assert (reply.status, "limit" in reply.json()["detail"]) == (400, True)


def test_a_cursor_of_events_belongs_to_its_call_and_tenant(api: Daemon):
    one, two = (c["livekitRoomSid"] for c in listed(api, limit=2).json()["calls"])
    cursor = api.get(about(one, "/events", limit=1)).json()["nextCursor"]
    assert len(api.get(about(one, "/events", limit=200, cursor=cursor)).json()["events"]) == 9
    for reply in (api.get(about(two, "/events", cursor=cursor)), api.get(about(one, "/events", cursor=cursor, user_id="another")),
                  api.get(about(one, "/events", cursor=cursor[:-1])), listed(api, cursor=cursor)):
        assert reply.status == 400
    assert api.get(about(one, "/events", cursor=listed(api, limit=1).json()["nextCursor"])).status == 400


def test_events_come_oldest_first_and_every_one_once(api: Daemon):
    sid, seen, cursor = first_sid(api), [], {}
    while True:
        page = api.get(about(sid, "/events", limit=3, **cursor)).json()
        seen += [e["eventId"] for e in page["events"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    whole = api.get(about(sid, "/events", limit=200)).json()
    assert seen == [e["eventId"] for e in whole["events"]]
    assert len(set(seen)) == len(seen) == 10
    assert [e["id"] for e in whole["events"]] == sorted(e["id"] for e in whole["events"])
    assert whole["events"][0]["rawPayload"]["room"]["sid"] == sid
    assert "turn-secret" not in json.dumps(whole)


def test_an_unchanged_call_is_a_304_by_its_tag(api: Daemon):
    sid = first_sid(api)
    reply = api.get(about(sid))
    tag = reply.headers["etag"]
    assert tag.startswith('"1-') and tag.endswith('"')
    connection = api.connect()
    for _ in range(2):  # on one connection, so that a body where none belongs would be seen
        for field in (tag, "W/" + tag, f'"x", {tag}', "*"):
            again = api.request("GET", about(sid), headers={"If-None-Match": field}, connection=connection)
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        other = api.request("GET", about(sid), headers={"If-None-Match": '"1-0"'}, connection=connection)
        assert (other.status, other.body) == (200, reply.body)
    connection.close()


def test_head_of_a_call_has_the_tag_and_no_body(api: Daemon):
    sid = first_sid(api)
    whole = api.get(about(sid))
    for path, field, status in ((about(sid), {}, 200), (about(sid), {"If-None-Match": whole.headers["etag"]}, 304), (about(sid, "/events"), {}, 200)):
        reply = api.request("HEAD", path, headers=field)
        assert (reply.status, reply.body) == (status, b"")
    head = api.request("HEAD", about(sid))
    assert (head.headers["etag"], head.headers["content-length"]) == (whole.headers["etag"], str(len(whole.body)))


# ---- call ids ----

@pytest.mark.parametrize("call_id", ["x" * 201, "x" * 5000, "%00", "a%00b", "%ff", "%2e%2e", "a%2fb", "*", "'", "%27%20OR%201=1--", "%E2%82%AC"])
def test_an_id_that_no_call_can_have_is_a_missing_call(api: Daemon, call_id):
    missing = api.get("/api/calls/RM_missing/outcome?user_id=a")
    assert missing.json()["error"] == "Call not found"
    for what in ("/outcome", "", "/events"):
        reply = api.get(f"/api/calls/{call_id}{what}?user_id=a")
        assert (reply.status, reply.body) == (404, missing.body)
        assert {k: v for k, v in reply.headers.items() if k != "date"} == {k: v for k, v in missing.headers.items() if k != "date"}


@pytest.mark.parametrize("call_id", ["%", "%4", "%zz", "a%2"])
def test_an_id_that_is_not_encoded_properly_is_a_400(api: Daemon, call_id):
    for what in ("/outcome", "", "/events"):
        assert api.get(f"/api/calls/{call_id}{what}?user_id=a").status == 400


def test_an_id_may_be_percent_encoded(api: Daemon):
    sid = listed(api).json()["calls"][0]["livekitRoomSid"]
    encoded = "".join(f"%{ord(c):02x}" for c in sid)
    assert api.get(f"/api/calls/{encoded}/outcome?user_id=user%201%2B2").json()["livekitRoomSid"] == sid


@pytest.mark.parametrize("path", ["/api/calls//outcome", "/api/calls/a/b/outcome", "/api/calls/", "/api//calls", "//livez", "/livez/", "/LIVEZ", "/api"])
def test_paths_are_exact(api: Daemon, path):
    assert api.get(path + "?user_id=a").status == 404


def test_answers_of_reads_at_once_are_not_mixed_up(api: Daemon):
    """Outcomes are looked up many at a time, lists between them: everybody gets their own."""
    sids = [c["livekitRoomSid"] for c in listed(api).json()["calls"]]
    user = "user_id=user%201%2B2"

    def ask(n: int) -> bool:
        connection = api.connect()
        right = True
        for i in range(40):
            sid = sids[(n + i) % 3]
            if (n + i) % 5 == 0:
                reply = api.request("GET", f"/api/calls?{user}&limit=1&room_name=none-{n}-{i}", connection=connection)
                right &= reply.json() == {"calls": [], "nextCursor": None}
            elif (n + i) % 6 == 0:
                right &= api.request("GET", about(sid), connection=connection).json()["legs"] != []
            elif (n + i) % 11 == 0:
                events = api.request("GET", about(sid, "/events"), connection=connection).json()["events"]
                right &= {e["roomSid"] for e in events} == {sid}
            elif (n + i) % 7 == 0:
                right &= api.request("GET", f"/api/calls/{sid}/outcome?user_id=user-{n}", connection=connection).status == 404
            else:
                reply = api.request("GET", f"/api/calls/{sid}/outcome?{user}", connection=connection)
                right &= reply.json()["livekitRoomSid"] == sid
        connection.close()
        return right

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(48)))


# ---- headers of answers ----

def test_what_belongs_to_a_tenant_is_not_stored_on_the_way(api: Daemon):
    sid = listed(api).json()["calls"][0]["livekitRoomSid"]
    for path in ("/api/calls?user_id=a", f"/api/calls/{sid}/outcome?user_id=user%201%2B2", "/api/calls/x/outcome?user_id=a", about(sid),
                 about(sid, "/events"), "/api/calls/x?user_id=a"):
        reply = api.get(path)
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_the_root_says_what_there_is(api: Daemon):
    text = api.get("/").body.decode()
    for path in (WEBHOOK, "/api/calls", "/readyz", "/metrics"):
        assert path in text


def test_answers_are_counted_by_their_status(api: Daemon):
    before = api.metrics()
    for method, path in (("GET", "/livez"), ("GET", "/nothing"), ("DELETE", "/livez"), ("POST", WEBHOOK), ("GET", "/api/calls?x=1")):
        api.request(method, path, b"" if method == "POST" else None)
    after = api.metrics()
    for status in (200, 404, 405, 401, 400):
        name = f'outcomed_http_requests_total{{code="{status}"}}'
        assert after[name] - before.get(name, 0) >= 1, status
    assert after["outcomed_http_connections"] >= 1


# ---- on a public address ----

@pytest.fixture(scope="module")
def public(outcomed_binary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("public")
    daemon = Daemon(outcomed_binary, folder, Database("sqlite", f"sqlite:{folder}/outcomed.db"), env=TOKENS, listen="0.0.0.0:0")
    daemon._find_port = lambda at, deadline: find_port(daemon, deadline)
    yield daemon.start()
    daemon.finish()


def find_port(daemon: Daemon, deadline: float) -> int:
    while "0.0.0.0:" not in daemon.log():
        daemon._still_starting(deadline, "said no address")
    return int(daemon.log().split("0.0.0.0:")[1].split()[0])


def bearer(token: str) -> dict:
    return {"Authorization": "Bearer " + token}


def test_metrics_on_a_public_address_are_for_the_service_token(public: Daemon):
    assert public.get("/metrics").status == 401
    assert public.get("/metrics", bearer("x")).status == 401
    assert public.get("/metrics", bearer(signing.tenant_token("acme", TENANT_SECRET))).status == 401
    assert public.get("/metrics", bearer(SERVICE)).status == 200


def test_health_needs_no_token_anywhere(public: Daemon):
    for path in ("/livez", "/readyz", "/", WEBHOOK + "/health"):
        assert public.get(path).status == 200


def test_the_receiver_needs_no_token_but_livekits(public: Daemon):
    body = json.dumps(CallMaker().event("room_started", 0)).encode()
    assert public.post(body).status == 200
    assert public.post(body, bearer(SERVICE)).status == 401


@pytest.mark.parametrize(("env", "says"), [
    ({}, "OUTCOMED_SERVICE_TOKEN"),
    ({"OUTCOMED_TENANT_SECRET": "too short"}, "32 bytes"),
    ({"OUTCOMED_TENANT_SECRET": "x" * 40, "LIVEKIT_API_SECRET": "x" * 40}, "LiveKit"),
])
def test_what_would_let_others_in_does_not_start(start_daemon, env, says):
    with pytest.raises(AssertionError, match="ended with 2") as stopped:
        start_daemon(env=env, listen="0.0.0.0:0")
    assert says in str(stopped.value)
