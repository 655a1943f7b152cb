"""Who is meant: on recorded payloads, against a list that was reviewed by hand."""

from itertools import islice, permutations
from typing import Any

import pytest

from ledger.adapters import aliases
from ledger.catalogue.identity import (
    SUGGESTIONS_MAX,
    Alias,
    AliasTable,
    Resolution,
    Resolver,
    Suggestion,
    Unresolved,
    model_of,
    offer_of,
    suggest,
    variant_of,
)
from ledger.facts import ModelFact, Subject
from tests.ledger import recorded

TABLE = aliases.load()
FACTS = tuple(("openrouter", fact) for fact in recorded.openrouter().models)
JOINS = recorded.payload("joins.json")
EMPTY = AliasTable(reviewed="", dated=(), aliases=())


def model(resolver: Resolver, source: str, **subject: str) -> str:
    found = resolver.resolve(source, Subject(**subject))
    return found.model if isinstance(found, Resolution) else f"unresolved: {found.reason}"


@pytest.fixture(scope="module")
def resolver() -> Resolver:
    return Resolver(TABLE, FACTS)


@pytest.fixture(scope="module")
def slugs(resolver: Resolver) -> dict[str, set[str]]:
    """The slugs of Artificial Analysis on both days, by model."""
    found: dict[str, set[str]] = {}
    for day in (recorded.MARCH, recorded.MAY):
        for subject in recorded.subjects(day):
            resolution = resolver.resolve("artificial_analysis", subject)
            assert isinstance(resolution, Resolution)
            found.setdefault(resolution.model, set()).add(subject.source_name)
    return found


@pytest.fixture(scope="module")
def joined(resolver: Resolver, slugs: dict[str, set[str]]) -> dict[str, list[str]]:
    """Which slugs each of OpenRouter's ids has joined."""
    models = {fact.subject.source_name: resolver.resolve("openrouter", fact.subject) for _, fact in FACTS}
    return {
        name: sorted(slugs[found.model])
        for name, found in models.items()
        if isinstance(found, Resolution) and found.model in slugs
    }


def test_the_reviewed_list_is_long_enough_to_mean_something() -> None:
    assert len(JOINS["same"]) >= 120
    assert len(JOINS["apart"]) >= 100


def test_what_is_the_same_joins_and_nothing_else_does(joined: dict[str, list[str]]) -> None:
    assert joined == JOINS["same"]


def test_near_names_do_not_join(joined: dict[str, list[str]]) -> None:
    assert [pair for pair in JOINS["apart"] if pair[1] in joined.get(pair[0], ())] == []


def test_no_two_rows_of_one_day_are_the_same_variant(resolver: Resolver) -> None:
    for day in (recorded.MARCH, recorded.MAY):
        variants: dict[str, set[str]] = {}
        for subject in recorded.subjects(day):
            found = resolver.resolve("artificial_analysis", subject)
            assert isinstance(found, Resolution)
            variants.setdefault(found.variant, set()).add(subject.source_name)

        assert {variant: names for variant, names in variants.items() if len(names) > 1} == {}


def test_every_row_of_the_table_says_how_it_is_known_and_none_is_there_twice() -> None:
    keys = [(alias.source, alias.name, alias.label) for alias in TABLE.aliases]

    assert all(alias.why and 0 < alias.confidence <= 1 and bool(alias.name) != bool(alias.label) for alias in TABLE.aliases)
    assert len(set(keys)) == len(keys)


def test_no_row_of_the_table_points_at_a_name_that_another_row_takes_elsewhere() -> None:
    moved = {alias.name for alias in TABLE.aliases if not alias.source and alias.model and alias.model != alias.name}

    assert {alias.model for alias in TABLE.aliases} & moved == set()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-4o-2024-05-13", "openai/gpt-4o-2024-05-13"),
        ("gpt-4o-2024-11-20", "openai/gpt-4o-2024-11-20"),
        ("gpt-4o", "openai/gpt-4o-2024-08-06"),
        ("gpt-4o-2027-01-01", "openai/gpt-4o-2027-01-01"),
        ("gpt-5-2025-08-07", "openai/gpt-5"),
        ("claude-3-5-sonnet-20240620", "anthropic/claude-sonnet-3-5-20240620"),
        ("claude-3-5-sonnet-20241022", "anthropic/claude-sonnet-3-5-20241022"),
        ("claude-3-5-sonnet-latest", "anthropic/claude-sonnet-3-5-20241022"),
        ("groq/llama-3.3-70b-versatile", "meta/llama-3-3-70b-instruct"),
        ("mistral-small-2506", "mistral/mistral-small-3-2"),
    ],
)
def test_dates_tell_releases_apart_only_where_they_do(resolver: Resolver, name: str, expected: str) -> None:
    assert model(resolver, "gateway", source_name=name) == expected


@pytest.mark.parametrize(
    "name", ["mistral-large-latest", "deepseek-chat", "qwen-plus", "chatgpt-4o-latest", "gemini-flash-latest"]
)
def test_what_moves_is_unresolved(resolver: Resolver, name: str) -> None:
    assert model(resolver, "gateway", source_name=name).startswith("unresolved")


@pytest.mark.parametrize("name", ["my-model", "openrouter/auto", "", "///", "🦙"])
def test_what_nobody_made_is_unresolved(resolver: Resolver, name: str) -> None:
    assert model(resolver, "gateway", source_name=name).startswith("unresolved")


def test_openrouters_moving_names_are_what_it_says_they_are(resolver: Resolver) -> None:
    assert model(resolver, "openrouter", source_name="~anthropic/claude-haiku-latest") == "anthropic/claude-haiku-4-5"


def test_a_permanent_slug_finds_its_model_also_for_others(resolver: Resolver) -> None:
    assert model(resolver, "another", source_name="qwen/qwen3-coder-480b-a35b-07-25") == "qwen/qwen3-coder-480b-a35b"
    assert model(resolver, "another", source_name="z-ai/glm-4.6-20251208") == "zai/glm-4-6v"


def test_a_slug_that_was_given_away_is_told_by_its_display_name(resolver: Resolver) -> None:
    given = {"creator": "StepFun", "source_name": "step-3-5-flash"}

    assert model(resolver, "artificial_analysis", label="Step 3.5 Flash 2603", **given) == "stepfun/step-3-5-flash-2603"
    assert model(resolver, "artificial_analysis", label="Step 3.5 Flash", **given) == "stepfun/step-3-5-flash"


def fact(name: str, **more: Any) -> tuple[str, ModelFact]:
    return "a source", ModelFact(subject=Subject(source_name=name), **more)


def test_a_base_model_says_whose_copy_it_is() -> None:
    resolver = Resolver(EMPTY, [fact("acme/our-gpt", base_model="openai/gpt-5")])

    assert model(resolver, "a source", source_name="acme/our-gpt") == "openai/gpt-5"
    assert model(resolver, "another", source_name="acme/our-gpt") == "acme/our-gpt"


def test_a_name_that_two_models_claim_is_nobodys_and_is_listed() -> None:
    resolver = Resolver(EMPTY, [fact("acme/one", aliases=("acme/x",)), fact("acme/two", aliases=("acme/x",))])

    assert model(resolver, "a source", source_name="acme/x") == "acme/x"
    assert resolver.conflicts == ("acme/x is said to be acme/one and acme/two",)


def test_what_a_source_calls_by_its_own_id_is_never_anothers_alias() -> None:
    resolver = Resolver(EMPTY, [fact("acme/one", aliases=("acme/two",)), fact("acme/two")])

    assert model(resolver, "a source", source_name="acme/two") == "acme/two"


def test_the_table_counts_more_than_what_a_source_says() -> None:
    table = AliasTable(reviewed="", dated=(), aliases=(Alias(name="acme/x", model="acme/right", why="reviewed"),))
    resolver = Resolver(table, [fact("acme/wrong", aliases=("acme/x",))])

    assert model(resolver, "a source", source_name="acme/x") == "acme/right"


def test_the_order_of_facts_does_not_matter() -> None:
    names = [subject for _, it in FACTS for subject in (it.subject.source_name, *it.aliases)]
    shuffled = sorted(FACTS, key=lambda it: it[1].subject.source_name[::-1])

    one, other = Resolver(TABLE, FACTS), Resolver(TABLE, shuffled)

    assert [model(one, "x", source_name=name) for name in names] == [model(other, "x", source_name=name) for name in names]


def test_an_ambiguous_name_says_why() -> None:
    found = Resolver(TABLE).resolve("gateway", Subject(source_name="deepseek-chat"))

    assert isinstance(found, Unresolved)
    assert "moves it from version to version" in found.reason


def test_names_are_put_together_and_taken_apart() -> None:
    offer = offer_of(variant_of("openai/gpt-5", "high"), "azure", "eu", "batch")

    assert offer == "openai/gpt-5#high@azure/eu:batch"
    assert model_of(offer) == model_of("openai/gpt-5#high") == "openai/gpt-5"


def test_a_reading_of_a_model_has_no_offer_and_one_of_an_offer_has() -> None:
    resolver = Resolver(EMPTY)
    subject = Subject(source_name="openai/gpt-5", host="openrouter")
    quality = recorded.reading(subject, "gpqa_diamond", 0.8, "fraction", 10)
    speed = recorded.reading(subject, "ttft_p50", 300.0, "ms", 10)

    kept = [resolver.observe(quality), resolver.observe(speed)]

    assert [(it.variant, it.offer) for it in kept if not isinstance(it, Unresolved)] == [
        ("openai/gpt-5", ""),
        ("openai/gpt-5", "openai/gpt-5@openrouter"),
    ]


def test_likeness_is_suggested_and_words_that_tell_models_apart_are_not() -> None:
    names = ("acme/cogito-v2-big-671b", "acme/cogito-big-v2-671b", "acme/cogito-v2-big-671b-mini", "acme/cogito-v3-big-671b")

    found = suggest([*names, "other/cogito-v2-big-671b"])

    assert found == (Suggestion(model="acme/cogito-big-v2-671b", other="acme/cogito-v2-big-671b", likeness=1.0),)


def test_suggestions_are_bounded() -> None:
    names = [f"acme/{'-'.join(words)}" for words in islice(permutations("abcdefg"), 200)]

    assert len(suggest(names)) == SUGGESTIONS_MAX
