"""Whole requests are judged by their bytes, and nothing else is."""

from __future__ import annotations

import httptools
import pytest

from proxy.api.door import Door
from proxy.call import Principal
from proxy.errors import InvalidApiKey
from proxy.limits.overload import Bounds, Overload

BODY = b'{"model":"m","messages":[]}'
PRIORITIES = {"Bearer tw-high": "high", "Bearer tw-normal": "normal", "Bearer tw-low": "low"}


def identify(authorization: tuple[str, ...]) -> Principal:
    if authorization[0] not in PRIORITIES:
        raise InvalidApiKey("no")
    return Principal(key_id="k", name="k", priority=PRIORITIES[authorization[0]])


def door(pressure: float = 3.0, at_work: int = 0) -> Door:
    overload = Overload(Bounds(lag_s=0.1, requests=100))
    for _ in range(round(pressure / 0.05)):
        overload.measured(0.2, 0.2)
    return Door(overload, identify=identify, at_work=lambda: at_work, request_id=lambda: "req_7")


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


@pytest.mark.parametrize(("pressure", "sent_away"), [(0.0, []), (1.0, ["low"]), (2.0, ["normal", "low"])])
def test_the_less_important_are_sent_away_first(pressure: float, sent_away: list[str]) -> None:
    judged = {name: door(pressure).judge(request(f"tw-{name}")) for name in ("high", "normal", "low")}

    assert [name for name, answer in judged.items() if answer] == sent_away
    assert {answer for answer in judged.values() if not answer} <= {b""}


def test_a_header_may_put_a_request_back_and_not_forward() -> None:
    pressed = door(1.0)

    assert pressed.judge(request("tw-normal", extra=b"X-Tollway-Priority: low\r\n"))
    assert pressed.judge(request("tw-low", extra=b"x-tollway-priority: high\r\n"))


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
    assert [door(0.0).is_guarded(), door(0.1).is_guarded(), door(0.0, at_work=80).is_guarded()] == [False, True, True]
