"""What an entry of the journal costs: CPU time of the whole process, event loop and writer thread together.

``python -m benchmarks.micro.journal [--durability power] [--requests 40000] [--rate 200] [--seconds 10]``

A request is two round trips, as in the proxy: its reservation, then its settlement and its record in one write.  So many
requests are under way at once; the batches grow with them.  Then requests come at a fixed rate, whatever became of the
ones before them, and what is told is how long the journal kept each waiting: both waits together.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import uvloop

from ledger.adapters.sqlite import SqliteLedger
from ledger.records import AttemptRecord, RequestRecord, Reservation, Settlement, Tokens

TOKENS = Tokens(input_uncached=800, cache_read=200, output_text=150, reasoning=50)
RAW = b'{"prompt_tokens":1000,"completion_tokens":200,"total_tokens":1200,"prompt_tokens_details":{"cached_tokens":200}}'
ATTEMPTS = (
    AttemptRecord(
        attempt=1, provider="openai", account="main", upstream_model="gpt-4o", outcome="ok", status=200, duration_us=9000
    ),
)


async def request(ledger: SqliteLedger, request_id: str, at_us: int) -> None:
    """Reserve, then settle and record: three entries in two writes."""
    await ledger.write(
        (
            Reservation(
                request_id=request_id,
                attempt=1,
                at_us=at_us,
                key_id="key_0123456789abcdef",
                endpoint="chat.completions",
                model="openai/gpt-4o",
                provider="openai",
                account="main",
                upstream_model="gpt-4o",
                stream=False,
                input_tokens_estimate=1000,
            ),
        )
    )
    await ledger.write(
        (
            Settlement(
                request_id=request_id,
                attempt=1,
                at_us=at_us + 9000,
                quality="exact",
                tokens=TOKENS,
                cost_nusd=4_250_000,
                price_source="litellm 1.109.1: gpt-4o",
                usage_raw=RAW,
            ),
            RequestRecord(
                request_id=request_id,
                at_us=at_us,
                key_id="key_0123456789abcdef",
                endpoint="chat.completions",
                model="openai/gpt-4o",
                provider="openai",
                upstream_model="gpt-4o",
                answered_model="gpt-4o-2024-08-06",
                stream=False,
                status=200,
                outcome="ok",
                quality="exact",
                tokens=TOKENS,
                cost_nusd=4_250_000,
                price_source="litellm 1.109.1: gpt-4o",
                duration_us=9500,
                ttfb_us=9000,
                attempts=ATTEMPTS,
                usage_raw=RAW,
            ),
        )
    )


async def measure(path: Path, *, durability: str, concurrency: int, requests: int) -> tuple[float, float]:
    """CPU and wall time of one request, in microseconds."""

    async def client(number: int) -> None:
        for turn in range(requests // concurrency):
            await request(ledger, f"req_{turn:012x}{number:012x}", 1_760_000_000_000_000 + turn)

    with SqliteLedger(path, durability="power" if durability == "power" else "process") as ledger:
        await ledger.recover()
        await request(ledger, "req_warm", 1)
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as clients:
            for number in range(concurrency):
                clients.create_task(client(number))
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    done = requests // concurrency * concurrency
    return cpu_s / done * 1e6, wall_s / done * 1e6


async def paced(path: Path, *, durability: str, rate: int, seconds: int) -> list[float]:
    """How long each request waited for the journal, in milliseconds, in order.  They come ``rate`` times a second."""
    waits_ms: list[float] = []

    async def client(number: int, due_s: float) -> None:
        await asyncio.sleep(due_s - loop.time())
        began_s = time.perf_counter()
        await request(ledger, f"req_{number:024x}", 1_760_000_000_000_000 + number)
        waits_ms.append((time.perf_counter() - began_s) * 1e3)

    loop = asyncio.get_running_loop()
    with SqliteLedger(path, durability="power" if durability == "power" else "process") as ledger:
        await ledger.recover()
        await request(ledger, "req_warm", 1)
        start_s = loop.time() + 0.1
        async with asyncio.TaskGroup() as clients:
            for number in range(rate * seconds):
                clients.create_task(client(number, start_s + number / rate))
    return sorted(waits_ms)


def main() -> None:
    """Print a line for each number of requests under way, and one for those that come at a fixed rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--durability", choices=("process", "power"), default="process")
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--rate", type=int, default=200, help="requests a second that come at a fixed rate")
    parser.add_argument("--seconds", type=int, default=10, help="how long they come")
    parser.add_argument("--folder", type=Path, default=None, help="where the file is made (default: the temporary folder)")
    arguments = parser.parse_args()
    print(f"durability {arguments.durability}; a request is 3 entries in 2 writes")
    for concurrency in (1, 16, 64):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            requests = arguments.requests if concurrency > 1 else arguments.requests // 8
            cpu_us, wall_us = uvloop.run(
                measure(
                    Path(folder, "ledger.sqlite"),
                    durability=arguments.durability,
                    concurrency=concurrency,
                    requests=requests,
                )
            )
        print(
            f"{concurrency:4d} under way: {cpu_us:6.1f} us CPU and {wall_us:6.1f} us a request, {cpu_us / 3:5.1f} us an entry"
        )
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        waits_ms = uvloop.run(
            paced(
                Path(folder, "ledger.sqlite"),
                durability=arguments.durability,
                rate=arguments.rate,
                seconds=arguments.seconds,
            )
        )
    p50, p90, p99 = (waits_ms[min(int(len(waits_ms) * share), len(waits_ms) - 1)] for share in (0.5, 0.9, 0.99))
    print(f"{arguments.rate} requests/s: a request waits {p50:.2f} ms (p50), {p90:.2f} ms (p90), {p99:.2f} ms (p99)")


if __name__ == "__main__":
    main()
