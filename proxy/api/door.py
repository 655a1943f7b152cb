"""Where requests are sent away when there is too much to do: before they are parsed, or it would cost as much as to answer.

Only what is there in one piece and plainly formed is judged here, in about 10 µs; the edge judges the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from proxy.call import Principal
from proxy.errors import InvalidApiKey, Overloaded, to_openai
from proxy.limits.overload import Overload
from proxy.limits.queue import rank_of

TOO_MUCH = "The gateway has more to do than it can."

INFERENCE = re.compile(rb"POST /v1/(?:chat/completions|completions|embeddings|responses) HTTP/1\.1\r\n")
_AUTHORIZATION = b"\r\nauthorization: bearer "
_LENGTH = b"\r\ncontent-length: "
_PRIORITY = b"\r\nx-tollway-priority: "
_MIXED = re.compile(rb"\r\n(?:transfer-encoding|expect|upgrade)[ \t]*:")


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
    ) -> None:
        self._overload = overload
        self._identify = identify
        self._at_work = at_work
        self._request_id = request_id
        self._answers: dict[int, tuple[bytes, bytes]] = {}

    def is_guarded(self) -> bool:
        """Whether anybody may have to be sent away just now.  0.2 µs."""
        return self._overload.is_pressed(self._at_work())

    def judge(self, data: bytes) -> bytes | None:
        """The answer for a request that is sent away, ``b""`` if it may come in, ``None`` if it cannot be judged here."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or INFERENCE.match(data) is None:
            return None
        head = data[: end + 2].lower()
        length = _field(head, _LENGTH)
        if length is None or not length.isdigit() or len(data) != end + 4 + int(length) or _MIXED.search(head):
            return None
        at = head.find(_AUTHORIZATION)
        if at < 0 or head.count(b"\r\nauthorization") != 1:
            return None
        at += len(_AUTHORIZATION)
        secret = data[at : head.index(b"\r\n", at)].decode("latin-1")
        try:
            principal = self._identify((f"Bearer {secret}",))
        except InvalidApiKey:
            return None
        asked = _field(head, _PRIORITY)
        rank = rank_of(principal.priority, asked.decode("latin-1") if asked else None)
        return self._answer() if self._overload.sheds(rank, self._at_work()) else b""

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
