"""A chat stream that broke off, taken up by another deployment with the text so far."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from providers import sse
from proxy.call import Call, Chunks
from proxy.errors import ProxyError
from proxy.outcome import fault_of
from proxy.relay import Relay, Write

TEXT_MAX_CHARS = 1_000_000
"""More text than this is not kept, and then the stream cannot be taken up."""


class _Choice(msgspec.Struct):
    index: int = 0
    delta: dict[str, Any] = {}
    finish_reason: Any = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []


_decode = msgspec.json.Decoder(_Event).decode
_decode_whole = msgspec.json.Decoder(dict[str, Any]).decode


class SoFar:
    """What a client has been sent of an answer.

    text: of it.  tokens: about how many.  plain: there was nothing but text, and it is not over, so that it can be taken up.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._chars = 0
        self.tokens = 0
        self.plain = True

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self._parts)

    def take(self, events: bytes) -> None:
        """Learn from whole events."""
        for part in sse.split(events):
            data = sse.data_of(part)
            if not data or not self.plain:
                continue
            try:
                event = _decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self.plain = False
                return
            for choice in event.choices:
                self._take(choice)

    def _take(self, choice: _Choice) -> None:
        text = choice.delta.get("content") or ""
        more = any(value for key, value in choice.delta.items() if key not in ("role", "content"))
        if choice.index or choice.finish_reason is not None or more or not isinstance(text, str):
            # Tool calls, reasoning, audio, a second choice: nobody else could go on from the middle of those.
            self.plain = False
        elif text:
            self.tokens += 1
            self._chars += len(text)
            self._parts.append(text)
            if self._chars > TEXT_MAX_CHARS:
                self.plain = False
                self._parts.clear()


Resume = Callable[[SoFar], Awaitable[Chunks | None]]
"""Begins the rest of the answer somewhere else; ``None`` if there is nobody, and then the stream ends as it broke off."""


def can_continue(call: Call) -> bool:
    """Whether an answer to this request could be taken up at all."""
    return call.head.stream and call.endpoint == "chat/completions" and call.head.choices == 1


class Continued:
    """Chunks of a stream; where it breaks off for a reason that is its provider's, those of another one follow.

    Both are on the trail, each with what it used.  Raises nothing.
    """

    def __init__(self, relay: Relay, resume: Resume) -> None:
        self._relay = relay
        self._resume = resume
        self._so_far = SoFar()
        self._fresh = False

    @property
    def closing(self) -> bytes:
        """What ends the stream that is read now."""
        return self._relay.closing

    async def read(self, write: Write = lambda _: False) -> bytes:
        """Write events as they come, and return those that could not be written at once; ``b""`` at the end."""

        def passed(events: bytes) -> bool:
            written = write(events)
            if written:
                self._so_far.take(events)
            return written

        while True:
            events = await self._relay.read(passed)
            if events:
                if self._fresh:
                    self._fresh = False
                    events = without_role(events)
                self._so_far.take(events)
                if events:
                    return events
                continue
            if not self._broke_off() or not await self._taken_up():
                return b""

    def fail(self, error: ProxyError) -> None:
        """End it here."""
        self._relay.fail(error)

    def close(self) -> None:
        """Let go of the upstream."""
        self._relay.close()

    def _broke_off(self) -> bool:
        error = self._relay.error
        return error is not None and fault_of(error) in ("upstream", "timeout") and self._so_far.plain

    async def _taken_up(self) -> bool:
        rest = await self._resume(self._so_far)
        if not isinstance(rest, Relay):
            return False
        self._relay.close()
        self._relay = rest
        self._fresh = True
        return True


def without_role(events: bytes) -> bytes:
    """The first events of a stream that goes on with another: the role was said already, and clients would add it up."""
    kept = []
    for part in sse.split(events):
        try:
            event = _decode_whole(sse.data_of(part))
            delta = event["choices"][0]["delta"]
            said = delta.pop("role", None)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError, AttributeError):
            kept.append(part)
            continue
        if said is None:
            kept.append(part)
        elif any(delta.values()) or event["choices"][0].get("finish_reason") is not None:
            kept.append(b"data: " + msgspec.json.encode(event) + b"\n\n")
    return b"".join(kept)
