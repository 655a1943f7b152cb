"""Bodies in files without names: what is written is read again, bounds hold, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from proxy.disk.spool import MEMORY_BYTES, PIECE_BYTES, PREFIX, Spool, SpoolLimits, Spools
from proxy.errors import Overloaded

DATA = os.urandom(MEMORY_BYTES + 12_345)


@pytest.fixture
def spools(tmp_path: Path) -> Spools:
    return Spools(tmp_path, SpoolLimits(count_max=3, total_max_bytes=4 * MEMORY_BYTES))


async def written(spools: Spools, *pieces: bytes) -> Spool:
    spool = spools.open()
    for piece in pieces:
        await spool.write(piece)
    return spool


async def content(spool: Spool) -> bytes:
    parts = []
    at = 0
    while piece := await spool.read(at, 1 << 30):
        parts.append(piece)
        at += len(piece)
    return b"".join(parts)


def descriptors() -> int:
    return len(names(Path("/proc/self/fd"))) if Path("/proc/self/fd").is_dir() else 0


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_small_body_stays_in_memory(spools: Spools) -> None:
    spool = await written(spools, b"ab", b"cd")

    assert spool.in_memory
    assert spool.held() == b"abcd"
    assert spools.file_bytes == 0


async def test_a_large_body_is_read_as_it_was_written(spools: Spools) -> None:
    spool = await written(spools, DATA, b"more", DATA, b"end")

    assert await content(spool) == DATA + b"more" + DATA + b"end"
    assert spool.size_bytes == 2 * len(DATA) + 7
    assert not spool.in_memory


async def test_a_range_of_it_is_read_wherever_it_stands(spools: Spools) -> None:
    spool = await written(spools, DATA, b"tail")

    assert await spool.read(100, 50) == DATA[100:150]
    assert await spool.read(len(DATA) - 2, 50) == DATA[-2:]
    assert await spool.read(len(DATA) + 1, 50) == b"ail"
    assert len(await spool.read(0, 1 << 30)) == PIECE_BYTES


async def test_its_file_has_no_name(spools: Spools, tmp_path: Path) -> None:
    await written(spools, DATA)

    assert names(tmp_path) == []


async def test_nothing_is_left_of_it_when_it_is_closed(spools: Spools) -> None:
    before = descriptors()
    spool = await written(spools, DATA)

    spool.close()
    spool.close()

    assert (spools.count, spools.file_bytes, descriptors()) == (0, 0, before)
    with pytest.raises(ValueError, match="closed"):
        await spool.read(0, 1)


async def test_there_are_no_more_than_there_may_be(spools: Spools) -> None:
    for _ in range(3):
        spools.open()

    with pytest.raises(Overloaded) as caught:
        spools.open()

    assert caught.value.retry_after_s


async def test_their_files_hold_no_more_than_they_may(spools: Spools) -> None:
    first = await written(spools, DATA, DATA, DATA)
    second = spools.open()

    with pytest.raises(Overloaded):
        await second.write(DATA)
    first.close()
    third = await written(spools, DATA)

    assert await content(third) == DATA


async def test_a_folder_that_cannot_be_written_to_is_told_as_no_room(tmp_path: Path) -> None:
    spools = Spools(tmp_path / "gone", SpoolLimits(count_max=1, total_max_bytes=1 << 30))

    with pytest.raises(Overloaded):
        await written(spools, DATA)


async def test_one_that_is_closed_while_it_is_written_is_gone_all_the_same(spools: Spools) -> None:
    before = descriptors()
    spool = spools.open()
    writing = asyncio.ensure_future(spool.write(DATA))
    await asyncio.sleep(0)

    spool.close()
    await writing

    assert (spools.count, spools.file_bytes, descriptors()) == (0, 0, before)


async def test_what_a_killed_process_left_is_swept(spools: Spools, tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}0123").write_bytes(b"x")
    (tmp_path / "pepper").write_bytes(b"y")

    spools.sweep()

    assert names(tmp_path) == ["pepper"]
