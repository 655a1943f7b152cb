"""Who has the wrong base URL is told the right one."""

from __future__ import annotations

import pytest

from proxy.api.paths import INFERENCE, advice

ENDS = " The base URL of this client ends in '/v1', such as http://127.0.0.1:4000/v1."
ENDS_BEFORE = " The base URL of this client ends before '/v1': it adds that by itself."


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/chat/completions", ENDS),
        ("/models/gpt-5", ENDS),
        ("/messages", ENDS),
        ("/v1/v1/messages", ENDS_BEFORE),
        ("/v1/v1/v1/messages/count_tokens", ENDS_BEFORE),
        ("/v1/v1beta/models/gemini-2.5-pro:generateContent", ENDS_BEFORE),
        ("/v1/v1/nothing", ""),
        ("/nothing", ""),
        ("/v1/nothing", ""),
        ("/", ""),
    ],
)
def test_a_path_that_only_has_too_much_or_too_little_of_a_base_url_is_known(path: str, said: str) -> None:
    assert advice(path, INFERENCE) == said
