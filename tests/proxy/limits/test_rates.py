"""Which limits apply to whom."""

from __future__ import annotations

import pytest

from proxy.call import Principal, Rates
from proxy.limits.rates import NONE, PLANS_MAX, Declared, Plan, RateBook
from proxy.stores.store import Limit
from tests.proxy.samples import PRINCIPAL

ANN = Principal(key_id="key_9", name="ann's", user="ann", team="red")


def rpm(amount: int) -> Rates:
    return Rates(requests_per_minute=amount)


def planned(book: RateBook, principal: Principal = PRINCIPAL, model: str = "m") -> Plan:
    plan = book.plan(principal, model)
    assert plan is not None
    return plan


def test_without_limits_there_is_no_plan() -> None:
    assert RateBook(Declared(), burst_s=60).plan(ANN, "m") is None


def test_each_owner_has_buckets_of_its_own() -> None:
    everything = Rates(requests_per_minute=1, tokens_per_minute=2, concurrent=3)
    declared = Declared(
        default=everything, gateway=rpm(4), users={"ann": rpm(5)}, teams={"red": rpm(6)}, models={"m": rpm(7), "n": rpm(8)}
    )

    plan = planned(RateBook(declared, burst_s=60), ANN)

    assert [(it.name, it.capacity, it.per_minute) for it in plan.limits] == [
        ("requests key:key_9", 1, 1),
        ("requests user:ann", 5, 5),
        ("requests team:red", 6, 6),
        ("requests model:m", 7, 7),
        ("requests global", 4, 4),
        ("concurrent key:key_9", 3, 0),
        ("tokens key:key_9", 2, 2),
    ]
    assert [plan.kind(index) for index in (4, 5, 6)] == ["requests", "concurrent", "tokens"]
    assert plan.owners[:5] == ("this API key", "the user 'ann'", "the team 'red'", "the model 'm'", "the whole gateway")


@pytest.mark.parametrize("name", ["alice", "key_1"])
def test_a_keys_own_rates_go_before_the_declared_and_those_before_the_default(name: str) -> None:
    declared = Declared(
        default=Rates(requests_per_minute=1, tokens_per_minute=1, concurrent=1),
        keys={name: Rates(tokens_per_minute=2, concurrent=2)},
    )
    principal = Principal(key_id="key_1", name="alice", rates=Rates(concurrent=3))

    plan = planned(RateBook(declared, burst_s=60), principal)

    assert [it.capacity for it in plan.limits] == [1, 3, 2]


def test_the_rates_of_a_user_that_change_apply_to_the_next_call() -> None:
    known = {"user:ann": rpm(5)}
    book = RateBook(Declared(), burst_s=60, rates_of=lambda scope: known.get(scope, NONE))
    before = planned(book, ANN)

    known["user:ann"] = rpm(9)

    assert [before.limits[0].capacity, planned(book, ANN).limits[0].capacity] == [5, 9]


def test_a_key_whose_rates_change_is_planned_anew() -> None:
    book = RateBook(Declared(), burst_s=60)
    first = planned(book, Principal(key_id="key_1", name="a", rates=rpm(1)))

    second = planned(book, Principal(key_id="key_1", name="a", rates=rpm(2)))

    assert [first.limits[0].capacity, second.limits[0].capacity] == [1, 2]


def test_a_plan_is_made_once() -> None:
    book = RateBook(Declared(default=rpm(1)), burst_s=60)

    assert planned(book) is planned(book)


def test_models_that_callers_make_up_do_not_fill_the_memory() -> None:
    book = RateBook(Declared(default=rpm(1)), burst_s=60)

    for number in range(PLANS_MAX + 10):
        book.plan(PRINCIPAL, f"m{number}")

    assert len(book._made) <= PLANS_MAX


@pytest.mark.parametrize(("burst_s", "capacity"), [(60, 100), (6, 10), (120, 200), (0.1, 1)])
def test_a_bucket_holds_as_many_seconds_worth_as_a_burst_and_at_least_one(burst_s: float, capacity: int) -> None:
    plan = planned(RateBook(Declared(default=rpm(100)), burst_s=burst_s))

    assert plan.limits == (Limit(name="requests key:key_1", capacity=capacity, per_minute=100),)


def test_a_request_takes_one_of_each_and_its_tokens_up_to_what_the_bucket_holds() -> None:
    declared = Declared(
        default=Rates(requests_per_minute=9, tokens_per_minute=50, concurrent=9), gateway=Rates(tokens_per_minute=500)
    )
    plan = planned(RateBook(declared, burst_s=60))

    assert plan.amounts(200) == (1, 1, 50, 200)
    assert plan.amounts(0) == (1, 1, 1, 1)


def test_at_the_end_the_place_and_unused_tokens_go_back_and_the_request_if_it_does_not_count() -> None:
    declared = Declared(default=Rates(requests_per_minute=9, tokens_per_minute=50, concurrent=9))
    plan = planned(RateBook(declared, burst_s=60))

    assert plan.settled((1, 1, 50), used=20, counts=True) == (0, 1, 30)
    assert plan.settled((1, 1, 50), used=70, counts=True) == (0, 1, -20)
    assert plan.settled((1, 1, 50), used=0, counts=False) == (1, 1, 50)
