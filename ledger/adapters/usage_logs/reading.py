"""What the parsers of logs share: how far a file is understood, and how its values are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar

import msgspec

from ledger.records import AgentUsage, Tokens

T = TypeVar("T")

COUNT_MAX = 10**12
"""Tokens of one call; more is no count."""
TEXT_MAX = 512
"""Characters of a name or an id; what follows is cut off a name, and an event with a longer id is skipped."""
NUSD_PER_USD = 10**9
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
USD_MAX = 10**6

Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Totals = tuple[int, ...]

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding a line raises, whatever is in it."""


class Reading(msgspec.Struct, kw_only=True):
    """Where the reading of one file stands; parsers note here what later lines need.

    name: the file's, without its suffix; folder: of the project, where the path tells it.  totals: running counts, by
    model.  paths: keep a project's path, not only its last name.  skipped: lines that were left out, by reason.
    """

    name: str = ""
    folder: str = ""
    session: str = ""
    project: str = ""
    model: str = ""
    provider: str = ""
    totals: dict[str, Totals] = {}
    paths: bool = False
    skipped: dict[str, int] = {}

    def skip(self, reason: str) -> None:
        """Count one that is left out."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def save(self) -> bytes:
        """What ``restored`` needs to go on from here."""
        return _encode((self.session, self.project, self.model, self.provider, self.totals))

    def restore(self, saved: bytes) -> None:
        """Go on from there.  What cannot be read is as if nothing had been saved."""
        try:
            self.session, self.project, self.model, self.provider, self.totals = _decode(saved)
        except UNREADABLE:
            self.session, self.project, self.model, self.provider, self.totals = "", "", "", "", {}

    def place(self, path: str) -> str:
        """What is kept of the folder that an agent worked in."""
        if self.paths:
            return path[:TEXT_MAX]
        return path.replace("\\", "/").rstrip("/").rpartition("/")[2][:TEXT_MAX]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[str, str, str, str, dict[str, Totals]]).decode

Parser = Callable[[Iterable[bytes], Reading], Iterator[AgentUsage]]


def decoded(decode: Callable[[bytes], T], line: bytes, reading: Reading) -> T | None:
    """The line as the shape that ``decode`` knows; ``None``, and counted, if it is none."""
    try:
        return decode(line)
    except msgspec.ValidationError:
        reading.skip("wrong_shape")
    except UNREADABLE:
        reading.skip("not_json")
    return None


def micros(moment: datetime) -> int:
    """Microseconds since the epoch."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def reported_nusd(usd: object) -> int | None:
    """A cost as a tool writes it, in nano-USD; ``None`` where that is no amount of money."""
    if usd is None or isinstance(usd, bool):
        return None
    try:
        amount = Decimal(str(usd).strip().removeprefix("$").replace(",", ""))
    except InvalidOperation:
        return None
    return int(amount * NUSD_PER_USD) if amount.is_finite() and 0 <= amount <= USD_MAX else None


def used(tokens: Tokens) -> bool:
    """Whether there is anything in it."""
    return tokens.input_tokens + tokens.output_tokens + tokens.web_searches > 0


def text(value: Any) -> str:
    """A name from a log: cut where it is too long, empty where it is no text."""
    return value[:TEXT_MAX] if isinstance(value, str) else ""
