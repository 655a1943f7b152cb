"""What there is to choose from: the held-out prompts, who can answer each, and what everybody may know of them beforehand."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.routing.facts import Facts, Joined, listed_price
from benchmarks.routing.outcomes import Outcomes, Unreadable
from benchmarks.routing.prices import Priced, decide
from ledger.catalogue.indices import Indices

Floats = NDArray[np.float64]

NO_PRICE_USD: Final = 1e6
"""What a token of a model counts for that nobody knows the price of: more than any."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """A split of the outcomes, and the models in the order of their columns.

    warm: the share that is past traffic.  held: what policies are scored on.  kinds: of each held-out prompt, its kind of
    task; warm_kinds: of the others.  can: by prompt and model, whether there is an outcome, with its cost.
    blended_usd: the list price of a million tokens, three of input to one of output.
    """

    warm: Outcomes
    held: Outcomes
    kinds: NDArray[np.str_]
    warm_kinds: NDArray[np.str_]
    can: NDArray[np.bool_]
    joined: tuple[Joined, ...]
    prices: dict[str, Priced]
    facts: Facts
    blended_usd: Floats

    @property
    def indices(self) -> Indices:
        """The ledger's indices."""
        return self.facts.indices

    @property
    def models(self) -> tuple[str, ...]:
        """The names that the outcomes have."""
        return self.held.models


def is_warm(prompt: str, share: float, seed: int, /) -> bool:
    """Whether a prompt is past traffic: by a hash of its name, so that it does not depend on the order or on the others."""
    digest = blake2b(f"{seed}/{prompt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


def prepare(
    outcomes: Outcomes,
    kinds: NDArray[np.str_],
    joined: tuple[Joined, ...],
    facts: Facts,
    /,
    *,
    warmup: float,
    seed: int,
    given: dict[str, tuple[float, float]] | None = None,
) -> Setup:
    """Split the outcomes, and put prices to the models.

    warmup: the share of the prompts that is past traffic.  given: prices, in USD for a million tokens of input and output.
    Raises: Unreadable, if nothing is left to score on.
    """
    warm = np.array([is_warm(prompt, warmup, seed) for prompt in outcomes.prompts], dtype=bool)
    listed = {it.name: listed_price(it, facts) for it in joined}
    prices = decide(outcomes, warm, listed, given or {})
    outcomes = _costed(outcomes, prices)
    held = outcomes.take(np.flatnonzero(~warm))
    can = np.isfinite(held.score) & np.isfinite(held.cost)
    some = can.any(axis=1)
    if not some.any():
        raise Unreadable("no prompt is left to score on: none has an answer with a score and a cost outside of the warm-up")
    held = held.take(np.flatnonzero(some))
    blended = [prices[name].blended_usd if name in prices else NO_PRICE_USD for name in outcomes.models]
    return Setup(
        warm=outcomes.take(np.flatnonzero(warm)),
        held=held,
        kinds=kinds[~warm][some],
        warm_kinds=kinds[warm],
        can=can[some],
        joined=joined,
        prices=prices,
        facts=facts,
        blended_usd=np.array(blended),
    )


def _costed(outcomes: Outcomes, prices: dict[str, Priced]) -> Outcomes:
    """With the costs that the file does not have: of the tokens, at the price."""
    if np.isfinite(outcomes.cost).all():
        return outcomes
    cost = outcomes.cost.copy()
    for column, name in enumerate(outcomes.models):
        price = prices.get(name)
        if price is None:
            continue
        inputs, outputs, total = (
            it[:, column] for it in (outcomes.input_tokens, outcomes.output_tokens, outcomes.total_tokens)
        )
        apart = np.nan_to_num(inputs) * price.input_usd + outputs * price.output_usd
        tokens = np.where(np.isfinite(apart), apart, total * price.blended_usd)
        unknown = ~np.isfinite(cost[:, column])
        cost[unknown, column] = tokens[unknown] / 1e6
    return msgspec.structs.replace(outcomes, cost=cost)
