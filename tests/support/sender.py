"""A steady stream of genuine webhooks, whatever becomes of the answers: calls begin at a fixed rate, each goes on as LiveKit does it, the next event
of a room when the last one was answered. The ledger and the patterns of calls are those of the torture, and so are the books afterwards."""

import asyncio
import dataclasses
import json
import re
import threading
import time

from support import torture

PATTERNS = torture.PATTERNS[:3]  # webhooks only
EVENTS_PER_CALL = sum(len(p.make(0).requests) for p in PATTERNS) / len(PATTERNS)
BETWEEN_EVENTS_S = 0.05
GIVE_UP_S = 60


@dataclasses.dataclass(frozen=True)
class Answer:
    at_s: float  # when it was asked, from the start
    status: int | None  # None: broken off
    took_s: float
    port: int


class Sender:
    """`ports`: of one node, or of several, each of which then gets every event at the same time; an event counts as taken when one of them said 200.
    `again_s`: the pause before an event that nobody took is sent again."""

    def __init__(self, ports: list[int] | int, rate: float, first_call: int = 0, again_s: float = 0.3) -> None:
        self.ports = [ports] if isinstance(ports, int) else list(ports)
        self.ledger, self.answers = torture.Ledger(), []
        self._rate, self._number, self._again_s = rate / EVENTS_PER_CALL, first_call, again_s
        self._stop, self._idle, self._failures = threading.Event(), {port: [] for port in self.ports}, []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.began = time.monotonic()
        self._thread.start()

    # ---- one request ----

    async def _connect(self, port: int):
        return self._idle[port].pop() if self._idle[port] else await asyncio.open_connection("127.0.0.1", port)

    async def _ask(self, port: int, request: bytes) -> tuple[int, bytes] | None:
        began, writer, answer = time.monotonic(), None, None
        try:
            reader, writer = await self._connect(port)
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head)[1])
            answer = int(head[9:12]), await reader.readexactly(length)
            if re.search(rb"(?i)\r\nconnection: close", head):
                writer.close()
            else:
                self._idle[port].append((reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            if writer is not None:
                writer.close()
        self.answers.append(Answer(began - self.began, answer[0] if answer else None, time.monotonic() - began, port))
        return answer

    async def _until_taken(self, event_id: str, request: bytes) -> None:
        deadline = time.monotonic() + GIVE_UP_S
        while True:
            self.ledger.begin()
            answers = await asyncio.gather(*(self._ask(port, request) for port in self.ports))
            taken = [body for answer in answers if answer for status, body in [answer] if status == 200]
            self.ledger.end(200 if taken else next((a[0] for a in answers if a), None), event_id)
            wrong = [body for body in taken if json.loads(body)["event_id"] != event_id]
            assert not wrong, f"{event_id} was answered with {wrong}"
            if taken:
                return
            assert time.monotonic() < deadline, f"{event_id} was not taken in {GIVE_UP_S} s: {answers}"
            await asyncio.sleep(self._again_s)

    # ---- calls ----

    async def _call(self, number: int) -> None:
        call = PATTERNS[number % len(PATTERNS)].make(number)
        try:
            for event_id, request in call.requests:
                due = time.monotonic() + BETWEEN_EVENTS_S
                await self._until_taken(event_id, request)
                await asyncio.sleep(max(0, due - time.monotonic()))
            self.ledger.whole(call)
        except Exception as problem:  # shown by finish()
            self._failures.append(repr(problem))

    async def _run(self) -> None:
        calls, begun, since = set(), 0, time.monotonic()
        while not self._stop.is_set():
            if begun < (time.monotonic() - since) * self._rate:
                task = asyncio.create_task(self._call(self._number))
                calls.add(task)
                task.add_done_callback(calls.discard)
                self._number += 1
                begun += 1
            else:
                await asyncio.sleep(0.002)
        if calls:
            await asyncio.wait(calls)
        for connections in self._idle.values():
            for _, writer in connections:
                writer.close()

    # ---- what came of it ----

    def finish(self) -> "Sender":
        """No new calls; those that were begun are sent to their end."""
        self._stop.set()
        self._thread.join()
        assert self._failures == [], self._failures[:3]
        return self

    def statuses(self) -> dict[int | None, int]:
        counts: dict[int | None, int] = {}
        for answer in self.answers:
            counts[answer.status] = counts.get(answer.status, 0) + 1
        return counts

    def slowest_s(self) -> float:
        return max(answer.took_s for answer in self.answers)

    def __str__(self) -> str:
        took = sorted(a.took_s for a in self.answers)
        share = f"p50 {took[len(took) // 2] * 1000:.0f} ms, p99 {took[len(took) * 99 // 100] * 1000:.0f} ms, slowest {took[-1] * 1000:.0f} ms"
        return f"{len(took)} answers {self.statuses()}, {len(self.ledger.calls)} calls, {share}"
