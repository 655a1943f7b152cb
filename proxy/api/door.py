"""Where requests are sent away when there is too much to do: before they are parsed, or it would cost as much as to answer.

Only what is there in one piece and plainly formed is judged here, in about 5 µs; the edge judges the rest.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from proxy.call import Principal
from proxy.errors import InvalidApiKey, Overloaded, to_openai
from proxy.limits.overload import Overload
from proxy.limits.queue import rank_of

TOO_MUCH = "The gateway has more to do than it can."

KNOWN_MAX = 512
KNOWN_BYTES = 4_096
"""Heads that are remembered, and how long one may be: the next request of a client often has the same one."""

INFERENCE = re.compile(rb"POST /v1/(?:chat/completions|completions|embeddings|responses) HTTP/1\.1\r\n")
_AUTHORIZATION = b"\r\nauthorization: bearer "
_LENGTH = b"\r\ncontent-length: "
_PRIORITY = b"\r\nx-tollway-priority: "
_MIXED = re.compile(rb"\r\n(?:transfer-encoding|expect|upgrade)[ \t]*:")


class Turns:
    """Tells of each turn of the event loop how much processor time it took, for as long as somebody asks in each.

    A turn: what was ready runs, then what has come from the network is received.  While a callback is ready the loop does not
    wait in between, so nothing of it is idle.
    thread_s: processor time of the loop's thread.   turned: told of each.
    """

    def __init__(self, thread_s: Callable[[], float], turned: Callable[[float], None]) -> None:
        self._thread_s = thread_s
        self._turned = turned
        self._began_s: float | None = None
        self._follows = False
        self._asked = False

    def follow(self) -> None:
        """Tell of this turn and the next one."""
        self._asked = True
        if not self._follows:
            self._follows = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        now_s = self._thread_s()
        if self._began_s is not None:
            self._turned(now_s - self._began_s)
        self._began_s = now_s if self._asked else None
        self._follows = self._asked
        if self._asked:
            self._asked = False
            asyncio.get_running_loop().call_soon(self._turn)


class Door:
    """Judges whole requests by their bytes.

    identify: who sends these Authorization headers.  at_work: how many requests are being answered.
    """

    def __init__(
        self,
        overload: Overload,
        *,
        identify: Callable[[tuple[str, ...]], Principal],
        at_work: Callable[[], int],
        request_id: Callable[[], str],
        turns: Turns,
    ) -> None:
        self._overload = overload
        self._identify = identify
        self._at_work = at_work
        self._request_id = request_id
        self._turns = turns
        self._known: dict[bytes, tuple[int, int]] = {}
        self._answers: dict[int, tuple[bytes, bytes]] = {}

    def is_guarded(self) -> bool:
        """Whether anybody may have to be sent away just now.  0.2 µs."""
        if not self._overload.is_pressed(self._at_work()):
            return False
        self._turns.follow()
        return True

    def judge(self, data: bytes) -> bytes | None:
        """The answer for a request that is sent away, ``b""`` if it may come in, ``None`` if it cannot be judged here."""
        end = data.find(b"\r\n\r\n") + 4
        head = data[:end]
        known = self._known.get(head)
        if known is None:
            if end < 4 or (known := self._read(head)) is None:
                return None
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            if end <= KNOWN_BYTES:
                self._known[head] = known
        length, rank = known
        if len(data) != end + length:
            return None
        return self._answer() if self._overload.sheds(rank, self._at_work()) else b""

    def _read(self, head: bytes) -> tuple[int, int] | None:
        """Of a head that is plain and of a known key: its body's length, and its rank."""
        if INFERENCE.match(head) is None:
            return None
        lower = head[:-2].lower()
        length = _field(lower, _LENGTH)
        if length is None or not length.isdigit() or _MIXED.search(lower):
            return None
        at = lower.find(_AUTHORIZATION)
        if at < 0 or lower.count(b"\r\nauthorization") != 1:
            return None
        at += len(_AUTHORIZATION)
        secret = head[at : head.index(b"\r\n", at)].decode("latin-1")
        try:
            principal = self._identify((f"Bearer {secret}",))
        except InvalidApiKey:
            return None
        asked = _field(lower, _PRIORITY)
        return int(length), rank_of(principal.priority, asked.decode("latin-1") if asked else None)

    def _answer(self) -> bytes:
        retry_after_s = self._overload.retry_after_s
        made = self._answers.get(retry_after_s)
        if made is None:
            # As many as there are times to wait, at most.
            made = self._answers[retry_after_s] = _made(retry_after_s)
        return made[0] + self._request_id().encode() + made[1]


def _made(retry_after_s: int) -> tuple[bytes, bytes]:
    """The answer, before and after its request id."""
    status, headers, body = to_openai(Overloaded(TOO_MUCH, retry_after_s=retry_after_s))
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return (
        b"HTTP/1.1 %d Service Unavailable\r\n%bcontent-length: %d\r\nx-request-id: " % (status, lines, len(body)),
        b"\r\n\r\n" + body,
    )


def _field(head: bytes, name: bytes) -> bytes | None:
    """The value of a header that stands there once; ``None`` if it does not."""
    at = head.find(name)
    if at < 0 or head.count(name[:-2]) != 1:
        return None
    at += len(name)
    return head[at : head.index(b"\r\n", at)].strip()
