"""Which names lead to which deployments."""

from __future__ import annotations

import msgspec
import pytest

from ledger.records import Bounds
from providers.provider import Skill, Timeouts, Traits
from proxy.call import Tier
from proxy.config import Config
from proxy.deployments.models import ModelTable, Named, Provider, Target
from proxy.deployments.upstreams import configured, narrowed
from proxy.errors import ModelNotFound
from tests.proxy.samples import upstream


def provider(
    name: str, *models: str, accounts: tuple[tuple[str, int], ...] = (("default", 1),), closed: bool = False
) -> Provider:
    held = tuple((upstream(name, account), weight) for account, weight in accounts)
    return Provider(name=name, accounts=held, models=models, closed=closed)


def names(tiers: tuple[Tier, ...]) -> list[list[str]]:
    return [[it.name for it in tier.deployments] for tier in tiers]


def named(*targets: str, fallbacks: tuple[str, ...] = ()) -> Named:
    return Named(targets=tuple(map(Target, targets)), fallbacks=fallbacks)


ACME = provider("acme", "gpt", "shared", "org/big")
BETA = provider("beta", "llama", "shared")


def test_a_provider_and_its_model_name_one_exactly() -> None:
    assert names(ModelTable([ACME, BETA]).resolve("beta/shared")) == [["beta/shared"]]


def test_a_provider_that_is_not_closed_may_serve_what_it_does_not_list() -> None:
    assert names(ModelTable([ACME]).resolve("acme/new/one")) == [["acme/new/one"]]


def test_a_closed_provider_serves_its_list_and_nothing_else() -> None:
    table = ModelTable([provider("acme", "gpt", closed=True)])

    assert names(table.resolve("acme/gpt")) == [["acme/gpt"]]
    with pytest.raises(ModelNotFound, match="'acme' does not serve 'other'"):
        table.resolve("acme/other")


def test_a_bare_name_that_one_provider_lists_is_enough() -> None:
    table = ModelTable([ACME, BETA])

    assert names(table.resolve("llama")) == [["beta/llama"]]
    assert names(table.resolve("org/big")) == [["acme/org/big"]]


def test_a_bare_name_that_several_list_is_ambiguous_and_the_answer_says_what_to_ask_for() -> None:
    with pytest.raises(ModelNotFound) as caught:
        ModelTable([BETA, ACME]).resolve("shared")

    assert caught.value.message == "Several providers serve 'shared': ask for one of 'acme/shared', 'beta/shared'."
    assert (caught.value.status, caught.value.param) == (404, "model")


@pytest.mark.parametrize("name", ["unknown", "gamma/gpt", "acme/", "/gpt", "ACME/gpt", "Gpt", "acme", "/"])
def test_an_unknown_name_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFound):
        ModelTable([ACME]).resolve(name)


def test_an_operators_name_goes_before_a_providers() -> None:
    table = ModelTable([ACME, BETA], models={"gpt": named("beta/llama")}, aliases={"llama": "acme/gpt"})

    assert names(table.resolve("gpt")) == [["beta/llama"]]
    assert names(table.resolve("llama")) == [["acme/gpt"]]


@pytest.mark.parametrize(
    ("alias", "expected"),
    [("to-provider", [["acme/gpt"]]), ("to-model", [["beta/llama"]]), ("to-bare", [["beta/llama"]]), ("twice", [["acme/gpt"]])],
)
def test_an_alias_leads_wherever_it_points(alias: str, expected: list[list[str]]) -> None:
    aliases = {"to-provider": "acme/gpt", "to-model": "smart", "to-bare": "llama", "twice": "to-provider"}
    table = ModelTable([ACME, BETA], models={"smart": named("beta/llama")}, aliases=aliases)

    assert names(table.resolve(alias)) == expected


def test_aliases_in_a_circle_are_not_found() -> None:
    with pytest.raises(ModelNotFound):
        ModelTable([ACME], aliases={"a": "b", "b": "a"}).resolve("a")


def test_a_model_has_a_tier_of_its_targets_and_one_for_each_fallback() -> None:
    models = {"smart": named("acme/gpt", "beta/big", fallbacks=("fast", "acme/last")), "fast": named("beta/llama")}

    tiers = ModelTable([ACME, BETA], models=models).resolve("smart")

    assert names(tiers) == [["acme/gpt", "beta/big"], ["beta/llama"], ["acme/last"]]
    assert [tier.name for tier in tiers] == ["smart", "fast", "acme/last"]


def test_fallbacks_of_fallbacks_follow_depth_first() -> None:
    models = {
        "a": named("acme/a", fallbacks=("b", "d")),
        "b": named("acme/b", fallbacks=("c",)),
        "c": named("acme/c"),
        "d": named("acme/d"),
    }

    assert names(ModelTable([ACME], models=models).resolve("a")) == [["acme/a"], ["acme/b"], ["acme/c"], ["acme/d"]]


def test_a_fallback_may_be_an_alias() -> None:
    models = {"a": named("acme/a", fallbacks=("other",))}

    assert names(ModelTable([ACME], models=models, aliases={"other": "acme/b"}).resolve("a")) == [["acme/a"], ["acme/b"]]


def test_fallbacks_in_a_circle_end() -> None:
    models = {"a": named("acme/a", fallbacks=("b",)), "b": named("acme/b", fallbacks=("a", "b"))}

    assert names(ModelTable([ACME], models=models).resolve("a")) == [["acme/a"], ["acme/b"]]


def test_models_that_all_fall_back_on_each_other_are_each_tried_once() -> None:
    every = tuple(f"m{number}" for number in range(40))
    models = {name: named(f"acme/{name}", fallbacks=every) for name in every}

    assert len(ModelTable([ACME], models=models).resolve("m0")) == 40


def test_a_target_has_the_share_of_its_weight_however_many_accounts_divide_it() -> None:
    acme = provider("acme", accounts=(("one", 2), ("two", 3)))
    models = {"smart": Named(targets=(Target("acme/gpt", 5), Target("beta/llama", 7)))}

    (tier,) = ModelTable([acme, BETA], models=models).resolve("smart")

    shares = {it.upstream.account: it.weight for it in tier.deployments}
    assert shares["one"] * 3 == shares["two"] * 2
    assert (shares["one"] + shares["two"]) * 7 == shares["default"] * 5


def test_a_target_that_nobody_serves_just_now_does_not_take_the_others_with_it() -> None:
    models = {
        "smart": named("gone/x", "acme/gpt", fallbacks=("gone/y", "beta/llama")),
        "lost": named("gone/x", fallbacks=("acme/gpt",)),
    }
    table = ModelTable([ACME, BETA], models=models)

    assert names(table.resolve("smart")) == [["acme/gpt"], ["beta/llama"]]
    assert names(table.resolve("lost")) == [["acme/gpt"]]


def test_a_model_of_which_nothing_is_served_is_not_found() -> None:
    models = {"smart": named("gone/x", fallbacks=("gone/y",))}

    with pytest.raises(ModelNotFound, match="'gone/x'"):
        ModelTable([ACME], models=models).resolve("smart")


def test_the_list_has_the_operators_names_first_and_every_provider() -> None:
    table = ModelTable([ACME, BETA], models={"smart": named("acme/gpt")}, aliases={"old": "smart"})

    rows = [(row.id, row.owned_by) for row in table.models()]

    assert rows == [
        ("smart", "tollway"),
        ("old", "tollway"),
        ("acme/gpt", "acme"),
        ("acme/shared", "acme"),
        ("acme/org/big", "acme"),
        ("beta/llama", "beta"),
        ("beta/shared", "beta"),
    ]
    assert table.providers() == [ACME, BETA]
    assert all(table.resolve(name) for name, _ in rows)


def test_what_callers_ask_for_does_not_pile_up() -> None:
    table = ModelTable([ACME])

    for number in range(10_000):
        table.resolve(f"acme/{number}")

    assert len(table._memo) <= 4096
    assert names(table.resolve("acme/1")) == [["acme/1"]]


def test_targets_take_turns_by_priority_and_share_within_it() -> None:
    smart = Named(
        targets=(Target("beta/llama", 1, 2), Target("acme/gpt", 3), Target("acme/org/big")), fallbacks=("beta/shared",)
    )

    tiers = ModelTable([ACME, BETA], models={"smart": smart}).resolve("smart")

    assert names(tiers) == [["acme/gpt", "acme/org/big"], ["beta/llama"], ["beta/shared"]]
    assert len({tier.name for tier in tiers}) == 3
    assert [it.weight for it in tiers[0].deployments] == [3, 1]


def test_a_models_strategy_is_that_of_its_tiers_and_of_no_other() -> None:
    smart = Named(targets=(Target("acme/gpt"),), fallbacks=("beta/llama",), strategy="weighted")

    tiers = ModelTable([ACME, BETA], models={"smart": smart}).resolve("smart")

    assert [tier.strategy for tier in tiers] == ["weighted", None]


def test_detours_come_last_and_say_what_they_are_for() -> None:
    smart = Named(
        targets=(Target("acme/gpt"),),
        fallbacks=("beta/shared",),
        detours=(("context", "long"), ("content_policy", "beta/llama"), ("context", "nowhere/at-all")),
    )
    long = Named(targets=(Target("acme/org/big"),), fallbacks=("beta/shared",))

    tiers = ModelTable([ACME, BETA], models={"smart": smart, "long": long}).resolve("smart")

    assert [(tier.detour, names((tier,))[0]) for tier in tiers] == [
        (None, ["acme/gpt"]),
        (None, ["beta/shared"]),
        ("context", ["acme/org/big"]),
        ("content_policy", ["beta/llama"]),
    ]


def test_detours_alone_are_no_model() -> None:
    smart = Named(targets=(Target("gone/gpt"),), detours=(("context", "acme/gpt"),))

    with pytest.raises(ModelNotFound):
        ModelTable([ACME], models={"smart": smart}).resolve("smart")


def test_a_models_own_timeouts_take_the_place_of_its_providers() -> None:
    hasty = Named(targets=(Target("acme/gpt"),), fallbacks=("beta/llama",), timeouts=(("first_byte_s", 3.0), ("idle_s", 2.0)))

    own, other = ModelTable([ACME, BETA], models={"hasty": hasty}).resolve("hasty")

    assert own.deployments[0].upstream.timeouts == Timeouts(first_byte_s=3.0, idle_s=2.0)
    assert other.deployments[0].upstream.timeouts == Timeouts()


def test_an_alias_is_followed_to_what_it_means_whatever_that_is() -> None:
    table = ModelTable([ACME], aliases={"a": "b", "b": "auto:cheap"})

    assert [table.meant(name) for name in ("a", "b", "acme/gpt")] == ["auto:cheap", "auto:cheap", "acme/gpt"]


def test_what_can_be_offered_is_what_is_listed_and_what_is_a_target() -> None:
    closed = provider("gamma", "one", closed=True)
    table = ModelTable([ACME, closed], models={"smart": named("acme/unlisted", "acme/gpt", "gamma/two", "nobody/x")})

    assert [f"{it.name}/{model}" for it, model in table.offers()] == [
        *("acme/gpt", "acme/shared", "acme/org/big"),
        *("gamma/one", "acme/unlisted"),
    ]


def test_a_bare_name_is_served_by_everybody_who_lists_it() -> None:
    table = ModelTable([ACME, BETA])

    assert [table.serving(name) for name in ("shared", "gpt", "none")] == [["acme/shared", "beta/shared"], ["acme/gpt"], []]


# --- what an account serves a model at ---------------------------------------------------------------------------------


def test_a_model_that_is_served_by_responses_alone_is_not_asked_for_by_chat_completions() -> None:
    known = {("acme", "gpt"): Bounds(responses_only=True)}
    table = ModelTable([ACME], narrowed=narrowed(lambda *name: known.get(name, Bounds())))

    (gpt,), (shared,) = (table.resolve(f"acme/{name}")[0].deployments for name in ("gpt", "shared"))

    assert "chat/completions" not in gpt.upstream.vendor.endpoints
    assert gpt.serves("chat/completions")
    assert shared.upstream == upstream("acme")


def test_a_provider_has_the_endpoints_that_are_configured() -> None:
    config = Config(providers={"mine": {"type": "openai", "base_url": "http://m.invalid/v1", "endpoints": ["responses"]}})

    (mine,) = configured(config)

    assert mine.accounts[0][0].vendor.endpoints == {"responses"}


def test_an_account_is_found_by_its_name() -> None:
    table = ModelTable([provider("acme", "gpt", accounts=(("a", 1), ("b", 1)))])

    assert table.account("acme", "b") == upstream("acme", "b")
    assert table.account("acme", "c") is None
    assert table.account("other", "a") is None


@pytest.mark.parametrize(
    ("can", "chat", "embeddings"),
    [
        (None, True, True),
        ({"chat", "tools"}, True, False),
        ({"embedding"}, False, True),
        ({"chat", "embedding"}, True, True),
    ],
)
def test_a_model_is_served_by_what_its_server_says_that_it_can(can: set[Skill] | None, chat: bool, embeddings: bool) -> None:
    traits = {"m": Traits(can=None if can is None else frozenset(can))}
    local = msgspec.structs.replace(provider("acme", "m"), traits=traits)
    vendor = msgspec.structs.replace(local.accounts[0][0].vendor, endpoints=frozenset({"chat/completions", "embeddings"}))
    account = msgspec.structs.replace(local.accounts[0][0], vendor=vendor)
    table = ModelTable([msgspec.structs.replace(local, accounts=((account, 1),))])

    (deployment,) = table.resolve("acme/m")[0].deployments

    assert (deployment.serves("chat/completions"), deployment.serves("embeddings")) == (chat, embeddings)
    assert table.traits("acme", "m") is traits["m"]
    assert table.traits("acme", "other") is None
