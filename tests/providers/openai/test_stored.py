"""What OpenAI's objects tell of files and batches."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import InvalidResponse
from providers.keeping import Answered
from providers.openai import stored

BATCH = {"id": "batch_1", "object": "batch", "status": "completed", "output_file_id": "file-1", "error_file_id": None}


def test_a_batch_tells_its_files_and_whether_it_has_ended() -> None:
    ended = stored.batch_object(json.dumps(BATCH).encode())
    running = stored.batch_object(json.dumps({**BATCH, "status": "in_progress", "output_file_id": None}).encode())

    assert (ended.ended, ended.made) == (True, ("file-1",))
    assert (running.ended, running.made) == (False, ())


@pytest.mark.parametrize("read", [stored.file_object, stored.batch_object, stored.batch_page])
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id": 1}', b'{"data": [{}]}', b"\xff", b'{"id": "\xff"}'])
def test_what_is_none_is_no_answer(read: object, body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        read(body)  # type: ignore[operator]  # each of them takes bytes


def test_a_page_says_whether_there_are_more() -> None:
    batches, more = stored.batch_page(json.dumps({"data": [BATCH], "has_more": True}).encode())

    assert ([it.id for it in batches], more) == (["batch_1"], True)


def test_a_line_of_answers_keeps_the_answers_bytes() -> None:
    found = stored.answered(b'{"custom_id":"1","response":{"status_code":200,"body":{"a" : 1}},"error":null}')

    assert found == Answered(200, b'{"a" : 1}')
    assert stored.answered(b'{"custom_id":"1","response":null,"error":{"code":"batch_expired"}}') == Answered(None, b"")
    assert stored.answered(b'{"response": 1}') is None


def test_a_line_of_requests_keeps_the_requests_bytes() -> None:
    assert stored.asked(b'{"custom_id":"1","url":"/v1/x","body":{"a" : 1}}') == ("/v1/x", b'{"a" : 1}')
    assert stored.asked(b'{"custom_id":"1"}') is None
    assert stored.asked(b"no") is None


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 60)))
def test_any_split_gives_the_same_lines(parts: list[bytes], cuts: list[int]) -> None:
    data = b"\n".join(parts)
    lines = stored.Lines(1_000)
    found: list[bytes] = []

    at = 0
    for cut in [*cuts, len(data)]:
        found += lines.feed(data[at : at + cut])
        at += cut
    found += filter(None, [lines.end()])

    assert found == [line.strip() for line in data.split(b"\n") if line.strip()]


def test_a_line_that_is_too_long_is_passed_over() -> None:
    lines = stored.Lines(4)

    found = [*lines.feed(b"one\ntoo lo"), *lines.feed(b"ng\nfour\n"), *lines.feed(b"five5")]

    assert (found, lines.end(), lines.too_long) == ([b"one", b"four"], b"", 2)


def test_a_page_of_a_list_has_its_ends() -> None:
    page = json.loads(stored.listed(['{"id":"a","x":1}', '{"id":"b"}'], has_more=True))

    assert page == {
        "object": "list",
        "data": [{"id": "a", "x": 1}, {"id": "b"}],
        "first_id": "a",
        "last_id": "b",
        "has_more": True,
    }
    assert json.loads(stored.listed([], has_more=False))["last_id"] is None
