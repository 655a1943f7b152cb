"""Anthropic's messages at Vertex AI: where they go, and what of a body changes."""

from __future__ import annotations

import json

from providers.anthropic.wire import passed, posted
from providers.openai.vendors import VENDORS
from providers.protocol import Posting
from providers.provider import Endpoint, Upstream

PLACE = "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1/publishers/anthropic"
UPSTREAM = Upstream(provider="vertex-anthropic", account="a", vendor=VENDORS["vertex-anthropic"], base_url=PLACE)
HEADERS = (("anthropic-version", "2023-06-01"), ("anthropic-beta", "b"))


def posting(endpoint: Endpoint = "messages", *, stream: bool = False) -> Posting:
    return Posting(
        upstream=UPSTREAM,
        endpoint=endpoint,
        model="claude-sonnet-4-5@20250929",
        stream=stream,
        request_id="req_1",
        headers=HEADERS,
        asked_model="smart",
    )


def test_the_model_goes_into_the_url_and_the_version_into_the_body() -> None:
    sent = passed(b'{"model":"smart","max_tokens":1.0,"messages":[]}', posting())

    assert sent.url == f"{PLACE}/models/claude-sonnet-4-5@20250929:rawPredict"
    assert sent.body == b'{"max_tokens":1.0,"messages":[],"anthropic_version":"vertex-2023-10-16"}'
    assert sent.headers["anthropic-beta"] == "b"
    assert not {"anthropic-version", "x-api-key", "authorization"} & set(sent.headers)


def test_a_stream_is_another_method() -> None:
    assert posted(b'{"stream":true}', posting(stream=True)).url.endswith(":streamRawPredict")


def test_tokens_are_counted_by_a_model_of_its_own() -> None:
    sent = passed(b'{"model":"smart","messages":[]}', posting("messages/count_tokens"))

    assert sent.url == f"{PLACE}/models/count-tokens:rawPredict"
    assert json.loads(sent.body)["model"] == "claude-sonnet-4-5@20250929"
