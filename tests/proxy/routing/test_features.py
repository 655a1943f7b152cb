"""What a request needs, and what kind of task it is, whichever protocol it comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.routing.features import Features, features_of
from proxy.routing.kinds import KINDS
from proxy.routing.words import MARKED_BY_CHAR, MARKED_BY_WORD, MARKS, PHRASES, PUNCTUATION, WORDS


class Labelled(msgspec.Struct, frozen=True):
    """A request of the labelled set."""

    task: str
    language: str
    text: str


LABELLED = [
    msgspec.json.decode(line, type=Labelled)
    for line in (Path(__file__).parent / "data" / "requests.jsonl").read_bytes().splitlines()
]
CHAT = "chat/completions"


def ask(said: str = "Hi there!", **fields: Any) -> Features:
    body = {"model": "auto", "messages": [{"role": "user", "content": said}], **fields}
    return features_of(CHAT, body, size_bytes=len(msgspec.json.encode(body)))


@pytest.mark.parametrize("row", LABELLED, ids=lambda row: row.text[:32])
def test_the_kind_of_task_is_seen(row: Labelled) -> None:
    assert ask(row.text).task == row.task


def test_the_language_is_seen() -> None:
    wrong = [(row.language, found, row.text) for row in LABELLED if (found := ask(row.text).language) not in (row.language, "")]

    assert wrong == []


def test_what_the_caller_says_counts() -> None:
    body = {"messages": [{"role": "user", "content": "Write a Python function."}]}

    features = features_of(CHAT, body, size_bytes=100, task="math")

    assert (features.task, features.task_confidence, features.hinted) == ("math", 1.0, True)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "Prove that 2 is a prime integer."}]}),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "Prove that 2 is a prime integer."}]}]}),
        ("completions", {"prompt": "Prove that 2 is a prime integer."}),
        ("responses", {"input": "Prove that 2 is a prime integer."}),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Prove that 2 is prime."}]}]}),
        ("messages", {"system": "Be brief.", "messages": [{"role": "user", "content": "Prove that 2 is a prime integer."}]}),
        ("generateContent", {"contents": [{"role": "user", "parts": [{"text": "Prove that 2 is a prime integer."}]}]}),
    ],
)
def test_every_protocol_is_read(endpoint: str, body: dict[str, Any]) -> None:
    features = features_of(endpoint, body, size_bytes=200)

    assert (features.task, features.turns) == ("math", 1)


PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, ()),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, ("tools",)),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}}, ("structured_output",)),
        ({"response_format": {"type": "json_object"}}, ()),
        ({"text": {"format": {"type": "json_schema", "name": "a", "schema": {}}}}, ("structured_output",)),
        ({"generationConfig": {"responseSchema": {}}}, ("structured_output",)),
        ({"reasoning_effort": "high"}, ("reasoning",)),
        ({"reasoning_effort": "none"}, ()),
        ({"reasoning": {"effort": "low"}}, ("reasoning",)),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, ("reasoning",)),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy"}}, ("audio_out",)),
        ({"modalities": 5}, ()),
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, ("vision",)),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, ("audio_in",)),
        ({"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]}, ("file",)),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [{"type": "image"}]}]}]}, ("vision",)),
    ],
)
def test_what_is_needed_is_seen(fields: dict[str, Any], needs: tuple[str, ...]) -> None:
    assert ask(**fields).needs == needs


def test_gemini_says_by_the_media_type_what_a_part_is() -> None:
    parts = [{"inlineData": {"mimeType": "image/png"}}, {"fileData": {"mimeType": "video/mp4"}}, {"inline_data": {}}]

    features = features_of("generateContent", {"contents": [{"role": "user", "parts": parts}]}, size_bytes=100)

    assert (features.needs, features.files) == (("file", "video", "vision"), 3)


def test_what_tools_have_answered_is_an_agents_work() -> None:
    messages = [
        {"role": "user", "content": "Fix the bug."},
        {"role": "assistant", "tool_calls": []},
        {"role": "tool", "content": "ok"},
        {"role": "tool", "content": "ok"},
    ]

    features = ask(messages=messages, tools=[{"type": "function"}])

    assert (features.task, features.turns, features.tools) == ("agentic", 1, 1)


def test_a_picture_is_a_matter_of_seeing_and_a_long_text_one_of_reading() -> None:
    picture = ask(messages=[{"role": "user", "content": [{"type": "text", "text": "What is this?"}, PICTURE]}])

    assert (picture.task, ask("word " * 40_000).task) == ("vision", "long_context")


def test_tokens_are_counted_by_the_bytes_that_are_text() -> None:
    body = {"messages": [{"role": "user", "content": [PICTURE]}]}

    features = features_of(CHAT, body, size_bytes=9_400, payload_bytes=5_000, escapes=100, output_max=50)

    assert (features.text_bytes, features.input_tokens, features.context_tokens) == (4_100, 2_025, 2_075)


@pytest.mark.parametrize(
    "body", [{}, {"messages": 3}, {"messages": [3, None, {"role": 1, "content": {"a": 1}}]}, {"input": {}}]
)
def test_any_shape_has_features(body: dict[str, Any]) -> None:
    assert features_of(CHAT, body, size_bytes=2).task == "general"


def test_every_mark_is_found_where_it_stands() -> None:
    hits = [mark for _, marks in MARKS for mark, _ in marks]
    gated = {mark for table in (MARKED_BY_WORD, MARKED_BY_CHAR) for marks in table.values() for mark, *_ in marks}
    words = {word for mark in hits for word in mark.translate(PUNCTUATION).split()}

    assert gated == set(hits)
    assert MARKED_BY_WORD.keys() <= words


def test_every_word_speaks_for_a_kind_that_there_is() -> None:
    kinds = {kind for kind, _ in WORDS.values()} | {kind for kind, _ in MARKS} | {kind for _, kind, _ in PHRASES}

    assert kinds <= KINDS.keys()


@pytest.mark.parametrize("field", ["previous_response_id", "conversation"])
def test_what_goes_on_elsewhere_is_seen(field: str) -> None:
    assert features_of("responses", {"input": "And then?", field: "resp_1"}, size_bytes=50).goes_on
    assert not features_of("responses", {"input": "And then?", field: None}, size_bytes=50).goes_on
