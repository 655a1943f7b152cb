from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.learning.schema import fits

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "age": {"type": ["integer", "null"], "minimum": 0},
        "kind": {"enum": ["a", "b"]},
        "friends": {"type": "array", "items": {"$ref": "#"}, "maxItems": 3},
        "home": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}]},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
}


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        ({"name": "Ada", "age": 36}, True),
        ({"name": "Ada", "age": None, "kind": "a", "friends": [{"name": "Bo", "age": 1}], "home": {"city": "x"}}, True),
        ({"name": "Ada"}, False),
        ({"name": "", "age": 1}, False),
        ({"name": "Ada", "age": "36"}, False),
        ({"name": "Ada", "age": -1}, False),
        ({"name": "Ada", "age": True}, False),
        ({"name": "Ada", "age": 1, "more": 1}, False),
        ({"name": "Ada", "age": 1, "kind": "c"}, False),
        ({"name": "Ada", "age": 1, "friends": [{"name": "Bo"}]}, False),
        ({"name": "Ada", "age": 1, "home": {"town": "x"}}, False),
        ([], False),
    ],
)
def test_a_value_fits_a_schema_or_does_not(value: Any, verdict: bool) -> None:
    assert fits(value, PERSON) is verdict


@pytest.mark.parametrize("schema", [{"pattern": "^(a+)+$"}, {"$ref": "elsewhere.json"}, {"format": "date"}, {"type": "odd"}, 5])
def test_what_is_not_known_does_not_count_against_a_value(schema: Any) -> None:
    assert fits("a" * 64 + "!", schema) is True


def test_a_schema_without_an_end_is_not_judged() -> None:
    assert fits({}, {"$ref": "#"}) is None
    assert fits({}, {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}) is None


def test_a_value_that_takes_too_long_is_not_judged() -> None:
    assert fits(list(range(3_000)), {"uniqueItems": True}) is None
    assert fits([[0]] * 30_000, {"items": {"items": {"type": "integer"}}}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.0]) | st.sampled_from(["", "a", "bb"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    size = st.integers(0, 3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "additionalProperties": inner,
            "items": inner,
            "prefixItems": some,
            "anyOf": some,
            "oneOf": some,
            "allOf": some,
            "not": inner,
            "enum": st.lists(JSON, min_size=1, max_size=3),
            "const": JSON,
            "minLength": size,
            "maxLength": size,
            "minItems": size,
            "maxItems": size,
            "minProperties": size,
            "maxProperties": size,
            "uniqueItems": st.booleans(),
            "minimum": st.integers(-2, 2),
            "maximum": st.integers(-2, 2),
            "exclusiveMinimum": st.integers(-2, 2),
            "exclusiveMaximum": st.integers(-2, 2),
        },
    )


SCHEMAS = st.recursive(st.booleans() | st.just({}), keywords, max_leaves=6)


@given(JSON, SCHEMAS)
def test_it_says_what_the_reference_says(value: Any, schema: Any) -> None:
    assert fits(value, schema) is jsonschema.Draft202012Validator(schema).is_valid(value)
