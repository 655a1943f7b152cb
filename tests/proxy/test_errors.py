"""One mouth for all errors: four keys, the right status, and headers that the SDKs obey."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import ResponseErrorEvent

from providers.provider import Protocol
from proxy import errors
from proxy.errors import (
    ANTHROPIC_TYPES,
    DRAINING,
    GOOGLE_STATUSES,
    RETRY_AFTER_MAX_S,
    ClientClosed,
    Draining,
    Overloaded,
    ProxyError,
    RateLimited,
    UpstreamRefused,
    of_cancellation,
    status_of,
    to_client,
    to_client_event,
    to_openai,
    to_openai_event,
)

TABLE = {
    "ProxyError": (500, "internal_error", "internal_error"),
    "InvalidRequest": (400, "invalid_request_error", "invalid_value"),
    "InvalidJson": (400, "invalid_request_error", "invalid_json"),
    "InvalidForm": (400, "invalid_request_error", "invalid_form"),
    "InvalidHost": (400, "invalid_request_error", "invalid_host"),
    "MalformedHttp": (400, "invalid_request_error", "invalid_http"),
    "UnsupportedEncoding": (415, "invalid_request_error", "unsupported_media_type"),
    "UnsupportedEndpoint": (400, "invalid_request_error", "unsupported_endpoint"),
    "UpgradeRequired": (426, "invalid_request_error", "upgrade_required"),
    "RequestTooLarge": (413, "invalid_request_error", "request_too_large"),
    "RequestTimedOut": (408, "invalid_request_error", "request_timeout"),
    "NotFound": (404, "invalid_request_error", "not_found"),
    "MethodNotAllowed": (405, "invalid_request_error", "method_not_allowed"),
    "ModelNotFound": (404, "invalid_request_error", "model_not_found"),
    "PreviousResponseNotFound": (400, "invalid_request_error", "previous_response_not_found"),
    "NoCandidate": (422, "invalid_request_error", "no_candidate"),
    "FeedbackGiven": (409, "invalid_request_error", "feedback_given"),
    "PriceUnknown": (400, "invalid_request_error", "price_unknown"),
    "NotCached": (504, "invalid_request_error", "not_cached"),
    "IdempotencyKeyReused": (422, "invalid_request_error", "idempotency_key_reused"),
    "IdempotencyAnswerLost": (409, "invalid_request_error", "idempotency_answer_lost"),
    "KeyExists": (409, "invalid_request_error", "key_exists"),
    "NameTaken": (409, "invalid_request_error", "name_taken"),
    "InUse": (409, "invalid_request_error", "in_use"),
    "DeclaredElsewhere": (409, "invalid_request_error", "declared"),
    "InvalidApiKey": (401, "authentication_error", "invalid_api_key"),
    "FileNotFound": (400, "invalid_request_error", "file_not_found"),
    "BatchNotMetered": (409, "invalid_request_error", "batch_not_metered"),
    "ResponseNotMetered": (409, "invalid_request_error", "response_not_metered"),
    "NotAllowed": (403, "permission_error", "not_allowed"),
    "UpstreamError": (502, "upstream_error", "upstream_error"),
    "UpstreamInvalidResponse": (502, "upstream_error", "upstream_invalid_response"),
    "UpstreamAuth": (502, "upstream_error", "upstream_auth"),
    "NoHealthyUpstream": (503, "upstream_error", "no_healthy_upstream"),
    "UpstreamTimedOut": (504, "upstream_error", "upstream_timeout"),
    "UpstreamRateLimited": (429, "rate_limit_error", "rate_limit_exceeded"),
    "UpstreamRefused": (400, "invalid_request_error", "upstream_refused"),
    "BudgetExceeded": (429, "insufficient_quota", "budget_exceeded"),
    "BudgetBusy": (429, "rate_limit_error", "budget_busy"),
    "SessionExpired": (408, "invalid_request_error", "session_expired"),
    "RateLimited": (429, "rate_limit_error", "rate_limit_exceeded"),
    "RequestOverLimit": (429, "rate_limit_error", "tokens_over_limit"),
    "Overloaded": (503, "service_unavailable", "overloaded"),
    "LedgerUnavailable": (503, "service_unavailable", "ledger_unavailable"),
    "FellBehind": (503, "service_unavailable", "fell_behind"),
    "Draining": (503, "service_unavailable", "draining"),
    "ClientClosed": (499, "client_closed", "client_closed"),
    "Hedged": (499, "hedged", "hedged"),
}
# Trying again cannot help, or the chain of tries is spent.
FINAL = {
    "NoCandidate",
    "IdempotencyKeyReused",
    "IdempotencyAnswerLost",
    "BudgetExceeded",
    "NotCached",
    "UpstreamError",
    "UpstreamInvalidResponse",
    "UpstreamAuth",
    "NoHealthyUpstream",
    "UpstreamTimedOut",
    "UpstreamRefused",
    "RequestOverLimit",
}
# What is left on the connection cannot be trusted to be the next request.
CLOSING = {"InvalidHost", "MalformedHttp", "RequestTooLarge", "RequestTimedOut"}


def tree(kind: type[ProxyError]) -> list[type[ProxyError]]:
    """The class and all below it that the contract speaks of; those of single edges stay theirs."""
    return [kind, *(below for child in kind.__subclasses__() if child.__module__ == errors.__name__ for below in tree(child))]


KINDS = sorted(set(tree(ProxyError)), key=lambda kind: kind.__name__)


def made(kind: type[ProxyError], message: str = "what went wrong", retry_after_s: float | None = None) -> ProxyError:
    if issubclass(kind, UpstreamRefused):
        return kind(400, message, kind=None, param=None, code=kind.code)
    return kind(message, retry_after_s=retry_after_s)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_its_status_type_and_code(kind: type[ProxyError]) -> None:
    status, _, body = to_openai(made(kind))

    said = json.loads(body)["error"]
    assert (status, said["type"], said["code"]) == TABLE[kind.__name__]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_the_envelope_of_four_keys(kind: type[ProxyError]) -> None:
    _, headers, body = to_openai(made(kind))

    said = json.loads(body)
    assert list(said) == ["error"]
    assert list(said["error"]) == ["message", "type", "param", "code"]
    assert (said["error"]["message"], said["error"]["param"]) == ("what went wrong", None)
    assert dict(headers)[b"content-type"] == b"application/json"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_says_whether_it_is_of_use_to_try_again(kind: type[ProxyError]) -> None:
    headers = dict(to_openai(made(kind))[1])

    assert headers.get(b"x-should-retry") == (b"false" if kind.__name__ in FINAL else None)
    assert headers.get(b"connection") == (b"close" if kind.__name__ in CLOSING else None)
    assert headers.get(b"www-authenticate") == (b"Bearer" if kind.__name__ == "InvalidApiKey" else None)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_says_what_it_is_in_its_docstring(kind: type[ProxyError]) -> None:
    assert kind.__doc__
    assert re.fullmatch(r"[a-z][a-z_]+", kind.code)


def test_no_two_errors_share_a_code_but_by_descent() -> None:
    codes = [kind.code for kind in KINDS if "code" in vars(kind)]

    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, b"1"),
        (0.001, b"1"),
        (1, b"1"),
        (1.001, b"2"),
        (59.5, b"60"),
        (120, b"120"),
        (120.1, b"120"),
        (1e15, b"120"),
        (-5, b"1"),
    ],
)
def test_when_to_come_back_is_whole_seconds_that_the_sdks_obey(seconds: float, said: bytes) -> None:
    headers = dict(to_openai(made(errors.UpstreamRateLimited, retry_after_s=seconds))[1])

    assert headers[b"retry-after"] == said
    assert 1 <= int(said) <= RETRY_AFTER_MAX_S


def test_without_a_time_to_come_back_none_is_told() -> None:
    assert b"retry-after" not in dict(to_openai(made(errors.UpstreamRateLimited))[1])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_last_event_of_a_stream_has_the_same_body(kind: type[ProxyError]) -> None:
    event = to_openai_event(made(kind))

    assert event == b"data: " + to_openai(made(kind))[2] + b"\n\n"
    assert event.count(b"\n") == 2


def test_a_provider_that_refuses_the_request_is_quoted_in_our_envelope() -> None:
    refusal = UpstreamRefused(422, "too long", kind="validation_error", param="messages", code="length")

    status, headers, body = to_openai(refusal)

    assert status == status_of(refusal) == 422
    assert json.loads(body)["error"] == {
        "message": "too long",
        "type": "validation_error",
        "param": "messages",
        "code": "length",
    }
    assert (b"x-should-retry", b"false") in headers


def test_a_provider_that_gives_no_type_or_code_leaves_ours_and_none() -> None:
    said = json.loads(to_openai(UpstreamRefused(404, "no", kind=None, param=None, code=None))[2])["error"]

    assert (said["type"], said["code"]) == ("invalid_request_error", None)


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.none() | st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_stays_one_line_of_json(message: str, param: str | None) -> None:
    event = to_openai_event(ProxyError(message, param=param))

    said = json.loads(event.removeprefix(b"data: "))["error"]
    assert (said["message"], said["param"]) == (message, param)
    assert event.splitlines()[1:] == [b""] or event.count(b"\n") == 2


def test_a_request_is_cut_by_the_server_or_else_by_its_client() -> None:
    draining, left, other = (of_cancellation(asyncio.CancelledError(*args)) for args in ((DRAINING,), (), ("another",)))

    assert isinstance(draining, Draining)
    assert draining.retry_after_s == 1
    assert isinstance(left, ClientClosed)
    assert isinstance(other, ClientClosed)


# --- in the words of other protocols ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("protocol", ["anthropic", "gemini"])
def test_every_error_has_the_shape_of_the_clients_protocol(kind: type[ProxyError], protocol: Protocol) -> None:
    error = made(kind)

    status, headers, body = to_client(error, protocol, "req_1")

    said = json.loads(body)
    assert status == status_of(error, protocol)
    assert (b"x-tollway-error", error.code.encode()) in headers
    if protocol == "anthropic":
        assert (said["type"], said["request_id"], said["error"]["message"]) == ("error", "req_1", error.message)
        assert said["error"]["type"] in ANTHROPIC_TYPES.values()
    else:
        assert (said["error"]["code"], said["error"]["message"]) == (status, error.message)
        assert said["error"]["status"] in GOOGLE_STATUSES.values()
    event = to_client_event(error, "messages" if protocol == "anthropic" else "generateContent")
    assert json.loads(event.split(b"data: ")[1])["error"]["message"] == error.message


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_stream_of_the_responses_api_ends_with_an_event_that_has_a_type_and_at_which_the_sdk_raises(
    kind: type[ProxyError],
) -> None:
    error = made(kind)

    event = to_client_event(error, "responses")

    name, data = event.decode().removesuffix("\n\n").split("\n")
    told = json.loads(data.removeprefix("data: "))
    parsed = ResponseErrorEvent.model_validate(told)
    assert name == "event: error"
    assert (parsed.type, parsed.code, parsed.message) == ("error", told["error"]["code"], error.message)
    assert {**told["error"], "type": None} == {**json.loads(to_openai_event(error)[6:])["error"], "type": None}


def test_what_the_provider_called_it_is_kept_where_the_client_knows_the_word() -> None:
    refused = UpstreamRefused(400, "no", kind="billing_error", param=None, code="FAILED_PRECONDITION")

    assert b'"billing_error"' in to_client(refused, "anthropic", "req_1")[2]
    assert b'"INVALID_ARGUMENT"' in to_client(refused, "gemini", "req_1")[2]
    assert b'"reason":"FAILED_PRECONDITION"' in to_client(refused, "gemini", "req_1")[2]


def test_too_much_to_do_has_a_status_of_its_own_at_anthropic() -> None:
    assert [status_of(Overloaded("busy"), it) for it in ("openai", "anthropic", "gemini")] == [503, 529, 503]


def test_geminis_clients_are_told_when_to_ask_again() -> None:
    body = json.loads(to_client(RateLimited("slow", retry_after_s=3.2), "gemini", "")[2])

    assert body["error"]["details"][1]["retryDelay"] == "4s"
