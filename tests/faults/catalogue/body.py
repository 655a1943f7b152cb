"""Rows B: what is wrong with the body of a whole answer."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

from tests.fakes import replies
from tests.fakes.replies import Asked, Raw, Reply
from tests.faults.catalogue.before_first_byte import taken_over
from tests.faults.catalogue.bench import IDLE_S
from tests.faults.catalogue.case import Answer, Case
from tests.faults.catalogue.row import row


def whole(asked: Asked, **changes: Any) -> dict[str, Any]:
    """A canned answer, decoded, with some of its fields changed."""
    decoded: dict[str, Any] = json.loads(replies.canned()(asked).pieces[0])
    return {**decoded, **changes}


def said(body: bytes, **fields: Any) -> Reply:
    """A body that the provider bills for."""
    return replies.answer(body, usage=replies.usage_of("chat/completions"), **fields)


def head(body: bytes, *headers: bytes, length: int | None = None) -> bytes:
    rows = [b"HTTP/1.1 200 OK", b"content-type: application/json", *headers]
    if length is not None:
        rows.append(b"content-length: %d" % length)
    return b"\r\n".join(rows) + b"\r\n\r\n" + body


CHAT = Asked(endpoint="chat/completions", model="m", stream=False, include_usage=False, tool="", base64=False, inputs=1)
BODY = replies.canned()(CHAT).pieces[0]
USAGE = replies.usage_of("chat/completions")


@row("B1", "a body that drips and stalls")
async def slow(case: Case) -> None:
    case.script(Raw(pieces=(head(BODY[:50], length=len(BODY)),), end="hang", usage=USAGE))

    answer = await case.ask()

    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert answer.took_s < IDLE_S * 3 + 1
    assert set(case.metered(answer)) == {"EST"}


@row("B2", "Content-Length longer than the body")
async def short(case: Case) -> None:
    case.script(Raw(pieces=(head(BODY, length=len(BODY) + 50),), end="eof", usage=USAGE))

    alone = await case.ask()
    answer = await case.ask(case.pair)

    assert alone.status in (502, 503)
    assert set(case.metered(alone)) == {"EST"}
    taken_over(case, answer, "EST")


@row("B3", "Content-Length shorter than what is sent: a smuggled answer")
async def smuggled(case: Case) -> None:
    evil = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\nEVIL"
    case.script(Raw(pieces=(head(BODY, length=len(BODY)) + evil,), usage=USAGE))

    answers = [await case.ask() for _ in range(5)]

    assert [answer.status for answer in answers] == [200] * 5
    assert {answer.body for answer in answers} == {BODY}
    assert {seen.connection for seen in case.upstream.of(case.faulty)}.__len__() == 5, "the connection was used again"


@row("B4", "two Content-Lengths; one and Transfer-Encoding")
async def doubtful_framing(case: Case) -> None:
    other = case.pick(b"content-length: 3", b"transfer-encoding: chunked")
    case.script(Raw(pieces=(head(BODY, other, length=len(BODY)),), usage=USAGE))

    answer = await case.ask(case.pair)

    taken_over(case, answer, ("EST", "HELD"))


@row("B5", "gzip, deflate, br and zstd")
async def compressed(case: Case) -> None:
    coding, data = case.pick(("gzip", gzip.compress(BODY, mtime=0)), ("deflate", zlib.compress(BODY)))
    case.script(said(data, headers=(("content-encoding", coding),)))

    answer = await case.ask()

    assert (answer.status, answer.body) == (200, BODY)
    assert "content-encoding" not in answer.headers
    assert int(answer.headers["content-length"]) == len(BODY)
    assert case.metered(answer) == ["EXACT"]


@row("B6", "a decompression bomb", repeats=10, at_once=2)
async def bomb(case: Case) -> None:
    case.script(replies.answer(BOMB, headers=(("content-encoding", "deflate"),)))

    answer = await case.ask(case.pair)

    taken_over(case, answer, ("EST", "HELD"))


BOMB = zlib.compress(b"\0" * 200_000_000, 9)


@row("B7", "not the encoding that it says")
async def badly_encoded(case: Case) -> None:
    case.script(replies.answer(b"notgzip", headers=(("content-encoding", case.pick("gzip", "deflate", "snappy")),)))

    answer = await case.ask(case.pair)

    taken_over(case, answer, ("EST", "HELD"))


@row("B8", "JSON that is cut or malformed, in a 200")
async def malformed(case: Case) -> None:
    case.script(said(case.pick(BODY[:-9], b"", b"nonsense", BODY + b"}")))

    alone = await case.ask()
    answer = await case.ask(case.pair)

    assert alone.status in (502, 503)
    assert set(case.metered(alone)) == {"EST"}
    taken_over(case, answer, "EST")


@row("B9", "NaN, Infinity, a key twice, in the usage")
async def odd_numbers(case: Case) -> None:
    told = replies.dumps(USAGE["prompt_tokens"])
    body = case.pick(
        BODY.replace(b'"prompt_tokens":' + told, b'"prompt_tokens":NaN'),
        BODY.replace(b'"prompt_tokens":' + told, b'"prompt_tokens":Infinity'),
        BODY.replace(b'"prompt_tokens":' + told, b'"prompt_tokens":-1,"prompt_tokens":5'),
    )
    case.script(said(body))

    answer = await case.ask()

    if answer.status == 200:
        json.loads(answer.body, parse_constant=_refuse)
    else:
        assert answer.status in (502, 503)
    assert "EXACT" not in case.metered(answer) or b"NaN" not in body


def _refuse(name: str) -> float:
    raise AssertionError(f"{name} was passed on")


@row("B10", "no usage at all")
async def no_usage(case: Case) -> None:
    case.script(lambda asked: replies.answer({k: v for k, v in whole(asked).items() if k != "usage"}, usage=USAGE))

    answer = await case.ask()

    assert (answer.status, answer.text) == (200, case.TEXT)
    assert case.metered(answer) == ["EST"]


@row("B11", "usage that is negative, too large, fractional, or text")
async def hostile_usage(case: Case) -> None:
    usage = case.pick(
        {"prompt_tokens": -5, "completion_tokens": 7, "total_tokens": 2},
        {"prompt_tokens": 2**63, "completion_tokens": 10**30, "total_tokens": 1},
        {"prompt_tokens": 1.5, "completion_tokens": "7", "total_tokens": None},
        {"prompt_tokens": True, "completion_tokens": [], "total_tokens": {}},
        "eleven",
    )
    case.script(lambda asked: replies.answer(whole(asked, usage=usage), usage=USAGE))

    answer = await case.ask()

    (record,) = await case.records()
    assert answer.status == 200
    assert case.metered(answer) == ["EST"]
    assert record["cost_nusd"] > 0


@row("B12", "usage far beyond what was allowed")
async def beyond_limit(case: Case) -> None:
    usage = {**USAGE, "completion_tokens": 5000, "total_tokens": 5000 + USAGE["prompt_tokens"]}
    usage.pop("completion_tokens_details", None)
    case.script(lambda asked: replies.answer(whole(asked, usage=usage), usage=usage))
    limit = case.pick("max_tokens", "max_completion_tokens")

    flagged = await case.ask(**{limit: 1000})
    plain = await case.ask(**{limit: 5000})

    assert (flagged.status, plain.status) == (200, 200)
    assert (case.metered(flagged), case.metered(plain)) == (["EXACT"], ["EXACT"])
    assert (await noted(case, flagged), await noted(case, plain)) == (
        "The provider counted 5000 output tokens, and 1000 were allowed.",
        "",
    )


async def noted(case: Case, answer: Answer) -> str:
    """What the receipt says was wrong with the one try."""
    receipt = await case.bench.client.get(f"/receipts/{answer.headers['x-request-id']}")
    (attempt,) = receipt.json()["attempts"]
    return str(attempt["error"])


@row("B13", "another model answered than was asked")
async def another_model(case: Case) -> None:
    case.script(lambda asked: replies.answer(whole(asked, model=case.good), usage=USAGE))

    answer = await case.ask()

    (record,) = await case.records()
    assert answer.status == 200
    assert record["answered_model"] == case.good


@row("B14", "an error inside a 200")
async def error_inside(case: Case) -> None:
    case.script(replies.answer({"error": {"message": "overloaded", "type": "server_error", "code": None}}))

    alone = await case.ask()
    answer = await case.ask(case.pair)

    assert alone.status in (502, 503)
    taken_over(case, answer, ("VOID", "EST"))


@row("B15", "an answer that does not end", repeats=3, at_once=1, provider={"total_timeout_s": 20.0})
async def endless(case: Case) -> None:
    megabyte = b" " * 1_000_000
    case.script(Raw(pieces=(head(b"{", length=500_000_000), *[megabyte] * 80), end="hang", usage=USAGE))
    before_kb = case.bench.resident_kb()

    answer = await case.ask(case.pair)

    taken_over(case, answer, "EST")
    assert case.bench.resident_kb() - before_kb < 200_000


@row("B16", "half of a surrogate pair in the content")
async def surrogate(case: Case) -> None:
    body = BODY.replace("😀".encode(), rb"\ud83d")
    case.script(said(body))

    answer = await case.ask()

    assert (answer.status, answer.body) == (200, body), (answer.status, answer.body[-300:])
    answer.body.decode()


@row("B17", "headers that are not for the client, one with a line break in it")
async def foreign_headers(case: Case) -> None:
    extra = (
        b"set-cookie: a=1",
        b"server: evil",
        b"x-foo: a",
        b"connection: keep-alive, x-foo",
        b"strict-transport-security: 1",
    )
    case.script(Raw(pieces=(head(BODY, *extra, length=len(BODY)),), usage=USAGE))

    answer = await case.ask()

    allowed = {"content-type", "content-length", "date", "x-request-id", "x-should-retry", "retry-after"}
    others = {name for name in answer.headers if name not in allowed and not name.startswith(("x-tollway-", "x-ratelimit-"))}
    assert answer.status == 200
    assert others == set()
