"""Keys, their owners and the audit log, behind the port: in SQLite and in memory alike."""

from __future__ import annotations

import sqlite3
import string
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import NameTaken
from ledger.journal.owners import COLUMNS, read, row
from ledger.ports import OwnerPort
from ledger.records import Budget, Change, Key, Owned, Team, User
from tests.ledger.memory_owners import MemoryOwners
from tests.ledger.samples import budget, change, key, rows, team, user

counts = st.none() | st.integers(1, 2**62)
texts = st.text(max_size=8)
tuples = st.lists(texts, max_size=3).map(tuple)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest) -> OwnerPort:
    return request.getfixturevalue("ledger") if request.param == "sqlite" else MemoryOwners()  # type: ignore[no-any-return]


async def test_what_was_put_is_there_the_oldest_first(store: OwnerPort) -> None:
    keys = (key("key_b", admin=True, user="alice", endpoints=("embeddings",)), key("key_a", expires_us=99, metadata='{"a":1}'))

    for owner in (*keys, team(), user(), budget()):
        await store.put(change(), owner)

    assert await store.owned() == Owned(keys=keys, teams=(team(),), users=(user(),), budgets=(budget(),))


async def test_what_is_put_again_is_changed_and_stays_in_its_place(store: OwnerPort) -> None:
    for owner in (key("key_1"), key("key_2"), team(models=("a/*",)), user(), budget(), budget("bud_2", period="day")):
        await store.put(change(), owner)

    for owner in (
        key("key_1", digest=b"new", previous_digest=b"key_1", previous_until_us=5),
        team(removed_us=7),
        user(team="search"),
        budget(limit=1),
    ):
        await store.put(change(), owner)

    owned = await store.owned()
    assert owned.keys == (key("key_1", digest=b"new", previous_digest=b"key_1", previous_until_us=5), key("key_2"))
    assert (owned.teams, owned.users) == ((team(removed_us=7),), (user(team="search"),))
    assert owned.budgets == (budget(limit=1), budget("bud_2", period="day"))


async def test_a_budget_that_is_removed_is_gone_and_its_change_stays(store: OwnerPort) -> None:
    await store.put(change("bud_1", kind="budget"), budget())

    await store.put(change("bud_1", kind="budget", action="remove", before="{}", after=None), None)

    assert (await store.owned()).budgets == ()
    assert [it.action for it in await store.changes(limit=9)] == ["remove", "create"]


@pytest.mark.parametrize("other", [key("key_2", name="alice"), key("key_2", digest=b"key_1")], ids=["name", "digest"])
async def test_a_live_name_or_a_digest_is_not_taken_twice_and_leaves_no_change(store: OwnerPort, other: Key) -> None:
    await store.put(change(), key("key_1", name="alice"))

    with pytest.raises(NameTaken):
        await store.put(change("key_2"), other)

    assert [it.id for it in (await store.owned()).keys] == ["key_1"]
    assert [it.object for it in await store.changes(limit=9)] == ["key_1"]


async def test_the_name_of_a_revoked_key_is_free(store: OwnerPort) -> None:
    await store.put(change(), key("key_1", name="alice", revoked_us=5))

    await store.put(change("key_2"), key("key_2", name="alice"))

    assert [it.id for it in (await store.owned()).keys] == ["key_1", "key_2"]


async def test_changes_come_the_latest_first_in_pages_and_by_object(store: OwnerPort) -> None:
    for number in range(5):
        await store.put(change(f"key_{number % 2}"), key(f"key_{number % 2}"))
    await store.put(change("search", kind="team"), team())

    first = await store.changes(limit=2)
    second = await store.changes(limit=2, before_id=first[-1].id)
    of_one = await store.changes(limit=9, object="key_1")
    of_teams = await store.changes(limit=9, kind="team")

    assert [it.id for it in (*first, *second)] == [6, 5, 4, 3]
    assert [it.id for it in of_one] == [4, 2]
    assert list(of_teams) == [change("search", kind="team", id=6)]


@pytest.mark.parametrize(
    "forbidden",
    [
        "UPDATE audit SET actor = 'somebody else'",
        "DELETE FROM audit WHERE id = 1",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit",
    ],
)
async def test_the_audit_log_is_append_only_for_everybody(ledger: SqliteLedger, forbidden: str) -> None:
    await ledger.put(change(), key())
    before = rows(ledger.path, "SELECT * FROM audit")

    with closing(sqlite3.connect(ledger.path)) as other, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        other.execute(forbidden)

    assert rows(ledger.path, "SELECT * FROM audit") == before


async def test_what_is_there_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with SqliteLedger(path) as ledger:
        await ledger.put(change(), key())
        await ledger.put(change("search", kind="team"), team())

    with SqliteLedger(path) as ledger:
        owned, log = await ledger.owned(), await ledger.changes(limit=9)

    assert owned == Owned(keys=(key(),), teams=(team(),))
    assert [it.object for it in log] == ["search", "key_1"]


def test_every_field_has_a_column_and_none_has_two() -> None:
    for kind in (Key, Team, User, Budget):
        assert COLUMNS[kind] == kind.__struct_fields__
    assert Change.__struct_fields__[0] == "id"


def as_stored(values: tuple[object, ...]) -> tuple[object, ...]:
    """What SQLite gives back for a row of these values."""
    with closing(sqlite3.connect(":memory:")) as connection:
        found: tuple[object, ...] = connection.execute(f"SELECT {','.join('?' * len(values))}", values).fetchone()
    return found


@given(
    st.builds(
        Key,
        admin=st.booleans(),
        models=tuples,
        endpoints=tuples,
        digest=st.binary(),
        previous_digest=st.binary(),
        **dict.fromkeys(("id", "name", "last4", "user", "team", "metadata"), st.text(string.printable)),
        **dict.fromkeys(("expires_us", "revoked_us", "previous_until_us", "concurrent", "tokens_per_minute"), counts),
        created_us=st.integers(0, 2**62),
    )
)
def test_a_key_comes_back_as_it_was(written: Key) -> None:
    assert read(Key, as_stored(row(written))) == written


@given(st.builds(User, models=tuples, name=texts, team=texts, metadata=texts, removed_us=counts, created_us=st.integers(0, 9)))
def test_a_user_comes_back_as_it_was(written: User) -> None:
    assert read(User, as_stored(row(written))) == written


@given(st.builds(Budget, limit=st.integers(1, 2**62), warn_percent=st.none() | st.integers(1, 100)))
def test_a_budget_comes_back_as_it_was(written: Budget) -> None:
    assert read(Budget, as_stored(row(written))) == written
