"""Which requests are the same request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.caching.key import IGNORED, Keyer, canonical, fields_of, tenant_of
from proxy.call import Principal, Tier
from tests.proxy.samples import deployment

KEYER = Keyer(b"s" * 32)
TIER = Tier(name="acme/gpt", deployments=(deployment(),))
BODY: dict[str, Any] = {
    "model": "acme/gpt",
    "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
    "temperature": 0,
}


def key(body: dict[str, Any] | bytes = BODY, **changes: Any) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {
        "tenant": "key:1",
        "endpoint": "chat/completions",
        "model": "acme/gpt",
        "tiers": (TIER,),
        "namespace": "",
        "fields": fields_of(raw),
    }
    return KEYER.key(**{**given, **changes})


# Each of these alone makes it another question.
CHANGES: dict[str, dict[str, Any]] = {
    "another tenant": {"tenant": "key:2"},
    "a tenant of another kind": {"tenant": "user:1"},
    "another endpoint": {"endpoint": "responses"},
    "another name of the model": {"model": "gpt"},
    "another namespace": {"namespace": "a"},
    "another provider": {"tiers": (Tier(name="acme/gpt", deployments=(deployment("other/gpt"),)),)},
    "another upstream model": {"tiers": (Tier(name="acme/gpt", deployments=(deployment("acme/gpt-2"),)),)},
    "another fallback": {"tiers": (TIER, Tier(name="b", deployments=(deployment("other/gpt"),)))},
    "no fallback": {"tiers": ()},
}
FIELDS: list[dict[str, Any]] = [
    {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi "}]},
    {"messages": [{"role": "system", "content": "be brief."}, {"role": "user", "content": "hi"}]},
    {"messages": [{"role": "user", "content": "hi"}, {"role": "system", "content": "be brief"}]},
    {"messages": [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "hi"}]},
    {"messages": [{"role": "user", "content": "hi"}]},
    {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
    {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi", "name": "bob"}]},
    {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "HI"}]},
    {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hi"},
            {"role": "user", "content": ""},
        ]
    },
    {"temperature": 1},
    {"temperature": 0.1},
    {"temperature": "0"},
    {"temperature": None},
    {"temperature": False},
    {"top_p": 0.5},
    {"top_p": 0.25},
    {"top_k": 5},
    {"n": 2},
    {"seed": 1},
    {"seed": 2},
    {"seed": 2**53},
    {"seed": 2**53 + 1},
    {"seed": 2**70},
    {"seed": 2**70 + 1},
    {"stop": "x"},
    {"stop": ["x"]},
    {"stop": ["x", "y"]},
    {"stop": ["y", "x"]},
    {"max_tokens": 5},
    {"max_completion_tokens": 5},
    {"max_tokens": 6},
    {"tools": [{"type": "function", "function": {"name": "f"}}]},
    {"tools": [{"type": "function", "function": {"name": "g"}}]},
    {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
    {"tool_choice": "none"},
    {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    {"parallel_tool_calls": False},
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "array"}}}},
    {"logprobs": True},
    {"top_logprobs": 3},
    {"logit_bias": {"50256": -100}},
    {"logit_bias": {"50256": -99}},
    {"presence_penalty": 0.5},
    {"frequency_penalty": 0.5},
    {"reasoning_effort": "low"},
    {"reasoning_effort": "high"},
    {"reasoning": {"effort": "high"}},
    {"verbosity": "low"},
    {"modalities": ["text"]},
    {"prediction": {"type": "content", "content": "x"}},
    {"service_tier": "flex"},
    {"user": "alice"},
    {"user": "bob"},
    {"safety_identifier": "alice"},
    {"store": False},
    {"instructions": "be brief"},
    {"input": "hi"},
    {"input": ["hi"]},
    {"input": [1, 2]},
    {"prompt": "hi"},
    {"suffix": "x"},
    {"echo": True},
    {"best_of": 2},
    {"previous_response_id": "resp_1"},
    {"truncation": "auto"},
    {"include": ["reasoning.encrypted_content"]},
    {"text": {"format": {"type": "text"}}},
    {"dimensions": 256},
    {"encoding_format": "base64"},
    {"a field of some vendor": 1},
    {"route": {"min_quality": 0.5}},
    {"Temperature": 0},
]


def test_any_single_change_makes_it_another_question() -> None:
    keys = {"as it is": key()}

    keys |= {name: key(**changes) for name, changes in CHANGES.items()}
    for fields in FIELDS:
        keys[json.dumps(fields)] = key({**BODY, **fields})

    assert len(FIELDS) + len(CHANGES) > 80
    assert len(set(keys.values())) == len(keys)


def test_a_fraction_counts_as_it_is_spelled_whatever_a_parser_would_make_of_it() -> None:
    spelled = [
        b'{"temperature":%b}' % text for text in (b"0.1", b"0.10", b"0.10000000000000001", b"1e-1", b"0.1e0", b"1", b"1.0")
    ]

    assert len({key(body) for body in spelled}) == len(spelled)


@pytest.mark.parametrize("name", IGNORED)
def test_what_cannot_change_the_answer_is_the_same_question(name: str) -> None:
    values = [json.dumps({**BODY, name: value}).encode() for value in ("a", {"b": 1}, None, 7)]

    assert {key(value) for value in values} == {key()}


def test_other_accounts_and_other_shares_of_a_provider_are_the_same_question() -> None:
    two = (deployment(account="1", weight=3), deployment(account="2"))

    assert key(tiers=(Tier(name="acme/gpt", deployments=two),)) == key()


def test_without_the_secret_nobody_can_make_the_key() -> None:
    given: Any = {"tenant": "t", "endpoint": "e", "model": "m", "tiers": (), "namespace": "", "fields": {}}

    assert Keyer(b"a" * 32).key(**given) != Keyer(b"b" * 32).key(**given)


OWNED = Principal(key_id="1", name="k", user="u", team="t")
TENANTS: list[tuple[Any, Principal | None, str]] = [
    ("key", OWNED, "key:1"),
    ("user", OWNED, "user:u"),
    ("team", OWNED, "team:t"),
    ("global", OWNED, "global"),
    ("user", replace(OWNED, user=""), "key:1"),
    ("team", replace(OWNED, team=""), "user:u"),
    ("team", replace(OWNED, team="", user=""), "key:1"),
    ("key", None, "nobody"),
]


@pytest.mark.parametrize(("scope", "principal", "tenant"), TENANTS)
def test_who_belongs_to_nobody_shares_with_nobody(scope: Any, principal: Principal | None, tenant: str) -> None:
    assert tenant_of(principal, scope) == tenant


# --- canonical form --------------------------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=12
)
BODIES = st.dictionaries(st.text(max_size=8).filter(lambda name: name not in IGNORED), VALUES, max_size=5)


def shuffled(value: Any, draw: Any) -> Any:
    """The same value with the keys of every object in another order."""
    if isinstance(value, dict):
        names = draw(st.permutations(list(value)))
        return {name: shuffled(value[name], draw) for name in names}
    return [shuffled(item, draw) for item in value] if isinstance(value, list) else value


@given(body=BODIES, data=st.data())
def test_order_of_keys_white_space_and_escapes_do_not_count(body: dict[str, Any], data: st.DataObject) -> None:
    other = json.dumps(
        shuffled(body, data.draw),
        ensure_ascii=data.draw(st.booleans()),
        indent=data.draw(st.sampled_from([None, 0, 3])),
        separators=data.draw(st.sampled_from([None, (",", ":"), (" , ", " : ")])),
    )

    assert canonical(fields_of(other.encode())) == canonical(fields_of(json.dumps(body).encode()))


def told_apart(value: Any) -> Any:
    """The value with its types: Python takes 1, 1.0 and True for one."""
    if isinstance(value, dict):
        return {name: told_apart(item) for name, item in value.items()}
    return [told_apart(item) for item in value] if isinstance(value, list) else (type(value), repr(value))


@given(one=BODIES, other=BODIES)
def test_what_means_something_else_is_something_else(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = canonical(fields_of(json.dumps(one).encode())) == canonical(fields_of(json.dumps(other).encode()))

    assert same == (told_apart(one) == told_apart(other))


@given(body=BODIES, data=st.data())
def test_one_leaf_that_changes_changes_it(body: dict[str, Any], data: st.DataObject) -> None:
    changed = {**body, data.draw(st.sampled_from(["seed", *[name for name in body if name]])): data.draw(LEAVES)}
    keys = [canonical(fields_of(json.dumps(it).encode())) for it in (body, changed)]

    assert (keys[0] == keys[1]) == (told_apart(body) == told_apart(changed))


def test_who_anthropics_client_asks_for_counts_and_how_the_answer_is_sent_does_not() -> None:
    def asked(**fields: Any) -> bytes:
        return key({**BODY, **fields}, endpoint="messages", protocol="anthropic")

    assert asked(metadata={"user_id": "a"}) != asked(metadata={"user_id": "b"})
    assert asked(stream=True) == asked() == asked(model="other", cache={"ttl": 1})


def test_a_header_that_goes_on_to_the_upstream_counts() -> None:
    keys = {key(headers=headers) for headers in ((), ((b"anthropic-beta", b"a"),), ((b"anthropic-beta", b"b"),))}

    assert len(keys) == 3
