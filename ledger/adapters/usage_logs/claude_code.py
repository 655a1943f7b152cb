"""Claude Code's transcripts: ``~/.claude/projects/<folder>/**/*.jsonl``, one JSON object a line.

An answer is written as several lines, one for each of its blocks, with the same message id and the usage as it stood; a
resumed or forked session repeats lines of the one before.  So a message's id and its request's name an event, whichever file
and session they stand in, and of its lines the largest counts.
Source: ccusage.com/guide and transcripts' shape as several open parsers read it (message.usage, requestId, isSidechain,
``<synthetic>`` for what no model said); the usage object is that of docs.anthropic.com/en/api/messages.  Read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ledger.adapters.usage_logs.reading import TEXT_MAX, Count, Moment, Reading, decoded, micros, reported_nusd
from ledger.records import AgentUsage, Tokens

AGENT = "claude-code"
NEEDLE = b'"usage"'
"""In every line that says what was used; most of a transcript is prompts and tools' output."""


class _Writes(msgspec.Struct):
    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class _Thinking(msgspec.Struct):
    thinking_tokens: Count | None = None


class _Searches(msgspec.Struct):
    web_search_requests: Count | None = None


class _Usage(msgspec.Struct):
    input_tokens: Count
    output_tokens: Count
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation: _Writes | None = None
    output_tokens_details: _Thinking | None = None
    server_tool_use: _Searches | None = None
    service_tier: str | None = None


class _Message(msgspec.Struct):
    id: str = ""
    model: str = ""
    usage: _Usage | None = None


class _Line(msgspec.Struct):
    type: str = ""
    timestamp: Moment | None = None
    session: str = msgspec.field(name="sessionId", default="")
    request: str | None = msgspec.field(name="requestId", default=None)
    cwd: str = ""
    message: _Message | None = None
    cost_usd: float | None = msgspec.field(name="costUSD", default=None)
    failed: bool = msgspec.field(name="isApiErrorMessage", default=False)


_decode = msgspec.json.Decoder(_Line).decode


def parse(lines: Iterable[bytes], reading: Reading, /) -> Iterator[AgentUsage]:
    """What each line of an answer says was used.  About 4 µs for a line that has usage, 0.2 µs for any other."""
    place = ("", "")
    for line in lines:
        if NEEDLE not in line:
            continue
        found = decoded(_decode, line, reading)
        if found is None or found.type != "assistant" or (message := found.message) is None:
            continue
        usage = message.usage
        if usage is None:
            continue
        if message.model == "<synthetic>" or found.failed:
            reading.skip("no_model_call")
            continue
        if found.timestamp is None or not message.id or len(message.id) + len(found.request or "") > TEXT_MAX:
            reading.skip("no_id" if found.timestamp else "no_time")
            continue
        tokens = _tokens(usage)
        if tokens is None:
            reading.skip("counts_disagree")
            continue
        if not (usage.input_tokens or usage.output_tokens or tokens.cache_read or tokens.cache_write or tokens.cache_write_1h):
            reading.skip("nothing_used")
            continue
        if found.cwd != place[0]:
            place = (found.cwd, reading.place(found.cwd))
        yield AgentUsage(
            agent=AGENT,
            event=f"{message.id}:{found.request}" if found.request else message.id,
            at_us=micros(found.timestamp),
            tokens=tokens,
            session=found.session[:TEXT_MAX],
            project=place[1],
            provider=_provider(message),
            model=message.model[:TEXT_MAX],
            service_tier="" if usage.service_tier in (None, "standard") else str(usage.service_tier)[:TEXT_MAX],
            reported_nusd=None if found.cost_usd is None else reported_nusd(found.cost_usd),
        )


def _tokens(usage: _Usage) -> Tokens | None:
    """``None``: more of the output was thought than came out."""
    written = usage.cache_creation_input_tokens or 0
    hour = 0
    if (writes := usage.cache_creation) is not None:
        hour = writes.ephemeral_1h_input_tokens or 0
        written = max(written, hour + (writes.ephemeral_5m_input_tokens or 0))
    thought = 0 if usage.output_tokens_details is None else usage.output_tokens_details.thinking_tokens or 0
    if thought > usage.output_tokens:
        return None
    return Tokens(
        input_uncached=usage.input_tokens,
        cache_read=usage.cache_read_input_tokens or 0,
        cache_write=written - hour,
        cache_write_1h=hour,
        output_text=usage.output_tokens - thought,
        reasoning=thought,
        web_searches=0 if usage.server_tool_use is None else usage.server_tool_use.web_search_requests or 0,
    )


def _provider(message: _Message) -> str:
    """Who answered, as far as the id and the model's name tell; a gateway in between may have asked anybody."""
    if message.id.startswith("msg_bdrk_"):
        return "bedrock"
    if message.id.startswith("msg_vrtx_"):
        return "vertex"
    return "anthropic" if message.model.startswith("claude-") else ""
