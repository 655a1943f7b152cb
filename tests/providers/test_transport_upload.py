"""Bodies in pieces, against real sockets: whoever stops in the middle, no connection and no doubt is left behind."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import pytest

from providers.errors import CutShort, Disconnected, FirstByteTimedOut, SendTimedOut
from providers.provider import HttpRequest, Timeouts
from providers.transport import Response, Transport
from tests.providers.peers import Peer, Serve, reset, serving, whole

PATIENT = Timeouts(connect_s=5, first_byte_s=5, idle_s=5, total_s=20)
PIECE = bytes(range(256)) * 1024


class Pieces:
    """A body; ``length``: what it says that it has.  fault: raised behind its last piece.  gate: waited for there."""

    def __init__(
        self,
        pieces: Sequence[bytes],
        *,
        length: int | None = None,
        fault: Exception | None = None,
        gate: asyncio.Event | None = None,
    ) -> None:
        self._pieces = pieces
        self.length = length
        self._fault = fault
        self._gate = gate
        self.taken = 0
        self.begun = asyncio.Event()
        self.closed = False

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            for piece in self._pieces:
                self.taken += 1
                self.begun.set()
                yield piece
            if self._gate is not None:
                await self._gate.wait()
            if self._fault is not None:
                raise self._fault
        finally:
            self.closed = True


def sized(*pieces: bytes) -> Pieces:
    return Pieces(pieces, length=sum(map(len, pieces)))


@pytest.fixture
async def client() -> AsyncIterator[Transport]:
    client = Transport()
    yield client
    await client.close()


async def send(client: Transport, url: str, body: Pieces, timeouts: Timeouts = PATIENT) -> Response:
    request = HttpRequest(url, {"content-type": "multipart/form-data; boundary=x"}, body)
    return await client.send(request, timeouts=timeouts, deadline_s=asyncio.get_running_loop().time() + timeouts.total_s)


async def answer(client: Transport, url: str, body: Pieces) -> tuple[int, bytes]:
    response = await send(client, url, body)
    try:
        return response.status, await response.read()
    finally:
        response.close()


async def dechunked(peer: Peer) -> bytes:
    """A chunked body; its head is kept."""
    peer.heads.append(await peer._reader.readuntil(b"\r\n\r\n"))
    body = b""
    while size := int(await peer._reader.readuntil(b"\r\n"), 16):
        body += (await peer._reader.readexactly(size + 2))[:-2]
    await peer._reader.readexactly(2)
    return body


# --- all of it ---------------------------------------------------------------------------------------------------------------


async def test_a_body_of_known_length_arrives_as_it_is(client: Transport) -> None:
    got: list[bytes] = []

    async def serve(peer: Peer) -> None:
        got.append(await peer.request())
        await peer.send(whole(b"{}"))
        await peer.gone()

    async with serving(serve) as server:
        told = await answer(client, server.url, sized(b"a", PIECE, PIECE, b"z"))

    assert told == (200, b"{}")
    assert got == [b"a" + PIECE + PIECE + b"z"]


async def test_a_body_of_unknown_length_is_sent_in_chunks(client: Transport) -> None:
    got: list[bytes] = []

    async def serve(peer: Peer) -> None:
        got.append(await dechunked(peer))
        await peer.send(whole(b"{}"))
        await peer.gone()

    async with serving(serve) as server:
        told = await answer(client, server.url, Pieces([b"ab", PIECE, b"c"]))
        head = server.peers[0].heads[0]

    assert told == (200, b"{}")
    assert got == [b"ab" + PIECE + b"c"]
    assert b"transfer-encoding: chunked" in head
    assert b"content-length" not in head


async def test_the_connection_serves_the_next_request(client: Transport) -> None:
    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(whole(b"{}"))

    async with serving(serve) as server:
        await answer(client, server.url, sized(b"ab"))
        request = HttpRequest(server.url, {}, b"{}")
        loop = asyncio.get_running_loop()
        response = await client.send(request, timeouts=PATIENT, deadline_s=loop.time() + 5)
        await response.read()

        assert len(server.peers) == 1


async def test_no_more_is_taken_than_the_upstream_takes_in(client: Transport) -> None:
    reads = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await reads.wait()
        await peer.request()
        await peer.send(whole(b"{}"))
        await peer.gone()

    body = sized(*[PIECE] * 400)  # 100 MiB
    async with serving(serve) as server:
        sending = asyncio.ensure_future(answer(client, server.url, body))
        before = -1
        while before != body.taken:
            before = body.taken
            await asyncio.sleep(0.05)
        held = body.taken
        reads.set()
        told = await sending

    assert 0 < held < 200
    assert told == (200, b"{}")
    assert body.taken == 400


# --- not all of it -----------------------------------------------------------------------------------------------------------


async def test_an_early_refusal_is_heard_and_ends_the_sending(client: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer._reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}")
        while await peer._reader.read(1 << 16):
            pass

    body = sized(*[PIECE] * 4000)
    async with serving(serve) as server:
        told = await answer(client, server.url, body)

    assert told == (413, b"{}")
    assert body.taken < 4000
    assert body.closed
    assert client.connections == 0


async def test_a_refusal_by_an_upstream_that_reads_nothing_more_is_heard(client: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer._reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 429 Slow Down\r\ncontent-length: 2\r\n\r\n{}")
        await asyncio.Event().wait()

    async with serving(serve) as server:
        told = await answer(client, server.url, sized(*[PIECE] * 400))

    assert told == (429, b"{}")


async def test_an_answer_that_begins_early_waits_for_the_rest_of_the_body(client: Transport) -> None:
    got: list[bytes] = []

    async def serve(peer: Peer) -> None:
        head = await peer._reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        got.append(await peer._reader.readexactly(int(length[1])))
        await peer.send(b"{}")
        await peer.gone()

    async with serving(serve) as server:
        told = await answer(client, server.url, sized(PIECE, PIECE, PIECE))

    assert told == (200, b"{}")
    assert got == [PIECE * 3]


@pytest.mark.parametrize("leave", [reset, None])
async def test_an_upstream_that_goes_in_the_middle_has_no_request(client: Transport, leave: Serve | None) -> None:
    async def serve(peer: Peer) -> None:
        await peer._reader.readexactly(100_000)
        if leave is not None:
            await leave(peer)

    body = sized(*[PIECE] * 400)
    async with serving(serve) as server:
        with pytest.raises(CutShort) as caught:
            await send(client, server.url, body)

    assert not caught.value.sent
    assert body.closed
    assert client.connections == 0


async def test_an_upstream_that_goes_behind_the_end_may_have_it(client: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with serving(serve) as server:
        with pytest.raises(Disconnected) as caught:
            await send(client, server.url, sized(b"ab", b"cd"))

    assert caught.value.sent


async def test_an_upstream_that_takes_nothing_in_is_given_up(client: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await asyncio.Event().wait()

    async with serving(serve) as server:
        with pytest.raises(SendTimedOut) as caught:
            await send(client, server.url, sized(*[PIECE] * 400), Timeouts(idle_s=0.2))

    assert not caught.value.sent
    assert client.connections == 0


async def test_the_whole_request_has_a_deadline_while_it_is_sent(client: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.gone()

    body = Pieces([b"a"], length=2, gate=asyncio.Event())
    async with serving(serve) as server:
        with pytest.raises(SendTimedOut):
            await send(client, server.url, body, Timeouts(total_s=0.2))

    assert body.closed


async def test_the_answers_deadline_begins_when_the_request_is_sent(client: Transport) -> None:
    gate = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.gone()

    body = Pieces([b"ab"], length=2, gate=gate)
    async with serving(serve) as server:
        sending = asyncio.ensure_future(send(client, server.url, body, Timeouts(first_byte_s=0.2)))
        await asyncio.wait([sending], timeout=0.5)
        early = sending.done()
        gate.set()
        with pytest.raises(FirstByteTimedOut):
            await sending

    assert not early


async def test_what_a_body_raises_goes_through_and_the_request_is_never_whole(client: Transport) -> None:
    end: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(peer: Peer) -> None:
        end.set_result(await peer._reader.read(-1))

    async with serving(serve) as server:
        with pytest.raises(KeyError):
            await send(client, server.url, Pieces([b"ab"], fault=KeyError("x")))
        sent = await asyncio.wait_for(end, 10)

    assert sent.endswith(b"2\r\nab\r\n")
    assert client.connections == 0


@pytest.mark.parametrize("pieces", [[b"a"], [b"abc", b"d"]])
async def test_a_body_of_another_length_than_it_says_is_cut_short(client: Transport, pieces: list[bytes]) -> None:
    async def serve(peer: Peer) -> None:
        await peer.gone()

    async with serving(serve) as server:
        with pytest.raises(CutShort):
            await send(client, server.url, Pieces(pieces, length=2))

    assert client.connections == 0


async def test_a_cancelled_sending_leaves_nothing_open(client: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.gone()

    body = Pieces([b"a"], length=2, gate=asyncio.Event())
    async with serving(serve) as server:
        sending = asyncio.ensure_future(send(client, server.url, body))
        await body.begun.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    assert body.closed
    assert client.connections == 0
