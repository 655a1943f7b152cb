"""``/v1/batches``: requests that a provider answers within a day, as OpenAI has it; each is metered when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from ledger.ports import PricingPort
from providers.errors import ProviderError
from providers.openai import request as http
from providers.provider import Endpoint, Upstream
from providers.registry import WIRES
from proxy.api import gate
from proxy.api.files import OURS, Places, page, recorded
from proxy.attempts.control import Asking, Control
from proxy.attempts.outcome import translated
from proxy.batches.desk import Desk
from proxy.batches.opened import Open, Opened
from proxy.batches.weighing import Weighed, Weighing
from proxy.call import Principal
from proxy.errors import InvalidRequest, NotAllowed, NotFound, UpstreamRefused
from proxy.metering.worst_case import WorstCases

PREFIX: Final = "/v1/"


class Batches:
    """Answers requests about batches.  clock_s: the loop's."""

    def __init__(
        self,
        desk: Desk,
        places: Places,
        opened: Opened,
        *,
        worst_cases: WorstCases,
        prices: PricingPort,
        clock_s: Callable[[], float],
    ) -> None:
        self._desk = desk
        self._places = places
        self._opened = opened
        self._worst_cases = worst_cases
        self._prices = prices
        self._clock_s = clock_s

    async def make(self, asking: Asking, body: bytes) -> Response:
        """Have a batch made by the account that holds its requests.

        Raises: InvalidRequest, NotFound, NotAllowed, PriceUnknown, BudgetExceeded, BudgetBusy, RateLimited;
        LedgerUnavailable, if it cannot be remembered; and what the provider's refusal is.
        """
        fields = gate.parse(body)
        gate.check_places(fields)
        input_file_id, endpoint = _text(fields, "input_file_id"), _text(fields, "endpoint").removeprefix(PREFIX).lstrip("/")
        principal = asking.principal
        if principal.endpoints and endpoint not in principal.endpoints:
            raise NotAllowed(f"This API key may not use the endpoint '{endpoint[:64]}'.", param="endpoint")
        holding = self._desk.held.find(principal, input_file_id, "file")
        upstream = self._places.of(holding)
        if upstream is None:
            raise NotFound(
                f"There is no file {input_file_id[:128]!r} of this API key that a provider keeps.", param="input_file_id"
            )
        self._desk.check_room()
        it = self._desk.new(asking, upstream, endpoint, input_file_id=input_file_id)
        strict = self._desk.is_strict(principal)
        weighed = await self._weighed(asking, it, upstream, _weighable(endpoint) if strict else None)
        if weighed is not None:
            self._check(principal, upstream, weighed)
            it = self._desk.reserved(it, principal, weighed)
        if ours := tuple(name for name in OURS if name in fields):
            # It goes where its requests are, whatever they say.
            body = http.without(body, ours)
        return _json(
            await self._desk.made(asking, it, upstream, self._desk.about(asking, "POST", "", upstream, body)), upstream
        )

    async def one(self, asking: Asking, batch_id: str) -> Response:
        """A batch's own description.  Raises: NotFound, and what the provider's refusal is."""
        upstream = self._desk.found(asking.principal, batch_id)
        return _json(await self._desk.asked(asking, "GET", batch_id, upstream), upstream)

    async def cancel(self, asking: Asking, batch_id: str) -> Response:
        """Have it stopped; what it has done by then is charged.  Raises: as ``one``."""
        upstream = self._desk.found(asking.principal, batch_id)
        return _json(await self._desk.asked(asking, "POST", batch_id, upstream, "/cancel"), upstream)

    async def list(self, asking: Asking, *, limit: int, after: str) -> Response:
        """A page of this key's batches; those under way as they are now.  Raises: as ``one``."""
        names = self._desk.names(asking.principal)[::-1]
        start = names.index(after) + 1 if after in names else 0
        await self._desk.refresh(asking, frozenset(names[start : start + limit]))
        return _json(page(self._desk.rows(asking.principal), limit=limit, after=after))

    async def may_delete(self, principal: Principal, file_id: str) -> None:
        """Whether a file is not the answers of a batch that nobody has read yet.  Raises: BatchNotMetered."""
        it = self._opened.with_output(file_id, principal.key_id)
        await self._desk.check_metered(it, what="The file holds", param="file_id")

    async def _weighed(self, asking: Asking, it: Open, upstream: Upstream, endpoint: Endpoint | None) -> Weighed | None:
        """Read its requests, as they come.  endpoint: ``None``: it need not be known what they may cost.

        ``None``: the provider does not give them out, and need not.
        Raises: InvalidRequest, if they say nothing of what it may cost, and that has to be known.
        """
        weighing = Weighing(
            upstream,
            endpoint,
            worst_cases=self._worst_cases,
            prices=self._prices,
            admit=gate.admit,
            at_us=it.created_us,
        )
        asked = http.about("GET", f"files/{it.input_file_id}/content", upstream=upstream, request_id=it.request_id)
        control, deadline_s = self._desk.control, self._clock_s() + self._desk.bounds.read_s
        try:
            answer = await control.ask(upstream, asked, asking, deadline_s=deadline_s)
        except UpstreamRefused:
            if endpoint is not None:
                raise
            return None
        try:
            while data := await answer.chunk():
                weighing.feed(data)
                # A file that is here already is not to hold up everybody else.
                await asyncio.sleep(0)
        except ProviderError as error:
            raise translated(error) from error
        finally:
            answer.close()
        return weighing.end()

    def _check(self, principal: Principal, upstream: Upstream, weighed: Weighed) -> None:
        """Raises: NotAllowed, for a model that the key may not use; FileNotFound, for a file that it has not; PriceUnknown."""
        self._desk.check_files(principal, upstream, weighed, param="input_file_id")
        for model in weighed.models:
            names = (f"{upstream.provider}/{model}", model)
            for patterns in filter(None, (principal.models, *principal.owner_models)):
                if not any(fnmatchcase(name, pattern) for name in names for pattern in patterns):
                    raise NotAllowed(f"This API key may not use the model '{model}'.", param="input_file_id")
        self._desk.check_prices(principal, weighed, param="input_file_id")


def _weighable(name: str) -> Endpoint:
    """Raises: InvalidRequest, for one whose requests nobody here can weigh."""
    for endpoint, wire in WIRES.items():
        if endpoint == name and wire.kind in ("chat", "text", "embedding"):
            return endpoint
    raise InvalidRequest(f"What requests to '{name[:64]}' may cost is not known here.", param="endpoint")


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"'{name}' must be a non-empty string.", param=name)
    return value


def _json(body: bytes, upstream: Upstream | None = None) -> Response:
    headers = {"x-tollway-provider": upstream.provider} if upstream is not None else {}
    return Response(body, 200, media_type="application/json", headers=headers)


def router(batches: Batches, control: Control, caller: Callable[..., Principal]) -> APIRouter:
    """The routes.  caller: who calls."""
    routes = APIRouter(prefix="/v1/batches", tags=["batches"])
    answers: dict[int | str, dict[str, Any]] = {200: {"description": "The provider's answer."}}
    takes = {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["input_file_id", "endpoint", "completion_window"],
                        "properties": {
                            "input_file_id": {"type": "string", "description": "A file of this key's."},
                            "endpoint": {"type": "string", "description": "Such as `/v1/chat/completions`."},
                            "completion_window": {"type": "string"},
                        },
                        "additionalProperties": True,
                    }
                }
            },
        }
    }

    asking = partial(recorded, control, "batches")

    @routes.post("", operation_id="create_batch", responses=answers, response_class=Response, openapi_extra=takes)
    async def make(request: Request, principal: Principal = Depends(caller)) -> Response:
        """Have the provider that holds a file of requests answer all of them."""
        async with asking(principal, request) as it:
            return await batches.make(it, await request.body())

    @routes.get("", operation_id="list_batches", responses=answers, response_class=Response)
    async def listing(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        after: Annotated[str, Query(max_length=128, description="The last batch of the page before.")] = "",
        principal: Principal = Depends(caller),
    ) -> Response:
        """The batches that this key made, the newest first."""
        async with asking(principal, request) as it:
            return await batches.list(it, limit=limit, after=after)

    @routes.get("/{batch_id}", operation_id="get_batch", responses=answers, response_class=Response)
    async def one(batch_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """A batch of this key's."""
        async with asking(principal, request) as it:
            return await batches.one(it, batch_id)

    @routes.post("/{batch_id}/cancel", operation_id="cancel_batch", responses=answers, response_class=Response)
    async def cancel(batch_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """Stop it; what is done by then is charged."""
        async with asking(principal, request) as it:
            return await batches.cancel(it, batch_id)

    return routes
