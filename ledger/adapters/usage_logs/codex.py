"""Codex's rollouts: ``~/.codex/sessions/YYYY/MM/DD/rollout-*.jsonl``, one ``{timestamp, type, payload}`` a line.

``event_msg`` lines of type ``token_count`` have the session's running totals and the last call's counts.  The same one is
written again whenever rate limits change, so one whose totals are the last one's says nothing.  Cached tokens are part of the
input, reasoning tokens of the output.  The model is that of the latest ``turn_context``; where there was none it stays
unknown.
Source: openai/codex, codex-rs/protocol (TokenCountEvent, TokenUsage, TurnContextItem), and ccusage's notes on its logs.
Read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from ledger.adapters.usage_logs.reading import Count, Moment, Reading, decoded, micros, text
from ledger.records import AgentUsage, Tokens

AGENT = "codex"
SESSION = "session"


class _Usage(msgspec.Struct):
    input_tokens: Count = 0
    cached_input_tokens: Count = 0
    output_tokens: Count = 0
    reasoning_output_tokens: Count = 0
    cache_write_input_tokens: Count = 0

    def counts(self) -> tuple[int, ...]:
        return (
            self.input_tokens,
            self.cached_input_tokens,
            self.output_tokens,
            self.reasoning_output_tokens,
            self.cache_write_input_tokens,
        )


class _Info(msgspec.Struct):
    total: _Usage | None = msgspec.field(name="total_token_usage", default=None)
    last: _Usage | None = msgspec.field(name="last_token_usage", default=None)


class _Payload(msgspec.Struct):
    type: str | None = None
    info: _Info | None = None
    id: str | None = None
    cwd: str | None = None
    model: str | None = None
    model_provider: str | None = None


class _Line(msgspec.Struct):
    type: str = ""
    timestamp: Moment | None = None
    payload: _Payload | None = None


_decode = msgspec.json.Decoder(_Line).decode
# The way that Codex begins its lines.  Most have another type, as their second key, and are not searched for it.
_OTHER = re.compile(rb'\{"timestamp":"[^"\\]*","type":"(?!event_msg"|turn_context"|session_meta")').match


def parse(lines: Iterable[bytes], reading: Reading, /) -> Iterator[AgentUsage]:
    """What each model call used.  The session, its folder and its model are noted for later lines."""
    for line in lines:
        if _OTHER(line):
            continue
        if b'"token_count"' not in line and b'"turn_context"' not in line and b'"session_meta"' not in line:
            continue
        found = decoded(_decode, line, reading)
        if found is None or (payload := found.payload) is None:
            continue
        if found.type == "session_meta":
            # A forked session repeats the first one's line after its own.
            reading.session = reading.session or text(payload.id)
            reading.provider = text(payload.model_provider) or reading.provider
            reading.project = reading.place(payload.cwd) if payload.cwd else reading.project
        elif found.type == "turn_context":
            reading.model = text(payload.model)
            reading.project = reading.place(payload.cwd) if payload.cwd else reading.project
        elif found.type == "event_msg" and payload.type == "token_count" and payload.info is not None:
            event = _event(found, payload.info, reading)
            if event is not None:
                yield event


def _event(line: _Line, info: _Info, reading: Reading) -> AgentUsage | None:
    before = reading.totals.get(SESSION)
    total = None if info.total is None else info.total.counts()
    if total is None or line.timestamp is None:
        reading.skip("no_totals" if total is None else "no_time")
        return None
    if total == before:
        reading.skip("repeated")
        return None
    reading.totals = {SESSION: total}
    counts = () if info.last is None else info.last.counts()
    if not any(counts):
        counts = tuple(now - then for now, then in zip(total, before or (0,) * len(total), strict=True))
    tokens = _tokens(counts)
    if tokens is None:
        reading.skip("counts_disagree")
        return None
    if not (counts[0] or counts[2]):
        reading.skip("nothing_used")
        return None
    at_us = micros(line.timestamp)
    return AgentUsage(
        agent=AGENT,
        # Without the session: a forked one repeats what the first one's file has.
        event=f"{at_us}:{total[0]}:{total[1]}:{total[2]}:{total[3]}:{total[4]}",
        at_us=at_us,
        tokens=tokens,
        session=reading.session or reading.name,
        project=reading.project,
        provider=reading.provider,
        model=reading.model,
    )


def _tokens(counts: tuple[int, ...]) -> Tokens | None:
    """``None``: a part is larger than what it is part of, or the totals fell."""
    given, cached, output, thought, written = counts
    if min(counts) < 0 or cached + written > given or thought > output:
        return None
    return Tokens(
        input_uncached=given - cached - written,
        cache_read=cached,
        cache_write=written,
        output_text=output - thought,
        reasoning=thought,
    )
