"""The batches that are open, and what is remembered of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from proxy.batches.opened import Open, Opened
from proxy.disk.held_file import HeldFile


class Lines:
    """Remembers, or not."""

    def __init__(self, *, works: bool = True) -> None:
        self.kept: list[bytes] = []
        self.works = works

    def keep(self, line: bytes, /) -> bool:
        self.kept.append(line)
        return self.works

    def rewrite(self, lines: Iterable[bytes], /) -> None:
        self.kept = list(lines)


def batch(request_id: str = "req_1", **fields: object) -> Open:
    said = {"key_id": "k", "provider": "openai", "account": "a", "endpoint": "chat/completions", "input_file_id": "file-1"}
    return Open(request_id=request_id, created_us=1, **{**said, **fields})  # type: ignore[arg-type]  # as Open has them


async def test_what_is_open_is_open_after_a_restart() -> None:
    lines = Lines()
    opened = Opened(lines)
    await opened.note(batch("req_1", reserve=(5, 6, 1), tags=("t",)))
    await opened.note(batch("req_2"))
    await opened.note(batch("req_2", batch_id="batch_2"))
    await opened.note(batch("req_3"))
    await opened.close("req_3")

    for again in (Opened(Lines(), [*lines.kept, b"", b'{"request_id": "re']), Opened(Lines(), opened.lines())):
        assert list(again) == [batch("req_1", reserve=(5, 6, 1), tags=("t",)), batch("req_2", batch_id="batch_2")]


async def test_one_is_found_by_its_key_alone() -> None:
    opened = Opened(Lines())
    await opened.note(batch(batch_id="batch_1", output_file_id="file-2"))

    assert opened.of("batch_1", "k") is not None
    assert opened.of("batch_1", "other") is None
    assert opened.with_output("file-2", "k") is not None
    assert opened.with_output("file-2", "other") is None


async def test_whoever_cannot_remember_says_so() -> None:
    opened = Opened(Lines(works=False))

    assert not await opened.note(batch())
    assert len(opened) == 1


async def test_a_line_outlives_the_process(tmp_path: Path) -> None:
    file = HeldFile(tmp_path / "batches.jsonl")
    await Opened(file).note(batch())
    file.close()

    assert list(Opened(Lines(), HeldFile(tmp_path / "batches.jsonl").lines())) == [batch()]


async def test_a_disk_that_refuses_is_heard_of(tmp_path: Path) -> None:
    assert not await Opened(HeldFile(tmp_path / "no" / "such" / "folder")).note(batch())
