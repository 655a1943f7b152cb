"""Pictures are counted and looked around, never into."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import InvalidResponse, RefusedInBody
from providers.openai.images import decode, without_pictures
from providers.usage import semantics_of

ROW = semantics_of("openai", "images/generations")
USAGE = {
    "input_tokens": 13,
    "input_tokens_details": {"image_tokens": 3, "text_tokens": 10},
    "output_tokens": 272,
    "total_tokens": 285,
}


def body(pictures: int = 2, **fields: Any) -> bytes:
    data = [{"b64_json": "QUJD" * 50, "revised_prompt": 'a "b64_json" of a bridge'} for _ in range(pictures)]
    return json.dumps({"created": 1, "data": data, **fields}).encode()


def test_tokens_are_the_providers_and_pictures_are_counted() -> None:
    answer = decode(body(usage=USAGE, size="1024x1536", quality="low"), ROW)

    usage = answer.usage
    assert usage is not None
    assert (usage.counted, usage.input_uncached, usage.input_image, usage.output_image, usage.output_text) == (
        True,
        10,
        3,
        272,
        0,
    )
    assert (usage.images, usage.image_size, usage.image_quality, usage.others) == (2, "1024x1536", "low", 0)
    assert json.loads(answer.usage_raw) == USAGE


def test_text_that_comes_out_beside_pictures_is_told_apart() -> None:
    details = {"output_tokens_details": {"image_tokens": 200, "text_tokens": 72}}

    usage = decode(body(usage=USAGE | details), ROW).usage

    assert usage is not None
    assert (usage.output_image, usage.output_text) == (200, 72)


def test_pictures_without_a_count_of_tokens_are_still_counted() -> None:
    answer = decode(body(3), ROW)

    assert answer.usage is not None
    assert (answer.usage.counted, answer.usage.images, answer.usage_raw) == (False, 3, b"")


def test_what_a_model_of_text_charges_beside_the_picture_is_noted() -> None:
    usage = decode(body(usage=USAGE, svg_usage={"model": "gpt-5", "input_tokens": 1}), ROW).usage

    assert usage is not None
    assert usage.others == 1


def test_an_answer_of_nothing_says_nothing() -> None:
    assert decode(b'{"created": 1}', ROW).usage is None


@pytest.mark.parametrize("broken", [b"", b"[]", b"no", b'{"data": 1}', body()[:-3], b'{"data":[{"b64_json":"QUJD'])
def test_what_is_no_answer_is_refused(broken: bytes) -> None:
    with pytest.raises(InvalidResponse):
        decode(broken, ROW)


def test_an_error_in_disguise_is_one() -> None:
    with pytest.raises(RefusedInBody):
        decode(b'{"error": {"message": "no", "code": "moderation_blocked"}}', ROW)


def test_pictures_are_emptied_and_all_else_stays() -> None:
    lean = json.loads(without_pictures(body(2, usage=USAGE)))

    assert [it["b64_json"] for it in lean["data"]] == ["", ""]
    assert {it["revised_prompt"] for it in lean["data"]} == {'a "b64_json" of a bridge'}
    assert lean["usage"] == USAGE
    assert without_pictures(b'{"data":[{"url":"x"},{"b64_json":null}]}') == b'{"data":[{"url":"x"},{"b64_json":null}]}'


@given(st.lists(st.fixed_dictionaries({"b64_json": st.text("ABC+/=", max_size=9), "revised_prompt": st.text(max_size=20)})))
def test_whatever_the_prompts_are_the_rest_reads_the_same(pictures: list[dict[str, str]]) -> None:
    lean = json.loads(without_pictures(json.dumps({"data": pictures}).encode()))

    assert lean == {"data": [{**it, "b64_json": ""} for it in pictures]}
