"""Two streams of messages are one to whoever reads them."""

from __future__ import annotations

import json
from typing import Any

from providers.anthropic.joined import Joined


def event(**said: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (said["type"].encode(), json.dumps(said).encode())


START = event(type="message_start", message={"id": "m"})
END = event(type="message_stop")


def begun(index: int, kind: str) -> bytes:
    return event(type="content_block_start", index=index, content_block={"type": kind})


def more(index: int) -> bytes:
    return event(type="content_block_delta", index=index, delta={"type": "text_delta", "text": "content_block_start"})


def stopped(index: int) -> bytes:
    return event(type="content_block_stop", index=index)


def told(events: bytes) -> list[tuple[str, int | None]]:
    values = [json.loads(part.partition(b"data: ")[2]) for part in events.split(b"\n\n") if part]
    return [(value["type"].removeprefix("content_block_"), value.get("index")) for value in values]


def test_a_text_goes_on_in_the_block_that_is_open() -> None:
    joined = Joined(blocks=1, is_open=True)

    events = b"".join(joined(it) for it in (START, begun(0, "text"), more(0) + stopped(0), begun(1, "tool_use"), END))

    assert told(events) == [("delta", 0), ("stop", 0), ("start", 1), ("message_stop", None)]


def test_anything_else_begins_a_block_of_its_own_behind_it() -> None:
    joined = Joined(blocks=2, is_open=True)

    events = joined(START + begun(0, "thinking") + stopped(0) + begun(1, "text") + more(1) + stopped(1) + END)

    assert told(events) == [
        ("stop", 1),
        ("start", 2),
        ("stop", 2),
        ("start", 3),
        ("delta", 3),
        ("stop", 3),
        ("message_stop", None),
    ]


def test_where_none_is_open_none_is_closed() -> None:
    joined = Joined(blocks=1, is_open=False)

    assert told(joined(START + begun(0, "text") + more(0))) == [("start", 1), ("delta", 1)]
