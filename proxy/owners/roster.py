"""Keys, users, teams and budgets as they are now, in memory; and what each key may do because of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from msgspec.structs import replace

from ledger.records import Budget, Key, Kind, Team, User
from proxy.call import Principal, Rates
from proxy.config import names
from proxy.errors import NotFound
from proxy.owners.keys import KeyRing

Owner = Key | User | Team | Budget
OnBudget = Callable[[str, Budget | None], None]

_UNLIMITED: Final = Rates()
_KINDS: Final[dict[type[Owner], Kind]] = {Key: "key", User: "user", Team: "team", Budget: "budget"}

Holder = TypeVar("Holder", User, Team)


class Roster:
    """Everything there is of them, found by id or name, and the ring in which each key opens what it may.

    A key whose user or team is not there opens nothing: what they may not do, it may not.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._keys: dict[str, Key] = {}
        self._live_names: dict[str, dict[str, str]] = {}  # folded -> name -> id
        self._teams: dict[str, Team] = {}  # by folded name, removed ones too
        self._users: dict[str, User] = {}
        self._budgets: dict[str, Budget] = {}
        self._rates: dict[str, Rates] = {}
        self._on_budget: list[OnBudget] = []

    def on_budget_change(self, callback: OnBudget) -> None:
        """Call it with the id of each budget that is made or changed, and the budget; with ``None`` when it is removed."""
        self._on_budget.append(callback)

    def rates(self, scope: str) -> Rates:
        """How fast ``key:ID``, ``user:NAME`` or ``team:NAME`` may go; anything else as fast as it likes.  O(1)."""
        return self._rates.get(scope, _UNLIMITED)

    def list_keys(self) -> list[Key]:
        """Every key, declared ones first, then the oldest; revoked ones too."""
        return sorted(self._keys.values(), key=lambda key: (key.created_us, key.id))

    def list_users(self) -> list[User]:
        """Every user, declared ones first, then the oldest; not those that were removed."""
        return sorted((it for it in self._users.values() if it.removed_us is None), key=lambda it: (it.created_us, it.name))

    def list_teams(self) -> list[Team]:
        """Every team, likewise."""
        return sorted((it for it in self._teams.values() if it.removed_us is None), key=lambda it: (it.created_us, it.name))

    def budgets(self) -> list[Budget]:
        """Every stored budget, in the order of their scopes."""
        return sorted(self._budgets.values(), key=lambda it: (it.scope, it.unit, it.period))

    def key(self, name_or_id: str) -> Key:
        """The key of that id, revoked or not; or the live one of that name.  Raises: NotFound."""
        found = self._keys.get(name_or_id) or self._live_key(name_or_id)
        if found is None:
            raise NotFound(f"There is no key {name_or_id[:200]!r}.", param="key")
        return found

    def user(self, name: str) -> User:
        """The user of that name, however it is written.  Raises: NotFound."""
        if (found := there(self._users, name)) is None:
            raise NotFound(f"There is no user {name[:200]!r}.", param="user")
        return found

    def team(self, name: str) -> Team:
        """The team of that name, however it is written.  Raises: NotFound."""
        if (found := there(self._teams, name)) is None:
            raise NotFound(f"There is no team {name[:200]!r}.", param="team")
        return found

    def budget(self, budget_id: str) -> Budget:
        """The budget of that id.  Raises: NotFound."""
        if (found := self._budgets.get(budget_id)) is None:
            raise NotFound(f"There is no budget {budget_id[:200]!r}.", param="budget")
        return found

    def team_of(self, key: Key) -> str:
        """The key's own team, else that of its user."""
        if key.team or not key.user:
            return key.team
        user = there(self._users, key.user)
        return user.team if user else ""

    def _keep(self, before: Owner | None, after: Owner | None) -> None:
        if isinstance(after, Key):
            self._keep_key(after)
        elif isinstance(after, Team):
            self._teams[names.fold(after.name)] = after
            self._keep_rates(after)
            self._readmit(lambda key: self.team_of(key) == after.name)
        elif isinstance(after, User):
            self._users[names.fold(after.name)] = after
            self._keep_rates(after)
            self._readmit(lambda key: key.user == after.name)
        else:
            changed = after if after is not None else before
            assert isinstance(changed, Budget)  # noqa: S101  # nothing else is ever gone without a trace
            if after is None:
                self._budgets.pop(changed.id, None)
            else:
                self._budgets[changed.id] = after
            for callback in self._on_budget:
                callback(changed.id, after)

    def _keep_key(self, key: Key) -> None:
        if old := self._keys.get(key.id):
            self._ring.dismiss(old.digest)
            self._ring.dismiss(old.previous_digest)
            self._live_names.get(names.fold(old.name), {}).pop(old.name, None)
        self._keys[key.id] = key
        if key.revoked_us is None:
            self._live_names.setdefault(names.fold(key.name), {})[key.name] = key.id
            self._rates[f"key:{key.id}"] = rates_of(key)
        else:
            self._rates.pop(f"key:{key.id}", None)
        self._admit(key)

    def _keep_rates(self, owner: User | Team) -> None:
        scope = f"{kind_of(owner)}:{owner.name}"
        if owner.removed_us is None:
            self._rates[scope] = rates_of(owner)
        else:
            self._rates.pop(scope, None)

    def _readmit(self, concerns: Callable[[Key], bool]) -> None:
        for key in self._keys.values():
            if key.revoked_us is None and concerns(key):
                self._admit(key)

    def _admit(self, key: Key) -> None:
        """Let the key's secrets in as what it may do now; or not, if it may nothing."""
        principal = self._principal(key)
        if principal is None:
            self._ring.dismiss(key.digest)
            self._ring.dismiss(key.previous_digest)
            return
        self._ring.admit(key.digest, principal)
        if key.previous_digest and key.previous_until_us is not None:
            until_us = min(key.previous_until_us, key.expires_us or key.previous_until_us)
            self._ring.admit(key.previous_digest, replace(principal, expires_us=until_us))

    def _principal(self, key: Key) -> Principal | None:
        if key.revoked_us is not None:
            return None
        user = there(self._users, key.user) if key.user else None
        team_name = self.team_of(key)
        team = there(self._teams, team_name) if team_name else None
        if (key.user and user is None) or (team_name and team is None):
            return None
        return Principal(
            key_id=key.id,
            name=key.name,
            admin=key.admin,
            user=user.name if user else "",
            team=team.name if team else "",
            models=key.models,
            owner_models=tuple(it.models for it in (user, team) if it is not None and it.models),
            endpoints=key.endpoints,
            rates=rates_of(key),
            priority=key.priority,
            disconnect=key.disconnect,
            durability=key.durability,
            expires_us=key.expires_us,
        )

    def _live_key(self, name: str) -> Key | None:
        """The live key of that name; of several that differ in case alone (there once could be) the one written so."""
        cleaned = names.clean(name)
        found = self._live_names.get(names.fold(cleaned), {})
        key_id = found.get(cleaned) or (next(iter(found.values())) if len(found) == 1 else None)
        return self._keys[key_id] if key_id else None

    def _live_keys(self) -> Iterable[Key]:
        return (key for key in self._keys.values() if key.revoked_us is None)


def kind_of(owner: Owner) -> Kind:
    """What it is called in scopes and in the audit log."""
    return _KINDS[type(owner)]


def id_of(owner: Owner) -> str:
    """What it is known by for ever; a user's and a team's is its name."""
    return owner.name if isinstance(owner, User | Team) else owner.id


def there(owners: Mapping[str, Holder], name: str) -> Holder | None:
    """Who has that name, however it is written; nobody who was removed."""
    found = owners.get(names.fold(names.clean(name)))
    return found if found is not None and found.removed_us is None else None


def rates_of(it: Key | User | Team) -> Rates:
    """Its own rates, without those of whom it belongs to."""
    return Rates(requests_per_minute=it.requests_per_minute, tokens_per_minute=it.tokens_per_minute, concurrent=it.concurrent)
