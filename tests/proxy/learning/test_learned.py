from __future__ import annotations

from collections.abc import Mapping

import pytest

from ledger.live import LiveView, Value
from ledger.live.outcomes import DAY_S
from proxy.learning.learned import AGE_S, Judged, Learned
from proxy.routing.field import PRIOR_FLAWLESS
from proxy.routing.live import Live
from tests.ledger.samples import checked, feedback
from tests.proxy.learning.memory import MemoryLearning
from tests.proxy.routing.worlds import Known, field_of

OFFER = "openai/gpt-4o"
ACCEPT = "live_user_accept_rate"


class World:
    """A clock, and what is measured."""

    def __init__(self) -> None:
        self.now_s = 100 * DAY_S
        self.view = LiveView(offers={OFFER: {"ttft_p50": Value(200.0, 40)}})
        self.learned = Learned(lambda: self.view, lambda: self.now_s)

    def known(self, task: str = "coding") -> Mapping[str, Value]:
        self.learned.renew()
        return self.learned.view.by_offer(OFFER, task)


@pytest.fixture
def world() -> World:
    return World()


def test_what_people_think_stands_beside_what_is_measured(world: World) -> None:
    world.learned.told(feedback())
    world.learned.told(feedback(source="bo", score_ppm=0))

    assert world.known() == {"ttft_p50": Value(200.0, 40), ACCEPT: Value(0.5, 2)}
    assert world.known("") == {"ttft_p50": Value(200.0, 40), ACCEPT: Value(0.5, 2)}
    assert world.known("math") == {"ttft_p50": Value(200.0, 40)}


def test_half_a_weight_is_half_an_observation(world: World) -> None:
    for _ in range(4):
        world.learned.told(feedback(weight_ppm=500_000))

    assert world.known()[ACCEPT].n == 2


def test_feedback_on_what_nobody_answered_is_no_observation(world: World) -> None:
    world.learned.told(feedback(offer=""))

    assert world.learned.outcomes.pairs() == []


def test_feedback_for_a_metric_that_this_release_does_not_know_is_no_observation(world: World) -> None:
    world.learned.told(feedback(metric="live_joy"))

    assert world.learned.outcomes.pairs() == []


def test_checks_become_rates(world: World) -> None:
    world.learned.checked(checked(passed=("answered", "whole", "schema")))
    world.learned.checked(checked(passed=("answered", "whole"), failed=("schema",)))
    world.learned.checked(checked(passed=(), failed=("answered",)))
    world.learned.checked(checked(passed=("answered",), failed=("short",)))

    known = {name: (round(it.value, 3), it.n) for name, it in world.known().items()}

    assert known == {
        "ttft_p50": (200.0, 40),
        "refusal_rate": (0.25, 4),
        "truncation_rate": (0.333, 3),
        "schema_adherence_rate": (0.5, 2),
        "check_pass_rate": (0.5, 4),
    }


def test_an_answer_that_was_asked_for_once_more_was_not_flawless_after_all(world: World) -> None:
    world.learned.checked(checked("a"))
    world.learned.checked(checked("b"))

    world.learned.checked(checked("a", passed=(), failed=("kept",)))

    assert world.known()["check_pass_rate"] == Value(0.5, 2)


def test_a_view_is_what_it_was_however_long_it_is_held(world: World) -> None:
    world.learned.told(feedback())
    world.learned.renew()
    before = world.learned.view

    world.learned.told(feedback(source="bo", score_ppm=0))
    world.known()

    assert before.by_offer(OFFER, "coding")[ACCEPT] == Value(1.0, 1)
    assert world.learned.view is not before


def test_nothing_new_is_the_same_view_and_a_new_measurement_another(world: World) -> None:
    before = world.learned.view
    world.learned.renew()
    assert world.learned.view is before

    world.view = LiveView(offers={OFFER: {"ttft_p50": Value(900.0, 41)}})

    assert world.learned.view is not before
    assert world.learned.view.by_offer(OFFER)["ttft_p50"].value == 900.0
    assert world.learned.view is world.learned.view


def test_judgements_grow_old_also_where_no_new_ones_come_in(world: World) -> None:
    for _ in range(16):
        world.learned.told(feedback())
    world.learned.renew()

    world.now_s += 28 * DAY_S + AGE_S

    assert world.known()[ACCEPT].n == 4


async def test_what_was_judged_before_a_restart_is_taken_up_as_old_as_it_is(world: World) -> None:
    ledger = MemoryLearning()
    at_us = round((world.now_s - 14 * DAY_S) * 1e6)
    ledger.feedback = [feedback(f"r{n}", at_us=at_us) for n in range(4)] + [feedback("r9", at_us=1)]
    ledger.checks = [checked(at_us=round(world.now_s * 1e6))]

    await world.learned.restore(ledger)

    assert world.known()[ACCEPT] == Value(1.0, 2)
    assert world.known()["check_pass_rate"] == Value(1.0, 1)


async def test_what_cannot_be_taken_up_is_no_reason_not_to_serve(world: World) -> None:
    ledger = MemoryLearning()
    ledger.failing = True

    await world.learned.restore(ledger)

    assert world.known() == {"ttft_p50": Value(200.0, 40)}


def test_a_model_whose_answers_have_flaws_is_worth_less_and_one_without_is_worth_no_more() -> None:
    field = field_of({"one": Known(score=60.0), "two": Known(score=60.0), "three": Known(score=40.0)})
    learned = Learned(LiveView, lambda: 1.8e9)
    before = field.outlook("general", "", "p50", 1.0, Live(offers=learned.view)).expected

    for n in range(100):
        learned.checked(checked(f"a{n}", offer="openai/one", task="general", passed=("answered",)))
        failed = ("schema",) if n % 2 else ()
        learned.checked(checked(f"b{n}", offer="openai/two", task="general", passed=("answered",), failed=failed))
    learned.renew()
    after = field.outlook("general", "", "p50", 1.0, Live(offers=learned.view)).expected

    one, three, two = (pytest.approx(it) for it in before if it is not None)
    assert (after[0], after[1]) == (one, three)
    assert after[2] is not None
    assert before[2] is not None
    assert after[2] == pytest.approx(before[2] * (50 + PRIOR_FLAWLESS) / (100 + PRIOR_FLAWLESS))
    assert two == before[2]


def test_of_offers_that_nobody_knows_nothing_is_said() -> None:
    assert Judged(LiveView(), {}).by_offer("no/body", "coding") == {}
