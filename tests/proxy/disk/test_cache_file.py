"""What is kept of answers on disk."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from proxy.disk.cache_file import OVERHEAD_BYTES, CacheFile

SECRET = secrets.token_bytes(32)
VALUE = b"what was answered"


class Clock:
    s = 1_000.0

    def __call__(self) -> float:
        return self.s


@contextmanager
def opened(path: Path, clock: Clock | None = None, *, secret: bytes = SECRET, max_bytes: int = 100_000) -> Iterator[CacheFile]:
    store = CacheFile(path, secret, max_bytes=max_bytes, clock_s=clock or Clock())
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept.sqlite"


async def test_what_is_kept_outlives_the_process(path: Path) -> None:
    with opened(path) as first:
        await first.put(b"a", VALUE, ttl_s=10)
        await first.put(b"b", b"old", ttl_s=10)
        await first.put(b"b", b"new", ttl_s=10)
        await first.put(b"c", VALUE, ttl_s=10)
        await first.delete(b"c")

    with opened(path) as second:
        found = [await second.get(key) for key in (b"a", b"b", b"c", b"d")]

    assert found == [VALUE, b"new", None, None]


def test_nothing_is_on_disk_before_something_is_kept(path: Path) -> None:
    with opened(path):
        pass

    assert not path.exists()


async def test_it_is_kept_for_its_time_also_while_there_is_no_process(path: Path) -> None:
    clock = Clock()
    with opened(path, clock) as store:
        await store.put(b"short", VALUE, ttl_s=5)
        await store.put(b"long", VALUE, ttl_s=50)
        await store.put(b"never", VALUE, ttl_s=0)

    clock.s += 5
    with opened(path, clock) as store:
        found = [await store.get(key) for key in (b"short", b"long", b"never")]

    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM kept").fetchone() == (1,)
    assert found == [None, VALUE, None]


async def test_the_oldest_make_room(path: Path) -> None:
    room = 4 * (OVERHEAD_BYTES + 12 + 16 + 1_000)
    with opened(path, max_bytes=room) as store:
        for number in range(3):
            await store.put(b"%d" % number, bytes(1_000), ttl_s=10)
    with opened(path, max_bytes=room) as store:
        for number in range(3, 6):
            await store.put(b"%d" % number, bytes(1_000), ttl_s=10)
        await store.put(b"huge", bytes(room), ttl_s=10)

        found = [await store.get(b"%d" % number) for number in range(6)]

    assert [it is not None for it in found] == [False, False, True, True, True, True]


async def test_nobody_reads_it_without_the_secret_and_no_entry_is_good_in_anothers_place(path: Path) -> None:
    with opened(path) as store:
        await store.put(b"a", VALUE, ttl_s=10)
        await store.put(b"b", b"another", ttl_s=10)
    files = [file.read_bytes() for file in path.parent.iterdir()]
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE kept SET value = (SELECT value FROM kept WHERE slot = x'62') WHERE slot = x'61'")

    with opened(path) as store:
        moved = await store.get(b"a"), await store.get(b"b")
    with opened(path, secret=secrets.token_bytes(32)) as other:
        read = await other.get(b"b")

    assert not any(VALUE in data for data in files)
    assert modes == {0o600}
    assert (moved, read) == ((None, b"another"), None)


async def test_a_damaged_file_is_begun_anew(path: Path) -> None:
    await asyncio.to_thread(path.write_bytes, b"this is no database" * 100)

    with opened(path) as store:
        before = await store.get(b"a")
        await store.put(b"a", VALUE, ttl_s=10)
        after = await store.get(b"a")

    assert (before, after) == (None, VALUE)


async def test_where_nothing_can_be_written_nothing_is_kept_and_nothing_is_raised(tmp_path: Path) -> None:
    with opened(tmp_path / "no such folder" / "kept.sqlite") as store:
        await store.put(b"a", VALUE, ttl_s=10)

        assert await store.get(b"a") is None
