"""What Bedrock costs beside what every provider costs: CPU time, the best of several rounds.

``python -m benchmarks.micro.bedrock [--rounds 7] [--seconds 0.1]``

A signature of a body of 2 and of 100 kB, with credentials at hand; an event of a stream: its frame read and checked, what
it says decoded, and that encoded for a client of chat completions.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable
from itertools import count

from benchmarks.micro.stages import best_us, finished
from providers import eventstream
from providers.aws import Signer
from providers.bedrock import models
from providers.bedrock.stream import Decoder
from providers.openai.chat_stream import Encoder
from providers.provider import HttpRequest

URL = models.url("https://bedrock-runtime.us-east-1.amazonaws.com", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "converse")
HEADERS = {"content-type": "application/json", "accept": "application/json", "x-request-id": "req_0123456789abcdef00000001"}


def signing(size: int) -> Callable[[], HttpRequest]:
    """Signs a body of that many bytes."""
    signer = Signer(service="bedrock", region="us-east-1", clock_s=lambda: 0.0)
    request = HttpRequest(URL, HEADERS, b"x" * size)
    asyncio.run(signer.signed(request))
    return lambda: finished(signer.signed(request))


def frame(kind: str, payload: bytes) -> bytes:
    """One event as Bedrock sends it."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return eventstream.encode(headers, payload)


def streaming() -> dict[str, Callable[[], object]]:
    """The steps of one event."""
    event = frame("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":" hello"},"p":"abcdefghijklmnopqrst"}')
    reader, decoder = eventstream.Reader(), Decoder()
    encoder = Encoder(model="m", created_s=1, include_usage=True)
    for begun in decoder.feed(frame("messageStart", b'{"role":"assistant"}') + event):
        encoder.feed(begun)
    return {
        "frame of an event, read and checked": lambda: reader.feed(event),
        "frame to event": lambda: decoder.feed(event),
        "frame to a chunk of chat completions": lambda: [encoder.feed(it) for it in decoder.feed(event)],
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1)
    options = parser.parse_args()
    # Made up; nothing is sent anywhere.
    os.environ |= {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_SESSION_TOKEN": "t" * 400}
    steps = {f"signature of {size // 1000} kB": signing(size) for size in (2_000, 100_000)} | streaming()
    for number, (name, step) in zip(count(1), steps.items(), strict=False):
        print(f"{number}. {name:40} {best_us(step, rounds=options.rounds, seconds=options.seconds):8.1f} µs")


if __name__ == "__main__":
    main()
