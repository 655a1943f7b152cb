"""The transport against real sockets: every way in which an upstream fails has one error of ours."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from providers import errors
from providers.errors import (
    ConnectFailed,
    ConnectTimedOut,
    Disconnected,
    FirstByteTimedOut,
    IdleTimedOut,
    InvalidResponse,
    ProviderError,
    TlsFailed,
    TotalTimedOut,
)
from providers.inflate import INFLATED_PIECE_BYTES
from providers.provider import HttpRequest, Timeouts
from providers.transport import BODY_MAX_BYTES, Response, Transport, mapped
from tests.providers.peers import OK, Peer, Serve, hang_up, reset, saying, serving, whole

CERTIFICATE = Path(__file__).parent / "data" / "self_signed.pem"
PATIENT = Timeouts(connect_s=5, first_byte_s=5, idle_s=5, total_s=10)


@pytest.fixture
async def client() -> AsyncIterator[Transport]:
    client = Transport()
    yield client
    await client.close()


async def post(client: Transport, url: str, timeouts: Timeouts = PATIENT, headers: dict[str, str] | None = None) -> Response:
    request = HttpRequest(url, {"content-type": "application/json", **(headers or {})}, b"{}")
    return await client.send(request, timeouts=timeouts, deadline_s=asyncio.get_running_loop().time() + timeouts.total_s)


async def body_of(client: Transport, url: str, timeouts: Timeouts = PATIENT) -> bytes:
    response = await post(client, url, timeouts)
    try:
        return await response.read()
    finally:
        response.close()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What happens inside takes no longer; generous, since machines are busy."""
    started_s = time.monotonic()
    yield
    assert time.monotonic() - started_s < seconds


# --- no connection -----------------------------------------------------------------------------------------------------


async def test_a_refused_connection_is_one_that_failed(client: Transport) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectFailed) as caught:
            await post(client, f"http://127.0.0.1:{taken.getsockname()[1]}/")

    assert not caught.value.sent


async def test_a_host_that_does_not_resolve_is_a_connection_that_failed(client: Transport) -> None:
    with within(8), pytest.raises(ConnectFailed) as caught:
        await post(client, "http://nonexistent.invalid/", Timeouts(connect_s=4))

    assert not caught.value.sent
    assert "nonexistent" not in str(caught.value)


async def test_a_connection_that_is_not_accepted_in_time_has_timed_out(client: Transport) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())

        with within(5), pytest.raises(ConnectTimedOut) as caught:
            await post(client, f"http://127.0.0.1:{deaf.getsockname()[1]}/", Timeouts(connect_s=0.2))

        for filler in fillers:
            filler.close()
    assert not caught.value.sent


async def test_a_server_that_speaks_no_tls_fails_the_handshake(client: Transport) -> None:
    async def plain(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    async with serving(plain) as server:
        with within(8), pytest.raises(TlsFailed) as caught:
            await post(client, server.url.replace("http://", "https://"))

    assert not caught.value.sent


async def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(client: Transport) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)

    async with serving(saying(whole(b"secret")), tls) as server:
        with within(8), pytest.raises(TlsFailed) as caught:
            await post(client, server.url)
        peers = server.peers

    assert not caught.value.sent
    assert [peer.heads for peer in peers if peer.heads] == []


@pytest.mark.parametrize(
    "url",
    [
        "http:///v1",
        "http://",
        "ftp://127.0.0.1/",
        "http://127.0.0.1:0x50/",
        "http://[::1/",
        "http://a b/",
        "http://h/a b",
        "",
        "x",
    ],
)
async def test_a_url_that_is_none_is_a_connection_that_failed(client: Transport, url: str) -> None:
    with pytest.raises(ConnectFailed):
        await post(client, url)


@pytest.mark.parametrize("value", ["a\r\nx-more: 1", "a\nx", "a\rx", "a\0", "\u20ac"])
async def test_a_header_that_would_break_out_of_its_line_is_not_sent(client: Transport, value: str) -> None:
    async with serving(saying(whole(b"ok"))) as server:
        with pytest.raises(ConnectFailed):
            await post(client, server.url, headers={"authorization": value})

        assert server.peers == []


async def test_connections_are_limited() -> None:
    client = Transport(connections_max=1)

    async with serving(saying(OK + b"content-length: 9\r\n\r\n")) as server:
        first = await post(client, server.url)
        with pytest.raises(ConnectFailed, match="Too many"):
            await post(client, server.url)
        first.close()
    await client.close()


@pytest.mark.parametrize("fails", [False, True])
async def test_no_connection_is_left_when_all_is_over(client: Transport, fails: bool) -> None:
    async with serving(saying(whole(b"ok"), b"nonsense", then=hang_up)) as server:
        await body_of(client, server.url)
        if fails:
            with pytest.raises(ProviderError):
                await body_of(client, server.url)
        await client.close()
        for _ in range(100):
            if client.connections:
                await asyncio.sleep(0.01)

    assert client.connections == 0


# --- too slow ----------------------------------------------------------------------------------------------------------


async def test_an_answer_that_does_not_begin_in_time_is_late(client: Transport) -> None:
    async with serving(saying(b"")) as server:
        with within(3), pytest.raises(FirstByteTimedOut) as caught:
            await post(client, server.url, Timeouts(first_byte_s=0.1))

    assert caught.value.sent


async def test_half_a_head_is_no_beginning(client: Transport) -> None:
    async with serving(saying(OK)) as server:
        with within(3), pytest.raises(FirstByteTimedOut):
            await post(client, server.url, Timeouts(first_byte_s=0.1))


async def test_the_deadline_of_the_whole_request_counts_before_the_first_byte(client: Transport) -> None:
    async with serving(saying(b"")) as server:
        with within(3), pytest.raises(TotalTimedOut):
            await post(client, server.url, Timeouts(first_byte_s=60, total_s=0.1))


async def test_silence_in_the_middle_of_a_body_is_an_idle_upstream(client: Transport) -> None:
    async with serving(saying(OK + b"content-length: 10\r\n\r\nabc")) as server:
        response = await post(client, server.url, Timeouts(idle_s=0.1))
        first = await response.chunk()
        with within(3), pytest.raises(IdleTimedOut):
            await response.chunk()
        response.close()

    assert first == b"abc"


async def test_silence_after_the_head_is_an_idle_upstream(client: Transport) -> None:
    async with serving(saying(OK + b"transfer-encoding: chunked\r\n\r\n")) as server:
        with within(3), pytest.raises(IdleTimedOut):
            await body_of(client, server.url, Timeouts(idle_s=0.1))


async def drip(peer: Peer) -> None:
    """A body that never ends, a byte every hundredth of a second."""
    await peer.request()
    await peer.send(OK + b"transfer-encoding: chunked\r\n\r\n")
    while True:
        await peer.send(b"1\r\na\r\n")
        await asyncio.sleep(0.01)


async def test_a_body_that_drips_is_not_idle_and_ends_at_the_deadline(client: Transport) -> None:
    async with serving(drip) as server:
        with within(3), pytest.raises(TotalTimedOut):
            await body_of(client, server.url, Timeouts(idle_s=0.5, total_s=1.2))


async def test_the_deadline_does_not_wait_for_the_idle_timeout(client: Transport) -> None:
    async with serving(drip) as server:
        with within(5), pytest.raises(TotalTimedOut):
            await body_of(client, server.url, Timeouts(idle_s=60, total_s=0.2))


async def test_a_reader_that_takes_its_time_does_not_make_the_upstream_idle(client: Transport) -> None:
    async with serving(saying(OK + b"content-length: 6\r\n\r\nabc", then=finish)) as server:
        response = await post(client, server.url, Timeouts(idle_s=0.4))
        first = await response.chunk()
        await asyncio.sleep(0.9)
        rest = await response.read()
        response.close()

    assert first + rest == b"abcdef"


async def finish(peer: Peer) -> None:
    await peer.send(b"def")
    await peer.gone()


# --- broken off --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [hang_up, reset])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["nothing", "half a head"])
async def test_an_end_before_the_head_is_a_disconnection(client: Transport, said: bytes, end: Serve) -> None:
    async with serving(saying(said, then=end)) as server:
        with within(3), pytest.raises(Disconnected) as caught:
            await post(client, server.url)

    assert caught.value.sent


@pytest.mark.parametrize("end", [hang_up, reset])
@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 10\r\n\r\nabc",
        b"transfer-encoding: chunked\r\n\r\n5\r\nab",
        b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
    ids=["length", "in a chunk", "between chunks"],
)
async def test_an_end_inside_of_the_body_is_a_disconnection(client: Transport, head: bytes, end: Serve) -> None:
    async with serving(saying(OK + head, then=end)) as server:
        with within(3), pytest.raises(Disconnected):
            await body_of(client, server.url)


async def test_an_upstream_that_hangs_up_before_it_read_the_request_is_a_disconnection(client: Transport) -> None:
    async with serving(hang_up) as server:
        with within(3), pytest.raises(Disconnected):
            await post(client, server.url)


# --- not HTTP ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 xyz OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000 + b"\r\n\r\n",
        b"\x00" * 64,
    ],
    ids=["ssh", "status", "two lengths", "negative length", "length and chunked", "no colon", "huge header", "zeros"],
)
async def test_an_answer_that_is_not_http_is_invalid(client: Transport, answer: bytes) -> None:
    async with serving(saying(answer, then=hang_up)) as server:
        with within(5), pytest.raises(ProviderError) as caught:
            await body_of(client, server.url)

    assert isinstance(caught.value, InvalidResponse | Disconnected)


@pytest.mark.parametrize("chunk", [b"zz\r\nabc\r\n", b"3\r\nabcdef\r\n", b"-3\r\nabc\r\n", b"ffffffffffffffffffff\r\na"])
async def test_a_chunk_that_is_none_is_an_error_of_ours(client: Transport, chunk: bytes) -> None:
    async with serving(saying(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n" + chunk)) as server:
        with within(5), pytest.raises(ProviderError) as caught:
            await body_of(client, server.url)

    assert isinstance(caught.value, InvalidResponse | Disconnected)


async def test_many_headers_are_bounded(client: Transport) -> None:
    endless = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 1000) for number in range(20_000))

    async with serving(saying(OK + endless + b"content-length: 2\r\n\r\nok", then=hang_up)) as server:
        with within(10):
            try:
                answer = await body_of(client, server.url)
            except ProviderError:
                return

    assert answer == b"ok"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(client: Transport, status: int) -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nleak")) as other:
        moved = b"HTTP/1.1 %d Moved\r\nlocation: %s\r\ncontent-length: 0\r\n\r\n" % (status, other.url.encode())
        async with serving(saying(moved)) as server:
            response = await post(client, server.url)
            await response.read()
            response.close()

        assert response.status == status
        assert other.peers == []


# --- connections -------------------------------------------------------------------------------------------------------


async def test_a_urls_query_is_sent_and_an_answer_is_known_by_whatever_id_it_has(client: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"x-amzn-RequestId: aws-1\r\ncontent-length: 2\r\n\r\n{}")

    async with serving(serve) as server:
        response = await post(client, f"{server.url}/a%3A0/converse?alt=sse&x=1")
        response.close()

    assert server.peers[0].heads[0].partition(b"\r\n")[0].endswith(b"/a%3A0/converse?alt=sse&x=1 HTTP/1.1")
    assert response.request_id == "aws-1"


async def test_a_connection_is_used_again_after_a_whole_answer(client: Transport) -> None:
    async with serving(saying(whole(b"one"), whole(b"two"), whole(b"three"))) as server:
        got = [await body_of(client, server.url) for _ in range(3)]

        assert (got, len(server.peers)) == ([b"one", b"two", b"three"], 1)


async def test_a_connection_is_used_again_after_a_whole_stream(client: Transport) -> None:
    stream = OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

    async with serving(saying(stream, stream)) as server:
        got = [await body_of(client, server.url) for _ in range(2)]

        assert (got, len(server.peers)) == ([b"abc", b"abc"], 1)


async def test_a_connection_is_not_used_again_after_an_abandoned_answer(client: Transport) -> None:
    async with serving(saying(OK + b"content-length: 100\r\n\r\nhalf")) as server:
        for _ in range(2):
            response = await post(client, server.url)
            first = await response.chunk()
            response.close()
            assert first == b"half"

        assert len(server.peers) == 2


async def test_what_follows_an_answer_never_gets_into_the_next_one(client: Transport) -> None:
    smuggled = whole(b"ok") + whole(b"smuggled")

    async with serving(saying(smuggled, smuggled)) as server:
        got = [await body_of(client, server.url) for _ in range(2)]

        assert got == [b"ok", b"ok"]


async def test_more_than_the_length_says_is_not_part_of_the_body(client: Transport) -> None:
    async with serving(saying(whole(b"ok") + b"and more", whole(b"next"))) as server:
        first = await body_of(client, server.url)
        try:
            second = await body_of(client, server.url)
        except ProviderError:
            second = b""

    assert first == b"ok"
    assert b"more" not in second


async def test_a_connection_that_was_closed_while_idle_is_replaced(client: Transport) -> None:
    async with serving(saying(whole(b"once"), then=hang_up)) as server:
        first = await body_of(client, server.url)
        second = await body_of(client, server.url)

        assert (first, second, len(server.peers)) == (b"once", b"once", 2)


async def test_the_rest_after_a_protocols_end_is_waited_for_only_a_moment(client: Transport) -> None:
    async with serving(saying(OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")) as server:
        response = await post(client, server.url)
        first = await response.chunk()
        with within(2):
            rest = await response.rest()
        response.close()

    assert (first, rest) == (b"abc", b"")


async def test_a_request_says_who_it_is_from_and_what_it_takes_and_no_more(client: Transport) -> None:
    async with serving(saying(whole(b"{}", b"set-cookie: a=b"), whole(b"{}"))) as server:
        for _ in range(2):
            response = await post(client, server.url, headers={"accept-encoding": "identity", "authorization": "Bearer k"})
            await response.read()
            response.close()
        heads = server.peers[0].heads

    names = {line.partition(b":")[0].lower() for line in heads[1].split(b"\r\n")[1:] if line}
    assert names == {b"host", b"user-agent", b"content-type", b"content-length", b"accept-encoding", b"authorization"}
    assert b"user-agent: tollway/" in heads[1].lower()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    client = Transport()

    async with serving(saying(whole(b"direct"))) as server:
        got = await body_of(client, server.url)
    await client.close()

    assert got == b"direct"


# --- the head ----------------------------------------------------------------------------------------------------------


async def test_the_head_of_an_answer_is_read(client: Transport) -> None:
    head = b"HTTP/1.1 429 Slow\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\nx-request-id: up_1\r\nretry-after: 7\r\n"

    async with serving(saying(head + b"content-length: 0\r\n\r\n")) as server:
        response = await post(client, server.url)
        response.close()

    assert (response.status, response.content_type, response.request_id) == (429, "text/event-stream", "up_1")
    assert response.header_content_type == "Text/Event-Stream; charset=utf-8"
    assert response.retry_after_s == 7.0


async def test_a_head_that_says_little_is_read_too(client: Transport) -> None:
    async with serving(
        saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-request-id: " + b"i" * 900 + b"\r\n\r\n{}")
    ) as server:
        response = await post(client, server.url)
        response.close()

    assert (response.content_type, len(response.request_id), response.retry_after_s) == ("application/json", 200, None)


# --- compression -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "compress"), [(b"gzip", gzip.compress), (b"X-GZip", gzip.compress), (b"deflate", zlib.compress)]
)
async def test_an_answer_that_is_compressed_although_asked_not_to_is_read(
    client: Transport, name: bytes, compress: Callable[[bytes], bytes]
) -> None:
    text = b'{"text":"' + b"abc " * 1000 + b'"}'

    async with serving(saying(whole(compress(text), b"content-encoding: " + name))) as server:
        assert await body_of(client, server.url) == text


@pytest.mark.parametrize("name", [b"br", b"zstd", b"gzip, gzip", b"x"])
async def test_a_compression_that_nobody_asked_for_is_refused_and_its_connection_dropped(
    client: Transport, name: bytes
) -> None:
    left = asyncio.Event()

    async def noticing(peer: Peer) -> None:
        await peer.gone()
        left.set()

    async with serving(
        saying(OK + b"content-encoding: " + name + b"\r\ncontent-length: 100\r\n\r\nabc", then=noticing)
    ) as server:
        with pytest.raises(InvalidResponse):
            await post(client, server.url)

        await asyncio.wait_for(left.wait(), 3)


@pytest.mark.parametrize(
    "data",
    [
        b"not compressed",
        gzip.compress(b"abc" * 99, mtime=0)[:-20],
        gzip.compress(b"abc" * 99, mtime=0)[:12],
        gzip.compress(b"a", mtime=0)[:5] + b"\xff" * 20,
    ],
)
async def test_an_answer_that_cannot_be_decompressed_is_invalid(client: Transport, data: bytes) -> None:
    async with serving(saying(whole(data, b"content-encoding: gzip"))) as server:
        with pytest.raises(InvalidResponse):
            await body_of(client, server.url)


async def test_a_compressed_answer_of_any_size_is_whole(client: Transport) -> None:
    sizes = [INFLATED_PIECE_BYTES - 1, INFLATED_PIECE_BYTES, INFLATED_PIECE_BYTES + 1, 3 * INFLATED_PIECE_BYTES]

    async with serving(saying(*(whole(gzip.compress(b"a" * size), b"content-encoding: gzip") for size in sizes))) as server:
        got = [len(await body_of(client, server.url)) for _ in sizes]

    assert got == sizes


async def test_a_piece_that_just_fills_the_buffer_is_not_the_end(client: Transport) -> None:
    squeeze = zlib.compressobj(wbits=31)
    first = squeeze.compress(b"a" * INFLATED_PIECE_BYTES) + squeeze.flush(zlib.Z_FULL_FLUSH)
    second = squeeze.compress(b"b") + squeeze.flush()
    head = OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % (len(first) + len(second))
    taken = asyncio.Event()

    async def late(peer: Peer) -> None:
        await taken.wait()
        await peer.send(second)
        await peer.gone()

    async with serving(saying(head + first, then=late)) as server:
        response = await post(client, server.url)
        got = [await response.chunk()]
        taken.set()
        while data := await response.chunk():
            got.append(data)
        response.close()

    assert b"".join(got) == b"a" * INFLATED_PIECE_BYTES + b"b"


async def test_a_bomb_is_given_up_at_the_limit(client: Transport) -> None:
    bomb = gzip.compress(bytes(BODY_MAX_BYTES + INFLATED_PIECE_BYTES), 9)

    async with serving(saying(whole(bomb, b"content-encoding: gzip"))) as server:
        with within(10), pytest.raises(InvalidResponse, match="64 MiB"):
            await body_of(client, server.url)


# --- the foreign tree --------------------------------------------------------------------------------------------------


def tree(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]


def builtin(kind: type[Exception]) -> bool:
    return kind.__module__ in ("builtins", "socket", "ssl", "_ssl")


CONNECTING = sorted({kind for kind in (*tree(OSError), *tree(ValueError)) if builtin(kind)}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", CONNECTING, ids=lambda kind: kind.__name__)
def test_whatever_connecting_raises_is_a_connection_that_failed(kind: type[Exception]) -> None:
    ours = mapped(kind.__new__(kind))

    assert isinstance(ours, ConnectFailed)
    assert isinstance(ours, TlsFailed) == issubclass(kind, ssl.SSLError)
    assert isinstance(ours, ConnectTimedOut) == (kind is TimeoutError)
    assert not ours.sent
    assert 0 < len(str(ours)) < 80


def test_the_errors_of_a_provider_are_these() -> None:
    own = {kind.__name__ for kind in tree(errors.ProviderError)}

    assert own == {
        "ProviderError",
        "ConnectFailed",
        "ConnectTimedOut",
        "TlsFailed",
        "NoCredentials",
        "FirstByteTimedOut",
        "IdleTimedOut",
        "TotalTimedOut",
        "Disconnected",
        "CutShort",
        "SendTimedOut",
        "InvalidResponse",
        "RefusedInBody",
        "Refused",
    }


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_request_goes_out_with_its_method_and_its_query(client: Transport, method: str) -> None:
    heads: list[bytes] = []

    async def serve(peer: Peer) -> None:
        await peer.request()
        heads.extend(peer.heads)
        await peer.send(whole(b"ok"))

    async with serving(serve) as server:
        request = HttpRequest(f"{server.url}?alt=sse&limit=3", {}, b"", method)
        response = await client.send(request, timeouts=PATIENT, deadline_s=asyncio.get_running_loop().time() + 10)
        assert await response.read() == b"ok"
        response.close()

    assert heads[0].split(b"\r\n")[0] == f"{method} /v1/chat/completions?alt=sse&limit=3 HTTP/1.1".encode()
