"""Bodies that were compressed."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.encodings import check, inflated
from proxy.errors import InvalidRequest, RequestTooLarge, UnsupportedEncoding

BODY = b'{"model":"m","messages":[{"role":"user","content":"Gr\xc3\xbc\xc3\x9fe"}]}' * 20


def bare(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


FORMS = [(b"gzip", gzip.compress), (b"x-gzip", gzip.compress), (b"deflate", zlib.compress), (b"deflate", bare)]


@pytest.mark.parametrize(("encoding", "compress"), FORMS, ids=["gzip", "x-gzip", "zlib", "bare"])
@given(data=st.binary(max_size=3000) | st.just(BODY))
def test_what_was_compressed_comes_out(encoding: bytes, compress, data: bytes) -> None:  # type: ignore[no-untyped-def]  # either form
    check(encoding)

    assert inflated(compress(data), encoding, max_bytes=5000) == data


def test_several_members_are_one_body() -> None:
    assert inflated(gzip.compress(b"{") + gzip.compress(b"}"), b"gzip", max_bytes=2) == b"{}"


@pytest.mark.parametrize(("encoding", "compress"), FORMS, ids=["gzip", "x-gzip", "zlib", "bare"])
def test_a_bomb_is_refused_before_it_is_large(encoding: bytes, compress) -> None:  # type: ignore[no-untyped-def]  # either form
    with pytest.raises(RequestTooLarge):
        inflated(compress(bytes(1_000_000)), encoding, max_bytes=999_999)


def test_members_count_together() -> None:
    with pytest.raises(RequestTooLarge):
        inflated(gzip.compress(b"12345") * 3, b"gzip", max_bytes=14)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", BODY),
        (b"gzip", gzip.compress(BODY)[:-4]),
        (b"gzip", gzip.compress(BODY) + b"more"),
        (b"deflate", zlib.compress(BODY)[:-4]),
        (b"deflate", zlib.compress(BODY) + b"more"),
        (b"deflate", bare(BODY)[:-4]),
    ],
    ids=["none", "cut", "followed", "cut zlib", "followed zlib", "cut bare"],
)
def test_what_is_damaged_is_refused(encoding: bytes, body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        inflated(body, encoding, max_bytes=100_000)


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip", b"x"])
def test_other_encodings_are_refused(encoding: bytes) -> None:
    with pytest.raises(UnsupportedEncoding):
        check(encoding)
