"""Keys, teams, users, budgets and the audit log: their columns, their rows, and the SQL that keeps them.

The columns are the fields of the records, in their order; ``ledger/schema.py`` describes the same tables for migrations,
and a test holds the two together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from ledger.errors import NameTaken
from ledger.records import Budget, Change, Key, Kind, Owned, Team, User

Owner = Key | Team | User | Budget
T = TypeVar("T", Key, Team, User, Budget)

COLUMNS: Final[dict[type[Owner], tuple[str, ...]]] = {it: it.__struct_fields__ for it in (Key, Team, User, Budget)}
CHANGE: Final = Change.__struct_fields__
_TABLES: Final[dict[type[Owner], str]] = {Key: "keys", Team: "teams", User: "users", Budget: "budgets"}
_LISTS: Final = frozenset(("models", "endpoints"))


def _names(columns: Sequence[str]) -> str:
    """The columns as SQL has them; ``limit`` is a word of its own there."""
    return ",".join(f'"{name}"' for name in columns)


def _upsert(table: str, columns: Sequence[str]) -> str:
    """Put a row where one with its first column is, or is not yet."""
    places, changed = ",".join("?" * len(columns)), ",".join(f'"{name}" = excluded."{name}"' for name in columns[1:])
    return (
        f"INSERT INTO {table} ({_names(columns)}) VALUES ({places}) "  # noqa: S608  # only names from this file
        f"ON CONFLICT ({columns[0]}) DO UPDATE SET {changed}"
    )


_PUT: Final = {kind: _upsert(_TABLES[kind], columns) for kind, columns in COLUMNS.items()}
_SELECT: Final = {
    kind: f"SELECT {_names(columns)} FROM {_TABLES[kind]} ORDER BY rowid"  # noqa: S608  # only names from this file
    for kind, columns in COLUMNS.items()
}
_AUDIT: Final = (
    f"INSERT INTO audit ({_names(CHANGE[1:])}) "  # noqa: S608  # only names from this file
    f"VALUES ({','.join('?' * len(CHANGE[1:]))})"
)
CHANGES: Final = (
    f"SELECT {_names(CHANGE)} FROM audit WHERE id < ? AND kind = coalesce(?, kind) "  # noqa: S608  # as above
    "AND object = coalesce(?, object) ORDER BY id DESC LIMIT ?"
)
NEWEST: Final = 2**63 - 1


def row(owner: Owner, /) -> tuple[object, ...]:
    """The values of an object's columns."""
    return tuple(
        msgspec.json.encode(value).decode() if isinstance(value, tuple) else int(value) if isinstance(value, bool) else value
        for value in (getattr(owner, name) for name in owner.__struct_fields__)
    )


def read(kind: type[T], values: Sequence[object], /) -> T:
    """The object that a row holds."""
    fields = {
        name: msgspec.json.decode(str(value)) if name in _LISTS else value
        for name, value in zip(COLUMNS[kind], values, strict=True)
    }
    return msgspec.convert(fields, kind, strict=False, builtin_types=(bytes,))


def put(connection: sqlite3.Connection, change: Change, owner: Owner | None, /) -> None:
    """Keep the object and the change; the caller has a transaction open.  Raises: NameTaken."""
    try:
        if owner is None:
            connection.execute("DELETE FROM budgets WHERE id = ?", (change.object,))
        else:
            connection.execute(_PUT[type(owner)], row(owner))
    except sqlite3.IntegrityError as error:
        raise NameTaken(f"there is a {change.kind} named {change.name!r} already") from error
    connection.execute(_AUDIT, tuple(getattr(change, name) for name in CHANGE[1:]))


def owned(connection: sqlite3.Connection, /) -> Owned:
    """Everything there is, the oldest first."""
    return Owned(
        keys=_all(connection, Key),
        teams=_all(connection, Team),
        users=_all(connection, User),
        budgets=_all(connection, Budget),
    )


def changes(
    connection: sqlite3.Connection, /, *, limit: int, before_id: int | None, kind: Kind | None, object: str | None
) -> tuple[Change, ...]:
    """The audit log, the latest first."""
    values = (NEWEST if before_id is None else before_id, kind, object, limit)
    return tuple(
        msgspec.convert(dict(zip(CHANGE, found, strict=True)), Change) for found in connection.execute(CHANGES, values)
    )


def _all(connection: sqlite3.Connection, kind: type[T]) -> tuple[T, ...]:
    return tuple(read(kind, found) for found in connection.execute(_SELECT[kind]))
