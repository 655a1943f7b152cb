"""What every protocol's requests about batches have in common: who runs one, making one, asking about one, listing them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from ledger.budgets.accounts import USD
from providers.errors import InvalidResponse
from providers.keeping import Keeping, KeptBatch
from providers.provider import HttpRequest, Upstream
from proxy.attempts.control import Asking, Control
from proxy.attempts.outcome import translated
from proxy.batches.opened import Open, Opened
from proxy.batches.watcher import Watcher
from proxy.batches.weighing import Weighed
from proxy.call import Principal
from proxy.deployments.held import BATCHES, ID, Held, Holding
from proxy.deployments.models import ModelTable
from proxy.errors import (
    BatchNotMetered,
    FileNotFound,
    LedgerUnavailable,
    NoHealthyUpstream,
    NotFound,
    PriceUnknown,
    ProxyError,
    RateLimited,
    UpstreamAuth,
    UpstreamRateLimited,
    UpstreamRefused,
)
from proxy.metering.holds import Holds

LOOKS_MAX: Final = 8
RETRY_AFTER_S: Final = 60

_SURELY_NOT: Final = (UpstreamRefused, UpstreamRateLimited, UpstreamAuth, NoHealthyUpstream)
"""Errors after which no batch was made.  After all others nobody knows."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How many batches may be open, how long one's requests may take to be read, and whether unknown prices are refused.

    body_max_bytes: of requests that come with the batch; piece_s: how long their next piece may take to come.
    """

    open_max: int = 1_000
    read_s: float = 3600.0
    strict: bool = False
    body_max_bytes: int = 256 * 1024 * 1024
    piece_s: float = 60.0


class Desk:
    """Where batches of one protocol are asked for and about.  table: who is configured."""

    def __init__(
        self,
        control: Control,
        held: Held,
        opened: Opened,
        watcher: Watcher,
        holds: Holds,
        *,
        words: Keeping,
        table: Callable[[], ModelTable],
        bounds: Bounds,
        durable: bool,
    ) -> None:
        self.control = control
        self.held = held
        self.words = words
        self.bounds = bounds
        self._opened = opened
        self._watcher = watcher
        self._holds = holds
        self._table = table
        self._durable = durable
        self._thing = BATCHES[words.protocol]

    def check_room(self) -> None:
        """Raises: RateLimited, if as many are open as may be."""
        if len(self._opened) >= self.bounds.open_max:
            raise RateLimited(
                f"{self.bounds.open_max:,} batches are under way (batches.max_open).", retry_after_s=RETRY_AFTER_S
            )

    def new(self, asking: Asking, upstream: Upstream, endpoint: str, *, input_file_id: str = "") -> Open:
        """What is noted of one that is asked for now.  endpoint: what its requests call."""
        principal = asking.principal
        return Open(
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

    def is_strict(self, principal: Principal) -> bool:
        """Whether what its requests ask has to be known: somebody counts what they cost, or which models may be asked."""
        return bool(self._holds.lines_of(principal) or self.bounds.strict or principal.models or principal.owner_models)

    def check_prices(self, principal: Principal, weighed: Weighed, *, param: str) -> None:
        """Raises: PriceUnknown, if a price has to be known and is not."""
        priced = self.bounds.strict or any(line.unit == USD for line in self._holds.lines_of(principal))
        if priced and weighed.unpriced:
            raise PriceUnknown(
                f"No price is known for the model '{weighed.unpriced[0]}'; 'ledger.prices' can give it one.", param=param
            )

    def check_files(self, principal: Principal, upstream: Upstream, weighed: Weighed, *, param: str) -> None:
        """Raises: FileNotFound, for a file that the key has not, or that is elsewhere."""
        place = (upstream.provider, upstream.account)
        for name in weighed.files:
            found = self.held.find_file(principal, name)
            if found is not None and (found.provider, found.account) != place:
                raise FileNotFound(
                    f"A request of this batch names the file {name[:128]!r}, which is kept by another account.", param=param
                )

    def reserved(self, it: Open, principal: Principal, weighed: Weighed) -> Open:
        """It, with what it may cost held in every budget that counts it.  Raises: BudgetExceeded, BudgetBusy."""
        it = msgspec.structs.replace(it, models=weighed.models)
        if self._holds.lines_of(principal):
            it = msgspec.structs.replace(it, reserve=weighed.worst.reserve, most=weighed.worst.most)
            self._holds.admit_whole(it.request_id, principal, weighed.worst, it.created_us)
        return it

    async def made(
        self, asking: Asking, it: Open, upstream: Upstream, http: HttpRequest, *, deadline_s: float | None = None
    ) -> bytes:
        """Note that it is asked for, ask, and note what came of it: whatever happens in between, it will be metered.

        Raises: LedgerUnavailable, if it cannot be remembered; and what the provider's refusal is.
        """
        self._watcher.making(it.request_id)
        keeps = True
        try:
            if not await self._opened.note(it):
                keeps = False
                raise LedgerUnavailable("The batch cannot be remembered, so it was not made.", retry_after_s=5)
            try:
                answer = await self.control.told(upstream, http, asking, deadline_s=deadline_s)
            except _SURELY_NOT:
                keeps = False
                raise
            batch = self.read(answer)
            if ID.fullmatch(batch.id) is not None:
                it = msgspec.structs.replace(it, batch_id=batch.id)
                await self._opened.note(it)
                await self._watcher.seen(it, batch, answer)
        finally:
            if not keeps:
                self._holds.abandon(it.request_id)
                await self._opened.close(it.request_id)
            self._watcher.made(it.request_id)
        return answer

    def found(self, principal: Principal, batch_id: str) -> Upstream:
        """Who runs a batch of this key's.  Raises: NotFound."""
        holding = self.held.find(principal, batch_id, self._thing) if ID.fullmatch(batch_id) else None
        upstream = self._table().account(holding.provider, holding.account) if holding is not None else None
        if upstream is None:
            raise NotFound(f"There is no batch {batch_id[:128]!r} of this API key that a provider runs.", param="batch_id")
        return upstream

    async def asked(self, asking: Asking, method: str, batch_id: str, upstream: Upstream, rest: str = "") -> bytes:
        """What its provider says of a batch; that is known from now on.  Raises: what the provider's refusal is."""
        body = await self.control.told(upstream, self.about(asking, method, f"{batch_id}{rest}", upstream), asking)
        batch = self.read(body)
        principal = asking.principal
        it = self._opened.of(batch_id, principal.key_id)
        if it is None:
            self.held.keep(
                self._thing,
                batch_id,
                Holding(principal.key_id, upstream.provider, upstream.account, body.decode("utf-8", "replace")),
            )
            return body
        await self._watcher.seen(it, batch, body)
        if batch.ended:
            self._watcher.ended(it.request_id)
        return body

    async def refresh(self, asking: Asking, shown: Collection[str]) -> None:
        """Ask for those of these that may have changed; one that cannot be asked for is shown as it was last seen."""
        room = asyncio.Semaphore(LOOKS_MAX)

        async def look(name: str, upstream: Upstream) -> None:
            async with room:
                try:
                    await self.asked(asking, "GET", name, upstream)
                except ProxyError:
                    return  # it is shown as it was last seen

        async with asyncio.TaskGroup() as group:
            for name, holding in self.held.mine(asking.principal, self._thing):
                upstream = self._table().account(holding.provider, holding.account)
                if upstream is not None and name in shown and not (holding.seen and self.words.batch(holding.seen).ended):
                    group.create_task(look(name, upstream))

    def names(self, principal: Principal) -> list[str]:
        """The ids of all of this key's, the oldest first."""
        return [name for name, _ in self.held.mine(principal, self._thing)]

    def rows(self, principal: Principal) -> list[tuple[str, str]]:
        """Ids and objects in JSON of all of this key's that somebody has seen, the oldest first."""
        return [(name, it.seen) for name, it in self.held.mine(principal, self._thing) if it.seen]

    def forget(self, principal: Principal, batch_id: str) -> None:
        """It is gone."""
        self.held.forget(principal, batch_id, self._thing)

    async def check_metered(self, it: Open | None, *, what: str, param: str) -> None:
        """Raises: BatchNotMetered, if nobody has read yet what its answers cost."""
        if it is not None and not await self._watcher.look(it.request_id):
            raise BatchNotMetered(
                f"{what} the answers of {it.batch_id}, and what they cost is not known yet; it is soon.",
                param=param,
                retry_after_s=RETRY_AFTER_S,
            )

    def about(self, asking: Asking, method: str, path: str, upstream: Upstream, body: bytes = b"") -> HttpRequest:
        """A request about batches.  path: below theirs, empty for all of them."""
        return self.words.about(
            method,
            f"{self.words.batches}/{path}" if path else self.words.batches,
            upstream=upstream,
            request_id=asking.request_id,
            headers=asking.headers,
            body=body,
        )

    def read(self, body: bytes) -> KeptBatch:
        """What a provider says of a batch.  Raises: UpstreamInvalidResponse."""
        try:
            return self.words.batch(body)
        except InvalidResponse as error:
            raise translated(error) from error
