"""The limit of an account follows its refusals and its latency, and comes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.limits.adaptive import BASELINES_MAX, BORNE_S, CUT_PAUSE_S, SLOW_S, Adaptive, Baselines, Bounds

BOUNDS = Bounds(least=4, most=1_000, slow_ratio=3.0)


def answer(adaptive: Adaptive, slowness: float, *, in_flight: int, now_s: float, seconds: float = 1.0) -> float:
    """A hundred answers a second for a while.  Returns the time then."""
    for _ in range(round(seconds * 100)):
        now_s += 0.01
        adaptive.answered(slowness, sent_in=in_flight, in_flight=in_flight, now_s=now_s)
    return now_s


def test_nothing_is_held_back_without_a_reason() -> None:
    adaptive = Adaptive(BOUNDS)

    answer(adaptive, 1.0, in_flight=900, now_s=0.0, seconds=10)

    assert (adaptive.limit, adaptive.is_lowered) == (1_000, False)


def test_a_refusal_cuts_what_was_really_under_way() -> None:
    adaptive = Adaptive(BOUNDS)

    adaptive.refused(in_flight=100, now_s=10.0)

    assert (adaptive.limit, adaptive.is_lowered) == (70, True)


def test_a_refusal_of_one_of_a_few_says_nothing_of_how_many_there_may_be() -> None:
    adaptive = Adaptive(BOUNDS)

    adaptive.refused(in_flight=BOUNDS.least - 1, now_s=10.0)
    after_a_few = adaptive.limit
    adaptive.refused(in_flight=BOUNDS.least, now_s=10.1)

    assert (after_a_few, adaptive.limit) == (BOUNDS.most, BOUNDS.least)


def test_refusals_of_what_was_sent_before_a_cut_do_not_cut_again() -> None:
    adaptive = Adaptive(BOUNDS)

    for number in range(50):
        adaptive.refused(in_flight=100, now_s=10.0 + number / 1_000)
    at_once = adaptive.limit
    adaptive.refused(in_flight=70, now_s=10.0 + CUT_PAUSE_S)

    assert (at_once, adaptive.limit) == (70, 49)


def test_it_grows_back_while_it_is_used() -> None:
    adaptive = Adaptive(BOUNDS)
    adaptive.refused(in_flight=20, now_s=0.0)

    answer(adaptive, 1.0, in_flight=1_000, now_s=0.0, seconds=30)

    assert adaptive.limit == 1_000


def test_it_does_not_grow_while_nobody_needs_it() -> None:
    adaptive = Adaptive(BOUNDS)
    adaptive.refused(in_flight=100, now_s=0.0)

    answer(adaptive, 1.0, in_flight=10, now_s=0.0, seconds=30)

    assert adaptive.limit == 70


def test_answers_that_are_several_times_slower_lower_it() -> None:
    adaptive = Adaptive(BOUNDS)

    answer(adaptive, 10.0, in_flight=200, now_s=0.0, seconds=SLOW_S + 1)

    assert adaptive.limit < 150


def test_a_while_of_slow_answers_does_not() -> None:
    adaptive = Adaptive(BOUNDS)

    now_s = 0.0
    for _ in range(20):
        now_s = answer(adaptive, 10.0, in_flight=200, now_s=now_s, seconds=SLOW_S - 0.5)
        now_s = answer(adaptive, 1.0, in_flight=20, now_s=now_s, seconds=0.5)

    assert adaptive.limit == 1_000


def test_it_is_not_lowered_for_slowness_below_what_the_account_has_borne() -> None:
    adaptive = Adaptive(BOUNDS)
    now_s = answer(adaptive, 1.0, in_flight=150, now_s=0.0)

    now_s = answer(adaptive, 10.0, in_flight=200, now_s=now_s, seconds=60)
    after_a_minute = adaptive.limit
    answer(adaptive, 10.0, in_flight=200, now_s=now_s + 2 * BORNE_S)

    assert after_a_minute == 150


def test_what_an_account_has_borne_is_forgotten_after_a_while() -> None:
    adaptive = Adaptive(BOUNDS)
    now_s = answer(adaptive, 1.0, in_flight=150, now_s=0.0)
    for _ in range(3):
        now_s = answer(adaptive, 1.0, in_flight=20, now_s=now_s + BORNE_S)

    answer(adaptive, 10.0, in_flight=200, now_s=now_s, seconds=60)

    assert adaptive.limit == 20


def test_a_refusal_cuts_below_what_the_account_has_borne() -> None:
    adaptive = Adaptive(BOUNDS)
    now_s = answer(adaptive, 1.0, in_flight=150, now_s=0.0)

    adaptive.refused(in_flight=150, now_s=now_s)
    cut = adaptive.limit
    answer(adaptive, 10.0, in_flight=105, now_s=now_s, seconds=60)

    assert (cut, adaptive.limit) == (105, 105)


def test_answers_that_are_a_little_slower_do_not() -> None:
    adaptive = Adaptive(BOUNDS)

    answer(adaptive, 2.9, in_flight=200, now_s=0.0, seconds=10)

    assert adaptive.limit == 1_000


def test_a_few_slow_answers_among_many_do_not() -> None:
    adaptive = Adaptive(BOUNDS)

    for number in range(1_000):
        adaptive.answered(50.0 if number % 3 == 0 else 1.0, sent_in=200, in_flight=200, now_s=number / 100)

    assert adaptive.limit == 1_000


def test_without_a_ratio_latency_does_not_matter() -> None:
    adaptive = Adaptive(Bounds(least=4, most=1_000, slow_ratio=0))

    answer(adaptive, 100.0, in_flight=200, now_s=0.0, seconds=5)

    assert adaptive.limit == 1_000


@given(st.lists(st.tuples(st.booleans(), st.floats(1, 100), st.integers(1, 5_000), st.floats(0, 5)), max_size=200))
def test_it_keeps_its_bounds_whatever_happens(events: list[tuple[bool, float, int, float]]) -> None:
    adaptive = Adaptive(BOUNDS)
    now_s = 0.0

    for refused, slowness, in_flight, passed_s in events:
        now_s += passed_s
        if refused:
            adaptive.refused(in_flight=in_flight, now_s=now_s)
        else:
            adaptive.answered(slowness, sent_in=in_flight, in_flight=in_flight, now_s=now_s)

        assert BOUNDS.least <= adaptive.limit <= BOUNDS.most


def test_it_finds_what_a_queueing_upstream_can_do() -> None:
    """An upstream that works on 50 at once and lets the others wait: 0.1 s each, and 500 want to be under way."""
    capacity, service_s, demand = 50, 0.1, 500
    adaptive, baselines = Adaptive(BOUNDS), Baselines()
    now_s, done = 0.0, 0
    baselines.slowness(("m", True), service_s, now_s)

    seen = []
    while now_s < 60:
        in_flight = min(adaptive.limit, demand)
        latency_s = service_s * max(1.0, in_flight / capacity)
        rate = min(in_flight, capacity) / service_s
        now_s += 1 / rate
        done += 1
        slowness = baselines.slowness(("m", True), latency_s, now_s)
        adaptive.answered(slowness, sent_in=in_flight, in_flight=in_flight, now_s=now_s)
        seen.append(adaptive.limit)

    # The latency stays near the ratio, the upstream never idles.
    last = seen[len(seen) // 2 :]
    assert min(last) >= capacity
    assert max(last) <= capacity * BOUNDS.slow_ratio * 1.5


def test_a_faster_answer_is_the_new_baseline_at_once_and_a_slower_one_only_by_and_by() -> None:
    baselines = Baselines()
    kind = ("m", True)
    baselines.slowness(kind, 1.0, 0.0)

    slower = baselines.slowness(kind, 4.0, 1.0)
    faster = baselines.slowness(kind, 0.5, 2.0)
    after = baselines.slowness(kind, 1.0, 3.0)
    an_hour_later = baselines.slowness(kind, 1.0, 3_603.0)

    assert (round(slower, 1), faster, round(after, 1), an_hour_later) == (4.0, 1.0, 2.0, 1.0)


def test_what_this_process_was_late_is_not_the_accounts() -> None:
    baselines = Baselines()
    kind = ("m", True)
    baselines.slowness(kind, 1.0, 0.0)

    slow = baselines.slowness(kind, 9.0, 1.0, own_s=8.0)
    faster_than_it_was = baselines.slowness(kind, 1.0, 2.0, own_s=0.9)
    after = baselines.slowness(kind, 2.0, 3.0)

    assert (round(slow, 1), faster_than_it_was, round(after, 1)) == (1.0, 1.0, 2.0)


def test_models_are_not_compared_with_each_other_nor_streams_with_whole_answers() -> None:
    baselines = Baselines()
    baselines.slowness(("fast", True), 0.1, 0.0)

    assert baselines.slowness(("slow", True), 5.0, 0.0) == 1.0
    assert baselines.slowness(("fast", False), 5.0, 0.0) == 1.0


def test_baselines_stay_few() -> None:
    baselines = Baselines()

    for number in range(BASELINES_MAX * 2):
        baselines.slowness((f"m{number}", True), 1.0, 0.0)

    assert len(baselines._known) <= BASELINES_MAX
