from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.catalogue.metrics import METRICS
from ledger.live.outcomes import HALF_LIVES_S
from proxy.learning import checks
from proxy.learning.answers import Answered, ToolCall
from proxy.learning.checks import (
    ALL,
    ANSWERED,
    SCHEMA,
    SHORT,
    TOOLS,
    WHOLE,
    Asked,
    asked_of,
    ended,
    is_flawless,
    judge,
    scores,
    wants_all,
)

SCHEMA_A = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def asked(**fields: Any) -> Asked:
    return asked_of(json.dumps({"model": "auto", **fields}).encode(), bounded=False)


def test_a_plain_answer_is_given_and_whole() -> None:
    assert judge(Asked(), [Answered(finish="stop", text="Hi")]) == ((ANSWERED, WHOLE), ())


@pytest.mark.parametrize("answer", [Answered(finish="content_filter"), Answered(finish="stop", refused=True, text="")])
def test_a_refusal_is_no_answer_and_nothing_else_is_held_against_it(answer: Answered) -> None:
    assert judge(Asked(json=True), [answer]) == ((), (ANSWERED,))


def test_a_truncated_answer_is_not_whole_and_its_form_is_not_judged() -> None:
    assert judge(Asked(json=True), [Answered(finish="length", text='{"a"')]) == ((ANSWERED,), (WHOLE,))
    assert judge(Asked(), [Answered(finish="length", calls=(ToolCall("f", '{"a'),))]) == ((ANSWERED,), (WHOLE,))


def test_a_bound_that_the_caller_set_is_no_flaw_of_the_model() -> None:
    _, failed = judge(Asked(bounded=True), [Answered(finish="length", text="Hel")])

    assert failed == (SHORT,)
    assert is_flawless(failed)
    assert not is_flawless((*failed, SCHEMA))
    assert not is_flawless((WHOLE,))


def test_of_an_answer_that_was_not_kept_it_is_known_whether_it_is_whole() -> None:
    assert ended(truncated=False, bounded=True) == ((WHOLE,), ())
    assert ended(truncated=True, bounded=False) == ((), (WHOLE,))
    assert ended(truncated=True, bounded=True) == ((), (SHORT,))


def test_checks_count_for_live_metrics_in_their_own_direction() -> None:
    found = dict(scores((ANSWERED, SCHEMA), (WHOLE, TOOLS, "kept")))

    assert found == {
        "refusal_rate": 0.0,
        "schema_adherence_rate": 1.0,
        "truncation_rate": 1.0,
        "tool_call_success_rate": 0.0,
    }


@pytest.mark.parametrize(
    ("text", "good"),
    [('{"a": 1}', True), ('{"a": "1"}', False), ('```json\n{"a": 1}\n```', False), ("", False), ('{"a": 1', False)],
)
def test_an_answer_fits_the_schema_that_was_asked_for_or_does_not(text: str, good: bool) -> None:
    passed, failed = judge(Asked(json=True, schema=SCHEMA_A), [Answered(finish="stop", text=text)])

    assert (SCHEMA in passed, SCHEMA in failed) == (good, not good)


def test_a_text_that_was_not_kept_is_not_judged_by_a_schema() -> None:
    assert judge(Asked(json=True, schema=SCHEMA_A), [Answered(finish="stop")]) == ((ANSWERED, WHOLE), ())


def test_a_text_that_is_too_long_is_not_judged_by_a_schema() -> None:
    answers = [Answered(finish="stop", text='{"a": 1}')]

    assert judge(Asked(json=True), answers, text_max_chars=7) == ((ANSWERED, WHOLE), ())
    assert judge(Asked(json=True), answers, text_max_chars=8) == ((ANSWERED, WHOLE, SCHEMA), ())


@pytest.mark.parametrize(
    ("call", "good"),
    [
        (ToolCall("look", '{"a": 1}'), True),
        (ToolCall("look", '{"a": '), False),
        (ToolCall("look", "[]"), False),
        (ToolCall("look", '{"b": 1}'), False),
        (ToolCall("free", '{"b": 1}'), True),
        (ToolCall("free", ""), True),
        (ToolCall("free", None), True),
        (ToolCall("other", "{}"), False),
        (ToolCall("", "{}"), False),
    ],
)
def test_a_tool_is_called_as_it_is_declared_or_is_not(call: ToolCall, good: bool) -> None:
    wanted = Asked(tools={"look": SCHEMA_A, "free": None}, json=True)

    passed, failed = judge(wanted, [Answered(finish="tool_calls", text="", calls=(call,))])

    assert (TOOLS in passed, TOOLS in failed) == (good, not good)
    assert SCHEMA not in (*passed, *failed)


def test_a_call_that_the_provider_could_not_read_is_a_failed_one() -> None:
    assert judge(Asked(), [Answered(finish="malformed_tool_call", text="")]) == ((ANSWERED, WHOLE), (TOOLS,))


def test_of_several_answers_each_has_to_pass() -> None:
    good, bad = Answered(finish="stop", text='{"a": 1}'), Answered(finish="stop", text="no")

    assert judge(Asked(json=True), [good, bad, good]) == ((ANSWERED, WHOLE), (SCHEMA,))


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA_A}}},
        {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA_A}}},
        {"output_format": {"type": "json_schema", "schema": SCHEMA_A}},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA_A}}},
        {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA_A}},
    ],
)
def test_each_protocols_schema_is_found(fields: dict[str, Any]) -> None:
    found = asked(**fields)

    assert (found.json, found.schema) == (True, SCHEMA_A)


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_object"}},
        {"text": {"format": {"type": "json_object"}}},
        {"generationConfig": {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}}},
    ],
)
def test_each_protocols_wish_for_json_is_found(fields: dict[str, Any]) -> None:
    found = asked(**fields)

    assert (found.json, found.schema) == (True, None)


@pytest.mark.parametrize(
    ("tools", "found"),
    [
        ([{"type": "function", "function": {"name": "look", "parameters": SCHEMA_A}}], {"look": SCHEMA_A}),
        ([{"type": "function", "name": "look", "parameters": SCHEMA_A}], {"look": SCHEMA_A}),
        ([{"name": "look", "input_schema": SCHEMA_A}], {"look": SCHEMA_A}),
        ([{"functionDeclarations": [{"name": "look", "parameters": {"type": "OBJECT"}}]}], {"look": None}),
        ([{"type": "web_search"}, 5, {"function": 5}], {}),
        (5, {}),
    ],
)
def test_each_protocols_tools_are_found(tools: Any, found: dict[str, Any]) -> None:
    assert asked(tools=tools).tools == found


@pytest.mark.parametrize(
    "fields",
    [{}, {"response_format": 5, "text": 5}, {"response_format": {"type": "text"}}, {"text": {"format": {"type": "text"}}}],
)
def test_who_asks_for_no_form_is_owed_none(fields: dict[str, Any]) -> None:
    assert asked(**fields) == Asked()


def test_a_body_that_is_not_understood_asks_for_nothing() -> None:
    assert asked_of(b'{"tools": [', bounded=True) == Asked(bounded=True)


def test_only_who_asks_for_a_form_or_for_tools_has_all_of_its_answer_kept() -> None:
    assert not wants_all(b'{"model":"auto","messages":[{"role":"user","content":"Hi"}]}')
    assert wants_all(b'{"model":"auto","tools":[]}')
    assert wants_all(b'{"generationConfig":{"responseMimeType":"application/json"}}')


def test_every_check_has_its_metric_in_the_catalogue() -> None:
    names = {ALL, *(name for name, _ in checks.METRICS.values())}

    assert names <= METRICS.keys()
    assert names <= HALF_LIVES_S.keys()
