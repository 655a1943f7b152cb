"""What travels through the pipeline: a Call on its way in, a Reply on its way back, one Attempt for each try."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol

import msgspec

from ledger.records import NO_PIECES, Pieces
from providers.canonical import EmbeddingRequest, ReasoningAsk, Request
from providers.provider import Body, Endpoint, Upstream
from providers.registry import way
from providers.usage import Usage
from proxy.errors import Headers, ProxyError


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How fast something may be used; ``None``: as fast as it likes.  concurrent: requests under way at once."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling.

    user, team: whom the key belongs to; empty: nobody in particular.
    models: glob patterns of what the key may use; endpoints: names of what it may call; empty: everything.
    owner_models: the patterns of its user and of its team; each of them has to allow a model, too.
    rates: of the key itself; its user and team have their own.
    priority: ``high``, ``normal`` or ``low``: who goes first when there is not room for all.
    disconnect: what becomes of a stream whose client leaves: ``cancel``, ``drain``, or ``drain:N`` (at most N more tokens).
    durability: what its entries must outlive: ``process``, ``power``, or empty: what the ledger's do.
    """

    key_id: str
    name: str
    admin: bool = False
    user: str = ""
    team: str = ""
    models: tuple[str, ...] = ()
    owner_models: tuple[tuple[str, ...], ...] = ()
    endpoints: tuple[str, ...] = ()
    rates: Rates = Rates()
    priority: str = "normal"
    disconnect: str = "cancel"
    durability: str = ""
    expires_us: int | None = None

    @property
    def scopes(self) -> tuple[str, ...]:
        """Whatever budgets and limits may be set for that counts this caller's requests, the narrowest first."""
        return _scopes(self.key_id, self.user, self.team)


@lru_cache(maxsize=4096)
def _scopes(key_id: str, user: str, team: str) -> tuple[str, ...]:
    owners = (("user", user), ("team", team))
    return (f"key:{key_id}", *(f"{kind}:{name}" for kind, name in owners if name), "global")


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One account's offer of one model: something we may choose.  ``weight``: its share within its tier."""

    upstream: Upstream
    model: str
    weight: int = 1

    @property
    def name(self) -> str:
        """``provider/model``, as a caller would ask for it."""
        return f"{self.upstream.provider}/{self.model}"

    def serves(self, endpoint: Endpoint) -> bool:
        """Whether its vendor has this endpoint, or one that it can be translated to."""
        return way(self.upstream.vendor, endpoint) is not None

    @property
    def key(self) -> tuple[str, str, str]:
        """Provider, account, model: what tells it from all others."""
        upstream = self.upstream
        return upstream.provider, upstream.account, self.model


Strategy = Literal["p2c", "round_robin", "least_in_flight", "weighted"]
"""How one of a tier's deployments is chosen."""

Detour = Literal["context", "content_policy"]
"""Why a request that was refused for its own fault is put to others: it is too long, or its content is not allowed there."""


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """Deployments that may stand in for each other, shares by weight.

    name: the model or target it is for.  strategy: its own, if it has one.  detour: it is only for such requests.
    """

    name: str
    deployments: tuple[Deployment, ...]
    strategy: Strategy | None = None
    detour: Detour | None = None


Fault = Literal["", "request", "rate_limit", "account", "upstream", "timeout", "client", "gateway"]
"""Whose fault it was that a try failed: the request's own (any deployment would refuse it); the account's rate limit; its
key or credit; the upstream's (5xx, broken connection, bad answer); its slowness; the client, who left; ours."""


Kind = Literal["", "retry", "fallback", "hedge", "probe", "continuation"]
"""Why a try was made: the first; the same deployment once more; another one; another one at the same time, since the first
was slow; to find out whether it is well again; to go on with an answer that had broken off."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try at one deployment, after it ended.

    outcome: ``ok`` or the error's code.  fault: whose it was; empty if it did not fail.
    kind: why it was made, where it is not simply the first.  waited_us: how long the request had waited for it.
    reserve_us: how much of ``duration_us`` and ``ttfb_us`` had passed when it was reserved and could be sent.
    retry_after_s: when the upstream said that it wants to be asked again.
    may_cost: the provider may charge for it.
    usage: ``None`` if the provider reported none; then ``output_estimate`` stands in for its output tokens, and
    ``input_estimate`` for what went in, where no body tells that.
    truncated: the answer ends where it does since it had come to its length.
    goes_on: the id of the response that its provider goes on to make although the try is over; empty: none.
    """

    number: int
    deployment: Deployment
    started_us: int
    duration_us: int
    ttfb_us: int | None
    status: int | None
    outcome: str
    may_cost: bool
    fault: Fault = ""
    kind: Kind = ""
    waited_us: int = 0
    reserve_us: int = 0
    retry_after_s: float | None = None
    usage: Usage | None = None
    usage_raw: bytes = b""
    answered_model: str = ""
    output_estimate: int = 0
    input_estimate: int = 0
    truncated: bool = False
    goes_on: str = ""
    upstream_request_id: str = ""
    error: str = ""


RawHeaders = Sequence[tuple[bytes, bytes]]


class Weight(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request's cost its bytes and ``output_max`` do not tell.

    references: pictures, files, sounds, and things that the body names instead of holding them.
    payload_bytes: of the body, that are the data of such things.  audio: sounds go in or may come out.
    said_tokens: what is in a session already, or may be by now; no body tells it.
    service_tier: what was asked for.  answers: how many times ``choices`` answers there will be.
    pieces: what was asked for that is charged by the piece; early_images: pictures before they are finished.
    repeated_bytes: of the body, that count again: the query of a reranking counts with every document.
    audio_most_ms: of the sound that is listened to, at most.
    files: ids of files that its provider keeps, each once.
    """

    references: int = 0
    payload_bytes: int = 0
    audio: bool = False
    said_tokens: int = 0
    service_tier: str = ""
    answers: int = 1
    pieces: Pieces = NO_PIECES
    early_images: int = 0
    repeated_bytes: int = 0
    audio_most_ms: int = 0
    files: tuple[str, ...] = ()


PLAIN = Weight()
"""A body of nothing but text."""


class CacheField(msgspec.Struct, frozen=True, kw_only=True):
    """What the body's field ``cache`` asks of the cache; it never reaches an upstream.

    use: keep and replay, where that is only done on request.  no_cache: a new answer.  no_store: keep nothing of this one.
    ttl_s: how long this answer may be kept.  max_age_s: how old one may be.  namespace: apart from those of other names.
    """

    use: bool = False
    no_cache: bool = False
    no_store: bool = False
    ttl_s: float | None = None
    max_age_s: float | None = None
    namespace: str = ""


class RouteField(msgspec.Struct, frozen=True, kw_only=True):
    """What the body's field ``route``, or the header ``x-tollway-route``, asks of the choice of a model; it never reaches an
    upstream.

    max_cost_nusd, max_ttft_ms, max_latency_ms, min_quality (in [0, 1]): what nobody may break who answers.
    task: the kind that it is.  prefer, allow, deny: patterns of ``provider/model``; the first only says who goes first.
    fallback: who answers if nobody meets all that.  policy: another one than the name says.
    """

    max_cost_nusd: int | None = None
    max_ttft_ms: float | None = None
    max_latency_ms: float | None = None
    min_quality: float | None = None
    task: str = ""
    prefer: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    fallback: str = ""
    policy: str = ""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The few fields of a request body that the pipeline needs.

    include_usage: whether the client's ``stream_options`` ask for it; ``None``: its body has no such key.
    output_max: the most tokens that an answer may have, as the client set it; ``None``: it did not.  choices: ``n``.
    cache_key: ``prompt_cache_key``: requests with the same one profit from being answered by the same account.
    previous_response: the id of the response that this one goes on from.  stores: the provider may keep the response.
    intent: what a session is for, where that is said; empty: a conversation.
    background: the response is made whether its client waits for it or not.
    cache, route: what the fields of that name say.  ours: the fields of the body that are for us and for no upstream.
    array: the stream is to be one JSON array instead of events, as Gemini has it.
    names_model: the body says the model itself; else it is the one that its protocol takes then.
    """

    model: str
    stream: bool = False
    include_usage: bool | None = None
    output_max: int | None = None
    choices: int = 1
    weight: Weight = PLAIN
    cache_key: str = ""
    previous_response: str = ""
    stores: bool = True
    background: bool = False
    intent: str = ""
    cache: CacheField | None = None
    route: RouteField | None = None
    ours: tuple[str, ...] = ()
    array: bool = False
    names_model: bool = True


class Asked(msgspec.Struct):
    """What a body asks, in other words, made when it is first needed.

    of: the body.  fields: its JSON.  request: in the canonical form, or why it has none.  away: what of it other protocols
    are told.  stays: why none can be told it, if that is so.  bodies: for upstreams, or why not.
    """

    of: bytes = b""
    fields: Mapping[str, Any] = msgspec.field(default_factory=dict)
    request: Request | EmbeddingRequest | ProxyError | None = None
    away: Request | EmbeddingRequest | None = None
    stays: ProxyError | None = None
    bodies: dict[Hashable, bytes | ProxyError] = msgspec.field(default_factory=dict)


class Client(msgspec.Struct):
    """Whether there is anybody to answer: ``left`` is set once, when the client has gone.

    tokens_left: of a stream that goes on for nobody, how many more may come; ``None``: all.
    """

    left: bool = False
    tokens_left: int | None = None

    def may_come(self, events: bytes) -> bool:
        """Whether a stream goes on after these events; one event is taken for one token.  They are at least one."""
        if self.left and self.tokens_left is not None:
            self.tokens_left -= events.count(b"data:") or 1
            return self.tokens_left > 0
        return True


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Which try made an answer that is given to somebody else, and what it used.  ``at_us``: when it began."""

    provider: str
    model: str
    answered_model: str
    at_us: int
    usage: Usage | None = None
    usage_raw: bytes = b""
    output_estimate: int = 0


class CacheUse(msgspec.Struct, kw_only=True):
    """What the cache did for a call: the cache writes it, the meter reads it.

    state: ``hit``, ``miss``, ``joined`` (another call's answer, while it was under way), ``bypass``; empty: it is off.
    origin: where the answer of a ``hit`` or a ``joined`` is from, once that is known.
    """

    state: str = ""
    origin: Origin | None = None


class Routed(msgspec.Struct, kw_only=True):
    """How a model was chosen for a call: the model router writes it, the live metrics and the journal's keepers read it.

    task: the kind of task it is taken for; empty: nobody has looked.  text_bytes: of the body, as far as it is text; 0: as
    task.  decision: all of it; ``None``: the name said who answers.  standing_in: who is asked instead of the choice; empty:
    nobody.
    """

    task: str = ""
    text_bytes: int = 0
    decision: object = None
    standing_in: str = ""


class Upload(Protocol):
    """A form with files, as it is sent on."""

    content_type: str

    @property
    def is_whole(self) -> bool:
        """Whether all of it is here."""
        ...

    @property
    def may_be_sent(self) -> bool:
        """Whether a try can have all of it: of one that passes while it comes, only the first can."""
        ...

    @property
    def file_bytes(self) -> int:
        """Of all of its files together, at most."""
        ...

    def body(self, **changed: str) -> bytes | Body:
        """All of it, with other values of these fields.  Raises: ClientClosed, if it is there no longer."""
        ...

    def hold(self) -> None:
        """It is needed until ``let_go``."""
        ...

    def let_go(self) -> None:
        """It is not needed any more."""
        ...


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One client request.

    received_us: wall clock.  started_s: monotonic.  body: the client's bytes, untouched; of a form its fields, as JSON.
    upload: the form itself.
    client: whether it is still there.  headers: its own, names in lower case.  tags: what it wants the request counted under.
    tiers: what may answer, the first choice first.  deployments: the order to try them in.
    detours: who is tried instead, if the request is refused for such a fault of its own.
    last_resort: none of them is in good health; the least bad is better than none.
    trail: every try adds its Attempt here, so that a request that is cut leaves its story behind.
    cached: what the cache did.  routed: how its model was chosen, where it was.
    asked: what the body asks, for upstreams that speak another protocol.
    thinking: what a suffix of the model's name asks for, which goes before what the body says.
    """

    id: str
    endpoint: Endpoint
    authorization: tuple[str, ...]
    body: bytes
    head: Head
    received_us: int
    started_s: float
    headers: RawHeaders = ()
    tags: tuple[str, ...] = ()
    principal: Principal | None = None
    tiers: tuple[Tier, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    detours: tuple[tuple[Detour, tuple[Deployment, ...]], ...] = ()
    last_resort: bool = False
    trail: list[Attempt] = msgspec.field(default_factory=list)
    client: Client = msgspec.field(default_factory=Client)
    cached: CacheUse = msgspec.field(default_factory=CacheUse)
    asked: Asked = msgspec.field(default_factory=Asked)
    thinking: ReasoningAsk | None = None
    routed: Routed = msgspec.field(default_factory=Routed)
    upload: Upload | None = None

    def header(self, name: bytes) -> str | None:
        """The first of the client's headers of that name (in lower case)."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None


Observer = Callable[[Call, Attempt], None]
"""Told of each try once, when it has ended."""


class Gate:
    """Decides whether a deployment may be tried just now, and is told how the try goes on; keeps count, if it likes.

    What has entered leaves, once, whatever happens to it: after the observers were told of its Attempt.  This one lets
    everything in and keeps no count.
    """

    def ready_in_s(self, call: Call, deployment: Deployment, /) -> float:  # noqa: ARG002  # for those who need to know
        """Seconds until it may be tried; 0: now.  Takes nothing."""
        return 0.0

    def enter(self, call: Call, number: int, deployment: Deployment, /) -> bool:  # noqa: ARG002  # for those who need to know
        """Whether this try may begin."""
        return True

    def is_probe(self, call: Call, number: int, deployment: Deployment, /) -> bool:  # noqa: ARG002  # as above
        """Whether this try, which has entered, is to find out if all is well again."""
        return False

    def begun(self, call: Call, number: int, deployment: Deployment, ttfb_us: int, /) -> None:
        """Its answer has begun: the head of a whole one, the first event of a stream.

        ttfb_us: since it was reserved and could be sent.
        """

    def leave(self, call: Call, number: int, deployment: Deployment, /) -> None:
        """It is over."""

    def refusal(self, call: Call, deployments: Sequence[Deployment], /) -> ProxyError | None:  # noqa: ARG002  # as above
        """What to tell a client whose deployments are all kept back; ``None``: it was not me."""
        return None


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer.  ``body``: the upstream's bytes, untouched."""

    status: int
    headers: Headers
    body: bytes


class Chunks(Protocol):
    """A stream's bytes, whole events only."""

    async def read(self, write: Callable[[bytes], bool] = ...) -> bytes:
        """Write events as they come, and return those that could not be written at once; ``b""`` when all but ``closing``
        has been read."""
        ...

    @property
    def closing(self) -> bytes:
        """What ends the stream, to be sent after its taps have run: the terminator, or an error event."""
        ...

    def fail(self, error: ProxyError) -> None:
        """End it here: ``closing`` becomes the error's event."""
        ...

    def close(self) -> None:
        """Let go of the upstream.  Always called."""
        ...


OnEnd = Callable[[], Awaitable[None]]
OnPart = Callable[[int], Awaitable[None]]


class Streaming:
    """An answer that comes piece by piece.  Headers are sent when its first event is here.

    outcome: the error's code, if it was cut and no try of this call tells; known to the outer taps.
    kept: all of it is here, and can be sent in one piece once its taps have run.
    """

    def __init__(self, status: int, headers: Headers, chunks: Chunks, *, kept: bool = False) -> None:
        self.kept = kept
        self.status = status
        self.headers = headers
        self.chunks = chunks
        self.outcome = ""
        self._taps: list[OnEnd] = []
        self._parts: list[OnPart] = []

    def on_part(self, tap: OnPart) -> None:
        """Run ``tap`` for each answer of a session that is over, with the tokens that it used."""
        self._parts.append(tap)

    async def part(self, tokens: int) -> None:
        """One of a session's answers is over, and the session goes on."""
        for tap in self._parts:
            await tap(tokens)

    def on_end(self, tap: OnEnd) -> None:
        """Run ``tap`` once, before the end of the stream is released."""
        self._taps.append(tap)

    async def finish(self) -> None:
        """Run the taps, the innermost first, each once, also if one before it fails; a second call does nothing."""
        if self._taps:
            try:
                await self._taps.pop(0)()
            finally:
                await self.finish()


Reply = Completed | Streaming


async def tap(reply: Reply, on_end: OnEnd) -> Reply:
    """Have ``on_end`` run exactly once when the reply has ended: whole, cut by the upstream, or left by the client.

    The end of the reply is released only after it has returned.
    """
    if isinstance(reply, Streaming):
        reply.on_end(on_end)
    else:
        await on_end()
    return reply
