"""What a provider's failure means: what the client is told of it, whose fault it was, whether another deployment may help."""

from __future__ import annotations

from collections.abc import Sequence

from providers.errors import (
    ConnectFailed,
    ConnectTimedOut,
    FirstByteTimedOut,
    IdleTimedOut,
    InvalidResponse,
    NoCredentials,
    ProviderError,
    Refused,
    RefusedInBody,
    SendTimedOut,
    TlsFailed,
    TotalTimedOut,
)
from providers.protocol import Wire
from proxy.call import Detour, Fault
from proxy.errors import (
    BudgetExceeded,
    ClientClosed,
    Hedged,
    NoHealthyUpstream,
    ProxyError,
    UpstreamAuth,
    UpstreamError,
    UpstreamInvalidResponse,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamTimedOut,
)

RETRY_AFTER_S = 5
"""What a client is told when nothing could be reached and nobody said when it will be."""


def translated(error: ProviderError) -> ProxyError:
    """What a client is told of an upstream's failure."""
    text = str(error)
    if isinstance(error, Refused):
        return _of_status(error)
    if isinstance(error, ConnectTimedOut | FirstByteTimedOut | IdleTimedOut | SendTimedOut | TotalTimedOut):
        return UpstreamTimedOut(text)
    if isinstance(error, NoCredentials):
        return UpstreamAuth(text)
    if isinstance(error, TlsFailed):
        return UpstreamError(text)
    if isinstance(error, ConnectFailed):
        return NoHealthyUpstream(text, retry_after_s=RETRY_AFTER_S)
    if isinstance(error, InvalidResponse):
        return UpstreamInvalidResponse(text)
    return UpstreamError(text)


def fault_of(error: ProxyError | None) -> Fault:
    """Whose fault a failure was, by what the client is told of it."""
    if error is None:
        return ""
    return next((fault for kind, fault in _FAULTS if isinstance(error, kind)), "gateway")


_FAULTS: tuple[tuple[type[ProxyError], Fault], ...] = (
    (UpstreamRefused, "request"),
    (UpstreamRateLimited, "rate_limit"),
    (UpstreamAuth, "account"),
    (UpstreamTimedOut, "timeout"),
    (UpstreamError, "upstream"),
    (UpstreamInvalidResponse, "upstream"),
    (NoHealthyUpstream, "upstream"),
    (ClientClosed, "client"),
    (BudgetExceeded, "client"),
    (Hedged, ""),
)

_AUTH = frozenset({401, 402, 403})


# What a request's own fault is called, by those whose context is too small for it and by those that will not have its
# content: in code, type or message.  Source: OpenAI's error codes; api.anthropic.com ("prompt is too long"), Gemini
# ("input token count"), vLLM, DeepSeek and Mistral ("maximum context length"), llama.cpp (exceed_context_size_error),
# Bedrock ("Input is too long"), TGI ("inputs` tokens"), Azure (content_filter), OpenRouter (403, "was flagged").
_DETOURS: tuple[tuple[Detour, frozenset[str], tuple[str, ...]], ...] = (
    (
        "context",
        frozenset({"context_length_exceeded", "exceed_context_size_error", "context_window_exceeded"}),
        (
            "maximum context length",
            "prompt is too long",
            "input token count",
            "input is too long",
            "context window",
            "context size",
            "`inputs` tokens + `max_new_tokens`",
        ),
    ),
    (
        "content_policy",
        frozenset({"content_policy_violation", "content_filter", "moderation_blocked", "responsibleaipolicyviolation"}),
        ("content management policy", "content policy", "usage policies", "was flagged"),
    ),
)
_OWN_FAULTS = frozenset({400, 403, 413, 422})


def detour_of(error: ProviderError) -> Detour | None:
    """Whether another model may take a request that this one refused for its length or for its content."""
    if not isinstance(error, Refused) or error.status not in _OWN_FAULTS:
        return None
    words = {(word or "").lower() for word in (error.body.code, error.body.type)}
    message = error.body.message.lower()
    for detour, names, parts in _DETOURS:
        if not words.isdisjoint(names) or any(part in message for part in parts):
            return detour
    return None


def may_be_asked_again(error: ProviderError) -> bool:
    """Whether the same deployment may answer a little later, and has done nothing yet that it could charge for."""
    return isinstance(error, Refused | RefusedInBody) and fault_of(translated(error)) in ("rate_limit", "upstream")


def _of_status(error: Refused) -> ProxyError:
    body = error.body
    if error.status == 403 and detour_of(error) == "content_policy":
        return UpstreamRefused(error.status, body.message, kind=body.type, param=body.param, code=body.code)
    if error.status in _AUTH or _is_quota(error):
        return UpstreamAuth("The provider refused the gateway's key or credit.")
    if error.status == 429:
        return UpstreamRateLimited(body.message, retry_after_s=error.retry_after_s or RETRY_AFTER_S)
    if error.status == 408:
        return UpstreamTimedOut(body.message)
    if error.status >= 500:
        return UpstreamError(body.message, retry_after_s=error.retry_after_s)
    return UpstreamRefused(error.status, body.message, kind=body.type, param=body.param, code=body.code)


def _is_quota(error: Refused) -> bool:
    """A 429 that waiting does not cure.  Source: OpenAI's error codes; Anthropic's spend limit."""
    words = {error.body.type, error.body.code}
    return error.status == 429 and not words.isdisjoint({"insufficient_quota", "enforced_spend_limit_reached"})


def another_may_help(error: ProviderError) -> bool:
    """Whether another deployment may answer what this one did not."""
    if isinstance(error, Refused):
        return fault_of(translated(error)) != "request"
    return not isinstance(error, TotalTimedOut)


def verdict(failures: Sequence[ProviderError]) -> ProxyError:
    """The last failure speaks for all; except that a rate limit, which passes by itself, outranks what does not.

    A fault of the request itself outranks everything, whoever else was busy.
    """
    told = [translated(failure) for failure in failures]
    own = [it for it in told if isinstance(it, UpstreamRefused)]
    if own:
        return own[0]
    limited = [it for it in told if isinstance(it, UpstreamRateLimited)]
    if limited:
        return min(limited, key=lambda it: it.retry_after_s or 0)
    return told[-1]


def refused(status: int, body: bytes, retry_after_s: float | None, wire: Wire) -> ProviderError:
    """What an answer with another status than 200 is.  wire: how it was asked."""
    if status < 400:
        return InvalidResponse(f"The upstream answered with status {status}, which the protocol does not have.")
    refusal = wire.refusal(status, body)
    after_s = refusal.retry_after_s if retry_after_s is None else retry_after_s
    return Refused(refusal.status, refusal.body, retry_after_s=after_s)
