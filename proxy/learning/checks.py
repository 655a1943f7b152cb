"""What can be checked of an answer without a reader: was it given, is it whole, does it keep to the form that was asked for?

Pure.  Which checks there are to be read off the request: only who asked for a schema is owed one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from proxy.learning.answers import Answered, ToolCall
from proxy.learning.schema import fits

ANSWERED, WHOLE, SHORT, SCHEMA, TOOLS, KEPT = "answered", "whole", "short", "schema", "tools", "kept"
"""Not refused; not cut off by a bound of tokens; cut off by one that the caller set, which is no flaw; of the form that was
asked for; tools called as they are declared; not asked for once more at once."""

METRICS: Final[Mapping[str, tuple[str, bool]]] = {
    ANSWERED: ("refusal_rate", False),
    WHOLE: ("truncation_rate", False),
    SHORT: ("truncation_rate", False),
    SCHEMA: ("schema_adherence_rate", True),
    TOOLS: ("tool_call_success_rate", True),
}
"""The live metric that a check counts for, and whether it counts those who passed."""
ALL: Final = "check_pass_rate"
"""The metric of all checks together."""

TEXT_MAX_CHARS: Final = 262_144
"""A longer text is not judged by a schema."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request the checks need.

    json: the text is to be JSON.  schema: that it is to fit; ``None``: any.  tools: their parameters' schemas, by name; a
    ``None`` among them takes anything.  bounded: the caller set how long the answer may be.
    """

    json: bool = False
    schema: Any = None
    tools: Mapping[str, Any] = {}
    bounded: bool = False


_MEDIA: Final = b"application/json"  # Gemini's way to ask for it


def wants_all(body: bytes) -> bool:
    """Whether a request may ask for a form or for tools, so that all of its answer has to be kept.  1 µs for 10 kB."""
    return b'"tools"' in body or b'"response_format"' in body or b'"format"' in body or b"chema" in body or _MEDIA in body


def asked_of(body: bytes, *, bounded: bool) -> Asked:
    """What a request in any of the protocols asks for.  Nothing, of a body that is not understood."""
    if not wants_all(body):
        return Asked(bounded=bounded)
    try:
        wanted = _request(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Asked(bounded=bounded)
    wanted_json, schema = _form(wanted)
    return Asked(json=wanted_json, schema=schema, tools=dict(_tools(wanted.tools)), bounded=bounded)


def judge(
    asked: Asked, answers: Sequence[Answered], *, text_max_chars: int = TEXT_MAX_CHARS
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the checks that all answers passed, and of those that one of them failed.  About 5 µs.

    text_max_chars: a longer text is not judged by a schema.
    """
    passed: dict[str, bool] = {}
    for answer in answers:
        for name, good in _judged(asked, answer, text_max_chars):
            passed[name] = passed.get(name, True) and good
    return tuple(it for it, good in passed.items() if good), tuple(it for it, good in passed.items() if not good)


def ended(*, truncated: bool, bounded: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The same, of an answer of which only this is known."""
    if not truncated:
        return (WHOLE,), ()
    return (), (SHORT if bounded else WHOLE,)


def scores(passed: Iterable[str], failed: Iterable[str]) -> Iterator[tuple[str, float]]:
    """What checks count for: live metrics, and 0 or 1."""
    for name in passed:
        if name in METRICS:
            metric, counts_passed = METRICS[name]
            yield metric, float(counts_passed)
    for name in failed:
        if name in METRICS:
            metric, counts_passed = METRICS[name]
            yield metric, float(not counts_passed)


def is_flawless(failed: Iterable[str]) -> bool:
    """Whether nothing speaks against the model: who asks for a short answer gets a short one."""
    return all(name == SHORT for name in failed)


def _judged(asked: Asked, answer: Answered, text_max_chars: int) -> Iterator[tuple[str, bool]]:
    refused = answer.refused or answer.finish == "content_filter"
    yield ANSWERED, not refused
    if refused:
        return
    if answer.finish == "length":
        yield (SHORT if asked.bounded else WHOLE), False
    elif answer.finish:
        yield WHOLE, True
    if answer.calls or answer.finish == "malformed_tool_call":
        verdicts = [_is_callable(asked.tools, it) for it in answer.calls]
        if answer.finish == "malformed_tool_call":
            verdicts.append(False)
        if answer.finish != "length":  # the last call may have been cut off
            yield TOOLS, all(verdicts)
    elif asked.json and answer.text is not None and answer.finish != "length" and len(answer.text) <= text_max_chars:
        good = _is_of_form(answer.text, asked.schema)
        if good is not None:
            yield SCHEMA, good


def _is_of_form(text: str, schema: Any) -> bool | None:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return False
    except RecursionError:
        return None
    return True if schema is None else fits(value, schema)


def _is_callable(tools: Mapping[str, Any], call: ToolCall) -> bool:
    if not call.name or (tools and call.name not in tools):
        return False
    if call.arguments is None:
        return True
    try:
        value = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    schema = tools.get(call.name)
    return type(value) is dict and (schema is None or fits(value, schema) is not False)


# --- what was asked for, in each protocol ------------------------------------------------------------------------------


class _Request(msgspec.Struct):
    """The fields of all protocols' requests that name a form or tools."""

    tools: Any = None
    response_format: Any = None  # OpenAI's chat
    text: Any = None  # OpenAI's responses
    output_format: Any = None  # Anthropic's
    output_config: Any = None  # Anthropic's, later
    generationConfig: Any = None  # noqa: N815  # Gemini's


_request = msgspec.json.Decoder(_Request).decode


def _form(wanted: _Request) -> tuple[bool, Any]:
    """Whether JSON is asked for, and its schema."""
    said = _dict(wanted.response_format) or _dict(_dict(wanted.text).get("format"))
    said = said or _dict(wanted.output_format) or _dict(_dict(wanted.output_config).get("format"))
    kind = said.get("type")
    if kind == "json_object":
        return True, None
    if kind == "json_schema":
        inner = said.get("json_schema")
        return True, inner.get("schema") if type(inner) is dict else said.get("schema")
    config = _dict(wanted.generationConfig)
    if config.get("responseMimeType") == "application/json":
        # ``responseSchema`` is OpenAPI's dialect with types in upper case; only JSON Schema proper is held against an answer.
        return True, config.get("responseJsonSchema")
    return False, None


def _tools(tools: Any) -> Iterator[tuple[str, Any]]:
    for tool in tools if type(tools) is list else ():
        if type(tool) is not dict:
            continue
        declared = tool.get("functionDeclarations") or tool.get("function_declarations")
        for one in declared if type(declared) is list else (tool,):
            function = _dict(_dict(one).get("function")) or _dict(one)
            name = function.get("name")
            if isinstance(name, str) and name:
                # Gemini's declarations are in OpenAPI's dialect, with types in upper case: nothing is held against those.
                yield name, None if declared is not None else function.get("parameters") or function.get("input_schema")


def _dict(value: Any) -> Mapping[str, Any]:
    return value if type(value) is dict else {}
