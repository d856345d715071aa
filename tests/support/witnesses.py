"""What a second witness would have said of the recorded calls: the dialer, by the replies that were recorded for each way a call can end."""

import json

from support import captures

# Endings that have no SIP code: the dialer's reply has a text alone. By capture.
BY_TEXT = {
    "out-no-common-codec": "ans-g729",
    "out-ring-timeout": "ring",
    "mix-10-out-ring-timeout": "ring",
    "out-silent-trunk": "silent",
    "era-a-out-silent-trunk": "silent",
    "out-refused": "silent",
    "out-unresolvable": "unresolvable",
}


def dialer_replies() -> dict[str, dict]:
    """By what was dialed: the status, the code and the text of CreateSIPParticipant's reply."""
    found = {}
    for line in (captures.FOLDER / "api/dialer-replies.jsonl").read_text().splitlines():
        if not line:
            continue
        row = json.loads(line)
        if not row["method"].endswith("/CreateSIPParticipant"):
            continue
        body = json.loads(row["body"])
        meta = body.get("meta", {})
        found[row["what"]] = {"status": row["status"], "code": int(meta.get("sip_status_code", 0)),
                              "text": meta.get("sip_status") or body.get("msg", "")}
    return found


def outbound_legs(call: captures.Call) -> list[str]:
    """The sip.callIDs of the legs that were dialed, in the order of joining."""
    legs: list[str] = []
    for delivery in call.deliveries:
        attributes = delivery.event.get("participant", {}).get("attributes", {})
        leg = attributes.get("sip.callID")
        if leg and "sip.ruleID" not in attributes and leg not in legs:
            legs.append(leg)
    return legs


def result_of(truth: dict, name: str) -> dict | None:
    """The dialer's reply to a call that ended so; None where no such reply was recorded."""
    replies = dialer_replies()
    by_text = next((what for capture, what in BY_TEXT.items() if name == capture or name.startswith(capture + "-")), None)
    if by_text:
        return replies[by_text]
    if truth.get("answeredAtMs"):
        return {"status": 200, "code": 200, "text": "OK"}
    return next((r for r in replies.values() if r["code"] and r["code"] == truth.get("sipCode")), None)


def dialer_marks() -> list[dict]:
    """One mark a dialed leg, as a dialer that waits for the answer posts it. A failed request does not say which sip.callID it had."""
    marks = []
    for call in captures.recorded_calls():
        if call.truth["direction"] != "outbound":
            continue
        scenario = next(c.scenario for c in captures.all_captures() if c.name == call.capture)
        truths = scenario.get("legs") or [call.truth]
        legs = outbound_legs(call)
        for n, (truth, leg) in enumerate(zip(truths, legs, strict=False)):
            name = call.room_name if call.capture.startswith("mix-") else call.capture
            reply = result_of(truth, name)
            if not reply:
                continue
            answered = 200 <= reply["code"] < 300
            marks.append({
                "roomSid": call.room_sid, "id": f"MK_{call.room_sid}_{n}", "source": "dialer", "sipCallId": leg if answered else "",
                "kind": "answered" if answered else "sip_result", "code": 0 if answered else reply["code"],
                "text": "" if answered else reply["text"], "atMs": truth["answeredAtMs"] if answered else truth["endedAtMs"] + 5,
            })
    return marks
