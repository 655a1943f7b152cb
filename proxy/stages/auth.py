"""Who is calling?"""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import replace

from proxy.call import Call, Principal, Reply
from proxy.errors import InvalidApiKey
from proxy.stage import Service

KEY_MAX_CHARS = 512


class Keys(Protocol):
    """Finds who has a key."""

    def find(self, secret: str, /) -> Principal | None:
        """The principal, or ``None``."""
        ...


class Auth:
    """Find the principal by the key in the Authorization header.

    Reads: authorization.   Writes: principal.   Raises: 401, one answer for every kind of bad key.
    Config: keys.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def __call__(self, call: Call, /, next: Service) -> Reply:
        return await next(replace(call, principal=self.identify(call.authorization)))

    def identify(self, authorization: tuple[str, ...]) -> Principal:
        """Who sends these Authorization headers.  Raises: InvalidApiKey."""
        if len(authorization) == 1:
            scheme, _, secret = authorization[0].partition(" ")
            secret = secret.strip()
            if scheme.lower() == "bearer" and 0 < len(secret) <= KEY_MAX_CHARS:
                principal = self._keys.find(secret)
                if principal is not None:
                    return principal
        raise InvalidApiKey("The API key is missing or not valid. Send it as 'Authorization: Bearer tw-…'.")
