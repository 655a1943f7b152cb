"""An account that has spent its day's share is passed over until midnight."""

from __future__ import annotations

from proxy.attempts.spending import DAY_US, Spending
from proxy.errors import NoHealthyUpstream
from tests.proxy.samples import call, deployment

CAPPED = deployment("a/gpt", account="capped")
OTHER_MODEL = deployment("a/mini", account="capped")
FREE = deployment("a/gpt", account="free")
NOON_US = 20_000 * DAY_US + DAY_US // 2


class Day:
    now_us = NOON_US

    def clock_us(self) -> int:
        return self.now_us


def spending(day: Day, spent: int = 0) -> Spending:
    return Spending({("a", "capped"): 1000}, spent_nusd={("a", "capped"): spent, ("a", "free"): 9}, clock_us=day.clock_us)


def test_up_to_its_share_an_account_is_asked_and_beyond_it_not() -> None:
    day = Day()
    spent = spending(day)

    before = spent.enter(call(), 1, CAPPED)
    spent.charge(CAPPED, 600, day.now_us)
    spent.charge(OTHER_MODEL, 400, day.now_us)

    assert before
    assert [spent.enter(call(), 1, it) for it in (CAPPED, OTHER_MODEL, FREE)] == [False, False, True]
    assert spent.ready_in_s(call(), CAPPED) == 43_200


def test_what_it_had_spent_before_the_start_counts() -> None:
    assert not spending(Day(), 1000).enter(call(), 1, CAPPED)


def test_an_unknown_price_counts_nothing() -> None:
    day = Day()
    spent = spending(day, 999)

    spent.charge(CAPPED, None, day.now_us)

    assert spent.spent_nusd("a", "capped") == 999


def test_a_new_day_begins_at_nothing() -> None:
    day = Day()
    spent = spending(day, 1000)

    day.now_us += DAY_US // 2

    assert spent.enter(call(), 1, CAPPED)
    assert spent.spent_nusd("a", "capped") == 0


def test_where_everybody_has_spent_it_the_client_is_told_until_when() -> None:
    spent = spending(Day(), 1000)

    refusal = spent.refusal(call(), (CAPPED, OTHER_MODEL))

    assert isinstance(refusal, NoHealthyUpstream)
    assert refusal.retry_after_s == 43_200
    assert spent.refusal(call(), (CAPPED, FREE)) is None


def test_who_has_no_share_may_spend_what_it_likes() -> None:
    day = Day()
    spent = spending(day)

    spent.charge(FREE, 10**12, day.now_us)

    assert spent.enter(call(), 1, FREE)
    assert spent.spent_nusd("a", "free") is None


def test_who_has_spent_it_is_named_until_midnight() -> None:
    day = Day()
    spent = spending(day)
    before = spent.spent_out()
    spent.charge(CAPPED, 1000, day.now_us)
    after = spent.spent_out()
    day.now_us += DAY_US

    assert (before, after, spent.spent_out()) == ([], [("a", "capped")], [])
