"""One connection, one exchange at a time: when it may carry another, and when it must not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from providers.errors import InvalidResponse, ProviderError
from providers.http1 import BUFFER_MAX_BYTES, HEAD_MAX_BYTES, Connection
from providers.provider import HttpRequest, Timeouts
from providers.transport import Response, Transport
from tests.providers.peers import OK, Peer, hang_up, serving, whole

TIMEOUTS = Timeouts(connect_s=5, first_byte_s=3, idle_s=3, total_s=10)


class Heard:
    """What a connection told of an exchange."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_whole = False
        self.error: ProviderError | None = None

    def began(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers

    def received(self, data: bytes) -> None:
        self.body += data

    def ended(self) -> None:
        self.is_whole = True

    def failed(self, error: ProviderError) -> None:
        self.error = error


class Wire(asyncio.Transport):
    """The network's side of a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.unsent = 0
        self.reading = True
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Line:
    """A connection on a wire, and where it went when it was at rest."""

    def __init__(self) -> None:
        self.rests: list[bool] = []
        self.wire = Wire()
        self.connection = Connection(lambda _, usable: self.rests.append(usable))
        self.connection.connection_made(self.wire)

    def exchange(self, *pieces: bytes) -> Heard:
        heard = Heard()
        self.connection.send(b"POST", heard)
        for piece in pieces:
            self.connection.data_received(piece)
        return heard


def test_an_answer_is_told_in_order_and_the_connection_may_be_used_again() -> None:
    line = Line()

    heard = line.exchange(whole(b"body", b"X-Twice: a", b"x-twice: b"))

    assert (heard.status, heard.body, heard.is_whole, heard.error) == (200, b"body", True, None)
    assert heard.headers["x-twice"] == "a, b"
    assert (line.rests, line.wire.aborted, line.wire.written) == ([True], False, [b"POST"])


def test_an_answer_in_single_bytes_is_the_same() -> None:
    answer = whole(b"body")
    line = Line()

    heard = line.exchange(*(answer[at : at + 1] for at in range(len(answer))))

    assert (heard.status, heard.body, heard.is_whole, line.rests) == (200, b"body", True, [True])


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_an_interim_answer_is_not_the_answer(interim: bytes) -> None:
    line = Line()

    heard = line.exchange(b"HTTP/1.1 " + interim + b"\r\nlink: x\r\n\r\n" + whole(b"body"))

    assert (heard.status, heard.body, heard.is_whole, line.rests) == (200, b"body", True, [True])


def test_an_upgrade_is_not_an_answer() -> None:
    line = Line()

    heard = line.exchange(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")

    assert (heard.status, heard.body, line.wire.aborted) == (101, b"", True)
    assert True not in line.rests


@pytest.mark.parametrize(
    "answer",
    [
        whole(b"ok", b"connection: close"),
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        whole(b"ok") + b"more",
        whole(b"ok") + whole(b"smuggled"),
        whole(b"ok") + b"HTTP/1.1 200",
    ],
    ids=["close", "1.0", "surplus bytes", "surplus answer", "half an answer"],
)
def test_a_connection_in_doubt_is_dropped_after_its_answer(answer: bytes) -> None:
    line = Line()

    heard = line.exchange(answer)

    assert (heard.body, heard.is_whole, heard.error) == (b"ok", True, None)
    assert line.wire.aborted
    assert True not in line.rests


def test_an_answer_that_came_before_the_request_was_read_ends_the_connection() -> None:
    line = Line()
    line.wire.unsent = 1

    heard = line.exchange(whole(b"ok"))

    assert heard.is_whole
    assert (line.rests, line.wire.aborted) == ([False], True)


def test_what_comes_while_nobody_asked_ends_the_connection() -> None:
    line = Line()
    line.exchange(whole(b"ok"))

    line.connection.data_received(b"HTTP/1.1 408 Timeout\r\ncontent-length: 0\r\n\r\n")

    assert line.wire.aborted


def test_a_body_without_a_length_ends_with_its_connection() -> None:
    line = Line()

    heard = line.exchange(b"HTTP/1.1 200 OK\r\n\r\none ", b"two")
    assert not heard.is_whole
    line.connection.connection_lost(None)

    assert (heard.body, heard.is_whole, heard.error, line.rests) == (b"one two", True, None, [False])


def test_a_body_without_a_length_that_is_reset_is_not_whole() -> None:
    line = Line()

    heard = line.exchange(b"HTTP/1.1 200 OK\r\n\r\none ")
    line.connection.connection_lost(ConnectionResetError())

    assert (heard.is_whole, heard.error is not None) == (False, True)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_an_answer_that_can_have_no_body_is_whole_at_once(status: bytes) -> None:
    line = Line()

    heard = line.exchange(b"HTTP/1.1 " + status + b"\r\n\r\n")

    assert (heard.body, heard.is_whole) == (b"", True)


def test_a_head_has_a_limit() -> None:
    line = Line()

    heard = line.exchange(OK + b"x: " + b"a" * HEAD_MAX_BYTES + b"\r\ncontent-length: 0\r\n\r\n")

    assert isinstance(heard.error, InvalidResponse)
    assert (heard.status, line.wire.aborted) == (0, True)


def test_a_head_that_never_ends_is_given_up() -> None:
    line = Line()
    heard = line.exchange(OK)

    for number in range(1000):
        if line.wire.aborted:
            break
        line.connection.data_received(b"x-%d: %s\r\n" % (number, b"a" * 1000))

    assert isinstance(heard.error, InvalidResponse)
    assert number * 1000 <= HEAD_MAX_BYTES + BUFFER_MAX_BYTES


def test_an_exchange_that_was_let_go_hears_nothing_more() -> None:
    line = Line()
    heard = line.exchange(OK + b"content-length: 10\r\n\r\nhalf")

    line.connection.close()
    line.connection.connection_lost(None)

    assert (heard.is_whole, heard.error, line.rests) == (False, None, [False])


def test_a_connection_is_read_again_after_an_answer_that_was_taken_slowly() -> None:
    line = Line()
    line.connection.send(b"POST", Heard())
    line.connection.pause()

    line.connection.data_received(whole(b"ok"))

    assert (line.wire.reading, line.rests) == (True, [True])


# --- on a real socket --------------------------------------------------------------------------------------------------


@pytest.fixture
async def client() -> AsyncIterator[Transport]:
    client = Transport()
    yield client
    await client.close()


async def post(client: Transport, url: str) -> Response:
    deadline_s = asyncio.get_running_loop().time() + TIMEOUTS.total_s
    return await client.send(
        HttpRequest(url, {"content-type": "application/json"}, b"{}"), timeouts=TIMEOUTS, deadline_s=deadline_s
    )


async def test_a_large_answer_that_is_taken_late_does_not_deafen_its_connection(client: Transport) -> None:
    large = b"a" * (4 * BUFFER_MAX_BYTES)
    sent = asyncio.Event()

    async def serve(peer: Peer) -> None:
        for _ in range(3):
            await peer.request()
            await peer.send(whole(large))
            sent.set()
        await peer.gone()

    async with serving(serve) as server:
        sizes = []
        for _ in range(3):
            response = await post(client, server.url)
            await sent.wait()
            sent.clear()
            sizes.append(len(await response.read()))
            response.close()

        assert (sizes, len(server.peers)) == ([len(large)] * 3, 1)


async def test_an_upstream_that_is_faster_than_the_client_is_held_back(client: Transport) -> None:
    sent = 0

    async def flood(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(OK + b"transfer-encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
        while True:
            await peer.send(chunk)
            sent += 1

    async with serving(flood) as server:
        response = await post(client, server.url)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        held = sent
        await response.chunk()
        for _ in range(100):
            if sent > held:
                break
            await asyncio.sleep(0.05)
        response.close()

    # What the two kernels' buffers hold is a few megabytes.
    assert held * 65_536 < 32 * 1024 * 1024
    assert sent > held


async def test_an_answer_before_the_request_was_read_does_not_poison_the_next(client: Transport) -> None:
    async def hasty(peer: Peer) -> None:
        await peer.send(whole(b"early"))
        await hang_up(peer)

    async with serving(hasty) as server:
        for _ in range(2):
            try:
                response = await post(client, server.url)
                got = await response.read()
                response.close()
            except ProviderError:
                got = b"early"

            assert got == b"early"
