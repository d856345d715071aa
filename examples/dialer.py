"""Dials with LiveKit's Python SDK and tells outcomed what came of it: the SIP code is only in the error that the dialer gets.

    from livekit import api
    participant = await dial(api.LiveKitAPI(), api.CreateSIPParticipantRequest(
        sip_trunk_id="ST_…", sip_call_to="+15105550123", room_name="sales-42", wait_until_answered=True))
"""

import asyncio

from marks import now, post_mark


def mark_of_error(error: Exception, room_name: str) -> dict | None:
    """What LiveKit's answer (api.TwirpError) says about the call; None for an error that is no answer of LiveKit's."""
    metadata = getattr(error, "metadata", None)
    if metadata is None and not hasattr(error, "message"):
        return None
    code = str((metadata or {}).get("sip_status_code", ""))
    text = (metadata or {}).get("sip_status") or getattr(error, "message", None) or str(error)
    return {"roomName": room_name, "source": "dialer", "kind": "sip_result", "at": now(), "sipCode": int(code) if code.isdigit() else None,
            "sipText": text[:500]}


async def dial(livekit, request):
    """livekit.sip.create_sip_participant(request), with its result posted in the background."""
    try:
        participant = await livekit.sip.create_sip_participant(request)
    except Exception as error:
        if mark := mark_of_error(error, request.room_name):
            post_in_background(mark)
        raise
    if request.wait_until_answered:
        post_in_background({"sipCallId": participant.sip_call_id, "source": "dialer", "kind": "answered", "at": now()})
    return participant


def post_in_background(mark: dict) -> None:
    task = asyncio.get_running_loop().create_task(asyncio.to_thread(post_mark, mark))
    posting.add(task)  # the loop itself does not hold it
    task.add_done_callback(posting.discard)


posting: set[asyncio.Task] = set()
