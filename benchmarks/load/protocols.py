"""What a translation costs in the whole gateway: CPU time of its process for each event of a stream and each whole answer.

``python -m benchmarks.load.protocols [--streams 200] [--events 100] [--answers 2000] [--rounds 3] [--pause-ms 0]``

For each pair of protocols a client asks through a running gateway, metering and all, an upstream that answers from memory:
streams of events back to back, and whole answers of 2 kB, eight at a time.  An event costs what a stream of many costs more
than one of few.  What else the machine does only adds to a round, so the least of them is what it costs.  ``--pause-ms``:
between two events; then waking up for each is most of what it costs.  The gateway has a core to itself where ``taskset`` can
see to that.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.load.machine import choose_cores, cpu_s, describe
from benchmarks.load.process import Process, clean_environment
from benchmarks.micro.translation import ANSWERS, PAIRS, REQUESTS, STREAMS
from providers.provider import Endpoint

AT_ONCE = 8
START_LIMIT_S = 30
ENDS: dict[Endpoint, bytes] = {
    "chat/completions": b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"model":"m"}\n\ndata: [DONE]\n\n',
    "messages": (
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        b"event: message_delta\n"
        b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    ),
    "generateContent": b'data: {"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5}}\r\n\r\n',
}
SPOKEN = {endpoint: PAIRS[endpoint] for endpoint in ENDS}
"""What is asked and answered here: a protocol of each vendor."""
_BASE_URL = re.compile(r"^base URL: http://127\.0\.0\.1:(\d+)/v1$", re.MULTILINE)
_PORT = re.compile(r"^upstream: port (\d+)$", re.MULTILINE)
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


# --- the upstream ------------------------------------------------------------------------------------------------------


async def upstream(events: int, pause_s: float) -> None:
    """Answer, in the protocol of the path, until ended; a model called ``few`` streams a tenth of the events."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = _LENGTH.search(head)
                body = await reader.readexactly(int(found[1])) if found else b""
                await answer(writer, head.split(b" ", 2)[1].decode(), body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(writer: asyncio.StreamWriter, path: str, body: bytes) -> None:
        endpoint = next((it for it in PAIRS if it in path or (it == "generateContent" and "enerateContent" in path)), None)
        if endpoint is None:
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            return
        if "stream" not in path and b'"stream":true' not in body:
            said = ANSWERS[endpoint]
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(said) + said)
            return
        begin, event = STREAMS[endpoint]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        few = b"few" in body or "few" in path
        for piece in (begin, *[event] * (events // 10 if few else events), ENDS[endpoint]):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(pause_s)
        writer.write(b"0\r\n\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(f"upstream: port {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


# --- the client --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the gateway."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


def request(client: Endpoint, model: str, key: str, *, stream: bool) -> bytes:
    """A request of 2 kB."""
    body = json.loads(REQUESTS[client])
    path = f"/v1/{client}"
    if client == "generateContent":
        path = f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else client)
    else:
        body |= {"model": model, "stream": stream}
    data = json.dumps(body, separators=(",", ":")).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def ask(port: int, data: bytes, count: int) -> None:
    """Send it so many times, eight at a time, and read the answers."""

    async def one(turns: int) -> None:
        async with connected(port) as (reader, writer):
            for _ in range(turns):
                writer.write(data)
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200"), head
                found = _LENGTH.search(head)
                if found:
                    await reader.readexactly(int(found[1]))
                    continue
                while size := int(await reader.readline(), 16):
                    await reader.readexactly(size + 2)
                await reader.readline()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one(-(-count // AT_ONCE)))


def spent_s(pid: int, port: int, data: bytes, count: int) -> float:
    """CPU seconds of the gateway for one of them."""
    asyncio.run(ask(port, data, AT_ONCE))
    before_s = cpu_s(pid)
    asyncio.run(ask(port, data, count))
    return (cpu_s(pid) - before_s) / (-(-count // AT_ONCE) * AT_ONCE)


def measure(streams: int, events: int, answers: int, pause_ms: float, rounds: int) -> None:
    """Print a line for each pair."""
    cores = choose_cores()
    for name, what in describe().items():
        print(f"{name}: {what}")
    print(cores.note)
    key = f"tw-{secrets.token_hex(32)}"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        serve = cores.on_load([sys.executable, "-m", "benchmarks.load.protocols", "--upstream", "--events", str(events)])
        serve += ["--pause-ms", str(pause_ms)]
        with (home / "upstream").open("wb") as log, Process("upstream", serve, log=log) as process:
            port = int(process.said(_PORT, limit_s=START_LIMIT_S)[1])
            rows = [
                f"  up-{name}: {{type: {name}, api_key: env:K, base_url: 'http://127.0.0.1:{port}/v1', models: [few, many]}}"
                for name in SPOKEN.values()
            ]
            config = home / "config.yaml"
            config.write_text("\n".join(["providers:", *rows]) + "\n")
            environment = {
                **clean_environment(home),
                "TOLLWAY_HOME": folder,
                "TOLLWAY_API_KEY": key,
                "K": "sk-0123456789abcdef",
            }
            command = [str(Path(sys.executable).with_name("tollway")), "serve", "--config", str(config), "--port", "0"]
            with (
                (home / "gateway").open("wb") as output,
                Process("tollway", cores.on_proxy(command), log=output, env=environment) as gateway,
            ):
                front = int(gateway.said(_BASE_URL, limit_s=START_LIMIT_S)[1])
                print(f"{'client <- provider':28s} {'us an event':>16s} {'us an answer':>16s}   (least and most of {rounds})")
                for client, client_name in SPOKEN.items():
                    for name in SPOKEN.values():
                        few, many = (request(client, f"up-{name}/{it}", key, stream=True) for it in ("few", "many"))
                        whole = request(client, f"up-{name}/many", key, stream=False)
                        event_us, answer_us = [], []
                        for _ in range(rounds):
                            more_s = spent_s(gateway.pid, front, many, streams) - spent_s(gateway.pid, front, few, streams)
                            event_us.append(more_s / (events - events // 10) * 1e6)
                            answer_us.append(spent_s(gateway.pid, front, whole, answers) * 1e6)
                        event, answer = (f"{min(it):.1f} {max(it):7.1f}" for it in (event_us, answer_us))
                        print(f"{client_name + ' <- ' + name:28s} {event:>16s} {answer:>16s}", flush=True)


def main() -> None:
    """Measure; or be the upstream."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--answers", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3, help="times that each is measured (default 3)")
    parser.add_argument("--pause-ms", type=float, default=0.0, help="between two events of a stream (default 0)")
    parser.add_argument("--upstream", action="store_true", help="be the upstream")
    arguments = parser.parse_args()
    if arguments.upstream:
        asyncio.run(upstream(arguments.events, arguments.pause_ms / 1000))
    else:
        measure(arguments.streams, arguments.events, arguments.answers, arguments.pause_ms, arguments.rounds)


if __name__ == "__main__":
    main()
