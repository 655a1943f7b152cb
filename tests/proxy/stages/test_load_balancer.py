"""In which order deployments are tried: exact shares, without chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.call import Call, Completed, Deployment, Reply, Tier
from proxy.stages.load_balancer import LoadBalancer
from tests.proxy.samples import call, deployment


def tier(name: str, *weights: int) -> Tier:
    return Tier(
        name=name, deployments=tuple(deployment(f"p{index}/gpt", weight=weight) for index, weight in enumerate(weights))
    )


async def ranked(balancer: LoadBalancer, *tiers: Tier) -> tuple[Deployment, ...]:
    seen: list[Call] = []

    async def service(call: Call, /) -> Reply:
        seen.append(call)
        return Completed(status=200, headers=[], body=b"")

    await balancer(call(tiers=tiers), service)
    return seen[0].deployments


async def firsts(balancer: LoadBalancer, offered: Tier, rounds: int) -> list[str]:
    return [(await ranked(balancer, offered))[0].upstream.provider for _ in range(rounds)]


WEIGHTS = st.lists(st.integers(1, 12), min_size=1, max_size=6)


@settings(deadline=None, max_examples=150)
@given(WEIGHTS, st.integers(1, 3))
async def test_over_a_round_each_comes_first_as_often_as_its_weight_says(weights: list[int], rounds: int) -> None:
    balancer = LoadBalancer()
    offered = tier("smart", *weights)

    first = Counter(await firsts(balancer, offered, rounds * sum(weights)))

    assert first == {f"p{index}": rounds * weight for index, weight in enumerate(weights)}


@settings(deadline=None, max_examples=100)
@given(WEIGHTS)
async def test_at_any_moment_no_share_is_off_by_more_than_the_others_allow(weights: list[int]) -> None:
    balancer = LoadBalancer()
    offered = tier("smart", *weights)
    total = sum(weights)
    seen: Counter[str] = Counter()

    for turn, name in enumerate(await firsts(balancer, offered, total), start=1):
        seen[name] += 1
        for index, weight in enumerate(weights):
            assert abs(seen[f"p{index}"] - turn * weight / total) < len(weights)


async def test_the_turns_of_the_heavy_one_are_spread() -> None:
    assert await firsts(LoadBalancer(), tier("smart", 5, 1, 1), 7) == ["p0", "p0", "p1", "p0", "p2", "p0", "p0"]


@settings(deadline=None, max_examples=100)
@given(st.lists(WEIGHTS, min_size=1, max_size=4))
async def test_all_deployments_are_ranked_tier_by_tier(shape: list[list[int]]) -> None:
    tiers = [tier(f"t{index}", *weights) for index, weights in enumerate(shape)]

    order = await ranked(LoadBalancer(), *tiers)

    assert len(order) == sum(map(len, shape))
    at = 0
    for offered in tiers:
        size = len(offered.deployments)
        assert set(order[at : at + size]) == set(offered.deployments)
        at += size


async def test_tiers_take_turns_each_by_itself() -> None:
    balancer = LoadBalancer()
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

    counts = await alternating(LoadBalancer(), [everything, some], 12)

    assert counts == [{"p0": 4, "p1": 4, "p2": 4}, {"p1": 6, "p2": 6}]


async def test_accounts_of_one_provider_share_too() -> None:
    accounts = Tier(name="acme/gpt", deployments=tuple(deployment(account=name, weight=2) for name in ("one", "two")))
    balancer = LoadBalancer()

    got = [(await ranked(balancer, accounts))[0].upstream.account for _ in range(4)]

    assert got == ["one", "two", "one", "two"]


async def test_a_single_deployment_is_passed_on_and_nothing_is_kept() -> None:
    balancer = LoadBalancer()

    for number in range(100):
        assert await ranked(balancer, tier(f"t{number}", 1)) == tier("x", 1).deployments

    assert balancer._shares == {}


async def test_what_is_kept_is_bounded() -> None:
    balancer = LoadBalancer()

    for number in range(5000):
        await ranked(balancer, tier(f"t{number}", 1, 1))

    assert len(balancer._shares) <= 4096
