"""What a caller may ask of the choice, in the body and in the header."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.call import RouteField
from proxy.errors import InvalidRequest
from proxy.routing.constraints import PATTERNS_MAX, joined, of_field, of_header


def test_every_field_is_read() -> None:
    field = of_field(
        {
            "max_cost_usd": 0.01,
            "max_ttft_ms": 500,
            "max_latency_ms": 8000.5,
            "min_quality": 0.5,
            "task": "coding",
            "prefer": "openai/*",
            "allow": ["openai/*", "groq/*"],
            "deny": ["*/*-preview"],
            "fallback": "smart",
            "policy": "cheap",
        }
    )

    assert field == RouteField(
        max_cost_nusd=10_000_000,
        max_ttft_ms=500.0,
        max_latency_ms=8000.5,
        min_quality=0.5,
        task="coding",
        prefer=("openai/*",),
        allow=("openai/*", "groq/*"),
        deny=("*/*-preview",),
        fallback="smart",
        policy="cheap",
    )


@pytest.mark.parametrize("value", [None, {}, {"task": None}])
def test_nothing_said_is_nothing_asked(value: Any) -> None:
    assert of_field(value) in (None, RouteField())


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ([], "route"),
        ("cheap", "route"),
        ({"speed": 1}, "route.speed"),
        ({"max_cost_usd": True}, "route.max_cost_usd"),
        ({"max_cost_usd": "1"}, "route.max_cost_usd"),
        ({"max_cost_usd": 1e7}, "route.max_cost_usd"),
        ({"max_ttft_ms": -1}, "route.max_ttft_ms"),
        ({"min_quality": 50}, "route.min_quality"),
        ({"task": "nonsense"}, "route.task"),
        ({"task": 1}, "route.task"),
        ({"allow": {"a": 1}}, "route.allow"),
        ({"allow": [""]}, "route.allow"),
        ({"deny": ["a"] * (PATTERNS_MAX + 1)}, "route.deny"),
        ({"fallback": "x" * 300}, "route.fallback"),
        ({"policy": "a\nb"}, "route.policy"),
    ],
)
def test_what_is_wrong_is_named(value: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        of_field(value)

    assert caught.value.param == param


@pytest.mark.parametrize(
    "text",
    [
        '{"max_cost_usd": 0.5, "allow": ["openai/*", "groq/*"], "task": "math"}',
        "max_cost_usd=0.5, allow=openai/*|groq/*, task=math",
        " task = math ,max_cost_usd=0.5,allow=openai/*|groq/*,",
    ],
)
def test_the_header_says_the_same_in_either_form(text: str) -> None:
    assert of_header(text) == RouteField(max_cost_nusd=500_000_000, allow=("openai/*", "groq/*"), task="math")


@pytest.mark.parametrize("text", ["fast", "{", "{}x", "max_cost_usd=cheap", "task=math,task=coding", "a=b", '{"task": 3}'])
def test_a_header_that_says_nothing_sensible_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        of_header(text)

    assert caught.value.param == "x-tollway-route"


def test_of_two_limits_the_tighter_one_holds() -> None:
    body = RouteField(max_cost_nusd=5, min_quality=0.5, deny=("a",), task="math")
    header = RouteField(max_cost_nusd=3, max_ttft_ms=7.0, min_quality=0.2, deny=("b",), task="coding", fallback="smart")

    assert joined(body, header) == RouteField(
        max_cost_nusd=3, max_ttft_ms=7.0, min_quality=0.5, deny=("a", "b"), task="math", fallback="smart"
    )
    assert joined(None, None) == RouteField()
