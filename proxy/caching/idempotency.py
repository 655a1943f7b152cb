"""Requests that their caller has given a name of its own, so that sending one again does not make it happen again.

The name counts for one API key.  What it was given to is known by a keyed hash of endpoint and body; what was answered is kept
as the client received it.  What failed is not kept: nobody has had an answer of it, so it may be tried again.
Source: Stripe's API reference, "Idempotent requests"; draft-ietf-httpapi-idempotency-key-header-07; both read 2026-11.
"""

from __future__ import annotations

import hashlib
import hmac

from proxy.caching.entry import Entry, Sealer
from proxy.call import Call
from proxy.errors import IdempotencyAnswerLost, IdempotencyKeyReused, InvalidRequest
from proxy.stores.store import CacheStore

HEADER = b"idempotency-key"
NAME_MAX = 255
REPLAYED = (b"idempotent-replayed", b"true")

_PRINT_BYTES = 16


class Idempotency:
    """Names, and what was answered under them.

    ttl_s: how long; 0: names do not count.   The store may forget earlier: it is bounded.
    """

    def __init__(self, store: CacheStore, secret: bytes, *, ttl_s: float) -> None:
        self._store = store
        self._sealer = Sealer(secret)
        self._keyed = hmac.new(secret, digestmod="sha256")
        self._printed = hashlib.blake2b(key=secret[:64], digest_size=_PRINT_BYTES, person=b"tollway idem")
        self._ttl_s = ttl_s

    def slot(self, call: Call) -> bytes | None:
        """Where the answer to a call is, by the name it has; ``None``: it has none.  0.5 µs then.  Raises: InvalidRequest."""
        name = call.header(HEADER)
        if name is None or self._ttl_s <= 0:
            return None
        if not 0 < len(name) <= NAME_MAX or not name.isprintable():
            raise InvalidRequest(f"An Idempotency-Key is 1 to {NAME_MAX} printable characters.", param="Idempotency-Key")
        keyed = self._keyed.copy()
        keyed.update(f"{call.principal.key_id if call.principal is not None else ''}\n{name}".encode())
        return keyed.digest()

    def is_same(self, call: Call, other: Call) -> bool:
        """Whether two calls of one name ask the same."""
        return call.endpoint == other.endpoint and call.body == other.body

    async def find(self, slot: bytes, call: Call) -> Entry | None:
        """What was answered.  Raises: IdempotencyKeyReused; IdempotencyAnswerLost, if it was too large to be kept."""
        data = await self._store.get(slot)
        if data is None:
            return None
        if not hmac.compare_digest(data[:_PRINT_BYTES], self._print(call)):
            raise reused()
        entry = self._sealer.open(slot, data[_PRINT_BYTES:])
        if entry is None:
            raise lost()
        return entry

    async def keep(self, slot: bytes, call: Call, entry: Entry | None) -> None:
        """Keep what was answered; ``None``: it was, and is too large to be kept."""
        data = self._print(call)
        if entry is not None:
            data += self._sealer.seal(slot, entry)
        await self._store.put(slot, data, ttl_s=self._ttl_s)

    def _print(self, call: Call) -> bytes:
        printed = self._printed.copy()
        printed.update(call.endpoint.encode() + b"\n")
        printed.update(call.body)
        return printed.digest()


def reused() -> IdempotencyKeyReused:
    """The name was given to another request."""
    return IdempotencyKeyReused("This Idempotency-Key was sent with another request before.", param="Idempotency-Key")


def lost() -> IdempotencyAnswerLost:
    """The request was answered, and the answer is not there to be given again."""
    return IdempotencyAnswerLost(
        "This request was answered before, and its answer is too large to be given again.", param="Idempotency-Key"
    )
