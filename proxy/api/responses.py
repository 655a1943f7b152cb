"""What can be asked about a response that a provider keeps: to see it, delete it, cancel it, list what went into it.

Passed through to the account that holds it, for the API key that made it; to every other key there is no such response.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from providers.errors import ProviderError
from providers.openai import request as http
from providers.protocol import Wire
from providers.provider import HttpRequest, Upstream
from providers.registry import WIRES
from proxy.attempts.attempt import Answering, Sender
from proxy.attempts.outcome import fault_of, refused, translated
from proxy.call import Principal
from proxy.deployments.held import ID, Held
from proxy.deployments.models import ModelTable
from proxy.errors import NotFound, ProxyError, to_responses_event
from proxy.limits.counted import Counts

QUERY = frozenset(
    ("include", "include[]", "include_obfuscation", "starting_after", "stream", "limit", "order", "after", "before")
)
"""What of a query goes on to the provider.  Source: platform.openai.com/docs/api-reference/responses, read 2026-11."""
_WIRE: Wire = WIRES["responses"]
_COUNTS = frozenset(("request", "client"))
"""Whose fault makes no difference to whether a request counts."""


class Later(Protocol):
    """Looks after responses that are made in the background, and after what they cost."""

    async def told(self, principal: Principal, response_id: str, body: bytes, /) -> None:
        """A client is about to be told this of one."""
        ...

    def heard(self, principal: Principal, response_id: str, /) -> None:
        """A client has been told the events of one, as far as they came."""
        ...

    async def may_delete(self, principal: Principal, response_id: str, /) -> None:
        """One is to be deleted.  Raises: ResponseNotMetered."""
        ...


class Kept:
    """Asks the account that holds a response about it; one try, since nobody else could answer.  clock_s: the loop's."""

    def __init__(
        self,
        held: Held,
        transport: Sender,
        *,
        limiter: Counts,
        later: Later,
        table: Callable[[], ModelTable],
        request_id: Callable[[], str],
        clock_s: Callable[[], float],
    ) -> None:
        self._limiter = limiter
        self._later = later
        self._held = held
        self._transport = transport
        self._table = table
        self._request_id = request_id
        self._clock_s = clock_s

    async def __call__(self, principal: Principal, method: str, response_id: str, rest: str, request: Request) -> Response:
        """The provider's answer.  rest: of the path.  Raises: NotFound, RateLimited, and what the provider's refusal is."""
        async with self._limiter.counted(principal) as counted:
            request.state.headers += counted.headers
            task = asyncio.current_task()
            try:
                request.state.when_gone(None if task is None else task.cancel)
                return await self._asked(principal, method, response_id, rest, request)
            except ProxyError as error:
                counted.counts = fault_of(error) in _COUNTS
                raise
            finally:
                request.state.when_gone(None)

    async def _asked(self, principal: Principal, method: str, response_id: str, rest: str, request: Request) -> Response:
        upstream = self._upstream(principal, response_id)
        query = urlencode(_pairs(request))
        path = f"{response_id}{rest}" + (f"?{query}" if query else "")
        asked = http.kept(method, path, upstream=upstream, request_id=self._request_id())
        if method == "DELETE":
            await self._later.may_delete(principal, response_id)
        try:
            answer = await self._sent(asked, upstream)
        except ProviderError as error:
            raise translated(error) from error
        try:
            if answer.status == 200 and answer.content_type == _WIRE.stream_type:
                return _Streamed(answer, lambda: self._later.heard(principal, response_id))
            body = await answer.read()
        except ProviderError as error:
            answer.close()
            raise translated(error) from error
        answer.close()
        if answer.status >= 300:
            raise translated(refused(answer.status, body, answer.retry_after_s, _WIRE))
        if method == "DELETE":
            self._held.forget(principal, response_id)
        elif rest != "/input_items":
            await self._later.told(principal, response_id, body)
        return Response(body, answer.status, media_type="application/json")

    def _upstream(self, principal: Principal, response_id: str) -> Upstream:
        holding = self._held.find(principal, response_id) if ID.fullmatch(response_id) else None
        upstream = self._table().account(holding.provider, holding.account) if holding is not None else None
        if upstream is None:
            raise NotFound(f"There is no response {response_id[:128]!r} of this API key that a provider keeps.")
        return upstream

    async def _sent(self, asked: HttpRequest, upstream: Upstream) -> Answering:
        if upstream.signer is not None:
            # Azure with a token of Entra, say.
            asked = await upstream.signer.signed(asked)
        timeouts = upstream.timeouts
        return await self._transport.send(asked, timeouts=timeouts, deadline_s=self._clock_s() + timeouts.total_s)


class _Streamed(StreamingResponse):
    """The events as they come; the upstream is let go of however it ends.  over: called then."""

    def __init__(self, answer: Answering, over: Callable[[], None]) -> None:
        super().__init__(_events(answer, over), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _events(answer: Answering, over: Callable[[], None]) -> AsyncIterator[bytes]:
    try:
        while data := await answer.chunk():
            yield data
    except ProviderError as error:
        yield to_responses_event(translated(error))
    finally:
        answer.close()
        over()


def _pairs(request: Request) -> list[tuple[str, str]]:
    return [(name, value) for name, value in request.query_params.multi_items() if name in QUERY]


def router(kept: Callable[..., Awaitable[Response]], caller: Callable[..., Principal]) -> APIRouter:
    """The routes.  caller: who calls."""
    routes = APIRouter(prefix="/v1/responses", tags=["inference"])
    answers: dict[int | str, dict[str, Any]] = {200: {"description": "The provider's answer."}}

    @routes.get("/{response_id}", operation_id="get_response", responses=answers, response_class=Response)
    async def one(response_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """A response that its provider keeps; with `stream=true` its events, from `starting_after` on."""
        return await kept(principal, "GET", response_id, "", request)

    @routes.delete("/{response_id}", operation_id="delete_response", responses=answers, response_class=Response)
    async def delete(response_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """Delete it at its provider."""
        return await kept(principal, "DELETE", response_id, "", request)

    @routes.post("/{response_id}/cancel", operation_id="cancel_response", responses=answers, response_class=Response)
    async def cancel(response_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """Stop one that is made in the background."""
        return await kept(principal, "POST", response_id, "/cancel", request)

    @routes.get("/{response_id}/input_items", operation_id="list_input_items", responses=answers, response_class=Response)
    async def items(response_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """What went into it."""
        return await kept(principal, "GET", response_id, "/input_items", request)

    return routes
