"""The file of who holds what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from proxy.disk.held_file import HeldFile


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    file = HeldFile(tmp_path / "held.jsonl")
    assert file.lines() == []
    file.rewrite([b"one"])
    file.add(b"two")
    file.close()

    again = HeldFile(tmp_path / "held.jsonl")

    assert [line for line in again.lines() if line] == [b"one", b"two"]
    assert (tmp_path / "held.jsonl").stat().st_mode & 0o777 == 0o600


def test_it_begins_anew(tmp_path: Path) -> None:
    file = HeldFile(tmp_path / "held.jsonl")
    file.add(b"one")

    file.rewrite([b"two"])
    file.add(b"three")

    assert file.lines() == [b"two", b"three", b""]
    file.close()


def test_where_nothing_can_be_written_everything_goes_on(tmp_path: Path) -> None:
    file = HeldFile(tmp_path / "no" / "such" / "folder")

    file.rewrite([b"one"])
    file.add(b"two")

    assert file.lines() == []


class Known:
    """A few names, each with its last line, as they would be held."""

    def __init__(self, file: HeldFile, *, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.file = file
        self.last: dict[str, bytes] = {}
        self.meanwhile = meanwhile
        self.made = 0

    def say(self, name: str, what: int) -> None:
        self.last[name] = f"{name} {what}".encode()
        self.file.add(self.last[name])

    def lines(self) -> Iterator[bytes]:
        known = list(self.last.values())

        def made() -> Iterator[bytes]:
            self.meanwhile()  # in the thread that writes
            yield from known
            self.made += 1

        return made()


def read(path: Path) -> dict[str, bytes]:
    """What a later process knows of it."""
    return {line.split()[0].decode(): line for line in HeldFile(path).lines() if line}


async def looked_at(known: Known, times: int) -> None:
    """Until somebody has looked so often at how large it is."""
    enough = asyncio.Event()
    looks = 0

    def live() -> int:
        nonlocal looks
        looks += 1
        if looks > times:
            enough.set()
        return len(known.last)

    task = asyncio.ensure_future(known.file.keep_small(live, known.lines, look_s=0.0))
    async with asyncio.timeout(30):
        await enough.wait()
    task.cancel()
    await asyncio.wait([task])
    known.file.close()


async def test_it_is_written_anew_when_more_of_it_is_out_of_date_than_not(tmp_path: Path) -> None:
    path = tmp_path / "held.jsonl"
    known = Known(HeldFile(path, spare_lines=100))
    for number in range(1_000):
        known.say(f"n{number % 10}", number)

    await looked_at(known, 3)
    known.say("n0", 1_000)
    known.file.close()

    assert known.made == 1
    assert read(path) == known.last
    assert len(path.read_bytes().splitlines()) == 11
    assert path.stat().st_mode & 0o777 == 0o600
    assert not path.with_suffix(".new").exists()


async def test_what_is_added_while_it_is_written_anew_is_in_both(tmp_path: Path) -> None:
    path = tmp_path / "held.jsonl"
    loop = asyncio.get_running_loop()
    olds: list[dict[str, bytes]] = []

    def meanwhile() -> None:
        async def said() -> None:
            known.say("late", 1)
            olds.append(read(path))

        asyncio.run_coroutine_threadsafe(said(), loop).result(10)

    known = Known(HeldFile(path, spare_lines=10), meanwhile=meanwhile)
    for number in range(100):
        known.say("n", number)

    await looked_at(known, 1)

    # Killed before the new one was in its place, it would have been there as well.
    assert olds == [known.last]
    assert read(path) == known.last == {"n": b"n 99", "late": b"late 1"}


async def test_a_file_of_which_little_is_out_of_date_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "held.jsonl"
    known = Known(HeldFile(path, spare_lines=100))
    for number in range(100):
        known.say("n", number)

    await looked_at(known, 3)

    assert known.made == 0
    assert len(path.read_bytes().splitlines()) == 100


async def test_where_it_cannot_be_written_anew_the_old_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "held.jsonl"
    path.with_suffix(".new").mkdir()
    known = Known(HeldFile(path, spare_lines=10))
    for number in range(100):
        known.say("n", number)

    await known.file._compact(known.lines())
    known.say("n", 100)
    known.file.close()

    assert read(path) == {"n": b"n 100"}
