"""In which order deployments are tried: exact shares as long as all are well, less for who is not, sessions together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.attempts.balance import Loads
from proxy.call import Call, Completed, Deployment, Principal, Reply, Strategy, Tier
from proxy.stages.load_balancer import Balancing, LoadBalancer
from tests.proxy.samples import attempt, call, deployment
from tests.proxy.scripted import Clock, Watch


def tier(name: str, *weights: int) -> Tier:
    return Tier(
        name=name, deployments=tuple(deployment(f"p{index}/gpt", weight=weight) for index, weight in enumerate(weights))
    )


def turning() -> LoadBalancer:
    """One that knows no load, and goes by turns alone."""
    clock = Clock()
    return LoadBalancer(Balancing(strategy="round_robin"), loads=Loads(clock_s=clock.s), clock_s=clock.s, chance=lambda: 0.0)


async def ranked(balancer: LoadBalancer, *tiers: Tier, asked: Call | None = None) -> tuple[Deployment, ...]:
    seen: list[Call] = []

    async def service(call: Call, /) -> Reply:
        seen.append(call)
        return Completed(status=200, headers=[], body=b"")

    await balancer(replace(asked or call(), tiers=tiers), service)
    return seen[0].deployments


async def firsts(balancer: LoadBalancer, offered: Tier, rounds: int) -> list[str]:
    return [(await ranked(balancer, offered))[0].upstream.provider for _ in range(rounds)]


WEIGHTS = st.lists(st.integers(1, 12), min_size=1, max_size=6)


@settings(deadline=None, max_examples=150)
@given(WEIGHTS, st.integers(1, 3))
async def test_over_a_round_each_comes_first_as_often_as_its_weight_says(weights: list[int], rounds: int) -> None:
    balancer = turning()
    offered = tier("smart", *weights)

    first = Counter(await firsts(balancer, offered, rounds * sum(weights)))

    assert first == {f"p{index}": rounds * weight for index, weight in enumerate(weights)}


@settings(deadline=None, max_examples=100)
@given(WEIGHTS)
async def test_at_any_moment_no_share_is_off_by_more_than_the_others_allow(weights: list[int]) -> None:
    balancer = turning()
    offered = tier("smart", *weights)
    total = sum(weights)
    seen: Counter[str] = Counter()

    for turn, name in enumerate(await firsts(balancer, offered, total), start=1):
        seen[name] += 1
        for index, weight in enumerate(weights):
            assert abs(seen[f"p{index}"] - turn * weight / total) < len(weights)


async def test_the_turns_of_the_heavy_one_are_spread() -> None:
    assert await firsts(turning(), tier("smart", 5, 1, 1), 7) == ["p0", "p0", "p1", "p0", "p2", "p0", "p0"]


@settings(deadline=None, max_examples=100)
@given(st.lists(WEIGHTS, min_size=1, max_size=4))
async def test_all_deployments_are_ranked_tier_by_tier(shape: list[list[int]]) -> None:
    tiers = [tier(f"t{index}", *weights) for index, weights in enumerate(shape)]

    order = await ranked(turning(), *tiers)

    assert len(order) == sum(map(len, shape))
    at = 0
    for offered in tiers:
        size = len(offered.deployments)
        assert set(order[at : at + size]) == set(offered.deployments)
        at += size


async def test_tiers_take_turns_each_by_itself() -> None:
    balancer = turning()
    one, two = tier("one", 1, 1), tier("two", 1, 1)

    got = [[it.upstream.provider for it in await ranked(balancer, one, two)] for _ in range(2)]

    assert got == [["p0", "p1", "p0", "p1"], ["p1", "p0", "p1", "p0"]]


async def alternating(balancer: LoadBalancer, offers: Sequence[Tier], rounds: int) -> list[Counter[str]]:
    counts: list[Counter[str]] = [Counter() for _ in offers]
    for _ in range(rounds):
        for offer, count in zip(offers, counts, strict=True):
            count.update(await firsts(balancer, offer, 1))
    return counts


async def test_a_key_that_may_use_only_some_of_them_does_not_disturb_the_others_turns() -> None:
    everything = tier("smart", 1, 1, 1)
    some = Tier(name="smart", deployments=everything.deployments[1:])

    counts = await alternating(turning(), [everything, some], 12)

    assert counts == [{"p0": 4, "p1": 4, "p2": 4}, {"p1": 6, "p2": 6}]


async def test_accounts_of_one_provider_share_too() -> None:
    accounts = Tier(name="acme/gpt", deployments=tuple(deployment(account=name, weight=2) for name in ("one", "two")))
    balancer = turning()

    got = [(await ranked(balancer, accounts))[0].upstream.account for _ in range(4)]

    assert got == ["one", "two", "one", "two"]


async def test_a_single_deployment_is_passed_on_and_nothing_is_kept() -> None:
    balancer = turning()

    for number in range(100):
        assert await ranked(balancer, tier(f"t{number}", 1)) == tier("x", 1).deployments

    assert balancer._shares == {}


async def test_what_is_kept_is_bounded() -> None:
    balancer = turning()

    for number in range(5000):
        await ranked(balancer, tier(f"t{number}", 1, 1))

    assert len(balancer._shares) <= 4096


# --- by load -----------------------------------------------------------------------------------------------------------


class Field:
    """Deployments that take so long each, and requests that come one after the other or together."""

    def __init__(self, *ttfb_s: float, weights: Sequence[int] = (), strategy: Strategy = "p2c", seed: int = 7) -> None:
        self.watch = Watch()
        self.ttfb_s = list(ttfb_s)
        self.failing: set[int] = set()
        self.tier = tier("smart", *(weights or [1] * len(ttfb_s)))
        self._all = self.tier.deployments
        self.loads = Loads(clock_s=self.watch.s)
        chance = Random(seed).random  # noqa: S311  # a seed, so that it can be repeated
        self.balancer = LoadBalancer(Balancing(strategy=strategy), loads=self.loads, clock_s=self.watch.s, chance=chance)
        self._ends: list[tuple[float, int, Call]] = []
        self._number = 0

    async def choose(self, **changes: Any) -> int:
        self._number += 1
        asked = call(id=f"req_{self._number}", **changes)
        order = await ranked(self.balancer, self.tier, asked=asked)
        chosen = int(order[0].upstream.provider[1:])
        self.loads.enter(asked, 1, order[0])
        self._ends.append((self.watch.now_s + self.ttfb_s[chosen], chosen, asked))
        return chosen

    def go_on(self, seconds: float) -> None:
        """Let time pass, and let those end whose time has come."""
        until_s = self.watch.now_s + seconds
        for end in sorted((end for end in self._ends if end[0] <= until_s), key=lambda end: end[0]):
            self._ends.remove(end)
            self.watch.now_s, chosen, asked = end
            each = self._all[chosen]
            failed = chosen in self.failing
            if not failed:
                self.loads.begun(asked, 1, each, round(self.ttfb_s[chosen] * 1e6))
            told = attempt(deployment=each, fault="upstream" if failed else "", outcome="upstream_error" if failed else "ok")
            self.loads.observe(asked, told)
            self.loads.leave(asked, 1, each)
        self.watch.now_s = until_s

    async def run(self, *, seconds: float, per_s: float) -> list[tuple[float, int]]:
        chosen = []
        for _ in range(round(seconds * per_s)):
            chosen.append((self.watch.now_s, await self.choose()))
            self.go_on(1 / per_s)
        return chosen


def share(chosen: list[tuple[float, int]], index: int) -> float:
    return sum(it == index for _, it in chosen) / len(chosen)


@pytest.mark.parametrize("per_s", [2.0, 50.0, 400.0])
@pytest.mark.parametrize("seed", range(5))
async def test_a_twin_that_is_twenty_times_slower_gets_less_than_a_tenth(per_s: float, seed: int) -> None:
    field = Field(2.0, 0.1, seed=seed)

    chosen = await field.run(seconds=60.0, per_s=per_s)

    later = [it for it in chosen if it[0] >= 1010.0]
    assert share(later, 0) < 0.1


async def test_one_that_becomes_slow_loses_its_share_within_ten_seconds() -> None:
    field = Field(0.1, 0.1)
    before = await field.run(seconds=20.0, per_s=50.0)
    field.ttfb_s[0] = 2.0
    await field.run(seconds=10.0, per_s=50.0)

    after = await field.run(seconds=20.0, per_s=50.0)

    assert 0.4 < share(before, 0) < 0.6
    assert share(after, 0) < 0.1


async def test_one_that_is_fast_again_gets_its_share_back() -> None:
    field = Field(2.0, 0.1)
    await field.run(seconds=30.0, per_s=20.0)
    field.ttfb_s[0] = 0.1
    await field.run(seconds=60.0, per_s=20.0)

    assert share(await field.run(seconds=30.0, per_s=20.0), 0) > 0.4


async def test_as_long_as_all_are_about_as_good_shares_are_by_weight() -> None:
    field = Field(0.10, 0.13, 0.11, weights=(3, 1, 2))

    chosen = await field.run(seconds=60.0, per_s=20.0)

    assert [share(chosen, index) for index in range(3)] == pytest.approx([3 / 6, 1 / 6, 2 / 6], abs=0.03)


async def test_one_that_keeps_failing_is_hardly_asked() -> None:
    field = Field(0.01, 0.1)
    field.failing.add(0)

    assert share(await field.run(seconds=60.0, per_s=20.0), 0) < 0.05


async def test_who_has_the_fewest_under_way_for_its_weight_is_asked() -> None:
    field = Field(9.0, 9.0, weights=(3, 1), strategy="least_in_flight")

    assert Counter([await field.choose() for _ in range(40)]) == {0: 30, 1: 10}


async def test_at_random_shares_are_by_weight() -> None:
    field = Field(0.1, 0.1, 0.1, weights=(6, 3, 1), strategy="weighted")

    chosen = Counter([await field.choose() for _ in range(4000)])

    assert [chosen[index] / 4000 for index in range(3)] == pytest.approx([0.6, 0.3, 0.1], abs=0.03)


async def test_a_model_may_have_a_strategy_of_its_own() -> None:
    field = Field(5.0, 0.1, strategy="p2c")
    field.tier = replace(field.tier, strategy="round_robin")

    assert share(await field.run(seconds=20.0, per_s=10.0), 0) == 0.5


# --- sessions ----------------------------------------------------------------------------------------------------------


def hinted(number: int) -> dict[str, Any]:
    return {"headers": ((b"x-claude-code-session-id", f"session-{number}".encode()),)}


HINTED: list[dict[str, Any]] = [
    {"headers": ((b"x-claude-code-session-id", b"s"),)},
    {"headers": ((b"session-id", b"s"),)},
    {"headers": ((b"thread-id", b"s"),)},
    {"headers": ((b"x-session-affinity", b"s"),)},
    {"fields": {"prompt_cache_key": "s"}},
]


@pytest.mark.parametrize("hint", HINTED)
async def test_a_session_stays_where_it_is(hint: dict[str, Any]) -> None:
    field = Field(0.1, 0.1, 0.1)

    chosen = set()
    for _ in range(20):
        chosen.add(await field.choose(**hint))
        field.go_on(1.0)

    assert len(chosen) == 1


async def test_a_session_stays_although_nothing_was_heard_of_the_others_for_long() -> None:
    field = Field(0.1, 0.1)
    await field.run(seconds=5.0, per_s=20.0)
    chosen = set()

    for _ in range(100):
        chosen.add(await field.choose(**hinted(1)))
        field.go_on(5.0)

    assert len(chosen) == 1


async def test_without_a_hint_nothing_stays() -> None:
    field = Field(0.1, 0.1)

    assert {await field.choose(headers=((b"user-agent", b"s"),)) for _ in range(20)} == {0, 1}


async def test_sessions_spread_by_weight() -> None:
    field = Field(0.0, 0.0, weights=(3, 1))
    chosen = []
    for number in range(2000):
        chosen.append(await field.choose(**hinted(number)))
        field.go_on(0.001)

    assert chosen.count(0) / 2000 == pytest.approx(0.75, abs=0.04)


async def homes(field: Field) -> list[int]:
    found = []
    for number in range(200):
        found.append(await field.choose(**hinted(number)))
        field.go_on(1.0)
    return found


async def test_only_the_sessions_of_the_one_that_is_gone_move_and_they_move_once() -> None:
    field = Field(0.1, 0.1, 0.1, 0.1)
    everybody = field.tier
    before = await homes(field)
    field.tier = replace(everybody, deployments=everybody.deployments[1:])
    during = await homes(field)
    again = await homes(field)

    moved = [number for number in range(200) if before[number] != during[number]]

    assert moved == [number for number in range(200) if before[number] == 0]
    assert during == again
    # They do not all fall upon the same one.
    assert len({during[number] for number in moved}) == 3


async def test_two_callers_who_hit_on_the_same_name_have_sessions_of_their_own() -> None:
    field = Field(*[0.1] * 8)
    chosen = set()
    for number in range(20):
        who = Principal(key_id=f"key_{number}", name="x")
        chosen.add(await field.choose(principal=who, fields={"prompt_cache_key": "default"}))
        field.go_on(1.0)

    assert len(chosen) > 3


async def test_a_session_leaves_while_its_own_one_is_overloaded_and_comes_back_then() -> None:
    field = Field(1.0, 1.0)
    home = await field.choose(**hinted(1))
    field.go_on(2.0)

    together = [await field.choose(**hinted(1)) for _ in range(20)]
    field.go_on(30.0)

    assert together[:3] == [home] * 3
    assert set(together) == {0, 1}
    assert await field.choose(**hinted(1)) == home


async def test_detours_are_kept_apart() -> None:
    balancer = turning()
    seen: list[Call] = []

    async def service(call: Call, /) -> Reply:
        seen.append(call)
        return Completed(status=200, headers=[], body=b"")

    usual, longer = tier("smart", 1), replace(tier("long", 1, 1), detour="context")
    await balancer(call(tiers=(usual, longer)), service)

    assert seen[0].deployments == usual.deployments
    assert [(name, set(its)) for name, its in seen[0].detours] == [("context", set(longer.deployments))]
