"""What a client asks in one protocol, for upstreams that speak another: requests, whole answers and streams.

Client's protocol -> canonical form -> upstream's, and back; which functions do it is in ``providers/registry.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from ledger.records import Bounds
from providers.canonical import (
    Delta,
    EmbeddingRequest,
    Ended,
    Event,
    Failed,
    Finished,
    Malformed,
    Message,
    Native,
    Part,
    PartStarted,
    ReasoningAsk,
    Request,
    Response,
    Started,
    Text,
    ToolCall,
    ToolResult,
    Unsupported,
    UsageSeen,
)
from providers.errors import ErrorBody, InvalidResponse
from providers.openai.request import with_answer_so_far
from providers.protocol import Ability, Codec, CountCodec, Decoder, EmbeddingCodec, Encoder, Told
from providers.provider import Answer, Endpoint
from providers.registry import WIRES, way
from providers.thinking import Thinking
from providers.usage import Semantics, Usage
from providers.usage import read as read_usage
from proxy.call import Asked, Call, Deployment, Tier
from proxy.errors import InvalidRequest, ProxyError

BYTES_PER_TOKEN = 4
_NO_USAGE = UsageSeen(usage=None, raw=b"")
ONLY_THERE = "only its own protocol has this field"

STRANGE = (AttributeError, LookupError, TypeError, ValueError, RecursionError)
"""What comes of a value that is not of the type that its protocol has there: a number where a text should be."""

Abilities = Callable[[Deployment], Ability]
"""What a deployment's model can do, as far as requests to it depend on that."""


def of_vendor(deployment: Deployment) -> Ability:
    """What is known of a deployment whose model nobody knows."""
    return _ability(deployment, Bounds())


def abilities(bounds: Callable[[str, str], Bounds]) -> Abilities:
    """The same with what a list says of the model: how long its answers may be, how it is told to think."""
    return lambda deployment: _ability(deployment, bounds(deployment.upstream.provider, deployment.model))


def _ability(deployment: Deployment, known: Bounds) -> Ability:
    vendor = deployment.upstream.vendor
    return Ability(
        output_max=known.output_tokens or vendor.output_max,
        output_most=known.output_tokens,
        thinking=Thinking(thinks=known.reasoning, efforts=known.efforts, off=not known.always_thinks, adaptive=known.adaptive),
        cache_hints=vendor.cache_hints,
        caches=known.caches,
        newer_bound=vendor.newer_bound,
        asks_usage=vendor.asks_usage,
    )


class Translation:
    """Makes a call's body for an upstream.  Each is made once, and kept with the call."""

    def __init__(self, abilities: Abilities = of_vendor) -> None:
        self._abilities = abilities

    def body(self, call: Call, deployment: Deployment, endpoint: Endpoint) -> bytes:
        """The body to be sent to the upstream's endpoint.  Raises: InvalidRequest, naming the client's field."""
        asked = call.asked
        if asked.of is not call.body:
            # A call with another body: what was made is of the one before.
            asked.of, asked.request, asked.away, asked.stays, asked.bodies = call.body, None, None, None, {}
        ability = self._abilities(deployment)
        name = (endpoint, deployment.model, ability)
        made = asked.bodies.get(name)
        if made is None:
            made = asked.bodies[name] = _made(call, asked, deployment.model, endpoint, ability)
        if isinstance(made, ProxyError):
            raise type(made)(made.message, param=made.param)
        return made

    def expressible(self, call: Call, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        """The tiers without the deployments whose protocol cannot say what is asked.

        Raises: InvalidRequest, naming the field, if none is left that would be tried first.
        """
        endpoint = call.endpoint
        if all(endpoint in it.upstream.vendor.endpoints for tier in tiers for it in tier.deployments):
            return tiers
        if WIRES[endpoint].kind == "count":
            return tiers  # what nobody can be asked is estimated
        refusals: list[InvalidRequest] = []

        def can(deployment: Deployment) -> bool:
            spoken = way(deployment.upstream.vendor, endpoint)
            if spoken is None or spoken == endpoint:
                # Who does not serve the endpoint at all is not asked; that is said when nobody does.
                return True
            try:
                self.body(call, deployment, spoken)
            except InvalidRequest as error:
                refusals.append(error)
                return False
            return True

        kept = tuple(replace(tier, deployments=tuple(filter(can, tier.deployments))) for tier in tiers)
        if not refusals:
            return tiers
        kept = tuple(tier for tier in kept if tier.deployments)
        if not any(it.serves(endpoint) for tier in kept if not tier.detour for it in tier.deployments):
            raise refusals[0]
        return kept


def canonical(call: Call) -> Request:
    """What the call asks of a chat.  Raises: InvalidRequest."""
    asked = _canonical(call)
    assert isinstance(asked, Request)  # noqa: S101  # only chats are gone on with
    return asked


def _canonical(call: Call) -> Request | EmbeddingRequest:
    codec = WIRES[call.endpoint].codec
    assert codec is not None  # noqa: S101  # ``way`` leads from no others
    try:
        fields: dict[str, Any] = msgspec.json.decode(call.body)
        for name in call.head.ours:
            del fields[name]
        call.asked.fields = fields
        if isinstance(codec, EmbeddingCodec | CountCodec):
            return codec.decode_request(fields, call.head.model)
        return codec.decode_request(fields, call.head.model, call.head.stream)
    except Malformed as error:
        raise InvalidRequest(f"'{error.field}' {error.why}.", param=error.field) from error


def going_on(call: Call, text: str, *, tokens: int, marked: bool) -> bytes:
    """A body that asks, in the client's own protocol, for the rest of an answer of which this much has been given.

    tokens, marked: as ``with_answer_so_far`` has them.
    """
    if call.endpoint == "chat/completions":
        return with_answer_so_far(call.body, text, tokens=tokens, marked=marked)
    request = canonical(call)
    said = (Message(role="assistant", parts=(Text(text=text),)),) if text else ()
    most = None if request.output_max is None else max(request.output_max - tokens, 1)
    rest = replace(request, messages=(*request.messages, *said), output_max=most)
    return msgspec.json.encode(codec_of(call.endpoint).encode_request(rest, Ability()))


def codec_of(endpoint: Endpoint) -> Codec:
    """What translates a chat's endpoint; it has one."""
    codec = WIRES[endpoint].codec
    assert isinstance(codec, Codec)  # noqa: S101  # ``way`` leads to no others
    return codec


def _made(call: Call, asked: Asked, model: str, endpoint: Endpoint, ability: Ability) -> bytes | ProxyError:
    if asked.request is None:
        _read(call, asked)
    if isinstance(asked.request, ProxyError):
        return asked.request
    if endpoint != call.endpoint and asked.stays is not None:
        return asked.stays
    codec = WIRES[endpoint].codec
    said = asked.request if endpoint == call.endpoint else asked.away
    try:
        if isinstance(codec, EmbeddingCodec):
            assert isinstance(said, EmbeddingRequest)  # noqa: S101  # ``way`` leads to the same kind
            body = codec.encode_request(replace(said, model=model))
        else:
            assert isinstance(said, Request)  # noqa: S101  # as above
            request = replace(said, model=model, stream=call.head.stream)
            most, wanted = ability.output_most, request.output_max
            if most is not None and wanted is not None and wanted > most:
                # A bound that the client's protocol demands, and that was chosen for another model: this one cannot reach it.
                request = replace(request, output_max=most)
            speaks = codec if isinstance(codec, CountCodec) else codec_of(endpoint)
            body = speaks.encode_request(request, ability)
    except Unsupported as error:
        return _refused(error)
    return msgspec.json.encode(body)


def _read(call: Call, asked: Asked) -> None:
    """What the call asks, and whether it can be taken to another protocol."""
    try:
        request = _canonical(call)
    except InvalidRequest as error:
        asked.request = error
        return
    if isinstance(request, Request) and call.thinking is not None:
        request = replace(request, reasoning=_suffixed(call.thinking, request.reasoning))
    asked.request = request
    codec = WIRES[call.endpoint].codec
    assert codec is not None  # noqa: S101  # it was read by it
    try:
        asked.away = request if isinstance(codec, EmbeddingCodec) or not isinstance(request, Request) else codec.leave(request)
        if isinstance(asked.away, Request):
            _check_parts(asked.away)
        _check_rest(request.extra, codec.drops)
    except Unsupported as error:
        asked.stays = _refused(error)
    except Malformed as error:
        asked.stays = InvalidRequest(f"'{error.field}' {error.why}.", param=error.field)


def _suffixed(thinking: ReasoningAsk, said: ReasoningAsk | None) -> ReasoningAsk:
    """What a suffix asks for; what the client wants to see of the thoughts is as the body says."""
    return thinking if said is None else replace(thinking, shown=said.shown, summary=said.summary)


def _refused(error: Unsupported) -> InvalidRequest:
    return InvalidRequest(f"'{error.field}' cannot be said to any provider of this model: {error.why}.", param=error.field)


def _check_rest(extra: Mapping[str, Any], drops: frozenset[str]) -> None:
    """Raises: Unsupported, for a field that only its own protocol has and that is not dropped without harm."""
    for name, value in extra.items():
        if name in drops or _says_nothing(value):
            continue
        if isinstance(value, Mapping) and any(drop.startswith(f"{name}.") for drop in drops):
            left = [inner for inner in value if f"{name}.{inner}" not in drops]
            if not left:
                continue
            raise Unsupported(f"{name}.{left[0]}", ONLY_THERE)
        raise Unsupported(name, ONLY_THERE)


def _check_parts(request: Request) -> None:
    """Raises: Unsupported, for a part that only its own protocol has, in what is asked.

    What a provider's own tools did in its earlier answers is left out without that.
    """
    for at, message in enumerate(request.messages):
        if message.role == "assistant":
            continue
        results = [part for it in message.parts if isinstance(it, ToolResult) for part in it.content]
        for part in (*message.parts, *results):
            if isinstance(part, Native) and not part.text:
                kind = part.value.get("type") or next(iter(part.value), "it")
                raise Unsupported(f"messages[{at}]", f"only its own protocol knows what {kind} is")


def _says_nothing(value: Any) -> bool:
    return value is None or value is False or value in ({}, [], "")


# --- answers -----------------------------------------------------------------------------------------------------------


def whole(
    body: bytes, *, upstream: Endpoint, client: Endpoint, semantics: Semantics, told: Told, counted: bytes = b""
) -> tuple[Answer, bytes]:
    """A whole answer for the client, and its metered side.  counted: a usage object that came beside the body.

    Raises: InvalidResponse, RefusedInBody.
    """
    codec, other = WIRES[upstream].codec, WIRES[client].codec
    if isinstance(codec, EmbeddingCodec) and isinstance(other, EmbeddingCodec):
        vectors = codec.decode_answer(body, semantics)
        if vectors.usage is None and counted:
            vectors = replace(vectors, usage=read_usage(counted, semantics), usage_raw=counted)
        answer = Answer(model=vectors.model, usage=vectors.usage, usage_raw=vectors.usage_raw)
        if not vectors.model:
            vectors = replace(vectors, model=told.model)
        return answer, other.encode_answer(vectors, told)
    if isinstance(codec, CountCodec) and isinstance(other, CountCodec):
        return Answer(model="", usage=None, usage_raw=b""), other.encode_answer(codec.decode_answer(body))
    response = _with_ids(codec_of(upstream).decode_answer(body, semantics))
    if response.model:
        told = replace(told, model=response.model)
    answer = Answer(
        model=response.model,
        usage=response.usage,
        usage_raw=response.usage_raw,
        truncated=any(choice.finish == "length" for choice in response.choices),
    )
    try:
        return answer, codec_of(client).encode_answer(response, told)
    except STRANGE as error:
        raise InvalidResponse("The upstream's answer is not what the protocol promises.") from error


def _with_ids(response: Response) -> Response:
    """The answer with an id for each call, which most protocols demand, where its provider gave none."""
    if all(part.id for it in response.choices for part in it.parts if isinstance(part, ToolCall)):
        return response
    choices = tuple(replace(it, parts=tuple(_with_id(part, at) for at, part in enumerate(it.parts))) for it in response.choices)
    return replace(response, choices=choices)


def _with_id(part: Part, place: int) -> Part:
    return replace(part, id=f"call_{part.name}_{place}") if isinstance(part, ToolCall) and not part.id else part


class Translated:
    """A stream of one protocol as one of another: a ``Reader``.  Nothing is held back but its end."""

    def __init__(self, decoder: Decoder, encoder: Callable[[Told], Encoder], told: Told) -> None:
        self._decoder = decoder
        self._encoder_of = encoder
        self._told = told
        self._encoder: Encoder | None = None
        self._deltas = 0
        self._chars = 0
        self._calls = False
        self._reason = False
        self.done = False
        self.finished = False
        self.truncated = False
        self.closing = b""
        self.model = ""
        self.id = ""
        self._usage = _NO_USAGE
        self.error: ErrorBody | None = None

    @property
    def usage(self) -> Usage | None:
        """The last that was credible."""
        self._catch_up()
        return self._usage.usage

    @property
    def usage_raw(self) -> bytes:
        """The same as it was said."""
        self._catch_up()
        return self._usage.raw

    def _catch_up(self) -> None:
        for event in self._decoder.pending():
            if isinstance(event, UsageSeen):
                self._learn_usage(event)

    def _learn_usage(self, seen: UsageSeen) -> None:
        if seen.usage is not None or self._usage.usage is None:
            self._usage = seen

    @property
    def output_tokens(self) -> int:
        """A piece is a token at least, and text at four bytes."""
        return max(self._deltas, self._chars // BYTES_PER_TOKEN)

    def feed(self, chunk: bytes) -> bytes:
        """The client's events for what ``chunk`` completed.  Raises: InvalidResponse."""
        return b"" if self.done else self._taken(self._decoder.feed(chunk))

    def finish(self) -> bool:
        """The upstream ended the stream; whether it was whole."""
        if not self.done:
            last = self._taken(self._decoder.finish())
            self.closing = last + self.closing
        return self.done

    def complete(self) -> None:
        """Its end is missing: the client gets one."""
        if self._encoder is not None:
            self.closing += self._encoder.feed(Ended())

    def _end(self, encoder: Encoder) -> bytes:
        """The end for the client, which in some protocols has none without a reason."""
        if self._reason:
            return encoder.feed(Ended())
        return encoder.feed(Finished(finish="tool_calls" if self._calls else "stop")) + encoder.feed(Ended())

    def _taken(self, events: list[Event]) -> bytes:
        try:
            if len(events) == 1:
                return self._take(events[0])
            return b"".join([self._take(event) for event in events])
        except STRANGE as error:
            raise InvalidResponse("An event of the upstream's stream is not what the protocol promises.") from error

    def _take(self, event: Event) -> bytes:
        encoder = self._encoder
        match event:
            case Delta():
                self._deltas += 1
                self._chars += len(event.text) + len(event.arguments)
            case Started():
                if encoder is not None:
                    # A stream begins once, for a client too.
                    return b""
                self.model = event.model or "?"
                told = replace(self._told, model=event.model) if event.model else self._told
                encoder = self._encoder = self._encoder_of(told)
            case PartStarted():
                if isinstance(event.part, ToolCall):
                    self._calls = True
                    event = event if event.part.id else replace(event, part=_with_id(event.part, event.index))
            case UsageSeen():
                self._learn_usage(event)
            case Finished():
                self.finished = True
                self._reason = encoder is not None
                self.truncated = self.truncated or event.finish == "length"
            case Failed():
                self.done = True
                self.error = event.error
                return b""
            case Ended():
                self.closing = b"" if encoder is None else self._end(encoder)
                self.done = self.finished = True
                return b""
        return b"" if encoder is None else encoder.feed(event)
