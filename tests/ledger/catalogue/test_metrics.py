"""The catalogue of metrics, and what may be written."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.catalogue.metrics import CAPABILITIES, DAY_US, METRICS, MINUTE_US, check, decayed, grain_us
from ledger.facts import Reading, Subject

NOON_US = 20_000 * DAY_US


def reading(**changes: Any) -> Reading:
    fields = {
        "source": "a source",
        "source_version": "1",
        "subject": Subject(source_name="gpt-5"),
        "metric": "gpqa_diamond",
        "value": 0.8,
        "unit": "fraction",
        "observed_at_us": NOON_US,
        "fetched_at_us": NOON_US,
    }
    return Reading(**{**fields, **changes})


def test_the_catalogue_has_every_row_and_no_name_twice() -> None:
    numbers = {metric.number for metric in METRICS.values()}

    assert numbers == set(range(1, 107))
    assert all(name == metric.name for name, metric in METRICS.items())


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda it: it.name)
def test_a_metric_has_bounds_a_half_life_and_a_unit_that_its_name_does_not_contradict(metric: Any) -> None:
    assert metric.low <= metric.high
    assert metric.half_life_days > 0
    assert metric.fields
    assert (metric.unit == "elo") == (metric.name.endswith("_elo") or metric.name.startswith("arena_"))
    assert not metric.versioned or metric.unit in ("points", "elo")
    assert metric.higher_is_better is not None or metric.unit in ("bool", "set", "text", "tokens")


def test_what_is_no_number_comes_as_a_fact() -> None:
    assert "a model carry it" in str(check(reading(metric="modalities_in", value=0.0, unit="set")))
    assert "a model carry it" in str(check(reading(metric="confidence")))


def test_a_reading_that_is_as_the_catalogue_says_is_kept() -> None:
    assert check(reading()) is None
    assert check(reading(value=0.0)) is None
    assert check(reading(value=1.0, n=0, confidence=0.0)) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric": "charm"}, "no such metric"),
        ({"unit": "points"}, "the unit is 'points', not 'fraction'"),
        ({"unit": ""}, "the unit is"),
        ({"value": 80.0}, "80.0 is not between 0 and 1 fraction"),
        ({"value": -0.01}, "is not between"),
        ({"value": math.nan}, "nan is not between"),
        ({"value": math.inf}, "inf is not between"),
        ({"metric": "output_tps_p50", "unit": "tok/s", "value": 0.0}, "0.0 is not between"),
        ({"metric": "ttft_p50", "unit": "s", "value": 0.5}, "the unit is 's', not 'ms'"),
        ({"confidence": 1.1}, "the confidence 1.1"),
        ({"confidence": math.nan}, "the confidence nan"),
        ({"n": -1}, "-1 samples"),
        ({"observed_at_us": 0}, "no time"),
        ({"observed_at_us": NOON_US + DAY_US + 1}, "more than a day after"),
    ],
)
def test_a_reading_that_cannot_be_true_is_refused_with_a_reason(changes: dict[str, Any], said: str) -> None:
    problem = check(reading(**changes))

    assert said in str(problem)
    assert str(problem).startswith("a source: ")


def test_a_zero_that_a_source_writes_for_missing_is_refused_where_it_cannot_be() -> None:
    for metric in ("output_tps_p50", "ttft_p50", "e2e_p50", "context_window"):
        assert check(reading(metric=metric, unit=METRICS[metric].unit, value=0.0))


def test_confidence_is_halved_by_each_half_life() -> None:
    half_life_us = 180 * DAY_US

    assert decayed(0.8, metric="gpqa_diamond", age_us=0) == 0.8
    assert decayed(0.8, metric="gpqa_diamond", age_us=half_life_us) == pytest.approx(0.4)
    assert decayed(0.8, metric="gpqa_diamond", age_us=3 * half_life_us) == pytest.approx(0.1)
    assert decayed(0.8, metric="gpqa_diamond", age_us=-5) == 0.8


@given(st.sampled_from(sorted(METRICS)), st.integers(0, 10**17), st.integers(0, 10**17))
def test_confidence_never_rises_with_age(metric: str, age_us: int, more_us: int) -> None:
    assert decayed(1.0, metric=metric, age_us=age_us + more_us) <= decayed(1.0, metric=metric, age_us=age_us) <= 1


def test_what_changes_fast_is_kept_more_finely() -> None:
    assert grain_us("gpqa_diamond") == DAY_US
    assert grain_us("uptime_external") == MINUTE_US
    assert MINUTE_US < grain_us("output_tps_p50") < DAY_US


def test_capabilities_are_words_without_doubles() -> None:
    assert len(set(CAPABILITIES)) == len(CAPABILITIES)
