"""Work for a reply's end runs once, after all of it and before its end is released."""

from __future__ import annotations

import pytest

from proxy.call import Completed, Reply, Streaming, tap
from proxy.errors import LedgerUnavailable, ProxyError
from tests.proxy.samples import deployment


class Chunks:
    closing = b""

    async def read(self) -> bytes:
        return b""

    def fail(self, error: ProxyError) -> None:
        """Nothing is left to fail."""

    def close(self) -> None:
        """Nothing is held."""


class Taps:
    """Taps that write their names down."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def on(self, reply: Reply, name: str) -> Reply:
        async def run() -> None:
            self.ran.append(name)

        return await tap(reply, run)


async def test_a_whole_reply_has_ended_already() -> None:
    taps = Taps()
    reply = Completed(status=200, headers=[], body=b"")

    assert await taps.on(reply, "one") is reply
    assert taps.ran == ["one"]


async def test_a_streams_taps_run_once_when_it_ends_the_innermost_first() -> None:
    taps = Taps()
    reply = Streaming(200, [], Chunks())
    for name in ("inner", "outer"):
        await taps.on(reply, name)

    before = list(taps.ran)
    await reply.finish()
    await reply.finish()

    assert (before, taps.ran) == ([], ["inner", "outer"])


async def test_a_tap_that_fails_is_not_run_again() -> None:
    ran = []

    async def run() -> None:
        ran.append(1)
        raise LedgerUnavailable("full")

    reply = Streaming(200, [], Chunks())
    await tap(reply, run)
    with pytest.raises(LedgerUnavailable):
        await reply.finish()
    await reply.finish()

    assert ran == [1]


async def test_a_tap_that_fails_keeps_none_behind_it_from_running() -> None:
    taps = Taps()
    reply = Streaming(200, [], Chunks())

    async def fails() -> None:
        raise LedgerUnavailable("the disk is full")

    await tap(reply, fails)
    await taps.on(reply, "behind")
    with pytest.raises(LedgerUnavailable):
        await reply.finish()

    assert taps.ran == ["behind"]


def test_a_deployments_name_is_what_a_caller_asks_for_and_its_text_shows_no_key() -> None:
    it = deployment("acme/org/gpt")

    assert it.name == "acme/org/gpt"
    assert "sk-" not in repr(it)
