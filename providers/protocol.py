"""What a protocol is made of: pure functions of one shape, so that N clients' and M providers' need N + M translations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import msgspec

from providers.canonical import NOTHING, EmbeddingRequest, EmbeddingResponse, Event, Family, Request, Response
from providers.errors import ErrorBody
from providers.provider import Answer, Endpoint, HttpRequest, Upstream
from providers.thinking import ANY, Thinking
from providers.usage import Semantics, Usage

Kind = Literal[
    "chat", "text", "embedding", "count", "compaction", "moderation", "image", "speech", "transcript", "rerank", "session"
]
"""What an endpoint does: those of one kind can be translated into each other, if they have a codec."""


class Ability(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment's model can do, as far as a request to it depends on that.

    output_max: the most tokens of an answer, said where the protocol demands a bound and the client set none.
    output_most: the most that it gives, if a list says so.
    thinking: what it can be told about that.  cache_hints: it takes Anthropic's hints in OpenAI's protocol.
    caches: what is worth keeping may be marked, where the protocol has marks; only of who is known not to it is not.
    newer_bound: it takes OpenAI's ``max_completion_tokens``.  asks_usage: a stream's usage has to be asked for (OpenAI).
    """

    output_max: int = 4_096
    output_most: int | None = None
    thinking: Thinking = ANY
    cache_hints: bool = False
    caches: bool = True
    newer_bound: bool = False
    asks_usage: bool = False


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is told besides the answer.

    model: what answered.  created_s: the time, where the provider did not say it.
    include_usage: whether it wants a stream's usage, where that is for it to say.
    id: of the request; for answers that the provider gave no id.  asked: the client's request, where an answer repeats it.
    """

    model: str
    created_s: int
    include_usage: bool = True
    id: str = ""
    asked: Mapping[str, Any] = NOTHING


class Decoder(Protocol):
    """A provider's stream as events; any split of its bytes gives the same ones."""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completed.  Raises: InvalidResponse."""
        ...

    def finish(self) -> list[Event]:
        """The upstream closed the stream.  Without an ``Ended`` it was cut off."""
        ...

    def pending(self) -> list[Event]:
        """What has come and has not been told, since more of it is on its way: for a stream that is cut off here."""
        ...


class Encoder(Protocol):
    """Events as a client's stream."""

    def feed(self, event: Event) -> bytes:
        """What the client is sent for an event; often nothing."""
        ...


def _anywhere(request: Request) -> Request:
    """Nothing in a request ties it to who knows its protocol."""
    return request


class Codec(msgspec.Struct, frozen=True, kw_only=True):
    """A protocol to and from the canonical form.

    drops: a request's fields that have no place in the canonical form, and without which the answer is still the one that
    was asked for; with any other such field the request is refused where another protocol is spoken.
    leave: a request as it may be taken to another protocol.  Raises: Unsupported, for what would not be missed only by who
    cannot read it; Malformed.
    decode_request: a client's JSON, the model and whether to stream, as the edge read them.  Raises: Malformed.
    encode_request: JSON for a provider.  Raises: Unsupported.
    decode_answer: a provider's 200.  Raises: InvalidResponse, RefusedInBody.   encode_answer: the body for a client.
    decoder, encoder: of streams.
    """

    family: Family
    drops: frozenset[str]
    decode_request: Callable[[Mapping[str, Any], str, bool], Request]
    encode_request: Callable[[Request, Ability], dict[str, Any]]
    decode_answer: Callable[[bytes, Semantics], Response]
    encode_answer: Callable[[Response, Told], bytes]
    decoder: Callable[[Semantics], Decoder]
    encoder: Callable[[Told], Encoder]
    leave: Callable[[Request], Request] = _anywhere


class EmbeddingCodec(msgspec.Struct, frozen=True, kw_only=True):
    """The same of an endpoint that makes vectors of texts."""

    drops: frozenset[str]
    decode_request: Callable[[Mapping[str, Any], str], EmbeddingRequest]
    encode_request: Callable[[EmbeddingRequest], dict[str, Any]]
    decode_answer: Callable[[bytes, Semantics], EmbeddingResponse]
    encode_answer: Callable[[EmbeddingResponse, Told], bytes]


class CountCodec(msgspec.Struct, frozen=True, kw_only=True):
    """The same of an endpoint that counts a chat's tokens, and answers nothing else.

    leave: as ``Codec`` has it.
    decode_answer: the number.  Raises: InvalidResponse, RefusedInBody.
    """

    drops: frozenset[str]
    decode_request: Callable[[Mapping[str, Any], str], Request]
    encode_request: Callable[[Request, Ability], dict[str, Any]]
    decode_answer: Callable[[bytes], int]
    encode_answer: Callable[[int], bytes]
    leave: Callable[[Request], Request] = _anywhere


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """Where a body goes, and what of it has to change on the way if it is the client's own.

    headers: those of the client's that its protocol lets through.  asked_model: what the client's body calls the model.
    ask_usage: a stream is to report its usage although the client did not ask.  stream_options: it sent some of its own.
    cut: fields at the top that are not for the upstream.
    """

    upstream: Upstream
    endpoint: Endpoint
    model: str
    stream: bool
    request_id: str
    headers: tuple[tuple[str, str], ...] = ()
    asked_model: str = ""
    ask_usage: bool = False
    stream_options: bool = False
    cut: tuple[str, ...] = ()


class Reader(Protocol):
    """A stream on its way to the client: takes the upstream's bytes, gives what to pass on, keeps what metering needs.

    done: the end was seen; nothing after it is passed on.  closing: its bytes, held back by ``feed``.
    finished: a reason to have finished was seen; truncated: it was that the answer had come to its length.
    usage: the last credible one.  usage_raw: the provider's own object.
    model: what answered; ``?``: nobody says.  error: what the upstream's own error event said; the stream ends there.
    id: of a response that the upstream may keep; empty: it keeps none, or has not said so yet.
    """

    done: bool
    finished: bool
    truncated: bool
    closing: bytes
    model: str
    id: str
    error: ErrorBody | None

    @property
    def usage(self) -> Usage | None:
        """The usage, if the upstream has reported any."""
        ...

    @property
    def usage_raw(self) -> bytes:
        """The provider's own object; empty if there was none."""
        ...

    @property
    def output_tokens(self) -> int:
        """About how many have come."""
        ...

    def feed(self, chunk: bytes) -> bytes:
        """The whole events that ``chunk`` ended, ready to be passed on; often none.  Raises: InvalidResponse."""
        ...

    def finish(self) -> bool:
        """The upstream ended the stream; whether it was whole."""
        ...

    def complete(self) -> None:
        """It had finished and its terminator is missing: put one into ``closing``."""
        ...


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What an error answer means.  status: in HTTP's sense, where the provider's own says something else."""

    status: int
    body: ErrorBody
    retry_after_s: float | None = None


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """How one endpoint is spoken to an upstream, and what its answers mean.

    lets_through: the client's headers that go on where both sides speak it.
    passed: the client's own bytes, sent on.  posted: a body of ours.
    peek: the metered side of a whole answer.  Raises: InvalidResponse, RefusedInBody.
    tap: reads a stream that passes untouched; ``True``: takes out the usage that came only because it was asked for.
    ``None``: no client speaks it, so that none does.
    refusal: what a status of 400 or more and its body mean.
    free: nobody charges for it.   codec: translates it, if there is one.   stream_type: what its streams are called.
    json_streams: they may come as JSON too, and its readers can tell.
    plain: content-types of whole answers that are no JSON, and tell nothing but themselves.
    opaque: reads an answer to a request for a stream that is neither events nor JSON, such as sound.
    answer_max_bytes: of a whole answer.
    """

    endpoint: Endpoint
    kind: Kind
    passed: Callable[[bytes, Posting], HttpRequest]
    posted: Callable[[bytes, Posting], HttpRequest]
    peek: Callable[[bytes, Semantics], Answer]
    tap: Callable[[bool, Semantics], Reader] | None
    refusal: Callable[[int, bytes], Refusal]
    lets_through: frozenset[bytes] = frozenset()
    free: bool = False
    stream_type: str = "text/event-stream"
    json_streams: bool = False
    codec: Codec | EmbeddingCodec | CountCodec | None = None
    plain: frozenset[str] = frozenset()
    opaque: Callable[[], Reader] | None = None
    answer_max_bytes: int = 64 * 1024 * 1024
