"""What may be kept, and what a request asks of the cache."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.api.gate import admit
from proxy.caching.key import fields_of
from proxy.caching.policy import REMEMBERED_MAX, Policies, Policy, Wish, applies, wish_of
from proxy.errors import InvalidRequest
from tests.proxy.samples import call

ON = Policy(mode="on")


def wish(headers: list[tuple[bytes, bytes]] | None = None, **fields: Any) -> Wish:
    return wish_of(call(fields=fields, headers=headers or []))


def applied(policy: Policy = ON, asked: Wish | None = None, **fields: Any) -> bool:
    return applies(policy, asked or Wish(), fields_of(json.dumps(fields).encode()))


# --- whose policy ----------------------------------------------------------------------------------------------------


def test_the_first_pattern_that_fits_says_what_is_done_with_a_model() -> None:
    small, all_of_them = Policy(mode="asked"), Policy(mode="on", ttl_s=60)
    policies = Policies(Policy(), [("openai/gpt-*-mini", small), ("openai/*", all_of_them)])

    found = [policies.find(model) for model in ("openai/gpt-5-mini", "openai/gpt-5", "acme/gpt", "openai/gpt-5")]

    assert found == [small, all_of_them, Policy(), all_of_them]


def test_no_more_names_are_remembered_than_may_be() -> None:
    policies = Policies(Policy(), [("a*", ON)])

    found = [policies.find(f"a{number}") for number in range(REMEMBERED_MAX + 10)]

    assert found == [ON] * (REMEMBERED_MAX + 10)
    assert len(policies._found) == 10


# --- what is asked ---------------------------------------------------------------------------------------------------

HEADERS: list[tuple[bytes, bytes, Wish]] = [
    (b"cache-control", b"no-cache", Wish(fresh=True)),
    (b"cache-control", b"No-Store, max-age=60", Wish(keep=False, max_age_s=60)),
    (b"cache-control", b"max-age=0", Wish(max_age_s=0, fresh=True)),
    (b"cache-control", b'max-age="5"', Wish(max_age_s=5)),
    (b"cache-control", b"only-if-cached", Wish(only=True)),
    (b"cache-control", b"max-age=-1, max-age=soon, no-transform, max-stale=5", Wish()),
    (b"x-tollway-cache", b"on", Wish(use=True)),
    (b"x-tollway-cache", b" OFF ", Wish(decline=True)),
    (b"x-tollway-cache", b"refresh", Wish(fresh=True)),
    (b"accept", b"no-cache", Wish()),
]


@pytest.mark.parametrize(("name", "value", "expected"), HEADERS, ids=lambda it: it.decode() if isinstance(it, bytes) else "")
def test_a_header_says_what_is_wanted(name: bytes, value: bytes, expected: Wish) -> None:
    assert wish([(name, value)]) == expected


def test_a_word_that_means_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        wish([(b"x-tollway-cache", b"yes please")])

    assert caught.value.param == "x-tollway-cache"


def test_the_field_says_the_same_in_another_way() -> None:
    asked = {"use-cache": True, "no-cache": True, "no-store": True, "ttl": 60, "s-maxage": 30, "namespace": "a"}

    said = wish(cache=asked)

    assert said == Wish(use=True, fresh=True, keep=False, ttl_s=60, max_age_s=30, namespace="a")


def test_of_two_ages_the_stricter_counts() -> None:
    said = [wish([(b"cache-control", b"max-age=%d" % age)], cache={"s-maxage": 20}).max_age_s for age in (10, 30)]

    assert said == [10, 20]


WRONG: list[Any] = [
    {"no-cache": 1},
    {"ttl": True},
    {"ttl": -1},
    {"ttl": "60"},
    {"ttl": 1e12},
    {"namespace": 1},
    {"namespace": "x" * 300},
    {"key": "x"},
    [],
    "no-cache",
    True,
]


@pytest.mark.parametrize("value", WRONG, ids=str)
def test_a_field_that_means_nothing_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        admit(json.dumps({"model": "m", "cache": value}).encode())

    assert caught.value.param == "cache"


def test_an_empty_field_asks_for_nothing_and_is_for_us_all_the_same() -> None:
    head = admit(b'{"model":"m","cache":null}')

    assert (head.cache, head.ours) == (None, ("cache",))


# --- what may be kept ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "plain", "asked", "declined"),
    [("asked", False, True, False), ("on", True, True, False)],
)
def test_the_mode_says_who_has_to_ask(mode: Any, plain: bool, asked: bool, declined: bool) -> None:
    policy = Policy(mode=mode)

    found = [applied(policy), applied(policy, Wish(use=True)), applied(policy, Wish(use=True, decline=True))]

    assert found == [plain, asked, declined]


# Body, and whether it is kept unasked, and when it is asked for.
BODIES: list[tuple[dict[str, Any], bool, bool]] = [
    ({}, True, True),
    ({"temperature": 0}, True, True),
    ({"temperature": 0.0}, True, True),
    ({"temperature": None}, True, True),
    ({"temperature": 0.7}, False, True),
    ({"temperature": 1}, False, True),
    ({"temperature": "hot"}, False, True),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, True, True),
    ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, True, True),
    ({"tools": [{"type": "web_search"}]}, False, True),
    ({"tools": [{"type": "mcp", "server_url": "https://example.com"}]}, False, True),
    ({"web_search_options": {}}, False, True),
    ({"audio": {"voice": "alloy"}}, False, True),
    ({"store": False}, True, True),
    ({"store": True}, False, False),
    ({"background": True}, False, False),
    ({"conversation": "conv_1"}, False, False),
]


@pytest.mark.parametrize(("fields", "unasked", "asked"), BODIES, ids=lambda it: json.dumps(it) if isinstance(it, dict) else "")
def test_what_differs_each_time_has_to_be_asked_for_and_what_changes_something_is_never_kept(
    fields: dict[str, Any], unasked: bool, asked: bool
) -> None:
    assert (applied(**fields), applied(asked=Wish(use=True), **fields)) == (unasked, asked)


def test_the_operator_says_from_which_temperature_on_answers_are_to_differ() -> None:
    warm = Policy(mode="on", temperature_max=0.5)

    assert [applied(warm, temperature=it) for it in (0.5, 0.51)] == [True, False]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"generationConfig": {"temperature": 0}}, True),
        ({"generationConfig": {"temperature": 0.5}}, False),
        ({"generation_config": {"temperature": 0.5}}, False),
        ({"tools": [{"functionDeclarations": []}]}, True),
        ({"tools": [{"googleSearch": {}}]}, False),
    ],
)
def test_geminis_settings_are_looked_for_where_it_has_them(fields: dict[str, Any], expected: bool) -> None:
    assert applies(ON, Wish(), fields_of(json.dumps(fields).encode()), "gemini") is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tools": [{"name": "f", "input_schema": {}}]}, True),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, False),
        ({"mcp_servers": [{}]}, False),
        ({"temperature": 0.5}, False),
    ],
)
def test_anthropics_tools_are_the_clients_own_unless_they_say_otherwise(fields: dict[str, Any], expected: bool) -> None:
    assert applies(ON, Wish(), fields_of(json.dumps(fields).encode()), "anthropic") is expected
