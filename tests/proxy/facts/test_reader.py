"""Payloads are read in a child process, and come back as they would have been read here."""

import io
from pathlib import Path

import pytest

from ledger.adapters import openrouter
from ledger.errors import SourceUnreadable
from ledger.facts import Parsed
from ledger.refresh.ports import ThreadReader
from proxy.facts import sources
from proxy.facts.reader import FRAME_ROWS, UNREADABLE, ChildReader, frames, joined, main, parsers

RECORDED = (Path(__file__).parents[2] / "ledger" / "adapters" / "data" / "openrouter-models-2026-08-01.json").read_bytes()


async def test_a_child_reads_what_would_be_read_here() -> None:
    here = await ThreadReader().read("openrouter", openrouter.parse, RECORDED, fetched_at_us=7)

    there = await ChildReader().read("openrouter", openrouter.parse, RECORDED, fetched_at_us=7)

    assert there == here
    assert len(there.models) > FRAME_ROWS


async def test_what_cannot_be_read_is_said_as_here() -> None:
    with pytest.raises(SourceUnreadable, match="web page, not JSON"):
        await ChildReader().read("openrouter", openrouter.parse, b"<html>", fetched_at_us=7)


async def test_a_child_that_fails_is_no_reason_to_fail() -> None:
    with pytest.raises(SourceUnreadable, match="its reader failed: KeyError"):
        await ChildReader().read("unheard-of", openrouter.parse, b"{}", fetched_at_us=7)


async def test_damaged_frames_are_unreadable() -> None:
    whole = b"".join(frames(Parsed(problems=("a",) * 3)))

    with pytest.raises(SourceUnreadable, match="damaged"):
        await joined(whole[:-2])


async def test_frames_are_joined_in_their_order() -> None:
    parsed = openrouter.parse(RECORDED, fetched_at_us=7)

    assert await joined(b"".join(frames(parsed))) == parsed


def test_the_child_says_by_its_exit_code_what_became_of_it() -> None:
    out, said = io.BytesIO(), io.StringIO()

    good = main(["openrouter", "7"], io.BytesIO(RECORDED), out, said.write)
    bad = main(["openrouter", "7"], io.BytesIO(b"[]"), io.BytesIO(), said.write)

    assert (good, bad) == (0, UNREADABLE)
    assert out.getvalue()
    assert said.getvalue() == "the payload is no object\n"


def test_every_source_and_every_form_has_a_reader() -> None:
    assert set(parsers()) == {*sources.TABLE, *sources.FORMS}
