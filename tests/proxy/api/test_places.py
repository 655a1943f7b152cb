"""The paths of all inference, in one table."""

from __future__ import annotations

import pytest

from providers.provider import INNER, Endpoint, protocol_of
from providers.registry import WIRES
from proxy.api.paths import INFERENCE
from proxy.api.places import METHODS, PLACES, meant, of_line


def test_every_path_is_described_and_leads_to_what_a_client_may_call() -> None:
    described = {path for path, methods in INFERENCE.items() if "post" in methods and "{" not in path}

    assert set(PLACES) == described
    assert set(PLACES.values()) <= set(WIRES) - INNER
    assert {endpoint for endpoint, _ in METHODS.values()} == {it for it in WIRES if protocol_of(it) == "gemini"}


@pytest.mark.parametrize(
    ("line", "endpoint"),
    [
        *((f"POST {path} HTTP/1.1", endpoint) for path, endpoint in PLACES.items()),
        ("POST /v1beta/models/gemini-2.5-pro:countTokens HTTP/1.1", "generateContent"),
        ("POST /v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse HTTP/1.1", "generateContent"),
        ("POST /v1/chat/completions HTTP/1.0", None),
        ("POST /v1/chat/completionsx HTTP/1.1", None),
        ("POST /v1/chat/completions?x=1 HTTP/1.1", None),
        ("POST /v1beta/models/x:generateContent?key=y HTTP/1.1", None),
        ("POST /v1/chatXcompletions HTTP/1.1", None),
        ("GET /v1/messages HTTP/1.1", None),
    ],
)
def test_a_plain_first_line_says_which_it_is(line: str, endpoint: Endpoint | None) -> None:
    assert of_line(line.encode() + b"\r\nHost: h\r\n\r\n") == endpoint


MEANT = {
    "/chat/completions": "/v1/chat/completions",
    "/v1/chat/completions/": "/v1/chat/completions",
    "//v1/chat/completions": "/v1/chat/completions",
    "/v1//chat/completions": "/v1/chat/completions",
    "/v1/v1/messages": "/v1/messages",
    "/messages/count_tokens": "/v1/messages/count_tokens",
    "/models": "/v1/models",
    "/openai/v1/responses": "/v1/responses",
    "/anthropic/v1/messages": "/v1/messages",
    "/api/v1/embeddings": "/v1/embeddings",
    "/behind/a/proxy/v1/chat/completions": "/v1/chat/completions",
    "/v1beta/openai/chat/completions": "/v1/chat/completions",
    "/v1/v1beta/models/m:generateContent": "/v1beta/models/m:generateContent",
    "/gemini/v1beta/models": "/v1beta/models",
    "/models/a/b:streamGenerateContent": "/v1beta/models/a/b:streamGenerateContent",
    "/v1beta/openai/gpt-5:generateContent": "/v1beta/models/openai/gpt-5:generateContent",
    "/v1beta/my-vllm/a/b:streamGenerateContent": "/v1beta/models/my-vllm/a/b:streamGenerateContent",
    "/files/file-1/content": "/v1/files/file-1/content",
}


@pytest.mark.parametrize("path", MEANT)
def test_a_base_url_with_too_much_or_too_little_in_it_is_understood(path: str) -> None:
    assert meant(path) == (MEANT[path], "")


@pytest.mark.parametrize(
    "path",
    [
        *PLACES,
        *(path for path in INFERENCE if "{" not in path and path != "/v1/realtime"),
        "/",
        "/v1",
        "/livez",
        "/docs/static/a",
        "/admin/v1/keys",
        "/v1/receipts/req_1",
        "/v1/rankings",
        "/v2/chat",
        "/nothing/chat/completions",
        "/v1/models/v1/chat",
        "/openai/deployments/m",
        "/openai/deployments/m/nothing",
    ],
)
def test_every_other_path_is_left_as_it_is(path: str) -> None:
    assert meant(path) == (path, "")


@pytest.mark.parametrize("name", ["gpt-4o", "openai/gpt-5", "a/b/c"])
def test_a_deployment_of_azures_is_a_model(name: str) -> None:
    assert meant(f"/openai/deployments/{name}/chat/completions") == ("/v1/chat/completions", name)
