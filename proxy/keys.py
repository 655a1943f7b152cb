"""API keys: made, found, revoked.  A key is 256 random bits, shown once; what is kept is its HMAC under a pepper."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable

import msgspec

from ledger import errors as ledger_errors
from ledger.ports import KeyPort
from ledger.records import Key
from proxy.call import Principal
from proxy.errors import InvalidRequest, KeyExists, LedgerUnavailable

PREFIX = "tw-"
NAME_MAX = 128


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made.  ``secret`` is shown to its owner and forgotten."""

    key: Key
    secret: str


class KeyRing:
    """Every key that opens this gateway, in memory, found by digest in constant time.

    pepper: at least 32 random bytes, kept beside the ledger, so that a copied database opens nothing.
    """

    def __init__(self, pepper: bytes, store: KeyPort, clock_us: Callable[[], int]) -> None:
        if len(pepper) < 32:
            raise ValueError("the pepper has fewer than 32 bytes")
        self._keyed = hmac.new(pepper, digestmod="sha256")
        self._store = store
        self._clock_us = clock_us
        self._stored: dict[str, Key] = {}
        self._principals: dict[bytes, Principal] = {}

    async def load(self) -> None:
        """Read the stored keys."""
        for key in await self._store.keys():
            self._keep(key)

    def declare(self, name: str, secret: str, *, admin: bool, models: Iterable[str] = ()) -> None:
        """Accept a key that the configuration or the environment names.  It is not stored: it ends with its
        declaration.  One that is stored as well keeps its id, and may do what the declaration says."""
        digest = self._digest(secret)
        stored = next((key for key in self._stored.values() if key.digest == digest and key.revoked_us is None), None)
        self._principals[digest] = Principal(
            key_id=stored.id if stored else name, name=stored.name if stored else name, admin=admin, models=tuple(models)
        )

    def find(self, secret: str) -> Principal | None:
        """Who has this key; ``None`` if nobody has, or it is revoked or expired.  About 3 µs."""
        principal = self._principals.get(self._digest(secret))
        if principal is None or (principal.expires_us is not None and principal.expires_us <= self._clock_us()):
            return None
        return principal

    def scopes(self) -> dict[str, tuple[str, ...]]:
        """What the requests of each live key count for, by its id."""
        return {principal.key_id: principal.scopes for principal in self._principals.values()}

    def stored(self) -> list[Key]:
        """Every stored key, the oldest first, revoked ones too."""
        return sorted(self._stored.values(), key=lambda key: key.created_us)

    async def create(
        self, name: str, *, admin: bool = False, models: Iterable[str] = (), expires_us: int | None = None
    ) -> NewKey:
        """Make a key and keep its HMAC.  Raises: InvalidRequest, KeyExists, LedgerUnavailable."""
        name = name.strip()
        if not name or len(name) > NAME_MAX or not name.isprintable():
            raise InvalidRequest(f"A key's name has 1 to {NAME_MAX} printable characters.", param="name")
        if any(key.name == name and key.revoked_us is None for key in self._stored.values()):
            raise KeyExists(f"A key named {name!r} exists; revoke it first, or choose another name.", param="name")
        secret = PREFIX + secrets.token_urlsafe(32)
        key = Key(
            id=f"key_{secrets.token_hex(8)}",
            name=name,
            digest=self._digest(secret),
            last4=secret[-4:],
            admin=admin,
            models=tuple(models),
            created_us=self._clock_us(),
            expires_us=expires_us,
        )
        try:
            await self._store.create_key(key)
        except ledger_errors.KeyExists as error:
            raise KeyExists(f"A key named {name!r} exists; revoke it first, or choose another name.", param="name") from error
        except ledger_errors.LedgerUnavailable as error:
            raise LedgerUnavailable("The ledger cannot be written, so no key was made.") from error
        self._keep(key)
        return NewKey(key=key, secret=secret)

    async def revoke(self, name_or_id: str) -> Key | None:
        """Revoke the live key of that id or name; the next request with it is refused.  ``None`` if there is none."""
        for key in self._stored.values():
            if key.revoked_us is None and name_or_id in (key.id, key.name):
                now_us = self._clock_us()
                try:
                    await self._store.revoke_key(key.id, now_us)
                except ledger_errors.LedgerUnavailable as error:
                    raise LedgerUnavailable("The ledger cannot be written, so the key is still live.") from error
                revoked = msgspec.structs.replace(key, revoked_us=now_us)
                self._keep(revoked)
                return revoked
        return None

    def _keep(self, key: Key) -> None:
        self._stored[key.id] = key
        if key.revoked_us is None:
            self._principals[key.digest] = Principal(
                key_id=key.id, name=key.name, admin=key.admin, models=key.models, expires_us=key.expires_us
            )
        else:
            self._principals.pop(key.digest, None)

    def _digest(self, secret: str) -> bytes:
        # The dict is looked up by a keyed hash of the whole key, so what its timing could tell is of no use to a guesser.
        # A copy of the keyed state, because hmac.digest gives up the GIL, and the ledger's thread is glad to take it.
        keyed = self._keyed.copy()
        keyed.update(secret.encode("utf-8", "surrogateescape"))
        return keyed.digest()
