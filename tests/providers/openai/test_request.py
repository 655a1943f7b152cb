"""What goes upstream: the client's own bytes, but for the model's name and the question for usage."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from providers.openai.request import about, encode, kept, post, with_answer_so_far
from providers.openai.vendors import CUSTOM, VENDORS
from providers.provider import Endpoint, HttpRequest, Upstream

ASKED = "@asked/model@"
SECRET = "sk-very-secret"
UPSTREAM = Upstream(provider="acme", account="main", vendor=CUSTOM, base_url="https://acme.invalid/v1", api_key=SECRET)

KEYS = st.one_of(
    st.sampled_from(["model", "Model", "models", "mo\\del", ' "model": ', "model\n", "stream_options", "include_usage", ""]),
    st.text(max_size=6),
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**30), 10**30),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
        st.sampled_from(["model", '"model": "x"', '{"model":"x"}', "\\", '"', '\\"', "a\\u006dodel", "}{", "[", "]}"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
MODELS = st.one_of(st.text(min_size=1, max_size=8), st.sampled_from(["gpt-5", 'a"b', "a\\b", "modèle/✓"]))


def dump(value: Any, chance: random.Random, *, escape: bool) -> str:
    """JSON with white space anywhere, and with keys that are spelled by escapes here and there."""

    def space() -> str:
        return chance.choice(["", "", "", " ", "\n", "\t ", "\r\n"])

    def key(name: str) -> str:
        if escape and name and chance.random() < 0.4:
            at = chance.randrange(len(name))
            if ord(name[at]) < 0x10000 and not 0xD800 <= ord(name[at]) < 0xE000:
                code = f"\\u{ord(name[at]):04x}"
                return json.dumps(name[:at])[:-1] + code + json.dumps(name[at + 1 :])[1:]
        return json.dumps(name, ensure_ascii=chance.random() < 0.5)

    if isinstance(value, dict):
        items = (f"{space()}{key(name)}{space()}:{dump(it, chance, escape=escape)}" for name, it in value.items())
        return f"{space()}{{{','.join(items)}{space()}}}{space()}"
    if isinstance(value, list):
        return f"{space()}[{','.join(dump(it, chance, escape=escape) for it in value)}{space()}]{space()}"
    return f"{space()}{json.dumps(value, ensure_ascii=chance.random() < 0.5)}{space()}"


@st.composite
def bodies(draw: st.DrawFn, *, escape: bool = True) -> bytes:
    """Request bodies: a model at the top, anything at all beside it."""
    fields = draw(st.dictionaries(KEYS, VALUES, max_size=5))
    fields.pop("model", None)
    fields.pop("stream_options", None)
    items = [*fields.items(), ("model", ASKED)]
    if draw(st.booleans()):
        options = st.one_of(st.none(), st.dictionaries(KEYS, VALUES, max_size=2))
        items.append(("stream_options", draw(options)))
    return dump(dict(draw(st.permutations(items))), draw(st.randoms(use_true_random=False)), escape=escape).encode()


def sent(body: bytes, *, model: str = ASKED, ask_usage: bool = False, upstream: Upstream = UPSTREAM) -> HttpRequest:
    return encode(
        body,
        upstream=upstream,
        endpoint="chat/completions",
        asked_model=ASKED,
        model=model,
        ask_usage=ask_usage,
        stream_options="stream_options" in json.loads(body),
        request_id="req_1",
    )


def pairs(text: bytes) -> dict[str, Any]:
    """The object, in which no key stands twice."""

    def unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(items)) == len(items)
        return dict(items)

    value: dict[str, Any] = json.loads(text, object_pairs_hook=unique)
    return value


@settings(deadline=None, max_examples=200)
@given(bodies())
def test_nothing_to_change_is_the_very_same_bytes(body: bytes) -> None:
    assert sent(body).body is body


@settings(deadline=None, max_examples=200)
@given(bodies(), MODELS)
def test_only_the_model_at_the_top_changes(body: bytes, model: str) -> None:
    got = pairs(sent(body, model=model).body)

    assert got == {**json.loads(body), "model": model}
    assert list(got) == list(json.loads(body))


@settings(deadline=None, max_examples=200)
@given(bodies(escape=False), MODELS)
def test_outside_the_models_name_every_byte_stays(body: bytes, model: str) -> None:
    got = sent(body, model=model).body

    before, after = body.split(json.dumps(ASKED).encode())
    assert got.startswith(before)
    assert got.endswith(after)
    assert json.loads(got[len(before) : len(got) - len(after)]) == model


@settings(deadline=None, max_examples=200)
@given(bodies(), MODELS)
def test_usage_is_asked_for_and_nothing_else_changes(body: bytes, model: str) -> None:
    got = pairs(sent(body, model=model, ask_usage=True).body)

    said = json.loads(body)
    options = {**(said.get("stream_options") or {}), "include_usage": True}
    assert got == {**said, "model": model, "stream_options": options}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"@asked/model@"}', b'{"stream_options":{"include_usage":true},"model":"@asked/model@"}'),
        (b' \n{ "model": "@asked/model@" }\n', b' \n{"stream_options":{"include_usage":true}, "model": "@asked/model@" }\n'),
    ],
)
def test_without_options_of_the_clients_the_question_is_put_in_front(body: bytes, expected: bytes) -> None:
    assert sent(body, ask_usage=True).body == expected


@pytest.mark.parametrize(
    "options", [None, {}, {"include_usage": False}, {"include_usage": None}, {"include_obfuscation": False}]
)
def test_options_of_the_clients_are_kept_beside_the_question(options: Any) -> None:
    body = json.dumps({"model": ASKED, "stream_options": options}).encode()

    got = pairs(sent(body, ask_usage=True).body)

    assert got == {"model": ASKED, "stream_options": {**(options or {}), "include_usage": True}}


@pytest.mark.parametrize(
    "body",
    [
        b'{"mod\\u0065l":"@asked/model@","metadata":{"model":"mine"}}',
        b'{"metadata":{"model":"mine"},"\\u006Dodel":"@asked/model@"}',
        b'{"metadata":{"model":"@asked/model@"},"model":"@asked/model@"}',
        b'{"tools":[{"model":"@asked/model@"},{"mode\\u006c":"x"}],"model":"@asked/model@"}',
        b'{"a":"}","model":"@asked/model@","b":{"model":"{"}}',
        b'{"a":"model","b":["model",{"model":null}],"model":"@asked/model@"}',
        b'{"\\"model\\"":"x","model":"@asked/model@","c":"\\"model\\":\\"y\\""}',
        b'{"model"\n:\t"\\u0040asked\\/model@"}',
    ],
)
def test_a_model_that_is_not_at_the_top_is_somebody_elses(body: bytes) -> None:
    got = sent(body, model="gpt-5").body

    assert pairs(got) == {**json.loads(body), "model": "gpt-5"}


def test_the_headers_are_ours_and_no_others() -> None:
    request = sent(b'{"model":"@asked/model@"}')

    assert request.url == "https://acme.invalid/v1/chat/completions"
    assert request.headers == {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "x-request-id": "req_1",
        "authorization": f"Bearer {SECRET}",
    }


def test_without_a_key_no_authorization_is_sent() -> None:
    keyless = Upstream(provider="lmstudio", account="default", vendor=VENDORS["lmstudio"], base_url="http://127.0.0.1:1234/v1")

    assert set(sent(b'{"model":"@asked/model@"}', upstream=keyless).headers) == {
        "content-type",
        "accept-encoding",
        "x-request-id",
    }


def test_a_vendor_that_drops_connections_is_asked_to_close_them() -> None:
    local = Upstream(provider="local", account="default", vendor=VENDORS["local"], base_url="http://127.0.0.1:1/v1")

    assert sent(b'{"model":"@asked/model@"}', upstream=local).headers["connection"] == "close"


def test_no_text_about_a_request_shows_its_key() -> None:
    request = sent(b'{"model":"@asked/model@"}')

    texts = [repr(UPSTREAM), str(UPSTREAM), f"{UPSTREAM}", repr(request), str(request), repr([request]), repr((UPSTREAM,))]
    assert [text for text in texts if SECRET in text] == []
    assert SECRET not in str(list(UPSTREAM.__rich_repr__()))


@pytest.mark.parametrize(
    ("fields", "marked", "expected"),
    [
        ({}, False, {}),
        ({"max_tokens": 10}, False, {"max_tokens": 7}),
        ({"max_completion_tokens": 2, "temperature": 0.5}, False, {"max_completion_tokens": 1, "temperature": 0.5}),
        ({"max_tokens": None}, True, {"max_tokens": None}),
    ],
)
def test_the_rest_of_an_answer_is_asked_for_with_its_beginning(
    fields: dict[str, Any], marked: bool, expected: dict[str, Any]
) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "é"}], **fields}).encode()

    asked = json.loads(with_answer_so_far(body, "so far", tokens=3, marked=marked))

    beginning = {"role": "assistant", "content": "so far", **({"prefix": True} if marked else {})}
    assert asked == {"model": "m", "messages": [{"role": "user", "content": "é"}, beginning], **expected}


def test_an_answer_of_which_nothing_has_been_given_is_asked_for_as_it_was() -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}'

    assert json.loads(with_answer_so_far(body, "", tokens=0, marked=False)) == json.loads(body)


# --- fields that are ours ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"cache":{"ttl":60},"model":"gpt","seed":1.50}', b'{"model":"gpt","seed":1.50}'),
        (b'{ "model" : "gpt", "a" : {"cache": 1 }, "cache": null }', b'{"model":"gpt","a":{"cache": 1 }}'),
        (b'{"model":"gpt","c\\u0061che":{"ttl":60},"n":1}', b'{"model":"gpt","n":1}'),
    ],
)
def test_a_field_that_is_for_us_is_cut_out_and_every_other_value_keeps_its_bytes(body: bytes, sent: bytes) -> None:
    given: Any = {"asked_model": "gpt", "model": "gpt", "ask_usage": False, "stream_options": False, "request_id": "req_1"}

    made = encode(body, upstream=UPSTREAM, endpoint="chat/completions", cut=("cache",), **given)

    assert made.body == sent


# --- responses that are kept -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "path", "url"),
    [
        ("", "resp_1/input_items?limit=2", "/responses/resp_1/input_items?limit=2"),
        ("2025-03-01-preview", "resp_1/cancel", "/responses/resp_1/cancel?api-version=2025-03-01-preview"),
        ("2025-03-01-preview", "resp_1?stream=true", "/responses/resp_1?stream=true&api-version=2025-03-01-preview"),
    ],
)
def test_a_kept_response_is_asked_about_below_its_address_with_azures_version_last(version: str, path: str, url: str) -> None:
    upstream = replace(UPSTREAM, api_version=version)

    made = kept("GET", path, upstream=upstream, request_id="req_1")

    assert (made.method, made.url) == ("GET", f"{upstream.base_url}{url}")


@pytest.mark.parametrize("endpoint", ["responses", "responses/input_tokens", "responses/compact"])
def test_azure_has_responses_beside_its_deployments(endpoint: Endpoint) -> None:
    made = post(b"{}", upstream=replace(UPSTREAM, api_version="v"), endpoint=endpoint, model="gpt", request_id="req_1")

    assert made.url == f"{UPSTREAM.base_url}/{endpoint}?api-version=v"


@pytest.mark.parametrize(
    ("version", "url"),
    [("", "/files/file-1/content"), ("2025-03-01-preview", "/files/file-1/content?api-version=2025-03-01-preview")],
)
def test_what_an_upstream_keeps_is_asked_about_below_its_address(version: str, url: str) -> None:
    upstream = replace(UPSTREAM, api_version=version)

    made = about("GET", "files/file-1/content", upstream=upstream, request_id="req_1", body=b"{}")

    assert (made.method, made.url, made.body) == ("GET", f"{upstream.base_url}{url}", b"{}")
