"""What is remembered from one request to the next."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from ledger.records import Settlement, Tokens
from proxy.call import Call, RouteField
from proxy.errors import InvalidRequest, ModelNotFound
from proxy.routing.auto import Auto, Memory, features_for
from proxy.routing.estimate import EVERYBODY
from proxy.routing.live import Unmeasured
from proxy.routing.policy import POLICIES
from proxy.routing.router import Decision
from tests.proxy.routing.worlds import Known, field_of
from tests.proxy.samples import attempt, call, deployment
from tests.proxy.scripted import Watch

FIELD = field_of({"one": Known(score=60), "other": Known(score=61, input_usd=1.1), "low": Known(score=10)})
BEST = POLICIES["auto:best"]


def auto(**changes: Any) -> tuple[Auto, Watch]:
    watch = Watch()
    measured = Unmeasured()
    return Auto(lambda: FIELD, live=lambda: measured, clock_s=lambda: watch.now_s, **changes), watch


def asked(session: str = "", **changes: Any) -> Call:
    fields = {"messages": [{"role": "user", "content": "Hi there!"}], **({"prompt_cache_key": session} if session else {})}
    return call("auto:best", fields=fields, **changes)


def decided(it: Auto, one: Call) -> Decision:
    decision = it.decide(one, BEST, RouteField(), EVERYBODY, features_for(one, ""))
    it.keep(one, decision)
    return decision


def answered(it: Auto, one: Call, offer: str, tokens: int = 50) -> None:
    settlement = Settlement(
        request_id=one.id,
        attempt=1,
        at_us=0,
        quality="exact",
        tokens=Tokens(input_uncached=tokens, output_text=5),
        cost_nusd=1,
        price_source="a list",
    )
    it.observe(one, attempt(deployment=deployment(offer)), settlement)


@pytest.mark.parametrize(
    ("name", "wanted", "parsed"),
    [
        ("auto", True, ("auto", "")),
        ("auto:cheap", True, ("auto:cheap", "")),
        ("smart:floor", True, ("auto:floor", "smart")),
        ("a/b:free:nitro", True, ("auto:nitro", "a/b:free")),
        ("autogen/gpt", False, None),
        ("floor", False, None),
        ("smart", False, None),
    ],
)
def test_it_is_asked_by_its_names_alone(name: str, wanted: bool, parsed: tuple[str, str] | None) -> None:
    it, _ = auto()

    assert it.wants(name) is wanted
    assert parsed is None or it.parsed(name) == parsed


def test_there_is_no_policy_by_another_name() -> None:
    with pytest.raises(ModelNotFound, match="auto:cheap"):
        auto()[0].policy("auto:nonsense")


def test_a_conversation_stays_with_who_answered_it() -> None:
    it, _ = auto()
    first = asked("s")
    alone, before = decided(it, first).chosen, decided(it, asked("s")).why
    answered(it, first, "openai/one")

    assert (alone, before) == ("openai/other", "rule")
    assert (decided(it, asked("s")).chosen, decided(it, asked("s")).why) == ("openai/one", "session")
    assert decided(it, asked("another")).chosen == "openai/other"


def test_a_conversation_is_forgotten_when_nobody_has_gone_on_with_it() -> None:
    it, watch = auto(memory=Memory(session_s=60.0))
    first = asked("s")
    decided(it, first)
    answered(it, first, "openai/one")
    watch.now_s += 61

    assert decided(it, asked("s")).why == "rule"


def test_what_the_providers_cache_holds_is_forgotten_sooner() -> None:
    it, watch = auto(memory=Memory(warm_s=10.0))
    first = asked("s")
    decided(it, first)
    answered(it, first, "openai/one", tokens=40)
    warm = decided(it, asked("s")).session
    watch.now_s += 11

    cold = decided(it, asked("s")).session

    assert warm is not None
    assert cold is not None
    assert (warm.warm_tokens, cold.warm_tokens) == (40, 0)


def test_the_oldest_conversations_and_receipts_go_first() -> None:
    it, _ = auto(memory=Memory(sessions_max=1, receipts_max=2))
    for number in range(3):
        one = asked(f"s{number}", id=f"req_{number}")
        decided(it, one)
        answered(it, one, "openai/one")

    assert [it.kept(f"req_{number}") is not None for number in range(3)] == [False, True, True]
    assert [decided(it, asked(f"s{number}")).why for number in (2, 1)] == ["session", "rule"]


def test_how_many_bytes_a_token_has_is_learned_from_what_is_metered() -> None:
    it, _ = auto()
    one = asked()
    decided(it, one)
    for _ in range(2_000):
        answered(it, one, "openai/one", tokens=one.routed.text_bytes // 2)
    before = it.live()
    changed = Unmeasured()
    it._live_offers = lambda: changed  # as a new view of what is measured

    assert before.bytes_per_token == {}
    assert it.live().bytes_per_token["openai"] == pytest.approx(2.0, rel=0.1)


def test_nothing_is_learned_from_what_nobody_counted() -> None:
    it, _ = auto()
    one = asked("s")
    decided(it, one)

    it.observe(one, attempt(outcome="upstream_error"), None)

    assert decided(it, asked("s")).session is None


def test_only_those_who_are_broken_are_asked_where_nobody_else_is_left() -> None:
    it, watch = auto(broken=lambda: dict.fromkeys(FIELD.names, "its circuit is open"))

    assert decided(it, asked()).chosen == "openai/other"
    it._broken = lambda: {"openai/other": "its circuit is open"}
    watch.now_s += 1
    assert decided(it, asked()).chosen == "openai/one"


def test_the_header_and_the_body_ask_together() -> None:
    it, _ = auto()
    one = call("auto", fields={"route": {"max_cost_usd": 1}}, headers=((b"x-tollway-route", b"max_cost_usd=0.5,task=math"),))

    assert it.asked(one) == RouteField(max_cost_nusd=500_000_000, task="math")


def test_a_body_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        features_for(replace(call("auto"), body=b"[1]"), "")
