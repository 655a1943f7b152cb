"""What a provider costs that only litellm speaks to: CPU time of the child that runs litellm, and of the signer before it.

``python -m benchmarks.micro.bridge [--requests 100] [--events 200]``

The provider is a fake of Databricks on loopback, in a process's thread of its own.  The start's time is the clock's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path

import httpx

from benchmarks.micro.stages import best_us, finished
from providers.bridge import Bridge
from providers.provider import HttpRequest, Litellm
from tests.fakes.posts import Post, Said, serving

USAGE = {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}
HEAD = {"id": "c", "created": 1, "model": "m"}
REQUEST = HttpRequest("litellm:/chat/completions", {"content-type": "application/json"}, b"{}")


def answer(post: Post, events: int) -> Said:
    """A whole answer of 2 kB, or a stream of so many events."""
    if not json.loads(post.body).get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": "word " * 360}, "finish_reason": "stop"}
        body = {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}
        return Said(200, "application/json", json.dumps(body).encode())
    chunks = [
        {**HEAD, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "word "}}]}
        for _ in range(events)
    ]
    chunks.append({**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE})
    rows = "".join(f"data: {json.dumps(it)}\n\n" for it in chunks)
    return Said(200, "text/event-stream", f"{rows}data: [DONE]\n\n".encode())


def cpu_s(pid: int) -> float:
    """The processor time that a process has used.  Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def rss_mb(pid: int) -> float:
    """The memory that it holds.  Linux."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--events", type=int, default=200)
    options = parser.parse_args()
    with serving(lambda post: answer(post, options.events)) as url:
        bridge = Bridge()
        way = bridge.account(Litellm(provider="databricks", timeout_s=60, api_key="k", base_url=f"{url}/serving-endpoints"))
        began_s = time.monotonic()
        request = asyncio.run(way.signed(REQUEST))
        started_s = time.monotonic() - began_s
        pid = bridge.pid
        assert pid is not None
        started_cpu_s = cpu_s(pid)

        def ask(count: int, **more: object) -> float:
            body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **more}
            before_s = cpu_s(pid)
            with httpx.Client(headers=request.headers, timeout=60, trust_env=False) as client:
                for _ in range(count):
                    client.post(request.url, json=body).raise_for_status()
            return (cpu_s(pid) - before_s) / count

        try:
            ask(10)
            ask(1, stream=True)
            whole_s = ask(options.requests)
            stream_s = ask(max(options.requests // 20, 3), stream=True)
            print(f"start: {started_s:.1f} s, {started_cpu_s:.1f} s of CPU, {rss_mb(pid):.0f} MB")
            print(f"a whole answer of 2 kB, in the child: {whole_s * 1e3:.1f} ms of CPU")
            print(f"an event of a stream, in the child: {(stream_s - whole_s) / options.events * 1e3:.2f} ms of CPU")
            print(
                f"the signer, in the gateway: {best_us(lambda: finished(way.signed(REQUEST)), rounds=5, seconds=0.05):.1f} us"
            )
        finally:
            bridge.stop()


if __name__ == "__main__":
    main()
