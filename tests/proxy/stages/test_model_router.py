"""What a key may use, under whatever name it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.records import Price
from providers.canonical import ReasoningAsk
from providers.provider import Endpoint
from proxy.call import Call, Completed, Principal, Reply, Weight
from proxy.deployments.held import Held, Holding
from proxy.deployments.models import ModelTable, Named, Provider, Target
from proxy.errors import (
    FileNotFound,
    InvalidRequest,
    ModelNotFound,
    NoCandidate,
    NoHealthyUpstream,
    NotAllowed,
    UnsupportedEndpoint,
)
from proxy.routing.auto import Auto
from proxy.routing.live import Unmeasured
from proxy.routing.policy import POLICIES, Abstain, Policy
from proxy.stages.model_router import ModelRouter, may_use
from tests.proxy.routing.worlds import Known, field_of, price_of
from tests.proxy.samples import call, upstream

TABLE = ModelTable(
    [
        Provider(name="acme", accounts=((upstream("acme"), 1),), models=("gpt", "mini")),
        Provider(name="beta", accounts=((upstream("beta"), 1),), models=("llama",)),
    ],
    models={"smart": Named(targets=(Target("acme/gpt"), Target("beta/llama")), fallbacks=("acme/mini",))},
    aliases={"old": "smart"},
)


async def routed(model: str, *patterns: str) -> list[list[str]]:
    seen: list[Call] = []

    async def service(call: Call, /) -> Reply:
        seen.append(call)
        return Completed(status=200, headers=[], body=b"")

    principal = Principal(key_id="key_1", name="alice", models=patterns)
    await ModelRouter(lambda: TABLE)(call(model, principal=principal), service)
    return [[it.name for it in tier.deployments] for tier in seen[0].tiers]


async def test_a_key_without_patterns_may_use_everything() -> None:
    assert await routed("old") == [["acme/gpt", "beta/llama"], ["acme/mini"]]


@pytest.mark.parametrize(
    ("model", "patterns", "expected"),
    [
        ("old", ("old",), [["acme/gpt", "beta/llama"], ["acme/mini"]]),
        ("smart", ("sm*",), [["acme/gpt", "beta/llama"], ["acme/mini"]]),
        ("smart", ("acme/*",), [["acme/gpt"], ["acme/mini"]]),
        ("smart", ("*/mini",), [["acme/mini"]]),
        ("old", ("beta/llama",), [["beta/llama"]]),
        ("gpt", ("acme/gpt",), [["acme/gpt"]]),
        ("gpt", ("gpt",), [["acme/gpt"]]),
        ("acme/gpt", ("none", "acme/g?t"), [["acme/gpt"]]),
    ],
)
async def test_a_key_gets_what_its_patterns_allow(model: str, patterns: tuple[str, ...], expected: list[list[str]]) -> None:
    assert await routed(model, *patterns) == expected


@pytest.mark.parametrize(
    ("model", "pattern"),
    [
        ("smart", "old"),
        ("acme/gpt", "gpt"),
        ("acme/gpt", "ACME/*"),
        ("old", "none/*"),
        ("smart", "acme"),
        ("acme/gpt", "acme/gp"),
    ],
)
async def test_a_key_gets_nothing_else(model: str, pattern: str) -> None:
    with pytest.raises(NotAllowed) as caught:
        await routed(model, pattern)

    assert (caught.value.status, caught.value.param) == (403, "model")


async def forbidden(principal: Principal, **changes: Any) -> NotAllowed:
    async def service(call: Call, /) -> Reply:
        raise AssertionError("it may not be used")

    with pytest.raises(NotAllowed) as caught:
        await ModelRouter(lambda: TABLE)(call("smart", principal=principal, **changes), service)
    return caught.value


@pytest.mark.parametrize(
    ("key", "owners", "expected"),
    [
        ((), (("acme/*",),), [["acme/gpt"], ["acme/mini"]]),
        (("*",), (("acme/*",),), [["acme/gpt"], ["acme/mini"]]),
        (("acme/*", "beta/*"), (("smart",), ("*/mini",)), [["acme/mini"]]),
        (("smart",), (("smart",), ("s*",)), [["acme/gpt", "beta/llama"], ["acme/mini"]]),
    ],
)
async def test_a_user_and_a_team_restrict_their_keys_further(
    key: tuple[str, ...], owners: tuple[tuple[str, ...], ...], expected: list[list[str]]
) -> None:
    seen: list[Call] = []

    async def service(call: Call, /) -> Reply:
        seen.append(call)
        return Completed(status=200, headers=[], body=b"")

    principal = Principal(key_id="key_1", name="alice", models=key, owner_models=owners)
    await ModelRouter(lambda: TABLE)(call("smart", principal=principal), service)

    assert [[it.name for it in tier.deployments] for tier in seen[0].tiers] == expected


@pytest.mark.parametrize("owners", [(("none/*",),), (("acme/*",), ("beta/*",)), ((), ("x",))])
async def test_what_any_of_them_forbids_is_forbidden(owners: tuple[tuple[str, ...], ...]) -> None:
    principal = Principal(key_id="key_1", name="alice", models=("*",), owner_models=owners)

    assert (await forbidden(principal)).status == 403
    assert not may_use(principal, "acme/gpt")


async def test_a_key_may_call_the_endpoints_that_it_has_and_no_others() -> None:
    principal = Principal(key_id="key_1", name="alice", endpoints=("embeddings", "responses"))

    refusal = await forbidden(principal, endpoint="chat/completions")

    assert (refusal.status, refusal.code, "chat/completions" in refusal.message) == (403, "not_allowed", True)


async def test_a_key_with_the_endpoint_is_let_through() -> None:
    async def service(call: Call, /) -> Reply:
        return Completed(status=200, headers=[], body=b"through")

    principal = Principal(key_id="key_1", name="alice", endpoints=("chat/completions",))
    reply = await ModelRouter(lambda: TABLE)(call("smart", principal=principal), service)

    assert isinstance(reply, Completed)
    assert reply.body == b"through"


async def test_a_name_that_nobody_knows_is_not_found() -> None:
    with pytest.raises(ModelNotFound):
        await routed("unknown", "*")


async def test_a_new_table_counts_for_the_next_call() -> None:
    tables = [ModelTable(()), TABLE]
    router = ModelRouter(lambda: tables[0])

    async def service(call: Call, /) -> Reply:
        return Completed(status=200, headers=[], body=call.tiers[0].name.encode())

    with pytest.raises(ModelNotFound):
        await router(call("smart"), service)
    del tables[0]
    reply = await router(call("smart"), service)

    assert isinstance(reply, Completed)
    assert reply.body == b"smart"


def test_the_list_of_models_asks_the_same_question() -> None:
    principal = Principal(key_id="key_1", name="alice", models=("acme/*", "smart"))

    assert [name for name in ("acme/gpt", "beta/llama", "smart", "old") if may_use(principal, name)] == ["acme/gpt", "smart"]


async def resolved(model: str, endpoint: Endpoint = "chat/completions", table: ModelTable = TABLE) -> Call:
    seen: list[Call] = []

    async def service(call: Call, /) -> Reply:
        seen.append(call)
        return Completed(status=200, headers=[], body=b"")

    await ModelRouter(lambda: table)(call(model, endpoint=endpoint), service)
    return seen[0]


@pytest.mark.parametrize(
    ("model", "name", "thinking"),
    [
        ("gpt(high)", "acme/gpt", ReasoningAsk(effort="high", suffixed=True)),
        ("acme/gpt(2048)", "acme/gpt", ReasoningAsk(budget_tokens=2048, suffixed=True)),
        ("gpt", "acme/gpt", None),
    ],
)
async def test_a_suffix_says_how_much_the_model_is_to_think(model: str, name: str, thinking: ReasoningAsk | None) -> None:
    found = await resolved(model)

    assert (found.tiers[0].deployments[0].name, found.thinking) == (name, thinking)
    assert found.head.model == model


async def test_a_name_that_somebody_lists_has_no_suffix() -> None:
    table = ModelTable([Provider(name="acme", accounts=((upstream("acme"), 1),), models=("gpt(high)",))])

    found = await resolved("gpt(high)", table=table)

    assert (found.tiers[0].deployments[0].model, found.thinking) == ("gpt(high)", None)


async def test_where_nothing_thinks_there_is_no_suffix() -> None:
    with pytest.raises(ModelNotFound):
        await resolved("gpt(high)", "embeddings")


async def test_a_key_may_use_a_model_with_a_suffix_too() -> None:
    assert await routed("gpt(high)", "gpt") == [["acme/gpt"]]


# --- where a model is chosen -------------------------------------------------------------------------------------------

FIELD = field_of({"small": Known(score=40, input_usd=0.1), "middle": Known(score=55), "large": Known(score=60, input_usd=10)})
CHOICE = ModelTable(
    [Provider(name="openai", accounts=((upstream("openai"), 1),), models=("small", "middle", "large", "unpriced"))],
    models={"smart": Named(targets=(Target("openai/middle"), Target("openai/large")))},
    aliases={"gpt-4": "auto:best"},
)
HELLO = {"messages": [{"role": "user", "content": "Hi there!"}]}


class Prices:
    """None for one of them."""

    def price(self, _provider: str, model: str, _at_us: int | None = None, /) -> Price | None:
        return None if model == "unpriced" else price_of(Known())


def router(policies: Mapping[str, Policy] = POLICIES, *, strict: bool = False) -> ModelRouter:
    measured = Unmeasured()
    auto = Auto(lambda: FIELD, live=lambda: measured, policies=policies, clock_s=lambda: 0.0)
    return ModelRouter(lambda: CHOICE, prices=Prices() if strict else None, auto=auto)


async def chosen(model: str, *patterns: str, policies: Mapping[str, Policy] = POLICIES, **fields: Any) -> list[str]:
    seen: list[Call] = []

    async def service(call: Call, /) -> Reply:
        seen.append(call)
        return Completed(status=200, headers=[], body=b"")

    principal = Principal(key_id="key_1", name="alice", models=patterns)
    await router(policies)(call(model, principal=principal, fields={**HELLO, **fields}), service)
    return [it.name for tier in seen[0].tiers for it in tier.deployments]


async def test_the_choice_comes_first_and_others_stand_by() -> None:
    assert await chosen("auto:best") == ["openai/large", "openai/middle", "openai/small"]


async def test_an_alias_may_mean_a_policy() -> None:
    assert (await chosen("gpt-4"))[0] == "openai/large"


async def test_the_body_may_name_another_policy_and_task() -> None:
    assert (await chosen("auto", route={"policy": "floor"}))[0] == "openai/small"
    assert (await chosen("auto", route={"policy": "auto:best", "prefer": "*/middle"}))[0] == "openai/middle"


async def test_a_key_is_only_given_what_it_may_use() -> None:
    assert await chosen("auto:best", "*/small", "*/middle") == ["openai/middle", "openai/small"]
    assert (await chosen("auto:best", "auto:*"))[0] == "openai/large"


async def test_a_name_with_a_sort_is_sorted() -> None:
    assert await chosen("smart:floor") == ["openai/middle", "openai/large"]


async def test_what_nobody_lists_needs_no_sorting() -> None:
    assert await chosen("openai/unlisted:nitro") == ["openai/unlisted"]


async def test_a_policy_that_there_is_not_is_not_found() -> None:
    with pytest.raises(ModelNotFound, match="auto:best"):
        await chosen("auto:nonsense")
    with pytest.raises(InvalidRequest) as caught:
        await chosen("auto", route={"policy": "nonsense"})

    assert caught.value.param == "route.policy"


async def test_where_nobody_is_known_yet_it_may_be_asked_again() -> None:
    measured = Unmeasured()
    empty = Auto(lambda: field_of({}), live=lambda: measured, clock_s=lambda: 0.0)

    async def service(_: Call, /) -> Reply:
        raise AssertionError("nobody is asked")

    with pytest.raises(NoHealthyUpstream):
        await ModelRouter(lambda: CHOICE, auto=empty)(call("auto", fields=HELLO), service)


async def test_nobody_is_refused_with_reasons_or_stood_in_for() -> None:
    stands = {"auto": replace(POLICIES["auto"], fallback="smart")}

    with pytest.raises(NoCandidate, match="openai/large: it would cost"):
        await chosen("auto", route={"max_cost_usd": 0})
    assert await chosen("auto", policies=stands, route={"max_cost_usd": 0}) == ["openai/middle", "openai/large"]


async def test_a_default_stands_in_as_far_as_it_keeps_to_what_is_asked() -> None:
    unsure = {"auto": replace(POLICIES["auto:best"], abstain=Abstain(coverage=1.01), default="smart")}

    assert await chosen("auto", policies=unsure) == ["openai/middle", "openai/large"]
    assert await chosen("auto", policies=unsure, route={"deny": ["*/large"]}) == ["openai/middle"]
    assert await chosen("auto", policies=unsure, route={"deny": ["*/large", "*/middle"]}) == ["openai/small"]
    assert await chosen("auto", "*/small", policies=unsure) == ["openai/small"]


async def test_embeddings_are_not_chosen_for() -> None:
    async def service(_: Call, /) -> Reply:
        raise AssertionError("nobody is asked")

    with pytest.raises(UnsupportedEndpoint):
        await router()(call("auto", endpoint="embeddings", fields={"input": "hi"}), service)


async def test_what_goes_on_elsewhere_is_not_chosen_for() -> None:
    with pytest.raises(InvalidRequest) as caught:
        await chosen("auto", previous_response_id="resp_1")

    assert caught.value.param == "previous_response_id"


async def test_who_has_the_files_of_a_request_is_chosen_among() -> None:
    held = Held()
    held.keep("file", "file-1", Holding("key_1", "openai", "default"))
    held.keep("file", "file-2", Holding("key_1", "elsewhere", "default"))
    measured = Unmeasured()
    auto = Auto(lambda: FIELD, live=lambda: measured, policies=POLICIES, clock_s=lambda: 0.0)
    asked = call("auto:best", principal=Principal(key_id="key_1", name="alice"), fields=HELLO)
    seen: list[Call] = []

    async def service(call: Call, /) -> Reply:
        seen.append(call)
        return Completed(status=200, headers=[], body=b"")

    async def ask(name: str) -> None:
        head = replace(asked.head, weight=Weight(references=1, files=(name,)))
        await ModelRouter(lambda: CHOICE, auto=auto, held=held)(replace(asked, head=head), service)

    await ask("file-1")
    with pytest.raises(NoCandidate):
        await ask("file-2")
    held.keep("file", "file-3", Holding("key_2", "openai", "default"))
    with pytest.raises(FileNotFound):
        await ask("file-3")

    assert [it.upstream.provider for tier in seen[0].tiers for it in tier.deployments] == ["openai"] * 3


async def test_what_would_be_decided_can_be_asked_of_any_name() -> None:
    it = router(strict=True)

    decisions = [await it.explained(call(model, fields=HELLO)) for model in ("auto:best", "smart", "openai/small")]

    assert [decision.chosen for decision in decisions] == ["openai/large", "openai/middle", "openai/small"]


async def test_without_it_there_is_no_such_name() -> None:
    plain = ModelRouter(lambda: CHOICE)

    with pytest.raises(ModelNotFound):
        await plain.explained(call("auto"))
