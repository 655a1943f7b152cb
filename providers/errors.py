"""What can go wrong upstream.  ``transport`` and the protocols raise these and nothing else."""

from __future__ import annotations

import msgspec


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """What an upstream's error said, in OpenAI's four fields, cleaned and cut for forwarding."""

    message: str
    type: str | None = None
    param: str | None = None
    code: str | None = None


class ProviderError(Exception):
    """A try failed.

    sent: the whole request may have reached the provider, which may charge for it.
    """

    sent = True


class ConnectFailed(ProviderError):
    """No connection: refused, no such host, TLS failed, or too slow.  Nothing was sent."""

    sent = False


class ConnectTimedOut(ConnectFailed):
    """No connection in time.  Nothing was sent."""


class TlsFailed(ConnectFailed):
    """The upstream's identity could not be proven.  Nothing was sent."""


class NoCredentials(ProviderError):
    """What opens the account could not be had: no key, no profile, a token service that says no.  Nothing was sent."""

    sent = False


class FirstByteTimedOut(ProviderError):
    """The request was sent and no answer began in time."""


class IdleTimedOut(ProviderError):
    """The answer began and then nothing came for too long."""


class TotalTimedOut(ProviderError):
    """The answer took longer than the whole request may."""


class Disconnected(ProviderError):
    """The connection broke before the answer was whole."""


class CutShort(Disconnected):
    """The connection broke before all of the request was sent: whatever the provider has of it is no request."""

    sent = False


class SendTimedOut(ProviderError):
    """The provider stopped taking in the request, or all of the time there was went by in sending it."""

    sent = False


class InvalidResponse(ProviderError):
    """The answer is not what the protocol promises: framing, encoding, JSON, size, a redirect."""


class RefusedInBody(InvalidResponse):
    """An error that came inside a 200, with no usage beside it.  ``body``: what it said."""

    sent = False

    def __init__(self, body: ErrorBody) -> None:
        super().__init__(body.message)
        self.body = body


class Refused(ProviderError):
    """The upstream answered with an error status.

    status: 400 to 599.  body: what it said.  retry_after_s: when it wants to be asked again, if it says.
    """

    sent = False

    def __init__(self, status: int, body: ErrorBody, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status}: {body.message}")
        self.status = status
        self.body = body
        self.retry_after_s = retry_after_s
