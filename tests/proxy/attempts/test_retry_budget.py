"""Retries are a share of the requests, whatever happens."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from proxy.attempts.retry_budget import BUCKETS, BudgetRules, RetryBudget

RULES = BudgetRules(ratio=0.2, floor=3, window_s=10.0)


def taken(budget: RetryBudget, times: int, now_s: float = 100.0) -> int:
    return sum(budget.take(now_s) is not None for _ in range(times))


def test_a_few_are_always_there() -> None:
    assert taken(RetryBudget(RULES), 10) == 3


def test_beyond_them_it_is_a_share_of_the_requests() -> None:
    budget = RetryBudget(RULES)
    for _ in range(100):
        budget.request(100.0)

    assert taken(budget, 100) == 23


def test_what_was_answered_is_given_back() -> None:
    budget = RetryBudget(RULES)

    for _ in range(1000):
        receipt = budget.take(100.0)
        assert receipt is not None
        budget.give_back(receipt)

    assert taken(budget, 10) == 3


def test_after_the_window_it_is_whole_again() -> None:
    budget = RetryBudget(RULES)
    taken(budget, 10)

    assert [taken(budget, 10, now_s) for now_s in (108.0, 111.0)] == [0, 3]


def test_what_is_given_back_too_late_is_counted_no_more() -> None:
    budget = RetryBudget(RULES)
    receipt = budget.take(100.0)
    assert receipt is not None
    taken(budget, 10, 120.0)

    budget.give_back(receipt)

    assert taken(budget, 10, 120.0) == 0


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from(("request", "retry", "retry", "answered"))), max_size=300))
def test_there_are_never_more_in_vain_than_the_share_of_the_window_and_the_floor(story: list[tuple[float, str]]) -> None:
    budget = RetryBudget(RULES)
    now_s = 1000.0
    requests: deque[float] = deque()
    retries: dict[int, tuple[float, int]] = {}

    for number, (passed_s, what) in enumerate(story):
        now_s += passed_s
        if what == "request":
            budget.request(now_s)
            requests.append(now_s)
        elif what == "retry" and (receipt := budget.take(now_s)) is not None:
            retries[number] = (now_s, receipt)
            # One bucket less than the window is certainly counted, the whole window at most.
            lately = sum(at_s > now_s - RULES.window_s * (1 - 1 / BUCKETS) for at_s, _ in retries.values())
            assert lately <= RULES.floor + RULES.ratio * sum(at_s >= now_s - RULES.window_s - 1 for at_s in requests) + 1e-9
        elif what == "answered" and retries:
            budget.give_back(retries.pop(max(retries))[1])
