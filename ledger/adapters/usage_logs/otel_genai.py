"""OpenTelemetry files: OTLP as JSON, one export request a line, as the collector's file exporter writes them.

Spans and log records count that have ``gen_ai.usage.*`` and are one model call by their ``gen_ai.operation.name``; an agent's
or a workflow's span repeats the sums of those below it.  Cached tokens are part of the input, reasoning tokens of the output.
A response's id names an event, so that a call told by a span and by a log record is counted once; else the span's id.
Source: opentelemetry.io/docs/specs/semconv/gen-ai (gen-ai-spans, registry), opentelemetry.io/docs/specs/otlp (JSON encoding:
64-bit integers are strings), read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ledger.adapters.usage_logs.reading import COUNT_MAX, Reading, decoded, text, used
from ledger.records import AgentUsage, Tokens

AGENT = "otel"
CALLS = frozenset(("chat", "text_completion", "generate_content", "embeddings"))
# The conventions' words for providers, where ours are others.
PROVIDERS = {
    "gcp.gemini": "gemini",
    "gcp.vertex_ai": "vertex",
    "gcp.gen_ai": "gemini",
    "aws.bedrock": "bedrock",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshot",
    "x_ai": "xai",
}
READ = ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens")
WRITTEN = ("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens")
THOUGHT = ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens")


class _Value(msgspec.Struct):
    string: str | None = msgspec.field(name="stringValue", default=None)
    integer: int | str | None = msgspec.field(name="intValue", default=None)


class _Attribute(msgspec.Struct):
    key: str
    value: _Value | None = None


class _Record(msgspec.Struct):
    trace: str = msgspec.field(name="traceId", default="")
    span: str = msgspec.field(name="spanId", default="")
    end: str | int = msgspec.field(name="endTimeUnixNano", default=0)
    time: str | int = msgspec.field(name="timeUnixNano", default=0)
    attributes: list[_Attribute] = []


class _Scope(msgspec.Struct):
    spans: list[_Record] = []
    records: list[_Record] = msgspec.field(name="logRecords", default_factory=list)


class _Resource(msgspec.Struct):
    spans: list[_Scope] = msgspec.field(name="scopeSpans", default_factory=list)
    logs: list[_Scope] = msgspec.field(name="scopeLogs", default_factory=list)


class _Line(msgspec.Struct):
    spans: list[_Resource] = msgspec.field(name="resourceSpans", default_factory=list)
    logs: list[_Resource] = msgspec.field(name="resourceLogs", default_factory=list)


_decode = msgspec.json.Decoder(_Line).decode


def parse(lines: Iterable[bytes], reading: Reading, /) -> Iterator[AgentUsage]:
    """What each model call used."""
    for line in lines:
        if b'"gen_ai.usage.' not in line:
            continue
        found = decoded(_decode, line, reading)
        if found is None:
            continue
        for resource in (*found.spans, *found.logs):
            for scope in (*resource.spans, *resource.logs):
                for record in (*scope.spans, *scope.records):
                    event = _event(record, reading)
                    if event is not None:
                        yield event


def _event(record: _Record, reading: Reading) -> AgentUsage | None:
    said = {it.key: it.value for it in record.attributes if it.value is not None}
    if not any(key.startswith("gen_ai.usage.") for key in said):
        return None
    if _name(said, "gen_ai.operation.name") not in CALLS:
        reading.skip("no_model_call")
        return None
    try:
        at_us = int(record.end or record.time) // 1000
        given, output = _count(said, "gen_ai.usage.input_tokens"), _count(said, "gen_ai.usage.output_tokens")
        read, written, thought = _count(said, *READ), _count(said, *WRITTEN), _count(said, *THOUGHT)
    except ValueError:
        reading.skip("wrong_shape")
        return None
    name = _name(said, "gen_ai.response.id") or (f"{record.trace}:{record.span}" if record.trace and record.span else "")
    if not 0 < at_us < 2**62 or not name:
        reading.skip("no_time" if name else "no_id")
        return None
    if read + written > given or thought > output:
        reading.skip("counts_disagree")
        return None
    tokens = Tokens(
        input_uncached=given - read - written,
        cache_read=read,
        cache_write=written,
        output_text=output - thought,
        reasoning=thought,
    )
    if not used(tokens):
        reading.skip("nothing_used")
        return None
    provider = _name(said, "gen_ai.provider.name") or _name(said, "gen_ai.system")
    return AgentUsage(
        agent=AGENT,
        event=name[:512],
        at_us=at_us,
        tokens=tokens,
        session=_name(said, "gen_ai.conversation.id"),
        provider=PROVIDERS.get(provider, provider),
        model=_name(said, "gen_ai.response.model") or _name(said, "gen_ai.request.model"),
    )


def _name(said: dict[str, _Value], key: str) -> str:
    value = said.get(key)
    return "" if value is None else text(value.string)


def _count(said: dict[str, _Value], *keys: str) -> int:
    """The first of the attributes that there is, else 0.  Raises: ValueError."""
    for key in keys:
        value = said.get(key)
        if value is not None:
            if isinstance(value.integer, bool) or value.integer is None:
                raise ValueError("no count")
            count = int(value.integer)
            if not 0 <= count <= COUNT_MAX:
                raise ValueError("no count")
            return count
    return 0
