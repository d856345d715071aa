"""Posts a mark to outcomed: what your dialer, agent or app knows about a call. Only the standard library; docs/MARKS.md is the contract.

OUTCOMED_URL is where outcomed listens, OUTCOMED_TOKEN a service token or a tenant's, where it asks for one."""

import datetime
import json
import os
import time
import urllib.error
import urllib.request
import uuid


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


def post_mark(mark: dict, waits: tuple[float, ...] = (1, 2, 4, 8)) -> str | None:
    """The event id under which outcomed keeps the mark, or None. Never raises: a mark is not worth a call. Blocks while it tries again."""
    url = os.environ.get("OUTCOMED_URL", "http://127.0.0.1:5000") + "/api/marks"
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    if token := os.environ.get("OUTCOMED_TOKEN"):
        headers["Authorization"] = "Bearer " + token
    body = json.dumps({name: value for name, value in mark.items() if value is not None}).encode()
    for wait in (*waits, None):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5) as reply:
                return json.load(reply)["event_id"]
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                print("outcomed refused the mark:", error.code, error.read().decode(errors="replace"))
                return None
        except (OSError, ValueError):
            pass
        if wait is not None:
            time.sleep(wait)
    print("outcomed could not be reached: the mark is lost")
    return None
