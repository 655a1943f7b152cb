"""Live metrics of offers."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.live import WINDOWS, LiveMetrics, Sample, Value
from ledger.live.metrics import ENOUGH, OFFERS_MAX, TASK_ENOUGH, TASKS_MAX

NOW = 1_800_000_000.0


class Clock:
    """A wall clock that is set by hand."""

    now_s = NOW

    def __call__(self) -> float:
        return self.now_s


def live() -> LiveMetrics:
    return LiveMetrics(lambda: NOW)


def sample(offer: str = "acme/gpt", outcome: str = "ok", **fields: Any) -> Sample:
    known = {"e2e_ms": 1_100.0, "ttft_ms": 100.0, "input_tokens": 80, "cached_tokens": 20, "output_tokens": 50}
    return Sample(offer=offer, outcome=outcome, **{**known, "cost_nusd": 2_000_000, **fields})


def test_an_answer_is_measured() -> None:
    metrics = live()

    for _ in range(4):
        metrics.observe(sample())

    values = metrics.values("acme/gpt", "5m")
    assert values["ttft_p50"].value == pytest.approx(100, rel=0.05)
    assert values["e2e_p95"].value == pytest.approx(1_100, rel=0.05)
    assert values["output_tps_p50"].value == pytest.approx(50, rel=0.05)
    assert values["itl_p95"].value == pytest.approx(1000 / 49, rel=0.05)
    assert values["tokens_out_per_answer"] == Value(50.0, 4)
    assert values["cache_hit_rate"] == Value(0.25, 4)
    assert values["effective_cost_per_task"] == Value(0.002, 4)
    assert values["effective_cost_per_mtok"].value == pytest.approx(2_000_000 / 130 / 1e3)


def test_failures_are_told_apart() -> None:
    metrics = live()

    for outcome in ("ok", "ok", "limited", "broken", "late"):
        metrics.observe(sample(outcome=outcome))

    values = metrics.values("acme/gpt", "1h")
    rates = {name: values[name].value for name in ("success_rate", "rate_429", "rate_5xx", "rate_timeout")}
    assert rates == {"success_rate": 0.4, "rate_429": 0.2, "rate_5xx": 0.2, "rate_timeout": 0.2}
    assert values["tokens_out_per_answer"].n == 2


def test_a_key_that_was_refused_is_no_success_and_no_5xx() -> None:
    metrics = live()

    for outcome in ("ok", "refused"):
        metrics.observe(sample(outcome=outcome))

    values = metrics.values("acme/gpt", "1h")
    assert (values["success_rate"].value, values["rate_5xx"].value) == (0.5, 0.0)
    assert metrics.tally(("acme/gpt",), "1h").refused == 1


def test_what_failed_tries_cost_is_part_of_what_an_answer_costs() -> None:
    metrics = live()

    for outcome in ("ok", "broken", "ok", "late"):
        metrics.observe(sample(outcome=outcome))

    values = metrics.values("acme/gpt", "1h")
    assert values["effective_cost_per_task"] == Value(0.004, 2)
    assert values["effective_cost_per_mtok"].value == pytest.approx(8_000_000 / 260 / 1e3)


def test_answers_whose_tokens_nobody_told_make_no_answer_shorter() -> None:
    metrics = live()

    metrics.observe(sample())
    metrics.observe(sample(input_tokens=None, cached_tokens=None, output_tokens=None, cost_nusd=None))

    values = metrics.values("acme/gpt", "1h")
    assert values["tokens_out_per_answer"] == Value(50.0, 1)
    assert values["effective_cost_per_task"] == Value(0.002, 1)


# --- which window speaks -----------------------------------------------------------------------------------------------


def test_the_shortest_window_with_enough_samples_speaks() -> None:
    clock = Clock()
    metrics = LiveMetrics(clock)
    for _ in range(3 * ENOUGH):
        metrics.observe(sample(ttft_ms=100.0))
    clock.now_s += 1_800
    for _ in range(ENOUGH):
        metrics.observe(sample(ttft_ms=900.0))

    best = metrics.best(["acme/gpt"])

    assert (best["ttft_p50"].value, best["ttft_p50"].n) == (pytest.approx(900, rel=0.05), ENOUGH)
    assert best["success_rate"].n == ENOUGH


def test_too_few_samples_are_joined_by_those_of_longer_windows() -> None:
    clock = Clock()
    metrics = LiveMetrics(clock)
    for _ in range(3 * ENOUGH):
        metrics.observe(sample(ttft_ms=100.0))
    clock.now_s += 1_800
    for _ in range(ENOUGH - 1):
        metrics.observe(sample(ttft_ms=900.0))

    best = metrics.best(["acme/gpt"])

    assert (best["ttft_p50"].value, best["ttft_p50"].n) == (pytest.approx(100, rel=0.05), 4 * ENOUGH - 1)


def test_each_metric_has_the_window_that_its_own_samples_fill() -> None:
    clock = Clock()
    metrics = LiveMetrics(clock)
    metrics.observe(sample(ttft_ms=100.0))
    clock.now_s += 1_800
    for _ in range(ENOUGH):
        metrics.observe(sample(ttft_ms=None))

    best = metrics.best(["acme/gpt"])

    assert (best["ttft_p50"].n, best["e2e_p50"].n) == (1, ENOUGH)


def test_offers_together_are_all_their_samples_in_every_window() -> None:
    clock = Clock()
    metrics = LiveMetrics(clock)
    for _ in range(5):
        metrics.observe(sample("acme/gpt", ttft_ms=100.0))
        metrics.observe(sample("other/gpt", ttft_ms=900.0))
    clock.now_s += 7_200
    metrics.observe(sample("acme/gpt", ttft_ms=900.0))

    best = metrics.best(["acme/gpt", "other/gpt", "nobody/gpt"])

    assert best["ttft_p50"].n == 11
    assert best["ttft_p90"].value == pytest.approx(900, rel=0.05)
    assert metrics.tally(["acme/gpt", "other/gpt"], "7d").ok == 11
    assert metrics.tally(["acme/gpt", "other/gpt"], "1h").ok == 1


def test_nobodys_offers_have_no_metrics() -> None:
    assert (live().best([]), live().best(["nobody/gpt"])) == ({}, {})


# --- kinds of task -----------------------------------------------------------------------------------------------------


def test_answers_to_a_kind_of_task_have_a_length_of_their_own() -> None:
    metrics = live()
    for _ in range(TASK_ENOUGH):
        metrics.observe(sample(output_tokens=900, task="coding"))
        metrics.observe(sample(output_tokens=100, task="math"))

    assert metrics.tokens_out("acme/gpt", "coding") == Value(900.0, TASK_ENOUGH)
    assert metrics.values("acme/gpt", "5m")["tokens_out_per_answer"].value == 500.0


def test_too_few_answers_to_a_kind_of_task_have_no_length_of_their_own() -> None:
    metrics = live()
    for _ in range(TASK_ENOUGH - 1):
        metrics.observe(sample(task="coding"))
    metrics.observe(sample(task="coding", outcome="broken"))
    metrics.observe(sample(task="coding", output_tokens=None))

    assert metrics.tokens_out("acme/gpt", "coding") is None
    assert metrics.tokens_out("acme/gpt", "math") is None


def test_kinds_of_task_are_bounded() -> None:
    metrics = live()
    for number in range(TASKS_MAX + 10):
        metrics.observe(sample(task=f"kind {number}"))

    assert len(metrics.tasks()) == TASKS_MAX


# --- forgetting and keeping --------------------------------------------------------------------------------------------


def test_whom_nobody_heard_of_for_a_week_is_forgotten() -> None:
    clock = Clock()
    metrics = LiveMetrics(clock)
    metrics.observe(sample("acme/old", task="coding"))
    clock.now_s += 700_000
    metrics.observe(sample("acme/new"))

    metrics.forget_old()

    assert (metrics.offers(), metrics.tasks()) == (["acme/new"], [])
    assert (metrics.heard_s("acme/new"), metrics.heard_s("acme/old")) == (NOW + 700_000, None)


def test_what_has_changed_is_told() -> None:
    metrics = live()
    metrics.observe(sample("acme/gpt"))
    metrics.changed.clear()

    metrics.observe(sample("acme/other"))

    assert metrics.changed == {"acme/other"}


def test_what_is_not_known_is_missing() -> None:
    metrics = live()
    unknown = {"ttft_ms": None, "input_tokens": None, "cached_tokens": None, "output_tokens": None, "cost_nusd": None}

    metrics.observe(sample(**unknown))

    assert {"ttft_p50", "output_tps_p50", "cache_hit_rate", "effective_cost_per_task"}.isdisjoint(
        metrics.values("acme/gpt", "5m")
    )


def test_an_offer_that_nobody_asked_has_no_values() -> None:
    assert live().values("acme/gpt", "7d") == {}


def test_truncated_answers_are_counted_among_answers() -> None:
    metrics = live()
    metrics.observe(sample(truncated=True))
    metrics.observe(sample())
    metrics.observe(sample(outcome="late"))

    assert metrics.values("acme/gpt", "5m")["truncation_rate"] == Value(0.5, 2)


def test_offers_are_bounded_and_the_one_not_heard_of_goes_first() -> None:
    metrics = live()
    for number in range(OFFERS_MAX + 10):
        metrics.observe(sample(f"acme/{number}"))
        metrics.observe(sample("acme/steady"))

    assert len(metrics.offers()) == OFFERS_MAX
    assert "acme/steady" in metrics.offers()
    assert "acme/0" not in metrics.offers()


def test_what_was_dumped_is_there_again() -> None:
    metrics = live()
    for number in range(50):
        metrics.observe(sample(f"acme/{number % 3}", e2e_ms=100.0 + number, task="coding"))

    again = live()
    again.load(metrics.dump())

    assert (again.offers(), again.tasks()) == (metrics.offers(), metrics.tasks())
    assert again.changed == set(metrics.offers())
    assert again.heard_s("acme/0") == metrics.heard_s("acme/0")
    assert again.tokens_out("acme/0", "coding") == metrics.tokens_out("acme/0", "coding")
    for offer in metrics.offers():
        assert [again.values(offer, it) for it in WINDOWS] == [metrics.values(offer, it) for it in WINDOWS]


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"nonsense", b"[]", b"{}", b'{"version":2}', b"\xff", b'{"version":1}\n{}'),
        *(b'{"version":1}\n{"kind":"offer","offer":"a"}', b'{"version":1}\n' + b"[" * 100_000),
        b'{"version":1}\n{"kind":"offer","offer":"a","last_s":0,"slices":[]}',
        b'{"version":1}\n{"kind":"offer","offer":"a","last_s":0,"slices":[[[1,{"tries":-1}]],[],[],[]]}',
        b'{"version":1}\n{"kind":"offer","offer":"a","last_s":0,"slices":[[[1,{"e2e_ms":{"bins":{"9999":1}}}]],[],[],[]]}',
        b'{"version":1}\n{"kind":"task","offer":"a","task":"b","last_s":0,"slices":[]}',
    ],
)
def test_what_is_no_dump_is_refused_and_changes_nothing(data: bytes) -> None:
    metrics = live()
    metrics.observe(sample())

    with pytest.raises(ValueError):
        metrics.load(data)

    assert metrics.offers() == ["acme/gpt"]
