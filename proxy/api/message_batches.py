"""``/v1/messages/batches``: messages that Anthropic answers within a day; each batch is metered when it has ended.

Its requests come with it.  They are checked and weighed before it is asked for, and what is sent is made anew of what was
checked: a key that stands twice is read in one way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from ledger.ports import PricingPort
from providers.anthropic import stored
from providers.errors import InvalidResponse
from providers.openai.request import with_model, without
from providers.provider import Endpoint, Upstream
from providers.registry import keeping
from proxy.api import anthropic, gate
from proxy.api.cursors import window
from proxy.api.file_uploads import named
from proxy.api.files import OURS, Content, Places
from proxy.attempts.control import Asking
from proxy.attempts.outcome import translated
from proxy.batches.desk import Desk
from proxy.batches.opened import Open, Opened
from proxy.batches.tally import mark_of
from proxy.batches.weighing import Weighed, Weighing
from proxy.call import Deployment, Head, Principal
from proxy.deployments.models import ModelTable
from proxy.errors import (
    ClientClosed,
    InvalidRequest,
    NotAllowed,
    ProxyError,
    RateLimited,
    RequestTimedOut,
    RequestTooLarge,
    UnsupportedEncoding,
    UnsupportedEndpoint,
    UpstreamRefused,
)
from proxy.metering.worst_case import WorstCases
from proxy.routing.auto import AUTO
from proxy.stages.model_router import may_use

ENDPOINT: Final[Endpoint] = "messages"
REQUESTS_MAX: Final = 100_000
"""Source: platform.claude.com/docs/en/build-with-claude/batch-processing, read 2026-11."""
LARGE_BYTES: Final = 1024 * 1024
"""A larger batch is read in a thread, and not more than a few at a time: all of it is in memory, twice."""
LARGE_AT_ONCE: Final = 2
RETRY_AFTER_S: Final = 5

Place = tuple[str, str]


class Parsed(msgspec.Struct, frozen=True):
    """What a batch asks for.  heads, bodies: of each of its messages, in their order; the model is as its client says it."""

    asked: stored.Asking
    heads: list[Head]
    bodies: list[bytes]


class MessageBatches:
    """Answers requests about message batches.  clock_s: the loop's."""

    def __init__(
        self,
        desk: Desk,
        places: Places,
        opened: Opened,
        *,
        table: Callable[[], ModelTable],
        worst_cases: WorstCases,
        prices: PricingPort,
        clock_s: Callable[[], float],
    ) -> None:
        self._desk = desk
        self._places = places
        self._opened = opened
        self._table = table
        self._worst_cases = worst_cases
        self._prices = prices
        self._clock_s = clock_s
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    # --- making one --------------------------------------------------------------------------------------------------------

    async def make(self, asking: Asking, request: Request) -> Response:
        """Have a batch made by an account that serves all of its models.

        Raises: InvalidRequest, ModelNotFound, NotAllowed, PriceUnknown, BudgetExceeded, BudgetBusy, RateLimited,
        NoHealthyUpstream; LedgerUnavailable, if it cannot be remembered; and what the provider's refusal is.
        """
        principal = asking.principal
        if principal.endpoints and ENDPOINT not in principal.endpoints:
            raise NotAllowed(f"This API key may not use the endpoint '{ENDPOINT}'.")
        self._desk.check_room()
        length = self._length(request)
        if length is not None and length <= LARGE_BYTES:
            return await self._make(asking, request, length)
        try:
            async with asyncio.timeout(self._desk.bounds.piece_s):
                await self._large.acquire()
        except TimeoutError as error:
            raise RateLimited("Other large batches are being read.", retry_after_s=RETRY_AFTER_S) from error
        try:
            return await self._make(asking, request, length)
        finally:
            self._large.release()

    async def _make(self, asking: Asking, request: Request, length: int | None) -> Response:
        principal = asking.principal
        body = await self._body(request, length)
        is_large = len(body) > LARGE_BYTES
        read = await asyncio.to_thread(parsed, body) if is_large else parsed(body)
        del body
        upstream, models = self._placed(principal, read, named(request, {}))
        it = self._desk.new(asking, upstream, ENDPOINT)
        names = [asked.custom_id for asked in read.asked.requests]
        it = msgspec.structs.replace(it, requests=len(names), mark=mark_of(names))
        strict = self._desk.is_strict(principal)
        weigh = (it, read, upstream, models, strict)
        weighed, body = await asyncio.to_thread(self._weighed, *weigh) if is_large else self._weighed(*weigh)
        self._desk.check_prices(principal, weighed, param="requests")
        it = self._desk.reserved(it, principal, weighed)
        http = self._desk.about(asking, "POST", "", upstream, body)
        deadline_s = self._clock_s() + self._desk.bounds.read_s
        return _json(await self._desk.made(asking, it, upstream, http, deadline_s=deadline_s), upstream, request)

    def _length(self, request: Request) -> int | None:
        """Of its body, if its client says so.  Raises: UnsupportedEncoding, RequestTooLarge."""
        if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise UnsupportedEncoding("A compressed request body is not accepted.")
        said = request.headers.get("content-length", "")
        length = int(said) if said.isascii() and said.isdigit() else None
        if length is not None and length > self._desk.bounds.body_max_bytes:
            raise self._too_large()
        return length

    async def _body(self, request: Request, length: int | None) -> bytes:
        """All of it.  Raises: RequestTooLarge, RequestTimedOut, ClientClosed."""
        most = self._desk.bounds.body_max_bytes if length is None else length
        pieces: list[bytes] = []
        size = 0
        stream = request.stream()
        try:
            while True:
                async with asyncio.timeout(self._desk.bounds.piece_s):
                    piece = await anext(stream, None)
                if piece is None:
                    return b"".join(pieces)
                pieces.append(piece)
                size += len(piece)
                if size > most:
                    raise self._too_large()
        except TimeoutError as error:
            raise RequestTimedOut(f"Nothing more of the body arrived within {self._desk.bounds.piece_s:g} s.") from error
        except ClientDisconnect as error:
            raise ClientClosed("The client left before its request was whole.") from error

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"The batch is larger than {self._desk.bounds.body_max_bytes:,} bytes (batches.max_bytes).")

    def _placed(self, principal: Principal, read: Parsed, wanted: str) -> tuple[Upstream, Mapping[str, str]]:
        """The account that gets it, and what that calls each of the models.  wanted: ``provider`` or ``provider@account``.

        Raises: ModelNotFound, NotAllowed, UnsupportedEndpoint, FileNotFound, InvalidRequest, NoHealthyUpstream.
        """
        offers = {name: self._offers(principal, name) for name in dict.fromkeys(head.model for head in read.heads)}
        places = set.intersection(*(set(found) for found in offers.values()))
        if not places:
            names = ", ".join(f"'{name}'" for name in list(offers)[:8])
            raise InvalidRequest(f"No account serves all models of this batch: {names}.", param="requests")
        provider, _, account = wanted.partition("@")
        places = {it for it in places if provider in ("", it[0]) and account in ("", it[1])}
        if not places:
            raise InvalidRequest(f"{wanted[:64]!r} does not serve the models of this batch.", param="provider")
        files = {name for head in read.heads for name in head.weight.files}
        holders = {(it.provider, it.account) for name in files if (it := self._desk.held.find_file(principal, name))}
        if len(holders) > 1:
            raise InvalidRequest("The files of this batch are kept by different accounts.", param="file_id")
        if holders and not (places := places & holders):
            raise InvalidRequest(
                "The files of this batch are kept by an account that does not serve its models.", param="file_id"
            )
        ranks = {place: sum(found[place][0] for found in offers.values()) for place in places}
        best = min(ranks.values())
        first = next(iter(offers.values()))
        # In their order, so that the same chance leads to the same account.
        chosen = self._places.one_of(
            [(it.upstream, it.weight) for place, (_, it) in first.items() if place in places and ranks[place] == best]
        )
        place = (chosen.provider, chosen.account)
        return chosen, {name: found[place][1].model for name, found in offers.items()}

    def _offers(self, principal: Principal, name: str) -> dict[Place, tuple[int, Deployment]]:
        """Who runs batches of a model for this key, and the rank of the tier in which they are."""
        if name == AUTO or name.startswith(f"{AUTO}:"):
            raise UnsupportedEndpoint("No model is chosen for a batch; name one.", param="model")
        able: dict[Place, tuple[int, Deployment]] = {}
        refused = False
        for rank, tier in enumerate(self._table().resolve(name)):
            for it in () if tier.detour else tier.deployments:
                vendor = it.upstream.vendor
                if not vendor.files or keeping(vendor) is not stored.KEEPING or ENDPOINT not in vendor.endpoints:
                    continue
                if may_use(principal, name, it.name):
                    able.setdefault((it.upstream.provider, it.upstream.account), (rank, it))
                else:
                    refused = True
        if able:
            return able
        if refused:
            raise NotAllowed(f"This API key may not use the model '{name}'.", param="model")
        raise UnsupportedEndpoint(f"No provider of the model '{name}' runs message batches.", param="model")

    def _weighed(
        self, it: Open, read: Parsed, upstream: Upstream, models: Mapping[str, str], strict: bool
    ) -> tuple[Weighed, bytes]:
        """What it may cost, if that has to be known, and the body that asks for it.  Raises: InvalidRequest."""
        weighing = Weighing(
            upstream,
            ENDPOINT if strict else None,
            worst_cases=self._worst_cases,
            prices=self._prices,
            admit=_admit,
            at_us=it.created_us,
            param="requests",
        )
        bodies = []
        for head, body in zip(read.heads, read.bodies, strict=True):
            model = models[head.model]
            said = body if model == head.model else with_model(body, model)
            weighing.take(said, head if model == head.model else msgspec.structs.replace(head, model=model))
            bodies.append(said)
        return weighing.end(), stored.batch_of(read.asked, bodies)

    # --- asking about one --------------------------------------------------------------------------------------------------

    async def one(self, asking: Asking, batch_id: str, request: Request) -> Response:
        """A batch's own description.  Raises: NotFound, and what the provider's refusal is."""
        upstream = self._desk.found(asking.principal, batch_id)
        return _json(await self._desk.asked(asking, "GET", batch_id, upstream), upstream, request)

    async def cancel(self, asking: Asking, batch_id: str, request: Request) -> Response:
        """Have it stopped; what it has done by then is charged.  Raises: as ``one``."""
        upstream = self._desk.found(asking.principal, batch_id)
        return _json(await self._desk.asked(asking, "POST", batch_id, upstream, "/cancel"), upstream, request)

    async def delete(self, asking: Asking, batch_id: str) -> Response:
        """Delete it and its answers.  Raises: as ``one``; InvalidRequest, while it runs; BatchNotMetered."""
        principal = asking.principal
        upstream = self._desk.found(principal, batch_id)
        it = self._opened.of(batch_id, principal.key_id)
        if it is not None:
            if not self._desk.read(await self._desk.asked(asking, "GET", batch_id, upstream)).ended:
                raise InvalidRequest(f"The batch {batch_id} has not ended; cancel it, and delete it when it has.")
            await self._desk.check_metered(it, what="There are", param="message_batch_id")
        http = self._desk.about(asking, "DELETE", batch_id, upstream)
        try:
            body = await self._desk.control.told(upstream, http, asking)
        except UpstreamRefused as refusal:
            if refusal.sent_status == 404:
                self._desk.forget(principal, batch_id)
            raise
        self._desk.forget(principal, batch_id)
        return Response(body, media_type="application/json", headers={"x-tollway-provider": upstream.provider})

    async def results(self, asking: Asking, batch_id: str) -> Response:
        """Its answers, as they come.  Raises: as ``one``."""
        upstream = self._desk.found(asking.principal, batch_id)
        http = self._desk.about(asking, "GET", f"{batch_id}/results", upstream)
        deadline_s = self._clock_s() + self._desk.bounds.read_s
        return Content(await self._desk.control.ask(upstream, http, asking, deadline_s=deadline_s), upstream)

    async def list(self, asking: Asking, request: Request) -> Response:
        """A page of this key's batches, those under way as they are now.  Raises: InvalidRequest, NotFound."""
        shown, has_more = window(self._desk.names(asking.principal)[::-1], request.query_params)
        await self._desk.refresh(asking, frozenset(shown))
        seen = dict(self._desk.rows(asking.principal))
        names = [name for name in shown if name in seen]
        body = stored.listed([_told(seen[name], request) for name in names], names, has_more=has_more)
        return Response(body, media_type="application/json")


def parsed(body: bytes) -> Parsed:
    """A client's request for a batch, checked.  Raises: InvalidRequest, which says which of its requests is wrong."""
    try:
        asked = stored.asking(body)
    except ValueError as error:
        raise InvalidRequest(str(error), param="requests") from error
    if not 1 <= len(asked.requests) <= REQUESTS_MAX:
        raise InvalidRequest(f"A batch has from 1 to {REQUESTS_MAX:,} requests.", param="requests")
    for name in OURS:
        asked.rest.pop(name, None)
    heads, bodies = [], []
    for at, it in enumerate(asked.requests):
        params = bytes(it.params)
        try:
            head = _admit(params)
        except ProxyError as error:
            place = f"requests[{at}].params"
            raise InvalidRequest(
                f"{place}: {error.message}", param=f"{place}.{error.param}" if error.param else place
            ) from error
        heads.append(head)
        bodies.append(without(params, head.ours) if head.ours else params)
    return Parsed(asked, heads, bodies)


def _admit(body: bytes) -> Head:
    return anthropic.head(gate.parse(body))


def _told(body: bytes | str, request: Request) -> bytes:
    try:
        return stored.at_the_gateway(body, _base(request))
    except InvalidResponse as error:
        raise translated(error) from error


def _base(request: Request) -> str:
    """Where a client has the gateway from, as its request says; empty for SDKs, which know it better than any proxy between.

    Source: the headers of anthropic 2.8 (Python) and @anthropic-ai/sdk (TypeScript); MDN, "X-Forwarded-Proto"; read 2026-11.
    """
    if "x-stainless-lang" in request.headers:
        return ""
    proto = request.headers.get("x-forwarded-proto", "")
    scheme = proto if proto in ("http", "https") else request.url.scheme
    return f"{scheme}://{request.headers['host']}"


def _json(body: bytes, upstream: Upstream, request: Request) -> Response:
    headers = {"x-tollway-provider": upstream.provider}
    return Response(_told(body, request), media_type="application/json", headers=headers)
