"""What forms with files cost: CPU time, the best of several rounds.

``python -m benchmarks.micro.uploads [--rounds 7] [--seconds 0.1]``

Reading a form, by the megabyte and without a file worth mentioning; the spool; how long a sound is; and a form of 25 MB from a
client through everything that takes it in and hands it on, all threads together.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.micro.stages import best_us
from providers.multipart import Reader, boundary_of
from providers.provider import Body
from providers.sound import ENDS_BYTES, told_ms
from proxy.api import forms
from proxy.api.uploads import UploadLimits, Uploads
from proxy.disk.spool import SpoolLimits, Spools

EDGE = b"0123456789abcdef0123456789abcdef"
KIND = "multipart/form-data; boundary=" + EDGE.decode()
PIECE_BYTES = 64 * 1024
MB = 1_000_000


def part(name: str, value: bytes, filename: str = "") -> bytes:
    """One part."""
    file = f'; filename="{filename}"\r\nContent-Type: audio/mpeg' if filename else ""
    return b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (EDGE, name.encode(), file.encode(), value)


def form(size: int) -> bytes:
    """A transcription's form with a file of that many bytes."""
    fields = b"".join(part(name, b"openai/whisper-1") for name in ("model", "language", "response_format", "prompt"))
    return fields + part("file", bytes(range(256)) * (size // 256), "sound.mp3") + b"--" + EDGE + b"--\r\n"


def pieces_of(body: bytes) -> list[bytes]:
    """A body as it comes from the network."""
    return [body[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES)]


def reading(size: int, *, digests: bool = False) -> Callable[[], object]:
    """Reads a form."""
    pieces = pieces_of(form(size))

    def read() -> None:
        reader = Reader(EDGE, digests=digests)
        for piece in pieces:
            reader.feed(piece)
        reader.finish()

    return read


async def through(folder: Path, body: bytes, whole_max: int) -> float:
    """CPU seconds of taking a form in and handing all of it on, with another name for the model."""
    uploads = Uploads(
        Spools(folder, SpoolLimits(count_max=1, total_max_bytes=1 << 40)),
        UploadLimits(body_max_bytes=1 << 40, whole_max_bytes=whole_max),
    )
    pieces = iter(pieces_of(body))

    async def following() -> bytes | None:
        return next(pieces, None)

    started_s = time.process_time()
    upload = await uploads.take(KIND, len(body), following)
    await forms.head(upload, "audio/transcriptions")
    forms.described(upload, unique="")
    made: bytes | Body = upload.body(model="whisper-1")
    if not isinstance(made, bytes):
        async for _ in made.pieces():
            pass
    upload.let_go()
    return time.process_time() - started_s


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1)
    given = parser.parse_args()
    sound = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + bytes(8) + b"\0\x7d\0\0" + bytes(4) + b"data\0\0\1\0" + bytes(ENDS_BYTES)
    steps = {
        "the boundary of a content-type": lambda: boundary_of(KIND),
        "a form of five parts, 1 kB of file": reading(1024),
        "a form, 1 MB of file": reading(MB),
        "a form, 1 MB of file, digested": reading(MB, digests=True),
        "how long a sound is": lambda: told_ms(sound[:ENDS_BYTES], sound[-ENDS_BYTES:], len(sound)),
    }
    for name, step in steps.items():
        print(f"{name:52} {best_us(step, rounds=given.rounds, seconds=given.seconds):10.1f} µs")
    ways = (("in memory", MB // 2, 1 << 40), ("through a file", 25 * MB, 1 << 40), ("passing", 25 * MB, MB))
    with tempfile.TemporaryDirectory() as folder:
        for name, size, whole_max in ways:
            body = form(size)
            least_s = min(asyncio.run(through(Path(folder), body, whole_max)) for _ in range(given.rounds))
            print(f"{f'taken in and handed on, {name}':52} {least_s * 1e6 / size * MB:10.1f} µs a MB")


if __name__ == "__main__":
    main()
