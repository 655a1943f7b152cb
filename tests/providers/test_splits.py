"""However a stream's bytes are split, it says the same: thousands of random splits of recorded streams, in every protocol.

``make splits`` tries ten thousand of each; a usual run of the tests some hundreds.
"""

from __future__ import annotations

import json
import os
import random
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from providers import eventstream, sse
from providers.errors import InvalidResponse
from providers.provider import Endpoint
from providers.registry import WIRES
from providers.usage import semantics_of
from proxy.api.gemini import Array
from proxy.errors import ProxyError
from tests.fuzz.targets import CHATS, CLIENTS, codec, framed, seeds

SPLITS = int(os.environ.get("SPLITS", "300"))
CUTS_MAX = 40


def streams(name: str) -> list[bytes]:
    """Recorded streams, those that are long without their middle; where that cannot be missed, they are none."""
    endpoint, vendor = CHATS[name]
    found = []
    for it in seeds(name):
        data = framed(it) if name == "bedrock" else it
        with suppress(InvalidResponse):
            codec(endpoint).decoder(semantics_of(vendor, endpoint)).feed(data)
            found.append(data)
    return found


def split(data: bytes, chance: random.Random) -> list[bytes]:
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(CUTS_MAX)))
    return [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]


@pytest.mark.parametrize("name", CHATS)
def test_any_split_gives_the_same_events(name: str) -> None:
    endpoint, vendor = CHATS[name]
    semantics = semantics_of(vendor, endpoint)
    chance = random.Random(name)  # noqa: S311  # where to cut, no secret
    known = streams(name)

    def read(pieces: list[bytes]) -> Any:
        decoder = codec(endpoint).decoder(semantics)
        return [*(event for piece in pieces for event in decoder.feed(piece)), *decoder.finish()]

    whole = [read([it]) for it in known]
    wrong = 0
    for _ in range(SPLITS):
        at = chance.randrange(len(known))
        wrong += read(split(known[at], chance)) != whole[at]

    assert whole and all(whole)
    assert wrong == 0


@pytest.mark.parametrize("endpoint", CLIENTS)
def test_any_split_is_passed_on_and_metered_alike(endpoint: Endpoint) -> None:
    name = next(name for name, (spoken, _) in CHATS.items() if spoken == endpoint)
    semantics = semantics_of(CHATS[name][1], endpoint)
    chance = random.Random(endpoint)  # noqa: S311  # as above
    known = streams(name)
    tap = WIRES[endpoint].tap
    assert tap is not None

    def read(pieces: list[bytes]) -> Any:
        reader = tap(True, semantics)
        out = b""
        try:
            out = b"".join(map(reader.feed, pieces))
        except InvalidResponse:
            return None
        return out, reader.finish(), reader.closing, reader.usage, reader.model, reader.error

    whole = [read([it]) for it in known]
    wrong = 0
    for _ in range(SPLITS):
        at = chance.randrange(len(known))
        wrong += read(split(known[at], chance)) != whole[at]

    assert wrong == 0
    assert any(it is not None and it[3] is not None for it in whole)


def test_any_split_gives_the_same_frames() -> None:
    chance = random.Random("frames")  # noqa: S311  # as above
    known = streams("bedrock")

    def read(pieces: list[bytes]) -> Any:
        reader = eventstream.Reader()
        return [it for piece in pieces for it in reader.feed(piece)], reader.inside

    whole = [read([it]) for it in known]
    wrong = 0
    for _ in range(SPLITS):
        at = chance.randrange(len(known))
        wrong += read(split(known[at], chance)) != whole[at]

    assert all(frames and not inside for frames, inside in whole)
    assert wrong == 0


class Pieces:
    """A stream's events, some at a time, to a client who takes them at once or later."""

    closing = b""

    def __init__(self, groups: list[bytes], chance: random.Random) -> None:
        self._groups = groups
        self._chance = chance

    async def read(self, write: Any = None) -> bytes:
        while self._groups:
            events = self._groups.pop(0)
            if not (events and write is not None and write(events)):
                return events
        return b""

    def fail(self, error: ProxyError) -> None:
        raise error

    def close(self) -> None:
        """There is nothing to let go of."""


async def test_any_grouping_of_events_gives_the_same_array() -> None:
    chance = random.Random("array")  # noqa: S311  # as above
    known = [sse.split(it) for it in streams("gemini")]
    wanted = [[json.loads(data) for it in events if (data := sse.data_of(it))] for events in known]
    wrong = 0

    for _ in range(SPLITS):
        at = chance.randrange(len(known))
        events = known[at]
        cuts = sorted(chance.randrange(len(events) + 1) for _ in range(chance.randrange(6)))
        groups = [b"".join(events[start:end]) for start, end in pairwise([0, *cuts, len(events)])]
        array = Array(Pieces([it for it in groups if it], chance))
        out: list[bytes] = []

        def write(data: bytes, out: list[bytes] = out) -> bool:
            # Now and then the client's buffer is full.
            if chance.random() < 0.3:
                return False
            out.append(data)
            return True

        while elements := await array.read(write):
            out.append(elements)
        out.append(array.closing)
        wrong += json.loads(b"".join(out)) != wanted[at]

    assert wrong == 0
