"""``/v1/batches``: requests that a provider answers within a day, as OpenAI has it; each is metered when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from ledger.budgets.accounts import USD
from ledger.ports import PricingPort
from providers.errors import InvalidResponse, ProviderError
from providers.openai import request as http
from providers.openai import stored
from providers.provider import Endpoint, Upstream
from providers.registry import WIRES
from proxy.api import gate
from proxy.api.files import OURS, Places, page, tags_of
from proxy.attempts.control import Asking, Control
from proxy.attempts.outcome import translated
from proxy.batches.opened import Open, Opened
from proxy.batches.watcher import Watcher
from proxy.batches.weighing import Weighed, Weighing
from proxy.call import Principal
from proxy.deployments.held import ID, Held, Holding
from proxy.errors import (
    BatchNotMetered,
    FileNotFound,
    InvalidRequest,
    LedgerUnavailable,
    NoHealthyUpstream,
    NotAllowed,
    NotFound,
    PriceUnknown,
    ProxyError,
    RateLimited,
    UpstreamAuth,
    UpstreamRateLimited,
    UpstreamRefused,
)
from proxy.metering.holds import Holds
from proxy.metering.worst_case import WorstCases

LOOKS_MAX: Final = 8
RETRY_AFTER_S: Final = 60
PREFIX: Final = "/v1/"

_SURELY_NOT: Final = (UpstreamRefused, UpstreamRateLimited, UpstreamAuth, NoHealthyUpstream)
"""Errors after which no batch was made.  After all others nobody knows."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How many batches may be open, how long one's requests may take to be read, and whether unknown prices are refused."""

    open_max: int = 1_000
    read_s: float = 3600.0
    strict: bool = False


class Batches:
    """Answers requests about batches.  clock_s: the loop's."""

    def __init__(
        self,
        control: Control,
        held: Held,
        places: Places,
        opened: Opened,
        watcher: Watcher,
        holds: Holds,
        *,
        worst_cases: WorstCases,
        prices: PricingPort,
        bounds: Bounds,
        durable: bool,
        clock_s: Callable[[], float],
    ) -> None:
        self._control = control
        self._held = held
        self._places = places
        self._opened = opened
        self._watcher = watcher
        self._holds = holds
        self._worst_cases = worst_cases
        self._prices = prices
        self._bounds = bounds
        self._durable = durable
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
        holding = self._held.find(principal, input_file_id, "file")
        upstream = self._places.of(holding)
        if upstream is None:
            raise NotFound(
                f"There is no file {input_file_id[:128]!r} of this API key that a provider keeps.", param="input_file_id"
            )
        if len(self._opened) >= self._bounds.open_max:
            raise RateLimited(
                f"{self._bounds.open_max:,} batches are under way (batches.max_open).", retry_after_s=RETRY_AFTER_S
            )
        it = Open(
            request_id=asking.request_id,
            key_id=principal.key_id,
            user=principal.user,
            team=principal.team,
            tags=asking.tags,
            power=self._durable or principal.durability == "power",
            provider=upstream.provider,
            account=upstream.account,
            endpoint=endpoint,
            input_file_id=input_file_id,
            created_us=asking.at_us,
        )
        lines = self._holds.lines_of(principal)
        strict = bool(lines or self._bounds.strict or principal.models or principal.owner_models)
        weighed = await self._weighed(asking, it, upstream, _weighable(endpoint) if strict else None)
        if weighed is not None:
            self._check(principal, upstream, weighed, priced=self._bounds.strict or any(line.unit == USD for line in lines))
            it = msgspec.structs.replace(it, models=weighed.models)
            if lines:
                it = msgspec.structs.replace(it, reserve=weighed.worst.reserve, most=weighed.worst.most)
                self._holds.admit_whole(it.request_id, principal, weighed.worst, it.created_us)
        if ours := tuple(name for name in OURS if name in fields):
            # It goes where its requests are, whatever they say.
            body = http.without(body, ours)
        return await self._made(asking, it, upstream, body)

    async def _made(self, asking: Asking, it: Open, upstream: Upstream, body: bytes) -> Response:
        """Note that it is asked for, ask, and note what came of it: whatever happens in between, it will be metered."""
        self._watcher.making(it.request_id)
        keeps = True
        try:
            if not await self._opened.note(it):
                keeps = False
                raise LedgerUnavailable("The batch cannot be remembered, so it was not made.", retry_after_s=5)
            asked = http.about("POST", "batches", upstream=upstream, request_id=it.request_id, body=body)
            try:
                answer = await self._control.told(upstream, asked, asking)
            except _SURELY_NOT:
                keeps = False
                raise
            batch = batch_of(answer)
            if ID.fullmatch(batch.id) is not None:
                it = msgspec.structs.replace(it, batch_id=batch.id)
                await self._opened.note(it)
                await self._watcher.seen(it, batch, answer)
        finally:
            if not keeps:
                self._holds.abandon(it.request_id)
                await self._opened.close(it.request_id)
            self._watcher.made(it.request_id)
        return _json(answer, upstream)

    async def one(self, asking: Asking, batch_id: str) -> Response:
        """A batch's own description.  Raises: NotFound, and what the provider's refusal is."""
        upstream = self._found(asking.principal, batch_id)
        return _json(await self._asked(asking, "GET", batch_id, upstream), upstream)

    async def cancel(self, asking: Asking, batch_id: str) -> Response:
        """Have it stopped; what it has done by then is charged.  Raises: as ``one``."""
        upstream = self._found(asking.principal, batch_id)
        return _json(await self._asked(asking, "POST", batch_id, upstream, "/cancel"), upstream)

    async def list(self, asking: Asking, *, limit: int, after: str) -> Response:
        """A page of this key's batches; those under way as they are now.  Raises: as ``one``."""
        mine = self._held.mine(asking.principal, "batch")
        names = [name for name, _ in reversed(mine)]
        start = names.index(after) + 1 if after in names else 0
        shown = set(names[start : start + limit])
        room = asyncio.Semaphore(LOOKS_MAX)

        async def look(name: str, upstream: Upstream) -> None:
            async with room:
                try:
                    await self._asked(asking, "GET", name, upstream)
                except ProxyError:
                    return  # it is shown as it was last seen

        async with asyncio.TaskGroup() as group:
            for name, holding in mine:
                upstream = self._places.of(holding)
                if upstream is not None and name in shown and not (holding.seen and stored.batch_object(holding.seen).ended):
                    group.create_task(look(name, upstream))
        rows = [(name, it.seen) for name, it in self._held.mine(asking.principal, "batch") if it.seen]
        return _json(page(rows, limit=limit, after=after))

    async def may_delete(self, principal: Principal, file_id: str) -> None:
        """Whether a file is not the answers of a batch that nobody has read yet.  Raises: BatchNotMetered."""
        it = self._opened.with_output(file_id, principal.key_id)
        if it is not None and not await self._watcher.look(it.request_id):
            raise BatchNotMetered(
                f"The file holds the answers of {it.batch_id}, and what they cost is not known yet; it is soon.",
                param="file_id",
                retry_after_s=RETRY_AFTER_S,
            )

    async def _asked(self, asking: Asking, method: str, batch_id: str, upstream: Upstream, rest: str = "") -> bytes:
        asked = http.about(method, f"batches/{batch_id}{rest}", upstream=upstream, request_id=asking.request_id)
        body = await self._control.told(upstream, asked, asking)
        batch = batch_of(body)
        principal = asking.principal
        it = self._opened.of(batch_id, principal.key_id)
        if it is None:
            self._held.keep(
                "batch",
                batch_id,
                Holding(principal.key_id, upstream.provider, upstream.account, body.decode("utf-8", "replace")),
            )
            return body
        await self._watcher.seen(it, batch, body)
        if batch.ended:
            self._watcher.ended(it.request_id)
        return body

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
        try:
            answer = await self._control.ask(upstream, asked, asking, deadline_s=self._clock_s() + self._bounds.read_s)
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

    def _check(self, principal: Principal, upstream: Upstream, weighed: Weighed, *, priced: bool) -> None:
        """Raises: NotAllowed, for a model that the key may not use; FileNotFound, for a file that it has not; PriceUnknown."""
        place = (upstream.provider, upstream.account)
        for name in weighed.files:
            found = self._held.find_file(principal, name)
            if found is not None and (found.provider, found.account) != place:
                raise FileNotFound(
                    f"A request of this batch names the file {name[:128]!r}, which is kept by another account.",
                    param="input_file_id",
                )
        for model in weighed.models:
            names = (f"{upstream.provider}/{model}", model)
            for patterns in filter(None, (principal.models, *principal.owner_models)):
                if not any(fnmatchcase(name, pattern) for name in names for pattern in patterns):
                    raise NotAllowed(f"This API key may not use the model '{model}'.", param="input_file_id")
        if priced and weighed.unpriced:
            raise PriceUnknown(
                f"No price is known for the model '{weighed.unpriced[0]}'; 'ledger.prices' can give it one.",
                param="input_file_id",
            )

    def _found(self, principal: Principal, batch_id: str) -> Upstream:
        holding = self._held.find(principal, batch_id, "batch") if ID.fullmatch(batch_id) else None
        upstream = self._places.of(holding)
        if upstream is None:
            raise NotFound(f"There is no batch {batch_id[:128]!r} of this API key that a provider runs.", param="batch_id")
        return upstream


def batch_of(body: bytes) -> stored.BatchObject:
    """What a provider says of a batch.  Raises: UpstreamInvalidResponse."""
    try:
        return stored.batch_object(body)
    except InvalidResponse as error:
        raise translated(error) from error


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

    def asking(request: Request, principal: Principal) -> Any:
        state = request.state
        return control.recorded(
            principal,
            "batches",
            request_id=state.request_id,
            tags=tags_of(request),
            headers=state.headers,
            when_gone=state.when_gone,
        )

    @routes.post("", operation_id="create_batch", responses=answers, response_class=Response, openapi_extra=takes)
    async def make(request: Request, principal: Principal = Depends(caller)) -> Response:
        """Have the provider that holds a file of requests answer all of them."""
        async with asking(request, principal) as it:
            return await batches.make(it, await request.body())

    @routes.get("", operation_id="list_batches", responses=answers, response_class=Response)
    async def listing(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        after: Annotated[str, Query(max_length=128, description="The last batch of the page before.")] = "",
        principal: Principal = Depends(caller),
    ) -> Response:
        """The batches that this key made, the newest first."""
        async with asking(request, principal) as it:
            return await batches.list(it, limit=limit, after=after)

    @routes.get("/{batch_id}", operation_id="get_batch", responses=answers, response_class=Response)
    async def one(batch_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """A batch of this key's."""
        async with asking(request, principal) as it:
            return await batches.one(it, batch_id)

    @routes.post("/{batch_id}/cancel", operation_id="cancel_batch", responses=answers, response_class=Response)
    async def cancel(batch_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """Stop it; what is done by then is charged."""
        async with asking(request, principal) as it:
            return await batches.cancel(it, batch_id)

    return routes
