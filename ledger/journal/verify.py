"""Is the journal whole?  Walks the chain of hashes, and checks what must hold of the entries whatever happened."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import msgspec

from ledger.errors import LedgerUnavailable
from ledger.journal.chain import GENESIS, link
from ledger.journal.connection import connect_reader
from ledger.journal.entries import COLUMNS, ENTRY, LATER

Step = Callable[[int, int], None]

_COUNT: Final = "SELECT count(*) FROM entries"
_ENTRIES: Final = f"SELECT {','.join(ENTRY)}, id FROM entries ORDER BY id"  # noqa: S608  # only names from entries.py
_ID: Final = len(ENTRY)
_H: Final = ENTRY.index("h")
_ATTEMPT: Final = itemgetter(ENTRY.index("request_id"), ENTRY.index("attempt"))
_MAX_COST: Final = ENTRY.index("max_cost_nusd")
_COST: Final = ENTRY.index("cost_nusd")


def _layout(kind: str, without: tuple[str, ...] = ()) -> tuple[itemgetter[Any], itemgetter[Any]]:
    """What gets the hashed values of an entry's row, and what gets those that must be NULL."""
    own = [name for name in COLUMNS[kind] if name not in without]
    others = [place for place, name in enumerate(ENTRY) if name not in (*own, "kind", "h")]
    return itemgetter(*map(ENTRY.index, own)), itemgetter(*others)


_NEWER: Final = {kind: _layout(kind) for kind in COLUMNS}
_OLDER: Final = {kind: _layout(kind, LATER.get(kind, ())) for kind in COLUMNS}
# A column that no newer entry of the kind has without a value.
_TELLS: Final = {kind: ENTRY.index(LATER[kind][0] if kind in LATER else "kind") for kind in COLUMNS}

_PAID_FOR: Final = "CASE upstream_model WHEN '' THEN model ELSE upstream_model END AS model"
_ENDED: Final = "CASE WHEN outcome IN ('ok', 'client_closed', 'interrupted') THEN outcome ELSE 'failed' END AS outcome"
_SUMS: Final = """count(*),
  sum(input_uncached + cache_read + cache_write + input_audio + cache_write_1h + cache_read_audio + input_image),
  sum(cache_read + cache_read_audio), sum(output_text + reasoning + output_audio + output_image), sum(reasoning),
  coalesce(sum(cost_nusd), 0), sum(cost_nusd IS NULL), sum(quality = 'estimated'), sum(quality = 'held'), sum(cache <> ''),
  sum(saved_nusd)"""
_KEPT: Final = (
    "requests, input_tokens, cached_tokens, output_tokens, reasoning_tokens, cost_nusd, unpriced, estimated, held, "
    "cached_requests, saved_nusd"
)

# Each finds what must not be: the first that it breaks at, and how often.
_FOLDS: Final = {
    "a try is reserved once": (
        "SELECT request_id || ' attempt ' || attempt FROM entries WHERE kind = 'RESERVE' "
        "GROUP BY request_id, attempt HAVING count(*) > 1"
    ),
    "a try ends once": (
        "SELECT request_id || ' attempt ' || attempt FROM entries WHERE kind IN ('SETTLE', 'VOID') "
        "GROUP BY request_id, attempt HAVING count(*) > 1"
    ),
    "a request costs what its tries cost": """
        SELECT q.request_id FROM requests AS q LEFT JOIN (
            SELECT request_id, count(*) AS settled, count(cost_nusd) AS priced, sum(cost_nusd) AS cost_nusd
            FROM entries WHERE kind = 'SETTLE' GROUP BY request_id) AS s ON s.request_id = q.request_id
        WHERE q.cost_nusd IS NOT CASE WHEN s.settled IS NULL THEN 0 WHEN s.priced < s.settled THEN NULL ELSE s.cost_nusd END
        """,
    "the rollups are the sum of the requests": f"""
        WITH fold AS (
            SELECT at_us / 3600000000 AS hour, key_id, user, team, provider, {_PAID_FOR}, {_ENDED}, {_SUMS}
            FROM requests GROUP BY 1, 2, 3, 4, 5, 6, 7),
        kept AS (SELECT hour, key_id, user, team, provider, model, outcome, {_KEPT} FROM rollups)
        SELECT 'hour ' || hour || ' of ' || model FROM (SELECT * FROM (SELECT * FROM fold EXCEPT SELECT * FROM kept)
            UNION ALL SELECT * FROM (SELECT * FROM kept EXCEPT SELECT * FROM fold))
        """,  # noqa: S608  # from this file
    "the rollups of tags are the sum of the requests with tags": f"""
        WITH fold AS (
            SELECT at_us / 3600000000 AS hour, key_id, value AS tag, provider, {_PAID_FOR}, {_ENDED}, {_SUMS}
            FROM requests, json_each(tags) WHERE tags <> '' GROUP BY 1, 2, 3, 4, 5, 6),
        kept AS (SELECT hour, key_id, tag, provider, model, outcome, {_KEPT} FROM rollup_tags)
        SELECT 'hour ' || hour || ' of ' || tag FROM (SELECT * FROM (SELECT * FROM fold EXCEPT SELECT * FROM kept)
            UNION ALL SELECT * FROM (SELECT * FROM kept EXCEPT SELECT * FROM fold))
        """,  # noqa: S608  # from this file
    "the rollups have every adjustment": """
        SELECT (SELECT coalesce(sum(adjusted_nusd), 0) FROM rollups) || ' in the rollups, ' || total || ' in the journal'
        FROM (SELECT coalesce(sum(cost_nusd), 0) AS total FROM entries WHERE kind = 'ADJUST')
        WHERE total IS NOT (SELECT coalesce(sum(adjusted_nusd), 0) FROM rollups)
        """,
}


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at and what was found.

    faults: one sentence each; empty: the journal is whole.  head: the chain's last hash, in hexadecimal.
    open_attempts: tries that are reserved and have no end yet.  reserved_nusd: what is reserved for them.
    """

    entries: int
    head: str
    open_attempts: int
    reserved_nusd: int
    spent_nusd: int
    faults: tuple[str, ...]


def verify(
    source: sqlite3.Connection | Path | str,
    *,
    head: str = "",
    step: Step = lambda _done, _count: None,
    step_entries: int = 100_000,
) -> Verification:
    """Check the whole journal as it is at this moment; it may be in use.

    head: a hash that was noted earlier; it must be in the chain, or the journal was cut off behind it.
    step: told how many entries of how many were walked, after every ``step_entries`` of them.
    Raises: LedgerUnavailable; ValueError, for a head that is no hexadecimal number.
    """
    walk = _Walk(head)
    try:
        if isinstance(source, sqlite3.Connection):
            return _verify(source, walk, step, step_entries)
        with closing(connect_reader(Path(source))) as connection:
            return _verify(connection, walk, step, step_entries)
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"the ledger's file cannot be read: {error}") from error


def _verify(connection: sqlite3.Connection, walk: _Walk, step: Step, step_entries: int) -> Verification:
    connection.execute("BEGIN")  # one moment for all that is read
    try:
        (count,) = connection.execute(_COUNT).fetchone()
        for row in connection.execute(_ENTRIES):
            walk.take(row)
            if not walk.count % step_entries:
                step(walk.count, count)
        faults = [*walk.faults, *_broken_folds(connection)]
    finally:
        connection.execute("ROLLBACK")
    return Verification(
        entries=walk.count,
        head=walk.head.hex(),
        open_attempts=len(walk.open),
        reserved_nusd=walk.reserved_nusd,
        spent_nusd=walk.spent_nusd,
        faults=tuple(faults),
    )


class _Walk:
    """Takes the entries in order.  Of each kind of fault it keeps the first."""

    def __init__(self, noted: str) -> None:
        self.count = 0
        self.head = GENESIS
        self.open: dict[tuple[Any, Any], int] = {}
        self.reserved_nusd = 0
        self.spent_nusd = 0
        self._noted = bytes.fromhex(noted)
        self._met = not noted
        self._faults: dict[str, str] = {}

    @property
    def faults(self) -> Iterator[str]:
        of_open_nusd = sum(self.open.values())
        if self.reserved_nusd != of_open_nusd:
            self._fault("balance", f"{self.reserved_nusd} nano-USD are reserved, but {of_open_nusd} by the tries that are open")
        if not self._met:
            self._fault(
                "head", f"the noted head {self._noted.hex()} is not in the chain: entries behind it are gone or made anew"
            )
        return iter(self._faults.values())

    def take(self, row: tuple[Any, ...]) -> None:
        """The next entry."""
        self.count += 1
        kind = row[0]
        if kind not in _TELLS:
            self._fault("kind", f"entry {row[_ID]} is of an unknown kind")
            return
        self._link(kind, row)
        attempt, cost_nusd, max_cost_nusd = _ATTEMPT(row), row[_COST], row[_MAX_COST]
        if kind == "RESERVE":
            self.open[attempt] = max_cost_nusd or 0
            self.reserved_nusd += max_cost_nusd or 0
            return
        if cost_nusd is not None and (type(cost_nusd) is not int or (cost_nusd < 0 and kind != "ADJUST")):
            self._fault("cost", f"entry {row[_ID]} costs {cost_nusd!r}, which is no amount")
            return
        self.spent_nusd += cost_nusd or 0
        if kind != "ADJUST":
            self.reserved_nusd -= max_cost_nusd or 0
            reserved = self.open.pop(attempt, None)
            if reserved is None:
                self._fault("end", f"entry {row[_ID]} ends a try that is not open: attempt {attempt[1]} of {attempt[0]}")

    def _link(self, kind: str, row: tuple[Any, ...]) -> None:
        stored = row[_H]
        if "chain" not in self._faults:
            own, others = (_OLDER if row[_TELLS[kind]] is None else _NEWER)[kind]
            if link(self.head, kind, own(row)) != stored or any(it is not None for it in others(row)):
                self._fault("chain", f"the chain breaks at entry {row[_ID]}: it, or one before it, is not what was written")
            self.head = stored if isinstance(stored, bytes) else b""
            self._met = self._met or self.head == self._noted

    def _fault(self, name: str, text: str) -> None:
        self._faults.setdefault(name, text)


def _broken_folds(connection: sqlite3.Connection) -> Iterator[str]:
    for rule, sql in _FOLDS.items():
        (count, first) = connection.execute(f"WITH broken(it) AS ({sql}) SELECT count(*), min(it) FROM broken").fetchone()  # noqa: S608  # from this file
        if count:
            yield f"not so: {rule}; {count} times, as at {first}"
