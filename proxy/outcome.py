"""What a provider's failure means: what the client is told of it, whose fault it was, whether another deployment may help."""

from __future__ import annotations

from collections.abc import Sequence

from providers.errors import (
    ConnectFailed,
    ConnectTimedOut,
    FirstByteTimedOut,
    IdleTimedOut,
    InvalidResponse,
    ProviderError,
    Refused,
    TlsFailed,
    TotalTimedOut,
)
from providers.openai import response
from proxy.call import Fault
from proxy.errors import (
    ClientClosed,
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
    if isinstance(error, ConnectTimedOut | FirstByteTimedOut | IdleTimedOut | TotalTimedOut):
        return UpstreamTimedOut(text)
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
)

_AUTH = frozenset({401, 402, 403})
_WAIT = frozenset({408, 429})


def _of_status(error: Refused) -> ProxyError:
    body = error.body
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
        return error.status >= 500 or error.status in _AUTH or error.status in _WAIT
    return not isinstance(error, TotalTimedOut)


def verdict(failures: Sequence[ProviderError]) -> ProxyError:
    """The last failure speaks for all; except that a rate limit, which passes by itself, outranks what does not.

    A fault of the request itself is the end of it, whoever else was busy.
    """
    last = translated(failures[-1])
    if isinstance(last, UpstreamRefused):
        return last
    limited = [it for it in map(translated, failures) if isinstance(it, UpstreamRateLimited)]
    if limited:
        return min(limited, key=lambda it: it.retry_after_s or 0)
    return last


def refused(status: int, body: bytes, retry_after_s: float | None) -> ProviderError:
    """What an answer with another status than 200 is."""
    if status < 400:
        return InvalidResponse(f"The upstream answered with status {status}, which the protocol does not have.")
    return Refused(status, response.error_body(body), retry_after_s=retry_after_s)
