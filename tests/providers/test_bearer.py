"""Tokens that end: fetched once, in time, and used as long as they are good."""

from __future__ import annotations

import asyncio

import pytest

from providers.bearer import AGAIN_S, AHEAD_S, LATE_S, Bearer, Token
from providers.errors import NoCredentials
from providers.provider import HttpRequest

REQUEST = HttpRequest("https://host/path", {"content-type": "application/json"}, b"{}")
LIVES_S = 3600.0


class Source:
    """Gives numbered tokens, or fails; and is a clock."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.asked = 0
        self.fails = False
        self.slow = asyncio.Event()
        self.slow.set()

    async def fetch(self) -> Token:
        self.asked += 1
        await self.slow.wait()
        if self.fails:
            raise NoCredentials("no")
        return Token(f"t{self.asked}", LIVES_S)

    def clock_s(self) -> float:
        return self.now_s


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def bearer(source: Source) -> Bearer:
    return Bearer(source.fetch, source.clock_s)


async def sent(bearer: Bearer) -> str:
    return (await bearer.signed(REQUEST)).headers["authorization"]


async def test_a_token_is_fetched_once_and_sent_with_each_request(source: Source, bearer: Bearer) -> None:
    request = await bearer.signed(REQUEST)

    assert request == HttpRequest(REQUEST.url, {**REQUEST.headers, "authorization": "Bearer t1"}, REQUEST.body)
    assert (await sent(bearer), source.asked) == ("Bearer t1", 1)


async def test_a_token_is_exchanged_before_it_ends(source: Source, bearer: Bearer) -> None:
    await sent(bearer)

    source.now_s += LIVES_S - LATE_S - 1
    before = await sent(bearer)
    source.now_s += 1
    after = await sent(bearer)

    assert (before, after) == ("Bearer t1", "Bearer t2")


async def test_many_at_once_fetch_once(source: Source, bearer: Bearer) -> None:
    assert set(await asyncio.gather(*(sent(bearer) for _ in range(20)))) == {"Bearer t1"}
    assert source.asked == 1


async def test_while_one_fetches_the_others_use_what_is_still_good(source: Source, bearer: Bearer) -> None:
    await sent(bearer)
    source.now_s += LIVES_S - LATE_S
    source.slow.clear()

    async with asyncio.TaskGroup() as group:
        fetching = group.create_task(sent(bearer))
        await asyncio.sleep(0)
        meanwhile = await sent(bearer)
        source.slow.set()

    assert (meanwhile, fetching.result(), source.asked) == ("Bearer t1", "Bearer t2", 2)


async def test_a_token_in_use_is_exchanged_beside_the_requests(source: Source, bearer: Bearer) -> None:
    await sent(bearer)
    await sent(bearer)

    source.now_s += LIVES_S - AHEAD_S - 1
    await bearer.freshen()
    early = source.asked
    source.now_s += 1
    await bearer.freshen()
    fetched = source.asked
    await bearer.freshen()

    assert (early, fetched, source.asked) == (1, 2, 2)
    assert (await sent(bearer), source.asked) == ("Bearer t2", 2)


async def test_a_token_that_nobody_uses_is_left_to_end(source: Source, bearer: Bearer) -> None:
    await bearer.freshen()
    unasked = source.asked
    await sent(bearer)
    source.now_s += 2 * LIVES_S

    await bearer.freshen()

    assert (unasked, source.asked) == (0, 1)


async def test_what_cannot_be_exchanged_beside_the_requests_is_told_to_those_who_need_it(
    source: Source, bearer: Bearer
) -> None:
    await sent(bearer)
    await sent(bearer)
    source.now_s += LIVES_S
    source.fails = True

    await bearer.freshen()

    with pytest.raises(NoCredentials):
        await sent(bearer)


async def test_what_is_still_good_is_used_when_no_other_can_be_had(source: Source, bearer: Bearer) -> None:
    await sent(bearer)
    source.now_s += LIVES_S - LATE_S
    source.fails = True

    first, second = await sent(bearer), await sent(bearer)
    source.now_s += AGAIN_S
    source.fails = False

    assert (first, second, source.asked) == ("Bearer t1", "Bearer t1", 2)
    assert await sent(bearer) == "Bearer t3"


async def test_without_a_token_that_is_good_the_failure_is_told(source: Source, bearer: Bearer) -> None:
    await sent(bearer)
    source.now_s += LIVES_S
    source.fails = True

    with pytest.raises(NoCredentials):
        await sent(bearer)


async def test_what_belongs_to_a_token_is_sent_beside_it() -> None:
    async def fetch() -> Token:
        return Token("t", LIVES_S, {"x-goog-user-project": "p"})

    headers = (await Bearer(fetch, lambda: 0.0).signed(REQUEST)).headers

    assert (headers["x-goog-user-project"], headers["authorization"]) == ("p", "Bearer t")


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(Token("secret", 1.0))
