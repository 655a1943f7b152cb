"""A form with a file on its way: what is ours is taken out, all else goes on as it came, and nothing that is no form does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from proxy.api.file_uploads import FORM_MAX_BYTES, Bounds, Form
from proxy.errors import ClientClosed, InvalidRequest, ProxyError, RequestTimedOut, RequestTooLarge
from tests.proxy.scripted import Hang

BOUNDS = Bounds(max_bytes=10_000, piece_s=5, total_s=5)
Field = tuple[str, str]


def form(before: Sequence[Field], file: bytes = b"content", after: Sequence[Field] = (), name: str = "file") -> bytes:
    parts = [f'--b\r\ncontent-disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode() for key, value in before]
    head = f'--b\r\ncontent-disposition: form-data; name="{name}"; filename="f"\r\n\r\n'.encode()
    parts.append(head + file + b"\r\n")
    parts += [f'--b\r\ncontent-disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode() for key, value in after]
    return b"".join(parts) + b"--b--\r\n"


def read(body: bytes) -> list[tuple[str, bytes]]:
    """The parts as another reader sees them."""
    made = message_from_bytes(b"content-type: multipart/form-data; boundary=b\r\n\r\n" + body)
    assert made.defects == []
    found = []
    for part in made.get_payload():
        content = part.get_payload(decode=True)  # type: ignore[union-attr]  # a message
        assert isinstance(content, bytes)
        found.append((str(part.get_param("name", header="content-disposition")), content))  # type: ignore[union-attr]  # as above
    return found


async def coming(pieces: Sequence[bytes | Exception | Hang]) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, Hang):
            await piece()
        elif isinstance(piece, Exception):
            raise piece
        elif piece:
            yield piece


def made(*pieces: bytes | Exception | Hang, length: int | None = None, bounds: Bounds = BOUNDS) -> Form:
    return Form(coming(pieces), b"b", file="file", length=length, bounds=bounds)


async def passed(it: Form) -> bytes:
    await it.begin()
    return b"".join([piece async for piece in it.pieces()])


FIELDS = st.lists(
    st.sampled_from([("purpose", "batch"), ("provider", "openai"), ("custom_llm_provider", "openai"), ("expires_after", "1")]),
    unique_by=lambda it: it[0],
)


@given(FIELDS, st.binary(max_size=300), st.lists(st.integers(0, 80)), st.booleans())
async def test_whatever_the_split_what_is_ours_is_taken_out(
    fields: list[Field], file: bytes, cuts: list[int], said: bool
) -> None:
    body = form(fields, file)
    pieces, rest = [], body
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    it = made(*pieces, rest, length=len(body) if said else None)

    sent = await passed(it)

    others = [(name, value) for name, value in fields if "provider" not in name]
    assert sent == form(others, file)
    assert it.length == (len(sent) if said else None)
    assert it.fields == dict(fields)
    assert it.is_sent


def test_another_reader_finds_the_same() -> None:
    assert read(form([("purpose", "batch")], b"x\r\ny")) == [("purpose", b"batch"), ("file", b"x\r\ny")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b--\r\n",
        form([])[:-2] + b"x",
        form([])[:-9],
        form([], name="other"),
        form([]).removesuffix(b"--b--\r\n") + form([]),
        form([], after=[("provider", "x")]),
        form([("purpose", "batch")]).replace(b"name=", b"nam="),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_what_is_no_such_form_never_ends(body: bytes, size: int) -> None:
    it = made(*[body[at : at + size] for at in range(0, len(body), size)])
    sent = []

    with pytest.raises(InvalidRequest):
        await it.begin()
        async for piece in it.pieces():
            sent.append(piece)  # noqa: PERF401  # what came before it fails counts

    assert (it.is_sent, b"--b--" in b"".join(sent)) == (False, False)


async def test_a_field_behind_the_file_goes_on_if_it_is_not_ours() -> None:
    body = form([], after=[("purpose", "batch")])

    assert await passed(made(body)) == body


@pytest.mark.parametrize(
    ("piece", "error"), [(ClientDisconnect(), ClientClosed), (Hang(), RequestTimedOut), (form([]), InvalidRequest)]
)
async def test_who_leaves_or_stops_in_the_middle_is_heard_of(piece: Exception | Hang | bytes, error: type[ProxyError]) -> None:
    it = made(form([("purpose", "batch")])[:-20], piece, bounds=Bounds(max_bytes=10_000, piece_s=0.05, total_s=5))

    with pytest.raises(error):
        await passed(it)


async def test_a_file_that_is_too_large_is_refused_however_it_comes() -> None:
    large = form([], bytes(BOUNDS.max_bytes + 1))
    endless = [form([], b"")[:-9], *[bytes(65_536)] * 32]

    for it in (made(large), made(large[:5_000], large[5_000:]), made(*endless), made(b"", length=FORM_MAX_BYTES + 20_000)):
        with pytest.raises(RequestTooLarge):
            await passed(it)
    assert await passed(made(form([], bytes(BOUNDS.max_bytes))))
