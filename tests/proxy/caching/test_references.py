"""What answers consisted of that nobody keeps, and what refers to it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from proxy.api.gate import admit
from proxy.caching.references import ITEM_MAX_BYTES, OVERHEAD_BYTES, References
from proxy.call import Call, Completed, Principal, Streaming
from tests.proxy import samples

THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": "tollway:x",
}
WORDS = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Grüße"}]}
ANSWER = {"id": "resp_1", "object": "response", "store": False, "output": [THOUGHT, WORDS]}


def asking(*items: Any, key: str = "mine", **fields: Any) -> Call:
    body = json.dumps({"model": "m", "input": list(items), "tools": [{"b": 1.0, "a": 1}], **fields}).encode()
    return samples.call(endpoint="responses", principal=Principal(key_id=key, name=key), body=body, head=admit(body))


def reference(name: str) -> dict[str, str]:
    return {"type": "item_reference", "id": name}


class Ended:
    """Chunks of a stream that is over."""

    def __init__(self, closing: bytes) -> None:
        self.closing = closing


async def kept(known: References, call: Call, answer: dict[str, Any], *, streamed: bool = False) -> None:
    body = json.dumps(answer).encode()
    if not streamed:
        await known.keep(call, Completed(status=200, headers=[], body=body))
        return
    told = json.dumps({"type": "response.completed", "response": answer})
    closing = f"event: response.output_item.done\ndata: {{}}\n\nevent: response.completed\ndata: {told}\n\n".encode()
    reply = Streaming(200, [], Ended(closing))  # type: ignore[arg-type]  # what is asked of a stream that is over
    await known.keep(call, reply)
    await reply.finish()


def known(answer: dict[str, Any] = ANSWER, *, streamed: bool = False, **bounds: int) -> References:
    made = References(**bounds)
    asyncio.run(kept(made, asking(), answer, streamed=streamed))
    return made


@pytest.mark.parametrize("streamed", [False, True])
def test_what_is_referred_to_stands_in_its_place_and_all_else_is_as_it_was(streamed: bool) -> None:
    call = asking({"role": "user", "content": "a"}, reference("rs_1"), reference("msg_1"), {"role": "user", "content": "b"})

    body = known(streamed=streamed).resolved(call).body

    sent = json.loads(call.body)
    assert json.loads(body) == {**sent, "input": [sent["input"][0], THOUGHT, WORDS, sent["input"][3]]}
    assert b'"tools":[{"b": 1.0, "a": 1}]' in body


def test_what_is_referred_to_twice_was_said_once() -> None:
    call = asking(reference("msg_1"), reference("msg_1"), {"role": "user", "content": "b"})

    body = json.loads(known().resolved(call).body)

    assert body["input"] == [WORDS, {"role": "user", "content": "b"}]


@pytest.mark.parametrize(
    "call",
    [
        asking(reference("rs_2")),
        asking(reference("rs_1"), key="theirs"),
        asking({"role": "user", "content": "what is an item_reference?"}),
        asking({"type": "item_reference"}),
        samples.call(endpoint="responses", fields={"input": "item_reference"}),
        samples.call(fields={"input": [reference("rs_1")]}),
    ],
    ids=["unknown", "another key's", "words", "no id", "a text", "another endpoint"],
)
def test_what_refers_to_nothing_of_the_keys_is_left_as_it_is(call: Call) -> None:
    assert known().resolved(call) is call


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (asking(store=False), ANSWER),
        (asking(), {**ANSWER, "store": True}),
        (asking(), {**ANSWER, "store": True, "metadata": {"a": '"store":false'}}),
        (asking(), {"object": "list", "data": ['"store":false']}),
        (asking(), {**ANSWER, "output": [{"type": "message"}, {"type": "reasoning", "id": 7}]}),
        (asking(), {**ANSWER, "output": [{**WORDS, "id": "x", "content": "x" * ITEM_MAX_BYTES}]}),
        (samples.call(), ANSWER),
    ],
    ids=["not wanted", "kept elsewhere", "in words", "no answer", "no ids", "too large", "another endpoint"],
)
def test_nothing_else_is_remembered(call: Call, answer: dict[str, Any]) -> None:
    memory = References()

    asyncio.run(kept(memory, call, answer))

    assert len(memory) == 0


def test_a_stream_that_was_cut_leaves_nothing() -> None:
    memory = References()
    reply = Streaming(200, [], Ended(b"event: error\ndata: {}\n\n"))  # type: ignore[arg-type]  # as above

    asyncio.run(memory.keep(asking(), reply))
    asyncio.run(reply.finish())

    assert len(memory) == 0


def test_the_oldest_makes_room_and_what_is_used_is_younger() -> None:
    item = {"type": "message", "role": "assistant", "content": "x" * 100}
    size = len(json.dumps({**item, "id": "a"})) + OVERHEAD_BYTES
    memory = References(3 * size)
    for name in "abc":
        asyncio.run(kept(memory, asking(), {**ANSWER, "output": [{**item, "id": name}]}))
    memory.resolved(asking(reference("a")))

    asyncio.run(kept(memory, asking(), {**ANSWER, "output": [{**item, "id": "d"}]}))

    found = [name for name in "abcd" if b"xxx" in memory.resolved(asking(reference(name))).body]
    assert found == ["a", "c", "d"]


def test_with_no_room_nothing_is_remembered() -> None:
    assert len(known(max_bytes=0)) == 0


def test_the_same_again_takes_no_more_room() -> None:
    memory = known(max_bytes=2 * (len(json.dumps(THOUGHT)) + OVERHEAD_BYTES))

    for _ in range(5):
        asyncio.run(kept(memory, asking(), ANSWER))

    assert len(memory) == 2
