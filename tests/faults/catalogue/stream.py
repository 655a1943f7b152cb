"""Rows C: what goes wrong in a stream."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import Any

from tests.fakes import replies
from tests.fakes.replies import DONE, Asked, Raw, Reply, event, event_stream
from tests.faults.catalogue.before_first_byte import taken_over
from tests.faults.catalogue.bench import IDLE_S
from tests.faults.catalogue.case import Answer, Case
from tests.faults.catalogue.row import row

USAGE = replies.usage_of("chat/completions")


def events(asked: Asked) -> tuple[bytes, ...]:
    """A canned stream's events, the terminator last."""
    return replies.canned()(asked).pieces


def streamed(*pieces: bytes, **fields: Any) -> Reply:
    """A stream that the provider bills for."""
    return event_stream(*pieces, usage=USAGE, **fields)


def whole(case: Case, answer: Answer) -> None:
    """The stream came as it should have."""
    assert (answer.status, answer.broken) == (200, False), (answer.status, answer.body[:300])
    assert answer.text == case.TEXT
    assert answer.done


def cut(answer: Answer, code: str = "") -> None:
    """The stream ended by an error event, and says nowhere that it is whole."""
    assert (answer.status, answer.broken) == (200, False)
    assert answer.error["type"] == "upstream_error" or not code
    assert not code or answer.error["code"] == code, answer.error
    assert b"[DONE]" not in answer.body
    assert b'"finish_reason":"stop"' not in answer.body


@row("C1", "headers, and then no event")
async def stalled_before(case: Case) -> None:
    case.script(event_stream(end="hang"))

    answer = await case.ask(case.pair, stream=True)

    assert (answer.status, answer.text) == (200, case.TEXT)
    assert case.metered(answer)[-1] == "EXACT"
    assert answer.took_s < IDLE_S + 3.0


@row("C2", "silence in the middle")
async def stalled(case: Case) -> None:
    case.script(replies.canned(keep=4, end="hang"))

    answer = await case.ask(case.pair, stream=True)

    cut(answer, "upstream_timeout")
    assert case.metered(answer) == ["EST"]
    assert answer.took_s < IDLE_S + 3.0


@row("C3", "an end without a terminator")
async def truncated(case: Case) -> None:
    case.script(replies.canned(keep=4, end="eof"))

    answer = await case.ask(case.pair, stream=True)

    cut(answer)
    assert case.metered(answer) == ["EST"]


@row("C4", "a reset in the middle")
async def reset(case: Case) -> None:
    case.script(replies.canned(keep=4, end="rst", gap_s=0.02))

    answer = await case.ask(case.pair, stream=True)

    cut(answer)
    assert case.metered(answer) == ["EST"]


@row("C5", "an event that is not JSON")
async def malformed(case: Case) -> None:
    bad = case.pick(b'data: {"id": "c1", "choi\n\n', b"data: nonsense\n\n", b"data: [1, 2\n\n")
    case.script(lambda asked: streamed(*events(asked)[:3], bad, *events(asked)[3:], gap_s=0.01))

    answer = await case.ask(stream=True)

    cut(answer, "upstream_invalid_response")
    assert bad.strip() not in answer.body
    assert case.metered(answer) == ["EST"]


@row("C6", "characters that are split between chunks")
async def split_characters(case: Case) -> None:
    def split(asked: Asked) -> Reply:
        data = b"".join(events(asked))
        step = 1 + case.number % 7
        return streamed(*replies.split(data, range(step, len(data), step)))

    case.script(split)

    answer = await case.ask(stream=True)

    whole(case, answer)
    assert case.metered(answer) == ["EXACT"]


@row("C7", "one byte at a time")
async def single_bytes(case: Case) -> None:
    def tiny(asked: Asked) -> Reply:
        data = b"".join(events(asked))
        return streamed(*(data[at : at + 1] for at in range(len(data))))

    case.script(tiny)

    answer = await case.ask(stream=True)

    whole(case, answer)
    assert case.metered(answer) == ["EXACT"]


@row("C8", "CRLF, CR, a byte order mark")
async def line_ends(case: Case) -> None:
    def other(asked: Asked) -> Reply:
        end = case.pick(b"\r\n", b"\r")
        data = b"".join(events(asked)).replace(b"\n", end)
        return streamed(*replies.split(case.pick(b"", b"", b"\xef\xbb\xbf") + data, range(11, len(data), 11)))

    case.script(other)

    answer = await case.ask(stream=True)

    assert (answer.status, answer.broken) == (200, False)
    text = answer.body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removeprefix(b"\xef\xbb\xbf")
    whole(case, Answer(status=200, headers=answer.headers, body=text, took_s=0))
    assert case.metered(answer) == ["EXACT"]


@row("C9", "comments, fields, data over several lines")
async def decorated(case: Case) -> None:
    def decorate(asked: Asked) -> Reply:
        first, *rest = events(asked)
        middle = b'data: {"id":"c1","object":"chat.completion.chunk",\ndata: "choices":[]}\n\n'
        return streamed(b": ping\n\n", b"event: ping\nretry: 10\nid: 9\n\n", first, b":\n\n", middle, *rest)

    case.script(decorate)

    answer = await case.ask(stream=True)

    assert (answer.status, answer.done, answer.broken) == (200, True, False)
    assert case.metered(answer) == ["EXACT"]


@row(
    "C10",
    "an event of five megabytes; a line without an end",
    repeats=10,
    at_once=2,
    provider={"first_byte_timeout_s": 20.0, "idle_timeout_s": 20.0, "total_timeout_s": 30.0},
)
async def giant(case: Case) -> None:
    if case.number % 2 == 0:
        text = "x" * 5_000_000
        case.script(lambda asked: streamed(chunk(text), *events(asked)))
        answer = await case.ask(stream=True)
        assert (answer.status, answer.text, answer.done) == (200, text + case.TEXT, True)
    else:
        case.script(lambda asked: streamed(*events(asked)[:2], b"data: " + b"y" * 30_000_000))
        answer = await case.ask(stream=True)
        cut(answer)
        assert len(answer.body) < 1_000_000


def chunk(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return event({"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]})


@row("C11", "no [DONE]")
async def not_done(case: Case) -> None:
    finished = case.number % 2 == 0
    kept = -1 if finished else -3
    case.script(lambda asked: streamed(*events(asked)[:kept]))

    answer = await case.ask(stream=True)

    if finished:
        whole(case, answer)
        assert case.metered(answer) == ["EXACT"]
    else:
        cut(answer)


@row("C12", "events after [DONE]")
async def after_done(case: Case) -> None:
    case.script(lambda asked: streamed(*events(asked), chunk("late")))

    answers = [await case.ask(stream=True) for _ in range(2)]

    for answer in answers:
        whole(case, answer)
        assert b"late" not in answer.body


@row("C13", "usage was asked for and does not come")
async def no_usage(case: Case) -> None:
    case.script(lambda asked: streamed(*(it for it in events(asked) if b'"choices":[]' not in it)))

    answer = await case.ask(stream=True)

    whole(case, answer)
    assert case.metered(answer) == ["EST"]


@row("C14", "usage first, twice, in every chunk, null")
async def odd_usage(case: Case) -> None:
    def usage(**changes: Any) -> bytes:
        return event(
            {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [], "usage": {**USAGE, **changes}}
        )

    def odd(asked: Asked) -> Reply:
        plain = [it for it in events(asked)[:-1] if b'"choices":[]' not in it]
        early = (usage(), *plain, DONE)
        twice = (*plain, usage(completion_tokens=1), usage(), DONE)
        growing = [
            json.dumps({**json.loads(it[6:]), "usage": {**USAGE, "completion_tokens": index}}).encode()
            for index, it in enumerate(plain)
        ]
        every = (*(b"data: " + it + b"\n\n" for it in growing), usage(), DONE)
        return streamed(*case.pick(early, twice, every))

    case.script(odd)

    answer = await case.ask(stream=True)

    whole(case, answer)
    assert case.metered(answer) == ["EXACT"]


@row("C15", "an error event in the middle, as OpenAI and as Anthropic write it")
async def error_event(case: Case) -> None:
    said = case.pick(
        event({"error": {"message": "busy", "type": "server_error", "param": None, "code": None}}),
        event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, name="error"),
    )
    case.script(lambda asked: streamed(*events(asked)[:3], said, *events(asked)[3:]))

    answer = await case.ask(stream=True)

    assert answer.status == 200
    assert b"[DONE]" not in answer.body
    assert b"error" in answer.events[-1]
    assert case.metered(answer) == ["EST"]


@row("C16", "an error as the first event of a 200")
async def error_first(case: Case) -> None:
    said = case.pick(
        event({"error": {"message": "busy", "type": "server_error", "param": None, "code": "overloaded"}}),
        event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, name="error"),
    )
    case.script(event_stream(said))

    answer = await case.ask(case.pair, stream=True)

    taken_over(case, answer, ("VOID", "EST"))


@row("C17", "tool calls interleaved, with gaps, cut in an escape")
async def tool_calls(case: Case) -> None:
    parts = ['{"city":"Ł', "\\u00f3d", 'ź","n":', "1}"]
    pieces = []
    for part in parts:
        for index in (0, 2):
            call = {"index": index, "function": {"arguments": part}}
            pieces.append(
                event({"id": "c1", "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]})
            )
    pieces.append(event({"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}))
    data = b"".join(pieces)
    step = 3 + case.number
    case.script(streamed(*replies.split(data, range(step, len(data), step)), DONE))

    answer = await case.ask(stream=True)

    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(data + DONE).digest()


@row("C18", "a stream was asked for, a whole answer comes")
async def not_a_stream(case: Case) -> None:
    plain = Asked(endpoint="chat/completions", model="m", stream=False, include_usage=False, tool="", base64=False, inputs=1)
    case.script(replies.canned()(plain))

    answer = await case.ask(case.pair, stream=True)

    assert answer.status == 200
    assert case.TEXT in (answer.text, answer.text.removesuffix(case.TEXT))
    assert case.metered(answer)[-1] == "EXACT"


@row("C19", "a whole answer was asked for, a stream comes")
async def a_stream(case: Case) -> None:
    asked = Asked(endpoint="chat/completions", model="m", stream=True, include_usage=True, tool="", base64=False, inputs=1)
    case.script(replies.canned()(asked))

    answer = await case.ask(case.pair)

    assert answer.status == 200
    assert answer.text == case.TEXT


@row("C20", "a compressed stream")
async def compressed(case: Case) -> None:
    def packed(asked: Asked) -> Reply:
        data = gzip.compress(b"".join(events(asked)), mtime=0)
        return streamed(*replies.split(data, range(20, len(data), 20)), headers=(("content-encoding", "gzip"),))

    case.script(packed)

    answer = await case.ask(stream=True)

    whole(case, answer)
    assert "content-encoding" not in answer.headers
    assert case.metered(answer) == ["EXACT"]


@row("C21", "one of several streams is reset")
async def one_of_several(case: Case) -> None:
    case.script(replies.canned(keep=4, end="rst", gap_s=0.02))
    case.upstream.script(case.good, replies.canned(gap_s=0.03))

    broken, *others = await case.gather(
        case.ask(stream=True), *(case.ask(f"{case.good}/{case.good}", stream=True) for _ in range(4))
    )

    cut(broken)
    for answer in others:
        whole(case, answer)


@row("C22", "the error comes in one segment with the headers")
async def error_at_once(case: Case) -> None:
    body = event({"error": {"message": "busy", "type": "server_error", "param": None, "code": None}})
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    case.script(Raw(pieces=(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),)))

    answer = await case.ask(case.pair, stream=True)

    taken_over(case, answer, ("VOID", "EST"))
