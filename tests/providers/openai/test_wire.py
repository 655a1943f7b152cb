"""What is asked of an upstream that speaks chat completions, for a client that does not."""

from __future__ import annotations

from providers.anthropic import request as anthropic
from providers.openai.vendors import VENDORS
from providers.openai.wire import CHAT, posted
from providers.protocol import Ability, Posting
from providers.provider import Upstream

ASKED = anthropic.decode({"model": "m", "max_tokens": 5, "stream": True, "messages": [{"role": "user", "content": "hi"}]})


def test_the_usage_of_a_stream_is_asked_for_where_it_has_to_be() -> None:
    asking = CHAT.encode_request(ASKED, Ability(asks_usage=True))
    telling = CHAT.encode_request(ASKED, Ability())

    assert asking["stream_options"] == {"include_usage": True}
    assert "stream_options" not in telling


def test_the_bound_has_the_name_that_the_vendor_knows() -> None:
    assert CHAT.encode_request(ASKED, Ability())["max_tokens"] == 5
    assert CHAT.encode_request(ASKED, Ability(newer_bound=True))["max_completion_tokens"] == 5


def test_an_endpoint_that_is_elsewhere_is_found_there() -> None:
    gemini = Upstream(provider="gemini", account="a", vendor=VENDORS["gemini"], base_url="http://g.invalid/v1beta", api_key="k")

    sent = posted(b"{}", Posting(upstream=gemini, endpoint="embeddings", model="m", stream=False, request_id="req_1"))

    assert sent.url == "http://g.invalid/v1beta/openai/embeddings"
    assert sent.headers["authorization"] == "Bearer k"
