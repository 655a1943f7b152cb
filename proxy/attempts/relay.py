"""A stream between an upstream and a client: whole events through, one Attempt at its end, whatever the end was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from providers.errors import Disconnected, InvalidResponse, ProviderError, RefusedInBody
from providers.protocol import Reader
from proxy.errors import ProxyError, UpstreamError, to_openai_event

_CUT = "cut"
"""What the waiting task is cancelled with when the stream is cut; any other cancellation is not ours to answer."""

OnRelayEnd = Callable[[Reader, ProxyError | None], None]


Write = Callable[[bytes], bool]


def _nowhere(events: bytes) -> bool:  # noqa: ARG001  # the shape of Write
    return False


class Source(Protocol):
    """The part of a transport's response that a relay needs."""

    async def chunk(self) -> bytes:
        """The next bytes, ``b""`` at the end.  Raises: ProviderError."""
        ...

    async def push(self, sink: Callable[[bytes], bool]) -> None:
        """Hand every piece to ``sink`` as it comes, until it returns ``False`` or there is no more.  Raises: ProviderError."""
        ...

    async def rest(self) -> bytes:
        """What still comes within a moment after the protocol's own end."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Relay:
    """Chunks of a Streaming reply.  ``ended`` is called exactly once, with the error that cut the stream, if one did.

    error: what cut it, once it is over.  translate: turns a provider's error into ours.  say: an error as the client's event.
    """

    def __init__(
        self,
        source: Source,
        reader: Reader,
        *,
        ended: OnRelayEnd,
        translate: Callable[[ProviderError], ProxyError],
        say: Callable[[ProxyError], bytes] = to_openai_event,
    ) -> None:
        self._source = source
        self._reader = reader
        self._ended = ended
        self._translate = translate
        self._say = say
        self._first = b""
        self._over = False
        self._write: Write = _nowhere
        self._left = b""
        self._broken: ProviderError | None = None
        self._cut: ProxyError | None = None
        self._reading: asyncio.Task[object] | None = None
        self.closing = b""
        self.error: ProxyError | None = None

    async def begin(self) -> None:
        """Wait for the first whole event, so that another deployment can take over if there is none.

        Raises: ProviderError, also when the first event is an error.
        """
        reader = self._reader
        while not self._first and not reader.done:
            chunk = await self._source.chunk()
            if not chunk:
                if not reader.finish():
                    raise Disconnected("The upstream's stream ended before its first event.")
                break
            self._first = reader.feed(chunk)
        if reader.error is not None and not self._first:
            # Before any of the answer and without usage it costs nothing, as an error in a whole answer does.
            raise RefusedInBody(reader.error) if reader.usage is None else InvalidResponse(reader.error.message)

    async def read(self, write: Write = _nowhere) -> bytes:
        """Write whole events as they come, and return those that could not be written at once; ``b""`` when only
        ``closing`` is left.

        write: sends at once and returns whether it could; by default it never can, and all events are returned.
        """
        if self._first:
            first, self._first = self._first, b""
            return first
        if self._over:
            return b""
        reader = self._reader
        self._write = write
        try:
            if not reader.done and self._cut is None:
                await self._wait()
            if self._broken is not None:
                raise self._broken
            if self._left:
                left, self._left = self._left, b""
                return left
            if self._cut is not None and not reader.done:
                self._end(self._cut)
                return b""
            if reader.finish() and reader.error is None and (rest := await self._source.rest()):
                reader.feed(rest)
        except ProviderError as error:
            self._end(self._translate(error))
            return b""
        self._end(self._verdict())
        return b""

    def fail(self, error: ProxyError) -> None:
        """End it here, for a reason of our own or the client's; ``closing`` becomes the error's event."""
        if not self._over:
            self._end(error)

    def cut(self, error: ProxyError) -> None:
        """End it here although both sides would go on: whoever reads finds that it is over, without another event."""
        if self._over or self._cut is not None or self._reader.done:
            return
        self._cut = error
        if self._reading is not None:
            self._reading.cancel(_CUT)

    def close(self) -> None:
        """Let go of the upstream."""
        self._source.close()

    async def _wait(self) -> None:
        """Pass on what comes until somebody has to be woken for it, or the stream is cut."""
        self._reading = reading = asyncio.current_task()
        try:
            await self._source.push(self._take)
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (_CUT,) or reading is None:
                raise
            reading.uncancel()
        finally:
            self._reading = None

    def _take(self, data: bytes) -> bool:
        """Pass on what has just come; ``False`` if somebody has to be woken for it.  Raises nothing."""
        try:
            events = self._reader.feed(data)
        except ProviderError as error:
            self._broken = error
            return False
        if self._reader.done or (events and not self._write(events)):
            self._left = events
            return False
        return True

    def _verdict(self) -> ProxyError | None:
        reader = self._reader
        if reader.error is not None:
            return UpstreamError(reader.error.message)
        if reader.done:
            return None
        if reader.finished:
            # The terminator is missing and the answer is whole: it said why it finished.
            reader.complete()
            return None
        return self._translate(Disconnected("The upstream's stream was cut off."))

    def _end(self, error: ProxyError | None) -> None:
        self._over = True
        self.error = error
        reader = self._reader
        # The upstream's own error event says more than ours; anything else that was held back would make it look whole.
        own = error is None or (reader.error is not None and reader.closing)
        self.closing = reader.closing if own or error is None else self._say(error)
        self._ended(self._reader, error)
