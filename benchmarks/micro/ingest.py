"""How long coding agents' logs take from their files into the ledger's: ``python -m benchmarks.micro.ingest [EVENTS]``.

Prints seconds for transcripts of Claude Code and rollouts of Codex, half the events each, with as many lines beside them
that have no usage; then for a second run, which finds nothing new, and for the month's report.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from ledger.journal.agent_reports import month_report
from ledger.records import Price
from proxy.commands.agents import Ingestion, Summary

EVENTS = (100_000, 1_000_000)
PER_FILE = 5_000
TEXT = "x" * 400


class OnePrice:
    """Every model costs the same."""

    def price(self, provider: str, model: str, at_us: int | None = None, /) -> Price:
        """One price."""
        del provider, model, at_us
        return ONE


ONE = Price(source="benchmark", input_nusd_per_mtok=3 * 10**9, output_nusd_per_mtok=15 * 10**9)


def claude(number: int) -> str:
    """An answer's line as Claude Code writes it, and one of the user's."""
    at = f"2026-11-{number // 86_400 % 28 + 1:02d}T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000Z"
    usage = (
        f'{{"input_tokens":{number % 97 + 1},"cache_creation_input_tokens":300,"cache_read_input_tokens":9000,'
        '"cache_creation":{"ephemeral_5m_input_tokens":300,"ephemeral_1h_input_tokens":0},"output_tokens":200,'
        '"service_tier":"standard"}'
    )
    session = f"5d1c8a94-0000-4000-8000-{number // PER_FILE:012d}"
    return (
        f'{{"type":"user","cwd":"/home/a/project","sessionId":"{session}","message":{{"role":"user","content":"{TEXT}"}},'
        f'"uuid":"u{number}","timestamp":"{at}"}}\n'
        f'{{"parentUuid":"u{number}","isSidechain":false,"cwd":"/home/a/project","sessionId":"{session}","version":"2.0.1",'
        f'"message":{{"id":"msg_{number:024d}","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929",'
        f'"content":[{{"type":"text","text":"{TEXT}"}}],"stop_reason":null,"usage":{usage}}},"requestId":"req_{number:024d}",'
        f'"type":"assistant","uuid":"a{number}","timestamp":"{at}"}}\n'
    )


def codex(number: int) -> str:
    """A call's counts as Codex writes them, and the answer before it."""
    at = f"2026-11-{number // 86_400 % 28 + 1:02d}T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000Z"
    last = (
        '{"input_tokens":9000,"cached_input_tokens":8000,"output_tokens":200,"reasoning_output_tokens":50,"total_tokens":9200}'
    )
    total = (
        f'{{"input_tokens":{9000 * (number + 1)},"cached_input_tokens":{8000 * (number + 1)},"output_tokens":'
        f'{200 * (number + 1)},"reasoning_output_tokens":{50 * (number + 1)},"total_tokens":{9200 * (number + 1)}}}'
    )
    return (
        f'{{"timestamp":"{at}","type":"response_item","payload":{{"type":"message","role":"assistant","content":"{TEXT}"}}}}\n'
        f'{{"timestamp":"{at}","type":"event_msg","payload":{{"type":"token_count","info":{{"total_token_usage":{total},'
        f'"last_token_usage":{last},"model_context_window":272000}},"rate_limits":null}}}}\n'
    )


def write(root: Path, events: int) -> None:
    """Make the logs."""
    for start in range(0, events // 2, PER_FILE):
        numbers = range(start, min(start + PER_FILE, events // 2))
        name = f"{start // PER_FILE:05d}"
        (root / "claude" / "project").mkdir(parents=True, exist_ok=True)
        (root / "claude" / "project" / f"{name}.jsonl").write_text("".join(map(claude, numbers)))
        (root / "codex").mkdir(parents=True, exist_ok=True)
        head = (
            f'{{"timestamp":"2026-11-01T00:00:00Z","type":"session_meta","payload":{{"id":"{name}","cwd":"/home/a/project",'
            '"model_provider":"openai"}}\n'
            '{"timestamp":"2026-11-01T00:00:00Z","type":"turn_context","payload":{"cwd":"/home/a/project","model":"gpt-5-codex"}}\n'
        )
        (root / "codex" / f"rollout-{name}.jsonl").write_text(head + "".join(map(codex, numbers)))


def ingest(root: Path, path: Path) -> Summary:
    """What the command does where no server runs."""
    places = (("claude-code", root / "claude"), ("codex", root / "codex"))
    work = Ingestion(places, since_us=0, paths=False, dry_run=False, quiet=True)
    return asyncio.run(work.read(path, write=True))


def main() -> None:
    """Measure and print."""
    for count in map(int, sys.argv[1:]) if len(sys.argv) > 1 else EVENTS:
        with tempfile.TemporaryDirectory() as folder:
            root, path = Path(folder), Path(folder, "ledger.sqlite")
            write(root, count)
            size_mb = sum(it.stat().st_size for it in root.rglob("*.jsonl")) / 1e6
            for name in ("first run", "second run"):
                start_s, before = time.perf_counter(), os.times()
                summary = ingest(root, path)
                took_s, after = time.perf_counter() - start_s, os.times()
                here_s, readers_s = (sum(after[at : at + 2]) - sum(before[at : at + 2]) for at in (0, 2))
                print(
                    f"{count:>9,} events, {size_mb:,.0f} MB, {name}: {took_s:.2f} s "
                    f"(CPU: {here_s:.2f} s writing, {readers_s:.2f} s reading), {summary.new:,} new"
                )
            start_s = time.perf_counter()
            rows = month_report(path, year=2026, month=11, daily=False, by="model", prices=OnePrice())
            print(f"{count:>9,} events, report: {time.perf_counter() - start_s:.2f} s, {len(rows)} rows")
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
