"""Requests to Anthropic's endpoints: where they go, what opens them, and what of a client's own body changes."""

from __future__ import annotations

import json

import pytest

from providers.anthropic.wire import passed, posted, refusal
from providers.openai.vendors import VENDORS
from providers.protocol import Posting
from providers.provider import Endpoint, Upstream

UPSTREAM = Upstream(provider="anthropic", account="a", vendor=VENDORS["anthropic"], base_url="http://a.invalid/v1", api_key="k")


def posting(endpoint: Endpoint = "messages", *headers: tuple[str, str], cut: tuple[str, ...] = ()) -> Posting:
    return Posting(
        upstream=UPSTREAM,
        endpoint=endpoint,
        model="claude",
        stream=False,
        request_id="req_1",
        headers=headers,
        asked_model="anthropic/claude",
        cut=cut,
    )


def test_only_the_models_name_of_the_clients_body_changes() -> None:
    sent = passed(b'{ "model" : "anthropic/claude", "max_tokens":1.0 }', posting())

    assert sent.url == "http://a.invalid/v1/messages"
    assert sent.body == b'{ "model" : "claude", "max_tokens":1.0 }'


def test_the_key_and_a_version_open_it() -> None:
    headers = posted(b"{}", posting("messages/count_tokens")).headers

    assert (headers["x-api-key"], headers["anthropic-version"]) == ("k", "2023-06-01")
    assert "authorization" not in headers


def test_the_clients_own_version_and_betas_go_on() -> None:
    headers = passed(
        b'{"model":"x"}', posting("messages", ("anthropic-version", "2024-01-01"), ("anthropic-beta", "b"))
    ).headers

    assert (headers["anthropic-version"], headers["anthropic-beta"]) == ("2024-01-01", "b")


def test_what_is_for_the_gateway_is_cut_out() -> None:
    assert passed(b'{"model":"anthropic/claude","cache":{}}', posting(cut=("cache",))).body == b'{"model":"claude"}'


def said(message: str) -> bytes:
    error = {"type": "invalid_request_error", "message": message}
    return json.dumps({"type": "error", "error": error, "request_id": "req_011CbrFTcXhtiMzr3s6EocF7"}).encode()


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to purchase credits.",
            402,
        ),
        ("You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.", 402),
        ("max_tokens: Field required", 400),
        ("messages.0.content: 'Your credit balance is too low' is not of type 'array'", 400),
    ],
)
def test_an_account_without_credit_is_no_wrong_request(message: str, status: int) -> None:
    found = refusal(400, said(message))

    assert (found.status, found.body.message) == (status, message)
