"""Which account holds which response, and whose it is: OpenAI keeps responses, and who goes on from one has to go there.

A response is its maker's: to every other key there is no such response.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from proxy.call import Call, Deployment, Principal, Tier
from proxy.errors import InvalidRequest, PreviousResponseNotFound

MOST: Final = 100_000
"""So many responses are known at once, about 40 MB; the oldest is forgotten first."""
ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Holding(msgspec.Struct, frozen=True, array_like=True):
    """Where a response is.  key_id: of the API key that made it.  provider, account: who keeps it."""

    key_id: str
    provider: str
    account: str


class _Line(msgspec.Struct, frozen=True, array_like=True):
    """One line of what is remembered.  holding: ``None``: it is gone."""

    id: str
    holding: Holding | None = None


_read = msgspec.json.Decoder(_Line).decode
_write = msgspec.json.Encoder().encode


def _nowhere(line: bytes) -> None:
    """Nobody remembers it beyond this process."""
    del line


class Held:
    """The responses that are known.  A look and a note cost about a microsecond.

    lines: what an earlier process remembered.  remember: told each change as one line, to be given back as one of ``lines``.
    """

    def __init__(self, lines: Iterable[bytes] = (), *, remember: Callable[[bytes], None] = _nowhere, most: int = MOST) -> None:
        self._remember = remember
        self._most = most
        self._known: OrderedDict[str, Holding] = OrderedDict()
        for line in lines:
            try:
                read = _read(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                # The last line of a process that was killed while it wrote.
                continue
            self._put(read.id, read.holding)

    def note(self, call: Call, deployment: Deployment, response_id: str) -> None:
        """A response has been made, and may be kept where it was."""
        if not call.head.stores or ID.fullmatch(response_id) is None:
            return
        key_id = call.principal.key_id if call.principal is not None else ""
        upstream = deployment.upstream
        holding = Holding(key_id, upstream.provider, upstream.account)
        if self._known.get(response_id) == holding:
            return
        self._put(response_id, holding)
        self._remember(_write(_Line(response_id, holding)))

    def find(self, principal: Principal | None, response_id: str) -> Holding | None:
        """Where a response of this key's is; ``None``: it has no such response."""
        found = self._known.get(response_id)
        return found if found is not None and found.key_id == (principal.key_id if principal is not None else "") else None

    def forget(self, response_id: str) -> None:
        """It is gone."""
        if self._known.pop(response_id, None) is not None:
            self._remember(_write(_Line(response_id)))

    def lines(self) -> Iterator[bytes]:
        """All that is known, the oldest first."""
        return (_write(_Line(name, holding)) for name, holding in self._known.items())

    def __len__(self) -> int:
        return len(self._known)

    def _put(self, response_id: str, holding: Holding | None) -> None:
        self._known.pop(response_id, None)
        if holding is None:
            return
        self._known[response_id] = holding
        if len(self._known) > self._most:
            self._known.popitem(last=False)


def at_the_holder(held: Held, call: Call, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    """The tiers with the deployments of the account alone that holds the response which this one goes on from.

    Raises: PreviousResponseNotFound; InvalidRequest, if the model is not served by that account.
    """
    earlier = call.head.previous_response
    if call.endpoint != "responses" or not earlier:
        return tiers
    holding = held.find(call.principal, earlier)
    if holding is None:
        raise PreviousResponseNotFound(
            f"There is no response {earlier[:128]!r} of this API key that a provider keeps.", param="previous_response_id"
        )
    kept = tuple(
        tier if len(here) == len(tier.deployments) else msgspec.structs.replace(tier, deployments=here)
        for tier in tiers
        if (here := tuple(it for it in tier.deployments if _is_at(it, holding)))
    )
    if not any(not tier.detour for tier in kept):
        raise InvalidRequest(
            f"The response {earlier!r} is kept by the provider '{holding.provider}', which does not serve the model "
            f"'{call.head.model}' with the account that made it.",
            param="previous_response_id",
        )
    return kept


def _is_at(deployment: Deployment, holding: Holding) -> bool:
    upstream = deployment.upstream
    return (
        upstream.provider == holding.provider
        and upstream.account == holding.account
        and "responses" in upstream.vendor.endpoints
    )
