"""Changes of keys, users, teams and budgets: durable and on the record before anybody sees them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from ledger import errors as ledger_errors
from ledger.ports import OwnerPort
from ledger.records import Budget, BudgetPeriod, BudgetUnit, Change, Key, Kind, Owned, Team, User
from proxy.config import names
from proxy.errors import DeclaredElsewhere, InUse, InvalidRequest, KeyExists, LedgerUnavailable, NameTaken, NotFound
from proxy.owners import rules
from proxy.owners.keys import KeyRing, new_secret
from proxy.owners.roster import Holder, Owner, Roster, id_of, kind_of, there
from proxy.owners.told import told_text

WAIT_S: Final = 10.0
GRACE_MAX_S: Final = 30 * 86_400

Settings = Mapping[str, Any]
T = TypeVar("T", Key, User, Team, Budget)

log = structlog.get_logger("tollway.owners")


class Actor(msgspec.Struct, frozen=True):
    """Who changes something: the id and name of the key that was used."""

    id: str
    name: str


THIS_MACHINE: Final = Actor("this machine", "this machine")
"""Who can read ``TOLLWAY_HOME``, and so uses the command."""


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made, or made anew.  ``secret`` is shown to its owner and forgotten."""

    key: Key
    secret: str


class Directory(Roster):
    """The keys that open the gateway, whose they are, and what is allowed to all of them.

    Reads are from memory.  Changes go one at a time: checked, written with their line of the audit log in one transaction,
    then seen by the next request; the client that asked may leave meanwhile.  What the configuration declares is fixed.
    wait_s: how long a change may take; after that nobody knows whether it was made.
    """

    def __init__(self, ring: KeyRing, store: OwnerPort, clock_us: Callable[[], int], *, wait_s: float = WAIT_S) -> None:
        super().__init__(ring)
        self._store = store
        self._clock_us = clock_us
        self._wait_s = wait_s
        self._turn = asyncio.Lock()
        self._declared: set[tuple[Kind, str]] = set()

    async def load(self, declared: Owned = Owned()) -> None:  # noqa: B008  # it is immutable
        """Read what is stored, and take what the configuration declares, which goes before it.

        A declared key that is stored as well keeps its id and name, and may do what the declaration says.
        """
        stored = await self._store.owned()
        for team in (*stored.teams, *declared.teams):
            self._teams[names.fold(team.name)] = team
        for user in (*stored.users, *declared.users):
            self._users[names.fold(user.name)] = user
        self._declared |= {("team", it.name) for it in declared.teams} | {("user", it.name) for it in declared.users}
        for team in self._teams.values():
            self._keep_rates(team)
        for user in self._users.values():
            self._keep_rates(user)
        for budget in stored.budgets:
            self._keep(None, budget)
        live = {key.digest: key for key in stored.keys if key.revoked_us is None}
        for key in stored.keys:
            self._keep_key(key)
        for key in declared.keys:
            twin = live.get(key.digest, key)
            named = replace(key, id=twin.id, name=twin.name, last4=twin.last4, created_us=twin.created_us)
            self._declared.add(("key", named.id))
            self._keep_key(named)
        for key in self._keys.values():
            if key.revoked_us is None and self._principal(key) is None:
                log.warning("key_without_owner", key_id=key.id, user=key.user, team=key.team)

    def is_declared(self, kind: Kind, object_id: str) -> bool:
        """Whether the configuration declares it."""
        return (kind, object_id) in self._declared

    def scope(self, scope: str) -> str:
        """The scope as principals have it.  Raises: InvalidRequest."""
        kind, colon, name = scope.partition(":")
        if scope == "global":
            return scope
        if kind == "key" and colon:
            found = self._keys.get(name) or self._live_key(name)
            if found is None or found.revoked_us is not None:
                raise InvalidRequest(f"There is no live key {name[:200]!r}.", param="scope")
            return f"key:{found.id}"
        owner = there(self._users, name) if kind == "user" else there(self._teams, name) if kind == "team" else None
        if owner is None or not colon:
            raise InvalidRequest(
                f"There is nothing called {scope[:200]!r}; a scope is 'key:ID', 'user:NAME', 'team:NAME' or 'global'.",
                param="scope",
            )
        return f"{kind}:{owner.name}"

    async def changes(
        self, *, limit: int, before_id: int | None = None, kind: Kind | None = None, object: str | None = None
    ) -> list[Change]:
        """The audit log, the latest first.  Raises: LedgerUnavailable."""
        try:
            return list(await self._store.changes(limit=limit, before_id=before_id, kind=kind, object=object))
        except ledger_errors.LedgerUnavailable as error:
            raise LedgerUnavailable("The ledger cannot be read.") from error

    # --- keys ------------------------------------------------------------------------------------------------------------

    async def create_key(self, name: str, settings: Settings, *, actor: Actor) -> NewKey:
        """Make a key.  settings: fields of KEY_SETTINGS.  Raises: InvalidRequest, KeyExists, LedgerUnavailable."""
        secret = new_secret()
        made = Key(
            id=f"key_{secrets.token_hex(8)}",
            name=name,
            digest=self._ring.digest(secret),
            last4=secret[-4:],
            admin=False,
            models=(),
            created_us=self._clock_us(),
        )
        return NewKey(key=await self._commit(actor, "create", lambda: (None, self._set(made, settings))), secret=secret)

    async def update_key(self, name_or_id: str, settings: Settings, *, actor: Actor) -> Key:
        """Change what a live key may do.  Raises: as create_key; NotFound, DeclaredElsewhere."""

        def plan() -> tuple[Key, Key]:
            key = self._changeable(name_or_id)
            return key, self._set(key, settings)

        return await self._commit(actor, "update", plan)

    async def rotate_key(self, name_or_id: str, *, grace_s: int, actor: Actor) -> NewKey:
        """A new secret for a live key; the one before is as good for so many seconds more, an older one no longer."""
        if not 0 <= grace_s <= GRACE_MAX_S:
            raise InvalidRequest(f"'grace_s' must be from 0 to {GRACE_MAX_S}.", param="grace_s")
        secret = new_secret()

        def plan() -> tuple[Key, Key]:
            key = self._changeable(name_or_id)
            rotated = replace(
                key,
                digest=self._ring.digest(secret),
                last4=secret[-4:],
                previous_digest=key.digest if grace_s else b"",
                previous_until_us=self._clock_us() + grace_s * 1_000_000 if grace_s else None,
            )
            return key, rotated

        return NewKey(key=await self._commit(actor, "rotate", plan), secret=secret)

    async def revoke_key(self, name_or_id: str, *, actor: Actor) -> Key:
        """Revoke a live key; the next request with it is refused.  Raises: NotFound, DeclaredElsewhere, LedgerUnavailable."""

        def plan() -> tuple[Key, Key]:
            key = self._changeable(name_or_id)
            return key, replace(key, revoked_us=self._clock_us())

        return await self._commit(actor, "revoke", plan)

    # --- users and teams -------------------------------------------------------------------------------------------------

    async def create_user(self, name: str, settings: Settings, *, actor: Actor) -> User:
        """Make a user.  settings: fields of USER_SETTINGS.  Raises: InvalidRequest, NameTaken, LedgerUnavailable."""
        made = User(name=rules.owner_name(name, "user"), created_us=self._clock_us())
        return await self._commit(actor, "create", lambda: (None, self._set(_free(self._users, made), settings)))

    async def create_team(self, name: str, settings: Settings, *, actor: Actor) -> Team:
        """Make a team.  settings: fields of TEAM_SETTINGS.  Raises: InvalidRequest, NameTaken, LedgerUnavailable."""
        made = Team(name=rules.owner_name(name, "team"), created_us=self._clock_us())
        return await self._commit(actor, "create", lambda: (None, self._set(_free(self._teams, made), settings)))

    async def update_user(self, name: str, settings: Settings, *, actor: Actor) -> User:
        """Change a user, and so what all of its keys may do.  Raises: as create_user; NotFound, DeclaredElsewhere."""

        def plan() -> tuple[User, User]:
            user = self._undeclared(self.user(name))
            return user, self._set(user, settings)

        return await self._commit(actor, "update", plan)

    async def update_team(self, name: str, settings: Settings, *, actor: Actor) -> Team:
        """Change a team, and so what all of its keys may do.  Raises: as create_team; NotFound, DeclaredElsewhere."""

        def plan() -> tuple[Team, Team]:
            team = self._undeclared(self.team(name))
            return team, self._set(team, settings)

        return await self._commit(actor, "update", plan)

    async def remove_user(self, name: str, *, actor: Actor) -> User:
        """Remove a user who has no live keys.  Raises: InUse, NotFound, DeclaredElsewhere, LedgerUnavailable."""

        def plan() -> tuple[User, User]:
            user = self._undeclared(self.user(name))
            self._unused(user, (key for key in self._live_keys() if key.user == user.name), ())
            return user, replace(user, removed_us=self._clock_us())

        return await self._commit(actor, "remove", plan)

    async def remove_team(self, name: str, *, actor: Actor) -> Team:
        """Remove a team that has no live keys and no users.  Raises: as remove_user."""

        def plan() -> tuple[Team, Team]:
            team = self._undeclared(self.team(name))
            keys = (key for key in self._live_keys() if key.team == team.name)
            self._unused(team, keys, (user for user in self.list_users() if user.team == team.name))
            return team, replace(team, removed_us=self._clock_us())

        return await self._commit(actor, "remove", plan)

    async def restore_user(self, name: str, *, actor: Actor) -> User:
        """Bring back a user who was removed, with everything that was its.  Raises: NotFound, LedgerUnavailable."""

        def plan() -> tuple[User, User]:
            user = _removed(self._users, name, "user")
            return user, self._set(replace(user, removed_us=None), {})

        return await self._commit(actor, "restore", plan)

    async def restore_team(self, name: str, *, actor: Actor) -> Team:
        """Bring back a team that was removed.  Raises: NotFound, LedgerUnavailable."""

        def plan() -> tuple[Team, Team]:
            team = _removed(self._teams, name, "team")
            return team, self._set(replace(team, removed_us=None), {})

        return await self._commit(actor, "restore", plan)

    # --- budgets ---------------------------------------------------------------------------------------------------------

    async def create_budget(
        self,
        scope: str,
        unit: BudgetUnit,
        period: BudgetPeriod,
        limit: int,
        *,
        warn_percent: int | None = 80,
        actor: Actor,
    ) -> Budget:
        """Set a limit for a scope, one for each unit and period.  Raises: InvalidRequest, NameTaken, LedgerUnavailable."""

        def plan() -> tuple[None, Budget]:
            made = Budget(
                id=f"bud_{secrets.token_hex(8)}",
                scope=self.scope(scope),
                unit=unit,
                period=period,
                limit=limit,
                warn_percent=warn_percent,
            )
            same = (it for it in self._budgets.values() if (it.scope, it.unit, it.period) == (made.scope, unit, period))
            if twin := next(same, None):
                raise NameTaken(f"{made.scope} has a budget of {unit} per {period} already: {twin.id}.", param="scope")
            return None, self._set(made, {})

        return await self._commit(actor, "create", plan)

    async def update_budget(self, budget_id: str, settings: Settings, *, actor: Actor) -> Budget:
        """Change a budget's limit or warning.  Raises: InvalidRequest, NotFound, LedgerUnavailable."""

        def plan() -> tuple[Budget, Budget]:
            budget = self.budget(budget_id)
            return budget, self._set(budget, settings)

        return await self._commit(actor, "update", plan)

    async def remove_budget(self, budget_id: str, *, actor: Actor) -> Budget:
        """Remove a budget.  Raises: NotFound, LedgerUnavailable."""
        return await self._commit(actor, "remove", lambda: (self.budget(budget_id), None))

    # --- a change --------------------------------------------------------------------------------------------------------

    async def _commit(self, actor: Actor, action: str, plan: Callable[[], tuple[T | None, T | None]]) -> T:
        """Carry out a plan: what was, and what is to be.  Nothing is written if they are the same.

        Once it has been queued it is carried out to its end, whoever leaves meanwhile: memory and disk must agree.
        """
        written: asyncio.Future[None] | None = None
        try:
            async with asyncio.timeout(self._wait_s):
                await self._turn.acquire()
                try:
                    before, after = plan()
                    subject = after if after is not None else before
                    assert subject is not None  # noqa: S101  # a plan is of something
                    if before == after:
                        return subject
                    written = self._store.put(self._change(actor, action, before, after), after)
                    written.add_done_callback(lambda done: self._written(done, before, after))
                finally:
                    if written is None:
                        self._turn.release()
                await asyncio.shield(written)
        except TimeoutError as error:
            raise LedgerUnavailable("The ledger does not answer; the change may still be made.") from error
        except ledger_errors.LedgerUnavailable as error:
            raise LedgerUnavailable("The ledger cannot be written, so nothing was changed.") from error
        except ledger_errors.NameTaken as error:
            raise NameTaken("Something else has that name.", param="name") from error
        return subject

    def _change(self, actor: Actor, action: str, before: Owner | None, after: Owner | None) -> Change:
        subject = after if after is not None else before
        assert subject is not None  # noqa: S101  # as above
        return Change(
            at_us=self._clock_us(),
            actor_id=actor.id,
            actor=actor.name,
            action=action,
            kind=kind_of(subject),
            object=id_of(subject),
            name=subject.scope if isinstance(subject, Budget) else subject.name,
            before=told_text(before),
            after=told_text(after),
        )

    def _written(self, done: asyncio.Future[None], before: Owner | None, after: Owner | None) -> None:
        try:
            if not done.cancelled() and done.exception() is None:
                self._keep(before, after)
        finally:
            self._turn.release()

    def _set(self, owner: T, settings: Settings) -> T:
        """The object with the settings, checked.  Raises: InvalidRequest, KeyExists."""
        changed = rules.changed(owner, settings)
        if isinstance(changed, Key):
            self._check_key(owner, changed)
            return replace(changed, user=self._name_of("user", changed.user), team=self._name_of("team", changed.team))
        if isinstance(changed, User):
            return replace(changed, team=self._name_of("team", changed.team))
        return changed

    def _check_key(self, before: Owner, key: Key) -> None:
        """Raises: InvalidRequest, KeyExists."""
        holder = self._live_key(key.name)
        if holder is not None and holder.id != key.id:
            raise KeyExists(f"A key named {holder.name!r} exists; revoke it first, or choose another name.", param="name")
        expired = key.expires_us is not None and key.expires_us <= self._clock_us()
        if expired and isinstance(before, Key) and key.expires_us != before.expires_us:
            raise InvalidRequest("'expires_at' is in the past.", param="expires_at")

    def _name_of(self, kind: Kind, name: str) -> str:
        """The name as its owner has it.  Raises: InvalidRequest, if there is no such owner."""
        if not name:
            return ""
        found: User | Team | None = there(self._users, name) if kind == "user" else there(self._teams, name)
        if found is None:
            raise InvalidRequest(f"There is no {kind} {name[:200]!r}; make it first.", param=kind)
        return found.name

    def _changeable(self, name_or_id: str) -> Key:
        """The live key of that id or name.  Raises: NotFound, DeclaredElsewhere."""
        key = self._keys.get(name_or_id) or self._live_key(name_or_id)
        if key is None or key.revoked_us is not None:
            raise NotFound(f"There is no live key {name_or_id[:200]!r}.", param="key")
        return self._undeclared(key)

    def _undeclared(self, owner: T) -> T:
        kind = kind_of(owner)
        if self.is_declared(kind, id_of(owner)):
            raise DeclaredElsewhere(f"The {kind} {id_of(owner)!r} is declared in the configuration; change it there.")
        return owner

    def _unused(self, owner: User | Team, keys: Iterable[Key], users: Iterable[User]) -> None:
        """Raises: InUse, if there are any of these."""
        holders = [f"key {key.name!r}" for key in keys] + [f"user {user.name!r}" for user in users]
        if holders:
            shown = ", ".join(holders[:5]) + (f" and {len(holders) - 5} more" if len(holders) > 5 else "")
            raise InUse(f"The {kind_of(owner)} {owner.name!r} has {shown}; revoke or move them first.")


def _removed(owners: Mapping[str, Holder], name: str, kind: Kind) -> Holder:
    found = owners.get(names.fold(names.clean(name)))
    if found is None or found.removed_us is None:
        raise NotFound(f"No {kind} {name[:200]!r} was removed.", param=kind)
    return found


def _free(owners: Mapping[str, Holder], made: Holder) -> Holder:
    """The new owner, if nobody has or had its name.  Raises: NameTaken."""
    if (found := owners.get(names.fold(made.name))) is not None:
        kind = kind_of(made)
        how = f"exists; {kind}s are changed by an update" if found.removed_us is None else "was removed; restore it"
        raise NameTaken(f"The {kind} {found.name!r} {how}, or choose another name.", param="name")
    return made
