"""What it costs that a client and a provider speak different protocols: CPU time, the best of several rounds.

``python -m benchmarks.micro.translation [--rounds 7] [--seconds 0.1]``

For each pair: an event of a stream (a piece of text, each in a chunk of its own), a whole answer of 2 kB, and a request of
2 kB.  Where both speak the same protocol it is what the pass-through costs.  The whole gateway adds the same to both.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.micro.stages import best_us
from providers.openai.vendors import VENDORS
from providers.protocol import Reader, Told
from providers.provider import Endpoint, Upstream
from providers.registry import WIRES
from providers.usage import semantics_of
from proxy.api import gemini, heads
from proxy.attempts.translation import Translated, Translation, codec_of, whole
from proxy.call import Call, Deployment

PAIRS: dict[Endpoint, str] = {
    "chat/completions": "openai",
    "responses": "openai",
    "messages": "anthropic",
    "generateContent": "gemini",
}
TEXT = "The quick brown fox jumps over the lazy dog. " * 40
WORD = " hello"
TOLD = Told(model="model-1", created_s=1)
encode = msgspec.json.encode


def said(kind: str, value: dict[str, Any], *, end: bytes = b"\n") -> bytes:
    """One event of a stream.  end: of its lines, as the provider has it."""
    name = b"event: %b%b" % (kind.encode(), end) if kind else b""
    return name + b"data: " + encode(value) + end + end


def chunk(delta: dict[str, Any]) -> bytes:
    """One event of a stream of chat completions."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    head = {"id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion.chunk", "created": 1741569952}
    return said("", {**head, "model": "gpt-4o-mini", "system_fingerprint": "fp_1", "choices": [choice]})


USAGE = {"promptTokenCount": 5, "candidatesTokenCount": 7, "totalTokenCount": 12}
PART = {"content": {"parts": [{"text": WORD}], "role": "model"}, "index": 0}
GENERATED = {"candidates": [PART], "usageMetadata": USAGE, "modelVersion": "gemini", "responseId": "r"}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORD}}
ITEM = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
OUTPUT_TEXT = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
STREAMS: dict[Endpoint, tuple[bytes, bytes]] = {
    "responses": (
        said("response.created", {"type": "response.created", "response": {"id": "resp_1", "model": "gpt", "output": []}})
        + said("response.output_item.added", {"type": "response.output_item.added", "output_index": 0, "item": ITEM})
        + said("response.content_part.added", {"type": "response.content_part.added", **AT, "part": OUTPUT_TEXT}),
        said(
            "response.output_text.delta",
            {"type": "response.output_text.delta", **AT, "delta": WORD, "logprobs": [], "sequence_number": 5},
        ),
    ),
    "chat/completions": (chunk({"role": "assistant", "content": ""}), chunk({"content": WORD})),
    "messages": (
        said("message_start", {"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": {}}})
        + said(
            "content_block_start", {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        ),
        said("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORD}}),
    ),
    "generateContent": (
        said("", GENERATED, end=b"\r\n"),
        said("", GENERATED, end=b"\r\n"),
    ),
}
"""What a stream begins with, and one of its events."""

MESSAGE = {"role": "assistant", "content": TEXT, "refusal": None}
ANSWERS: dict[Endpoint, bytes] = {
    "responses": encode(
        {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "model": "gpt-4o-mini",
            "status": "completed",
            "output": [{**ITEM, "status": "completed", "content": [{**OUTPUT_TEXT, "text": TEXT}]}],
            "usage": {"input_tokens": 19, "output_tokens": 17, "total_tokens": 36},
        }
    ),
    "chat/completions": encode(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o-mini",
            "choices": [{"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 19, "completion_tokens": 17, "total_tokens": 36},
        }
    ),
    "messages": encode(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [{"type": "text", "text": TEXT}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 19, "output_tokens": 17},
        }
    ),
    "generateContent": encode(
        {
            "candidates": [{"content": {"parts": [{"text": TEXT}], "role": "model"}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": USAGE,
            "modelVersion": "gemini",
        }
    ),
}
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
REQUESTS: dict[Endpoint, bytes] = {
    "responses": encode(
        {
            "model": "m",
            "instructions": "Be brief.",
            "input": [{"role": "user", "content": TEXT}],
            "max_output_tokens": 100,
            "tools": [{"type": "function", "name": "weather", "parameters": TOOL, "strict": False}],
        }
    ),
    "chat/completions": encode(
        {
            "model": "m",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TEXT}],
            "max_tokens": 100,
            "tools": [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}],
        }
    ),
    "messages": encode(
        {
            "model": "m",
            "system": "Be brief.",
            "messages": [{"role": "user", "content": TEXT}],
            "max_tokens": 100,
            "tools": [{"name": "weather", "input_schema": TOOL}],
        }
    ),
    "generateContent": encode(
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [{"role": "user", "parts": [{"text": TEXT}]}],
            "generationConfig": {"maxOutputTokens": 100},
            "tools": [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": TOOL}]}],
        }
    ),
}


def reader(client: Endpoint, upstream: Endpoint) -> Reader:
    """What takes the upstream's stream and gives the client's."""
    semantics = semantics_of(PAIRS[upstream], upstream)
    if client == upstream:
        return WIRES[upstream].tap(False, semantics)
    return Translated(codec_of(upstream).decoder(semantics), codec_of(client).encoder, TOLD)


def an_event(client: Endpoint, upstream: Endpoint) -> Callable[[], object]:
    """What one event costs."""
    begin, event = STREAMS[upstream]
    stream = reader(client, upstream)
    stream.feed(begin)
    return lambda: stream.feed(event)


def an_answer(client: Endpoint, upstream: Endpoint) -> Callable[[], object]:
    """What a whole answer costs."""
    semantics = semantics_of(PAIRS[upstream], upstream)
    body = ANSWERS[upstream]
    if client == upstream:
        return lambda: WIRES[upstream].peek(body, semantics)
    return lambda: whole(body, upstream=upstream, client=client, semantics=semantics, told=TOLD)


def a_request(client: Endpoint, upstream: Endpoint) -> Callable[[], object] | None:
    """What a request costs that was not asked before; ``None``: it passes as it is."""
    if client == upstream:
        return None
    vendor = VENDORS[PAIRS[upstream]]
    to = Deployment(upstream=Upstream(provider=vendor.name, account="a", vendor=vendor, base_url=""), model="m")
    body = REQUESTS[client]
    method = gemini.method_of("/v1beta/models/m:generateContent", {}) if client == "generateContent" else None
    head = heads.admit(body, client, method)
    translation = Translation()

    def once() -> bytes:
        call = Call(id="r", endpoint=client, authorization=(), body=body, head=head, received_us=0, started_s=0.0)
        return translation.body(call, to, upstream)

    return once


def main() -> None:
    """Print a line for each pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="how long a round is (default 0.1)")
    arguments = parser.parse_args()

    def spent(step: Callable[[], object] | None) -> str:
        us = 0.0 if step is None else best_us(step, rounds=arguments.rounds, seconds=arguments.seconds)
        return f"{us:10.2f}" if step is not None else f"{'-':>10s}"

    print(f"{'client <- provider':38s} {'event':>10s} {'answer':>10s} {'request':>10s}   (us)")
    for client in PAIRS:
        for upstream in PAIRS:
            figures = (an_event(client, upstream), an_answer(client, upstream), a_request(client, upstream))
            print(f"{client + ' <- ' + upstream:38s} {' '.join(map(spent, figures))}")


if __name__ == "__main__":
    main()
