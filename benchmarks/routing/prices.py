"""What a token of each model costs: by the list, or by what the outcomes themselves were charged.

A gateway knows exactly what it pays by the token.  Outcomes were charged by the prices of their day, which are recovered
from those of the warm-up: cost is a sum of two products, so two prices explain all of a model's costs to the last digit, or
the file was charged in another way.  Prices are facts about the past that everybody may know; how many tokens an answer will
have is not.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.routing.outcomes import Outcomes
from ledger.records import Price

EXACT: Final = 0.02
"""Prices that explain costs to within this share of them are those that were charged."""
ROWS_LEAST: Final = 5
UNCOUNTED_TOKENS: Final = 1_000.0
"""What an answer is taken to have where neither tokens nor any price are known."""

Floats = NDArray[np.float64]


class Priced(msgspec.Struct, frozen=True, kw_only=True):
    """USD for a million tokens.  source: ``given``, ``recorded``, ``listed``, ``fitted`` (recorded, but not exactly)."""

    input_usd: float
    output_usd: float
    source: str

    @property
    def blended_usd(self) -> float:
        """Three tokens of input to one of output."""
        return (3 * self.input_usd + self.output_usd) / 4


def recover(outcomes: Outcomes, column: int, rows: NDArray[np.bool_], /) -> tuple[float, float, float] | None:
    """The prices of input and output that explain what a model's answers cost, and by which share of the costs they miss.

    ``None``: too few answers, or no tokens.  Where only the sum of tokens is known, both prices are the same.
    """
    cost = outcomes.cost[:, column]
    inputs, outputs, total = (it[:, column] for it in (outcomes.input_tokens, outcomes.output_tokens, outcomes.total_tokens))
    both = rows & np.isfinite(cost) & np.isfinite(inputs) & np.isfinite(outputs) & (inputs + outputs > 0)
    if both.sum() >= ROWS_LEAST:
        return _solved(cost[both], inputs[both], outputs[both])
    for tokens in (total, outputs):
        some = rows & np.isfinite(cost) & np.isfinite(tokens) & (tokens > 0)
        if some.sum() >= ROWS_LEAST:
            usd = float(cost[some].sum() / tokens[some].sum())
            return usd * 1e6, usd * 1e6, _missed(cost[some], tokens[some] * usd)
    return None


def _solved(cost: Floats, inputs: Floats, outputs: Floats) -> tuple[float, float, float]:
    # Each row counts by its share, so that a few long answers do not hide how wrong the short ones are.
    scale = 1 / np.maximum(cost, cost.mean() * 1e-3 + 1e-15)
    left = np.column_stack((inputs, outputs)) * scale[:, None]
    found, *_ = np.linalg.lstsq(left, cost * scale, rcond=None)
    if found.min() < 0:  # one of the two explains nothing
        one = 0 if found[0] > 0 else 1
        found = np.zeros(2)
        found[one] = float((left[:, one] * cost * scale).sum() / max(float((left[:, one] ** 2).sum()), 1e-30))
    guess = inputs * found[0] + outputs * found[1]
    return float(found[0]) * 1e6, float(found[1]) * 1e6, _missed(cost, guess)


def _missed(cost: Floats, guess: Floats) -> float:
    total = float(cost.sum())
    return float(np.abs(cost - guess).sum() / total) if total else 0.0


def decide(
    outcomes: Outcomes,
    warm: NDArray[np.bool_],
    listed: dict[str, Price | None],
    given: dict[str, tuple[float, float]],
    /,
) -> dict[str, Priced]:
    """The price of each model of the outcomes; one of which nobody knows is missing.

    given: USD for a million tokens of input and output, by whoever runs this.  Then what the warm-up was charged, if it is
    exact, or if the tokens are not told apart, which no list fits; then the list; then the warm-up's as nearly as it can be
    told; then, without any, what all outcomes were charged.
    """
    every = np.ones(len(warm), dtype=bool)
    found: dict[str, Priced] = {}
    for column, name in enumerate(outcomes.models):
        recorded = recover(outcomes, column, warm)
        price = listed.get(name)
        if name in given:
            found[name] = Priced(input_usd=given[name][0], output_usd=given[name][1], source="given")
        elif recorded is not None and (recorded[2] <= EXACT or not _told_apart(outcomes, column)):
            found[name] = Priced(input_usd=recorded[0], output_usd=recorded[1], source="recorded")
        elif price is not None:
            usd = price.input_nusd_per_mtok / 1e9, price.output_nusd_per_mtok / 1e9
            found[name] = Priced(input_usd=usd[0], output_usd=usd[1], source="listed")
        elif (fitted := recorded or recover(outcomes, column, every)) is not None and math.isfinite(fitted[0]):
            found[name] = Priced(input_usd=fitted[0], output_usd=fitted[1], source="fitted")
    return found | _by_answer(outcomes, warm if warm.any() else every, found)


def _told_apart(outcomes: Outcomes, column: int) -> bool:
    return bool((np.isfinite(outcomes.input_tokens[:, column]) & np.isfinite(outcomes.output_tokens[:, column])).any())


def _by_answer(outcomes: Outcomes, rows: NDArray[np.bool_], known: dict[str, Priced]) -> dict[str, Priced]:
    """The prices of models without any tokens: their answers are taken to be as long as those of the models that have a
    price, by what these cost."""
    means = {}
    for column, name in enumerate(outcomes.models):
        cost = outcomes.cost[rows, column]
        if np.isfinite(cost).sum() >= ROWS_LEAST:
            means[name] = float(np.nanmean(cost))
    tokens = [means[name] / price.blended_usd * 1e6 for name, price in known.items() if name in means and price.blended_usd > 0]
    usual = float(np.median(tokens)) if tokens else UNCOUNTED_TOKENS
    found = {}
    for name, mean in means.items():
        if name not in known and mean > 0:
            usd = mean / max(usual, 1.0) * 1e6
            found[name] = Priced(input_usd=usd, output_usd=usd, source="fitted")
    return found
