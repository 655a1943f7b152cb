"""What recorded decisions, and what became of them, say: in groups, as a question to ``offpolicy``, and drawn.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from ledger.records import Routed
from proxy.drawing.figure import Figure, Panel, Series
from proxy.learning import offpolicy
from proxy.learning.checks import is_flawless
from proxy.learning.offpolicy import Logged, Mean
from proxy.learning.records import Choice, choices_of
from proxy.learning.replay import Turn, by_record, replay
from proxy.routing.policy import Policy

POINTS_MAX: Final = 400
"""Of each line of a drawing."""

Score = Callable[[Routed], "float | None"]
"""What an answer was worth, from 0 to 1; ``None``: nobody knows."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A group of the report.  checked, flawless: of the requests whose answers could be checked."""

    policy: str
    task: str
    model: str
    requests: int
    judged: int
    score: Mean | None
    checked: int
    flawless: int
    cost_nusd: int | None


def offers(found: Iterable[Routed]) -> set[str]:
    """Everybody who could have answered any of them; a decision that this release cannot read says nobody."""
    names: set[str] = set()
    for it in found:
        try:
            names.update(choice.name for choice in choices_of(it.decision))
        except msgspec.DecodeError:
            continue
    return names


def checked_score(it: Routed) -> float | None:
    """1 for an answer in which no check failed, 0 for another; ``None``: it was not checked."""
    return float(is_flawless(it.failed)) if it.passed or it.failed else None


def logged(found: Sequence[Routed], policy: Policy, score: Score) -> list[Logged]:
    """The judged requests, each with whom the policy would have chosen of those that were recorded."""
    rows = []
    for turn in replay(found, by_record(policy)):
        if turn is None or turn.routed.offer != turn.then.name:
            continue  # somebody else answered, and it is that one's score
        said = score(turn.routed)
        propensity = turn.routed.decision.propensity_ppm / 1e6
        if said is None or propensity <= 0:
            continue
        target = turn.now
        rows.append(
            Logged(
                chosen=turn.then.name,
                propensity=propensity,
                score=said,
                task=turn.routed.decision.task,
                target="" if target is None else target.name,
                expected=None if turn.then.quality_ppm is None else turn.then.quality_ppm / 1e6,
                expected_target=None if target is None or target.quality_ppm is None else target.quality_ppm / 1e6,
            )
        )
    return rows


def grouped(found: Sequence[Routed], score: Score) -> tuple[Judged, ...]:
    """By policy, task and model, in this order; of a task those with the most requests first."""
    groups: dict[tuple[str, str, str], list[Routed]] = {}
    for it in found:
        decision = it.decision
        groups.setdefault((decision.policy, decision.task, it.offer or decision.chosen), []).append(it)
    rows = []
    for (policy, task, model), members in sorted(groups.items(), key=lambda it: (it[0][0], it[0][1], -len(it[1]), it[0][2])):
        scores = [said for it in members if (said := score(it)) is not None]
        seen = [it for it in members if it.passed or it.failed]
        costs = [it.cost_nusd for it in members if it.cost_nusd is not None]
        rows.append(
            Judged(
                policy=policy,
                task=task,
                model=model,
                requests=len(members),
                judged=len(scores),
                score=offpolicy.mean(scores),
                checked=len(seen),
                flawless=sum(is_flawless(it.failed) for it in seen),
                cost_nusd=sum(costs) if costs else None,
            )
        )
    return tuple(rows)


def figure(turns: Sequence[Turn], *, policy: str, at: str | None, points_max: int = POINTS_MAX) -> Figure:
    """What was spent in the course of a replay, and the models that were chosen.

    points_max: a longer line is thinned out, to fewer than twice as many points.
    """
    begin = datetime.fromtimestamp((turns[0].routed.decision.at_us if turns else 0) / 1e6, UTC)
    now = f"{policy} at {at}" if at else policy
    times = [(turn.routed.decision.at_us - turns[0].routed.decision.at_us) / 3.6e9 for turn in turns]
    then_usd, now_usd, metered = _running(turns)
    return Figure(
        title=f"{len(turns):,} requests decided once more",
        panels=(
            Panel(
                title="cost so far",
                x_label=f"hours since {begin:%Y-%m-%d %H:%M} UTC",
                y_label="USD",
                series=(
                    _series("happened, as expected", times, then_usd, points_max),
                    _series("happened, as metered", times, metered, points_max),
                    _series(f"{now}, as expected", times, now_usd, points_max),
                ),
            ),
            Panel(
                title="quality and cost, by model",
                x_label="expected cost of a request, in USD",
                y_label="expected quality",
                series=tuple(
                    _models(name, choices)
                    for name, choices in (("happened", [it.then for it in turns]), (now, [it.now for it in turns]))
                ),
                log_x=True,
            ),
        ),
    )


def _running(turns: Sequence[Turn]) -> tuple[list[float], list[float], list[float]]:
    sums = [0, 0, 0]
    lines: tuple[list[float], list[float], list[float]] = ([], [], [])
    for turn in turns:
        sums[0] += turn.then.cost_nusd or 0
        sums[1] += 0 if turn.now is None else turn.now.cost_nusd or 0
        sums[2] += turn.routed.cost_nusd or 0
        for line, total in zip(lines, sums, strict=True):
            line.append(total / 1e9)
    return lines


def _series(name: str, x: Sequence[float], y: Sequence[float], points_max: int) -> Series:
    """Fewer than twice ``points_max`` points of it, the last one always."""
    places = list(range(0, len(x), max(len(x) // points_max, 1)))
    if places and places[-1] != len(x) - 1:
        places.append(len(x) - 1)
    return Series(name=name, x=tuple(x[it] for it in places), y=tuple(y[it] for it in places), kind="steps")


def _models(name: str, choices: Sequence[Choice | None]) -> Series:
    sums: dict[str, list[float]] = {}
    for it in choices:
        if it is not None and it.quality_ppm is not None and it.cost_nusd:
            found = sums.setdefault(it.name, [0.0, 0.0, 0.0])
            found[0] += 1
            found[1] += it.quality_ppm / 1e6
            found[2] += it.cost_nusd / 1e9
    names = sorted(sums)
    return Series(
        name=name,
        x=tuple(sums[it][2] / sums[it][0] for it in names),
        y=tuple(sums[it][1] / sums[it][0] for it in names),
        kind="points",
        labels=tuple(f"{it} ({sums[it][0]:,.0f})" for it in names),
    )
