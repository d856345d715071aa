"""Tells outcomed what a LiveKit agent (Python) sees of a phone call: when an outbound call was answered, and whether by a machine.

    async def entrypoint(ctx: JobContext):
        await ctx.connect()
        report_answers(ctx.room)
        ...
        await report_machine(participant, True, "voicemail")   # what your answering-machine detection says
"""

import asyncio

from marks import now, post_mark

ANSWERED = ("active", "automation")


def is_outbound_leg(participant) -> bool:
    """A phone that LiveKit dialed; one that called in was let in by a dispatch rule."""
    return "sip.callID" in participant.attributes and "sip.ruleID" not in participant.attributes


def report_answers(room) -> None:
    """Call it once the agent is in the room. LiveKit sends no webhook when an outbound call is answered; who is in the room sees it."""
    told = set()

    def look(participant) -> None:
        call_id = participant.attributes.get("sip.callID")
        if not is_outbound_leg(participant) or participant.attributes.get("sip.callStatus") not in ANSWERED or call_id in told:
            return
        told.add(call_id)
        post_in_background({"sipCallId": call_id, "source": "agent", "kind": "answered", "at": now()})

    room.on("participant_attributes_changed", lambda changed, participant: look(participant))


async def report_machine(participant, is_machine: bool, value: str | None = None) -> str | None:
    """`value` is yours: voicemail, fax, ivr."""
    mark = {"sipCallId": participant.attributes.get("sip.callID"), "source": "agent", "kind": "machine" if is_machine else "human", "at": now(),
            "value": value}
    return await asyncio.to_thread(post_mark, mark)


def post_in_background(mark: dict) -> None:
    task = asyncio.get_running_loop().create_task(asyncio.to_thread(post_mark, mark))
    posting.add(task)  # the loop itself does not hold it
    task.add_done_callback(posting.discard)


posting: set[asyncio.Task] = set()
