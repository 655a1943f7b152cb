"""The ports of shared state: buckets and cached answers.  A call to buckets is one decision: no other process comes between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

DEBT_MINUTES = 10
"""A bucket owes at most what flows into it in this time: a request that used far more than was reserved shuts its owner
out for no longer, and what is beyond it is forgiven."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One bucket.

    capacity: what it holds when it is full, which it is at first.   per_minute: what flows into it.
    per_minute = 0: nothing does by itself; what was taken has to be given back, as with requests under way.
    """

    name: str
    capacity: int
    per_minute: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """Whether everything was taken, or nothing.

    left, full_s: for each bucket, in the order asked, what is in it now (0 where it is in debt), and in how many seconds it
    will be full; 0.0 for one that does not fill by itself.
    blocked: index of the bucket that has too little, the one that takes longest; ``None``: all was taken.
    wait_s: until it has enough, if nobody else takes from it; infinite where only others can give it back.
    """

    left: tuple[int, ...]
    full_s: tuple[float, ...]
    blocked: int | None = None
    wait_s: float = 0.0


class BucketStore(Protocol):
    """Token buckets, by name.

    The time is the store's own, so that replicas agree on it; it never goes back.  A bucket whose limit is changed keeps
    what was used of it.  A store may forget a bucket that is full, and no other as long as it has the room.
    Capacities and amounts up to 10^9.
    """

    async def take(self, limits: Sequence[Limit], amounts: Sequence[int], /) -> Verdict:
        """Take each amount from its bucket, if all of them are there; otherwise nothing at all.  0 is always there.

        Cancelled, it has taken nothing.  Raises: ValueError, for a name that stands there twice or a negative amount.
        """
        ...

    async def give(self, limits: Sequence[Limit], amounts: Sequence[int], /) -> None:
        """Put each amount back into its bucket, up to its capacity.

        A negative amount takes it without asking, down to a debt of DEBT_MINUTES of what flows in.
        """
        ...


class CacheStore(Protocol):
    """Keeps bytes under keys for a while.  Bounded: what was not used for longest makes room for what is new.

    Whoever stands behind it, a value that was put may be gone at any time.  It raises nothing: a store that cannot be
    reached has nothing, and keeps nothing.
    """

    async def get(self, key: bytes, /) -> bytes | None:
        """What is kept there; ``None`` if there is nothing, or its time is over."""
        ...

    async def put(self, key: bytes, value: bytes, /, *, ttl_s: float) -> None:
        """Keep the value, in place of what was there, for ``ttl_s`` seconds at most."""
        ...

    async def delete(self, key: bytes, /) -> None:
        """Keep it no longer."""
        ...
