"""Forms with files: taken in whole where they are small enough to be sent again, else passed on while they come.

A form that is taken in is checked to its last byte before anything is sent, and each try gets all of it.  A larger one is
checked while it passes, as fast as the upstream takes it in; if it turns out not to be a form, the upstream never gets the end
of it, and there is one try.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from providers.multipart import MalformedForm, Part, Reader, boundary_of
from providers.provider import Body
from proxy.disk.spool import PIECE_BYTES, Spool, Spools
from proxy.errors import ClientClosed, InvalidForm, RequestTimedOut, RequestTooLarge

Next = Callable[[], Awaitable[bytes | None]]
"""The next piece of a body; ``None``: that was all.  Raises: ProxyError."""

UPLOAD_MAX_BYTES: Final = 512 * 1024 * 1024
_WORD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class UploadLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may upload.

    body_max_bytes: of a form.  whole_max_bytes: up to here it is taken in whole.
    piece_timeout_s: how long the next piece may take.   timeout_s: how long all of them.
    """

    body_max_bytes: int = UPLOAD_MAX_BYTES
    whole_max_bytes: int = 64 * 1024 * 1024
    piece_timeout_s: float = 30.0
    timeout_s: float = 600.0


class Upload:
    """A form, whose fields that matter are here.  It is there until everybody has let go of it who held it.

    boundary: its own.   length: what it is said to have.   most: how long it may be.   rest: reads what is not here yet.
    """

    def __init__(
        self, boundary: bytes, spool: Spool, reader: Reader, *, length: int | None, most: int, rest: Next | None
    ) -> None:
        self._spool = spool
        self._reader = reader
        self._rest = rest
        self._most = most
        self._length = spool.size_bytes if rest is None else length
        self._known = len(reader.parts)
        self._begun = False
        self._holders = 1
        named = boundary.decode("ascii")
        quoted = named if _WORD.fullmatch(named) else f'"{named}"'
        self.content_type = f"multipart/form-data; boundary={quoted}"

    @property
    def is_whole(self) -> bool:
        """Whether all of it is here."""
        return self._rest is None

    @property
    def may_be_sent(self) -> bool:
        """Whether a try can have all of it."""
        return self._holders > 0 and (self._rest is None or not self._begun)

    @property
    def fields(self) -> list[Part]:
        """What is no file."""
        return list(self._reader.fields())

    @property
    def files(self) -> list[Part]:
        """Its files, as far as they have come; the last one may still be coming."""
        return [part for part in self._reader.parts if part.is_file]

    @property
    def file_bytes(self) -> int:
        """Of all of its files together, at most."""
        if self._rest is None:
            return sum(part.size_bytes for part in self.files)
        return self._most if self._length is None else self._length

    def one(self, name: str) -> str | None:
        """The value of a field; ``None``: it is not there.  Raises: InvalidForm, if it is there twice or is a file."""
        found = [part for part in self._reader.parts if part.name == name]
        if len(found) > 1 or any(part.is_file for part in found):
            raise InvalidForm(f"'{name}' stands in the form more than once, or is a file.", param=name)
        return found[0].text if found else None

    async def ends(self, part: Part, size: int) -> tuple[bytes, bytes]:
        """A file's first and last so many bytes; of one that is still coming, the first that are here."""
        end = part.end if part.end >= 0 else self._spool.size_bytes
        head = await self._spool.read(part.start, min(size, end - part.start))
        if part.end < 0:
            return head, b""
        start = max(end - size, part.start)
        tail = b"".join([piece async for piece in self.spooled(start, end)])
        return head, tail

    def body(self, **changed: str) -> bytes | Body:
        """All of it, with other values of these fields.  Raises: ClientClosed, if it is there no longer."""
        if not self.may_be_sent:
            raise ClientClosed("The client left, and its upload with it.")
        cuts = [
            (part.start, part.end, changed[part.name].encode())
            for part in self._reader.fields()
            if part.name in changed and part.text != changed[part.name]
        ]
        if self._rest is None and self._spool.in_memory:
            return _spliced(self._spool.held(), cuts)
        return _Pieces(self, cuts)

    def hold(self) -> None:
        """Somebody else needs it."""
        self._holders += 1

    def let_go(self) -> None:
        """And no longer."""
        self._holders -= 1
        if self._holders == 0:
            self._spool.close()

    # --- for whoever sends it ------------------------------------------------------------------------------------------------

    def length_with(self, cuts: list[tuple[int, int, bytes]]) -> int | None:
        """How long it is, when these pieces are other ones."""
        if self._length is None:
            return None
        return self._length + sum(len(value) - (end - start) for start, end, value in cuts)

    async def spooled(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """What is here already, between two places.  Raises: ClientClosed."""
        while start < end:
            try:
                piece = await self._spool.read(start, min(end - start, PIECE_BYTES))
            except ValueError as error:
                raise ClientClosed("The client left, and its upload with it.") from error
            start += len(piece)
            yield piece

    @property
    def here_bytes(self) -> int:
        """How much of it is here."""
        return self._spool.size_bytes

    async def passing(self) -> AsyncGenerator[bytes, None]:
        """The rest of it, as it comes.  Raises: InvalidForm; whatever taking it in raises."""
        if self._rest is None:
            return
        self._begun = True
        held = b""
        while (piece := await self._rest()) is not None:
            with _told():
                self._reader.feed(piece)
            for part in self._reader.parts[self._known :]:
                if not part.is_file:
                    raise InvalidForm(_LATE.format(name=part.name[:64]), param=part.name)
            # The last piece goes on only when it was seen to be the last: without it the upstream has no whole request.
            if held:
                yield held
            held = piece or held
        with _told():
            self._reader.finish()
        if held:
            yield held


_LATE = "The field '{name}' stands behind a file; in an upload as large as this one, fields come first."


class _Pieces:
    """A try's body."""

    def __init__(self, upload: Upload, cuts: list[tuple[int, int, bytes]]) -> None:
        self._upload = upload
        self._cuts = cuts
        self.length = upload.length_with(cuts)
        self.is_sent = False
        """Whether all of it was handed over."""

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body from its beginning."""
        upload = self._upload
        at = 0
        for start, end, value in [*self._cuts, (upload.here_bytes, 0, b"")]:
            async for piece in upload.spooled(at, start):
                yield piece
            if value:
                yield value
            at = end
        async for piece in upload.passing():
            yield piece
        self.is_sent = True


def _spliced(body: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    parts = []
    at = 0
    for start, end, value in cuts:
        parts += [body[at:start], value]
        at = end
    return b"".join((*parts, body[at:]))


@contextmanager
def _told() -> Iterator[None]:
    """What the reader of forms raises, as the client is told it."""
    try:
        yield
    except MalformedForm as error:
        raise InvalidForm(str(error), param=error.field) from error


class Uploads:
    """Takes forms in."""

    def __init__(self, spools: Spools, limits: UploadLimits) -> None:
        self._spools = spools
        self.limits = limits

    async def take(
        self,
        content_type: str,
        length: int | None,
        next: Next,
        *,
        first: tuple[str, ...] = ("model",),
        digests: bool = False,
    ) -> Upload:
        """A form, whole; or, if it is too large for that, up to its first file.

        length: what it is said to have; ``None``: nothing is said.  first: fields that have to be there before it passes.
        digests: its files are to be told from others by what is in them; of those that pass that is not known.
        Whoever calls holds it, and lets it go.
        Raises: InvalidForm, RequestTooLarge, Overloaded; whatever ``next`` raises.
        """
        with _told():
            boundary = boundary_of(content_type)
        if length is not None and length > self.limits.body_max_bytes:
            raise too_large(self.limits.body_max_bytes)
        reader = Reader(boundary, digests=digests)
        spool = self._spools.open()
        upload: Upload | None = None
        try:
            rest = await self._read(reader, spool, length, next, first)
            upload = Upload(boundary, spool, reader, length=length, most=self.limits.body_max_bytes, rest=rest)
        finally:
            if upload is None:
                spool.close()
        return upload

    async def _read(self, reader: Reader, spool: Spool, length: int | None, next: Next, first: tuple[str, ...]) -> Next | None:
        """Read all of it, or as much as is needed; what reads the rest."""
        whole_max = self.limits.whole_max_bytes
        while (piece := await next()) is not None:
            with _told():
                reader.feed(piece)
            await spool.write(piece)
            if reader.in_file and max(length or 0, reader.size_bytes) > whole_max:
                missing = [name for name in first if all(part.name != name for part in reader.fields())]
                if not missing:
                    return next
                if reader.size_bytes > whole_max:
                    raise InvalidForm(_LATE.format(name=missing[0]), param=missing[0])
        with _told():
            reader.finish()
        return None


def too_large(most: int) -> RequestTooLarge:
    """What is larger than an upload may be."""
    return RequestTooLarge(f"The upload is larger than {most:,} bytes.")


class Arriving:
    """A form's bytes as they come from a client, within their bounds.

    receive: ASGI's.   identify: asked once, before a large form is read.   length: what it is said to have, or 0.
    """

    def __init__(
        self,
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        *,
        limits: UploadLimits,
        length: int,
        unidentified_bytes: int,
        identify: Callable[[], object],
        clock_s: Callable[[], float],
    ) -> None:
        self._receive = receive
        self._limits = limits
        self._length = length
        self._unidentified_bytes = unidentified_bytes
        self._identify: Callable[[], object] | None = identify
        self._clock_s = clock_s
        self._deadline_s = clock_s() + limits.timeout_s
        self._received = 0
        self._more = True

    async def next(self) -> bytes | None:
        """The next piece.  Raises: InvalidApiKey, RequestTooLarge, RequestTimedOut, ClientClosed."""
        if not self._more:
            return None
        if self._identify is not None and max(self._received, self._length) > self._unidentified_bytes:
            identify, self._identify = self._identify, None
            identify()
        left_s = min(self._limits.piece_timeout_s, self._deadline_s - self._clock_s())
        try:
            if left_s <= 0:
                raise TimeoutError  # also where every piece is here when it is asked for
            async with asyncio.timeout(left_s):
                message = await self._receive()
        except TimeoutError as error:
            raise RequestTimedOut(
                "The upload did not arrive in time (server.body_timeout_s, server.upload_timeout_s)."
            ) from error
        if message["type"] == "http.disconnect":
            raise ClientClosed("The client left before its request was whole.")
        self._more = message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        self._received += len(piece)
        if self._received > self._limits.body_max_bytes:
            raise too_large(self._limits.body_max_bytes)
        return piece
