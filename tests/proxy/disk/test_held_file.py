"""The file of who holds what."""

from __future__ import annotations

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
