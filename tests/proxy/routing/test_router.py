"""From features to a decision, over the facts of a snapshot."""

from __future__ import annotations

from msgspec.structs import replace

from proxy.call import RouteField
from proxy.routing.estimate import Scope, Session
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
