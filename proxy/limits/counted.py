"""A request that counts for its key's limits without going through the pipeline: one about files, batches, kept responses."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from proxy.call import Principal
from proxy.errors import Headers


class Counted(msgspec.Struct):
    """One of them, while it is answered.  headers: what its client is told of its limits.

    counts: ``False``: it failed through no fault of its caller, and its limits get it back.
    """

    headers: Headers = msgspec.field(default_factory=list)
    counts: bool = True


class Counts(Protocol):
    """What counts requests."""

    def counted(self, principal: Principal, /) -> AbstractAsyncContextManager[Counted]:
        """Around what answers a request of this key's.  Raises: RateLimited, before it is begun."""
        ...
