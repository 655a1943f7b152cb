"""Rows A: what an upstream does before the first byte of an answer."""

from __future__ import annotations

import asyncio
import email.utils
import time

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.fakes.replies import Raw, Reply
from tests.faults.catalogue.bench import CONNECT_S, FIRST_BYTE_S, LAST_OPEN_S
from tests.faults.catalogue.case import Answer, Case
from tests.faults.catalogue.row import row

TLS = ("unknown authority", "expired", "wrong host", "silent handshake")


def taken_over(case: Case, answer: Answer, first: str | tuple[str, ...]) -> None:
    """The good provider answered, and the faulty one's try ended in the books as it should."""
    assert answer.status == 200, (answer.status, answer.body[:300])
    assert answer.text == case.TEXT
    assert answer.headers["x-tollway-provider"] == case.good
    first = (first,) if isinstance(first, str) else first
    metered = case.metered(answer)
    assert metered[-1] == "EXACT" and all(it in first for it in metered[:-1]), metered


def limited_until(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@row("A1", "429 with Retry-After in seconds")
async def limited_for_seconds(case: Case) -> None:
    case.script(replies.error(429, "rate_limit_exceeded", retry_after="2"))

    first = await case.ask(case.pair)
    second = await case.ask(case.pair, stream=True)

    taken_over(case, first, "VOID")
    taken_over(case, second, "VOID")
    assert len(case.upstream.of(case.faulty)) == 1, "it was asked again while it cooled down"


@row("A2", "429 with Retry-After as a date")
async def limited_until_a_date(case: Case) -> None:
    case.script(replies.error(429, "rate_limit_exceeded", retry_after=limited_until(3)))

    first = await case.ask(case.pair)
    second = await case.ask(case.pair)

    taken_over(case, first, "VOID")
    taken_over(case, second, "VOID")
    assert len(case.upstream.of(case.faulty)) == 1, "it was asked again while it cooled down"


@row("A3", "429 with a Retry-After that makes no sense")
async def limited_by_nonsense(case: Case) -> None:
    said = case.pick("soon", "-5", "99999999999", "Wed, 21 Oct 2015 07:28:00 GMT", "")
    case.script(replies.error(429, "rate_limit_exceeded", retry_after=said))

    answer = await case.ask(case.pair)
    alone = await case.ask()

    taken_over(case, answer, "VOID")
    assert alone.status in (429, 503), alone.status
    assert 1 <= int(alone.headers["retry-after"]) <= 120


@row("A4", "429 that is a spent quota")
async def out_of_quota(case: Case) -> None:
    case.script(replies.error(429, case.pick("insufficient_quota", "enforced_spend_limit_reached")))

    answers = [await case.ask(case.pair) for _ in range(3)]
    alone = await case.ask()

    for answer in answers:
        taken_over(case, answer, "VOID")
    assert alone.status in (502, 503), alone.status
    assert alone.headers["x-should-retry"] == "false"
    assert len(case.upstream.of(case.faulty)) <= 2, "it was asked again and again without credit"


@row("A5", "connection refused", at=("refusing",))
async def refused_connection(case: Case) -> None:
    answer = await case.ask(case.pair)
    alone = await case.ask()

    taken_over(case, answer, "VOID")
    assert answer.took_s < 1.0
    assert (alone.status, alone.error["code"]) == (503, "no_healthy_upstream")


@row("A6", "a connection that hangs", at=("black hole",))
async def hanging_connection(case: Case) -> None:
    answer = await case.ask(case.pair)

    taken_over(case, answer, "VOID")
    assert answer.took_s < CONNECT_S + 3.0


@row("A7", "TLS: unknown authority, expired, wrong host, a handshake that stalls", at=TLS)
async def bad_tls(case: Case) -> None:
    answer = await case.ask(case.pair)
    alone = await case.ask()

    taken_over(case, answer, "VOID")
    assert alone.status in (502, 503, 504)
    assert ".pem" not in alone.error["message"] and "/" not in alone.error["message"]


@row("A8", "a name that nobody knows", at=("no such name",), repeats=5)
async def no_such_name(case: Case) -> None:
    answer = await case.ask(case.pair)

    taken_over(case, answer, "VOID")


@row("A9", "headers that do not come")
async def silent(case: Case) -> None:
    case.script(replies.SILENCE)

    answer = await case.ask(case.pair)

    taken_over(case, answer, "HELD")
    assert answer.took_s < FIRST_BYTE_S + 3.0
    case.upstream.wait_for(lambda: all(seen.aborted for seen in case.upstream.of(case.faulty)), 2)


@row("A10", "500, 502, 503, 504")
async def server_error(case: Case) -> None:
    case.script(replies.error(case.pick(500, 502, 503, 504)))

    answer = await case.ask(case.pair)
    alone = await case.ask()

    taken_over(case, answer, "VOID")
    assert alone.status in (502, 503), alone.status
    assert alone.headers["x-should-retry"] == "false"


@row("A11", "529 overloaded")
async def overloaded(case: Case) -> None:
    case.script(replies.error(529, "overloaded_error"))

    answer = await case.ask(case.pair, stream=True)
    alone = await case.ask()

    taken_over(case, answer, "VOID")
    assert alone.status in (502, 503), alone.status


@row("A12", "401 and 403: the provider's key is no good")
async def key_refused(case: Case) -> None:
    case.script(replies.error(case.pick(401, 403), "invalid_api_key"))

    answers = [await case.ask(case.pair) for _ in range(3)]
    alone = await case.ask()

    for answer in answers:
        taken_over(case, answer, "VOID")
    assert alone.status in (502, 503) and alone.status != 401
    assert len(case.upstream.of(case.faulty)) <= 2, "a key that was refused was used again"


@row("A13", "400, 404, 413, 422: the request's own fault")
async def request_refused(case: Case) -> None:
    status = case.pick(400, 404, 413, 422)
    case.script(replies.error(status, "unprocessable", message="no such thing"), replies.canned())

    answer = await case.ask(case.pair)
    after = await case.ask()

    assert (answer.status, answer.error["message"]) == (status, "no such thing")
    assert case.metered(answer) == ["VOID"]
    assert case.upstream.of(case.good) == []
    assert after.status == 200, "the breaker was charged with the request's own fault"


@row("A14", "400: too long a context, against the content policy")
async def too_long(case: Case) -> None:
    code = case.pick("context_length_exceeded", "content_policy_violation")
    case.script(replies.error(400, code, message="not this one"))

    answer = await case.ask(case.pair)

    assert (answer.status, answer.error["code"]) == (400, code)
    assert case.upstream.of(case.good) == []


@row("A15", "the connection is reset before the headers")
async def reset(case: Case) -> None:
    case.script(replies.RESET)

    answer = await case.ask(case.pair, stream=bool(case.number % 2))

    taken_over(case, answer, ("HELD", "VOID"))


@row("A16", "a kept connection is closed while idle")
async def idle_close(case: Case) -> None:
    def then_closed(asked: replies.Asked) -> Raw:
        body = b"".join(replies.canned()(asked).pieces)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        return Raw(pieces=(head + body,), end="eof", usage=replies.usage_of(asked.endpoint))

    case.script(then_closed)

    answers = [await case.ask() for _ in range(5)]

    assert [answer.status for answer in answers] == [200] * 5
    assert {answer.headers["x-tollway-attempts"] for answer in answers} == {"1"}


@row("A17", "a redirect to somewhere else")
async def redirect(case: Case) -> None:
    with OpenAIUpstream() as trap:
        case.script(replies.redirect(trap.base_url() + "/chat/completions"))

        answer = await case.ask(case.pair)
        alone = await case.ask()

        taken_over(case, answer, ("VOID", "EST"))
        assert alone.status in (502, 503)
        assert trap.connections == 0


@row("A18", "a web page, nothing, another kind of content")
async def web_page(case: Case) -> None:
    page = case.pick(
        Reply(status=502, content_type="text/html", pieces=(b"<html>bad gateway</html>",)),
        Reply(content_type="text/html", pieces=(b"<html>welcome</html>",)),
        Reply(pieces=(b"",)),
        Reply(content_type="text/plain", pieces=(b"hello",)),
    )
    case.script(page)

    answer = await case.ask(case.pair)
    alone = await case.ask()

    taken_over(case, answer, ("VOID", "EST"))
    assert alone.status in (502, 503)
    assert alone.error["message"].isascii() and "<html" not in alone.error["message"]


@row("A19", "103 before the answer; 204, 304 instead of one")
async def odd_status(case: Case) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    if case.number % 3 == 0:

        def hinted(asked: replies.Asked) -> Raw:
            body = b"".join(replies.canned()(asked).pieces)
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            return Raw(pieces=(hint, head + body), usage=replies.usage_of(asked.endpoint), gap_s=0.01)

        case.script(hinted)
        answer = await case.ask()
        assert (answer.status, answer.text) == (200, case.TEXT)
    else:
        case.script(Raw(pieces=(b"HTTP/1.1 %d x\r\n\r\n" % case.pick(204, 304),)))
        taken_over(case, await case.ask(case.pair), ("VOID", "EST"))


@row("A20", "a megabyte of headers, ten thousand of them, a NUL in one")
async def huge_headers(case: Case) -> None:
    headers = case.pick(b"x-big: " + b"a" * 1_000_000, b"\r\n".join(b"x-%d: a" % n for n in range(10_000)), b"x-nul: a\0b")
    case.script(Raw(pieces=(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\ncontent-length: 2\r\n\r\n{}",), end="eof"))

    answer = await case.ask(case.pair)

    taken_over(case, answer, ("VOID", "EST", "HELD"))


@row("A21", "HTTP/1.0 that ends by closing; HTTP/0.9")
async def old_http(case: Case) -> None:
    if case.number % 2 == 0:

        def old(asked: replies.Asked) -> Raw:
            body = b"".join(replies.canned()(asked).pieces)
            head = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n"
            return Raw(pieces=(head, body), end="eof", usage=replies.usage_of(asked.endpoint))

        case.script(old)
        answer = await case.ask()
        assert (answer.status, answer.text) == (200, case.TEXT)
        assert case.metered(answer) == ["EXACT"]
    else:
        case.script(Raw(pieces=(b'{"choices":[]}',), end="eof"))
        taken_over(case, await case.ask(case.pair), ("VOID", "EST", "HELD"))


@row("A23", "every deployment is down", repeats=1)
async def all_down(case: Case) -> None:
    case.script(replies.error(503))
    case.upstream.script(case.good, replies.error(503))

    answers = []
    for _ in range(20):
        answers += await case.gather(*(case.ask(case.pair) for _ in range(20)))

    took_s = sorted(answer.took_s for answer in answers[200:])
    assert {answer.status for answer in answers} <= {502, 503}
    assert all(answer.headers["x-should-retry"] == "false" for answer in answers)
    # Where that takes longer than the deployments are left alone, now and then a probe finds out, and has no time to tell.
    refused = [answer for answer in answers[200:] if answer.status == 503]
    assert len(refused) >= 180
    assert all(1 <= int(answer.headers["retry-after"]) <= 120 for answer in refused)
    assert len(case.seen()) <= 1.2 * len(answers) + 3
    assert took_s[len(took_s) // 2] < 0.3


@row("A24", "an upstream that fails every other time", repeats=1)
async def flapping(case: Case) -> None:
    case.script(replies.error(500), *(step for _ in range(500) for step in (replies.canned(), replies.error(500))))

    answers = []
    for _ in range(100):
        answers += await case.gather(*(case.ask(case.both) for _ in range(10)))

    failed = sum(answer.status != 200 for answer in answers)
    assert failed <= len(answers) // 1000, f"{failed} of {len(answers)} failed"


@row("A25", "two hundred clients wait for a deployment that may be well again", repeats=1)
async def stampede(case: Case) -> None:
    case.script(replies.error(503))
    for _ in range(15):
        await case.ask()
    failed = len(case.seen())
    case.script(replies.canned(wait_s=0.6))
    await asyncio.sleep(LAST_OPEN_S + 0.3)

    answers = await case.gather(*(case.ask() for _ in range(200)))

    probe, *others = case.seen()[failed:]
    early = [it for it in others if it.at_s < probe.ended_s]
    assert not early, f"{len(early)} others were sent while the probe was under way"
    assert {answer.status for answer in answers} <= {200, 503}
    assert any(answer.status == 200 for answer in answers)


@row("A26", "a deployment twenty times slower than its twin", repeats=1)
async def slow_twin(case: Case) -> None:
    case.script(replies.canned(wait_s=0.6))
    case.upstream.script(case.good, replies.canned(wait_s=0.03))
    started_s = time.monotonic()

    async def work() -> None:
        while time.monotonic() - started_s < 8:
            assert (await case.ask(case.both)).status == 200

    await case.gather(*(work() for _ in range(8)))

    late = [seen.model for seen in case.seen() if seen.at_s > started_s + 4]
    share = late.count(case.faulty) / len(late)
    assert share < 0.1, f"{share:.0%} of {len(late)} requests went to the slow one"
