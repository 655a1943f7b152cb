"""What a key may use, under whatever name it is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from providers.canonical import ReasoningAsk
from providers.provider import Endpoint
from proxy.call import Call, Completed, Principal, Reply
from proxy.errors import ModelNotFound, NotAllowed
from proxy.models import ModelTable, Named, Provider, Target
from proxy.stages.model_router import ModelRouter, may_use
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
