"""Outcomes that nobody recorded: a world in which the truth is known, to study estimates in.

The model, all of it; ``Regime`` has its numbers:

* A *model* has an ability, normal with mean 0 and deviation 1 over the world; at each kind of task it differs from that
  by ``task_spread``, and on each dataset by ``dataset_spread`` more.  The models of the field are the ones of the world
  whose ability is next to ``era``, and the rest of the world is there for the ledger's scales.
* A *benchmark* of the ledger's catalogue shows the ability at its task with an error of ``published_noise``; it is missing
  with a chance of ``missing``, and for a share ``unlisted`` of the models nobody published anything.
* A *prompt* has a difficulty around its dataset's; it is answered rightly with the chance ``guess + (1 - guess) *
  logistic(1.7 (ability - difficulty))``.
* An *answer's length* is the dataset's, times the model's wordiness (log-normal, ``wordiness``), times what model and task
  have of their own (``task_wordiness``), times the prompt's (log-normal, and one in thirty from a Pareto tail of exponent
  1.5, cut at fifty times the rest).
* A *price* is log-normal over ``price_spread`` powers of ten (deviation) and dearer for abler models with the correlation
  ``price_ability``; input costs a quarter of output.  For a share ``unpriced`` the ledger has no price.

Nothing here is taken from recorded outcomes.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.routing.outcomes import Outcomes
from ledger.catalogue.indices import TASKS
from ledger.catalogue.metrics import METRICS
from ledger.facts import Observation, Subject

Floats = NDArray[np.float64]

WORLD: Final = 150
TASK_NAMES: Final = tuple(TASKS)
AT_US: Final = 1_760_000_000_000_000
HOST: Final = "sim"
TAIL_SHARE, TAIL_EXPONENT, TAIL_MAX = 1 / 30, 1.5, 50.0


class Regime(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a world; see above."""

    name: str
    models: int = 20
    datasets: int = 12
    prompts: int = 3000
    era: float = 0.0
    task_spread: float = 0.5
    dataset_spread: float = 0.3
    published_noise: float = 0.4
    missing: float = 0.4
    unlisted: float = 0.1
    unpriced: float = 0.0
    wordiness: float = 0.7
    task_wordiness: float = 0.4
    price_spread: float = 0.6
    price_ability: float = 0.6


REGIMES: Final = (
    Regime(name="usual"),
    Regime(name="few models", models=8, datasets=6),
    Regime(name="many models", models=40, datasets=20, prompts=4000),
    Regime(name="old models", era=-1.5, missing=0.6, unlisted=0.25),
    Regime(name="strong benchmarks", published_noise=0.15, dataset_spread=0.15, missing=0.2),
    Regime(name="weak benchmarks", published_noise=1.0, dataset_spread=0.5),
    Regime(name="sparse ledger", missing=0.8, unlisted=0.4),
    Regime(name="missing prices", unpriced=0.3),
    Regime(name="one ability", task_spread=0.15, dataset_spread=0.15),
    Regime(name="wordy", wordiness=1.1, task_wordiness=0.6, price_spread=0.4),
)


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A simulation.  prices: USD for a million tokens of input and output, by model; listed: whose the ledger knows.

    tasks: of each dataset.
    """

    regime: Regime
    outcomes: Outcomes
    observations: tuple[Observation, ...]
    prices: dict[str, tuple[float, float]]
    listed: frozenset[str]
    tasks: dict[str, str]


def world(regime: Regime, /, *, seed: int) -> World:
    """The same for the same seed."""
    draw = np.random.default_rng([seed, sum(regime.name.encode())])
    ability = draw.normal(0, 1, WORLD)
    by_task = ability[:, None] + draw.normal(0, regime.task_spread, (WORLD, len(TASK_NAMES)))
    # The general ability is what it is on average, not another task.
    by_task[:, TASK_NAMES.index("general")] = by_task.mean(axis=1)
    near = np.argsort(np.abs(ability - regime.era) - draw.exponential(0.8, WORLD))[: regime.models]
    names = [f"lab{index % 7}/model-{index}" for index in range(WORLD)]
    outcomes, prices, tasks = _outcomes(regime, draw, ability[near], by_task[near], [names[index] for index in near])
    unlisted = {names[index] for index in draw.permutation(near)[: round(regime.unlisted * regime.models)]}
    unpriced = {names[index] for index in draw.permutation(near)[: round(regime.unpriced * regime.models)]}
    return World(
        regime=regime,
        outcomes=outcomes,
        observations=tuple(_published(regime, draw, by_task, [name if name not in unlisted else "" for name in names])),
        prices=prices,
        listed=frozenset(prices) - unpriced,
        tasks=tasks,
    )


def lengths(draw: np.random.Generator, count: int, /, *, spread: float = 0.6) -> Floats:
    """How much longer or shorter than usual answers are: a log-normal body and a Pareto tail."""
    body = draw.lognormal(0, spread, count)
    tail = np.minimum(1 + draw.pareto(TAIL_EXPONENT, count), TAIL_MAX) * 3
    return np.where(draw.random(count) < TAIL_SHARE, tail, body)


def _outcomes(
    regime: Regime, draw: np.random.Generator, ability: Floats, by_task: Floats, names: list[str]
) -> tuple[Outcomes, dict[str, tuple[float, float]], dict[str, str]]:
    count = len(names)
    kinds = draw.integers(0, len(TASK_NAMES), regime.datasets)
    share = draw.dirichlet(np.full(regime.datasets, 2.0))
    dataset = draw.choice(regime.datasets, regime.prompts, p=share)
    difficulty = draw.normal(ability.mean() - 0.3, 0.8, regime.datasets)
    guess = draw.choice([0.0, 0.25], regime.datasets)
    on_dataset = by_task[:, kinds] + draw.normal(0, regime.dataset_spread, (count, regime.datasets))
    hard = difficulty[dataset] + draw.normal(0, 1, regime.prompts)
    right = 1 / (1 + np.exp(-1.7 * (on_dataset[:, dataset].T - hard[:, None])))
    chance = guess[dataset][:, None] + (1 - guess[dataset][:, None]) * right
    score = (draw.random(chance.shape) < chance).astype(np.float64)
    standard = (ability - ability.mean()) / max(float(ability.std()), 1e-9)
    unrelated = draw.normal(0, 1, count) * np.sqrt(1 - regime.price_ability**2)
    output_usd = 10 ** (regime.price_spread * (regime.price_ability * standard + unrelated))
    input_usd = output_usd / 4
    input_tokens = np.repeat(
        (draw.lognormal(5.5, 0.8, regime.datasets)[dataset] * lengths(draw, regime.prompts, spread=0.4))[:, None], count, 1
    )
    wordy = draw.lognormal(0, regime.wordiness, count)
    of_task = draw.lognormal(0, regime.task_wordiness, (count, len(TASK_NAMES)))[:, kinds]
    usual = draw.lognormal(5.3, 0.8, regime.datasets)
    shared = draw.lognormal(0, 0.4, regime.prompts)
    own = lengths(draw, regime.prompts * count).reshape(regime.prompts, count)
    output_tokens = np.ceil(usual[dataset][:, None] * shared[:, None] * (wordy[:, None] * of_task)[:, dataset].T * own)
    input_tokens = np.ceil(input_tokens)
    cost = (input_tokens * input_usd + output_tokens * output_usd) / 1e6
    labels = [f"dataset-{index:02}" for index in range(regime.datasets)]
    outcomes = Outcomes(
        prompts=tuple(f"{labels[of]}/{index}" for index, of in enumerate(dataset)),
        datasets=tuple(labels),
        dataset=dataset.astype(np.int32),
        models=tuple(names),
        score=score,
        cost=cost,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=np.full(score.shape, np.nan),
        text_task=("",) * regime.prompts,
        rows=score.size,
    )
    prices = {name: (float(input_usd[index]), float(output_usd[index])) for index, name in enumerate(names)}
    return outcomes, prices, {label: TASK_NAMES[kind] for label, kind in zip(labels, kinds, strict=True)}


def _published(regime: Regime, draw: np.random.Generator, by_task: Floats, names: list[str]) -> list[Observation]:
    """What the ledger knows: every metric that a task is judged by, on the scale of its unit."""
    of_metric = {metric: task for task in reversed(TASK_NAMES) for metric in TASKS[task]}
    found = []
    for metric in sorted(of_metric):
        shown = by_task[:, TASK_NAMES.index(of_metric[metric])] + draw.normal(0, regime.published_noise, len(names))
        known = draw.random(len(names)) >= regime.missing
        row = METRICS[metric]
        for name, value in zip([name if kept else "" for name, kept in zip(names, known, strict=True)], shown, strict=True):
            if name:
                found.append(
                    Observation(
                        source="simulated",
                        source_version="1",
                        variant=name,
                        subject=Subject(source_name=name),
                        metric=metric,
                        value=_on_scale(float(value), row.unit, higher=row.higher_is_better is not False),
                        unit=row.unit,
                        observed_at_us=AT_US,
                        fetched_at_us=AT_US,
                    )
                )
    return found


def _on_scale(value: float, unit: str, *, higher: bool) -> float:
    share = 1 / (1 + float(np.exp(-value if higher else value)))
    match unit:
        case "points":
            return 100 * share
        case "elo":
            return 1200 + 150 * value
        case _:
            return share
