"""Whole requests are judged by their bytes, and nothing else is."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable

import httptools
import pytest

from providers.provider import protocol_of
from proxy.api.door import KNOWN_BYTES, KNOWN_MAX, Door, Turns
from proxy.api.places import PLACES
from proxy.call import Principal
from proxy.errors import InvalidApiKey
from proxy.limits.overload import Bounds, Overload

BODY = b'{"model":"m","messages":[]}'
OPENAI = [path for path, endpoint in PLACES.items() if protocol_of(endpoint) == "openai"]
PRIORITIES = {"Bearer tw-high": "high", "Bearer tw-normal": "normal", "Bearer tw-low": "low"}


def identify(authorization: tuple[str, ...]) -> Principal:
    if authorization[0] not in PRIORITIES:
        raise InvalidApiKey("no")
    return Principal(key_id="k", name="k", priority=PRIORITIES[authorization[0]])


def door(at_work: int = 0, *, late: bool = True, identify: Callable[[tuple[str, ...]], Principal] = identify) -> Door:
    """With nothing that may come in any more, where it is late."""
    overload = Overload(Bounds(lag_s=0.1, requests=100))
    if late:
        while not overload.is_late:
            overload.measured(0.2, 0.2, 0)
        overload.sheds(0, 0)
    return Door(
        overload,
        identify=identify,
        at_work=lambda: at_work,
        request_id=lambda: "req_7",
        turns=Turns(lambda: 0.0, overload.turned),
    )


def request(
    key: str = "tw-normal", *, line: bytes = b"POST /v1/chat/completions HTTP/1.1", extra: bytes = b"", body: bytes = BODY
) -> bytes:
    return (
        line
        + b"\r\nHost: h\r\nAuthorization: Bearer "
        + key.encode()
        + b"\r\n"
        + extra
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )


class Answer:
    """What an HTTP parser reads."""

    def __init__(self, data: bytes) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.whole = False
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(data)
        self.status = self._parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name] = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole = True


def test_who_is_sent_away_gets_the_same_answer_as_anywhere() -> None:
    data = door().judge(request())

    answer = Answer(data or b"")
    assert (answer.status, answer.whole) == (503, True)
    assert b'"code":"overloaded"' in answer.body
    assert answer.headers[b"x-request-id"] == b"req_7"
    assert answer.headers[b"content-type"] == b"application/json"
    assert 1 <= int(answer.headers[b"retry-after"]) <= 4


ANTHROPIC = b"POST /v1/messages HTTP/1.1\r\nHost: h\r\nX-Api-Key: tw-normal\r\nContent-Length: 27\r\n\r\n" + BODY
GEMINI = ANTHROPIC.replace(b"X-Api-Key", b"x-goog-api-key").replace(b"/v1/messages", b"/v1beta/models/g:generateContent")


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (ANTHROPIC, 529, b'"type":"overloaded_error"'),
        (GEMINI, 503, b'"status":"UNAVAILABLE"'),
        *((request(line=f"POST {path} HTTP/1.1".encode()), 503, b'"code":"overloaded"') for path in OPENAI),
    ],
)
def test_every_protocol_is_judged_and_answered_in_its_own_shape(data: bytes, status: int, said: bytes) -> None:
    guarded = door()

    answers = [Answer(guarded.judge(data) or b"") for _ in range(2)]

    assert [(it.status, it.whole, it.headers[b"x-request-id"]) for it in answers] == [(status, True, b"req_7")] * 2
    assert said in answers[0].body
    assert b"\0" not in answers[0].body


@pytest.mark.parametrize("extra", [b"x-api-key: tw-normal\r\n", b"X-Goog-Api-Key: tw-high\r\n", b"x-api-key : tw-high\r\n"])
def test_several_keys_are_for_the_edge_to_judge(extra: bytes) -> None:
    assert door().judge(request(extra=extra)) is None
    assert door().judge(ANTHROPIC.replace(b"Host: h\r\n", b"Host: h\r\n" + extra)) is None


@pytest.mark.parametrize(("at_work", "sent_away"), [(79, []), (80, ["low"]), (90, ["normal", "low"])])
def test_the_less_important_are_sent_away_first(at_work: int, sent_away: list[str]) -> None:
    judged = {name: door(at_work, late=False).judge(request(f"tw-{name}")) for name in ("high", "normal", "low")}

    assert [name for name, answer in judged.items() if answer] == sent_away
    assert {answer for answer in judged.values() if not answer} <= {b""}


def test_a_header_may_put_a_request_back_and_not_forward() -> None:
    pressed = door(80, late=False)

    assert pressed.judge(request("tw-normal", extra=b"X-Tollway-Priority: low\r\n"))
    assert pressed.judge(request("tw-low", extra=b"x-tollway-priority: high\r\n"))


def test_a_head_that_was_seen_before_is_judged_with_the_body_that_comes_with_it() -> None:
    guarded = door()

    judged = [guarded.judge(it) for it in (request(), request()[:-1], request() + b"P", request(body=BODY[::-1]), request())]

    assert [bool(it) for it in judged] == [True, False, False, True, True]


def test_of_the_heads_it_has_seen_it_forgets_old_ones_and_never_remembers_long_ones() -> None:
    asked: list[str] = []

    def count(authorization: tuple[str, ...]) -> Principal:
        asked.append(authorization[0])
        return identify(authorization)

    def identified(guarded: Door, heads: Iterable[bytes]) -> int:
        before = len(asked)
        for head in heads:
            guarded.judge(request(extra=b"X: %b\r\n" % head))
        return len(asked) - before

    guarded = door(identify=count)

    counts = [
        identified(guarded, [b"1", b"1", b"1"]),
        identified(guarded, [b"x" * KNOWN_BYTES] * 3),
        identified(guarded, [b"x%d" % number for number in range(KNOWN_MAX)]),
        identified(guarded, [b"1"]),
    ]

    assert counts == [1, 3, KNOWN_MAX, 1]


@pytest.mark.parametrize(
    "data",
    [
        request()[:-1],
        request()[:40],
        request() + b"P",
        request() * 2,
        request("tw-unknown"),
        request(line=b"GET /v1/chat/completions HTTP/1.1"),
        request(line=b"POST /v1/models HTTP/1.1"),
        request(line=b"POST /admin/v1/keys HTTP/1.1"),
        request(line=b"POST /v1/chat/completions HTTP/1.0"),
        request(extra=b"Transfer-Encoding: chunked\r\n"),
        request(extra=b"transfer-encoding : chunked\r\n"),
        request(extra=b"Expect: 100-continue\r\n"),
        request(extra=b"Content-Length: 3\r\n"),
        request(extra=b"content-length : 3\r\n"),
        request(extra=b"Authorization: Bearer tw-high\r\n"),
        request().replace(b"Content-Length: 27", b"Content-Length: +27"),
        request().replace(b"Authorization", b"Authorisation"),
        b"",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
def test_what_is_not_one_whole_plain_request_of_a_known_key_is_not_judged(data: bytes) -> None:
    assert door().judge(data) is None


def test_it_is_guarded_only_while_there_is_too_much() -> None:
    async def guarded() -> list[bool]:
        return [it.is_guarded() for it in (door(late=False), door(), door(80, late=False))]

    assert asyncio.run(guarded()) == [False, True, True]


def test_the_turns_of_a_loop_are_told_while_somebody_asks_in_each() -> None:
    clock_s = itertools.count()
    told: list[float] = []

    async def scene() -> list[int]:
        turns = Turns(lambda: float(next(clock_s)), told.append)
        counts = []
        for asks in (True, True, True, False, False, False, True, True):
            if asks:
                turns.follow()
                turns.follow()
            await asyncio.sleep(0)
            counts.append(len(told))
        return counts

    counts = asyncio.run(scene())

    # The first call begins a turn, each later one ends it; a turn in which nobody asks is told, and is the last.
    assert counts == [0, 1, 2, 3, 3, 3, 3, 4]
    assert set(told) == {1.0}
