"""What a source is."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ledger.facts import Parsed


class Parse(Protocol):
    """A source's reader; pure."""

    def __call__(self, payload: bytes, /, *, fetched_at_us: int) -> Parsed:
        """Raises: SourceUnreadable."""
        ...


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who publishes facts.

    urls: asked one after another; several answers are read as one JSON list.  paged: an answer says in ``pagination``
    whether there is another page, ``?page=N``.  every_s: between two successes.  requests_per_day: at most, in a UTC day;
    kept across restarts.  complete: an answer is all that it has to say.  headers: what every request carries, such as a
    key; never shown.
    idle: why it is not asked at all; empty: it is.
    """

    name: str
    urls: tuple[str, ...]
    parse: Parse
    every_s: float
    requests_per_day: int
    complete: bool = True
    paged: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    idle: str = ""

    def __repr__(self) -> str:
        return f"Source({self.name!r})"
