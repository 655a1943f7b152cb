"""Gemini CLI's chats: ``~/.gemini/tmp/<project>/chats/**``, ``*.jsonl`` with a record a line, before that ``*.json`` whole.

A message is written again, with the same id, whenever something is added to it.  ``tokens`` are those of the API's usage
metadata: ``cached`` is part of ``input``, ``thoughts`` and ``tool`` are apart from ``output`` and ``input``.
Source: google-gemini/gemini-cli, packages/core/src/services/chatRecordingService.ts, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ledger.adapters.usage_logs.reading import TEXT_MAX, Count, Moment, Reading, decoded, micros, used
from ledger.records import AgentUsage, Tokens

AGENT = "gemini-cli"


class _Tokens(msgspec.Struct):
    input: Count = 0
    output: Count = 0
    cached: Count = 0
    thoughts: Count = 0
    tool: Count = 0
    total: Count = 0


class _Message(msgspec.Struct):
    id: str = ""
    timestamp: Moment | None = None
    type: str = ""
    model: str | None = None
    tokens: _Tokens | None = None


class _Line(_Message):
    session: str = msgspec.field(name="sessionId", default="")


class _Document(msgspec.Struct):
    session: str = msgspec.field(name="sessionId")
    messages: list[_Message] = []


_decode = msgspec.json.Decoder(_Line).decode
_decode_document = msgspec.json.Decoder(_Document).decode


def parse(lines: Iterable[bytes], reading: Reading, /) -> Iterator[AgentUsage]:
    """What each message of a ``.jsonl`` used."""
    reading.project = reading.folder
    for line in lines:
        if b'"sessionId"' not in line and b'"tokens"' not in line:
            continue
        if line.startswith((b'{"$set"', b'{"$rewindTo"')):
            continue  # a change of the conversation: its messages stand on lines of their own
        found = decoded(_decode, line, reading)
        if found is None:
            continue
        if found.session:
            reading.session = found.session[:TEXT_MAX]
        event = _event(found, reading)
        if event is not None:
            yield event


def parse_document(data: bytes, reading: Reading, /) -> Iterator[AgentUsage]:
    """What each message of a ``.json`` used."""
    found = decoded(_decode_document, data, reading)
    if found is None:
        return
    reading.project, reading.session = reading.folder, found.session[:TEXT_MAX]
    for message in found.messages:
        event = _event(message, reading)
        if event is not None:
            yield event


def _event(message: _Message, reading: Reading) -> AgentUsage | None:
    counts = message.tokens
    if message.type != "gemini" or counts is None:
        return None
    if message.timestamp is None or not 0 < len(message.id) <= TEXT_MAX:
        reading.skip("no_id" if message.timestamp else "no_time")
        return None
    apart = counts.input + counts.output + counts.thoughts
    if counts.cached > counts.input or counts.total not in (0, apart, apart + counts.tool):
        reading.skip("counts_disagree")
        return None
    # Where the total is without the tools' prompts, they are part of the input.
    tool = 0 if counts.total == apart else counts.tool
    tokens = Tokens(
        input_uncached=counts.input - counts.cached + tool,
        cache_read=counts.cached,
        output_text=counts.output,
        reasoning=counts.thoughts,
    )
    if not used(tokens):
        reading.skip("nothing_used")
        return None
    model = (message.model or "")[:TEXT_MAX]
    return AgentUsage(
        agent=AGENT,
        event=message.id,
        at_us=micros(message.timestamp),
        tokens=tokens,
        session=reading.session,
        project=reading.project,
        provider="gemini" if model.startswith("gemini-") else "",
        model=model,
    )
