"""The error tree, and the only place that turns an error into a status and a body.

Every body has the shape of the client's protocol, OpenAI's ``{"error": {"message", "type", "param", "code"}}`` or
Anthropic's or Google's, whatever went wrong; an upstream's own body never passes.
"""

from __future__ import annotations

import asyncio
import math
from typing import ClassVar

import msgspec

from providers.provider import Endpoint, Protocol, protocol_of

RETRY_AFTER_MAX_S = 120
"""Above this the OpenAI SDKs do not retry at all."""


Headers = list[tuple[bytes, bytes]]


class ProxyError(Exception):
    """Something went wrong in Tollway itself; the request may be sent again.

    status, type, code: what the client is told.  should_retry: ``False`` sends ``x-should-retry: false``, because trying again
    cannot help or the chain of tries is spent.  closes: the connection is closed after the answer.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal_error"
    code: ClassVar[str] = "internal_error"
    should_retry: ClassVar[bool] = True
    closes: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.headers: Headers = []  # what is sent besides


# --- the request itself ------------------------------------------------------------------------------------------------


class InvalidRequest(ProxyError):
    """A field is missing, of the wrong type, or asks for what cannot be served."""

    status, type, code = 400, "invalid_request_error", "invalid_value"


class InvalidJson(InvalidRequest):
    """The body is not strict JSON: syntax, NaN, a duplicate key, depth, encoding."""

    code = "invalid_json"


class InvalidForm(InvalidRequest):
    """The body is not a multipart/form-data form, could be read as two different ones, or is cut off."""

    code = "invalid_form"


class InvalidHost(InvalidRequest):
    """The Host header is missing, malformed, or not one this server answers to."""

    code = "invalid_host"
    closes = True


class MalformedHttp(InvalidRequest):
    """The bytes on the connection are not an HTTP/1.1 request, or could be read in two ways."""

    code = "invalid_http"
    closes = True


class UnsupportedEncoding(InvalidRequest):
    """The request's body is not JSON, or compressed by other means than gzip and deflate."""

    status, code = 415, "unsupported_media_type"


class UnsupportedEndpoint(InvalidRequest):
    """The provider of this model does not serve this endpoint."""

    code = "unsupported_endpoint"


class UpgradeRequired(InvalidRequest):
    """The path is a WebSocket's, and the request is no handshake of one."""

    status, code = 426, "upgrade_required"


class RequestTooLarge(InvalidRequest):
    """The body is larger than ``server.max_body_bytes``."""

    status, code, closes = 413, "request_too_large", True


class RequestTimedOut(InvalidRequest):
    """The request took too long to arrive (``server.header_timeout_s``, ``server.body_timeout_s``)."""

    status, code, closes = 408, "request_timeout", True


class NotFound(InvalidRequest):
    """There is no such path or object."""

    status, code = 404, "not_found"


class MethodNotAllowed(InvalidRequest):
    """The path exists, and does not take this method."""

    status, code = 405, "method_not_allowed"


class ModelNotFound(InvalidRequest):
    """No provider is configured that serves this model, or several do and the name does not say which."""

    status, code = 404, "model_not_found"


class PreviousResponseNotFound(InvalidRequest):
    """No provider keeps this response for this API key: it was made by another one, deleted, never kept, or is too old."""

    code = "previous_response_not_found"


class NoCandidate(InvalidRequest):
    """No model meets what the request needs and what it, its policy and its key allow; each one's reason is told."""

    status, code, should_retry = 422, "no_candidate", False


class PriceUnknown(InvalidRequest):
    """No price is known for this model, and ``ledger.unknown_price: strict`` serves none without."""

    code = "price_unknown"


class KeyExists(InvalidRequest):
    """A live API key has this name already."""

    status, code = 409, "key_exists"


class NameTaken(InvalidRequest):
    """A user, team or budget like this exists already, or did once."""

    status, code = 409, "name_taken"


class InUse(InvalidRequest):
    """A user or team that still has live keys or users cannot be removed."""

    status, code = 409, "in_use"


class DeclaredElsewhere(InvalidRequest):
    """The configuration declares it, so that it is changed there."""

    status, code = 409, "declared"


class FeedbackGiven(InvalidRequest):
    """This source has said something else of this request before."""

    status, code = 409, "feedback_given"


class BatchNotMetered(InvalidRequest):
    """The answers of a batch cannot be deleted before it is known what they cost; that is soon after it has ended."""

    status, code, should_retry = 409, "batch_not_metered", True


class ResponseNotMetered(InvalidRequest):
    """A response that is made in the background cannot be deleted before it is known what it costs; cancel it first."""

    status, code, should_retry = 409, "response_not_metered", True


class FileNotFound(InvalidRequest):
    """This file is another API key's, or kept by another account than the request goes to."""

    code = "file_not_found"


class NotCached(InvalidRequest):
    """The request takes a kept answer only (``only-if-cached``), and there is none."""

    # Source: RFC 9111, section 5.2.1.7.
    status, code, should_retry = 504, "not_cached", False


class IdempotencyKeyReused(InvalidRequest):
    """An ``Idempotency-Key`` that was sent with another request within a day."""

    status, code, should_retry = 422, "idempotency_key_reused", False


class IdempotencyAnswerLost(InvalidRequest):
    """A request that was answered under its ``Idempotency-Key`` already, and the answer was too large to be kept."""

    status, code, should_retry = 409, "idempotency_answer_lost", False


# --- who asks ----------------------------------------------------------------------------------------------------------


class InvalidApiKey(ProxyError):
    """No API key, an unknown, a revoked or an expired one: the answer is the same."""

    status, type, code = 401, "authentication_error", "invalid_api_key"


class NotAllowed(ProxyError):
    """The key is good and may not use this model or route."""

    status, type, code = 403, "permission_error", "not_allowed"


class BudgetExceeded(ProxyError):
    """A budget of the key, its user, its team or the gateway has no room for this request in its period."""

    status, type, code, should_retry = 429, "insufficient_quota", "budget_exceeded", False


class BudgetBusy(ProxyError):
    """The rest of a budget is reserved by requests under way, or left to one at a time; there may be room in a moment."""

    status, type, code = 429, "rate_limit_error", "budget_busy"


class SessionExpired(ProxyError):
    """A session has been silent for too long, or has lasted for as long as one may (``realtime``); begin another."""

    status, type, code = 408, "invalid_request_error", "session_expired"


# --- limits ------------------------------------------------------------------------------------------------------------


class RateLimited(ProxyError):
    """A limit of the key, its user or team, the model, the gateway or the provider's accounts is reached for now."""

    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"


class RequestOverLimit(RateLimited):
    """The request has more tokens than a limit lets through at once, however long it waits."""

    code, should_retry = "tokens_over_limit", False


class Overloaded(ProxyError):
    """The gateway, or every provider of this model, has more to do than it can; requests of low priority go first."""

    status, type, code = 503, "service_unavailable", "overloaded"


# --- upstream ----------------------------------------------------------------------------------------------------------


class UpstreamError(ProxyError):
    """Every try failed at the provider: a server error, a broken connection."""

    status, type, code, should_retry = 502, "upstream_error", "upstream_error", False


class UpstreamInvalidResponse(UpstreamError):
    """The provider's answer was not what its protocol promises."""

    code = "upstream_invalid_response"


class UpstreamAuth(UpstreamError):
    """The provider refused the gateway's own key or credit.  The client's key is fine."""

    code = "upstream_auth"


class NoHealthyUpstream(UpstreamError):
    """No provider of this model could be reached."""

    status, code = 503, "no_healthy_upstream"


class UpstreamTimedOut(UpstreamError):
    """The provider took too long to connect, to begin, or to go on."""

    status, code = 504, "upstream_timeout"


class UpstreamRateLimited(RateLimited):
    """Every provider of this model is limiting the gateway's accounts just now."""


class UpstreamRefused(ProxyError):
    """The provider found fault with the request itself; its status, type, code and sentence are passed on."""

    status, type, code = 400, "invalid_request_error", "upstream_refused"
    should_retry = False

    def __init__(self, status: int, message: str, *, kind: str | None, param: str | None, code: str | None) -> None:
        super().__init__(message, param=param)
        self.sent_status = status
        self.sent_type = kind
        self.sent_code = code


# --- the gateway -------------------------------------------------------------------------------------------------------


class LedgerUnavailable(ProxyError):
    """The journal cannot be written, so nothing is sent that could not be accounted for."""

    status, type, code = 503, "service_unavailable", "ledger_unavailable"


class Draining(ProxyError):
    """The server is shutting down; another one will answer."""

    status, type, code = 503, "service_unavailable", "draining"


class FellBehind(ProxyError):
    """The client read too slowly to share an answer with others who asked the same; asked again, it gets its own."""

    status, type, code = 503, "service_unavailable", "fell_behind"


class ClientClosed(ProxyError):
    """The client left before the answer was whole.  Nobody receives this; the record keeps it."""

    status, type, code = 499, "client_closed", "client_closed"


class Hedged(ProxyError):
    """A try was given up because another one of the same request was answered first.  Nobody receives this; the record
    keeps it."""

    status, type, code = 499, "hedged", "hedged"


DRAINING = "draining"
"""What a request's task is cancelled with when the server can wait for it no longer; any other cancellation is the client's."""


HEDGED = "hedged"
"""What a try's task is cancelled with when another one of the same request has been answered."""


def of_cancellation(error: asyncio.CancelledError) -> ProxyError:
    """Why a request's task, or that of one of its tries, was cancelled."""
    if error.args == (HEDGED,):
        return Hedged("Another try was answered first.")
    if error.args == (DRAINING,):
        return Draining("The gateway is shutting down.", retry_after_s=1)
    return ClientClosed("The client left.")


# --- the mouth ---------------------------------------------------------------------------------------------------------


class _Error(msgspec.Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str | None


class _Envelope(msgspec.Struct, frozen=True):
    error: _Error


def status_of(error: ProxyError, protocol: Protocol = "openai") -> int:
    """The HTTP status that a client of that protocol is sent."""
    if isinstance(error, UpstreamRefused):
        return error.sent_status
    # It has one of its own for a server with too much to do.
    return 529 if protocol == "anthropic" and isinstance(error, Overloaded) else error.status


def to_openai(error: ProxyError) -> tuple[int, Headers, bytes]:
    """Status, extra headers and body, as OpenAI's API and its SDKs have them."""
    return _told(error, status_of(error), _body(error))


def to_openai_event(error: ProxyError) -> bytes:
    """The last event of a stream that failed after it began.  No ``[DONE]`` follows it."""
    return b"data: " + _body(error) + b"\n\n"


def to_realtime_event(error: ProxyError, event_id: str) -> bytes:
    """What a session is told that is over, or cannot go on.  Source: OpenAI's realtime server event ``error``, read 2026-11."""
    said = msgspec.json.decode(_body(error), type=_Envelope).error
    fields = {"type": said.type, "code": said.code, "message": said.message, "param": said.param, "event_id": None}
    return msgspec.json.encode({"type": "error", "event_id": event_id, "error": fields})


def to_client(error: ProxyError, protocol: Protocol, request_id: str) -> tuple[int, Headers, bytes]:
    """Status, extra headers and body, as a client of that protocol reads them."""
    if protocol == "openai":
        return to_openai(error)
    status = status_of(error, protocol)
    body = _anthropic(error, status, request_id) if protocol == "anthropic" else _google(error, status)
    status, headers, body = _told(error, status, body)
    # Their bodies have no place for it that programs could rely on.
    headers.append((b"x-tollway-error", error.code.encode()))
    return status, headers, body


def to_responses_event(error: ProxyError) -> bytes:
    """The same of the Responses API, whose events have a type.

    Its fields stand in it as the reference has them, and once more in ``error``: OpenAI's own SDKs raise when they see that.
    The number is none of the stream's: whoever cut it has not counted.
    Source: platform.openai.com/docs/api-reference/responses-streaming/error, read 2026-11.
    """
    said = msgspec.json.decode(_body(error), type=_Envelope).error
    fields = {"code": said.code, "message": said.message, "param": said.param}
    told = {"type": "error", "sequence_number": 0, **fields, "error": {"type": said.type, **fields}}
    return b"event: error\ndata: " + msgspec.json.encode(told) + b"\n\n"


def to_client_event(error: ProxyError, endpoint: Endpoint) -> bytes:
    """The last event of a stream of that endpoint that failed after it began."""
    protocol = protocol_of(endpoint)
    if protocol == "openai":
        return to_responses_event(error) if endpoint == "responses" else to_openai_event(error)
    status = status_of(error, protocol)
    if protocol == "anthropic":
        return b"event: error\ndata: " + _anthropic(error, status, "") + b"\n\n"
    return b"data: " + _google(error, status) + b"\r\n\r\n"


def _told(error: ProxyError, status: int, body: bytes) -> tuple[int, Headers, bytes]:
    headers: Headers = [(b"content-type", b"application/json")]
    if not error.should_retry:
        headers.append((b"x-should-retry", b"false"))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(_whole_seconds(error.retry_after_s)).encode()))
    if error.closes:
        headers.append((b"connection", b"close"))
    if isinstance(error, InvalidApiKey):
        headers.append((b"www-authenticate", b"Bearer"))
    headers += error.headers
    return status, headers, body


def _body(error: ProxyError) -> bytes:
    kind, code = error.type, error.code
    if isinstance(error, UpstreamRefused):
        return msgspec.json.encode(_Envelope(_Error(error.message, error.sent_type or kind, error.param, error.sent_code)))
    return msgspec.json.encode(_Envelope(_Error(error.message, kind, error.param, code)))


ANTHROPIC_TYPES: dict[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""What Anthropic calls an error of that status.  Source: platform.claude.com/docs/en/api/errors, read 2026-11."""

GOOGLE_STATUSES: dict[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""What Google calls an error of that status.  Source: google/rpc/code.proto, read 2026-11."""


def anthropic_type(status: int) -> str:
    """What Anthropic calls an error of that status."""
    return ANTHROPIC_TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")


def google_status(status: int) -> str:
    """What Google calls an error of that status."""
    return GOOGLE_STATUSES.get(status) or ("INTERNAL" if status >= 500 else "INVALID_ARGUMENT")


def _anthropic(error: ProxyError, status: int, request_id: str) -> bytes:
    sent = error.sent_type if isinstance(error, UpstreamRefused) else None
    kind = sent if sent in ANTHROPIC_TYPES.values() else anthropic_type(status)
    said = {"type": "error", "error": {"type": kind, "message": error.message}}
    return msgspec.json.encode({**said, "request_id": request_id} if request_id else said)


def _google(error: ProxyError, status: int) -> bytes:
    sent = error.sent_code if isinstance(error, UpstreamRefused) else None
    word = sent if sent in GOOGLE_STATUSES.values() else google_status(status)
    reason = sent or error.code
    details: list[dict[str, object]] = [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "tollway"}
    ]
    if error.retry_after_s is not None:
        delay = f"{_whole_seconds(error.retry_after_s)}s"
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    return msgspec.json.encode({"error": {"code": status, "message": error.message, "status": word, "details": details}})


def _whole_seconds(seconds: float) -> int:
    return min(max(math.ceil(seconds), 1), RETRY_AFTER_MAX_S)
