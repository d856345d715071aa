"""Made-up events in the form of the recorded ones: an answered or rejected phone call of a tenant, event by event."""

import itertools
import json
import secrets
import time

_number = itertools.count(1)


def new_id(prefix: str) -> str:
    return f"{prefix}_{next(_number):06d}x{secrets.token_hex(4)}"


class CallMaker:
    """Makes the webhooks of one outbound call, all with ids of their own. Times are the sender's."""

    def __init__(self, tenant: str | None = "user-1", room_name: str | None = None, started_s: int | None = None,
                 number: str = "+12025550123") -> None:
        self.sid, self.name = new_id("RM"), room_name or new_id("room")
        self.tenant, self.number = tenant, number
        self.started_s = int(time.time()) - 60 if started_s is None else started_s
        self.call_id, self.leg, self.agent = new_id("SCL"), new_id("PA"), new_id("PA")

    def room(self) -> dict:
        room = {"sid": self.sid, "name": self.name, "emptyTimeout": 5, "departureTimeout": 2, "creationTime": str(self.started_s),
                "creationTimeMs": str(self.started_s * 1000 + 120), "turnPassword": "turn-secret-" + self.sid}
        if self.tenant is not None:
            room["metadata"] = json.dumps({"user_id": self.tenant})
        return room

    def event(self, kind: str, at_s: int, **members) -> dict:
        return {"event": kind, "room": self.room(), "id": new_id("EV"), "createdAt": str(self.started_s + at_s), **members}

    def sip(self, status: str, tag: bool, **members) -> dict:
        attributes = {"sip.callID": self.call_id, "sip.callStatus": status, "sip.phoneNumber": self.number,
                      "sip.trunkID": "ST_trunk", "sip.trunkPhoneNumber": "+15005550100"}
        if tag:
            attributes["sip.callTag"] = "tag-" + self.call_id
        return {"sid": self.leg, "identity": "sip_" + self.number, "state": "ACTIVE", "kind": "SIP", "joinedAt": str(self.started_s + 1),
                "joinedAtMs": str(self.started_s * 1000 + 1040), "attributes": attributes, **members}

    def agent_member(self, **members) -> dict:
        return {"sid": self.agent, "identity": "agent-" + self.agent, "state": "ACTIVE", "kind": "AGENT",
                "joinedAt": str(self.started_s), "joinedAtMs": str(self.started_s * 1000 + 800), **members}

    def track(self, kind: str, at_s: int, participant: dict) -> dict:
        return {"event": kind, "room": {"sid": self.sid, "name": self.name}, "id": new_id("EV"), "createdAt": str(self.started_s + at_s),
                "participant": {"sid": participant["sid"], "identity": participant["identity"]},
                "track": {"sid": "TR_" + participant["sid"][3:], "source": "MICROPHONE", "mimeType": "audio/opus",
                          "version": {"unixMicro": str((self.started_s + at_s) * 1_000_000)}}}

    def answered(self) -> list[dict]:
        """Ten events: rings, is answered, talks, the callee hangs up."""
        sip, agent = self.sip("dialing", False), self.agent_member()
        left = self.sip("hangup", True, state="DISCONNECTED", disconnectReason="CLIENT_INITIATED")
        return [self.event("room_started", 0), self.event("participant_joined", 0, participant=agent),
                self.track("track_published", 0, agent), self.event("participant_joined", 1, participant=sip),
                self.track("track_published", 1, sip), self.track("track_unpublished", 9, sip),
                self.event("participant_left", 9, participant=left), self.track("track_unpublished", 10, agent),
                self.event("participant_left", 10, participant=agent | {"state": "DISCONNECTED", "disconnectReason": "ROOM_CLOSED"}),
                self.event("room_finished", 11)]

    def unanswered(self) -> list[dict]:
        """Six events: rings until the time limit."""
        sip = self.sip("dialing", False)
        left = self.sip("ringing", False, state="DISCONNECTED", disconnectReason="USER_UNAVAILABLE")
        return [self.event("room_started", 0), self.event("participant_joined", 1, participant=sip),
                self.track("track_published", 1, sip), self.track("track_unpublished", 40, sip),
                self.event("participant_left", 40, participant=left), self.event("room_finished", 42)]
