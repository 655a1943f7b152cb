"""What the fuzzers found, and what led there, is read again; and what they demand can be broken."""

from __future__ import annotations

import pytest

from providers import sse
from tests.fuzz.corpus import kept, steps
from tests.fuzz.targets import TARGETS, pieces, seeds


@pytest.mark.parametrize("target", TARGETS)
def test_every_input_that_is_kept_is_read_as_it_should_be(target: str) -> None:
    inputs = [*kept(target), *seeds(target)]

    for it in inputs:
        TARGETS[target](it)

    assert inputs


@pytest.mark.parametrize("target", TARGETS)
def test_bytes_of_no_protocol_are_refused_without_a_fuss(target: str) -> None:
    for it in (b"", b"\0", b"\n\n", b"\1{", b"data: {}\n\n", b'\2{"model":1e999}', b"\0[[[[", b"\xff" * 40):
        TARGETS[target](it)


def test_the_pieces_are_the_whole_and_always_the_same() -> None:
    data = bytes(range(256)) * 4

    assert b"".join(pieces(data)) == data
    assert list(pieces(data)) == list(pieces(data))
    assert len(list(pieces(data))) > 1


def test_an_input_that_goes_another_way_is_known_by_its_steps() -> None:
    def read(data: bytes) -> None:
        sse.split(data)

    assert steps(read, b"data: a\n\n") == steps(read, b"data: b\n\n")
    assert steps(read, b"data: a\n\n") != steps(read, b"data: a\r\r")
