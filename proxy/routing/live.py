"""What the router asks of what is measured here.  Whoever measures implements it; by default nothing is known."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import msgspec


class Measured(Protocol):
    """A metric's value, and how many samples it rests on."""

    @property
    def value(self) -> float: ...

    @property
    def n(self) -> int: ...


_NOTHING: Mapping[str, Measured] = MappingProxyType({})


class LiveOffers(Protocol):
    """What our own traffic says of each offer.  Immutable: a newer one replaces it, at most once a second."""

    def by_offer(self, offer: str, task: str = "", /) -> Mapping[str, Measured]:
        """By the names of the metric catalogue: of ``provider/model``, or of it at one kind of task alone."""
        ...


class Unmeasured:
    """Nothing is known of anybody."""

    def by_offer(self, offer: str, task: str = "", /) -> Mapping[str, Measured]:  # noqa: ARG002  # the port's signature
        """Nothing."""
        return _NOTHING


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured, at one moment; compared by identity, so that what is derived from it is derived once.

    bytes_per_token: of a body, by model family, as metered.
    """

    offers: LiveOffers = Unmeasured()
    bytes_per_token: Mapping[str, float] = MappingProxyType({})


NOTHING = Live()
