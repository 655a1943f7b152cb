"""Keys, teams, users, budgets and the audit log in memory: what tests above the ledger put behind its port."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from ledger.errors import LedgerUnavailable, NameTaken
from ledger.records import Budget, Change, Key, Kind, Owned, Team, User


class MemoryOwners:
    """It keeps what it is given, unless ``refuses`` says that the disk does not; ``holds``: only when it is let."""

    def __init__(self) -> None:
        self.kept: dict[tuple[type, str], Key | Team | User | Budget] = {}
        self.log: list[Change] = []
        self.refuses = False
        self.holds = False
        self._held: list[tuple[asyncio.Future[None], Change, Key | Team | User | Budget | None]] = []

    async def owned(self) -> Owned:
        if self.refuses:
            raise LedgerUnavailable("the disk is full")
        return Owned(keys=self._all(Key), teams=self._all(Team), users=self._all(User), budgets=self._all(Budget))

    def put(self, change: Change, owner: Key | Team | User | Budget | None, /) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._held.append((done, change, owner))
        if not self.holds:
            loop.call_soon(self.let)
        return done

    def let(self) -> None:
        """Write what was held."""
        held, self._held = self._held, []
        for done, change, owner in held:
            if self.refuses:
                done.set_exception(LedgerUnavailable("the disk is full"))
            elif isinstance(owner, Key) and self._clashes(owner):
                done.set_exception(NameTaken(owner.name))
            else:
                self._put(change, owner)
                done.set_result(None)

    async def changes(
        self, *, limit: int, before_id: int | None = None, kind: Kind | None = None, object: str | None = None
    ) -> Sequence[Change]:
        if self.refuses:
            raise LedgerUnavailable("the disk is gone")
        found = [
            it
            for it in reversed(self.log)
            if (before_id is None or it.id < before_id) and kind in (None, it.kind) and object in (None, it.object)
        ]
        return found[:limit]

    def _put(self, change: Change, owner: Key | Team | User | Budget | None) -> None:
        if owner is None:
            self.kept.pop((Budget, change.object), None)
        else:
            self.kept[type(owner), owner.name if isinstance(owner, Team | User) else owner.id] = owner
        self.log.append(replace(change, id=len(self.log) + 1))

    def _clashes(self, key: Key) -> bool:
        others = [it for it in self._all(Key) if it.id != key.id]
        live = [it.name for it in others if it.revoked_us is None]
        return key.digest in [it.digest for it in others] or (key.revoked_us is None and key.name in live)

    def _all(self, kind: type[Any]) -> tuple[Any, ...]:
        return tuple(it for it in self.kept.values() if isinstance(it, kind))
