"""What of a request's cost its bytes do not tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.api.gate import admit
from proxy.api.weight import weigh
from proxy.call import PLAIN, Weight

PICTURE = {"type": "image_url", "image_url": {"url": "https://x.invalid/cat.png"}}
DATA = "data:image/png;base64," + "A" * 100


def user(*parts: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "hi"}]},
        user({"type": "text", "text": "hi"}),
        {"input": "hi"},
        {"input": [1, 2, 3]},
        {"input": ["a", "b"]},
        {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": "42"}]},
        {"prompt": "hi"},
        {"prompt": [1, 2, 3]},
        {"prompt": ["hi"]},
        {"prompt": "hi", "best_of": 2, "n": 2},
        {"messages": [], "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"previous_response_id": None, "tools": [], "service_tier": None},
        {"messages": "hi", "input": {"a": 1}, "prompt": []},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_a_body_of_nothing_but_text_is_plain(body: dict[str, Any]) -> None:
    assert weigh(body) is PLAIN


@pytest.mark.parametrize(
    ("body", "references"),
    [
        (user(PICTURE, PICTURE, {"type": "text", "text": "which?"}), 2),
        (user({"type": "file", "file": {"file_id": "f"}}), 1),
        (user({"type": "something_new"}), 1),
        ({"input": [{"type": "message", "content": [{"type": "input_image", "image_url": "https://x.invalid"}]}]}, 1),
        ({"input": [{"type": "item_reference", "id": "x"}]}, 1),
        ({"input": [{"type": "computer_call_output", "output": {"image_url": "https://x.invalid"}}]}, 1),
        ({"input": [{"type": "function_call_output", "output": [{"type": "input_file", "file_id": "f"}]}]}, 1),
        ({"previous_response_id": "resp_1"}, 1),
        ({"conversation": "conv_1"}, 1),
        ({"prompt": {"id": "pmpt_1"}}, 1),
        ({"web_search_options": {}}, 1),
        ({"tools": [{"type": "web_search"}, {"type": "function"}, "what"]}, 2),
    ],
    ids=lambda it: json.dumps(it)[:60],
)
def test_what_the_body_names_instead_of_holding_it_is_counted(body: dict[str, Any], references: int) -> None:
    assert weigh(body).references == references


def test_a_picture_in_the_body_is_no_text() -> None:
    body = user({"type": "image_url", "image_url": {"url": DATA}}, {"type": "input_image", "image_url": DATA})

    assert weigh(body) == Weight(references=2, payload_bytes=2 * len(DATA))


@pytest.mark.parametrize(
    ("body", "audio"),
    [
        (user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}), True),
        ({"messages": [], "audio": {"voice": "alloy"}}, True),
        (user(PICTURE), False),
    ],
)
def test_sounds_are_told_apart_since_they_are_dearer(body: dict[str, Any], *, audio: bool) -> None:
    assert weigh(body).audio is audio


@pytest.mark.parametrize(
    ("body", "answers"),
    [
        ({"prompt": ["a", "b", "c"]}, 3),
        ({"prompt": [[1, 2], [3]]}, 2),
        ({"prompt": "a", "best_of": 5}, 5),
        ({"prompt": ["a", "b"], "best_of": 4, "n": 2}, 8),
        ({"prompt": ["a", "b"], "best_of": "many"}, 2),
    ],
)
def test_the_answers_of_several_prompts_are_counted(body: dict[str, Any], answers: int) -> None:
    assert weigh(body).answers == answers


def test_the_service_that_is_asked_for_is_known() -> None:
    assert weigh({"service_tier": "priority"}) == Weight(service_tier="priority")


def test_the_gate_weighs_what_it_admits_whatever_its_keys_are_spelled_like() -> None:
    body = rb'{"model":"m","messages":[{"role":"user","content":[{"typ\u0065":"im\u0061ge_url","image_url":{"url":"x"}}]}]}'

    assert admit(body).weight == Weight(references=1)


@pytest.mark.parametrize(
    ("body", "files"),
    [
        (user({"type": "file", "file": {"file_id": "a"}}, {"type": "file", "file": {"file_id": "a"}}), ("a",)),
        (
            {
                "input": [
                    {
                        "role": "user",
                        "content": [{"type": "input_file", "file_id": "a"}, {"type": "input_image", "file_id": "b"}],
                    }
                ]
            },
            ("a", "b"),
        ),
        ({"input": [{"type": "function_call_output", "output": [{"type": "input_file", "file_id": "f"}]}]}, ("f",)),
        ({"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["a", 1, "b"]}}]}, ("a", "b")),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}, 5]}, ()),
        ({"input": [{"role": "assistant", "content": [{"type": "output_text", "annotations": [{"file_id": "x"}]}]}]}, ()),
        ({"metadata": {"file_id": "x"}, "messages": []}, ()),
        (user({"type": "file", "file": "x"}, {"type": "file", "file": {"file_id": 5}}), ()),
    ],
)
def test_the_files_that_a_body_names_are_told(body: dict[str, Any], files: tuple[str, ...]) -> None:
    assert weigh(body).files == files
