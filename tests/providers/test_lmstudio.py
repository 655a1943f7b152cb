from __future__ import annotations

import json
from typing import Any

import pytest

from providers.lmstudio import PLACES, traits
from providers.provider import Traits
from tests.fakes.local_servers import NEW, OLD


def said(place: str, value: Any) -> dict[str, Traits]:
    return traits(place, json.dumps(value).encode())


def test_the_list_says_what_each_model_can_and_takes_in() -> None:
    found = said(PLACES[0], NEW)

    assert found["google/gemma-3-4b"] == Traits(context_tokens=131_072, can=frozenset({"chat", "vision"}))
    # It takes in what it is loaded with, by each of its names.
    assert found["qwen/qwen3-8b"] == Traits(context_tokens=8_192, can=frozenset({"chat", "tools"}))
    assert found["qwen/qwen3-8b:2"] == found["qwen/qwen3-8b"]
    assert found["text-embedding-nomic"].can == {"embedding"}


def test_so_does_the_older_one() -> None:
    found = said(PLACES[1], OLD)

    assert found["qwen2-vl-7b-instruct"] == Traits(context_tokens=32_768, can=frozenset({"chat", "vision", "tools"}))
    assert found["meta-llama-3.1-8b-instruct"] == Traits(context_tokens=4_096, can=frozenset({"chat"}))
    assert found["text-embedding-nomic"] == Traits(context_tokens=2_048, can=frozenset({"embedding"}))


def test_a_model_of_which_nothing_is_said_may_be_able_to_do_anything() -> None:
    assert said(PLACES[0], {"models": [{"key": "k", "type": "llm"}]}) == {"k": Traits()}
    assert said(PLACES[1], {"data": [{"id": "k", "type": "llm"}]}) == {"k": Traits()}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("body", [b"", b"[]", b'{"error":"Unexpected endpoint or method. (GET /x)"}', b'{"models":5,"data":5}'])
def test_what_is_no_list_is_an_error(place: str, body: bytes) -> None:
    with pytest.raises(ValueError):
        traits(place, body)
