"""``kill -9`` of the whole proxy under load: its books beside the books that the upstream kept of itself.

``python -m tests.faults.kills [--requests 100000] [--kills 20] [--durability power]`` prints what it found, and ends with 1 if
anything is lost, doubled or made up.

Half of the requests are streams; models differ in what an answer costs.  The upstream appends a line to a file of its own
before an answer's first byte: its id and what it bills.  Afterwards every line must be a try in the ledger, once, settled;
every exact try must be a line, and cost to the nano-dollar what the line's usage costs; what a client saw whole must be exact.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config, tollway

AT_ONCE = 48
MODELS = {f"m{count}": count for count in (1, 2, 3, 5, 8, 13, 21)}
"""How many words each model answers with."""
INPUT_NUSD, CACHED_NUSD, OUTPUT_NUSD = 1250, 125, 10_000
"""What a token costs, in nano-dollars."""


class Finding(msgspec.Struct):
    """What the two books say.  wrong: a sentence for each thing that must not be; empty: they agree."""

    sent: int
    acknowledged: int
    refused: int
    broken: int
    billed: int
    settled: int
    exact: int
    estimated: int
    held: int
    exact_nusd: int
    took_s: float
    wrong: list[str]


class Load:
    """Sends requests over kills and restarts, and remembers what it was told."""

    def __init__(self, proxy: TollwayProcess, *, requests: int, kills: int) -> None:
        self._proxy = proxy
        self._requests = requests
        self._kills = kills
        self._up = asyncio.Event()
        self._up.set()
        self._due = asyncio.Event()
        self._due_at = 0
        self._bodies = [_body(model, stream=stream) for stream in (False, True) for model in MODELS]
        self.sent = 0
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self.broken = 0
        self.wrong: Counter[str] = Counter()

    async def run(self) -> None:
        """Until all are sent."""
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
        for number in range(1, self._kills + 1):
            self._due_at = self._requests * number // (self._kills + 1)
            await self._due.wait()
            self._due.clear()
            self._up.clear()
            await asyncio.to_thread(self._proxy.kill)
            await asyncio.to_thread(self._proxy.restart)
            self._up.set()

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while self.sent < self._requests:
            await self._up.wait()
            self.sent += 1
            if self.sent == self._due_at:
                self._due.set()
            number = self.sent
            try:
                await self._ask(session, self._bodies[number // 2 % len(MODELS) + number % 2 * len(MODELS)])
            except (aiohttp.ClientError, ConnectionError):
                self.broken += 1

    async def _ask(self, session: aiohttp.ClientSession, body: bytes) -> None:
        async with session.post(f"{self._proxy.base_url}/chat/completions", data=body, headers=_HEADERS) as answer:
            read = await answer.read()
        end = b"data: [DONE]\n\n" if b'"stream": true' in body else b'"system_fingerprint":"fp_fake"}'
        if answer.status == 200 and read.endswith(end):
            self.acknowledged.append(answer.headers["x-request-id"])
        elif answer.status == 503 and b'"code":"overloaded"' in read:
            # Of a machine that is busy with other things: said at once, with a time to come back, and never charged.
            self.refused.append(answer.headers["x-request-id"])
        else:
            self.wrong[f"{answer.status} {read[-200:].decode(errors='replace')}"] += 1


_HEADERS = {"content-type": "application/json"}


def _body(model: str, *, stream: bool) -> bytes:
    messages = [{"role": "user", "content": "hello"}]
    return json.dumps({"model": f"acme/{model}", "stream": stream, "messages": messages}).encode()


def run(folder: Path, *, requests: int, kills: int, durability: str, wall_s: float) -> Finding:
    """Load it, kill it, and compare the books.  Raises: TimeoutError, after ``wall_s``."""
    path = folder / "upstream.jsonl"
    upstream = OpenAIUpstream(journal=path)
    for model, count in MODELS.items():
        upstream.script(model, replies.canned(words=("word ",) * count))
    price = {
        "input_usd_per_mtok": INPUT_NUSD / 1000,
        "cache_read_usd_per_mtok": CACHED_NUSD / 1000,
        "output_usd_per_mtok": OUTPUT_NUSD / 1000,
    }
    ledger = {"durability": durability, "prices": [{"model": f"acme/{model}", **price} for model in MODELS]}
    with upstream, tollway(folder / "home", config(upstream, {"acme": [*MODELS]}, ledger=ledger)) as proxy:
        started_s = time.monotonic()
        load = Load(proxy, requests=requests, kills=kills)
        asyncio.run(_bounded(load, wall_s))
        took_s = time.monotonic() - started_s

        proxy.kill()
        proxy.restart()
        billed = [json.loads(line) for line in path.read_bytes().splitlines()]
        records = {row["request_id"]: row for row in proxy.rows("SELECT request_id, outcome, status, quality FROM requests")}
        tries = proxy.rows(_TRIES)
        open_after = proxy.open_reservations()
        verified = proxy.command("ledger", "verify", "--config", "config.yaml")
    finding = _compare(load, billed, records, tries, in_flight=kills * AT_ONCE)
    finding.took_s = took_s
    finding.wrong += [f"never resolved: {row}" for row in open_after]
    finding.wrong += [f"{count} clients saw {what}" for what, count in load.wrong.items()]
    finding.wrong += upstream.problems
    if verified.returncode:
        finding.wrong.append(verified.stdout)
    return finding


async def _bounded(load: Load, wall_s: float) -> None:
    async with asyncio.timeout(wall_s):
        await load.run()


_TRIES = """
SELECT r.request_id, t.kind, t.quality, t.cost_nusd, count(*) OVER (PARTITION BY r.request_id, r.attempt) AS ends
FROM entries AS r LEFT JOIN entries AS t
  ON t.request_id = r.request_id AND t.attempt = r.attempt AND t.kind IN ('SETTLE', 'VOID')
WHERE r.kind = 'RESERVE'
"""


def cost_nusd(usage: dict[str, Any]) -> int:
    """What a billed answer costs, reckoned by hand."""
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return int((usage["prompt_tokens"] - cached) * INPUT_NUSD + cached * CACHED_NUSD + usage["completion_tokens"] * OUTPUT_NUSD)


def _compare(
    load: Load,
    billed: list[dict[str, Any]],
    records: dict[str, dict[str, Any]],
    tries: list[dict[str, Any]],
    *,
    in_flight: int,
) -> Finding:
    wrong: list[str] = []
    bills = Counter(it["request_id"] for it in billed)
    usage_of = {it["request_id"]: it["usage"] for it in billed}
    acknowledged = set(load.acknowledged)
    ends = {row["request_id"]: row for row in tries}
    qualities = Counter(row["quality"] for row in tries if row["kind"] == "SETTLE")

    def check(what: str, ids: set[str]) -> None:
        if ids:
            wrong.append(f"{what}: {len(ids)}, such as {min(ids)}")

    check("billed and not in the ledger", bills.keys() - ends.keys())
    check("billed more than once", {key for key, count in bills.items() if count > 1})
    check("reserved or ended more than once", {row["request_id"] for row in tries if row["ends"] != 1})
    check("more tries than requests", {key for key, count in Counter(row["request_id"] for row in tries).items() if count > 1})
    check("billed and void", {key for key in bills if ends[key]["kind"] == "VOID"})
    check("charged, and never billed", {k for k, row in ends.items() if row["quality"] in _KNOWN and k not in bills})
    check("without a record", (ends.keys() | acknowledged) - records.keys())
    check("refused and billed", {key for key in load.refused if key in bills})
    check("seen whole and not exact", {key for key in acknowledged if records[key]["quality"] != "exact"})
    check("seen whole and not ok", {key for key in acknowledged if records[key]["outcome"] != "ok"})
    exact = {key: row["cost_nusd"] for key, row in ends.items() if row["quality"] == "exact"}
    check("of another cost", {key for key, nusd in exact.items() if key in usage_of and nusd != cost_nusd(usage_of[key])})
    theirs_nusd = sum(cost_nusd(usage_of[key]) for key in exact if key in usage_of)
    if sum(exact.values()) != theirs_nusd:
        wrong.append(f"the exact tries cost {sum(exact.values())} nano-dollars, the upstream billed {theirs_nusd}")
    if len(load.acknowledged) != len(acknowledged) or len(acknowledged) != (
        load.sent - load.broken - len(load.refused) - sum(load.wrong.values())
    ):
        wrong.append(
            f"{load.sent} sent, {load.broken} broken, {len(load.refused)} refused, {len(load.acknowledged)} acknowledged"
        )
    orphans = qualities["estimated"] + qualities["held"]
    if max(load.broken, orphans) > in_flight:
        wrong.append(f"{load.broken} broken and {orphans} orphans; at most {in_flight} were under way")
    return Finding(
        sent=load.sent,
        acknowledged=len(acknowledged),
        refused=len(load.refused),
        broken=load.broken,
        billed=len(billed),
        settled=sum(qualities.values()),
        exact=qualities["exact"],
        estimated=qualities["estimated"],
        held=qualities["held"],
        exact_nusd=sum(exact.values()),
        took_s=0,
        wrong=wrong,
    )


_KNOWN = ("exact", "estimated")


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--durability", choices=("process", "power"), default="power")
    parser.add_argument("--wall", type=int, default=1800, help="seconds after which it is given up")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), requests=given.requests, kills=given.kills, durability=given.durability, wall_s=given.wall)
    for line in found.wrong:
        print(line)
    print(
        f"{found.sent} requests, {given.kills} kills, {found.took_s:.0f} s, {given.durability}: {found.acknowledged} seen "
        f"whole, {found.broken} broken, {found.refused} refused; {found.billed} billed by the upstream, "
        f"{found.settled} settled: {found.exact} exact, {found.estimated} estimated, {found.held} held; "
        f"{found.exact_nusd} nano-dollars exact; {len(found.wrong)} wrong"
    )
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
