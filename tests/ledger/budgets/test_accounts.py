"""What budgets admit: everything that fits, and nothing beyond."""

from __future__ import annotations

from typing import Any

from ledger.budgets.accounts import PERIODS_KEPT, Accounts, Denied, Hold, WorstCase
from ledger.budgets.periods import DAY_US
from ledger.records import Budget

DAY_1 = 20_000 * DAY_US
NOON_US = DAY_1 + DAY_US // 2


def budget(budget_id: str = "b", **changes: Any) -> Budget:
    fields: dict[str, Any] = {"scope": "team:search", "unit": "usd", "period": "day", "limit": 100}
    return Budget(id=budget_id, **{**fields, **changes})


def accounts(*budgets: Budget, spent: int = 0, serialise: bool = True) -> Accounts:
    made = Accounts(serialise=serialise)
    for it in budgets:
        made.put(it, NOON_US)
        made.seed(it.id, [(20_000, (spent, spent, spent))])
    return made


def exactly(amount: int) -> WorstCase:
    return WorstCase((amount, amount, 1), (amount, amount, 1))


def assumed(reserve: int, most: int) -> WorstCase:
    return WorstCase((reserve, reserve, 1), (most, most, 1))


SCOPES = ("key:k", "team:search", "global")


def ask(
    it: Accounts, request_id: str, worst: WorstCase, at_us: int = NOON_US, scopes: tuple[str, ...] = SCOPES
) -> Hold | Denied:
    return it.admit(request_id, it.counting(scopes), worst, at_us)


def end(it: Accounts, request_id: str, actual: int, at_us: int = NOON_US, scopes: tuple[str, ...] = SCOPES) -> None:
    ending = it.ending(request_id, scopes, at_us)
    assert ending is not None
    it.settle(request_id, ending, (actual, actual, 1))


def stand(it: Accounts, at_us: int = NOON_US) -> list[tuple[int, int]]:
    return [(row.settled, row.reserved) for row in it.standing(at_us)]


def denied(it: Hold | Denied | None) -> Denied:
    assert isinstance(it, Denied)
    return it


# --- admission ---------------------------------------------------------------------------------------------------------


def test_what_fits_is_admitted_to_the_last_nano_dollar_and_nothing_beyond() -> None:
    it = accounts(budget())

    first = ask(it, "r1", exactly(60))
    second = ask(it, "r2", exactly(40))
    third = denied(ask(it, "r3", exactly(1)))

    assert isinstance(first, Hold)
    assert isinstance(second, Hold)
    assert (third.needed, third.final, third.near) == (1, False, False)
    assert stand(it) == [(0, 100)]


def test_a_refusal_is_final_when_nothing_that_ends_can_make_room() -> None:
    it = accounts(budget(), spent=95)

    refused = denied(ask(it, "r1", exactly(6)))

    assert refused.final
    assert refused.account.line.budget.id == "b"


def test_a_request_is_reserved_in_every_budget_of_every_scope_or_in_none() -> None:
    it = accounts(budget("wide", scope="global"), budget("tight", scope="key:k", limit=10), budget("other", scope="team:x"))

    refused = denied(ask(it, "r1", exactly(11)))
    between = stand(it)
    ask(it, "r2", exactly(10))

    assert refused.account.line.budget.id == "tight"
    assert between == [(0, 0)] * 3
    assert stand(it) == [(0, 10), (0, 10), (0, 0)]


def test_one_scope_may_have_several_budgets_of_several_units() -> None:
    it = accounts(budget("usd"), budget("tokens", unit="tokens", limit=1000), budget("requests", unit="requests", limit=1))

    ask(it, "r1", WorstCase((5, 700, 1), (5, 700, 1)))
    refused = denied(ask(it, "r2", WorstCase((5, 100, 1), (5, 100, 1))))

    assert stand(it) == [(0, 5), (0, 700), (0, 1)]
    assert refused.account.line.budget.id == "requests"


def test_a_request_that_costs_nothing_is_admitted_where_all_is_spent() -> None:
    it = accounts(budget(), spent=100)

    assert isinstance(ask(it, "r1", WorstCase((0, 50, 1), (0, 50, 1))), Hold)


# --- ends --------------------------------------------------------------------------------------------------------------


def test_an_end_lets_go_of_the_reserve_and_charges_what_it_was() -> None:
    it = accounts(budget())
    ask(it, "r1", exactly(60))

    end(it, "r1", 25)

    assert stand(it) == [(25, 0)]
    assert it.holds == {}


def test_what_a_try_is_charged_is_held_until_its_request_ends_and_what_it_reserved_is_free() -> None:
    it = accounts(budget(limit=100))
    hold = ask(it, "r", exactly(60))
    assert isinstance(hold, Hold)

    it.spent(hold, 1, (25, 0, 1))

    assert it.cover(hold, 2, exactly(60)) is None
    assert [(0, 85)] == [(row.settled, row.reserved) for row in it.standing(NOON_US)]
    end(it, "r", 40)
    assert [(40, 0)] == [(row.settled, row.reserved) for row in it.standing(NOON_US)]


def test_what_a_try_is_charged_beyond_its_reserve_counts_even_where_there_is_no_room() -> None:
    it = accounts(budget(limit=100))
    hold = ask(it, "r", exactly(60))
    assert isinstance(hold, Hold)

    for number in (1, 2, 3):
        it.spent(hold, number, (70, 0, 0))

    assert [(0, 210)] == [(row.settled, row.reserved) for row in it.standing(NOON_US)]
    assert isinstance(ask(it, "other", exactly(1)), Denied)
    end(it, "r", 210)
    it.spent(hold, 4, (5, 0, 0))
    assert [(210, 0)] == [(row.settled, row.reserved) for row in it.standing(NOON_US)]


def test_what_a_try_is_charged_ends_its_risk() -> None:
    it = accounts(budget(limit=100))
    hold = ask(it, "r", assumed(10, 90))
    assert isinstance(hold, Hold)

    it.spent(hold, 1, (15, 0, 1))

    assert isinstance(ask(it, "other", assumed(10, 85)), Hold)


def test_an_end_that_is_told_twice_counts_once() -> None:
    it = accounts(budget())
    ask(it, "r1", exactly(60))
    ending = it.ending("r1", SCOPES, NOON_US)
    assert ending is not None

    it.settle("r1", ending, (25, 25, 1))
    it.settle("r1", ending, (25, 25, 1))

    assert stand(it) == [(25, 0)]


def test_what_is_voided_costs_nothing() -> None:
    it = accounts(budget())
    ask(it, "r1", exactly(60))

    it.void("r1")
    it.void("r1")

    assert stand(it) == [(0, 0)]


def test_an_end_without_a_hold_is_charged_all_the_same() -> None:
    it = accounts(budget())

    end(it, "r_before_the_budget", 30)

    assert stand(it) == [(30, 0)]


def test_what_reconciliation_finds_moves_what_is_spent_either_way() -> None:
    it = accounts(budget(), spent=50)

    it.adjust(SCOPES, NOON_US, (-20, 0, 0))
    it.adjust(("key:other",), NOON_US, (-20, 0, 0))

    assert stand(it) == [(30, 0)]


def test_an_adjustment_belongs_to_the_period_of_its_request() -> None:
    it = accounts(budget(), spent=50)
    end(it, "r_of_the_next_day", 10, NOON_US + DAY_US)

    it.adjust(SCOPES, NOON_US, (-20, 0, 0))
    it.adjust(SCOPES, NOON_US - DAY_US, (7, 0, 0))

    assert stand(it, NOON_US + DAY_US) == [(10, 0)]
    assert stand(it) == [(30, 0)]


def test_a_budget_that_came_after_an_adjustment_was_handed_in_is_seeded_with_it() -> None:
    it = accounts(budget(), spent=50)
    before = it.made
    it.put(budget("late"), NOON_US)
    it.seed("late", [(20_000, (30, 0, 0))])

    it.adjust(SCOPES, NOON_US, (-20, 0, 0), before=before)

    assert stand(it) == [(30, 0), (30, 0)]


def test_an_adjustment_may_reach_the_warning() -> None:
    it = accounts(budget(warn_percent=80), spent=50)

    assert [account.line.budget.id for account in it.adjust(SCOPES, NOON_US, (30, 0, 0))] == ["b"]


def test_the_warning_is_reached_once_in_a_period() -> None:
    it = accounts(budget(warn_percent=80))
    reached = []
    for number, actual in enumerate((79, 1, 5)):
        ask(it, f"r{number}", exactly(actual))
        ending = it.ending(f"r{number}", SCOPES, NOON_US)
        assert ending is not None
        reached.append(len(it.settle(f"r{number}", ending, (actual, 0, 1))))

    assert reached == [0, 1, 0]


# --- further tries -----------------------------------------------------------------------------------------------------


def test_a_further_try_is_reserved_beside_the_first() -> None:
    it = accounts(budget())
    hold = ask(it, "r1", exactly(60))
    assert isinstance(hold, Hold)

    fits = it.cover(hold, 2, WorstCase((40, 40, 0), (40, 40, 0)))
    beyond = it.cover(hold, 3, WorstCase((1, 1, 0), (1, 1, 0)))

    assert fits is None
    assert denied(beyond).final
    assert stand(it) == [(0, 100)]


def test_the_first_try_is_reserved_anew_when_its_deployment_is_known() -> None:
    it = accounts(budget())
    hold = ask(it, "r1", exactly(60))
    assert isinstance(hold, Hold)

    it.cover(hold, 1, exactly(20))

    assert stand(it) == [(0, 20)]


def test_a_try_that_was_not_sent_reserves_nothing() -> None:
    it = accounts(budget())
    hold = ask(it, "r1", exactly(60))
    assert isinstance(hold, Hold)
    it.cover(hold, 2, WorstCase((40, 40, 0), (40, 40, 0)))

    it.drop(hold, 2)

    assert stand(it) == [(0, 60)]


def test_a_stream_is_extended_as_far_as_there_is_room() -> None:
    it = accounts(budget())
    hold = ask(it, "r1", assumed(60, 500))
    assert isinstance(hold, Hold)

    extended = it.extend(hold, 1, (100, 0, 0))
    beyond = it.extend(hold, 1, (101, 0, 0))

    assert extended is None
    assert isinstance(beyond, Denied)
    assert stand(it) == [(0, 100)]


# --- near the limit ----------------------------------------------------------------------------------------------------


def test_far_from_the_limit_assumptions_go_side_by_side() -> None:
    it = accounts(budget(limit=1000))

    assert [type(ask(it, f"r{n}", assumed(10, 100))) for n in range(10)] == [Hold] * 10


def test_near_the_limit_one_at_a_time_may_exceed_what_it_reserved() -> None:
    it = accounts(budget(limit=90))

    first = ask(it, "r1", assumed(10, 100))
    second = denied(ask(it, "r2", assumed(10, 100)))
    end(it, "r1", 20)
    third = ask(it, "r2", assumed(10, 100))

    assert isinstance(first, Hold)
    assert (second.near, second.final) == (True, False)
    assert isinstance(third, Hold)


def test_near_the_limit_what_cannot_exceed_goes_beside_the_one_that_may() -> None:
    it = accounts(budget(limit=90))
    ask(it, "r1", assumed(10, 100))

    assert isinstance(ask(it, "r2", exactly(80)), Hold)


def test_near_the_limit_the_most_is_reserved_where_there_is_room_for_it() -> None:
    it = accounts(budget(limit=90))
    ask(it, "r1", assumed(10, 100))

    hold = ask(it, "r2", assumed(10, 40))

    assert isinstance(hold, Hold)
    assert hold.hard
    assert stand(it) == [(0, 50)]


def test_many_that_may_exceed_keep_others_from_filling_up_what_is_left_to_them() -> None:
    it = accounts(budget(limit=100))
    ask(it, "r1", assumed(10, 50))
    ask(it, "r2", assumed(10, 50))

    assert denied(ask(it, "r3", exactly(80))).near


def test_without_serialising_only_the_reserve_counts() -> None:
    it = accounts(budget(limit=90), serialise=False)

    assert [type(ask(it, f"r{n}", assumed(10, 100))) for n in range(9)] == [Hold] * 9


# --- periods and clocks ------------------------------------------------------------------------------------------------


def test_a_new_period_begins_with_nothing_spent_and_a_request_stays_in_its_own() -> None:
    it = accounts(budget(), spent=90)
    ask(it, "late", exactly(10), NOON_US)

    tomorrow = ask(it, "r2", exactly(100), NOON_US + DAY_US)
    end(it, "late", 10, NOON_US)

    assert isinstance(tomorrow, Hold)
    assert stand(it) == [(100, 0)]
    assert stand(it, NOON_US + DAY_US) == [(0, 100)]


def test_a_clock_that_goes_ahead_and_comes_back_finds_what_was_spent() -> None:
    it = accounts(budget(), spent=90)

    ask(it, "r1", exactly(50), NOON_US + 3 * DAY_US)
    back = denied(ask(it, "r2", exactly(11), NOON_US))

    assert back.final


def test_a_clock_that_goes_back_before_all_that_is_known_finds_no_empty_period() -> None:
    it = accounts(budget(), spent=100)

    assert denied(ask(it, "r1", exactly(1), NOON_US - 30 * DAY_US)).final


def test_what_the_journal_has_for_a_later_period_counts_when_that_comes() -> None:
    it = Accounts()
    it.put(budget(), NOON_US)
    it.seed("b", [(19_999, (1, 0, 0)), (20_000, (20, 0, 0)), (20_001, (70, 0, 0))])

    refused = denied(ask(it, "r1", exactly(31), NOON_US + DAY_US))

    assert refused.final
    assert stand(it) == [(20, 0)]


def test_periods_are_remembered_within_a_bound() -> None:
    it = accounts(budget(), spent=100)

    for day in range(3 * PERIODS_KEPT):
        ask(it, f"r{day}", exactly(1), NOON_US + day * DAY_US)
    clamped = it.standing(NOON_US)[0]

    assert clamped.start_us == DAY_1 + 2 * PERIODS_KEPT * DAY_US


# --- changes -----------------------------------------------------------------------------------------------------------


def test_a_new_limit_counts_for_the_next_request_and_keeps_what_is_spent() -> None:
    it = accounts(budget(), spent=90)

    again = it.put(budget(limit=200), NOON_US)

    assert not again
    assert isinstance(ask(it, "r1", exactly(110)), Hold)
    assert stand(it) == [(90, 110)]


def test_a_budget_of_another_unit_is_a_new_one_and_has_no_room_until_it_is_seeded() -> None:
    it = accounts(budget(), spent=90)

    new = it.put(budget(unit="tokens"), NOON_US)
    refused = denied(ask(it, "r1", exactly(1)))
    it.seed("b", [(20_000, (90, 40, 0))])

    assert new
    assert (refused.final, refused.near) == (False, False)
    assert stand(it) == [(40, 0)]


def test_a_budget_that_is_gone_counts_nothing_and_requests_under_way_end() -> None:
    it = accounts(budget())
    ask(it, "r1", exactly(60))

    assert it.remove("b")
    assert not it.remove("b")
    end(it, "r1", 60)

    assert it.counting(SCOPES) == []
    assert (it.holds, it.any) == ({}, False)


def test_an_end_handed_in_before_a_budget_was_put_is_not_charged_to_it_a_second_time() -> None:
    it = accounts(budget("first"))
    ask(it, "r1", exactly(30))
    handed_in = it.ending("r1", SCOPES, NOON_US)
    it.put(budget("second"), NOON_US)
    it.seed("second", [(20_000, (30, 0, 1))])  # the journal has it already
    assert handed_in is not None

    it.settle("r1", handed_in, (30, 0, 1))

    assert stand(it) == [(30, 0), (30, 0)]


def test_where_there_is_no_budget_nothing_is_looked_for() -> None:
    it = Accounts()

    assert it.counting(SCOPES) == []
    assert it.ending("r1", SCOPES, NOON_US) is None
    assert not it.any


def test_how_it_stands_names_the_period_and_its_end() -> None:
    it = accounts(budget(period="month"), budget("all", period="total"))

    month, total = it.standing(NOON_US)

    assert (month.period, month.end_us) == ("2024-10", 20_028 * DAY_US)
    assert (total.period, total.end_us) == ("total", None)


def test_what_was_admitted_before_a_restart_is_held_whatever_room_there_is() -> None:
    it = accounts(budget(limit=10), budget("all", scope="global", limit=1000), spent=5)

    it.restore("r1", it.counting(SCOPES), assumed(20, 30), NOON_US)

    assert stand(it) == [(5, 20), (5, 20)]
    assert denied(ask(it, "r2", exactly(1))).account.line.budget.id == "b"
    end(it, "r1", 12)
    assert stand(it) == [(17, 0), (17, 0)]
    assert isinstance(ask(it, "r3", exactly(1), scopes=("global",)), Hold)
