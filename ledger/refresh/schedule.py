"""When a source is asked, and when it is left alone.  Pure: time and chance are arguments.

A source that answered is due again after its cadence, 10 % sooner or later.  After a failure it is tried again after a
minute, doubling, until its cadence is reached; after five failures in a row its breaker opens, and it is tried once an
hour, doubling to a day, until it answers.  ``Retry-After`` and the budget of the day hold whoever asks.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from ledger.refresh.source import Source

US_PER_S = 1_000_000
DAY_US = 86_400 * US_PER_S
JITTER = 0.1
RETRY_S = 60.0
BREAKER_FAILURES = 5
BREAKER_S = 3600.0
BREAKER_MAX_S = 86_400.0
RETRY_AFTER_MAX_S = 86_400.0
REMEMBERED_CHARS = 300


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is remembered of a source.

    due_us: when it is asked next; 0: at once.  hold_us: until when it asked to be left alone.  failures: in a row.
    day, requests: how often it was asked on that UTC day (days since the epoch).  fetched_us: its last answer, also one
    that nothing has changed.  payload_us, sha256: of the last payload that was accepted.  etag, last_modified: of that one.
    """

    due_us: int = 0
    hold_us: int = 0
    failures: int = 0
    problem: str = ""
    day: int = 0
    requests: int = 0
    fetched_us: int = 0
    payload_us: int = 0
    sha256: str = ""
    etag: str = ""
    last_modified: str = ""


def refusal(source: Source, standing: Standing, *, now_us: int, forced: bool) -> str:
    """Why the source is not asked now; empty: ask it.  forced: somebody asks for it, so it need not be due."""
    if source.idle:
        return source.idle
    if standing.hold_us > now_us:
        return f"it asked to be left alone for another {_span(standing.hold_us - now_us)}"
    if left(source, standing, now_us=now_us) < 1:
        return f"its {source.requests_per_day} requests of the day are used up"
    if not forced and standing.due_us > now_us:
        return f"it is due in {_span(standing.due_us - now_us)}"
    return ""


def left(source: Source, standing: Standing, *, now_us: int) -> int:
    """How many requests may still be sent today."""
    used = standing.requests if standing.day == now_us // DAY_US else 0
    return source.requests_per_day - used


def spent(standing: Standing, *, now_us: int) -> Standing:
    """A request is about to be sent."""
    today = now_us // DAY_US
    return replace(standing, day=today, requests=standing.requests + 1 if standing.day == today else 1)


def answered(source: Source, standing: Standing, *, now_us: int, chance: float) -> Standing:
    """It answered with something that was accepted, or that is as it was.  chance: in [0, 1)."""
    wait_s = source.every_s * (1 + JITTER * (2 * chance - 1))
    return replace(standing, failures=0, problem="", fetched_us=now_us, due_us=now_us + round(wait_s * US_PER_S))


def failed(
    source: Source, standing: Standing, problem: str, *, now_us: int, chance: float, retry_after_s: float | None = None
) -> Standing:
    """It did not answer, or nothing that can be used."""
    failures = standing.failures + 1
    if failures >= BREAKER_FAILURES:
        wait_s = min(BREAKER_S * 2 ** min(failures - BREAKER_FAILURES, 10), BREAKER_MAX_S)
    else:
        wait_s = min(RETRY_S * 2 ** (failures - 1), source.every_s)
    wait_s *= 1 + JITTER * chance
    hold_s = min(max(retry_after_s or 0.0, 0.0), RETRY_AFTER_MAX_S)
    return replace(
        standing,
        failures=failures,
        problem=problem[:REMEMBERED_CHARS],
        due_us=now_us + round(max(wait_s, hold_s) * US_PER_S),
        hold_us=now_us + round(hold_s * US_PER_S) if hold_s else standing.hold_us,
    )


def is_open(standing: Standing) -> bool:
    """Whether the source's breaker is open."""
    return standing.failures >= BREAKER_FAILURES


def _span(us: int) -> str:
    minutes = -(-us // (60 * US_PER_S))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
