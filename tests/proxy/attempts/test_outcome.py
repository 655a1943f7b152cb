"""What a provider's failure is taken for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.errors import (
    ConnectFailed,
    ConnectTimedOut,
    Disconnected,
    ErrorBody,
    FirstByteTimedOut,
    IdleTimedOut,
    InvalidResponse,
    NoCredentials,
    ProviderError,
    Refused,
    RefusedInBody,
    TlsFailed,
    TotalTimedOut,
)
from providers.registry import WIRES
from proxy.attempts.outcome import another_may_help, detour_of, fault_of, refused, translated
from proxy.call import Detour, Fault
from proxy.errors import ClientClosed, LedgerUnavailable, ProxyError, UpstreamAuth, UpstreamRateLimited

CHAT = WIRES["chat/completions"]
GENERATE = WIRES["generateContent"]
MESSAGES = WIRES["messages"]


def said(status: int, **fields: Any) -> Refused:
    return Refused(status, ErrorBody(message="no", **fields))


CASES: list[tuple[ProviderError, str, Fault, bool]] = [
    (ConnectFailed("x"), "no_healthy_upstream", "upstream", True),
    (ConnectTimedOut("x"), "upstream_timeout", "timeout", True),
    (NoCredentials("x"), "upstream_auth", "account", True),
    (TlsFailed("x"), "upstream_error", "upstream", True),
    (FirstByteTimedOut("x"), "upstream_timeout", "timeout", True),
    (IdleTimedOut("x"), "upstream_timeout", "timeout", True),
    (TotalTimedOut("x"), "upstream_timeout", "timeout", False),
    (Disconnected("x"), "upstream_error", "upstream", True),
    (InvalidResponse("x"), "upstream_invalid_response", "upstream", True),
    (RefusedInBody(ErrorBody(message="x")), "upstream_invalid_response", "upstream", True),
    (said(400), "upstream_refused", "request", False),
    (said(404), "upstream_refused", "request", False),
    (said(401), "upstream_auth", "account", True),
    (said(402), "upstream_auth", "account", True),
    (said(403), "upstream_auth", "account", True),
    (said(408), "upstream_timeout", "timeout", True),
    (said(429), "rate_limit_exceeded", "rate_limit", True),
    (said(429, code="insufficient_quota"), "upstream_auth", "account", True),
    (said(429, type="enforced_spend_limit_reached"), "upstream_auth", "account", True),
    (said(500), "upstream_error", "upstream", True),
    (said(529), "upstream_error", "upstream", True),
]


@pytest.mark.parametrize(("error", "code", "fault", "curable"), CASES)
def test_each_failure_has_a_code_a_culprit_and_a_way_on(error: ProviderError, code: str, fault: Fault, curable: bool) -> None:
    told = translated(error)

    assert (told.code, fault_of(told), another_may_help(error)) == (code, fault, curable)


@pytest.mark.parametrize(("error", "fault"), [(None, ""), (ClientClosed("x"), "client"), (LedgerUnavailable("x"), "gateway")])
def test_what_is_not_the_providers_fault_is_not_laid_on_it(error: ProxyError | None, fault: Fault) -> None:
    assert fault_of(error) == fault


@pytest.mark.parametrize("status", [101, 201, 204, 302, 307])
def test_a_status_that_the_protocol_does_not_have_is_no_answer(status: int) -> None:
    assert type(refused(status, b"", None, CHAT)) is InvalidResponse


def test_an_error_status_keeps_what_was_said_and_when_to_ask_again() -> None:
    error = refused(429, b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}', 2.5, CHAT)

    assert isinstance(error, Refused)
    assert (error.status, error.body.message, error.retry_after_s) == (429, "slow down", 2.5)


LONG = [
    (400, {"code": "context_length_exceeded", "message": "no"}),
    (400, {"message": "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens."}),
    (400, {"type": "invalid_request_error", "message": "prompt is too long: 205000 tokens > 200000 maximum"}),
    (400, {"message": "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."}),
    (
        400,
        {"type": "exceed_context_size_error", "message": "the request exceeds the available context size"},
    ),
    (400, {"message": "Input is too long for requested model."}),
    (422, {"message": "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens"}),
    (413, {"message": "Your input exceeds the context window of this model."}),
]
UNWANTED = [
    (400, {"code": "content_policy_violation", "message": "no"}),
    (400, {"code": "content_filter", "message": "The response was filtered due to Azure OpenAI's content management policy."}),
    (400, {"message": "Your request was rejected as a result of our safety system, see our usage policies."}),
    (403, {"message": "Your chosen model requires moderation and your input was flagged for harassment."}),
]
NEITHER = [
    (400, {"code": "invalid_value", "message": "max_tokens is too large"}),
    (403, {"message": "You have no access to this model."}),
    (429, {"code": "context_length_exceeded", "message": "no"}),
    (500, {"message": "maximum context length"}),
]
DETOURS: list[tuple[int, dict[str, str], Detour | None]] = [
    *((status, fields, "context") for status, fields in LONG),
    *((status, fields, "content_policy") for status, fields in UNWANTED),
    *((status, fields, None) for status, fields in NEITHER),
]


@pytest.mark.parametrize(("status", "fields", "detour"), DETOURS)
def test_what_providers_say_of_length_and_content_is_understood(
    status: int, fields: dict[str, str], detour: Detour | None
) -> None:
    assert detour_of(Refused(status, ErrorBody(**fields))) == detour


def test_content_that_is_refused_with_a_403_is_not_laid_on_the_account() -> None:
    told = translated(said(403, code="moderation_blocked"))

    assert (told.code, fault_of(told)) == ("upstream_refused", "request")


def test_an_account_of_anthropics_without_credit_is_left_alone_as_a_whole() -> None:
    text = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade."
    body = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": text}}).encode()

    error = refused(400, body, None, MESSAGES)

    # What is the account's fault parks all of its deployments: tests/proxy/stages/test_circuit_breaker.py.
    assert (fault_of(translated(error)), another_may_help(error)) == ("account", True)


def test_a_provider_may_mean_another_status_and_say_in_the_body_when_to_ask_again() -> None:
    reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    key = json.dumps({"error": {"code": 400, "message": "API key not valid.", "details": [reason]}}).encode()
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}
    slow = json.dumps({"error": {"code": 429, "message": "slow down", "details": [delay]}}).encode()

    told = translated(refused(400, key, None, GENERATE))
    limited = translated(refused(429, slow, None, GENERATE))

    assert isinstance(told, UpstreamAuth)
    assert (type(limited), limited.retry_after_s) == (UpstreamRateLimited, 7.0)
