"""Taking forms in: whole where they are small, passing where they are large, within bounds either way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.api.uploads import Arriving, Next, Upload, UploadLimits, Uploads
from proxy.disk.spool import MEMORY_BYTES, SpoolLimits, Spools
from proxy.errors import (
    ClientClosed,
    InvalidApiKey,
    InvalidForm,
    Overloaded,
    ProxyError,
    RequestTimedOut,
    RequestTooLarge,
)

KIND = 'multipart/form-data; boundary="e"'
WHOLE_MAX = 3 * MEMORY_BYTES
LIMITS = UploadLimits(body_max_bytes=16 * MEMORY_BYTES, whole_max_bytes=WHOLE_MAX)


@pytest.fixture
def spools(tmp_path: Path) -> Spools:
    return Spools(tmp_path, SpoolLimits(count_max=4, total_max_bytes=1 << 30))


@pytest.fixture
def uploads(spools: Spools) -> Uploads:
    return Uploads(spools, LIMITS)


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"' if filename else ""
    return f'--e\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join((*parts, b"--e--\r\n"))


def coming(body: bytes, step: int = 100_000) -> Next:
    pieces = iter([body[at : at + step] for at in range(0, len(body), step)])

    async def next_piece() -> bytes | None:
        return next(pieces, None)

    return next_piece


async def sent(upload: Upload, **changed: str) -> bytes:
    body = upload.body(**changed)
    if isinstance(body, bytes):
        return body
    parts = [piece async for piece in body.pieces()]
    assert body.is_sent
    assert body.length in (None, sum(map(len, parts)))
    return b"".join(parts)


def of(size: int, model: bytes = b"acme/m") -> bytes:
    return form(part("model", model), part("file", bytes(size), "a"))


# --- whole -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, 2 * MEMORY_BYTES], ids=["in memory", "in a file"])
async def test_a_form_that_is_taken_in_is_sent_as_it_came_as_often_as_need_be(uploads: Uploads, size: int) -> None:
    upload = await uploads.take(KIND, None, coming(of(size)))

    assert upload.is_whole
    assert await sent(upload, model="acme/m") == of(size)
    assert await sent(upload, model="a longer name") == of(size, b"a longer name")
    assert await sent(upload) == of(size)
    assert upload.may_be_sent


async def test_two_tries_at_once_get_all_of_it(uploads: Uploads) -> None:
    upload = await uploads.take(KIND, None, coming(of(2 * MEMORY_BYTES)))

    both = await asyncio.gather(sent(upload, model="a"), sent(upload, model="bcd"))

    assert both == [of(2 * MEMORY_BYTES, b"a"), of(2 * MEMORY_BYTES, b"bcd")]


async def test_what_it_holds_is_told(uploads: Uploads) -> None:
    upload = await uploads.take(KIND, None, coming(form(part("a", b"1"), part("f", b"22", "f"), part("a", b"3"))))

    assert [(it.name, it.text) for it in upload.fields] == [("a", "1"), ("a", "3")]
    assert [it.filename for it in upload.files] == ["f"]
    assert upload.file_bytes == 2


async def test_it_is_there_until_the_last_has_let_go(uploads: Uploads, spools: Spools) -> None:
    upload = await uploads.take(KIND, None, coming(of(2 * MEMORY_BYTES)))
    upload.hold()
    upload.let_go()

    assert await sent(upload) == of(2 * MEMORY_BYTES)
    upload.let_go()
    with pytest.raises(ClientClosed):
        upload.body()
    assert (spools.count, spools.file_bytes) == (0, 0)


async def test_one_that_goes_away_while_it_is_sent_is_never_whole(uploads: Uploads) -> None:
    upload = await uploads.take(KIND, None, coming(of(2 * MEMORY_BYTES)))
    body = upload.body()
    assert not isinstance(body, bytes)
    pieces = body.pieces()
    await anext(pieces)

    upload.let_go()
    with pytest.raises(ClientClosed):
        async for _ in pieces:
            pass

    assert not body.is_sent


async def test_a_field_that_matters_stands_there_once_and_is_no_file(uploads: Uploads) -> None:
    upload = await uploads.take(
        KIND, None, coming(form(part("a", b"1"), part("b", b"", "f"), part("c", b"2"), part("c", b"2")))
    )

    assert (upload.one("a"), upload.one("z")) == ("1", None)
    for name in "bc":
        with pytest.raises(InvalidForm) as caught:
            upload.one(name)
        assert caught.value.param == name


@pytest.mark.parametrize("boundary", ["abc", "a b", "a/b:c?"])
async def test_the_content_type_names_the_clients_boundary(uploads: Uploads, boundary: str) -> None:
    body = form(part("a", b"1")).replace(b"--e", b"--" + boundary.encode())
    upload = await uploads.take(f'multipart/form-data; charset=utf-8; boundary="{boundary}"', None, coming(body))

    again = await uploads.take(upload.content_type, None, coming(await sent(upload)))

    assert again.one("a") == "1"


# --- passing ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False], ids=["length", "no length"])
async def test_a_large_form_passes_once(uploads: Uploads, spools: Spools, told: bool) -> None:
    body = of(8 * MEMORY_BYTES)
    upload = await uploads.take(KIND, len(body) if told else None, coming(body))
    assert not upload.is_whole
    assert upload.may_be_sent

    assert await sent(upload, model="m") == of(8 * MEMORY_BYTES, b"m")
    assert not upload.may_be_sent
    assert spools.file_bytes <= WHOLE_MAX + MEMORY_BYTES


async def test_one_whose_length_is_told_passes_from_its_first_file_on(uploads: Uploads, spools: Spools) -> None:
    body = of(8 * MEMORY_BYTES)

    upload = await uploads.take(KIND, len(body), coming(body))

    assert spools.file_bytes == 0
    assert upload.file_bytes == len(body)


async def test_a_field_that_is_needed_is_waited_for_as_long_as_it_is_taken_in(uploads: Uploads) -> None:
    body = form(part("file", bytes(2 * MEMORY_BYTES), "a"), part("model", b"m"), part("mask", bytes(8 * MEMORY_BYTES), "b"))
    upload = await uploads.take(KIND, len(body), coming(body))

    assert upload.one("model") == "m"
    assert await sent(upload, model="other") == body.replace(b"\r\n\r\nm\r\n", b"\r\n\r\nother\r\n")


async def test_a_field_that_is_needed_and_does_not_come_in_time_is_named(uploads: Uploads, spools: Spools) -> None:
    body = form(part("file", bytes(4 * MEMORY_BYTES), "a"), part("model", b"m"))

    with pytest.raises(InvalidForm) as caught:
        await uploads.take(KIND, len(body), coming(body))

    assert caught.value.param == "model"
    assert (spools.count, spools.file_bytes) == (0, 0)


@pytest.mark.parametrize(
    "end",
    [part("late", b"1") + b"--e--\r\n", b"", b"--e--garbage", b"--e--\r\nmore", b"--e-"],
    ids=["field", "cut", "garbage", "more", "half"],
)
async def test_what_passes_and_is_no_form_has_no_end(uploads: Uploads, end: bytes) -> None:
    body = part("model", b"m") + part("file", bytes(8 * MEMORY_BYTES), "a") + end
    upload = await uploads.take(KIND, len(body), coming(body))
    made = upload.body(model="m")
    assert not isinstance(made, bytes)
    got = 0

    with pytest.raises(InvalidForm):
        async for piece in made.pieces():
            got += len(piece)

    assert got < len(body)
    assert not made.is_sent


# --- bounds ----------------------------------------------------------------------------------------------------------------


async def test_a_length_that_is_too_large_is_refused_unread(uploads: Uploads) -> None:
    async def never() -> bytes | None:
        raise AssertionError("read")

    with pytest.raises(RequestTooLarge):
        await uploads.take(KIND, LIMITS.body_max_bytes + 1, never)


async def test_more_than_there_may_be_are_refused(uploads: Uploads) -> None:
    for _ in range(4):
        await uploads.take(KIND, None, coming(of(1)))

    with pytest.raises(Overloaded):
        await uploads.take(KIND, None, coming(of(1)))


async def test_one_that_fails_leaves_its_room(uploads: Uploads, spools: Spools) -> None:
    for _ in range(9):
        with pytest.raises(InvalidForm):
            await uploads.take(KIND, None, coming(of(2 * MEMORY_BYTES)[:-9]))

    assert (spools.count, spools.file_bytes) == (0, 0)


SCRAPS = [part("model", b"m"), b"--e", b"--e--", b"\r\n"]


@given(body=st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(SCRAPS)).map(b"".join)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_whatever_comes_is_a_form_or_an_error_of_ours(uploads: Uploads, spools: Spools, body: bytes) -> None:
    try:
        upload = await uploads.take(KIND, None, coming(body, 7))
    except ProxyError as error:
        assert isinstance(error, InvalidForm)
    else:
        assert await sent(upload) == body
        upload.let_go()

    assert spools.count == 0


# --- arriving --------------------------------------------------------------------------------------------------------------


def arriving(
    pieces: Sequence[bytes | None],
    *,
    length: int = 0,
    identify: Callable[[], object] = object,
    limits: UploadLimits = LIMITS,
    clock_s: Callable[[], float] = lambda: 0.0,
) -> Arriving:
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        piece = left.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": piece != b"end"}

    return Arriving(receive, limits=limits, length=length, unidentified_bytes=100, identify=identify, clock_s=clock_s)


async def rest(it: Arriving) -> AsyncIterator[bytes]:
    while (piece := await it.next()) is not None:
        yield piece


def stranger() -> object:
    raise InvalidApiKey("no")


async def test_pieces_come_until_there_are_no_more() -> None:
    it = arriving([b"a", b"", b"end"])

    assert [piece async for piece in rest(it)] == [b"a", b"", b"end"]
    assert await it.next() is None


async def test_a_stranger_may_send_a_small_one() -> None:
    it = arriving([bytes(100), b"end"], identify=stranger)

    assert len([piece async for piece in rest(it)]) == 2


@pytest.mark.parametrize(("pieces", "length"), [([b"end"], 101), ([bytes(101), b"end"], 0)])
async def test_a_stranger_may_not_send_a_large_one(pieces: list[bytes], length: int) -> None:
    it = arriving(pieces, length=length, identify=stranger)

    with pytest.raises(InvalidApiKey):
        [piece async for piece in rest(it)]


async def test_more_than_may_come_is_refused() -> None:
    it = arriving([bytes(60), bytes(60)], limits=UploadLimits(body_max_bytes=100))

    with pytest.raises(RequestTooLarge):
        [piece async for piece in rest(it)]


async def test_a_client_that_leaves_is_heard() -> None:
    with pytest.raises(ClientClosed):
        [piece async for piece in rest(arriving([b"a", None]))]


async def test_a_piece_has_to_come_in_time() -> None:
    with pytest.raises(RequestTimedOut):
        [piece async for piece in rest(arriving([b"a"], limits=UploadLimits(piece_timeout_s=0.05)))]


async def test_all_of_them_have_to_come_in_time() -> None:
    times = iter(range(0, 1000, 100))
    it = arriving([b"a"] * 20, limits=UploadLimits(timeout_s=500), clock_s=lambda: float(next(times)))

    with pytest.raises(RequestTimedOut):
        [piece async for piece in rest(it)]
