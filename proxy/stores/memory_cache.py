"""The cache in this process's memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

OVERHEAD_BYTES = 256
"""What an entry takes beside its key and value: two bytes objects, a tuple, a float, its place in the table."""


class MemoryCache:
    """A CacheStore, bounded in bytes: the least recently used makes room.  A read costs under a microsecond.

    max_bytes: of all entries, what they take beside their values included.  clock_s: monotonic.
    evicted, expired: how many entries made room, and how many were found after their time.
    """

    def __init__(self, max_bytes: int, clock_s: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._clock_s = clock_s
        self._entries: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self.size_bytes = 0
        self.evicted = 0
        self.expired = 0

    async def get(self, key: bytes, /) -> bytes | None:
        """What is kept there."""
        found = self._entries.get(key)
        if found is None:
            return None
        value, until_s = found
        if until_s <= self._clock_s():
            self.expired += 1
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return value

    async def put(self, key: bytes, value: bytes, /, *, ttl_s: float) -> None:
        """Keep it; one that is larger than the whole is not kept."""
        self._drop(key)
        size = _size(key, value)
        if ttl_s <= 0 or size > self._max_bytes:
            return
        self._entries[key] = (value, self._clock_s() + ttl_s)
        self.size_bytes += size
        while self.size_bytes > self._max_bytes:
            self.evicted += 1
            self._drop(next(iter(self._entries)))

    async def delete(self, key: bytes, /) -> None:
        """Keep it no longer."""
        self._drop(key)

    def __len__(self) -> int:
        return len(self._entries)

    def _drop(self, key: bytes) -> None:
        found = self._entries.pop(key, None)
        if found is not None:
            self.size_bytes -= _size(key, found[0])


def _size(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + OVERHEAD_BYTES
