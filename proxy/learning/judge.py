"""Looks at answers after they were given: off the request's way, a few at a time, and at none when there is too much to do."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from ledger.errors import LedgerUnavailable
from ledger.ports import LearningPort
from ledger.records import Checked
from proxy.call import Call, Chunks, Streaming
from proxy.errors import ProxyError
from proxy.learning import checks
from proxy.learning.answers import READERS, Answered, read
from proxy.learning.learned import RENEW_S, Learned

SAMPLE_BYTES: Final = 4_096
"""A request is known again by its beginning, its end and its length."""

OURS: Final = frozenset({"hit", "joined"})
"""What the cache says of an answer that was made for somebody else, and was looked at then."""

log = structlog.get_logger("tollway.learning")

Write = Callable[[bytes], bool]


class Read(Protocol):
    """As ``answers.read``: the answers that a client was sent, none of a body that is not understood."""

    def __call__(self, endpoint: str, body: bytes, /, *, stream: bool) -> Sequence[Answered]: ...


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """waiting_max: answers that wait to be looked at; while there are so many, further ones are not looked at.
    answer_max_bytes: a longer answer is not looked at; of a stream only whether it is whole.  held_max_bytes: of all streams
    together that are kept until their end; and of all answers that wait.  asked_max: requests that are remembered, to see
    whether they are asked once more.
    """

    waiting_max: int = 512
    answer_max_bytes: int = 262_144
    held_max_bytes: int = 32 * 1024 * 1024
    asked_max: int = 10_000


def _nowhere(events: bytes) -> bool:  # noqa: ARG001  # the shape of Write
    return False


class Kept:
    """Chunks on their way, of which a copy is kept.  A few tenths of a µs a piece.

    room: how many bytes it may keep; it keeps none of an answer that is longer.
    """

    def __init__(self, chunks: Chunks, *, room: int) -> None:
        self._chunks = chunks
        self._room = room
        self._write: Write = _nowhere
        self._pieces: list[bytes] = []
        self.size = 0

    async def read(self, write: Write = _nowhere) -> bytes:
        """As what it passes on."""
        self._write = write
        events = await self._chunks.read(self._both)
        if events:
            self._keep(events)
        return events

    @property
    def closing(self) -> bytes:
        """As what it passes on."""
        return self._chunks.closing

    def fail(self, error: ProxyError) -> None:
        """As what it passes on."""
        self._chunks.fail(error)

    def close(self) -> None:
        """As what it passes on."""
        self._chunks.close()

    def body(self) -> bytes | None:
        """All of it, its end included; ``None``: it was too long."""
        return b"".join((*self._pieces, self._chunks.closing)) if self.size <= self._room else None

    def _both(self, events: bytes) -> bool:
        if not self._write(events):
            return False  # they are returned, and kept then
        self._keep(events)
        return True

    def _keep(self, events: bytes) -> None:
        self.size += len(events)
        if self.size <= self._room:
            self._pieces.append(events)
        else:
            self._pieces.clear()


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Something to look at.  body: what the client was sent; ``None``: that was not kept."""

    call: Call
    at_us: int
    offer: str
    task: str
    routed: bool
    truncated: bool
    body: bytes | None


class _Asked(msgspec.Struct):
    """A request that may be asked once more."""

    row: Checked
    routed: bool
    times: int = 1


class Judge:
    """Counts what can be checked of answers, and keeps it for requests that were routed.

    task_of: what kind of task a call is; empty: nobody knows.  is_routed: whether a policy chose who answers it.
    again_s: a request that is asked once more within that time of its answer was not answered well; 0: it is not looked for.
    bounds: of what is kept and looked at.  read: how answers are read.
    """

    def __init__(
        self,
        learned: Learned,
        ledger: LearningPort,
        *,
        task_of: Callable[[Call], str],
        is_routed: Callable[[Call], bool],
        clock_us: Callable[[], int],
        again_s: float,
        bounds: Bounds = Bounds(),  # noqa: B008  # frozen
        read: Read = read,
    ) -> None:
        self._learned = learned
        self._ledger = ledger
        self._task_of = task_of
        self._is_routed = is_routed
        self._clock_us = clock_us
        self._again_us = round(again_s * 1e6)
        self._bounds = bounds
        self._read = read
        self._queue: list[_Answer] = []
        self._held = 0  # bytes that streams under way may come to
        self._waiting = 0  # bytes in the queue
        self._asked: OrderedDict[tuple[str, bytes], _Asked] = OrderedDict()
        self.passed_over = 0  # answers that nobody had time for

    def listen(self, call: Call, reply: Streaming) -> None:
        """A stream begins.  It is kept if its form can be checked, and there is room.  1 µs, and some more a piece."""
        bounds = self._bounds
        if (
            call.cached.state not in OURS
            and call.endpoint in READERS
            and self._held + bounds.answer_max_bytes <= bounds.held_max_bytes
            and checks.wants_all(call.body)
        ):
            self._held += bounds.answer_max_bytes
            reply.chunks = Kept(reply.chunks, room=bounds.answer_max_bytes)

    def heard(self, call: Call, reply: Streaming) -> None:
        """A stream that was listened to is over, however it ended."""
        body = None
        if isinstance(reply.chunks, Kept):
            self._held -= self._bounds.answer_max_bytes
            body = reply.chunks.body()
        self.answered(call, body)

    def answered(self, call: Call, body: bytes | None) -> None:
        """An answer was given: have it looked at soon.  A µs.  body: ``None``: it was not kept."""
        last = call.trail[-1] if call.trail else None
        if last is None or last.outcome != "ok" or call.client.left or call.endpoint not in READERS:
            return
        bounds = self._bounds
        if body is not None and len(body) > bounds.answer_max_bytes:
            body = None
        size = len(body) if body is not None else 0
        if len(self._queue) >= bounds.waiting_max or self._waiting + size > bounds.held_max_bytes:
            self.passed_over += 1
            return
        self._waiting += size
        self._queue.append(
            _Answer(
                call=call,
                at_us=self._clock_us(),
                offer=last.deployment.name,
                task=self._task_of(call),
                routed=self._is_routed(call),
                truncated=last.truncated,
                body=body,
            )
        )

    async def run(self) -> None:
        """Look at answers, and keep the view of what was learned up to date, until cancelled."""
        told = 0
        while True:
            await asyncio.sleep(RENEW_S)
            await self.look()
            if self.passed_over > told:
                log.info("answers_not_checked", count=self.passed_over - told)
                told = self.passed_over

    async def look(self) -> None:
        """Look at what waits, and renew the view."""
        answers, self._queue, self._waiting = self._queue, [], 0
        if answers:
            # The codec holds the interpreter for a few µs at a time; another thread lets requests go in between.
            found = await asyncio.to_thread(lambda: [_looked_at(it, self._read) for it in answers])
            rows = []
            for answer, (row, name) in zip(answers, found, strict=True):
                if row is not None:
                    self._learned.checked(row)
                    if answer.routed:
                        rows.append(row)
                rows += self._again(answer, row, name)
            await self._keep(rows)
        self._learned.renew()

    async def _keep(self, rows: Sequence[Checked]) -> None:
        if not rows:
            return
        try:
            await self._ledger.note_checks(rows)
        except LedgerUnavailable:
            log.warning("checks_not_kept", count=len(rows))

    def _again(self, answer: _Answer, row: Checked | None, name: tuple[str, bytes]) -> list[Checked]:
        """What the request says of an earlier one that it asks once more; and it is remembered itself."""
        if not self._again_us or row is None:
            return []
        before = self._asked.pop(name, None)
        flawed: list[Checked] = []
        # Who asks the same again and again is a machine, and who asks it twice at once did not wait for an answer.
        if before is not None and 0 <= answer.call.received_us - before.row.at_us <= self._again_us:
            if before.times == 1 and not before.row.failed:
                was = before.row
                verdict = Checked(
                    request_id=was.request_id, at_us=answer.at_us, offer=was.offer, task=was.task, failed=(checks.KEPT,)
                )
                self._learned.checked(verdict)
                flawed = [verdict] if before.routed else []
            times = before.times + 1
        else:
            times = 1
        self._asked[name] = _Asked(row, answer.routed, times)
        if len(self._asked) > self._bounds.asked_max:
            self._asked.popitem(last=False)
        return flawed


def _looked_at(it: _Answer, read: Read) -> tuple[Checked | None, tuple[str, bytes]]:
    """What was found, and what was asked by whom."""
    try:
        return _checked(it, read), _name(it.call)
    except Exception:  # a background task's edge: whatever an answer is made of, the others are looked at
        log.exception("answer_not_checked", request_id=it.call.id)
        return None, ("", b"")


def _checked(it: _Answer, read: Read) -> Checked | None:
    """``None``: nothing of it could be checked."""
    call = it.call
    bounded = call.head.output_max is not None
    passed, failed = checks.ended(truncated=it.truncated, bounded=bounded)
    if it.body is not None:
        asked = checks.asked_of(call.body, bounded=bounded)
        answers = read(call.endpoint, it.body, stream=call.head.stream)
        if not answers:
            return None
        passed, failed = checks.judge(asked, answers)
    return Checked(request_id=call.id, at_us=it.at_us, offer=it.offer, task=it.task, passed=passed, failed=failed)


def _name(call: Call) -> tuple[str, bytes]:
    """Who asks what: the same for the same body of the same key."""
    body = call.body
    sample = body if len(body) <= 2 * SAMPLE_BYTES else body[:SAMPLE_BYTES] + body[-SAMPLE_BYTES:]
    digest = hashlib.blake2b(sample, digest_size=16, salt=len(body).to_bytes(16, "big")).digest()
    return call.principal.key_id if call.principal is not None else "", digest
