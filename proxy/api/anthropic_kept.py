"""What Anthropic's clients ask about what it keeps: files and message batches.  An application of its own, whose errors have
that protocol's shape; the edge says which requests are for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from providers.anthropic.stored import KEEPING
from providers.anthropic.wire import HEADERS
from proxy.api import message_files
from proxy.api.file_uploads import FileUploads
from proxy.api.files import Files, recorded
from proxy.api.message_batches import MessageBatches
from proxy.attempts.control import Asking, Control
from proxy.call import Principal
from proxy.errors import MethodNotAllowed, NotFound, ProxyError, to_client

FILES: Final = "/v1/files"
BATCHES: Final = "/v1/messages/batches"

Handler = Callable[[Asking, Request], Awaitable[Response]]


def is_kept(path: str) -> bool:
    """Whether a path is one of these, or below one."""
    return any(path == it or path.startswith(f"{it}/") for it in (FILES, BATCHES))


def application(
    files: Files,
    uploads: FileUploads,
    batches: MessageBatches,
    control: Control,
    identify: Callable[[tuple[str, ...]], Principal],
) -> Starlette:
    """The application.  A request's ``state`` has its ``request_id``, and ``authorization``: the keys that it was sent with."""

    def route(path: str, method: str, kind: Literal["files", "batches"], handler: Handler) -> Route:
        async def answer(request: Request) -> Response:
            principal = identify(request.state.authorization)
            headers = tuple((name, value) for name, value in request.headers.items() if name.encode() in HEADERS)
            async with recorded(control, kind, principal, request, headers) as asking:
                return await handler(asking, request)

        return Route(path, answer, methods=[method])

    async def listed(asking: Asking, request: Request) -> Response:
        body = message_files.page(await files.rows(asking), request.query_params)
        return Response(body, media_type="application/json")

    def name(request: Request) -> str:
        return str(request.path_params["name"])

    file, batch = f"{FILES}/{{name}}", f"{BATCHES}/{{name}}"
    routes = [
        route(FILES, "POST", "files", lambda it, request: uploads.file(it, request, KEEPING)),
        route(FILES, "GET", "files", listed),
        route(file, "GET", "files", lambda it, request: files.one(it, name(request))),
        route(f"{file}/content", "GET", "files", lambda it, request: files.content(it, name(request))),
        route(file, "DELETE", "files", lambda it, request: files.delete(it, name(request))),
        route(BATCHES, "POST", "batches", batches.make),
        route(BATCHES, "GET", "batches", batches.list),
        route(batch, "GET", "batches", lambda it, request: batches.one(it, name(request), request)),
        route(f"{batch}/results", "GET", "batches", lambda it, request: batches.results(it, name(request))),
        route(f"{batch}/cancel", "POST", "batches", lambda it, request: batches.cancel(it, name(request), request)),
        route(batch, "DELETE", "batches", lambda it, request: batches.delete(it, name(request))),
    ]
    return Starlette(routes=routes, exception_handlers={ProxyError: _ours, HTTPException: _http, Exception: _broken})


async def _ours(request: Request, error: Any) -> Response:
    status, headers, body = to_client(error, "anthropic", request.state.request_id)
    return Response(body, status, headers={name.decode(): value.decode() for name, value in headers})


async def _http(request: Request, error: Any) -> Response:
    path = request.url.path[:200]
    if error.status_code == 405:
        return await _ours(request, MethodNotAllowed(f"{path} does not take {request.method}."))
    return await _ours(request, NotFound(f"There is nothing at {path!r}."))


async def _broken(request: Request, _: Exception) -> Response:
    return await _ours(request, ProxyError("Something went wrong in the gateway."))
