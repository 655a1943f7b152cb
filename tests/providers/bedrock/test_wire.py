"""Requests to Converse: where they go, what opens them, and what its errors mean."""

from __future__ import annotations

import pytest

from providers.bedrock.wire import WIRES, passed, peek, posted, refusal
from providers.openai.vendors import VENDORS
from providers.protocol import Posting
from providers.provider import Upstream
from providers.usage import semantics_of

HOST = "https://bedrock-runtime.us-east-1.amazonaws.com"


def posting(*, api_key: str | None = "k", stream: bool = False, cut: tuple[str, ...] = ()) -> Posting:
    upstream = Upstream(provider="bedrock", account="a", vendor=VENDORS["bedrock"], base_url=HOST, api_key=api_key)
    return Posting(
        upstream=upstream, endpoint="converse", model="us.anthropic.claude-v1:0", stream=stream, request_id="req_1", cut=cut
    )


def test_the_model_and_whether_to_stream_stand_in_the_url() -> None:
    whole, streamed = posted(b"{}", posting()), posted(b"{}", posting(stream=True))

    assert whole.url == f"{HOST}/model/us.anthropic.claude-v1%3A0/converse"
    assert streamed.url == f"{HOST}/model/us.anthropic.claude-v1%3A0/converse-stream"
    assert (whole.headers["accept"], streamed.headers["accept"]) == ("application/json", WIRES[0].stream_type)


def test_a_key_is_sent_and_without_one_nothing_that_opens_it() -> None:
    assert posted(b"{}", posting()).headers["authorization"] == "Bearer k"
    assert "authorization" not in posted(b"{}", posting(api_key=None)).headers


def test_of_a_body_in_its_own_protocol_only_what_is_for_the_gateway_is_cut_out() -> None:
    body = b'{"messages":[], "cache":{}}'

    assert passed(body, posting()).body is body
    assert passed(body, posting(cut=("cache",))).body == b'{"messages":[]}'


@pytest.mark.parametrize(("status", "meant"), [(400, 400), (403, 403), (424, 500), (429, 429), (503, 503)])
def test_a_model_that_failed_is_no_fault_of_the_request(status: int, meant: int) -> None:
    read = refusal(status, b'{"message":"no"}')

    assert (read.status, read.body.message) == (meant, "no")


def test_the_usage_of_a_whole_answer_is_read() -> None:
    body = b'{"output":{"message":{"content":[]}},"stopReason":"end_turn","usage":{"inputTokens":3,"outputTokens":4}}'

    read = peek(body, semantics_of("bedrock", "converse"))

    assert read.usage is not None
    assert (read.usage.input_tokens, read.usage.output_tokens) == (3, 4)
    assert read.usage_raw == b'{"inputTokens":3,"outputTokens":4}'
