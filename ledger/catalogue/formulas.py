"""The indices of two other systems, by their own formulas, over this ledger's values: so that both could switch over.

Unlike theirs, a value here says which of its parts nobody knows, and is missing where all of them are.

Source: KooshaPari/thegent (benchmark indices: 0.7 Terminal-Bench 2 + 0.2 SWE-bench + 0.1 AIME, a missing part 0.5) and
KooshaPari/tokenledger (ParetoRouter: 0.5 intelligence/100 + 0.3 tokens per second/200 + 0.2 (1 - input price/10), a missing
part 0), read 2026-08.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ledger.catalogue.indices import Indices
from ledger.catalogue.merge import Score

THEGENT = {
    0.7: ("terminal_bench_2",),
    0.2: ("swe_bench_verified",),
    0.1: ("aime_2025", "aime_2026", "aime_2024"),
}
"""thegent's weights, and what we have for each: the first that is known."""
THEGENT_MISSING = 0.5


class Formula(msgspec.Struct, frozen=True, kw_only=True):
    """A value by a formula.  ``scores``: what it is made of; ``missing``: what nobody knows and the formula assumes."""

    subject: str
    value: float
    scores: tuple[Score, ...]
    missing: tuple[str, ...]


def thegent(indices: Indices, subject: str, /) -> Formula | None:
    """thegent's quality, in [0, 1]; ``None``: nothing is known of it."""
    value = 0.0
    scores, missing = [], []
    for weight, metrics in THEGENT.items():
        known = (indices.snapshot.score(subject, metric) for metric in metrics)
        score = next((it for it in known if it is not None), None)
        value += weight * (THEGENT_MISSING if score is None else score.value)
        if score is None:
            missing.append(metrics[0])
        else:
            scores.append(score)
    return Formula(subject=subject, value=value, scores=tuple(scores), missing=tuple(missing)) if scores else None


def tokenledger(indices: Indices, subject: str, /) -> Formula | None:
    """tokenledger's score; it has no bounds.  The price is that of the offer, or of the cheapest; ``None`` as above."""
    intelligence = indices.snapshot.score(subject, "intelligence_index")
    speed = indices.snapshot.score(subject, "output_tps_p50")
    cost = indices.cost(subject)
    parts = {
        "intelligence_index": None if intelligence is None else 0.5 * intelligence.value / 100,
        "output_tps_p50": None if speed is None else 0.3 * speed.value / 200,
        "price_input": None if cost is None else 0.2 * (1 - cost.stated.price.input_nusd_per_mtok / 1e9 / 10),
    }
    known = [part for part in parts.values() if part is not None]
    if not known:
        return None
    return Formula(
        subject=subject,
        value=sum(known),
        scores=tuple(it for it in (intelligence, speed) if it is not None),
        missing=tuple(name for name, part in parts.items() if part is None),
    )


FORMULAS: Mapping[str, Callable[[Indices, str], Formula | None]] = {"thegent": thegent, "tokenledger": tokenledger}


def ranked(indices: Indices, formula: str, /) -> tuple[Formula, ...]:
    """Every variant by a formula, the best first, ties by name.  Raises: LookupError, for no such formula."""
    if formula not in FORMULAS:
        raise LookupError(f"there is no formula {formula!r}; there are: {', '.join(FORMULAS)}")
    values = (FORMULAS[formula](indices, subject) for subject in indices.snapshot.scores if "@" not in subject)
    return tuple(sorted((it for it in values if it is not None), key=lambda it: (-it.value, it.subject)))
