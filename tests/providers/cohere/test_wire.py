"""Requests to Cohere's chat: where they go, what opens them, and what its errors say."""

from __future__ import annotations

from providers.cohere.wire import passed, peek, posted, refusal
from providers.openai.vendors import VENDORS
from providers.protocol import Posting
from providers.provider import Upstream
from providers.usage import semantics_of

UPSTREAM = Upstream(provider="cohere", account="a", vendor=VENDORS["cohere"], base_url="https://api.cohere.com", api_key="k")
POSTING = Posting(
    upstream=UPSTREAM,
    endpoint="v2/chat",
    model="command-a",
    stream=False,
    request_id="req_1",
    asked_model="smart",
    cut=("cache",),
)


def test_a_body_goes_to_the_chat_with_the_key() -> None:
    sent = posted(b"{}", POSTING)

    assert (sent.url, sent.headers["authorization"]) == ("https://api.cohere.com/v2/chat", "Bearer k")


def test_of_a_body_in_its_own_protocol_the_models_name_changes() -> None:
    assert passed(b'{"model":"smart","p":1.0,"cache":{}}', POSTING).body == b'{"model":"command-a","p":1.0}'


def test_an_error_says_what_it_says() -> None:
    read = refusal(404, b'{"id":"i","message":"model not found"}')

    assert (read.status, read.body.message) == (404, "model not found")


def test_what_is_billed_is_the_usage() -> None:
    usage = b'{"billed_units":{"input_tokens":3,"output_tokens":4},"tokens":{"input_tokens":70,"output_tokens":5}}'

    read = peek(b'{"message":{},"finish_reason":"COMPLETE","usage":' + usage + b"}", semantics_of("cohere", "v2/chat"))

    assert read.usage is not None
    assert (read.usage.input_tokens, read.usage.output_tokens, read.usage_raw) == (3, 4, usage)
