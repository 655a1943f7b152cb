"""The paths of all inference, in one table."""

from __future__ import annotations

import pytest

from providers.provider import INNER, Endpoint, protocol_of
from providers.registry import WIRES
from proxy.api.paths import INFERENCE
from proxy.api.places import METHODS, PLACES, of_line


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
