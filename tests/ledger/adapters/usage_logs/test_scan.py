"""The files of coding agents: found, read on, never followed outside nor changed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.adapters.usage_logs import scan
from ledger.records import AgentUsage, LogCursor
from tests.ledger.adapters.usage_logs.logs import AGENTS, DATA, largest, lines

PLACES = {
    "claude-code": "-home-ada-work-engine/session.jsonl",
    "codex": "2026/11/04/rollout-2026-11-04.jsonl",
    "gemini-cli": "engine/chats/session-1.jsonl",
    "copilot": "cop-1/events.jsonl",
    "otel": "spans.jsonl",
}


def put(root: Path, agent: str, data: bytes) -> Path:
    path = root / PLACES[agent]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def read(root: Path, agent: str, cursor: LogCursor | None = None) -> tuple[list[AgentUsage], scan.Reader]:
    (log,) = scan.files(agent, root, {})
    reader = scan.Reader(log, cursor)
    return list(reader.events()), reader


def whole(agent: str) -> bytes:
    return (DATA / AGENTS[agent]).read_bytes()


@pytest.mark.parametrize("agent", AGENTS)
@given(data=st.data())
def test_wherever_a_file_is_split_two_readings_find_what_one_does(agent: str, data: st.DataObject) -> None:
    content = whole(agent)
    cut = data.draw(st.integers(0, len(content)))
    with tempfile.TemporaryDirectory() as folder:
        path = put(Path(folder), agent, content)
        once, _ = read(Path(folder), agent)
        path.write_bytes(content[:cut])

        first, reader = read(Path(folder), agent)
        with path.open("ab") as file:
            file.write(content[cut:])
        second, _ = read(Path(folder), agent, reader.cursor)

    assert largest(first + second) == largest(once)


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("beside", [0, 1, 700, scan.CHUNK_BYTES - 40, 2 * scan.CHUNK_BYTES])
def test_lines_without_usage_and_of_any_length_stand_between_those_that_have_it(
    tmp_path: Path, agent: str, beside: int
) -> None:
    parse = scan.FORMATS[agent].lines[".jsonl"]
    given_lines = lines(AGENTS[agent])
    other = b'{"text":"' + b"x" * beside + b'"}' if beside else b""
    mixed = [it for line in given_lines[:12] for it in (other, line)]

    put(tmp_path, agent, b"\n".join(mixed) + b"\n")
    found, reader = read(tmp_path, agent)

    assert found == list(parse(given_lines[:12], scan.Reading(name=reader.reading.name, folder=reader.reading.folder)))
    assert reader.cursor is not None
    assert reader.cursor.offset_bytes == reader.file.size_bytes


@pytest.mark.parametrize("agent", AGENTS)
@given(data=st.data())
def test_a_line_that_is_written_again_changes_nothing(agent: str, data: st.DataObject) -> None:
    parse = scan.FORMATS[agent].lines[".jsonl"]
    given_lines = lines(AGENTS[agent])
    # At once, as running totals are; the others' lines may come again at any time.
    doubled = [it for line in given_lines for it in [line] * data.draw(st.integers(1, 3))]

    once = largest(parse(given_lines, scan.Reading()))

    assert largest(parse(doubled, scan.Reading())) == once
    if agent in ("claude-code", "gemini-cli", "otel"):
        assert largest(parse([*given_lines, *data.draw(st.permutations(given_lines))], scan.Reading())) == once


def test_a_second_reading_reads_nothing_of_an_unchanged_file(tmp_path: Path) -> None:
    put(tmp_path, "codex", whole("codex"))
    events, reader = read(tmp_path, "codex")

    (log,) = scan.files("codex", tmp_path, {})
    again = scan.Reader(log, reader.cursor)

    assert (len(events), again.unchanged, list(again.events())) == (3, True, [])


def test_a_last_line_that_is_still_being_written_waits_for_its_end(tmp_path: Path) -> None:
    content = whole("codex")
    path = put(tmp_path, "codex", content[:-40])
    first, reader = read(tmp_path, "codex")

    path.write_bytes(content)
    second, _ = read(tmp_path, "codex", reader.cursor)

    assert (len(first), len(second), reader.reading.skipped) == (2, 1, {"repeated": 1})


def test_a_last_line_without_an_end_counts_where_it_is_whole(tmp_path: Path) -> None:
    put(tmp_path, "codex", whole("codex")[:-1])

    events, _ = read(tmp_path, "codex")

    assert len(events) == 3


@pytest.mark.parametrize("change", ["shorter", "other"])
def test_a_file_that_was_rewritten_is_read_from_its_beginning(tmp_path: Path, change: str) -> None:
    content = whole("claude-code")
    path = put(tmp_path, "claude-code", content)
    _, reader = read(tmp_path, "claude-code")

    rest = b"".join(it + b"\n" for it in lines(AGENTS["claude-code"])[-2:])
    path.write_bytes(rest if change == "shorter" else rest + b"\n" * len(content))
    events, again = read(tmp_path, "claude-code", reader.cursor)

    assert (len(events), again.reading.skipped) == (2, {"rewritten_file": 1})


def test_links_are_not_followed_and_pipes_are_no_logs(tmp_path: Path) -> None:
    secret = put(tmp_path / "elsewhere", "claude-code", whole("claude-code"))
    root = tmp_path / "root"
    (root / "project").mkdir(parents=True)
    (root / "project" / "linked.jsonl").symlink_to(secret)
    (root / "linked").symlink_to(secret.parent)
    os.mkfifo(root / "project" / "pipe.jsonl")
    skipped: dict[str, int] = {}

    found = list(scan.files("claude-code", root, skipped))

    assert (found, skipped) == ([], {"symbolic_link": 2})


def test_a_file_that_became_a_link_meanwhile_is_not_read(tmp_path: Path) -> None:
    path = put(tmp_path, "codex", whole("codex"))
    (log,) = scan.files("codex", tmp_path, {})
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")

    reader = scan.Reader(log, None)

    assert (list(reader.events()), reader.reading.skipped, reader.cursor) == ([], {"unreadable_file": 1}, None)


def test_a_line_without_end_is_left_out_and_the_next_is_read(tmp_path: Path) -> None:
    first, *_, last = lines(AGENTS["otel"])
    put(tmp_path, "otel", first + b"\n" + b"x" * (scan.LINE_MAX_BYTES + 3 * scan.CHUNK_BYTES) + b"\n" + last + b"\n")

    events, reader = read(tmp_path, "otel")

    assert (len(events), reader.reading.skipped) == (3, {"no_model_call": 1, "line_too_long": 1})


def test_binary_files_and_empty_ones_are_read_without_harm(tmp_path: Path) -> None:
    put(tmp_path, "claude-code", bytes(range(256)) * 5000 + b'"usage""assistant"\n\n\n')

    events, reader = read(tmp_path, "claude-code")

    assert (events, reader.reading.skipped) == ([], {"not_json": 1})


def test_a_whole_document_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "engine" / "chats" / "session.json"
    path.parent.mkdir(parents=True)
    path.write_bytes((DATA / "gemini_cli.json").read_bytes())

    events, reader = read(tmp_path, "gemini-cli")
    again, _ = read(tmp_path, "gemini-cli", reader.cursor)

    assert (len(events), again) == (2, events)
    assert {it.project for it in events} == {"engine"}


def test_a_cursor_says_nothing_of_where_people_work(tmp_path: Path) -> None:
    put(tmp_path, "claude-code", whole("claude-code"))

    _, reader = read(tmp_path, "claude-code")

    assert str(tmp_path).encode() not in msgspec.json.encode(reader.cursor)


def test_reading_leaves_files_as_they_are(tmp_path: Path) -> None:
    path = put(tmp_path, "codex", whole("codex"))
    before = path.stat()

    read(tmp_path, "codex")

    assert (path.read_bytes(), path.stat().st_mtime_ns) == (whole("codex"), before.st_mtime_ns)


def test_an_agents_own_folder_moves_by_its_variable() -> None:
    home = Path("home")

    assert scan.root_of("codex", {}, home) == home / ".codex" / "sessions"
    assert scan.root_of("codex", {"CODEX_HOME": "else"}, home) == Path("else", "sessions")
    assert scan.root_of("cursor", {}, home) is None
