"""Where requests are sent away when there is too much to do: before they are parsed, or it would cost as much as to answer.

Only what is there in one piece and plainly formed is judged here, in about 5 µs; the edge judges the rest.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from providers.provider import Protocol, protocol_of
from proxy.api import places
from proxy.call import Principal
from proxy.errors import InvalidApiKey, Overloaded, to_client
from proxy.limits.overload import Overload
from proxy.limits.queue import rank_of

TOO_MUCH = "The gateway has more to do than it can."

KNOWN_MAX = 512
KNOWN_BYTES = 4_096
"""Heads that are remembered, and how long one may be: the next request of a client often has the same one."""

_KEYS = (b"\r\nauthorization: bearer ", b"\r\nx-api-key: ", b"\r\nx-goog-api-key: ", b"\r\napi-key: ")
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
        self._known: dict[bytes, tuple[int, int, Protocol]] = {}
        self._answers: dict[tuple[int, Protocol], tuple[bytes, ...]] = {}

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
        length, rank, protocol = known
        if len(data) != end + length:
            return None
        return self._answer(protocol) if self._overload.sheds(rank, self._at_work()) else b""

    def _read(self, head: bytes) -> tuple[int, int, Protocol] | None:
        """Of a head that is plain and of a known key: its body's length, its rank, and whose protocol it is."""
        endpoint = places.of_line(head)
        if endpoint is None:
            return None
        lower = head[:-2].lower()
        length = _field(lower, _LENGTH)
        if length is None or not length.isdigit() or _MIXED.search(lower):
            return None
        secret = _secret(head, lower)
        if secret is None:
            return None
        try:
            principal = self._identify((f"Bearer {secret}",))
        except InvalidApiKey:
            return None
        asked = _field(lower, _PRIORITY)
        rank = rank_of(principal.priority, asked.decode("latin-1") if asked else None)
        return int(length), rank, protocol_of(endpoint)

    def _answer(self, protocol: Protocol) -> bytes:
        retry_after_s, request_id = self._overload.retry_after_s, self._request_id()
        made = self._answers.get((retry_after_s, protocol))
        if made is None:
            # As many as there are times to wait and protocols, at most.
            made = self._answers[retry_after_s, protocol] = _made(retry_after_s, protocol, len(request_id))
        return request_id.encode().join(made)


def _made(retry_after_s: int, protocol: Protocol, id_length: int) -> tuple[bytes, ...]:
    """The answer, before, between and after where its request id stands; all ids are as long as the others."""
    place = "\0" * id_length
    status, headers, body = to_client(Overloaded(TOO_MUCH, retry_after_s=retry_after_s), protocol, place)
    # A JSON text spells it in another way, and no longer than it is.
    parts = body.replace(b"\\u0000" * id_length, place.encode())
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    if protocol == "anthropic":
        lines += b"request-id: %b\r\n" % place.encode()
    return tuple(
        (
            b"HTTP/1.1 %d %b\r\n%bcontent-length: %d\r\nx-request-id: %b\r\n\r\n"
            % (status, _PHRASES.get(status, b"Overloaded"), lines, len(parts), place.encode())
            + parts
        ).split(place.encode())
    )


_PHRASES = {503: b"Service Unavailable"}


def _secret(head: bytes, lower: bytes) -> str | None:
    """The one key that a head has, under whichever of its names; ``None`` if it has none, or several."""
    found = None
    for name in _KEYS:
        bare = name[: name.index(b":")]
        if bare not in lower:
            continue
        at = lower.find(name)
        if found is not None or at < 0 or lower.count(bare) != 1:
            return None
        at += len(name)
        found = head[at : head.index(b"\r\n", at)].decode("latin-1")
    return found


def _field(head: bytes, name: bytes) -> bytes | None:
    """The value of a header that stands there once; ``None`` if it does not."""
    at = head.find(name)
    if at < 0 or head.count(name[:-2]) != 1:
        return None
    at += len(name)
    return head[at : head.index(b"\r\n", at)].strip()
