"""What a message of a session costs: CPU time of the gateway, alone and as a whole process.

``python -m benchmarks.micro.realtime [--rounds 5] [--messages 20000]``

Alone: a session between two sockets that do nothing, so what it is to read an event and to decide where it goes.  As a whole:
a gateway of its own, an upstream that sends as fast as it is read, a client that reads; the processor time is the gateway's
alone, as the system counts it.  The best round is the one that was disturbed least.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from ledger.records import Settlement
from providers.openai.vendors import CUSTOM
from providers.provider import Listener, Upstream
from providers.usage import semantics_of
from proxy.attempts.realtime import Limits, Session
from proxy.call import Attempt, Call, Deployment, Head, Weight
from tests.process import config, tollway

TEXT = json.dumps(
    {
        "type": "response.output_text.delta",
        "event_id": "event_1",
        "response_id": "resp_1",
        "item_id": "item_1",
        "output_index": 0,
        "content_index": 0,
        "delta": " word",
    }
).encode()
# A tenth of a second of sound, as voices come: 24,000 samples of 16 bits a second, in base64.
SOUND = json.dumps(
    {
        "type": "response.output_audio.delta",
        "event_id": "event_1",
        "response_id": "resp_1",
        "item_id": "item_1",
        "delta": "A" * 6_400,
    }
).encode()
APPEND = json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 6_400}).encode()


class Nothing:
    """A socket that does nothing."""

    listener: Listener

    def listen(self, listener: Listener) -> None:
        """Know who listens."""
        self.listener = listener

    def say(self, data: bytes, *, text: bool) -> None:
        """Nothing."""

    def pause(self) -> None:
        """Nothing."""

    def resume(self) -> None:
        """Nothing."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Nothing."""


class Free:
    """Books of which nothing is written."""

    async def reserve(self, call: Call, number: int, deployment: Deployment) -> None:
        """Nothing."""

    async def settle(self, call: Call, attempt: Attempt, *, unforeseen: bool = False) -> Settlement:
        """Nobody calls it."""
        raise NotImplementedError

    def grow(self, call: Call, number: int, deployment: Deployment) -> None:
        """There is always room."""

    def may_use(self, call: Call, deployment: Deployment) -> None:
        """Everything may be used."""

    def opened(self, call: Call) -> None:
        """Nothing."""

    def watch(self, *_: Any) -> None:
        """Nothing."""


async def alone(data: bytes, *, up: bool, messages: int) -> float:
    """Seconds of CPU for one message."""
    client, upstream = Nothing(), Nothing()
    head = Head(model="m", stream=True, weight=Weight(audio=True))
    call = Call(id="req_1", endpoint="realtime", authorization=(), body=b"", head=head, received_us=0, started_s=0.0)
    where = Upstream(provider="acme", account="default", vendor=CUSTOM, base_url="http://acme.invalid")
    session = Session(
        call,
        1,
        Deployment(upstream=where, model="m"),
        upstream,
        books=Free(),
        identify=lambda _: None,
        limits=Limits(),
        semantics=semantics_of("openai", "realtime"),
        over=lambda *_: None,
        clock_s=time.monotonic,
        clock_us=lambda: 0,
    )
    running = asyncio.ensure_future(session.run(client))
    await asyncio.sleep(0)
    upstream.listener.message(upstream, b'{"type":"response.created","response":{"id":"resp_1"}}', True)
    await asyncio.sleep(0.01)
    source = client if up else upstream
    began_s = time.process_time()
    for _ in range(messages):
        session.message(source, data, True)
    spent_s = time.process_time() - began_s
    client.listener.closed(client, 1006, "")
    running.cancel()
    await asyncio.wait([running])
    return spent_s / messages


def cpu_s(pid: int) -> float:
    """What a process has used of the processor.  Source: proc(5): utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def whole(data: bytes, *, up: bool, messages: int, home: Path) -> float:
    """Seconds of the gateway's CPU for one message."""
    done = asyncio.Event()

    async def talk(connection: ServerConnection) -> None:
        if up:
            for _ in range(messages):
                await connection.recv()
            done.set()
        else:
            await connection.recv()
            for _ in range(messages):
                await connection.send(data, text=True)
        await connection.wait_closed()

    async with serve(talk, "127.0.0.1", 0, compression=None, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        setting = config(None, {"acme": ["m"]}, fields={"acme": {"base_url": f"http://127.0.0.1:{port}/v1"}})
        with tollway(home, setting) as gateway:
            url = f"ws{gateway.base_url.removeprefix('http')}/realtime?model=acme/m"
            async with connect(url, proxy=None, compression=None, additional_headers=gateway.headers, max_size=None) as client:
                await asyncio.sleep(1)  # the start of a gateway is not what is measured
                before_s = cpu_s(gateway.pid)
                if up:
                    for _ in range(messages):
                        await client.send(data, text=True)
                    await done.wait()
                else:
                    await client.send("{}")
                    for _ in range(messages):
                        await client.recv()
                return (cpu_s(gateway.pid) - before_s) / messages


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=20_000)
    asked = parser.parse_args()
    print(f"{'message':<28}{'bytes':>8}{'alone, µs':>12}{'gateway, µs':>14}")
    for name, data, up in (("text, down", TEXT, False), ("sound, down", SOUND, False), ("sound, up", APPEND, True)):
        single = min(asyncio.run(alone(data, up=up, messages=asked.messages)) for _ in range(asked.rounds))
        found = []
        for _ in range(asked.rounds):
            with TemporaryDirectory() as home:
                found.append(asyncio.run(whole(data, up=up, messages=asked.messages, home=Path(home))))
        print(f"{name:<28}{len(data):>8}{single * 1e6:>12.2f}{min(found) * 1e6:>14.1f}")


if __name__ == "__main__":
    main()
