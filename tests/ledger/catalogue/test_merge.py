"""Which value counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.catalogue.merge import ORDER, Priority, StatedFact, blend, merge, merge_models
from ledger.catalogue.metrics import DAY_US, grain_us
from ledger.facts import ModelFact, Observation, Subject
from tests.ledger.catalogue.observed import MODEL, NOON_US, seen

DEFAULT = Priority()


def value(*observations: Observation, metric: str = "gpqa_diamond", priority: Priority = DEFAULT) -> float | None:
    found = merge(observations, priority).scores.get(MODEL, {}).get(metric)
    return None if found is None else found.value


def test_the_default_order_is_the_designs() -> None:
    wanted = ["override", "live", "artificial_analysis", "openrouter", "manual", "bundled"]

    assert [source for source in ORDER if source in wanted] == wanted


def test_the_source_that_counts_most_is_taken_however_old_it_is() -> None:
    assert value(seen(0.1, source="openrouter", days=300), seen(0.2), seen(0.3, source="bundled")) == 0.2
    assert value(seen(0.2), seen(0.9, source="override", days=-900)) == 0.9


def test_of_one_source_the_latest_counts_whenever_it_came_in() -> None:
    assert value(seen(0.3, days=2), seen(0.1), seen(0.2, days=1)) == 0.3


def test_a_source_that_nobody_ranked_comes_last_and_ties_go_by_name() -> None:
    assert value(seen(0.1, source="zeta"), seen(0.2, source="alpha"), seen(0.3, source="bundled")) == 0.3
    assert value(seen(0.1, source="zeta"), seen(0.2, source="alpha")) == 0.2


def test_a_kind_of_source_ranks_all_of_its_kind() -> None:
    assert value(seen(0.1, source="harness:inspect"), seen(0.2)) == 0.1


def test_the_order_is_configuration_also_for_one_metric_or_group() -> None:
    both = (seen(0.1), seen(0.2, source="openrouter"))
    slow = tuple(seen(ms, "ttft_p50", source=source) for source, ms in (("artificial_analysis", 100.0), ("openrouter", 900.0)))

    assert value(*both, priority=Priority(order=("openrouter",))) == 0.2
    assert value(*both, priority=Priority(of={"gpqa_diamond": ("openrouter",)})) == 0.2
    assert value(*both, priority=Priority(of={"speed": ("openrouter",)})) == 0.1
    assert value(*slow, metric="ttft_p50", priority=Priority(of={"speed": ("openrouter",)})) == 900.0


def test_fields_are_chosen_one_by_one() -> None:
    found = merge([seen(0.1), seen(0.2, "hle", source="openrouter"), seen(0.3, source="openrouter")], DEFAULT).scores[MODEL]

    assert {metric: (score.value, score.source) for metric, score in found.items()} == {
        "gpqa_diamond": (0.1, "artificial_analysis"),
        "hle": (0.2, "openrouter"),
    }


def test_what_nobody_says_is_missing() -> None:
    assert value(seen(0.1), metric="hle") is None


def test_a_source_can_take_back_what_it_said() -> None:
    gone = seen(0.9, source="override", days=1, confidence=0.0)

    assert value(seen(0.2), seen(0.9, source="override"), gone) == 0.2
    assert value(seen(0.2, source="override", days=2), gone) == 0.2
    assert value(gone) is None


def test_versions_of_an_index_are_never_mixed() -> None:
    old = seen(60.2, "intelligence_index", source_version="v3")
    new = seen(54.8, "intelligence_index", source_version="v4", days=90)
    only_old = seen(70.0, "intelligence_index", source_version="v3", variant="openai/gpt-4", days=91)

    found = merge([new, old, only_old], DEFAULT)

    assert found.scales == {"intelligence_index": "v3"}
    assert found.scores[MODEL]["intelligence_index"].value == 60.2
    found = merge([new, old, only_old, seen(1.0, "intelligence_index", variant="x", source_version="v4", days=92)], DEFAULT)
    assert found.scales == {"intelligence_index": "v4"}
    assert found.scores[MODEL]["intelligence_index"].value == 54.8
    assert "openai/gpt-4" not in found.scores
    assert found.conflicts == ()


def test_another_sources_index_is_another_scale_unless_it_says_it_is_the_same() -> None:
    mine = seen(50.0, "intelligence_index", source_version="v4")
    theirs = seen(55.0, "intelligence_index", source="openrouter", variant="openai/gpt-4", days=9)
    same = seen(56.0, "intelligence_index", source="openrouter", source_version="v4", variant="openai/gpt-3", days=9)

    found = merge([mine, theirs, same], DEFAULT).scores

    assert set(found) == {MODEL, "openai/gpt-3"}


def test_an_operators_word_is_for_the_scale_that_counts() -> None:
    found = value(
        seen(50.0, "intelligence_index", source_version="v4"),
        seen(77.0, "intelligence_index", source="override"),
        metric="intelligence_index",
    )

    assert found == 77.0


def test_an_index_that_only_an_operator_knows_counts_too() -> None:
    assert value(seen(77.0, "intelligence_index", source="override"), metric="intelligence_index") == 77.0


def test_where_sources_disagree_it_is_listed_and_not_averaged() -> None:
    found = merge([seen(0.80), seen(0.60, source="openrouter"), seen(0.801, source="manual")], DEFAULT)

    (conflict,) = found.conflicts
    assert found.scores[MODEL]["gpqa_diamond"].value == 0.80
    assert conflict.counts.value == 0.80
    assert [(it.source, it.value) for it in conflict.others] == [("openrouter", 0.60)]


def test_a_limit_that_differs_at_all_is_a_conflict() -> None:
    found = merge([seen(200_000.0, "context_window"), seen(200_001.0, "context_window", source="litellm")], DEFAULT)

    assert len(found.conflicts) == 1


def test_confidence_falls_with_age_and_the_value_stays() -> None:
    score = merge([seen(0.8)], DEFAULT).scores[MODEL]["gpqa_diamond"]

    assert score.confidence == 0.9
    assert score.confidence_at(score.observed_at_us + 180 * DAY_US) == pytest.approx(0.45)


def test_times_are_kept_to_the_grain_of_their_metric() -> None:
    score = merge([seen(0.8)], DEFAULT).scores[MODEL]["gpqa_diamond"]

    assert NOON_US - grain_us("gpqa_diamond") < score.observed_at_us <= NOON_US
    assert score.observed_at_us % grain_us("gpqa_diamond") == 0


def test_an_offers_value_is_the_offers() -> None:
    found = merge([seen(100.0, "ttft_p50"), seen(300.0, "ttft_p50", offer=f"{MODEL}@azure")], DEFAULT).scores

    assert (found[MODEL]["ttft_p50"].value, found[f"{MODEL}@azure"]["ttft_p50"].value) == (100.0, 300.0)


@given(st.floats(0, 1), st.integers(0, 10_000), st.floats(0, 1))
def test_live_values_take_over_as_samples_come(live: float, n: int, prior: float) -> None:
    blended = blend(live, n, prior, metric="success_rate")

    assert blended == pytest.approx((n * live + 25 * prior) / (n + 25))
    assert min(live, prior) - 1e-9 <= blended <= max(live, prior) + 1e-9


def test_quality_takes_more_samples_to_move_and_without_a_prior_the_live_value_is_it() -> None:
    assert blend(1.0, 200, 0.0, metric="live_pass_rate") == 0.5
    assert blend(1.0, 25, 0.0, metric="ttft_p50") == 0.5
    assert blend(0.3, 1, None, metric="ttft_p50") == 0.3


def stated(source: str, *, plan: str = "", at_us: int = 1, **fields: object) -> StatedFact:
    fact = ModelFact(subject=Subject(source_name="gpt-5", label=str(fields.pop("label", ""))), **fields)  # type: ignore[arg-type]  # a test's own
    return StatedFact(source=source, model=MODEL, plan=plan, fetched_at_us=at_us, fact=fact)


def test_what_is_known_of_a_model_is_chosen_field_by_field_with_its_source() -> None:
    model = merge_models(
        [
            stated("models_dev", context_tokens=400_000, released="2025-08-07"),
            stated("openrouter", context_tokens=399_000, label="GPT-5", capabilities=("tools",)),
            stated("openrouter", context_tokens=8_000, output_max_tokens=9, plan="free", at_us=2),
        ],
        DEFAULT,
    )[MODEL]

    assert (model.context_tokens, model.released, model.label, model.output_max_tokens) == (399_000, "2025-08-07", "GPT-5", 9)
    assert model.capabilities == ("tools",)
    assert model.sources["context_tokens"] == "openrouter"
    assert model.sources["released"] == "models_dev"
