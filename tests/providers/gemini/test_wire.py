"""Requests to Gemini's methods: where they go, what opens them, and what of a client's own body changes."""

from __future__ import annotations

import json

import pytest

from providers.errors import InvalidResponse, RefusedInBody
from providers.gemini.wire import passed, peek, resource
from providers.openai.vendors import VENDORS
from providers.protocol import Posting
from providers.provider import Endpoint, Upstream
from providers.usage import semantics_of

UPSTREAM = Upstream(provider="gemini", account="a", vendor=VENDORS["gemini"], base_url="http://g.invalid/v1beta", api_key="k")
SEMANTICS = semantics_of("gemini", "generateContent")


def posting(endpoint: Endpoint = "generateContent", *, stream: bool = False, model: str = "gemini-x") -> Posting:
    return Posting(
        upstream=UPSTREAM, endpoint=endpoint, model=model, stream=stream, request_id="req_1", asked_model="gemini/gemini-x"
    )


def test_a_request_goes_to_its_model_with_its_key() -> None:
    sent = passed(b'{"contents":[]}', posting())

    assert sent.url == "http://g.invalid/v1beta/models/gemini-x:generateContent"
    assert (sent.headers["x-goog-api-key"], "authorization" in sent.headers) == ("k", False)
    assert sent.body == b'{"contents":[]}'


def test_a_stream_is_asked_for_as_events() -> None:
    assert passed(b"{}", posting(stream=True)).url.endswith("/models/gemini-x:streamGenerateContent?alt=sse")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-2.5-flash", "models/gemini-2.5-flash"),
        ("models/gemini-2.5-flash", "models/gemini-2.5-flash"),
        ("tunedModels/mine-1", "tunedModels/mine-1"),
        ("../../admin", "models/..%2F..%2Fadmin"),
        ("x:countTokens?key=a#", "models/x%3AcountTokens%3Fkey%3Da%23"),
        ("é\r\n", "models/%C3%A9%0D%0A"),
        ("models/a/../../b", "models/models%2Fa%2F..%2F..%2Fb"),
    ],
)
def test_a_models_name_leads_nowhere_else(model: str, expected: str) -> None:
    assert resource(model) == expected


def test_the_models_name_is_exchanged_wherever_the_body_has_it() -> None:
    own = "models/gemini/gemini-x"
    body = {"requests": [{"model": own, "content": {"parts": [{"text": "a"}]}}, {"model": own, "taskType": "X"}]}

    sent = json.loads(passed(json.dumps(body).encode(), posting("batchEmbedContents")).body)

    assert [it["model"] for it in sent["requests"]] == ["models/gemini-x", "models/gemini-x"]
    assert sent["requests"][0]["content"] == body["requests"][0]["content"]


def test_the_models_name_is_exchanged_in_a_request_whose_tokens_are_counted() -> None:
    body = {"generateContentRequest": {"model": "models/gemini/gemini-x", "contents": []}}

    sent = json.loads(passed(json.dumps(body).encode(), posting("countTokens")).body)

    assert sent == {"generateContentRequest": {"model": "models/gemini-x", "contents": []}}


def test_a_text_that_says_model_changes_nothing() -> None:
    body = b'{"contents":[{"role":"model","parts":[{"text":"a \\"model\\""}]}]}'

    assert passed(body, posting()).body == body


def test_a_whole_answer_is_peeked_at() -> None:
    read = peek(b'{"modelVersion":"m","usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2}}', SEMANTICS)

    assert read.model == "m"
    assert read.usage is not None and (read.usage.input_tokens, read.usage.output_tokens) == (3, 2)


def test_an_error_inside_of_a_200_is_one() -> None:
    with pytest.raises(RefusedInBody):
        peek(b'{"error":{"message":"no","status":"INTERNAL"}}', SEMANTICS)


def test_what_is_no_object_is_no_answer() -> None:
    with pytest.raises(InvalidResponse):
        peek(b"[]", SEMANTICS)
