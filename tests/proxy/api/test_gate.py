"""The JSON gate: what it lets through, every parser reads alike."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.api.gate import DEPTH_MAX, admit, tags
from proxy.errors import InvalidJson, InvalidRequest


def body(fields: str = "", model: str = '"gpt"') -> bytes:
    return f'{{"model":{model}{"," if fields else ""}{fields}}}'.encode("utf-8", "surrogatepass")


def refusal(data: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        admit(data)
    return caught.value


# --- JSON --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"17",
        b"{",
        b"}",
        b"{]",
        b'{"model"}',
        b"{model:1}",
        b"{'model':'gpt'}",
        body("") + b"x",
        body("") + b"{}",
        b"\xef\xbb\xbf" + body(""),
        b"\x00" + body(""),
        body('"a":1,'),
        body('"a":[1,]'),
        body('"a":01'),
        body('"a":.5'),
        body('"a":5.'),
        body('"a":+5'),
        body('"a":0x10'),
        body('"a":True'),
        body('"a":undefined'),
        body('"a":"\\x41"'),
        body('"a":"\\u12"'),
        body('"a":"\\"'),
        body('/* */"a":1'),
        body('"a":1') + b"//",
        body('"a":"\x01"'),
        body('"a":"line\nbreak"'),
        body('"a":"tab\there"'),
        body('"\x1f":1'),
        body('"a":\xa01'),
        body('"a":\x0c1'),
        body('"a":NaN'),
        body('"a":-NaN'),
        body('"a":Infinity'),
        body('"a":-Infinity'),
        body('"a":[{"b":NaN}]'),
        body('"a":1e999'),
        body('"a":-1e999'),
        body('"a":1.0E+400'),
        body('"a":' + "9" * 5000),
        body('"a":-' + "9" * 5000),
        body('"model":"gpt"'),
        body('"a":1,"a":1'),
        body('"a":1,"\\u0061":1'),
        body('"x":[{"y":{"a":1,"b":2,"a":3}}]'),
        body('"":1,"":2'),
        body('"a":"\\ud800"'),
        body('"a":"\\uD800"'),
        body('"a":"\\uDBFFx"'),
        body('"a":"\\udc00"'),
        body('"a":"\\udc00\\ud800"'),
        body('"a":"\\ud800\\ud800"'),
        body('"\\ud83d":1'),
        body('"a":["\\udFFF"]'),
        body("", model='"gpt\\ud800"'),
        body('"a":"\ud800"'),
        body('"a":"') + b'\xff"}',
        b'{"model":"\xc0\xaf"}',
        b'{"model":"gpt","a":"\xf5\x80\x80\x80"}',
        b'{"model":"gpt","a":"\xe2\x82"}',
        '{"model":"gpt"}'.encode("utf-16"),
        '{"model":"gpt"}'.encode("utf-32"),
    ],
)
def test_what_is_not_one_strict_json_object_is_refused(data: bytes) -> None:
    error = refusal(data)

    assert type(error) is InvalidJson
    assert (error.status, error.type, error.code, error.param) == (400, "invalid_request_error", "invalid_json", None)
    assert len(error.message) < 200
    error.message.encode()


@pytest.mark.parametrize(
    "fields",
    [
        "",
        '"a":"\\ud83d\\ude00"',
        '"a":"\\uD83D\\uDE00 \\ud83d\\uDE00"',
        '"a":"😀"',
        '"a":"\\\\ud800"',
        '"a":"\\u0000\\u001f\\u007f"',
        '"a":"\x7f\x80\u2028\ufeff"',
        '"a":-0,"b":-0.0,"c":1e308,"d":1e-999,"e":0.1',
        '"a":' + "9" * 400,
        '"a":"NaN","b":"Infinity","c":"1e999"',
        '"a":{"b":1},"c":{"b":1},"b":1',
        '"A":1,"a":2',
        '"a":[],"b":{},"c":null',
        '"Model":1,"model ":2',
    ],
)
def test_what_is_strict_json_is_let_through(fields: str) -> None:
    assert admit(body(fields)).model == "gpt"


@pytest.mark.parametrize("space", [b" ", b"\n", b"\r\n", b"\t  "])
def test_white_space_may_stand_around_it(space: bytes) -> None:
    assert admit(space + body() + space).model == "gpt"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_has_a_limit_that_is_exact(opening: str, closing: str) -> None:
    step = len([char for char in opening if char in "[{"])
    fill = "null" if opening.endswith(":") else ""
    inner = (DEPTH_MAX - 1) // step

    def deep(count: int, more: str = "") -> bytes:
        return body('"a":' + opening * count + (more or fill) + closing * count)

    rest = "[]" if step * inner < DEPTH_MAX - 1 else ""
    assert admit(deep(inner, rest)).model == "gpt"
    assert "64 levels" in refusal(deep(inner, f"[{rest}]")).message


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert admit(body('"a":[' + ",".join(["[{}]"] * 10_000) + "]")).model == "gpt"


def test_brackets_inside_of_strings_are_not_deep() -> None:
    assert admit(body('"a":"' + "[{" * 10_000 + '"')).model == "gpt"


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * 100_000,
        b'{"model":"gpt","a":' + b"[" * 100_000,
        b'{"model":"gpt","a":' + b'{"a":' * 100_000,
        b'{"model":"gpt","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"gpt","a":' + b"9" * 1_000_000 + b"}",
        b'{"model":"gpt","a":0.' + b"9" * 1_000_000 + b"e99999}",
        b'{"model":"gpt","a":"' + b"\\ud83d\\ude00" * 50_000 + b'\\ud83d"}',
        b'{"model":"gpt",' + b",".join(b'"%d":1' % number for number in range(100_000)) + b',"0":1}',
        b'{"model":"gpt","a":"' + b"\\" * 999_999,
    ],
    ids=["arrays", "arrays inside", "objects inside", "closed arrays", "digits", "fraction", "surrogates", "keys", "escapes"],
)
def test_a_bomb_is_refused_in_no_time(bomb: bytes) -> None:
    started_s = time.process_time()

    refusal(bomb)

    assert time.process_time() - started_s < 2


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**40), 10**40),
        st.floats(),
        st.text(),
        st.sampled_from(["\ud800", "\ud83d\ude00"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=15,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A body, perhaps with a few bytes changed."""
    fields = draw(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
    data = bytearray(json.dumps({**fields, "model": "gpt"}, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.one_of(st.binary(max_size=2), st.sampled_from([b'"', b"\\", b"{", b",", b"[", b"e9"]))
        )
    return bytes(data)


@settings(deadline=None, max_examples=400)
@given(damaged())
def test_whatever_is_let_through_all_parsers_read_alike(data: bytes) -> None:
    try:
        head = admit(data)
    except InvalidRequest:
        return

    by_python = json.loads(data)
    assert msgspec.json.decode(data) == by_python
    assert json.loads(json.dumps(by_python, allow_nan=False).encode()) == by_python
    assert head.model == by_python["model"]
    assert head.stream == bool(by_python.get("stream"))


@settings(deadline=None, max_examples=400)
@given(st.one_of(st.binary(max_size=80), damaged()))
def test_any_bytes_are_let_through_or_refused_in_words(data: bytes) -> None:
    try:
        admit(data)
    except InvalidRequest as error:
        assert 0 < len(error.message) < 300
        error.message.encode()


# --- the fields that matter --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        "null",
        "1",
        "true",
        "[]",
        "{}",
        '""',
        '" "',
        '"\\t"',
        '"\\u00a0"',
        '"a\\nb"',
        '"a\\u0000"',
        '"\\u202ea"',
        '"\\u200b"',
        '"' + "m" * 513 + '"',
    ],
)
def test_a_model_is_a_name_that_can_be_printed(model: str) -> None:
    error = refusal(body(model=model))

    assert (type(error), error.param, error.status) == (InvalidRequest, "model", 400)


def test_a_model_is_required() -> None:
    error = refusal(b'{"messages":[]}')

    assert (error.param, error.message) == ("model", "The field 'model' is missing.")


@pytest.mark.parametrize("model", ["a", "openai/gpt-5", "a b", "modèle", "模型", "x" * 512, "auto:cheap", "a\\\\b"])
def test_a_model_may_have_any_name(model: str) -> None:
    assert admit(body(model=f'"{model}"')).model == model.replace("\\\\", "\\")


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("false", False), ("null", False)])
def test_stream_is_true_or_not(value: str, expected: bool) -> None:
    assert admit(body(f'"stream":{value}')).stream is expected


@pytest.mark.parametrize("value", ["1", "0", '"true"', "[]", "{}", '""'])
def test_stream_is_a_boolean(value: str) -> None:
    error = refusal(body(f'"stream":{value}'))

    assert (type(error), error.param) == (InvalidRequest, "stream")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", None),
        ('"stream_options":null', False),
        ('"stream_options":{}', False),
        ('"stream_options":{"include_usage":false}', False),
        ('"stream_options":{"include_usage":null}', False),
        ('"stream_options":{"include_usage":1}', False),
        ('"stream_options":{"include_usage":true}', True),
        ('"x":{"stream_options":{"include_usage":true}}', None),
    ],
)
def test_whether_the_client_asked_for_usage(fields: str, expected: bool | None) -> None:
    assert admit(body(fields)).include_usage is expected


@pytest.mark.parametrize("value", ["true", "false", "1", "0", '""', "[]", '"x"'])
def test_stream_options_are_an_object(value: str) -> None:
    error = refusal(body(f'"stream_options":{value}'))

    assert (type(error), error.param) == (InvalidRequest, "stream_options")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (body('"a":NaN'), "NaN is not a JSON number"),
        (body('"a":-Infinity'), "-Infinity is not a JSON number"),
        (body('"a":1e999'), "the number 1e999 is out of range"),
        (body('"a":1,"a":2'), "the key 'a' stands twice in one object"),
        (body('"a":' + "9" * 5000), "a whole number has too many digits"),
        (body('"a":"\x01"'), "invalid control character at line 1, column 21"),
        (b'{"model":\n', "expecting value at line 2, column 1"),
    ],
)
def test_the_refusal_says_what_is_wrong(data: bytes, said: str) -> None:
    assert refusal(data).message == f"The body is not valid JSON: {said}."


def test_a_refusal_repeats_no_more_than_a_little() -> None:
    key: Any = "k" * 10_000

    assert len(refusal(body(f'"{key}":1,"{key}":2')).message) < 160


@pytest.mark.parametrize(
    ("fields", "bound"),
    [
        ("", None),
        (', "max_tokens": null', None),
        (', "max_tokens": 7', 7),
        (', "max_tokens": 7, "max_completion_tokens": 9', 9),
        (', "max_output_tokens": 0', 0),
    ],
)
def test_the_largest_bound_of_the_answer_counts(fields: str, bound: int | None) -> None:
    head = admit(b'{"model": "m"%s}' % fields.encode())

    assert head.output_max == bound


@pytest.mark.parametrize("value", ["-1", "1.5", "true", '"7"', "9223372036854775807"])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens", "n"])
def test_a_count_that_is_none_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        admit(b'{"model": "m", "%s": %s}' % (name.encode(), value.encode()))

    assert refused.value.param == name


def test_how_many_answers_are_asked_for() -> None:
    assert admit(b'{"model": "m", "n": 3}').choices == 3


@pytest.mark.parametrize("name", ["api_base", "base_url", "api_key", "extra_headers"])
def test_a_caller_does_not_choose_the_upstream(name: str) -> None:
    assert refusal(body(f'"{name}":"http://127.0.0.1:9"')).param == name


# --- tags --------------------------------------------------------------------------------------------------------------


def test_tags_are_trimmed_and_each_counts_once_in_its_order() -> None:
    assert tags(b",nightly, b ,,nightly,\xc3\xbc") == ("nightly", "b", "ü")


@pytest.mark.parametrize("header", [b"1,2,3,4,5,6,7,8,9", b"x" * 65, b"a\x07b", b"\xff"])
def test_what_is_no_tag_is_refused_by_name(header: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        tags(header)

    assert caught.value.param == "x-tollway-tags"


@given(st.binary(max_size=200))
def test_tags_are_bounded_whatever_is_sent(header: bytes) -> None:
    try:
        found = tags(header)
    except InvalidRequest:
        return

    assert len(found) == len(set(found)) <= 8
    assert all(0 < len(tag) <= 64 and tag.isprintable() and "," not in tag for tag in found)
