from __future__ import annotations

import json
from typing import Any

import pytest

from providers.ollama import running, traits
from tests.fakes.local_servers import SHOWN


def shown(**fields: Any) -> bytes:
    return json.dumps({**SHOWN["gemma3:1b"], **fields}).encode()


def test_what_a_model_can_is_what_is_shown() -> None:
    said = traits(json.dumps(SHOWN["qwen3-vl:8b"]).encode(), None)

    assert said.can == {"chat", "vision", "tools", "thinking"}
    assert said.context_tokens == 16_384


def test_a_model_takes_in_what_it_is_loaded_with_else_what_its_file_asks_for_else_what_it_was_made_for() -> None:
    file = "num_ctx   8192\n"

    assert traits(shown(parameters=file), 4_096).context_tokens == 4_096
    assert traits(shown(parameters=file), None).context_tokens == 8_192
    assert traits(shown(), None).context_tokens == 32_768
    assert traits(b"{}", None).context_tokens is None


def test_an_older_server_says_nothing_of_what_a_model_can() -> None:
    assert traits(b'{"model_info":{}}', None).can is None
    assert traits(b'{"capabilities":["completion","telepathy"]}', None).can == {"chat"}


@pytest.mark.parametrize("count", [0, -1, True, "4096", 10**12, 1.5])
def test_a_number_that_is_none_is_not_believed(count: Any) -> None:
    info = {"general.architecture": "a", "a.context_length": count}

    assert traits(json.dumps({"model_info": info}).encode(), None).context_tokens is None


def test_what_is_loaded_is_known_by_its_name() -> None:
    body = b'{"models":[{"name":"a","context_length":4096},{"name":"b"},{"name":"c","context_length":0}]}'

    assert running(body) == {"a": 4096}


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"capabilities":5}', b'{"model_info":[]}'])
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        traits(body, None)
