"""``POST /v1/files`` and ``/v1/uploads``: files on their way to a provider, in pieces, never held as a whole.

A form's fields come before its file, as every client of OpenAI's sends them; those that are for us are taken out, and all
other bytes go on as they came.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from starlette.requests import ClientDisconnect

from providers.errors import InvalidResponse
from providers.keeping import Keeping
from providers.multipart import MalformedForm, Reader, boundary_of
from providers.openai import request as http
from providers.openai.stored import KEEPING as OPENAI
from providers.provider import HttpRequest, Upstream
from proxy.api import gate
from proxy.api.files import OURS, Places, recorded, told_of
from proxy.attempts.control import Asking, Control
from proxy.attempts.outcome import translated
from proxy.call import Principal
from proxy.deployments.held import FILES, ID, Held, Holding
from proxy.errors import ClientClosed, InvalidRequest, NotFound, RequestTimedOut, RequestTooLarge

PROVIDER_HEADER: Final = "x-tollway-provider"
ANSWER_S: Final = 1.0
"""How long the provider has at least for its answer when the body took all of its time."""
FORM_MAX_BYTES: Final = 1024 * 1024
"""Of a form beside its file."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What an upload may take.  piece_s: how long the next piece of it may take to come."""

    max_bytes: int
    piece_s: float
    total_s: float


class Form:
    """A form that comes in pieces and goes on in pieces; a ``Body`` once ``begin`` was called.

    length: of all of it, if the client says so.  file: what the part with the file is called.
    """

    def __init__(self, pieces: AsyncIterator[bytes], boundary: bytes, *, file: str, length: int | None, bounds: Bounds) -> None:
        self._pieces = pieces
        self._reader = Reader(boundary)
        self._file = file
        self._bounds = bounds
        self._late_s = asyncio.get_running_loop().time() + bounds.total_s
        self._length = length
        self._begun = b""
        self._whole = False
        self.is_sent = False
        self.fields: dict[str, str] = {}
        """Those before the file."""

    async def begin(self) -> None:
        """Read it up to its file.  Raises: InvalidRequest, RequestTooLarge, RequestTimedOut, ClientClosed."""
        if self._length is not None and self._length > self._bounds.max_bytes + FORM_MAX_BYTES:
            raise self._too_large()
        parts = []
        while not any(part.is_file for part in self._reader.parts):
            piece = await self._next()
            if not piece:
                raise InvalidRequest(f"The form has no file called '{self._file}'.", param=self._file)
            parts.append(piece)
        self._begun = b"".join(parts)
        self.fields = {part.name: part.text for part in self._reader.fields() if not self._is_late(part.start)}
        self._cut()

    @property
    def length(self) -> int | None:
        """Of what goes on."""
        return self._length

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """What goes on; its last piece only when all of it was found to be a form.  Raises: as ``begin``."""
        before = self._begun
        self._begun = b""
        while piece := await self._next():
            if before:
                yield before
            before = piece
        self.is_sent = True
        if before:
            yield before

    async def _next(self) -> bytes:
        """The next piece, read; ``b""``: it is whole."""
        if self._whole:
            return b""
        left_s = self._late_s - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(self._bounds.piece_s, max(left_s, 0.0))):
                piece = await anext(self._pieces, b"")
            if piece:
                self._reader.feed(piece)
            else:
                self._whole = True
                self._reader.finish()
        except TimeoutError as error:
            if left_s < self._bounds.piece_s:
                raise RequestTimedOut(f"The body was not whole within {self._bounds.total_s:g} s.") from error
            raise RequestTimedOut(f"Nothing more of the body arrived within {self._bounds.piece_s:g} s.") from error
        except ClientDisconnect as error:
            raise ClientClosed("The client left before its request was whole.") from error
        except MalformedForm as error:
            raise InvalidRequest(str(error), param=error.field) from error
        self._check()
        return piece

    def _check(self) -> None:
        if self._reader.size_bytes > self._bounds.max_bytes + FORM_MAX_BYTES:
            raise self._too_large()
        files = [part for part in self._reader.parts if part.is_file]
        for part in files:
            if part.name != self._file or len(files) > 1:
                raise InvalidRequest(f"The form has one file, called '{self._file}'.", param=self._file)
            if part.end >= 0 and part.size_bytes > self._bounds.max_bytes:
                raise self._too_large()
        for part in self._reader.fields():
            if part.name in OURS and self._is_late(part.start):
                raise InvalidRequest(f"The field '{part.name}' has to come before the file.", param=part.name)

    def _is_late(self, start: int) -> bool:
        return any(part.is_file and part.start < start for part in self._reader.parts)

    def _cut(self) -> None:
        """Take the fields out that are for us."""
        kept, at, size = [], 0, len(self._begun)
        before = 0
        for part in self._reader.parts:
            if part.name in OURS and part.end >= 0:
                kept.append(self._begun[at:before])
                at = part.end
            before = part.end
        kept.append(self._begun[at:])
        # Where the first part is taken out, what is left begins with the end of its line.
        self._begun = b"".join(kept).removeprefix(b"\r\n")
        if self._length is not None:
            self._length -= size - len(self._begun)

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"The file is larger than {self._bounds.max_bytes:,} bytes (files.max_bytes).")


class FileUploads:
    """Answers requests that bring a file.  clock_s: the loop's."""

    def __init__(self, control: Control, held: Held, places: Places, *, bounds: Bounds, clock_s: Callable[[], float]) -> None:
        self._control = control
        self._held = held
        self._places = places
        self._bounds = bounds
        self._clock_s = clock_s

    async def file(self, asking: Asking, request: Request, words: Keeping = OPENAI) -> Response:
        """A whole file at once.  Raises: InvalidRequest, RequestTooLarge, …, and what the provider's refusal is."""
        form = await self._form(request, "file")
        upstream = self._places.new(named(request, form.fields), words)
        body = await self._sent(asking, upstream, words.files, form, request.headers["content-type"], words)
        self._keep_file(asking.principal, upstream, body, words)
        return _json(body, upstream)

    async def begin(self, asking: Asking, request: Request) -> Response:
        """An upload that will come in parts.  Raises: as ``file``."""
        body = await request.body()
        fields = gate.parse(body)
        said = {name: value for name in OURS if isinstance(value := fields.get(name), str)}
        upstream = self._places.new(named(request, said))
        if ours := tuple(name for name in OURS if name in fields):
            body = http.without(body, ours)
        answer = await self._told(asking, upstream, "uploads", body)
        upload = _id_of(answer)
        self._held.keep("upload", upload, Holding(asking.principal.key_id, upstream.provider, upstream.account))
        return _json(answer, upstream)

    async def part(self, asking: Asking, upload_id: str, request: Request) -> Response:
        """One part of it.  Raises: NotFound, and as ``file``."""
        upstream = self._found(asking.principal, upload_id)
        form = await self._form(request, "data")
        path = f"uploads/{upload_id}/parts"
        return _json(await self._sent(asking, upstream, path, form, request.headers["content-type"]), upstream)

    async def end(self, asking: Asking, upload_id: str, action: str, request: Request) -> Response:
        """All parts are there, or no more will come.  Raises: as ``part``."""
        upstream = self._found(asking.principal, upload_id)
        answer = await self._told(asking, upstream, f"uploads/{upload_id}/{action}", await request.body())
        made = _made(answer)
        if made:
            self._keep_file(asking.principal, upstream, made)
        self._held.forget(asking.principal, upload_id, "upload")
        return _json(answer, upstream)

    async def _form(self, request: Request, file: str) -> Form:
        length = request.headers.get("content-length", "")
        try:
            boundary = boundary_of(request.headers.get("content-type", ""))
        except MalformedForm as error:
            raise InvalidRequest(str(error)) from error
        form = Form(
            request.stream(),
            boundary,
            file=file,
            length=int(length) if length.isascii() and length.isdigit() else None,
            bounds=self._bounds,
        )
        await form.begin()
        return form

    async def _sent(
        self, asking: Asking, upstream: Upstream, path: str, form: Form, content_type: str, words: Keeping = OPENAI
    ) -> bytes:
        asked = words.about("POST", path, upstream=upstream, request_id=asking.request_id, headers=asking.headers)
        asked = HttpRequest(asked.url, {**asked.headers, "content-type": content_type}, form)
        # Whoever is too slow with a body is told so, and not that the provider was.
        deadline_s = self._clock_s() + self._bounds.total_s + ANSWER_S
        return await self._control.told(upstream, asked, asking, deadline_s=deadline_s)

    async def _told(self, asking: Asking, upstream: Upstream, path: str, body: bytes) -> bytes:
        asked = http.about("POST", path, upstream=upstream, request_id=asking.request_id, body=body)
        return await self._control.told(upstream, asked, asking)

    def _keep_file(self, principal: Principal, upstream: Upstream, body: bytes, words: Keeping = OPENAI) -> None:
        seen = body.decode("utf-8", "replace")
        thing = FILES[words.protocol]
        self._held.keep(thing, told_of(body, words).id, Holding(principal.key_id, upstream.provider, upstream.account, seen))

    def _found(self, principal: Principal, upload_id: str) -> Upstream:
        holding = self._held.find(principal, upload_id, "upload") if ID.fullmatch(upload_id) else None
        upstream = self._places.of(holding)
        if upstream is None:
            raise NotFound(f"There is no upload {upload_id[:128]!r} of this API key under way.", param="upload_id")
        return upstream


def named(request: Request, fields: Mapping[str, str]) -> str:
    """Which provider a request names; empty: none.  Raises: InvalidRequest, for two different ones."""
    named = {it for it in (request.headers.get(PROVIDER_HEADER), *(fields.get(name) for name in OURS)) if it}
    if len(named) > 1:
        raise InvalidRequest("The request names two providers.", param="provider")
    return next(iter(named), "")


def _id_of(body: bytes) -> str:
    # An upload has an id as a file has.
    return told_of(body).id


class _Upload(msgspec.Struct):
    file: msgspec.Raw = msgspec.Raw(b"null")


def _made(body: bytes) -> bytes:
    """The file that an upload has become, in JSON; empty: none."""
    try:
        file = bytes(msgspec.json.decode(body, type=_Upload).file)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise translated(InvalidResponse("The upstream's answer is not the upload that the protocol promises.")) from error
    return b"" if file == b"null" else file


def _json(body: bytes, upstream: Upstream) -> Response:
    return Response(body, 200, media_type="application/json", headers={"x-tollway-provider": upstream.provider})


def _takes(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {kind: {"schema": {"type": "object", **schema}}}}}


_BINARY: Final = {"type": "string", "format": "binary"}
_PROVIDER: Final = {"type": "string", "description": "Who gets it: `provider`, or `provider@account`; before the file."}
_FILE: Final = _takes(
    "multipart/form-data",
    {
        "required": ["purpose", "file"],
        "properties": {"provider": _PROVIDER, "purpose": {"type": "string"}, "file": _BINARY},
        "additionalProperties": True,
    },
)
_PART: Final = _takes("multipart/form-data", {"required": ["data"], "properties": {"data": _BINARY}})
_NEW: Final = _takes(
    "application/json",
    {
        "required": ["filename", "purpose", "bytes", "mime_type"],
        "properties": {"provider": _PROVIDER},
        "additionalProperties": True,
    },
)
_ENDS: Final = _takes("application/json", {"additionalProperties": True})


def router(uploads: FileUploads, control: Control, caller: Callable[..., Principal]) -> APIRouter:
    """The routes.  caller: who calls."""
    routes = APIRouter(prefix="/v1", tags=["files"])
    answers: dict[int | str, dict[str, Any]] = {200: {"description": "The provider's answer."}}

    asking = partial(recorded, control, "files")

    @routes.post("/files", operation_id="create_file", responses=answers, response_class=Response, openapi_extra=_FILE)
    async def file(request: Request, principal: Principal = Depends(caller)) -> Response:
        """Give a file to a provider; it is this key's."""
        async with asking(principal, request) as it:
            return await uploads.file(it, request)

    @routes.post("/uploads", operation_id="create_upload", responses=answers, response_class=Response, openapi_extra=_NEW)
    async def begin(request: Request, principal: Principal = Depends(caller)) -> Response:
        """Begin a file that comes in parts."""
        async with asking(principal, request) as it:
            return await uploads.begin(it, request)

    @routes.post(
        "/uploads/{upload_id}/parts",
        operation_id="add_upload_part",
        responses=answers,
        response_class=Response,
        openapi_extra=_PART,
    )
    async def part(upload_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """One part of it."""
        async with asking(principal, request) as it:
            return await uploads.part(it, upload_id, request)

    @routes.post(
        "/uploads/{upload_id}/complete",
        operation_id="complete_upload",
        responses=answers,
        response_class=Response,
        openapi_extra=_ENDS,
    )
    async def complete(upload_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """All parts are there: it becomes a file of this key's."""
        async with asking(principal, request) as it:
            return await uploads.end(it, upload_id, "complete", request)

    @routes.post("/uploads/{upload_id}/cancel", operation_id="cancel_upload", responses=answers, response_class=Response)
    async def cancel(upload_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """No more will come."""
        async with asking(principal, request) as it:
            return await uploads.end(it, upload_id, "cancel", request)

    return routes
