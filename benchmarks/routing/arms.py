"""The policies that are compared: whom each would have asked for every held-out prompt.

An arm is a list of settings, each with whom it chooses; an arm without a trade-off has one.  What each may know:

=============  ======================================================================  =======================================
arm            chooses                                                                 knows
=============  ======================================================================  =======================================
random         everybody equally often                                                 nothing
cheapest       the least list price                                                    prices
best           the best by the ledger's general index                                  the ledger
hindsight      the one that turns out best over all held-out prompts                   the held-out outcomes
composite      the general index, less what the list price weighs; swept               the ledger, prices
intelligence   the same with ``intelligence_index`` alone                              the ledger, prices
tokenledger    the score of ``ledger.catalogue.formulas``; swept over its price part   the ledger, prices
thegent        the index of ``ledger.catalogue.formulas``, less the price; swept       the ledger, prices
ratio          the most general index for the money, of those not dominated            the ledger, prices
ours           ``proxy.routing``, swept over what a point of quality is worth           the ledger, prices, the warm-up
oracle         each prompt's best, less what its cost weighs; swept                    the held-out outcomes
=============  ======================================================================  =======================================

A list price is the blended one, three tokens of input to one of output.  Who is not in the ledger has the least index of
anybody there is; ties go to the cheaper, then by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.routing.score import hull
from benchmarks.routing.setup import NO_PRICE_USD, Setup
from ledger.catalogue import formulas
from ledger.catalogue.indices import Indices

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]

SETTINGS: Final = 40
"""How many trade-offs a swept arm is looked at with at least, before those that choose the same are taken together."""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an arm: for each setting a row of qualities and one of costs, a value a prompt.

    own: the setting that is the policy itself, as whoever made it runs it; ``None``: it has no such setting.
    """

    name: str
    labels: tuple[str, ...]
    quality: Rows
    cost: Rows
    own: int | None = None


def by_choice(setup: Setup, name: str, choices: Sequence[tuple[str, NDArray[np.int64]]], /, *, own: int | None = None) -> Arm:
    """The arm that chooses so, by column; settings that choose the same are one."""
    seen: dict[bytes, int] = {}
    labels: list[str] = []
    quality: list[Floats] = []
    cost: list[Floats] = []
    prompts = np.arange(len(setup.held.prompts))
    place: int | None = None
    for index, (label, columns) in enumerate(choices):
        key = columns.astype(np.int32).tobytes()
        if key not in seen:
            seen[key] = len(labels)
            labels.append(label)
            quality.append(setup.held.score[prompts, columns])
            cost.append(setup.held.cost[prompts, columns])
        if index == own:
            place = seen[key]
    rows = (np.asarray(it, dtype=np.float32) for it in (quality, cost))
    return Arm(name=name, labels=tuple(labels), quality=next(rows), cost=next(rows), own=place)


def best_by(setup: Setup, worth: Floats, /) -> NDArray[np.int64]:
    """Of those that can answer each prompt the one of most worth; worth: by model, or by prompt and model."""
    order = tie_order(setup)
    masked = np.where(setup.can[:, order], np.broadcast_to(worth, setup.can.shape)[:, order], -np.inf)
    chosen: NDArray[np.int64] = order[masked.argmax(axis=1)]
    return chosen


def tie_order(setup: Setup, /) -> NDArray[np.int64]:
    """The columns, the cheapest first, then by name: the first of equals is taken."""
    return np.array(sorted(range(len(setup.models)), key=lambda it: (setup.blended_usd[it], setup.models[it])), dtype=np.int64)


def trade_offs(values: Floats, prices: Floats, /) -> list[float]:
    """What a unit of price may weigh, from nothing to everything: one weight for each model that is ever the best of all,
    and some between, for prompts that not everybody answered."""
    known = (prices > 0) & (prices < NO_PRICE_USD)
    if not known.any():
        return [0.0]
    corners = hull(prices[known], values[known])
    slopes = np.diff(corners[1]) / np.diff(corners[0])
    spread = float(values.max() - values.min()) or 1.0
    low, high = spread / float(prices[known].max()) / 100, spread / float(prices[known].min()) * 1000
    edges = np.concatenate(([high], np.sort(slopes)[::-1], [low]))
    between = np.sqrt(edges[1:] * edges[:-1])
    return [0.0, *np.unique(np.concatenate((between, np.geomspace(low, high, SETTINGS - 1)))).tolist()]


def index_of(setup: Setup, value: Callable[[str], float | None], /) -> Floats:
    """By model; who has none has the least of all, and if nobody has one all have the same."""
    found = [value(it.variant) if it.variant else None for it in setup.joined]
    known = [it for it in found if it is not None]
    return np.array([(min(known) if known else 0.0) if it is None else it for it in found])


def _general(setup: Setup) -> Floats:
    def value(subject: str) -> float | None:
        found = setup.indices.quality(subject, "general")
        return None if found is None else found.value

    return index_of(setup, value)


def _intelligence(setup: Setup) -> Floats:
    def value(subject: str) -> float | None:
        found = setup.indices.quality(subject, "general")
        score = setup.indices.snapshot.score(subject if found is None else found.as_run, "intelligence_index")
        return None if score is None else score.value

    return index_of(setup, value)


def _formula(setup: Setup, formula: Callable[[Indices, str], formulas.Formula | None]) -> Floats:
    def value(subject: str) -> float | None:
        general = setup.indices.quality(subject, "general")
        found = formula(setup.indices, subject if general is None else general.as_run)
        return None if found is None else found.value

    return index_of(setup, value)


def random(setup: Setup, /) -> Arm:
    """The mean over everybody who can answer."""
    count = setup.can.sum(axis=1)
    quality, cost = (np.where(setup.can, it, 0.0).sum(axis=1)[None] / count for it in (setup.held.score, setup.held.cost))
    return Arm(name="random", labels=("",), quality=quality.astype(np.float32), cost=cost.astype(np.float32), own=0)


def cheapest(setup: Setup, /) -> Arm:
    """By list price."""
    return by_choice(setup, "cheapest", [("", best_by(setup, -setup.blended_usd))], own=0)


def best(setup: Setup, /) -> Arm:
    """By the general index."""
    return by_choice(setup, "best", [("", best_by(setup, _general(setup)))], own=0)


def hindsight(setup: Setup, /) -> Arm:
    """By the mean score over the held-out prompts that a model answered."""
    count = np.maximum(setup.can.sum(axis=0), 1)
    mean = np.where(setup.can, setup.held.score, 0.0).sum(axis=0) / count
    # Who answered only a few prompts is not the best single one of all.
    worth = np.where(setup.can.mean(axis=0) >= 0.5, mean, mean - 1)
    return by_choice(setup, "hindsight", [("", best_by(setup, worth))], own=0)


def _swept(setup: Setup, name: str, values: Floats, *, own: int | None = None) -> Arm:
    prices = setup.blended_usd
    choices = [(f"{weight:.3g}", best_by(setup, values - weight * prices)) for weight in trade_offs(values, prices)]
    return by_choice(setup, name, choices, own=own)


def composite(setup: Setup, /) -> Arm:
    """The general index against the list price."""
    return _swept(setup, "composite", _general(setup))


def intelligence(setup: Setup, /) -> Arm:
    """One publisher's index against the list price."""
    return _swept(setup, "intelligence", _intelligence(setup))


def thegent(setup: Setup, /) -> Arm:
    """Its own setting is its index alone."""
    return _swept(setup, "thegent", _formula(setup, formulas.thegent), own=0)


def tokenledger(setup: Setup, /) -> Arm:
    """Its own setting is its formula; swept is by how much its price part counts."""
    values = _formula(setup, formulas.tokenledger)
    inputs = np.array([setup.prices[it].input_usd if it in setup.prices else 0.0 for it in setup.models])
    # The formula has 0.2 (1 - price / 10) in it: a dollar weighs 0.02.
    unweighed = values + 0.02 * inputs
    choices = [("1", best_by(setup, values))]
    choices += [(f"{50 * it:.3g}", best_by(setup, unweighed - it * inputs)) for it in trade_offs(unweighed, inputs)]
    return by_choice(setup, "tokenledger", choices, own=0)


def ratio(setup: Setup, /) -> Arm:
    """The seeds' first choice.  What costs nothing has the best ratio there is, the best of them first."""
    values = _general(setup)
    free = setup.blended_usd <= 0
    worth = np.where(free, 1e12 + values, values / np.where(free, 1.0, setup.blended_usd))
    return by_choice(setup, "ratio", [("", best_by(setup, worth))], own=0)


def oracle(setup: Setup, /) -> Arm:
    """Each prompt's best.  Without a weight of the cost it is the cheapest of the best."""
    cost, score = (np.where(setup.can, it, 0.0) for it in (setup.held.cost, setup.held.score))
    mean = float(cost[setup.can].mean()) or 1e-9
    weights = [1e-6 / mean, *np.geomspace(1e-4 / mean, 1e6 / mean, SETTINGS - 1).tolist()]
    return by_choice(setup, "oracle", [(f"{weight:.3g}", best_by(setup, score - weight * cost)) for weight in weights])


ARMS: Final[Mapping[str, Callable[[Setup], Arm]]] = MappingProxyType(
    {
        "random": random,
        "cheapest": cheapest,
        "best": best,
        "hindsight": hindsight,
        "composite": composite,
        "intelligence": intelligence,
        "tokenledger": tokenledger,
        "thegent": thegent,
        "ratio": ratio,
        "oracle": oracle,
    }
)
"""Every arm that is no code of the proxy."""
