"""Quality, speed and cost of a variant or an offer as one number each, with what it is made of; and rankings by them.

Quality for a task: each benchmark is put on the scale of everybody who was measured by it (z-scores), weighted by the task,
taken through the logistic function, and made smaller where too little is known: ``sigmoid(mean z) * (0.6 + 0.4 *
coverage)``, with a coverage of 1 from half of the task's benchmarks on, since publishers drop old ones for new models.
A model nobody measured for a task has no quality for it; nothing is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from ledger.catalogue.identity import model_of
from ledger.catalogue.merge import Score, at_once
from ledger.catalogue.metrics import METRICS
from ledger.catalogue.snapshot import Live, Snapshot, StatedPrice

TASKS: Mapping[str, Mapping[str, float]] = {
    "general": {"intelligence_index": 3, "gpqa_diamond": 1, "hle": 1, "mmlu_pro": 1, "ifbench": 1, "arena_text_elo": 1},
    "coding": {
        "coding_index": 2,
        "livecodebench": 1,
        "scicode": 1,
        "swe_bench_verified": 2,
        "swe_bench_pro": 1,
        "terminalbench_hard": 1,
        "terminal_bench_2": 1,
        "arena_code_elo": 1,
    },
    "agentic": {
        "agentic_index": 2,
        "tau2_telecom": 1,
        "terminalbench_hard": 1,
        "terminal_bench_2": 1,
        "bfcl_multi_turn": 1,
        "mcp_atlas": 1,
        "browsecomp": 1,
        "osworld_verified": 1,
        "toolathlon": 1,
        "gdpval_elo": 1,
    },
    "math": {"math_index": 2, "aime_2025": 1, "aime_2026": 1, "hmmt_2025": 1, "aime_2024": 0.5, "math_500": 0.5},
    "reasoning": {"gpqa_diamond": 1, "hle": 1, "arc_agi_2": 1},
    "knowledge": {"mmlu_pro": 1, "simpleqa_verified": 1, "facts_grounding": 1, "mmmlu": 1},
    "instruction": {"ifbench": 1},
    "long_context": {"lcr_long_context": 1, "mrcr_128k": 1, "mrcr_1m": 1},
    "vision": {"mmmu_pro": 1, "arena_vision_elo": 1, "omnidocbench_edit_distance": 0.5},
}
"""Which benchmarks tell how good a model is at what, and their weights."""

# Whose quality stands for a model of which nobody says how much it thinks: never one that thinks more than it would.
STANDS_IN = ("medium", "low", "none", "minimal", "none-low", "thinking", "high", "xhigh", "max")

ENOUGH = 0.5
"""The share of a task's benchmarks, by weight, from which on a quality is not held to be a guess."""

ANSWER_TOKENS = 500
"""The answer whose time is the speed: time to the first token and that of so many tokens."""
SPEED_METRICS = ("ttft_p50", "output_tps_p50")
"""What the speed is made of."""
HALF_SPEED_S = 10.0
"""An answer that takes so long has a speed index of one half."""
HALF_COST_NUSD = 1_000_000_000
"""A million tokens at that price, three of input to one of output, have a cost index of one half."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark of an index.  ``z``: standard deviations above the mean of everybody measured."""

    score: Score
    z: float
    weight: float


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How good ``subject`` is at ``task``, in (0, 1).

    ``as_run``: the variant that was measured, another than the subject where nobody said how much it thinks.
    ``coverage``: in (0, 1], how much of what is enough is known of it; half of the task's benchmarks, by weight, is enough.
    ``confidence``: of its parts, when they were observed.
    """

    subject: str
    task: str
    as_run: str
    value: float
    coverage: float
    confidence: float
    parts: tuple[Part, ...]


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """How fast, in (0, 1): one half for an answer of 500 tokens in ten seconds.  ``answer_s``: those seconds."""

    subject: str
    value: float
    answer_s: float
    parts: tuple[Score, ...]


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """How cheap, in (0, 1]: one half at a dollar for a million tokens, three of input to one of output.

    ``offer``: where it costs that: of a model or a variant the cheapest offer that is paid for, a free one if there is none.
    """

    subject: str
    value: float
    offer: str
    blended_nusd_per_mtok: int
    stated: StatedPrice


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a ranking; those of equal quality go by name."""

    place: int
    quality: Quality
    speed: Speed | None
    cost: Cost | None


class Indices:
    """The indices of one snapshot.  Made with it (pause: called now and then); a question is a few look-ups."""

    def __init__(self, snapshot: Snapshot, pause: Callable[[], None] = at_once) -> None:
        self.snapshot = snapshot
        self._spread = _spread(snapshot, pause)
        self._known: dict[tuple[str, str], Quality | None] = {}

    def quality(self, subject: str, task: str = "general", /) -> Quality | None:
        """How good a variant or an offer is at a task; ``None``: nobody knows.  Raises: LookupError, for no such task."""
        key = (subject, task)
        if key in self._known:
            return self._known[key]
        found = self._quality(subject, task)
        if found is not None:  # a name that nobody knows is not remembered: names come from outside
            self._known[key] = found
        return found

    def speed(self, subject: str, /, live: Live = MappingProxyType({})) -> Speed | None:
        """How fast it answers, by what is published and what is measured here; ``None``: nobody knows."""
        ttft_ms = self.snapshot.value(subject, "ttft_p50", live)
        tokens_per_s = self.snapshot.value(subject, "output_tps_p50", live)
        if ttft_ms is None or not tokens_per_s:
            return None
        answer_s = ttft_ms / 1000 + ANSWER_TOKENS / tokens_per_s
        parts = (self.snapshot.score(subject, name) for name in SPEED_METRICS)
        return Speed(
            subject=subject,
            value=HALF_SPEED_S / (HALF_SPEED_S + answer_s),
            answer_s=answer_s,
            parts=tuple(it for it in parts if it is not None),
        )

    def cost(self, subject: str, /) -> Cost | None:
        """What it costs as sources state it; ``None``: no price is known, which is not 0."""
        snapshot = self.snapshot
        stated = snapshot.price(subject)
        if stated is None and "@" not in subject:
            known = (snapshot.price(offer) for offer in snapshot.offers(model_of(subject)))
            # An offer of another effort costs the same by the token.
            stated = min((it for it in known if it is not None), key=_by_price, default=None)
        if stated is None:
            return None
        blended = _blended(stated)
        return Cost(
            subject=subject,
            value=HALF_COST_NUSD / (HALF_COST_NUSD + blended),
            offer=stated.offer,
            blended_nusd_per_mtok=blended,
            stated=stated,
        )

    def rankings(self, task: str = "general", /, *, live: Live = MappingProxyType({})) -> tuple[Ranked, ...]:
        """Every variant that was measured for a task, the best first.  Raises: LookupError, for no such task.

        Those that are asked here are among them also where they were only measured at some effort that nobody named here.
        """
        if task not in TASKS:
            raise LookupError(f"there is no task {task!r}; there are: {', '.join(TASKS)}")
        asked = {subject for subject, _ in live if "@" not in subject}
        measured = (self.quality(subject, task) for subject in {*_measured(self.snapshot), *asked})
        found = sorted((it for it in measured if it is not None), key=lambda it: (-it.value, it.subject))
        return tuple(
            Ranked(place=place, quality=it, speed=self.speed(it.subject, live), cost=self.cost(it.subject))
            for place, it in enumerate(found, 1)
        )

    def _quality(self, subject: str, task: str) -> Quality | None:
        weights = TASKS.get(task)
        if weights is None:
            raise LookupError(f"there is no task {task!r}; there are: {', '.join(TASKS)}")
        variant = subject.partition("@")[0]
        for as_run in (variant, *self._stand_ins(variant)):
            parts = tuple(self._parts(as_run, weights))
            if parts:
                break
        else:
            return None
        known = sum(part.weight for part in parts)
        # What nobody was measured by is held against nobody.
        enough = ENOUGH * sum(weight for metric, weight in weights.items() if metric in self._spread)
        coverage = min(1.0, known / enough)
        z = sum(part.z * part.weight for part in parts) / known
        return Quality(
            subject=subject,
            task=task,
            as_run=as_run,
            value=(0.6 + 0.4 * coverage) / (1 + math.exp(-z)),
            coverage=coverage,
            confidence=sum(part.score.confidence * part.weight for part in parts) / known,
            parts=parts,
        )

    def _stand_ins(self, variant: str) -> Sequence[str]:
        if "#" in variant:
            return ()
        known = self.snapshot.variants(variant)
        return [name for effort in STANDS_IN if (name := f"{variant}#{effort}") in known]

    def _parts(self, variant: str, weights: Mapping[str, float]) -> Iterator[Part]:
        for metric, weight in weights.items():
            score = self.snapshot.scores.get(variant, {}).get(metric)
            if score is not None:
                mean, deviation = self._spread[metric]
                z = (score.value - mean) / deviation if deviation else 0.0
                yield Part(score=score, z=z if METRICS[metric].higher_is_better else -z, weight=weight)


def _spread(snapshot: Snapshot, pause: Callable[[], None]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each quality metric over all variants."""
    values: dict[str, list[float]] = {}
    wanted = {metric for weights in TASKS.values() for metric in weights}
    for subject in _measured(snapshot):
        pause()
        for metric, score in snapshot.scores[subject].items():
            if metric in wanted:
                values.setdefault(metric, []).append(score.value)
    spread = {}
    for metric, found in values.items():
        mean = math.fsum(found) / len(found)
        spread[metric] = (mean, math.sqrt(math.fsum((value - mean) ** 2 for value in found) / len(found)))
    return spread


def _measured(snapshot: Snapshot) -> list[str]:
    return [subject for subject in snapshot.scores if "@" not in subject]


def _blended(stated: StatedPrice) -> int:
    return (3 * stated.price.input_nusd_per_mtok + stated.price.output_nusd_per_mtok) // 4


def _by_price(stated: StatedPrice) -> tuple[bool, int, str]:
    blended = _blended(stated)
    return (blended == 0, blended, stated.offer)
