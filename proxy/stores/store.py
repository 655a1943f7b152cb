"""The ports of shared state."""

from __future__ import annotations

from typing import Protocol


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
