"""``/v1/files``: what clients give to providers, as OpenAI has it.

A file is at one account and its maker's: to every other key there is no such file.  Lists are of what the calling key made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from providers.errors import InvalidResponse, ProviderError
from providers.keeping import Keeping, KeptFile
from providers.openai import stored
from providers.openai.stored import KEEPING as OPENAI
from providers.provider import HttpRequest, Upstream
from providers.registry import keeping
from proxy.api import gate
from proxy.attempts.attempt import Answering
from proxy.attempts.control import Asking, Control
from proxy.attempts.outcome import translated
from proxy.call import Principal
from proxy.deployments.held import FILES, ID, Held, Holding
from proxy.deployments.models import ModelTable
from proxy.errors import InvalidRequest, NoHealthyUpstream, NotFound, ProxyError, UnsupportedEndpoint, UpstreamRefused

OURS: Final = ("provider", "custom_llm_provider")
"""Fields that say who gets a file; the second is what LiteLLM calls it."""
LOOKS_MAX: Final = 8
"""So many files that nobody has looked at are asked for at once, to list them."""
RETRY_AFTER_S: Final = 5

log = structlog.get_logger("tollway.files")

Guard = Callable[[Principal, str], Awaitable[None]]
"""Told of a file that is to be deleted.  Raises: ProxyError, if it has to stay for now."""


def _tags_of(request: Request) -> tuple[str, ...]:
    """What the request's header says that it is to be counted under.  Raises: InvalidRequest."""
    return gate.tags(",".join(request.headers.getlist("x-tollway-tags")).encode())


def recorded(
    control: Control,
    kind: Literal["files", "batches"],
    principal: Principal,
    request: Request,
    headers: tuple[tuple[str, str], ...] = (),
) -> AbstractAsyncContextManager[Asking]:
    """Around what answers a request: one record of it, whatever comes.  headers: those of the client's that go on."""
    state = request.state
    return control.recorded(
        principal,
        kind,
        request_id=state.request_id,
        tags=_tags_of(request),
        headers=headers,
        told=state.headers,
        when_gone=state.when_gone,
    )


class Places:
    """Which account gets a new file.

    provider: who, where a request does not say; empty: the only one that keeps files.  parked: the accounts that cannot be
    asked just now.  chance: a number in [0, 1).
    """

    def __init__(
        self,
        table: Callable[[], ModelTable],
        *,
        provider: str = "",
        parked: Callable[[], Collection[tuple[str, str]]] = tuple,
        chance: Callable[[], float],
    ) -> None:
        self._table = table
        self._provider = provider
        self._parked = parked
        self._chance = chance

    def new(self, named: str, words: Keeping = OPENAI) -> Upstream:
        """An account of the provider that a request names (``provider``, or ``provider@account``), by weight among those that
        are well.  words: of the protocol in which it is to keep something.

        Raises: InvalidRequest, if nobody is meant or several are; UnsupportedEndpoint; NoHealthyUpstream.
        """
        providers = [it for it in self._table().providers() if _keeps(it.accounts[0][0], words)]
        # What is configured is meant for one protocol; clients of the other have their own.
        usual = self._provider if any(it.name == self._provider.partition("@")[0] for it in providers) else ""
        name, _, account = (named or usual or (self._provider if words is OPENAI else "")).partition("@")
        if name:
            known = next((it for it in self._table().providers() if it.name == name), None)
            if known is None:
                raise InvalidRequest(f"There is no provider {name[:64]!r}.", param="provider")
            if known not in providers:
                raise UnsupportedEndpoint(
                    f"The provider '{name}' keeps no files for clients of this protocol (providers.{name}.files).",
                    param="provider",
                )
            providers = [known]
        if not providers:
            raise UnsupportedEndpoint("No provider is configured that keeps files.")
        if len(providers) > 1:
            names = ", ".join(f"'{it.name}'" for it in providers[:8])
            raise InvalidRequest(
                f"Several providers keep files: name one of {names} in 'x-tollway-provider' (or 'files.provider').",
                param="provider",
            )
        accounts = [it for it in providers[0].accounts if account in ("", it[0].account)]
        if not accounts:
            raise InvalidRequest(f"The provider '{name}' has no account {account[:64]!r}.", param="provider")
        return self.one_of(accounts)

    def one_of(self, accounts: Sequence[tuple[Upstream, int]]) -> Upstream:
        """One of these, by weight among those that are well.  Raises: NoHealthyUpstream."""
        parked = self._parked()
        well = [it for it in accounts if (it[0].provider, it[0].account) not in parked]
        if not well:
            raise NoHealthyUpstream("No account that keeps this can be asked just now.", retry_after_s=RETRY_AFTER_S)
        left = self._chance() * sum(weight for _, weight in well)
        for upstream, weight in well:
            left -= weight
            if left < 0:
                return upstream
        return well[-1][0]

    def of(self, holding: Holding | None) -> Upstream | None:
        """The account that holds something; ``None``: it is configured no longer."""
        return self._table().account(holding.provider, holding.account) if holding is not None else None


def _keeps(upstream: Upstream, words: Keeping) -> bool:
    return upstream.vendor.files and keeping(upstream.vendor) is words


class Files:
    """Answers requests about files of one protocol.  guard: looks whether one may be deleted.  now_s: the time."""

    def __init__(
        self,
        control: Control,
        held: Held,
        places: Places,
        *,
        guard: Guard,
        now_s: Callable[[], float],
        words: Keeping = OPENAI,
    ) -> None:
        self._control = control
        self._held = held
        self._places = places
        self._guard = guard
        self._now_s = now_s
        self._words = words
        self._thing = FILES[words.protocol]

    async def one(self, asking: Asking, file_id: str) -> Response:
        """A file's own description.  Raises: NotFound, and what the provider's refusal is."""
        upstream, holding = self._found(asking.principal, file_id)
        return _json(await self._look(asking, file_id, upstream, holding), upstream)

    async def content(self, asking: Asking, file_id: str) -> Response:
        """What is in it, as it comes.  Raises: as ``one``."""
        upstream, _ = self._found(asking.principal, file_id)
        asked = self._about(asking, "GET", f"{file_id}/content", upstream)
        return Content(await self._control.ask(upstream, asked, asking), upstream)

    async def delete(self, asking: Asking, file_id: str) -> Response:
        """Delete it at its provider.  Raises: as ``one``; and while it is not known yet what its batch cost."""
        upstream, _ = self._found(asking.principal, file_id)
        await self._guard(asking.principal, file_id)
        asked = self._about(asking, "DELETE", file_id, upstream)
        try:
            body = await self._control.told(upstream, asked, asking)
        except UpstreamRefused as refusal:
            self._gone(asking.principal, file_id, refusal)
            raise
        self._held.forget(asking.principal, file_id, self._thing)
        return _json(body, upstream)

    async def list(self, asking: Asking, *, purpose: str, limit: int, after: str, order: Literal["asc", "desc"]) -> Response:
        """A page of what this key made.  Raises: NotFound, for an ``after`` that is none of it."""
        rows = []
        for name, seen in await self.rows(asking):
            if not purpose or stored.file_object(seen).purpose == purpose or name == after:
                rows.append((name, seen))
        return _json(page(rows, limit=limit, after=after, order=order))

    async def rows(self, asking: Asking) -> Sequence[tuple[str, str]]:
        """Ids and objects in JSON of all that this key made and that is not over, the oldest first."""
        principal = asking.principal
        mine = self._held.mine(principal, self._thing)
        await self._look_at_all(asking, [it for it in mine if not it[1].seen])
        now_s = self._now_s()
        rows: list[tuple[str, str]] = []
        for name, holding in self._held.mine(principal, self._thing):
            if not holding.seen:
                continue
            expires_s = self._words.file(holding.seen).expires_s
            if expires_s is not None and expires_s <= now_s:
                self._held.forget(principal, name, self._thing)
            else:
                rows.append((name, holding.seen))
        return rows

    async def _look_at_all(self, asking: Asking, unseen: Sequence[tuple[str, Holding]]) -> None:
        """Ask for what nobody has looked at: files that batches made.  What cannot be asked for now is not listed."""
        room = asyncio.Semaphore(LOOKS_MAX)

        async def look(name: str, holding: Holding) -> None:
            upstream = self._places.of(holding)
            if upstream is None:
                return
            async with room:
                try:
                    await self._look(asking, name, upstream, holding)
                except ProxyError as error:
                    log.warning("file_not_listed", file=name, provider=holding.provider, reason=error.message)

        async with asyncio.TaskGroup() as group:
            for name, holding in unseen[:100]:
                group.create_task(look(name, holding))

    async def _look(self, asking: Asking, file_id: str, upstream: Upstream, holding: Holding) -> bytes:
        asked = self._about(asking, "GET", file_id, upstream)
        try:
            body = await self._control.told(upstream, asked, asking)
        except UpstreamRefused as refusal:
            self._gone(asking.principal, file_id, refusal)
            raise
        told_of(body, self._words)
        self._held.keep(self._thing, file_id, msgspec.structs.replace(holding, seen=body.decode("utf-8", "replace")))
        return body

    def _about(self, asking: Asking, method: str, path: str, upstream: Upstream) -> HttpRequest:
        return self._words.about(
            method,
            f"{self._words.files}/{path}",
            upstream=upstream,
            request_id=asking.request_id,
            headers=asking.headers,
        )

    def _gone(self, principal: Principal, file_id: str, refusal: UpstreamRefused) -> None:
        if refusal.sent_status == 404:
            self._held.forget(principal, file_id, self._thing)

    def _found(self, principal: Principal, file_id: str) -> tuple[Upstream, Holding]:
        holding = self._held.find(principal, file_id, self._thing) if ID.fullmatch(file_id) else None
        upstream = self._places.of(holding)
        if holding is None or upstream is None:
            raise NotFound(f"There is no file {file_id[:128]!r} of this API key that a provider keeps.", param="file_id")
        return upstream, holding


def told_of(body: bytes, words: Keeping = OPENAI) -> KeptFile:
    """What a provider says of a file.  Raises: UpstreamInvalidResponse."""
    try:
        return words.file(body)
    except InvalidResponse as error:
        raise translated(error) from error


def page(rows: Sequence[tuple[str, str]], *, limit: int, after: str, order: Literal["asc", "desc"] = "desc") -> bytes:
    """A page of a list.  rows: ids and objects in JSON, the oldest first.  Raises: NotFound, if nothing is called ``after``."""
    ordered = list(rows) if order == "asc" else list(reversed(rows))
    if after:
        at = next((index for index, (name, _) in enumerate(ordered) if name == after), None)
        if at is None:
            raise NotFound(f"There is no {after[:128]!r} in this list.", param="after")
        ordered = ordered[at + 1 :]
    return stored.listed([it for _, it in ordered[:limit]], has_more=len(ordered) > limit)


def _json(body: bytes, upstream: Upstream | None = None) -> Response:
    headers = {"x-tollway-provider": upstream.provider} if upstream is not None else {}
    return Response(body, 200, media_type="application/json", headers=headers)


class _CutError(Exception):
    """The provider's answer broke off."""


class Content(StreamingResponse):
    """What a provider keeps, as it comes.  What breaks off does not look whole; the upstream is let go of however it ends."""

    def __init__(self, answer: Answering, upstream: Upstream) -> None:
        headers = {"content-type": answer.header_content_type, "x-tollway-provider": upstream.provider}
        super().__init__(_pieces(answer), headers=headers)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except _CutError as cut:
            log.warning("file_cut_off", reason=str(cut))
        finally:
            self._answer.close()


async def _pieces(answer: Answering) -> AsyncIterator[bytes]:
    try:
        while data := await answer.chunk():
            yield data
    except ProviderError as error:
        raise _CutError(str(error)) from error


def router(files: Files, control: Control, caller: Callable[..., Principal]) -> APIRouter:
    """The routes.  caller: who calls."""
    routes = APIRouter(prefix="/v1/files", tags=["files"])
    answers: dict[int | str, dict[str, Any]] = {200: {"description": "The provider's answer."}}

    asking = partial(recorded, control, "files")

    @routes.get("", operation_id="list_files", responses=answers, response_class=Response)
    async def listing(
        request: Request,
        purpose: Annotated[str, Query(max_length=64, description="Only files of this purpose.")] = "",
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        after: Annotated[str, Query(max_length=128, description="The last file of the page before.")] = "",
        order: Annotated[Literal["asc", "desc"], Query(description="By the time they were made.")] = "desc",
        principal: Principal = Depends(caller),
    ) -> Response:
        """The files that this key made."""
        async with asking(principal, request) as it:
            return await files.list(it, purpose=purpose, limit=limit, after=after, order=order)

    @routes.get("/{file_id}", operation_id="get_file", responses=answers, response_class=Response)
    async def one(file_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """A file of this key's."""
        async with asking(principal, request) as it:
            return await files.one(it, file_id)

    @routes.get("/{file_id}/content", operation_id="get_file_content", responses=answers, response_class=Response)
    async def content(file_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """What is in it."""
        async with asking(principal, request) as it:
            return await files.content(it, file_id)

    @routes.delete("/{file_id}", operation_id="delete_file", responses=answers, response_class=Response)
    async def delete(file_id: str, request: Request, principal: Principal = Depends(caller)) -> Response:
        """Delete it at its provider."""
        async with asking(principal, request) as it:
            return await files.delete(it, file_id)

    return routes
