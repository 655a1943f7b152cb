"""A stream of an answer that broke off, taken up by another deployment with the text so far."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from providers import sse
from providers.anthropic.joined import Joined
from providers.canonical import Delta, Event, PartStarted, PartStopped, Started, Text, UsageSeen
from providers.errors import ProviderError
from providers.protocol import Codec, Decoder
from providers.provider import Endpoint
from providers.registry import WIRES
from providers.usage import semantics_of
from proxy.attempts.outcome import fault_of
from proxy.attempts.relay import Relay, Write
from proxy.attempts.translation import codec_of
from proxy.call import Call, Chunks
from proxy.errors import ProxyError

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
            self._add(text)

    def _add(self, text: str) -> None:
        self.tokens += 1
        self._chars += len(text)
        self._parts.append(text)
        if self._chars > TEXT_MAX_CHARS:
            self.plain = False
            self._parts.clear()


class SoFarDecoded(SoFar):
    """The same of a stream in another protocol than chat completions.  decoder: reads what the client has been sent.

    open: the block that is open, as Anthropic counts them; ``None``: none is.  blocks: how many have begun.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self._decoder = decoder
        self.open: int | None = None
        self.blocks = 0

    def take(self, events: bytes) -> None:
        """Learn from whole events."""
        try:
            for event in self._decoder.feed(events) if self.plain else ():
                self._learn(event)
        except ProviderError:
            self.plain = False

    def _learn(self, event: Event) -> None:
        match event:
            case Started() | UsageSeen():
                pass
            case PartStarted(part=Text(), choice=0):
                self.open = self.blocks
                self.blocks += 1
            case PartStopped(choice=0):
                self.open = None
            case Delta(choice=0) if event.text and self.open is not None and event.citation is None:
                self._add(event.text)
            case Delta(choice=0) if not event.arguments and event.audio is None:
                pass
            case _:
                self.plain = False


def so_far_of(endpoint: Endpoint) -> SoFar:
    """What notes a client's stream of that endpoint."""
    if endpoint == "chat/completions":
        return SoFar()
    return SoFarDecoded(codec_of(endpoint).decoder(semantics_of("", endpoint)))


Resume = Callable[[SoFar], Awaitable[Chunks | None]]
"""Begins the rest of the answer somewhere else; ``None`` if there is nobody, and then the stream ends as it broke off."""


def can_continue(call: Call) -> bool:
    """Whether an answer to this request could be taken up at all."""
    # A response has one id from its first event to its last, and the events count on: clients refuse a second one.
    if call.endpoint == "responses":
        return False
    return call.head.stream and isinstance(WIRES[call.endpoint].codec, Codec) and call.head.choices == 1


class Continued:
    """Chunks of a stream; where it breaks off for a reason that is its provider's, those of another one follow.

    Both are on the trail, each with what it used.  Raises nothing.
    """

    def __init__(self, relay: Relay, resume: Resume, endpoint: Endpoint = "chat/completions") -> None:
        self._relay = relay
        self._resume = resume
        self._endpoint = endpoint
        self._so_far = so_far_of(endpoint)
        self._join: Callable[[bytes], bytes] | None = None

    @property
    def closing(self) -> bytes:
        """What ends the stream that is read now."""
        return self._relay.closing

    async def read(self, write: Write = lambda _: False) -> bytes:
        """Write events as they come, and return those that could not be written at once; ``b""`` at the end."""

        def passed(events: bytes) -> bool:
            # What joins a stream remembers what it has seen: it sees everything once, when it is read.
            written = self._join is None and write(events)
            if written:
                self._so_far.take(events)
            return written

        while True:
            events = await self._relay.read(passed)
            if events:
                if self._join is not None:
                    events = self._join(events)
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
        self._join = _joined(self._endpoint, self._so_far)
        return True


def _joined(endpoint: Endpoint, so_far: SoFar) -> Callable[[bytes], bytes] | None:
    """What makes another stream go on with the one that broke off; ``None``: its events do as they are."""
    if endpoint == "messages" and isinstance(so_far, SoFarDecoded):
        return Joined(blocks=so_far.blocks, is_open=so_far.open is not None)
    return _WithoutRole() if endpoint == "chat/completions" else None


class _WithoutRole:
    """Takes the role out of the first events."""

    def __init__(self) -> None:
        self._is_first = True

    def __call__(self, events: bytes) -> bytes:
        if not self._is_first:
            return events
        self._is_first = False
        return without_role(events)


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
