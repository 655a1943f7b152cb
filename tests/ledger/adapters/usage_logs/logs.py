"""What tests of usage logs share: the samples, and reading one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ledger.adapters.usage_logs.reading import Parser, Reading
from ledger.records import AgentUsage

DATA = Path(__file__).with_name("data")
AGENTS = {
    "claude-code": "claude_code.jsonl",
    "codex": "codex.jsonl",
    "gemini-cli": "gemini_cli.jsonl",
    "copilot": "copilot.jsonl",
    "otel": "otel_genai.jsonl",
}
LOOSE = b'{"type":"assistant","usage":'


def lines(name: str) -> list[bytes]:
    return (DATA / name).read_bytes().splitlines()


def read(
    parse: Parser, given: str | Iterable[bytes], reading: Reading | None = None
) -> tuple[list[AgentUsage], dict[str, int]]:
    """The events, and what was left out."""
    reading = reading or Reading(name="file", folder="folder")
    found = list(parse(lines(given) if isinstance(given, str) else given, reading))
    return found, reading.skipped


def largest(events: Iterable[AgentUsage]) -> dict[tuple[str, str], AgentUsage]:
    """Of each event the largest, and of equal ones the first: what the ledger keeps."""
    kept: dict[tuple[str, str], AgentUsage] = {}
    for event in events:
        known = kept.get((event.agent, event.event))
        if known is None or size(event) > size(known):
            kept[event.agent, event.event] = event
    return kept


def size(event: AgentUsage) -> int:
    return event.tokens.input_tokens + event.tokens.output_tokens
