"""``kill -9`` under load: what a client was told is in the books, once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config, tollway

REQUESTS = 20_000
KILLS = 5
AT_ONCE = 48
WALL_S = 150.0
USAGE = replies.usage_of("chat/completions")


class Load:
    """Sends requests, half of them streams, over kills and restarts, and remembers what it was told."""

    def __init__(self, proxy: TollwayProcess) -> None:
        self._proxy = proxy
        self._up = asyncio.Event()
        self._up.set()
        self._due = asyncio.Event()
        self._due_at = 0
        self.sent = 0
        self.acknowledged: list[str] = []
        self.broken = 0
        self.wrong: Counter[str] = Counter()

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=30)
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(headers=self._proxy.headers, timeout=timeout, connector=connector) as session,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._kill())
            for _ in range(AT_ONCE):
                group.create_task(self._work(session))

    async def _kill(self) -> None:
        for number in range(1, KILLS + 1):
            self._due_at = REQUESTS * number // (KILLS + 1)
            await self._due.wait()
            self._due.clear()
            self._up.clear()
            await asyncio.to_thread(self._proxy.kill)
            await asyncio.to_thread(self._proxy.restart)
            self._up.set()

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while self.sent < REQUESTS:
            await self._up.wait()
            self.sent += 1
            if self.sent == self._due_at:
                self._due.set()
            try:
                await self._ask(session, stream=self.sent % 2 == 0)
            except (aiohttp.ClientError, ConnectionError):
                self.broken += 1

    async def _ask(self, session: aiohttp.ClientSession, *, stream: bool) -> None:
        body = _STREAM if stream else _WHOLE
        async with session.post(f"{self._proxy.base_url}/chat/completions", data=body, headers=_HEADERS) as answer:
            read = await answer.read()
        end = b"data: [DONE]\n\n" if stream else b'"system_fingerprint":"fp_fake"}'
        if answer.status == 200 and read.endswith(end):
            self.acknowledged.append(answer.headers["x-request-id"])
        else:
            self.wrong[f"{answer.status} {read[-200:].decode(errors='replace')}"] += 1


_HEADERS = {"content-type": "application/json"}
_WHOLE = b'{"model":"acme/m","messages":[{"role":"user","content":"hello"}]}'
_STREAM = b'{"model":"acme/m","stream":true,"messages":[{"role":"user","content":"hello"}]}'


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_acknowledged_request_is_lost_or_booked_twice_over_five_kills(upstream: OpenAIUpstream, tmp_path: Path) -> None:
    upstream.serve("m")
    with tollway(tmp_path / "home", config(upstream, {"acme": ["m"]})) as proxy:
        started_s = time.monotonic()
        load = asyncio.run(drive(proxy))
        took_s = time.monotonic() - started_s

        proxy.kill()
        proxy.restart()
        records = {row["request_id"]: row for row in proxy.rows("SELECT * FROM requests")}
        rows = proxy.rows("SELECT request_id, attempt, kind, quality FROM entries")
        open_after_restart = proxy.open_reservations()

    acknowledged = set(load.acknowledged)
    reserved = Counter((row["request_id"], row["attempt"]) for row in rows if row["kind"] == "RESERVE")
    closed = Counter((row["request_id"], row["attempt"]) for row in rows if row["kind"] != "RESERVE")
    sent_upstream = {seen.header("x-request-id") for seen in upstream.seen}
    print(f"{load.sent} sent, {len(acknowledged)} acknowledged, {load.broken} broken, {len(records)} records, {took_s:.0f} s")

    assert load.wrong == {}
    assert load.sent >= REQUESTS
    assert load.broken <= KILLS * AT_ONCE
    assert len(load.acknowledged) == len(acknowledged) == load.sent - load.broken
    assert acknowledged - records.keys() == set()
    assert {_booked(records[request_id]) for request_id in acknowledged} == {_BOOKED}
    assert open_after_restart == []
    assert reserved == closed
    assert set(reserved.values()) == {1}
    assert sent_upstream - records.keys() == set()
    assert {request_id for request_id, _ in reserved} - records.keys() == set()
    assert took_s < WALL_S


async def drive(proxy: TollwayProcess) -> Load:
    load = Load(proxy)
    async with asyncio.timeout(WALL_S):
        await load.run()
    return load


_BOOKED = ("ok", 200, "exact", USAGE["prompt_tokens"], USAGE["completion_tokens"])


def _booked(record: dict[str, object]) -> tuple[object, ...]:
    inputs = [record[name] for name in ("input_uncached", "cache_read", "cache_write", "input_audio")]
    outputs = [record[name] for name in ("output_text", "reasoning", "output_audio")]
    totals = [sum(count for count in counts if isinstance(count, int)) for counts in (inputs, outputs)]
    return record["outcome"], record["status"], record["quality"], *totals
