from __future__ import annotations

from msgspec.structs import replace

from ledger.records import Routed
from proxy.learning.calibration import score_of
from proxy.learning.records import record_of
from proxy.learning.replay import by_record, replay
from proxy.learning.report import checked_score, figure, grouped, logged, offers
from proxy.routing.policy import Policy
from proxy.routing.router import decide
from tests.ledger.samples import decision
from tests.proxy.learning.samples import routed
from tests.proxy.routing.worlds import ASK, Known, field_of

WORLD = field_of({"big": Known(score=70, input_usd=10), "small": Known(score=40, input_usd=0.1)})
BEST, CHEAP = Policy(name="auto:best", rule="best"), Policy(name="auto:cheap", rule="cheapest")
GOOD, BAD = ((1_000_000, 1_000_000),), ((0, 1_000_000),)


def asked(n: int, policy: Policy = BEST) -> Routed:
    return routed(f"req_{n}", decided=record_of(decide(WORLD, ASK, policy), request_id=f"req_{n}", at_us=n * 3_600_000_000))


def test_groups_are_by_policy_task_and_model_with_the_mean_of_what_was_said() -> None:
    found = [
        replace(asked(0), feedback=GOOD, passed=("answered",)),
        replace(asked(1), feedback=BAD, failed=("schema",)),
        replace(asked(2), failed=("short",), cost_nusd=None),
        asked(3, CHEAP),
    ]

    best, cheap = grouped(found, score_of)

    assert (best.policy, best.task, best.model, best.requests, best.judged) == ("auto:best", "general", "openai/big", 3, 2)
    assert best.score is not None
    assert best.score.value == 0.5
    assert (best.checked, best.flawless, best.cost_nusd) == (3, 2, 10_000_000)
    assert (cheap.policy, cheap.model, cheap.judged, cheap.score) == ("auto:cheap", "openai/small", 0, None)


def test_an_answer_can_be_scored_by_its_checks() -> None:
    assert checked_score(asked(0)) is None
    assert checked_score(replace(asked(0), passed=("answered",))) == 1.0
    assert checked_score(replace(asked(0), failed=("short",))) == 1.0
    assert checked_score(replace(asked(0), failed=("tools",))) == 0.0


def test_the_question_to_the_estimators_is_made_of_judged_requests() -> None:
    drawn = asked(0).decision
    found = [
        replace(asked(0), decision=replace(drawn, propensity_ppm=250_000), feedback=GOOD),
        asked(1),  # nobody said anything
        replace(asked(2), feedback=GOOD, offer="some/other"),  # it fell back to another one
        routed(decided=decision(features="[]"), feedback=GOOD),  # of another release
    ]

    (it,) = logged(found, CHEAP, score_of)

    assert (it.chosen, it.target, it.propensity, it.score, it.task) == ("openai/big", "openai/small", 0.25, 1.0, "general")
    assert it.expected is not None
    assert it.expected_target is not None
    assert it.expected > it.expected_target


def test_everybody_who_could_have_answered_is_named_once() -> None:
    assert offers([asked(0), asked(1), routed(decided=decision(candidates="{"))]) == {"openai/big", "openai/small"}


def test_a_replay_is_drawn_as_what_was_spent_and_who_was_chosen() -> None:
    turns = [turn for turn in replay([asked(n) for n in range(3)], by_record(CHEAP)) if turn is not None]

    drawn = figure(turns, policy="auto:cheap", at="2026-11-01")

    cost, models = drawn.panels
    assert [it.name for it in cost.series] == [
        "happened, as expected",
        "happened, as metered",
        "auto:cheap at 2026-11-01, as expected",
    ]
    assert cost.series[1].x == (0.0, 1.0, 2.0)
    assert cost.series[1].y == (0.005, 0.01, 0.015)
    assert [it.labels for it in models.series] == [("openai/big (3)",), ("openai/small (3)",)]


def test_a_long_replay_is_drawn_by_few_points_with_the_last() -> None:
    turns = [turn for turn in replay([asked(n) for n in range(8)], by_record(CHEAP)) if turn is not None]

    cost, _ = figure(turns, policy="auto:cheap", at=None, points_max=2).panels

    assert cost.series[0].x == (0.0, 4.0, 7.0)


def test_a_replay_of_nothing_is_drawn_as_nothing() -> None:
    assert [it.x for panel in figure([], policy="auto", at=None).panels for it in panel.series] == [()] * 5
