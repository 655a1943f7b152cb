"""What opens the gateway: secrets of 256 random bits, shown once, of which only HMACs under a pepper are kept."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

from proxy.call import Principal

PREFIX = "tw-"


def new_secret() -> str:
    """A key that nobody has yet."""
    return PREFIX + secrets.token_urlsafe(32)


class KeyRing:
    """Every secret that opens this gateway, in memory, found by digest in constant time.

    pepper: at least 32 random bytes, kept beside the ledger, so that a copied database opens nothing.
    """

    def __init__(self, pepper: bytes, clock_us: Callable[[], int]) -> None:
        if len(pepper) < 32:
            raise ValueError("the pepper has fewer than 32 bytes")
        self._keyed = hmac.new(pepper, digestmod="sha256")
        self._clock_us = clock_us
        self._principals: dict[bytes, Principal] = {}

    def find(self, secret: str) -> Principal | None:
        """Who has this key; ``None`` if nobody has, or it is revoked or expired.  About 3 µs."""
        principal = self._principals.get(self.digest(secret))
        if principal is None or (principal.expires_us is not None and principal.expires_us <= self._clock_us()):
            return None
        return principal

    def admit(self, digest: bytes, principal: Principal) -> None:
        """From now on the secret of that digest is the principal's."""
        self._principals[digest] = principal

    def dismiss(self, digest: bytes) -> None:
        """From now on the secret of that digest opens nothing."""
        self._principals.pop(digest, None)

    def digest(self, secret: str) -> bytes:
        """What is kept of a secret: 32 bytes that open nothing."""
        # The dict is looked up by a keyed hash of the whole key, so what its timing could tell is of no use to a guesser.
        # A copy of the keyed state, because hmac.digest gives up the GIL, and the ledger's thread is glad to take it.
        keyed = self._keyed.copy()
        keyed.update(secret.encode("utf-8", "surrogateescape"))
        return keyed.digest()
