"""What is remembered of an answer so far, and what is left out of its continuation.  The chain: stages/test_fallback.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.attempts.continuation import TEXT_MAX_CHARS, SoFar, can_continue, without_role
from tests.proxy.samples import call


def event(delta: dict[str, Any] | None, **choice: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, **choice}]
    return b"data: " + json.dumps({"id": "x", "choices": choices}).encode() + b"\n\n"


@given(st.lists(st.text(max_size=20), max_size=20), st.integers(1, 5))
def test_the_text_is_that_of_all_events_however_they_come_together(words: list[str], together: int) -> None:
    events = [event({"content": word}) for word in words]
    so_far = SoFar()

    for start in range(0, len(events), together):
        so_far.take(b"".join(events[start : start + together]))

    assert so_far.text == "".join(words)
    assert so_far.tokens == sum(map(bool, words))
    assert so_far.plain


@pytest.mark.parametrize(
    ("events", "plain"),
    [
        (event({"role": "assistant", "content": "", "refusal": None}), True),
        (event(None), True),
        (b": a comment\n\n", True),
        (event({"tool_calls": [{"index": 0}]}), False),
        (event({"reasoning_content": "hm"}), False),
        (event({"refusal": "no"}), False),
        (event({}, finish_reason="stop"), False),
        (event({"content": [{"type": "text"}]}), False),
        (b'data: {"choices":[{"index":1,"delta":{"content":"x"}}]}\n\n', False),
        (b"data: nonsense\n\n", False),
    ],
)
def test_only_what_is_nothing_but_text_and_not_over_can_be_taken_up(events: bytes, plain: bool) -> None:
    so_far = SoFar()

    so_far.take(events)

    assert so_far.plain is plain


def test_a_text_without_end_is_not_kept() -> None:
    so_far = SoFar()

    for _ in range(TEXT_MAX_CHARS // 100_000 + 1):
        so_far.take(event({"content": "x" * 100_000}))

    assert (so_far.plain, so_far.text) == (False, "")


@pytest.mark.parametrize(
    ("first", "left"),
    [
        (event({"role": "assistant", "content": ""}), b""),
        (event({"role": "assistant"}), b""),
        (event({"content": "a"}), event({"content": "a"})),
        (event({}, finish_reason="stop"), event({}, finish_reason="stop")),
        (b": a comment\n\n", b": a comment\n\n"),
        (event(None), event(None)),
        (event({"role": "assistant"}) + event({"content": "a"}), event({"content": "a"})),
    ],
)
def test_a_role_that_was_said_already_is_left_out(first: bytes, left: bytes) -> None:
    assert without_role(first) == left


def test_what_comes_with_the_role_stays() -> None:
    left = without_role(event({"role": "assistant", "content": "a"}))

    assert json.loads(left.removeprefix(b"data: "))["choices"][0]["delta"] == {"content": "a"}


@pytest.mark.parametrize(
    ("endpoint", "fields", "can"),
    [
        ("chat/completions", {"stream": True}, True),
        ("chat/completions", {}, False),
        ("chat/completions", {"stream": True, "n": 2}, False),
        ("responses", {"stream": True}, False),
        ("completions", {"stream": True}, False),
    ],
)
def test_only_chat_streams_of_one_choice_are_taken_up(endpoint: Any, fields: dict[str, Any], can: bool) -> None:
    assert can_continue(call(endpoint=endpoint, fields=fields)) is can
