"""What looks wrong with a payload that can be read.  Pure.

A source that breaks rarely says so: it sends half of its rows, zeros, or dollars where it sent cents.  What does not pass
is kept aside with the reasons, and the last good payload goes on to count, until somebody accepts it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.facts import Parsed
from ledger.records import Price

ROWS_LEAST = 0.7
"""Of the rows that there were: fewer is a truncated payload more often than a tidy one."""
PRICE_RATIO_MAX = 10
SHOWN_MAX = 5
SMALL = 5
"""Below so many rows a share says nothing."""
INDICES = frozenset(("intelligence_index", "coding_index", "math_index", "agentic_index"))
"""Metrics that are re-scaled when their version changes."""


def reasons(parsed: Parsed, before: Parsed | None) -> tuple[str, ...]:
    """Why the payload should not count, a sentence each.  before: what counted until now; ``None``: nothing did."""
    return tuple(_reasons(parsed, before))


def rows(parsed: Parsed) -> int:
    """How many names it is about."""
    subjects = [it.subject for it in parsed.models]
    subjects += [it.subject for it in parsed.readings]
    subjects += [it.subject for it in parsed.prices]
    return len({subject.source_name for subject in subjects})


def _reasons(parsed: Parsed, before: Parsed | None) -> Iterator[str]:
    count = rows(parsed)
    if not count:
        yield "there is nothing in it"
        return
    if len(parsed.prices) >= SMALL and not any(_dearness(offer.price) for offer in parsed.prices):
        yield f"every one of its {len(parsed.prices)} prices is 0"
    values: dict[str, list[float]] = {}
    for reading in parsed.readings:
        values.setdefault(reading.metric, []).append(reading.value)
    for metric, found in sorted(values.items()):
        if len(found) >= SMALL and not any(found):
            yield f"every one of its {len(found)} values of {metric} is 0"
    if before is None:
        return
    had = rows(before)
    if count < had * ROWS_LEAST:
        yield f"it is about {count} models, where there were {had}"
    for what, now, then in (
        ("readings", len(parsed.readings), len(before.readings)),
        ("prices", len(parsed.prices), len(before.prices)),
    ):
        if then >= SMALL and now < then * ROWS_LEAST and count >= had * ROWS_LEAST:
            yield f"it has {now} {what}, where there were {then}"
    yield from _versions(parsed, before)
    yield from _prices(parsed, before)


def _versions(parsed: Parsed, before: Parsed) -> Iterator[str]:
    now = {it.source_version for it in parsed.readings if it.metric in INDICES}
    then = {it.source_version for it in before.readings if it.metric in INDICES}
    if now and then and now != then:
        yield f"the version of its indices is {_named(now)}, where it was {_named(then)}"


def _prices(parsed: Parsed, before: Parsed) -> Iterator[str]:
    then = {offer.subject: offer.price for offer in before.prices}
    jumped = [
        f"{offer.subject.source_name} ({field.partition('_nusd')[0]})"
        for offer in parsed.prices
        if (price := then.get(offer.subject)) is not None
        for field in ("input_nusd_per_mtok", "output_nusd_per_mtok")
        if _is_jump(getattr(price, field), getattr(offer.price, field))
    ]
    if jumped:
        more = f" and {len(jumped) - SHOWN_MAX} more" if len(jumped) > SHOWN_MAX else ""
        yield f"a price is more than {PRICE_RATIO_MAX} times what it was, or a {PRICE_RATIO_MAX}th: " + (
            ", ".join(jumped[:SHOWN_MAX]) + more
        )


def _is_jump(then: int, now: int) -> bool:
    """A price that was paid and is gone is a jump too."""
    return (now == 0) != (then == 0) or now > then * PRICE_RATIO_MAX or then > now * PRICE_RATIO_MAX


def _dearness(price: Price) -> int:
    return price.input_nusd_per_mtok + price.output_nusd_per_mtok + price.request_nusd


def _named(versions: set[str]) -> str:
    return ", ".join(sorted(version or "not told" for version in versions))
