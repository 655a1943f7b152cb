"""What can be asked about a response that a provider keeps: to see it, delete it, cancel it, list what went into it.

Passed through to the account that holds it, for the API key that made it; to every other key there is no such response.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from providers.errors import ProviderError
from providers.openai import request as http
from providers.protocol import Wire
from providers.provider import HttpRequest, Upstream
from providers.registry import WIRES
from proxy.attempt import Answering, Sender
from proxy.call import Principal
from proxy.errors import NotFound, to_responses_event
from proxy.held import ID, Held
from proxy.models import ModelTable
from proxy.outcome import refused, translated

QUERY = frozenset(
    ("include", "include[]", "include_obfuscation", "starting_after", "stream", "limit", "order", "after", "before")
)
"""What of a query goes on to the provider.  Source: platform.openai.com/docs/api-reference/responses, read 2026-11."""
_WIRE: Wire = WIRES["responses"]


class Kept:
    """Asks the account that holds a response about it; one try, since nobody else could answer.  clock_s: the loop's."""

    def __init__(
        self,
        held: Held,
        transport: Sender,
        *,
        table: Callable[[], ModelTable],
        request_id: Callable[[], str],
        clock_s: Callable[[], float],
    ) -> None:
        self._held = held
        self._transport = transport
        self._table = table
        self._request_id = request_id
        self._clock_s = clock_s

    async def __call__(self, principal: Principal, method: str, response_id: str, rest: str, request: Request) -> Response:
        """The provider's answer.  rest: of the path.  Raises: NotFound, and what the provider's refusal is."""
        upstream = self._upstream(principal, response_id)
        query = urlencode(_pairs(request))
        path = f"{response_id}{rest}" + (f"?{query}" if query else "")
        asked = http.kept(method, path, upstream=upstream, request_id=self._request_id())
        try:
            answer = await self._sent(asked, upstream)
        except ProviderError as error:
            raise translated(error) from error
        try:
            if answer.status == 200 and answer.content_type == _WIRE.stream_type:
                return _Streamed(answer)
            body = await answer.read()
        except ProviderError as error:
            answer.close()
            raise translated(error) from error
        answer.close()
        if answer.status >= 300:
            raise translated(refused(answer.status, body, answer.retry_after_s, _WIRE))
        if method == "DELETE":
            self._held.forget(principal, response_id)
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
    """The events as they come; the upstream is let go of however it ends."""

    def __init__(self, answer: Answering) -> None:
        super().__init__(_events(answer), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _events(answer: Answering) -> AsyncIterator[bytes]:
    try:
        while data := await answer.chunk():
            yield data
    except ProviderError as error:
        yield to_responses_event(translated(error))
    finally:
        answer.close()


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
