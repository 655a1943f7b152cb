"""Copilot CLI's sessions: ``~/.copilot/session-state/<session>/events.jsonl``, one ``{type, data, id, timestamp}`` a line.

Only ``session.shutdown`` tells tokens in full: running totals by model, which a resumed session goes on with.  Cached tokens
(read and written) are part of the input, reasoning tokens of the output.  A session that was never shut down has none.
``requests.cost`` is premium requests, not money, and is not kept.
Source: no documentation; session files as several open parsers read them, whose samples agree (input 111529 = 25 uncached +
86021 read + 25483 written).  Read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ledger.adapters.usage_logs.reading import Count, Moment, Reading, decoded, micros, text
from ledger.records import AgentUsage, Tokens

AGENT = "copilot"
PROVIDER = "github_copilot"
MODELS_MAX = 1000


class _Usage(msgspec.Struct):
    given: Count = msgspec.field(name="inputTokens", default=0)
    output: Count = msgspec.field(name="outputTokens", default=0)
    read: Count = msgspec.field(name="cacheReadTokens", default=0)
    written: Count = msgspec.field(name="cacheWriteTokens", default=0)
    thought: Count = msgspec.field(name="reasoningTokens", default=0)


class _Metric(msgspec.Struct):
    usage: _Usage | None = None


class _Context(msgspec.Struct):
    cwd: str | None = None


class _Data(msgspec.Struct):
    session: str | None = msgspec.field(name="sessionId", default=None)
    context: _Context | None = None
    metrics: dict[str, _Metric] = msgspec.field(name="modelMetrics", default_factory=dict)


class _Line(msgspec.Struct):
    type: str = ""
    timestamp: Moment | None = None
    data: _Data | None = None


_decode = msgspec.json.Decoder(_Line).decode


def parse(lines: Iterable[bytes], reading: Reading, /) -> Iterator[AgentUsage]:
    """What each model used since the shutdown before."""
    for line in lines:
        if b'"session.shutdown"' not in line and b'"session.start"' not in line:
            continue
        found = decoded(_decode, line, reading)
        if found is None or (data := found.data) is None:
            continue
        if found.type == "session.start":
            reading.session = text(data.session)
            if data.context is not None and data.context.cwd:
                reading.project = reading.place(data.context.cwd)
        elif found.type == "session.shutdown":
            yield from _events(found, data, reading)


def _events(line: _Line, data: _Data, reading: Reading) -> Iterator[AgentUsage]:
    if line.timestamp is None or len(data.metrics) > MODELS_MAX:
        reading.skip("no_time" if line.timestamp is None else "wrong_shape")
        return
    session = reading.session or reading.folder or reading.name
    for name, metric in data.metrics.items():
        if (usage := metric.usage) is None:
            continue
        now = (usage.given, usage.output, usage.read, usage.written, usage.thought)
        before = reading.totals.get(name, (0,) * len(now))
        reading.totals = {**reading.totals, name: now}
        given, output, read, written, thought = (after - then for after, then in zip(now, before, strict=True))
        if now == before:
            reading.skip("repeated")
        elif min(given, output, read, written, thought) < 0:
            reading.skip("totals_fell")
        elif read + written > given or thought > output:
            reading.skip("counts_disagree")
        else:
            yield AgentUsage(
                agent=AGENT,
                event=f"{session}:{text(name)}:{':'.join(map(str, now))}",
                at_us=micros(line.timestamp),
                tokens=Tokens(
                    input_uncached=given - read - written,
                    cache_read=read,
                    cache_write=written,
                    output_text=output - thought,
                    reasoning=thought,
                ),
                session=session,
                project=reading.project,
                provider=PROVIDER,
                model=text(name),
            )
