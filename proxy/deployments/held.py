"""Which account holds what, and whose it is: responses that OpenAI keeps, files, batches.  Who asks for one has to go there.

What is held is its maker's: to every other key there is no such thing.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, get_args

import msgspec

from providers.provider import Endpoint
from proxy.call import Call, Deployment, Principal, Tier
from proxy.errors import FileNotFound, InvalidRequest, PreviousResponseNotFound

MOST: Final = 100_000
"""So many of each kind are known at once, about 40 MB of responses; the oldest is forgotten first."""
ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
SEEN_MAX_BYTES: Final = 4096

Thing = Literal["response", "file", "batch", "upload", "message_file", "message_batch"]
"""What an account can hold; the last two at Anthropic, whose clients see them alone."""

FILES: Final[dict[Literal["openai", "anthropic"], Thing]] = {"openai": "file", "anthropic": "message_file"}
BATCHES: Final[dict[Literal["openai", "anthropic"], Thing]] = {"openai": "batch", "anthropic": "message_batch"}
"""What each protocol's are called here."""

GOING_ON: Final[frozenset[Endpoint]] = frozenset({"responses", "responses/input_tokens", "responses/compact"})
"""Endpoints that may name an earlier response."""


class Holding(msgspec.Struct, frozen=True, array_like=True):
    """Where something is.  key_id: of the API key that made it.  provider, account: who keeps it.

    seen: it, as its provider last described it, in JSON; empty: nobody has looked.
    """

    key_id: str
    provider: str
    account: str
    seen: str = ""


class _Line(msgspec.Struct, frozen=True, array_like=True):
    """One line of what is remembered.  holding: ``None``: it is gone.  key_id: whose it was then."""

    id: str
    holding: Holding | None = None
    thing: Thing = "response"
    key_id: str = ""


_read = msgspec.json.Decoder(_Line).decode
_write = msgspec.json.Encoder().encode


def _nowhere(line: bytes) -> None:
    """Nobody remembers it beyond this process."""
    del line


class Held:
    """What is known to be held.  A look and a note cost about a microsecond.

    lines: what an earlier process remembered.  remember: told each change as one line, to be given back as one of ``lines``.
    most: of each kind.
    """

    def __init__(self, lines: Iterable[bytes] = (), *, remember: Callable[[bytes], None] = _nowhere, most: int = MOST) -> None:
        self._remember = remember
        self._most = most
        self._known: dict[Thing, OrderedDict[tuple[str, str], Holding]] = {it: OrderedDict() for it in get_args(Thing)}
        self._mine: dict[tuple[Thing, str], dict[str, None]] = {}
        self._keys: dict[tuple[Thing, str], int] = {}
        """How many keys have it."""
        for line in lines:
            try:
                read = _read(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                # The last line of a process that was killed while it wrote.
                continue
            if read.holding is None:
                self._drop(read.thing, (read.key_id, read.id))
            else:
                self._put(read.thing, read.id, read.holding)

    def note(self, call: Call, deployment: Deployment, response_id: str) -> None:
        """A response has been made, and may be kept where it was."""
        if not call.head.stores:
            return
        key_id = call.principal.key_id if call.principal is not None else ""
        upstream = deployment.upstream
        self.keep("response", response_id, Holding(key_id, upstream.provider, upstream.account))

    def keep(self, thing: Thing, name: str, holding: Holding, *, lasting: bool = True) -> bool:
        """Something is held there; ``False``: that is no id, and nothing is noted.

        lasting: ``False``: what is seen of it will soon be different, and is for this process alone.
        """
        if ID.fullmatch(name) is None:
            return False
        if len(holding.seen) > SEEN_MAX_BYTES:
            holding = msgspec.structs.replace(holding, seen="")
        known = self._known[thing].get((holding.key_id, name))
        if known == holding:
            return True
        self._put(thing, name, holding)
        if lasting or known is None:
            self._remember(_write(_Line(name, holding, thing)))
        return True

    def find(self, principal: Principal | None, name: str, thing: Thing = "response") -> Holding | None:
        """Where something of this key's is; ``None``: it has no such thing."""
        return self._known[thing].get((principal.key_id if principal is not None else "", name))

    def anybody(self, name: str, thing: Thing) -> bool:
        """Whether some key has it."""
        return (thing, name) in self._keys

    def find_file(self, principal: Principal | None, name: str) -> Holding | None:
        """Where a file is that a request names; ``None``: no key made it here, and its provider knows whether it is there.

        Raises: FileNotFound, for another key's.
        """
        holding = self.find(principal, name, "file") or self.find(principal, name, "message_file")
        if holding is None and (self.anybody(name, "file") or self.anybody(name, "message_file")):
            raise FileNotFound(f"There is no file {name[:128]!r} of this API key.", param="file_id")
        return holding

    def mine(self, principal: Principal, thing: Thing) -> list[tuple[str, Holding]]:
        """Everything of that kind which this key has, the oldest first."""
        key_id = principal.key_id
        known = self._known[thing]
        return [(name, known[key_id, name]) for name in self._mine.get((thing, key_id), ())]

    def forget(self, principal: Principal | None, name: str, thing: Thing = "response") -> None:
        """It is gone."""
        key_id = principal.key_id if principal is not None else ""
        if self._drop(thing, (key_id, name)):
            self._remember(_write(_Line(name, None, thing, key_id)))

    def lines(self) -> Iterator[bytes]:
        """All that is known, of each kind the oldest first.  It is copied now, and the lines may be made in another thread."""
        # As of a plain dict: an OrderedDict's own views hash every key again, 40 ms for as many as there may be instead of 3.
        known = [(thing, list(dict.keys(known)), list(dict.values(known))) for thing, known in self._known.items()]
        return (
            msgspec.json.encode(_Line(name, it, thing))
            for thing, keys, values in known
            for (_, name), it in zip(keys, values, strict=True)
        )

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))

    def _put(self, thing: Thing, name: str, holding: Holding) -> None:
        known = self._known[thing]
        key = (holding.key_id, name)
        if key in known:
            # What is seen of it has changed; it is as old as it was.
            known[key] = holding
            return
        known[key] = holding
        self._keys[thing, name] = self._keys.get((thing, name), 0) + 1
        if thing != "response":
            self._mine.setdefault((thing, holding.key_id), {})[name] = None
        if len(known) > self._most:
            self._drop(thing, next(iter(known)))

    def _drop(self, thing: Thing, key: tuple[str, str]) -> bool:
        if self._known[thing].pop(key, None) is None:
            return False
        key_id, name = key
        self._keys[thing, name] -= 1
        if not self._keys[thing, name]:
            del self._keys[thing, name]
        if (mine := self._mine.get((thing, key_id))) is not None:
            mine.pop(name, None)
            if not mine:
                del self._mine[thing, key_id]
        return True


def at_the_holder(held: Held, call: Call, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    """The tiers with the deployments of the account alone that holds the response which this one goes on from.

    Raises: PreviousResponseNotFound; InvalidRequest, if the model is not served by that account.
    """
    earlier = call.head.previous_response
    if call.endpoint not in GOING_ON or not earlier:
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


def with_its_files(held: Held, call: Call, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    """The tiers with the deployments of the account alone that holds the files which a request names, if one is known to.

    Raises: FileNotFound; InvalidRequest, if no account holds all of them, or the one that does does not serve the model.
    """
    names = call.head.weight.files
    if not names:
        return tiers
    holdings = [held.find_file(call.principal, name) for name in names]
    places = {(it.provider, it.account) for it in holdings if it is not None}
    if not places:
        return tiers
    if len(places) > 1:
        raise InvalidRequest("The files of this request are kept by different accounts.", param="file_id")
    (place,) = places
    kept = tuple(
        msgspec.structs.replace(tier, deployments=here)
        for tier in tiers
        if (here := tuple(it for it in tier.deployments if (it.upstream.provider, it.upstream.account) == place))
    )
    if not any(not tier.detour for tier in kept):
        raise InvalidRequest(
            f"The files of this request are kept by the provider '{place[0]}', which does not serve the model "
            f"'{call.head.model}' with the account that has them.",
            param="file_id",
        )
    return kept


def _is_at(deployment: Deployment, holding: Holding) -> bool:
    upstream = deployment.upstream
    return (
        upstream.provider == holding.provider
        and upstream.account == holding.account
        and "responses" in upstream.vendor.endpoints
    )
