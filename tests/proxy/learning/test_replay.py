from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.records import Routed
from proxy.call import RouteField
from proxy.learning.records import choices_of, kept_of, record_of
from proxy.learning.replay import Turn, by_field, by_record, compared, replay
from proxy.routing.features import Features
from proxy.routing.field import Field
from proxy.routing.policy import POLICIES, Policy
from proxy.routing.router import decide
from tests.ledger.samples import decision
from tests.proxy.learning.samples import routed
from tests.proxy.routing.worlds import ASK, Known, field_of

MODELS = {
    "big": Known(score=70, input_usd=10, output_usd=40, ttft_ms=900, tokens_per_s=50),
    "mid": Known(score=60, input_usd=1, output_usd=4, tokens_per_s=80),
    "worse": Known(score=55, input_usd=2, output_usd=8, ttft_ms=900),
    "small": Known(score=40, input_usd=0.1, output_usd=0.4, ttft_ms=200, tokens_per_s=300),
    "dark": Known(score=None, input_usd=None, ttft_ms=None, tokens_per_s=None),
}
WORLD = field_of(MODELS)
BEST = Policy(name="auto:best", rule="best")
CHEAP = Policy(name="auto:cheap", rule="cheapest")


def asked(n: int = 0, *, policy: Policy = BEST, features: Features = ASK, wishes: RouteField | None = None) -> Routed:
    """A request that was routed, and cost half as much again as was expected."""
    made = decide(WORLD, features, policy, constraints=wishes or RouteField())
    kept = record_of(made, request_id=f"req_{n}", at_us=n)
    return routed(f"req_{n}", decided=kept, cost_nusd=(kept.cost_nusd or 0) * 3 // 2)


def turned(every: list[Routed], policy: Policy, field: Field | None = None) -> list[Turn]:
    redo = by_record(policy) if field is None else by_field(policy, field)
    return [turn for turn in replay(every, redo) if turn is not None]


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("wishes", [RouteField(), RouteField(max_cost_nusd=4_000_000, deny=("openai/small",))])
def test_any_policy_chooses_of_what_was_recorded_as_it_would_have_chosen_then(name: str, wishes: RouteField) -> None:
    policy = replace(POLICIES[name], stick=None)

    (turn,) = turned([asked(wishes=wishes)], policy)

    assert turn.now is not None
    assert turn.now.name == decide(WORLD, ASK, policy, constraints=wishes).chosen


@pytest.mark.parametrize("name", POLICIES)
def test_what_was_known_then_gives_the_same_choice_whether_recorded_or_made_anew(name: str) -> None:
    policy = replace(POLICIES[name], stick=None)

    (recorded,) = turned([asked()], policy)
    (anew,) = turned([asked()], policy, WORLD)

    assert recorded.now is not None
    assert anew.now is not None
    assert recorded.now.name == anew.now.name
    assert anew.now.cost_nusd == pytest.approx(recorded.now.cost_nusd, rel=1e-4)
    assert anew.now.latency_us == pytest.approx(recorded.now.latency_us, rel=1e-3)


def test_another_days_facts_and_prices_change_what_is_chosen() -> None:
    later = field_of({**MODELS, "small": replace(MODELS["small"], score=90.0)})
    dearer = field_of({**MODELS, "small": replace(MODELS["small"], input_usd=100.0, output_usd=400.0)})

    (better,) = turned([asked()], BEST, later)
    (dear,) = turned([asked(policy=CHEAP)], CHEAP, dearer)

    assert (better.then.name, better.now and better.now.name) == ("openai/big", "openai/small")
    assert (dear.then.name, dear.now and dear.now.name) == ("openai/small", "openai/mid")


def test_what_was_measured_stays_as_it_was_recorded() -> None:
    slower = field_of({name: replace(known, ttft_ms=9_000.0, tokens_per_s=1.0) for name, known in MODELS.items()})

    (turn,) = turned([asked()], BEST, slower)

    assert turn.now is not None
    assert (turn.now.ttft_us, turn.now.output_tokens) == (turn.then.ttft_us, turn.then.output_tokens)
    assert turn.now.latency_us == pytest.approx(turn.then.latency_us, rel=1e-3)


def test_a_policys_own_limits_hold_beside_the_callers() -> None:
    limited = replace(BEST, limits=RouteField(max_cost_nusd=4_000_000))

    (recorded,) = turned([asked()], limited)
    (anew,) = turned([asked()], limited, WORLD)

    assert recorded.now is not None
    assert anew.now is not None
    assert recorded.now.name == anew.now.name == "openai/mid"


def test_a_policy_that_takes_everything_for_one_kind_of_task_judges_by_that() -> None:
    coders = field_of({**MODELS, "small": replace(MODELS["small"], score=90.0)}, index="coding_index")

    (turn,) = turned([asked()], replace(BEST, task="coding"), coders)

    assert turn.now is not None
    assert turn.now.name == "openai/small"


def test_a_request_that_nobody_would_answer_is_counted_as_such() -> None:
    turns = turned([asked()], replace(BEST, deny=("*",)))

    found = compared(turns)

    assert (found.replayed, found.unanswered, found.now.requests) == (1, 1, 0)
    assert turned([asked()], replace(BEST, deny=("*",)), WORLD)[0].now is None


def test_what_cannot_be_replayed_is_passed_over() -> None:
    old = routed(decided=decision(features="[]"))
    elsewhere = routed(decided=decision(chosen="no/body", features='{"features":{"endpoint":"chat/completions"}}'))
    steps: list[int] = []

    turns = list(replay([old, elsewhere, asked()], by_record(BEST), lambda: steps.append(1)))

    assert [turn is None for turn in turns] == [True, True, False]
    assert len(steps) == 3


def test_a_replay_is_summed_up_beside_what_happened() -> None:
    every = [asked(n) for n in range(30)]
    cheap, big = choices_of(every[0].decision)[-1], every[0].decision
    small = next(it for it in choices_of(every[0].decision) if it.name == "openai/small")

    found = compared(turned(every, CHEAP), skipped=2)

    assert (found.replayed, found.skipped, found.same, found.unanswered) == (30, 2, 0, 0)
    assert (found.then.models, found.now.models) == ({"openai/big": 30}, {"openai/small": 30})
    assert found.then.cost_nusd == 30 * (big.cost_nusd or 0)
    assert found.metered_nusd == found.then.calibrated_nusd == 30 * ((big.cost_nusd or 0) * 3 // 2)
    # Of the cheap one nothing was metered: it is taken to be as far off as everybody was.
    assert small.cost_nusd is not None
    assert found.now.calibrated_nusd == pytest.approx(30 * small.cost_nusd * 1.5, rel=1e-3)
    assert found.then.quality is not None
    assert found.now.quality is not None
    assert found.then.quality > found.now.quality
    assert (found.metered, found.metered_p50_ms, found.score) == (30, 2_500.0, None)
    assert cheap.name == "openai/dark"


def test_the_same_policy_costs_what_was_metered() -> None:
    every = [asked(n) for n in range(3)]

    found = compared(turned(every, BEST))

    assert found.same == 3
    assert found.now.calibrated_nusd == found.metered_nusd


def test_scores_are_told_where_there_are_any() -> None:
    every = [replace(asked(n), feedback=((n * 1_000_000, 1_000_000),)) for n in range(2)]

    found = compared(turned(every, BEST))

    assert (found.score, found.scored) == (0.5, 2)


def test_the_same_replay_twice_is_the_same() -> None:
    every = [asked(n, policy=list(POLICIES.values())[n % len(POLICIES)]) for n in range(40)]

    for field in (None, WORLD):
        assert compared(turned(every, CHEAP, field)) == compared(turned(every, CHEAP, field))


def test_features_are_all_that_is_needed_of_a_request() -> None:
    assert kept_of(asked().decision).features == ASK
