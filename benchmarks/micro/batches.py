"""What files and batches cost: CPU time, the best of several rounds.

``python -m benchmarks.micro.batches [--rounds 7] [--seconds 0.1]``

A request of a batch, read and weighed before it is made; the same of a hundred that come with it, which are then put together
again; an answer of one, read and summed; a megabyte of a file on its way; a
look at who holds a file among 100,000, and whether a chat names any.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Callable
from itertools import count

from benchmarks.micro.stages import best_us
from ledger.records import Bounds, Price, Rates, ServiceTier
from providers.anthropic.stored import batch_of
from providers.openai.vendors import VENDORS
from providers.provider import Upstream
from proxy.api import file_uploads
from proxy.api.gate import admit
from proxy.api.message_batches import parsed
from proxy.batches.tally import Tally
from proxy.batches.weighing import Weighing
from proxy.call import Call, Head, Principal
from proxy.deployments.held import Held, Holding, with_its_files
from proxy.metering.worst_case import Assumptions, WorstCases

UPSTREAM = Upstream(provider="openai", account="default", vendor=VENDORS["openai"], base_url="https://api.example")
CLAUDE = Upstream(provider="anthropic", account="default", vendor=VENDORS["anthropic"], base_url="https://api.example")
BATCH = Rates(input_nusd_per_mtok=1, output_nusd_per_mtok=2)
PRICE = Price(
    source="a list", input_nusd_per_mtok=2, output_nusd_per_mtok=4, service_tiers=(ServiceTier(name="batch", rates=BATCH),)
)
MEGABYTE = 1024 * 1024
PIECE = 65_536


class Prices:
    """One price for everything."""

    def price(self, _provider: str, _model: str, _at_us: int | None = None, /) -> Price | None:
        """The row."""
        return PRICE


def lines() -> dict[str, Callable[[], object]]:
    """The steps of a batch."""
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "word " * 300}], "max_tokens": 500}
    asked = json.dumps({"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}).encode() + b"\n"
    usage = {"prompt_tokens": 300, "completion_tokens": 200, "total_tokens": 500, "prompt_tokens_details": {"cached_tokens": 0}}
    choice = {"index": 0, "message": {"role": "assistant", "content": "word " * 200}, "finish_reason": "stop"}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-5", "choices": [choice], "usage": usage}
    line = {"id": "r", "custom_id": "1", "response": {"status_code": 200, "body": answer}, "error": None}
    answered = json.dumps(line).encode() + b"\n"
    worst_cases = WorstCases(Prices(), bounds=lambda *_: Bounds(), assumptions=Assumptions())
    weighing = Weighing(UPSTREAM, "chat/completions", worst_cases=worst_cases, prices=Prices(), admit=admit, at_us=1)
    messages = {"model": "claude", "messages": body["messages"], "max_tokens": 500}
    requests = [{"custom_id": str(number), "params": messages} for number in range(100)]
    came = json.dumps({"requests": requests}).encode()

    def made() -> int:
        read = parsed(came)
        whole = Weighing(CLAUDE, "messages", worst_cases=worst_cases, prices=Prices(), admit=admit, at_us=1)
        for head, said in zip(read.heads, read.bodies, strict=True):
            whole.take(said, head)
        whole.end()
        return len(batch_of(read.asked, read.bodies))

    tally = Tally(UPSTREAM, "chat/completions", models=("gpt-5",), prices=Prices(), at_us=1)
    return {
        f"request of {len(asked) / 1000:.1f} kB, weighed": lambda: weighing.feed(asked),
        f"100 messages of {len(came) / 1e5:.1f} kB, weighed": made,
        f"answer of {len(answered) / 1000:.1f} kB, summed": lambda: tally.feed(answered),
    }


def uploading() -> Callable[[], object]:
    """A form with a file of a megabyte, in pieces."""
    head = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    head += b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = head + bytes(MEGABYTE) + b"\r\n--b--\r\n"
    pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
    bounds = file_uploads.Bounds(max_bytes=2 * MEGABYTE, piece_s=60, total_s=60)

    async def coming() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def passed() -> int:
        form = file_uploads.Form(coming(), b"b", file="file", length=len(body), bounds=bounds)
        await form.begin()
        return sum([len(piece) async for piece in form.pieces()])

    loop = asyncio.new_event_loop()
    return lambda: loop.run_until_complete(passed())


def holding() -> dict[str, Callable[[], object]]:
    """The steps of who holds what."""
    held = Held()
    for number in range(100_000):
        held.keep("file", f"file-{number}", Holding(f"key_{number % 100}", "openai", "default"))
    mine = Principal(key_id="key_1", name="")
    call = Call(
        id="r", endpoint="chat/completions", authorization=(), body=b"", head=Head(model="m"), received_us=1, started_s=1.0
    )
    return {
        "who holds a file": lambda: held.find(mine, "file-50001", "file"),
        "a chat that names no file": lambda: with_its_files(held, call, ()),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1)
    options = parser.parse_args()
    steps = lines() | {"megabyte of a form, checked": uploading()} | holding()
    for number, (name, step) in zip(count(1), steps.items(), strict=False):
        print(f"{number}. {name:40} {best_us(step, rounds=options.rounds, seconds=options.seconds):8.1f} µs")


if __name__ == "__main__":
    main()
