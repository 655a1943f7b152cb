"""What pictures, speech, moderation and reranking cost beside what every request costs: CPU time, the best of several rounds.

``python -m benchmarks.micro.media [--rounds 7] [--seconds 0.1]``

Reading the head of a body; looking around the pictures of an answer of 3 and of 30 MB; passing on a streamed picture of 3 MB
that comes in pieces of 64 kB, and a piece of sound; what was used, and what it costs; judging a request at the door.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from itertools import count
from typing import Any

from benchmarks.micro.stages import best_us
from ledger.prices.pieces import charge_nusd
from ledger.records import Pieces, Price, Tokens
from providers.openai import images
from providers.openai.typed_stream import Opaque, TypedReader
from providers.provider import Endpoint
from providers.usage import Usage, semantics_of
from proxy.api.heads import admit
from proxy.api.places import of_line
from proxy.call import Call
from proxy.metering.pieces import pieces_of

USAGE = {"input_tokens": 13, "input_tokens_details": {"text_tokens": 13}, "output_tokens": 272, "total_tokens": 285}
ROW = semantics_of("openai", "images/generations")
PIECE = 65_536
MB = 1_000_000


def body(**fields: Any) -> bytes:
    """A request's JSON."""
    return json.dumps({"model": "openai/gpt-image-2", **fields}).encode()


def answer(size: int) -> bytes:
    """A whole answer of one picture of so many bytes."""
    return json.dumps({"created": 1, "data": [{"b64_json": "QUJD" * (size // 4)}], "usage": USAGE}).encode()


def heads() -> dict[str, Callable[[], object]]:
    """Reading bodies."""
    bodies: dict[Endpoint, bytes] = {
        "moderations": body(input="x" * 300),
        "images/generations": body(prompt="x" * 300, n=2, size="1024x1024", quality="low"),
        "audio/speech": body(input="x" * 300, voice="alloy"),
        "rerank": body(query="x" * 60, documents=["y" * 300] * 20),
    }
    return {f"head of {name}, {len(it)} bytes": lambda name=name, it=it: admit(it, name) for name, it in bodies.items()}


def answers() -> dict[str, Callable[[], object]]:
    """Reading answers."""
    whole = {size: answer(size * MB) for size in (3, 30)}
    event = b"event: image_generation.partial_image\ndata: " + whole[3] + b"\n\n"
    pieces = [event[start : start + PIECE] for start in range(0, len(event), PIECE)]
    reader, sound = TypedReader(".completed", semantics=ROW, drawn=True), Opaque()
    return {
        **{f"answer of {size} MB": lambda it=it: images.decode(it, ROW) for size, it in whole.items()},
        "event of 3 MB in pieces of 64 kB": lambda: [reader.feed(piece) for piece in pieces],
        "piece of sound": lambda: sound.feed(pieces[0]),
    }


def money() -> dict[str, Callable[[], object]]:
    """What was used, and what it costs."""
    raw = body(prompt="x", n=2, size="1024x1024", quality="low")
    asked = Call(
        id="req_1", endpoint="images/generations", authorization=(), body=raw, received_us=0, started_s=0,
        head=admit(raw, "images/generations"),
    )  # fmt: skip
    usage, tokens = Usage(input_uncached=13, output_image=272, images=2), Tokens(input_uncached=13, output_image=272)
    row = Price(source="", input_nusd_per_mtok=5 * 10**9, output_nusd_per_mtok=3 * 10**10, image_nusd=40 * MB)
    return {
        "what was used": lambda: pieces_of(asked, usage),
        "charge by tokens": lambda: charge_nusd(row, tokens, Pieces(images=2), counted=True),
        "charge by the piece": lambda: charge_nusd(row, tokens, Pieces(images=2), counted=False),
        "first line at the door": lambda: of_line(b"POST /v1/messages HTTP/1.1\r\n"),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1)
    options = parser.parse_args()
    steps = heads() | answers() | money()
    for number, (name, step) in zip(count(1), steps.items(), strict=False):
        print(f"{number:2}. {name:40} {best_us(step, rounds=options.rounds, seconds=options.seconds):10.2f} µs")


if __name__ == "__main__":
    main()
