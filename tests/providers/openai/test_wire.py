"""What is asked of an upstream that speaks chat completions, for a client that does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.anthropic import request as anthropic
from providers.canonical import Request
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


def hinted(**more: Any) -> Request:
    hint = {"cache_control": {"type": "ephemeral"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "ok", **hint}], **hint}
    body = {
        "model": "m",
        "max_tokens": 5,
        "system": [{"type": "text", "text": "be brief", **hint}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", **hint}, result]}],
        "tools": [{"name": "f", "input_schema": {}, **hint}],
        **more,
    }
    return anthropic.decode(body)


def test_cache_hints_go_only_to_those_who_take_them() -> None:
    plain = CHAT.encode_request(hinted(), Ability())
    taking = CHAT.encode_request(hinted(), Ability(cache_hints=True))

    assert "cache_control" not in json.dumps(plain)
    assert plain["messages"][0] == {"role": "system", "content": "be brief"}
    assert json.dumps(taking).count("cache_control") == 4


def test_a_users_name_that_is_too_long_becomes_one_that_is_not() -> None:
    long, other = ("x" * 65, "y" * 65)

    names = [CHAT.encode_request(hinted(metadata={"user_id": it}), Ability())["user"] for it in ("u" * 64, long, long, other)]

    assert names[0] == "u" * 64
    assert names[1] == names[2] != names[3]
    assert {len(it) for it in names} == {64}


@pytest.mark.parametrize(("tier", "expected"), [("auto", "auto"), ("standard_only", "default"), ("other", None)])
def test_a_service_tier_has_its_name_here(tier: str, expected: str | None) -> None:
    assert CHAT.encode_request(hinted(service_tier=tier), Ability()).get("service_tier") == expected
