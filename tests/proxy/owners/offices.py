"""A directory over a store in memory, complete and unremarkable."""

from __future__ import annotations

from ledger.records import Change, Owned
from proxy.call import Principal
from proxy.owners.directory import Actor, Directory, NewKey
from proxy.owners.keys import KeyRing
from tests.ledger.memory_owners import MemoryOwners

PEPPER = bytes(range(32))
ADMIN = Actor("key_admin", "admin")


class Office:
    """A directory, its ring, its store and its clock, which goes on by a microsecond at every look."""

    def __init__(self, store: MemoryOwners | None = None, pepper: bytes = PEPPER, *, wait_s: float = 10.0) -> None:
        self.now_us = 1_000_000
        self.store = store or MemoryOwners()
        self.ring = KeyRing(pepper, self.clock_us)
        self.directory = Directory(self.ring, self.store, self.clock_us, wait_s=wait_s)

    def clock_us(self) -> int:
        self.now_us += 1
        return self.now_us

    async def again(self, declared: Owned = Owned(), pepper: bytes = PEPPER) -> Office:  # noqa: B008  # it is immutable
        """Another one over the same store, as after a restart."""
        other = Office(self.store, pepper)
        await other.directory.load(declared)
        return other

    async def key(self, name: str = "laptop", **settings: object) -> NewKey:
        return await self.directory.create_key(name, settings, actor=ADMIN)

    async def team(self, name: str = "search", **settings: object) -> None:
        await self.directory.create_team(name, settings, actor=ADMIN)

    async def user(self, name: str = "alice", **settings: object) -> None:
        await self.directory.create_user(name, settings, actor=ADMIN)

    def who(self, made: NewKey) -> str | None:
        """The name of whoever has the secret."""
        principal = self.ring.find(made.secret)
        return None if principal is None else principal.name

    def principal(self, made: NewKey) -> Principal:
        principal = self.ring.find(made.secret)
        assert principal is not None
        return principal

    def last(self) -> Change:
        """The latest line of the audit log."""
        return self.store.log[-1]
