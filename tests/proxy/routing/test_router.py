"""From features to a decision, over the facts of a snapshot."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.call import RouteField
from proxy.routing.estimate import Scope, Session
from proxy.routing.features import Features
from proxy.routing.policy import POLICIES, Explore, Policy
from proxy.routing.router import decide
from tests.proxy.routing.worlds import ASK, Known, field_of

FIELD = field_of(
    {
        "small": Known(score=40, input_usd=0.1, output_usd=0.4),
        "middle": Known(score=55, input_usd=1, output_usd=4),
        "large": Known(score=60, input_usd=10, output_usd=40, tokens_per_s=20),
        "beaten": Known(score=39, input_usd=12, output_usd=48, tokens_per_s=10),
    }
)


def test_the_best_is_the_best_and_the_cheapest_the_cheapest() -> None:
    chosen = [decide(FIELD, ASK, POLICIES[name]).chosen for name in ("auto:best", "auto:floor")]

    assert chosen == ["openai/large", "openai/small"]


def test_who_is_beaten_is_not_on_the_front_but_stands_by() -> None:
    decision = decide(FIELD, ASK, POLICIES["auto:best"])

    assert "openai/beaten" not in {decision.slate.names[at] for at in decision.front}
    assert decision.names[-1] == "openai/beaten"


def test_a_limit_is_kept() -> None:
    decision = decide(FIELD, ASK, POLICIES["auto:best"], constraints=RouteField(max_cost_nusd=5_000_000))

    assert decision.chosen == "openai/middle"
    assert decision.excluded[decision.slate.where["openai/large"]].startswith("it would cost $0.026")


def test_nobody_is_chosen_where_nobody_keeps_to_the_limits() -> None:
    decision = decide(FIELD, ASK, POLICIES["auto"], constraints=RouteField(max_cost_nusd=1))

    assert (decision.chosen, decision.why, len(decision.excluded)) == ("", "nobody", 4)


def test_the_key_and_the_request_say_who_may_be_asked() -> None:
    scope = Scope(allowed=(("openai/*l*",),))

    decision = decide(FIELD, ASK, POLICIES["auto:best"], constraints=RouteField(deny=("*/large",)), scope=scope)

    assert decision.names == ("openai/middle", "openai/small")
    assert {it.name: it.reason for it in decision.slate.rejected} == {
        "openai/beaten": "the key may not use it",
        "openai/large": "the request denies it",
    }


def test_a_conversation_stays_where_it_is_unless_a_change_gains_enough() -> None:
    field = field_of({"low": Known(score=30), "one": Known(score=60), "other": Known(score=61, input_usd=1.1)})

    kept = decide(field, ASK, POLICIES["auto:best"], session=Session(offer="openai/one", warm_tokens=900))
    moved = decide(field, ASK, POLICIES["auto:best"], session=Session(offer="openai/low"))

    assert (kept.chosen, kept.why, moved.chosen, moved.why) == ("openai/one", "session", "openai/other", "rule")


def test_who_is_broken_is_passed_over() -> None:
    decision = decide(FIELD, ASK, POLICIES["auto:best"], broken={"openai/large": "its circuit is open"})

    assert decision.chosen == "openai/middle"


def test_exploration_is_seeded_and_keeps_to_its_share_and_its_cap() -> None:
    policy = replace(POLICIES["auto:floor"], explore=Explore(fraction=0.25, max_cost_nusd=10_000_000))

    decisions = [decide(FIELD, ASK, policy, seed=str(number)) for number in range(400)]
    again = [decide(FIELD, ASK, policy, seed=str(number)).chosen for number in range(400)]

    assert [it.chosen for it in decisions] == again
    assert {it.chosen for it in decisions} == {"openai/small", "openai/middle"}
    assert 60 < sum(it.why == "explored" for it in decisions) < 140
    assert {it.propensity for it in decisions} == {0.75, 0.25}


def test_it_abstains_where_nobody_is_known() -> None:
    field = field_of({"one": Known(score=None), "two": Known(score=None, input_usd=0.5)})

    decision = decide(field, ASK, Policy(rule="cheapest"))

    assert (decision.why, decision.chosen) == ("abstained", "openai/two")


def test_who_is_not_known_is_not_asked_where_others_are() -> None:
    field = field_of({"one": Known(), "two": Known(score=20), "free": Known(score=None, input_usd=0, output_usd=0)})

    decision = decide(field, ASK, Policy(rule="cheapest"))

    assert sorted(decision.names) == ["openai/one", "openai/two"]


def test_what_does_not_write_is_not_asked_to() -> None:
    names = ("gpt-5", "text-embedding-3-small", "whisper-1", "tts-1-hd", "gpt-image-1", "omni-moderation-latest", "o4-mini")

    decision = decide(field_of(dict.fromkeys(names, Known())), ASK, replace(POLICIES["auto"], fallbacks=9))

    assert sorted(decision.names) == ["openai/gpt-5", "openai/o4-mini"]


# --- whatever the world is like ------------------------------------------------------------------------------------------

KNOWN = st.builds(
    Known,
    score=st.none() | st.floats(0, 100),
    input_usd=st.none() | st.just(0.0) | st.floats(0.01, 50),
    output_usd=st.floats(0, 200),
    ttft_ms=st.none() | st.floats(1, 60_000),
    tokens_per_s=st.none() | st.floats(0.1, 5_000),
    window_tokens=st.none() | st.sampled_from((1_000, 1_500, 100_000)),
)
WORLDS = st.lists(KNOWN, min_size=1, max_size=6).map(lambda known: {f"m{place}": it for place, it in enumerate(known)})
LIMITS = st.builds(
    RouteField,
    max_cost_nusd=st.none() | st.integers(0, 10**8),
    max_ttft_ms=st.none() | st.floats(0, 60_000),
    max_latency_ms=st.none() | st.floats(0, 600_000),
    min_quality=st.none() | st.floats(0, 1),
    prefer=st.sampled_from(((), ("openai/m1",))),
)
FEATURES = st.builds(
    replace,
    st.just(ASK),
    task=st.sampled_from(("general", "coding")),
    text_bytes=st.integers(0, 8_000),
    output_max=st.none() | st.integers(0, 2_000),
    files=st.integers(0, 2),
    choices=st.integers(1, 3),
)
POLICY = st.sampled_from([it for it in POLICIES.values() if it.rule != "throughput"])


@settings(max_examples=60, deadline=None)
@given(WORLDS, LIMITS, FEATURES, POLICY)
def test_the_choice_is_beaten_by_nobody_and_breaks_no_limit(
    world: dict[str, Known], limits: RouteField, features: Features, policy: Policy
) -> None:
    decision = decide(field_of(world), features, policy, constraints=limits)

    rows = list(zip(decision.slate.qualities, decision.costs, decision.latencies, decision.slate.ttft_ms, strict=True))
    for at in decision.order:
        quality, cost, latency, ttft = rows[at]
        assert limits.max_cost_nusd is None or cost <= limits.max_cost_nusd
        assert limits.max_latency_ms is None or latency <= limits.max_latency_ms
        assert limits.max_ttft_ms is None or ttft <= limits.max_ttft_ms
        assert limits.min_quality is None or quality >= limits.min_quality
        window = decision.slate.offers[at].window_tokens
        assert window is None or features.text_bytes // 4 + features.files * 1_000 + (features.output_max or 1) <= window
    if decision.order:
        first = decision.order[0]
        mine = (-rows[first][0], *rows[first][1:3])
        pool = [at for at in decision.alive if at not in decision.slate.weak or decision.why == "abstained"]
        if decision.slate.preferred:
            pool = [at for at in pool if at in decision.slate.preferred] or pool
        theirs = [(-rows[at][0], *rows[at][1:3]) for at in pool]
        assert not any(its != mine and all(a <= b for a, b in zip(its, mine, strict=True)) for its in theirs)


@settings(max_examples=40, deadline=None)
@given(WORLDS, LIMITS, FEATURES, POLICY, st.text(max_size=4))
def test_the_same_question_has_the_same_answer(
    world: dict[str, Known], limits: RouteField, features: Features, policy: Policy, seed: str
) -> None:
    explored = replace(policy, explore=Explore(fraction=0.3))

    first, second = (decide(field_of(world), features, explored, constraints=limits, seed=seed) for _ in range(2))

    assert (first.names, first.why, first.propensity) == (second.names, second.why, second.propensity)


@settings(max_examples=40, deadline=None)
@given(WORLDS, FEATURES, POLICY, st.floats(0.1, 0.99))
def test_nobody_loses_a_place_by_a_lower_price(
    world: dict[str, Known], features: Features, policy: Policy, share: float
) -> None:
    before = decide(field_of(world), features, policy).chosen
    if not before:
        return
    name = before.removeprefix("openai/")
    known = world[name]
    if known.input_usd is None:
        return
    cheaper = replace(known, input_usd=known.input_usd * share, output_usd=known.output_usd * share)

    assert decide(field_of({**world, name: cheaper}), features, policy).chosen == before
