"""The router itself on recorded outcomes: its field, its estimates and its policies, with the warm-up as past traffic.

Each model is an offer; what the warm-up metered of it (tokens of an answer by kind of task, the share of answers that were
good) is given to the router as live metrics, in the form in which production gives them.  A prompt is its kind and its size
in bytes: who knows no more cannot look at the text.  Prompts of one kind and nearly one size look the same to the router,
so its estimates are asked for once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.routing.arms import SETTINGS, Arm, by_choice
from benchmarks.routing.outcomes import Outcomes
from benchmarks.routing.setup import Setup
from ledger.live import Value
from ledger.records import Price
from proxy.routing.estimate import ANYTHING, EVERYBODY, Scope, Slate, costs_of, slate
from proxy.routing.features import BYTES_PER_TOKEN, Features
from proxy.routing.field import TOKENS, Field, Offer
from proxy.routing.live import Live
from proxy.routing.policy import POLICIES, Policy
from proxy.routing.router import decide

Floats = NDArray[np.float64]

PROVIDER: Final = "recorded"
ENDPOINT: Final = "chat/completions"
STEP: Final = 1.05
"""Inputs whose sizes differ by less than this factor are taken for one size."""


class Metered(msgspec.Struct, frozen=True):
    """What past traffic says, as ``LiveView`` says it: of an offer, or of it at a kind of task."""

    rows: Mapping[tuple[str, str], Mapping[str, Value]]

    def by_offer(self, offer: str, task: str = "", /) -> Mapping[str, Value]:
        """By the names of the metric catalogue; where nothing is known of the task, of the offer as a whole."""
        return self.rows.get((offer, task)) or self.rows.get((offer, ""), {})


class _Group(msgspec.Struct, frozen=True):
    """Prompts that look the same.  rows: of the held-out ones."""

    features: Features
    rows: NDArray[np.int64]


class Router:
    """The router's view of a setup."""

    def __init__(self, setup: Setup, /) -> None:
        self.setup = setup
        self.columns = {_offer_name(name): column for column, name in enumerate(setup.models)}
        self.field = Field(
            [_offer(setup, column) for column in range(len(setup.models))],
            indices=setup.indices,
            at_us=setup.indices.snapshot.at_us,
        )
        self.live = past_traffic(setup)
        self.groups = tuple(_groups(setup))

    def slate(self, features: Features, policy: Policy, /) -> Slate:
        """The router's own, of everybody."""
        outlook = self.field.outlook(features.task, features.effort, policy.percentile, policy.caution, self.live)
        return slate(outlook, features, ANYTHING, policy, EVERYBODY)

    def swept(self, policy: Policy, settings: Sequence[int], /) -> list[NDArray[np.int64]]:
        """Whom the rule ``value`` chooses for each held-out prompt, by what a point is worth: one pass for all settings.

        The same as ``decide`` for each prompt, with the offers that there are outcomes of.
        """
        choices = [np.zeros(len(self.setup.held.prompts), dtype=np.int64) for _ in settings]
        for group in self.groups:
            offered = self.slate(group.features, policy)
            columns = np.array([self.columns[name] for name in offered.names])
            quality = np.array(offered.qualities)
            cost = np.array(costs_of(offered, group.features, None), dtype=np.float64)
            can = self.setup.can[np.ix_(group.rows, columns)]
            if offered.weak:
                strong = can.copy()
                strong[:, sorted(offered.weak)] = False
                can = np.where(strong.any(axis=1)[:, None], strong, can)
            for setting, chosen in zip(settings, choices, strict=True):
                key = np.where(can, cost - 100 * setting * quality, np.inf)
                chosen[group.rows] = columns[key.argmin(axis=1)]
        return choices

    def decided(self, policy: Policy, /) -> NDArray[np.int64]:
        """Whom ``decide`` chooses for each held-out prompt."""
        chosen = np.zeros(len(self.setup.held.prompts), dtype=np.int64)
        for group in self.groups:
            patterns, which = np.unique(self.setup.can[group.rows], axis=0, return_inverse=True)
            for place, pattern in enumerate(patterns):
                names = frozenset(name for name, column in self.columns.items() if pattern[column])
                scope = EVERYBODY if pattern.all() else Scope(only=names)
                decision = decide(self.field, group.features, policy, live=self.live, scope=scope)
                chosen[group.rows[which.ravel() == place]] = self.columns[decision.chosen]
        return chosen


def ours(router: Router, /) -> Arm:
    """The rule ``value``, from the cheapest to the best."""
    held, can = router.setup.held, router.setup.can
    costs = held.cost[can & (held.cost > 0)]
    low, high = (float(np.quantile(costs, share)) * 1e9 if len(costs) else 1.0 for share in (0.01, 0.99))
    # A point of a hundred is worth from a thousandth of the least cost to a hundred times the largest.
    settings = [max(round(it), 1) for it in np.geomspace(max(low / 1_000, 1), high * 100, SETTINGS)]
    choices = router.swept(POLICIES["auto:value"], settings)
    return by_choice(router.setup, "ours", [(str(it), chosen) for it, chosen in zip(settings, choices, strict=True)])


def policy(router: Router, name: str, /) -> Arm:
    """A policy of the default configuration, as it is.  Raises: LookupError, for no such policy."""
    found = POLICIES.get(name)
    if found is None:
        raise LookupError(f"there is no policy {name!r}; there are: {', '.join(POLICIES)}")
    return by_choice(router.setup, name, [("", router.decided(found))], own=0)


def past_traffic(setup: Setup, /) -> Live:
    """What the warm-up's answers say, in the shape of production's live metrics."""
    rows: dict[tuple[str, str], dict[str, Value]] = {}
    warm = setup.warm
    for column, name in enumerate(setup.models):
        price = setup.prices.get(name)
        tokens = answer_tokens(warm, column, None if price is None else price.output_usd)
        for kind in ("", *sorted(set(setup.warm_kinds.tolist()))):
            of_kind = np.ones(len(warm.prompts), dtype=bool) if not kind else setup.warm_kinds == kind
            found = {}
            for metric, values in ((TOKENS, tokens), ("live_pass_rate", warm.score[:, column])):
                known = values[of_kind & np.isfinite(values)]
                if len(known):
                    found[metric] = Value(float(known.mean()), len(known))
            if found:
                rows[_offer_name(name), kind] = found
    return Live(offers=Metered(rows), bytes_per_token=_bytes_per_token(setup))


def answer_tokens(outcomes: Outcomes, column: int, output_usd: float | None, /) -> Floats:
    """Tokens of each answer: as recorded; all of them where the two kinds are not told apart; what the cost comes to where
    none are recorded."""
    tokens = outcomes.output_tokens[:, column]
    tokens = np.where(np.isfinite(tokens), tokens, outcomes.total_tokens[:, column])
    if not np.isfinite(tokens).any() and output_usd:
        tokens = outcomes.cost[:, column] * 1e6 / output_usd
    return tokens


def _offer_name(name: str) -> str:
    return f"{PROVIDER}/{name}"


def _offer(setup: Setup, column: int) -> Offer:
    it = setup.joined[column]
    price = setup.prices.get(it.name)
    known = it.known
    stated = setup.indices.snapshot.score(it.variant, TOKENS) if known else None
    return Offer(
        name=_offer_name(it.name),
        provider=PROVIDER,
        model=it.name,
        endpoints=frozenset(),
        subject=it.model if known else "",
        host="",
        effort=it.variant.partition("#")[2] if known else "",
        family=it.model.partition("/")[0],
        can=0,
        known=0,
        window_tokens=None,
        output_most=None,
        stated_tokens=None if stated is None else stated.value,
        price=None
        if price is None
        else Price(
            source=price.source,
            input_nusd_per_mtok=round(price.input_usd * 1e9),
            output_nusd_per_mtok=round(price.output_usd * 1e9),
        ),
        charged=price is not None,
    )


def _input_tokens(outcomes: Outcomes) -> Floats:
    """Of each prompt, as the models usually count it; 0 where nobody says."""
    known = np.isfinite(outcomes.input_tokens)
    some = known.any(axis=1)
    found = np.zeros(len(outcomes.prompts))
    if some.any():
        found[some] = np.nanmedian(outcomes.input_tokens[some], axis=1)
    return found


def _bytes_per_token(setup: Setup) -> dict[str, float]:
    """Of each maker's models, by what past traffic was metered at; a body has the usual bytes for its median count."""
    usual = _input_tokens(setup.warm)
    totals: dict[str, list[float]] = {}
    for column, it in enumerate(setup.joined):
        counted = setup.warm.input_tokens[:, column]
        both = np.isfinite(counted) & (usual > 0)
        total = totals.setdefault(it.model.partition("/")[0], [0.0, 0.0])
        total[0] += float(usual[both].sum())
        total[1] += float(counted[both].sum())
    return {maker: BYTES_PER_TOKEN * seen / counted for maker, (seen, counted) in totals.items() if maker and counted}


def _groups(setup: Setup) -> Iterator[_Group]:
    tokens = _input_tokens(setup.held)
    step = np.round(np.log(np.maximum(tokens, 1)) / np.log(STEP)).astype(np.int64)
    for kind in sorted(set(setup.kinds.tolist())):
        of_kind = np.flatnonzero(setup.kinds == kind)
        for bucket in np.unique(step[of_kind]):
            rows = of_kind[step[of_kind] == bucket]
            size = float(tokens[rows].mean())
            features = Features(
                endpoint=ENDPOINT,
                task=kind,
                task_confidence=1.0,
                text_bytes=round(size * BYTES_PER_TOKEN),
                input_tokens=max(round(size), 1),
            )
            yield _Group(features, rows)
