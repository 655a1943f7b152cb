"""Reading what strangers wrote: every value is looked at before it is believed, and what is left out is said.

A value of the wrong type, no number, out of its unit's range, or of a hostile size becomes ``None`` or a problem, never
another value.  Money goes from decimal text to integers without a float between.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

import msgspec

from ledger.errors import SourceUnreadable

PAYLOAD_MAX_BYTES = 64 << 20
ROWS_MAX = 50_000
TEXT_MAX_CHARS = 200
PROBLEMS_MAX = 200
TOKENS_MAX = 1_000_000_000
NUSD_PER_USD = 10**9
TOKENS_PER_MTOK = 10**6
PRICE_MAX_USD_PER_MTOK = 1_000_000
"""Nothing that is charged by the token costs a dollar a token; what says so has its units wrong."""

# The closed range of each unit: the first guard; the catalogue's bounds for each metric are narrower.
RANGES = {
    "points": (0.0, 100.0),
    "fraction": (0.0, 1.0),
    "elo": (0.0, 5_000.0),
    "tok/s": (0.0, 1_000_000.0),
    "ms": (0.0, 86_400_000.0),
    "USD": (0.0, 1_000_000.0),
    "USD/MTok": (0.0, float(PRICE_MAX_USD_PER_MTOK)),
}
_DECIMAL = re.compile(r"-?\d{1,15}(\.\d{0,40})?(e-?\d{1,2})?", re.ASCII | re.IGNORECASE)
_EFFORT = re.compile(r"[a-z0-9_-]{1,32}")


class Problems:
    """What was left out of a payload, and why; of the same kind of thing only so many sentences are kept."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._more = 0

    def add(self, sentence: str, /) -> None:
        """Say it, unless too much was said already."""
        if len(self._said) < PROBLEMS_MAX:
            self._said.append(sentence[: 2 * TEXT_MAX_CHARS])
        else:
            self._more += 1

    def told(self) -> tuple[str, ...]:
        """The sentences, the last of which counts those that were not kept."""
        return (*self._said, f"and {self._more} more") if self._more else tuple(self._said)


def decode(payload: bytes | str, /) -> Any:
    """The JSON of a payload.  Raises: SourceUnreadable, for what is none, is cut off, too deep or too large."""
    if len(payload) > PAYLOAD_MAX_BYTES:
        raise SourceUnreadable(f"the payload has more than {PAYLOAD_MAX_BYTES} bytes")
    if payload[:64].lstrip()[:1] in (b"<", "<"):
        raise SourceUnreadable("the payload is a web page, not JSON")
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise SourceUnreadable(f"the payload is not JSON: {error}") from error


def table(value: Any, /, what: str) -> dict[str, Any]:
    """An object.  Raises: SourceUnreadable, saying ``what`` it is not."""
    if not isinstance(value, dict):
        raise SourceUnreadable(f"{what} is no object")
    if len(value) > ROWS_MAX:
        raise SourceUnreadable(f"{what} has more than {ROWS_MAX} entries")
    return value


def rows(value: Any, problems: Problems, /, what: str) -> Iterator[dict[str, Any]]:
    """The objects of a list; anything else in it is a problem.  Raises: SourceUnreadable, if it is no list or too long."""
    if not isinstance(value, list):
        raise SourceUnreadable(f"{what} is no list")
    if len(value) > ROWS_MAX:
        raise SourceUnreadable(f"{what} has more than {ROWS_MAX} entries")
    for number, row in enumerate(value, start=1):
        if isinstance(row, dict):
            yield row
        else:
            problems.add(f"{what}: entry {number} is no object")


def part(row: Any, key: str, /) -> dict[str, Any]:
    """The object at a key; empty if there is none."""
    value = row.get(key) if isinstance(row, dict) else None
    return value if isinstance(value, dict) else {}


def text(value: Any, /) -> str:
    """A short printable text without space around it; empty for everything else."""
    if not isinstance(value, str):
        return ""
    stripped = value.strip()
    return stripped if stripped.isprintable() and len(stripped) <= TEXT_MAX_CHARS else ""


def texts(value: Any, /) -> tuple[str, ...]:
    """The texts of a list, each once, in its order."""
    found = (text(item) for item in value[:ROWS_MAX]) if isinstance(value, list) else ()
    return tuple(dict.fromkeys(item for item in found if item))


def effort(value: Any, /) -> str:
    """A reasoning effort as one lower-case word; empty for everything else."""
    word = text(value).lower()
    return word if _EFFORT.fullmatch(word) else ""


def number(value: Any, /) -> float | None:
    """A finite number; ``None`` for everything else, texts and booleans too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        real = float(value)
    except OverflowError:
        return None
    return real if math.isfinite(real) else None


def measured(value: Any, unit: str, /) -> float | None:
    """A number in its unit's range; ``None`` for everything else."""
    real = number(value)
    low, high = RANGES[unit]
    return real if real is not None and low <= real <= high else None


def tokens(value: Any, /) -> int | None:
    """A positive whole number of tokens; ``None`` for everything else, such as 0 for unlimited."""
    real = number(value)
    return int(real) if real is not None and real == int(real) and 0 < real <= TOKENS_MAX else None


def usd(value: Any, /) -> Decimal | None:
    """An amount of dollars as its author wrote it, negative too; ``None`` for what is none.

    A float becomes its shortest decimal, which is what was written.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    written = str(value).strip() if isinstance(value, str) else repr(value)
    if not _DECIMAL.fullmatch(written):
        return None
    try:
        return Decimal(written)
    except InvalidOperation:
        return None


def nusd(amount: Decimal, units: int, /) -> int:
    """Dollars for one unit as nano-dollars for ``units``, rounded half to even once."""
    return int((amount * NUSD_PER_USD * units).to_integral_value(ROUND_HALF_EVEN))


def moment_us(value: Any, /) -> int | None:
    """An ISO date or time, or seconds since the epoch, in microseconds; ``None`` for what is neither.  No zone: UTC."""
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        seconds: float | None = at.timestamp()
    else:
        seconds = number(value)
    if seconds is None or not 0 < seconds < 2**33:
        return None
    return round(seconds * 1_000_000)


def day(value: Any, /) -> str:
    """An ISO date; empty for everything else."""
    written = text(value)[:10]
    try:
        return datetime.strptime(written, "%Y-%m-%d").replace(tzinfo=UTC).date().isoformat()
    except ValueError:
        return ""


def day_of(at_us: int, /) -> str:
    """The UTC day of a moment, as an ISO date."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).date().isoformat()


def abilities(modalities_in: tuple[str, ...], modalities_out: tuple[str, ...], /) -> set[str]:
    """The capabilities that go with what a model takes and gives."""
    taken = {"image": "vision", "audio": "audio_in"}
    given = {"image": "image_out", "audio": "audio_out", "embedding": "embeddings", "embeddings": "embeddings"}
    return {taken[it] for it in modalities_in if it in taken} | {given[it] for it in modalities_out if it in given}
