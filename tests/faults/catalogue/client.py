"""Rows D: what a client does."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from typing import Any

from tests.fakes import replies
from tests.faults.catalogue.bench import BODY_MAX_BYTES, BODY_S, HEADER_S, KEEP_ALIVE_S, WRITE_S
from tests.faults.catalogue.case import Case
from tests.faults.catalogue.row import row


def body(case: Case, **fields: Any) -> dict[str, Any]:
    return {"model": case.solo, "messages": case.ASK, **fields}


@row("D1", "headers that come a byte at a time", repeats=5)
async def slow_headers(case: Case) -> None:
    request = case.request(body(case))
    async with case.raw() as (reader, writer):
        started_s = time.monotonic()
        for at in range(len(request)):
            writer.write(request[at : at + 1])
            try:
                answered = await asyncio.wait_for(reader.read(1), 0.05)
            except TimeoutError:
                continue
            break
        else:
            raise AssertionError("it was waited for without end")
        took_s = time.monotonic() - started_s

    assert answered in (b"", b"H")
    assert took_s < HEADER_S + 1.5
    assert case.seen() == []


@row("D2", "a body that comes a byte at a time", repeats=5)
async def slow_body(case: Case) -> None:
    request = case.request(body(case))
    async with case.raw(request[:-100]) as (reader, writer):
        for at in range(len(request) - 100, len(request) - 1):
            writer.write(request[at : at + 1])
            try:
                answered = await asyncio.wait_for(reader.read(12), BODY_S / 8)
            except TimeoutError:
                continue
            break
        else:
            raise AssertionError("it was waited for without end")

    assert answered == b"HTTP/1.1 408"


@row(
    "D3",
    "a stream that nobody reads",
    repeats=5,
    provider={"first_byte_timeout_s": 20.0, "idle_timeout_s": 20.0, "total_timeout_s": 30.0},
)
async def slow_reader(case: Case) -> None:
    case.script(replies.canned(words=["z" * 100_000] * 150))
    async with case.raw(case.request(body(case, stream=True))) as (reader, _):
        transport = reader._transport  # type: ignore[attr-defined]  # the only way to leave bytes unread
        transport.pause_reading()
        await case.records_within(WRITE_S + 5)

    (record,) = await case.records()
    assert record["outcome"] == "client_closed", record["attempts"]
    assert record["cost_nusd"] > 0


@row("D4", "a connection that is kept and not used", repeats=5)
async def idle(case: Case) -> None:
    case.script(replies.canned())
    async with case.raw(case.request(body(case))) as (reader, _):
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        rest = await asyncio.wait_for(reader.read(), KEEP_ALIVE_S + 3)

    assert b"chatcmpl-fake" in rest


@row("D5", "the client leaves before the upstream's headers")
async def leaves_early(case: Case) -> None:
    case.script(replies.SILENCE)
    async with case.raw(case.request(body(case))):
        await case.upstream.until(lambda: len(case.seen()) == 1)

    await case.upstream.until(lambda: case.seen()[0].aborted, 1)
    (record,) = await case.records()
    assert (record["outcome"], record["quality"]) == ("client_closed", "held")


@row("D6", "the client leaves in the middle of a stream")
async def leaves_stream(case: Case) -> None:
    case.script(replies.canned(words=["word "] * 1000, gap_s=0.02))
    async with case.raw(case.request(body(case, stream=True))) as (reader, _):
        await case.first_event(reader)
        for _ in range(1 + case.number % 5):
            await asyncio.wait_for(reader.readuntil(b"\n\n"), 5)

    await case.upstream.until(lambda: case.seen()[0].aborted, 1)
    (record,) = await case.records()
    assert (record["outcome"], record["quality"]) == ("client_closed", "estimated")
    assert record["cost_nusd"] > 0


@row("D7", "the client leaves while a whole answer is made")
async def leaves_whole(case: Case) -> None:
    case.script(replies.canned(wait_s=0.5))
    async with case.raw(case.request(body(case))):
        await case.upstream.until(lambda: len(case.seen()) == 1)

    await case.upstream.until(lambda: case.seen()[0].aborted, 1)
    (record,) = await case.records()
    assert record["outcome"] == "client_closed"


@row("D8", "the provider says that it counted nothing")
async def nothing_counted(case: Case) -> None:
    none = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    case.script(lambda asked: replies.answer({**json.loads(replies.canned()(asked).pieces[0]), "usage": none}, usage=none))

    answer = await case.ask()

    (record,) = await case.records()
    assert answer.status == 200
    assert (record["quality"], record["cost_nusd"]) == ("exact", 0)


@row("D9", "the client closes its sending half and waits for the answer")
async def half_close(case: Case) -> None:
    stream = case.number % 2 == 0
    case.script(replies.canned(wait_s=case.pick(0.0, 0.1, 0.3), gap_s=0.02 if stream else 0.0))
    async with case.raw(case.request(body(case, stream=stream))) as (reader, writer):
        if case.number % 4 == 0:
            await case.first_event(reader)
        writer.write_eof()
        read = await asyncio.wait_for(reader.read(), 10)

    (record,) = await case.records()
    assert read.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n" if stream else b"}")
    assert (record["outcome"], record["quality"]) == ("ok", "exact")
    assert [seen.aborted for seen in case.seen()] == [False]


# The two hundred get their first events one after another: on a slow machine that takes longer than other rows' patience.
@row(
    "D10",
    "two hundred clients leave at once",
    repeats=1,
    provider={"connect_timeout_s": 20.0, "first_byte_timeout_s": 20.0, "total_timeout_s": 30.0},
)
async def storm(case: Case) -> None:
    case.script(replies.canned(words=["word "] * 1000, gap_s=0.05))
    request = case.request(body(case, stream=True))

    async def leave() -> None:
        async with case.raw(request) as (reader, _):
            await case.first_event(reader, within_s=20)

    await case.gather(*(leave() for _ in range(200)))

    rows = await case.records_within(20, count=200)
    assert {record["outcome"] for record in rows} == {"client_closed"}


@row("D11", "a body that is too large, announced, chunked, without an end")
async def too_large(case: Case) -> None:
    huge = case.request(b"", length=BODY_MAX_BYTES + 1)
    status, read, closed = await case.answered(huge)
    assert (status, json.loads(read)["error"]["code"], closed) == (413, "request_too_large", True)

    chunked = case.request(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    async with case.raw(chunked) as (reader, writer):
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        for _ in range(BODY_MAX_BYTES // 65536 + 2):
            writer.write(piece)
        head = await asyncio.wait_for(reader.read(12), 5)
    assert head == b"HTTP/1.1 413"
    assert case.seen() == []


@row("D12", "JSON that is deep, wide, or has a number of a million digits")
async def bombs(case: Case) -> None:
    data = case.pick(
        b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"m","n":' + b"9" * 900_000 + b"}",
        b'{"model":' + b'{"a":' * 100 + b"1" + b"}" * 100 + b"}",
    )

    started_s = time.monotonic()
    status, read, _ = await case.answered(case.request(data))

    assert (status, json.loads(read)["error"]["type"]) == (400, "invalid_request_error")
    assert time.monotonic() - started_s < 3
    assert case.seen() == []


@row("D13", "NaN, a key twice, bytes that are no UTF-8, a surrogate, a mark, a tail")
async def doubtful_json(case: Case) -> None:
    data = case.pick(
        b'{"model":"m","temperature":NaN}',
        b'{"model":"m","temperature":1e999}',
        b'{"model":"m","model":"n"}',
        b'{"model":"\xff"}',
        b'{"model":"m","x":"\\ud800"}',
        b'\xef\xbb\xbf{"model":"m"}',
        b'{"model":"m"} tail',
    )

    status, read, _ = await case.answered(case.request(data))

    assert (status, json.loads(read)["error"]["code"]) == (400, "invalid_json")


@row("D14", "the wrong type in a field that is read here")
async def wrong_types(case: Case) -> None:
    field, value = case.pick(
        ("stream", "yes"), ("model", 7), ("stream_options", []), ("max_tokens", "many"), ("n", 0), ("model", None)
    )

    status, read, _ = await case.answered(case.request({**body(case), field: value}))

    assert status == 400
    assert json.loads(read)["error"]["param"] == field
    assert case.seen() == []


@row("D15", "fields that name another upstream, and fields that nobody knows")
async def foreign_fields(case: Case) -> None:
    case.script(replies.canned())

    name = case.pick("api_base", "base_url", "api_key", "extra_headers")

    refused = await case.ask(**{name: "http://127.0.0.1:9"})
    answer = await case.ask(whatever={"a": 1})

    (seen,) = case.seen()
    assert (refused.status, refused.error["param"]) == (400, name)
    assert answer.status == 200
    assert seen.json["whatever"] == {"a": 1}


@row("D16", "counts that are no counts")
async def odd_counts(case: Case) -> None:
    case.script(replies.canned())
    value = case.pick(b"9223372036854775808", b"-1", b"1e308", b'"\xe2\x88\x9e"', b"1.5")
    data = b'{"model":"%s","messages":[{"role":"user","content":"x"}],"max_tokens":%s}' % (case.solo.encode(), value)

    status, read, _ = await case.answered(case.request(data))

    assert status == 400
    assert json.loads(read)["error"]["param"] == "max_tokens"
    assert case.seen() == []


@row("D17", "requests that could be read in two ways")
async def smuggling(case: Case) -> None:
    plain = case.request(body(case))
    data = case.pick(
        plain.replace(b"content-type", b"transfer-encoding: chunked\r\ncontent-type"),
        plain.replace(b"content-type", b"content-length: 5\r\ncontent-type"),
        plain.replace(b"content-length: ", b"content-length: +"),
        plain.replace(b"content-length:", b"content-length :"),
        plain.replace(b"host: ", b"host: a.example\r\nhost: "),
        plain.replace(b"content-type: ", b"x: a\r\n b\r\ncontent-type: "),
        plain.replace(b"HTTP/1.1", b"HTTP/9.9"),
    )

    status, read, closed = await case.answered(data)

    assert (status, closed) == (400, True), (status, closed, read[:200])
    assert case.seen() == []


@row("D18", "an Idempotency-Key: twice at once, again, with another body, after its client has left")
async def idempotent(case: Case) -> None:
    case.script(replies.canned(wait_s=0.3))
    stream = case.number % 2 == 0
    name = f"idempotency-key: name-{case.number}"
    data = case.request(body(case, stream=stream), name)

    first, second = await case.gather(case.answered_once(data), case.answered_once(data))
    again = await case.answered_once(data)
    refused, told, _ = await case.answered(case.request({**body(case, stream=stream), "seed": 1}, name))
    async with case.raw(data.replace(b"name-", b"left-")):
        await case.upstream.until(lambda: len(case.seen()) == 2)
    after = await case.answered_once(data.replace(b"name-", b"left-"))

    assert first[0] == second[0] == again[0]
    assert sorted([first[1], second[1], again[1]]) == [False, True, True]
    assert (refused, json.loads(told)["error"]["code"]) == (422, "idempotency_key_reused")
    assert after[1]
    assert [seen.aborted for seen in case.seen()] == [False, False]
    rows = await case.records(6)
    assert sorted(record["cost_nusd"] > 0 for record in rows) == [False] * 4 + [True] * 2


@row("D18b", "a compressed body")
async def compressed(case: Case) -> None:
    case.script(replies.canned())
    asked = json.dumps(body(case)).encode()

    status, read, _ = await case.answered(case.request(gzip.compress(asked), "content-encoding: gzip"))
    unknown, told, _ = await case.answered(case.request(asked, "content-encoding: zstd"))
    bomb, refusal, _ = await case.answered(case.request(gzip.compress(bytes(4_000_000)), "content-encoding: gzip"))

    assert (status, json.loads(read)["object"]) == (200, "chat.completion")
    assert (unknown, json.loads(told)["error"]["code"]) == (415, "unsupported_media_type")
    assert (bomb, json.loads(refusal)["error"]["code"]) == (413, "request_too_large"), (bomb, refusal)


@row("D19", "an SDK's own retry after a 504")
async def sdk_retry(case: Case) -> None:
    case.script(replies.SILENCE, replies.canned())

    first = await case.ask()
    second = await case.ask()

    assert (first.status, first.headers["x-should-retry"]) == (504, "false")
    assert second.status == 200
    assert (case.metered(first), case.metered(second)) == (["HELD"], ["EXACT"])
