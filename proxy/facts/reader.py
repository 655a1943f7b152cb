"""Reads payloads in a child process: three megabytes of prices take a third of a second, and no request shall notice.

A thread would not do: whoever decodes such a document holds the interpreter for all of it.  The child gets the payload on
its standard input and answers with frames of a few hundred rows, so that taking them in can be interrupted, too.
``python -m proxy.facts.reader NAME FETCHED_AT_US`` is the child.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

import proxy
from ledger.errors import SourceUnreadable
from ledger.facts import Parsed
from ledger.refresh.source import Parse
from proxy.facts.sources import FORMS, TABLE

TOTAL_S = 120.0
FRAME_ROWS = 200
UNREADABLE = 3
NICE = 10
LENGTH_BYTES = 4

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Parsed).decode


class ChildReader:
    """A ``Reader`` that starts a child for each payload."""

    async def read(self, name: str, parse: Parse, payload: bytes, /, *, fetched_at_us: int) -> Parsed:
        """What the payload says.  The child knows the reader by its name.  Raises: SourceUnreadable."""
        del parse
        root = Path(proxy.__file__).parents[1]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root), os.environ.get("PYTHONPATH", "")))}
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "proxy.facts.reader", name, str(fetched_at_us)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                start_new_session=True,  # Ctrl-C is the server's
            )
        except OSError as error:
            raise SourceUnreadable(f"its reader cannot be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(TOTAL_S):
                out, said = await child.communicate(payload)
        except TimeoutError as error:
            raise SourceUnreadable(f"it could not be read within {TOTAL_S:g} s") from error
        finally:
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        if child.returncode != 0:
            why = said.decode(errors="replace").strip().rpartition("\n")[2]
            raise SourceUnreadable(why if child.returncode == UNREADABLE else f"its reader failed: {why[:200]}")
        return await joined(out)


async def joined(out: bytes, /) -> Parsed:
    """The frames as one.  The loop gets its turn after each.  Raises: SourceUnreadable."""
    pieces = []
    at = 0
    while at < len(out):
        size = int.from_bytes(out[at : at + LENGTH_BYTES], "big")
        at += LENGTH_BYTES
        try:
            pieces.append(_decode(out[at : at + size]))
        except msgspec.DecodeError as error:
            raise SourceUnreadable(f"its reader's answer is damaged: {error}") from error
        at += size
        await asyncio.sleep(0)
    return Parsed(
        readings=tuple(it for piece in pieces for it in piece.readings),
        models=tuple(it for piece in pieces for it in piece.models),
        prices=tuple(it for piece in pieces for it in piece.prices),
        problems=tuple(it for piece in pieces for it in piece.problems),
    )


def frames(parsed: Parsed, /) -> Iterator[bytes]:
    """The rows in frames, each with its length before it."""
    for start in range(0, len(parsed.readings), FRAME_ROWS):
        yield _frame(Parsed(readings=parsed.readings[start : start + FRAME_ROWS]))
    for start in range(0, len(parsed.models), FRAME_ROWS):
        yield _frame(Parsed(models=parsed.models[start : start + FRAME_ROWS]))
    for start in range(0, len(parsed.prices), FRAME_ROWS):
        yield _frame(Parsed(prices=parsed.prices[start : start + FRAME_ROWS]))
    yield _frame(Parsed(problems=parsed.problems))


def _frame(parsed: Parsed) -> bytes:
    content = _encode(parsed)
    return len(content).to_bytes(LENGTH_BYTES, "big") + content


def parsers() -> Mapping[str, Parse]:
    """Every reader that a child knows."""
    return {**{name: source.parse for name, source in TABLE.items()}, **FORMS}


def main(arguments: list[str], payload: BinaryIO, out: BinaryIO, fail: Callable[[str], object]) -> int:
    """The child.  Returns its exit code."""
    name, fetched_at_us = arguments
    try:
        parsed = parsers()[name](payload.read(), fetched_at_us=int(fetched_at_us))
    except SourceUnreadable as error:
        fail(f"{error}\n")
        return UNREADABLE
    out.writelines(frames(parsed))
    out.flush()
    return 0


if __name__ == "__main__":
    os.nice(NICE)
    sys.exit(main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer, sys.stderr.write))
