"""What may be set of keys, users, teams and budgets, and to what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from ledger.records import Budget, Key, Kind, Team, User
from proxy.config import grants, names
from proxy.errors import InvalidRequest

RATES: Final = ("requests_per_minute", "tokens_per_minute", "concurrent")
RATE_MAX: Final = 10**12
LIMIT_MAX: Final = 10**18

_TEAM: Final = frozenset(("models", *RATES, "metadata"))
_USER: Final = _TEAM | {"team"}
_KEY: Final = _USER | {"name", "admin", "user", "endpoints", "priority", "disconnect", "durability", "expires_us"}
SETTINGS: Final[dict[type[Key | User | Team | Budget], frozenset[str]]] = {
    Key: _KEY,
    User: _USER,
    Team: _TEAM,
    Budget: frozenset(("limit", "warn_percent")),
}
"""The fields that somebody may set.  Whatever else an object has, nobody can."""

T = TypeVar("T", Key, User, Team, Budget)


def changed(owner: T, settings: Mapping[str, Any]) -> T:
    """The object with the settings.  Raises: InvalidRequest, for a field that nobody may set or a value that cannot be."""
    if unknown := settings.keys() - SETTINGS[type(owner)]:
        raise InvalidRequest(f"{min(unknown)!r} cannot be set.", param=min(unknown))
    made = replace(owner, **settings)
    if isinstance(made, Budget):
        _check_budget(made)
        return made
    _check_rates(made)
    if isinstance(made, Key):
        made = replace(made, name=names.clean(made.name))
        _check_key(made)
    else:
        _check_grants(models=made.models, metadata=made.metadata)
    return made


def owner_name(name: str, kind: Kind) -> str:
    """The name of a user or team as it is kept.  Raises: InvalidRequest."""
    cleaned = names.clean(name)
    if fault := names.owner_fault(cleaned, kind):
        raise InvalidRequest(fault, param="name")
    return cleaned


def _check_key(key: Key) -> None:
    if fault := names.key_fault(key.name):
        raise InvalidRequest(fault, param="name")
    _check_grants(models=key.models, endpoints=key.endpoints, disconnect=key.disconnect, metadata=key.metadata)
    if key.priority not in grants.PRIORITIES:
        raise InvalidRequest(f"'priority' must be one of {', '.join(grants.PRIORITIES)}.", param="priority")
    if key.durability not in ("", "process", "power"):
        raise InvalidRequest("'durability' must be 'process', 'power' or empty.", param="durability")


def _check_grants(**given: Any) -> None:
    for fault in grants.faults(**given):
        place = fault.field if fault.index is None else f"{fault.field}.{fault.index}"
        raise InvalidRequest(f"'{place}': {fault.what}.", param=place)


def _check_rates(it: Key | User | Team) -> None:
    for name in RATES:
        value = getattr(it, name)
        if value is not None and not 1 <= value <= RATE_MAX:
            raise InvalidRequest(f"'{name}' must be from 1 to {RATE_MAX}, or not be there.", param=name)


def _check_budget(budget: Budget) -> None:
    if not 1 <= budget.limit <= LIMIT_MAX:
        raise InvalidRequest(f"A budget's limit must be from 1 to {LIMIT_MAX} (of money: nano-dollars).", param="limit")
    if budget.warn_percent is not None and not 1 <= budget.warn_percent <= 100:
        raise InvalidRequest("'warn_percent' must be from 1 to 100, or null.", param="warn_percent")
