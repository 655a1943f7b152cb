"""Clients that leave their streams after every number of events: each stream has its one row, and what it says is so.

``python -m tests.faults.disconnects [--streams 1000]`` prints what it found; it ends with 1 if anything is wrong.  A third of
the streams each is under ``disconnect: cancel``, ``drain`` and ``drain:3``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream, Seen
from tests.process import TollwayProcess, config, tollway

POLICIES = ("cancel", "drain", "drain:3")
WORDS = ("word ",) * 16
EVENTS = len(WORDS) + 4  # who speaks, the words, the finish, the usage, the end
GAP_S = 0.03
AT_ONCE = 24
WALL_S = 600.0


class Left(msgspec.Struct, frozen=True):
    """A stream whose client has left it after so many events, or has read it whole."""

    request_id: str
    policy: str
    read: int


async def leave(proxy: TollwayProcess, key: str, policy: str, events: int) -> Left:
    """Ask for a stream, read so many events of it, and go."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    body = json.dumps({"model": "acme/m", "messages": [{"role": "user", "content": "hi"}], "stream": True})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{proxy.port}\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
    try:
        async with asyncio.timeout(30):
            told = (await reader.readuntil(b"\r\n\r\n")).decode()
            for _ in range(events):
                await reader.readuntil(b"data: ")
    finally:
        writer.transport.abort()
    names = dict(line.split(": ", 1) for line in told.splitlines()[1:] if line)
    return Left(names["x-request-id"], policy, events)


async def drive(proxy: TollwayProcess, keys: dict[str, str], streams: int) -> list[Left]:
    """Leave so many streams, at every event of every policy in turn."""
    found: list[Left] = []
    numbers = iter(range(streams))

    async def client() -> None:
        for number in numbers:
            policy = POLICIES[number % len(POLICIES)]
            # The stream that is asked for has no usage event for its client, nor one after the end.
            found.append(await leave(proxy, keys[policy], policy, number // len(POLICIES) % EVENTS))

    async with asyncio.timeout(WALL_S), asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(client())
    return found


def run(folder: Path, streams: int) -> tuple[list[Left], list[dict[str, Any]], list[tuple[Any, ...]], dict[str, Seen]]:
    """The streams, their records, their entries, and what the upstream saw of each."""
    keys = {policy: "tw-" + secrets.token_hex(32) for policy in POLICIES}
    with OpenAIUpstream() as upstream:
        upstream.script("m", replies.canned(words=WORDS, gap_s=GAP_S))
        declared = {f"k{n}": {"key": f"env:K{n}", "disconnect": policy} for n, policy in enumerate(POLICIES)}
        prices = {"prices": [{"model": "acme/m", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}]}
        setting = config(upstream, {"acme": ["m"]}, keys=declared, ledger=prices)
        setting.env.update({f"K{n}": keys[policy] for n, policy in enumerate(POLICIES)})
        with tollway(folder / "home", setting) as proxy:
            found = asyncio.run(drive(proxy, keys, streams))
            records = proxy.records("acme/m", streams, timeout_s=60)
            entries = [tuple(row.values()) for row in proxy.rows("SELECT request_id, attempt, kind FROM entries")]
            open_after = proxy.open_reservations()
            verified = proxy.command("ledger", "verify")
        assert open_after == []
        assert verified.returncode == 0, verified.stdout
        assert upstream.problems == []
        return found, records, entries, {seen.header("x-request-id") or "": seen for seen in upstream.seen}


def sent_events(seen: Seen, whole_bytes: int) -> int:
    """How many of its events the upstream had sent when its peer left.  whole_bytes: of a stream that was sent whole."""
    assert isinstance(seen.reply, replies.Reply)
    frames = [len(b"%x\r\n" % len(piece)) + len(piece) + 2 for piece in seen.reply.pieces]
    missing = whole_bytes - seen.sent_bytes
    if missing <= 0:
        return len(frames)
    missing -= len(b"0\r\n\r\n")
    while missing > 0:
        missing -= frames.pop()
    return len(frames)


def faults(
    found: list[Left], records: list[dict[str, Any]], entries: list[tuple[Any, ...]], seen: dict[str, Seen]
) -> list[str]:
    """What is not as it must be, a sentence each."""
    wrong = []
    rows = {row["request_id"]: row for row in records}
    if sorted(rows) != sorted(it.request_id for it in found):
        wrong.append(f"{len(rows)} records of {len(found)} streams")
    kinds = Counter((request_id, kind) for request_id, _, kind in entries)
    wrong += [f"{key}: {count} entries" for key, count in kinds.items() if count != 1]
    wrong += [f"{it.request_id} was not settled" for it in found if kinds[it.request_id, "SETTLE"] != 1]
    whole_bytes = max(it.sent_bytes for it in seen.values())
    billed = replies.usage_of("chat/completions", WORDS)["completion_tokens"]
    for it in found:
        row, sent = rows[it.request_id], sent_events(seen[it.request_id], whole_bytes)
        output = row["output_text"] + row["reasoning"]
        what = f"{it.policy} after {it.read} events: {row['quality']}, {output} tokens, {sent} events sent"
        if row["quality"] == "exact" and output != billed:
            wrong.append(f"{what}, {billed} billed")
        if row["quality"] != "exact" and (it.policy == "drain" or abs(sent - output) > 1 or output < it.read):
            wrong.append(what)
        if it.policy == "drain:3" and row["quality"] != "exact" and output > it.read + 3 + 2:
            wrong.append(what)
        if (row["outcome"], row["status"]) not in (("client_closed", 499), ("ok", 200)):
            wrong.append(f"{what}, {row['outcome']}")
    return wrong


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, records, entries, seen = run(Path(folder), arguments.streams)
    wrong = faults(found, records, entries, seen)
    for line in wrong:
        print(line)
    policy_of = {it.request_id: it.policy for it in found}
    qualities = Counter((policy_of.get(row["request_id"]), row["quality"]) for row in records)
    print(f"{len(found)} streams left, {len(records)} rows, {dict(sorted(qualities.items(), key=str))}, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
