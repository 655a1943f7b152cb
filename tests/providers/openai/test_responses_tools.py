"""Tools of the Responses API that other protocols do not have: what is called there is called here by the client's names."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.anthropic import request as anthropic_request
from providers.canonical import (
    Choice,
    Delta,
    Ended,
    Event,
    Finished,
    PartStarted,
    PartStopped,
    Response,
    Started,
    ToolCall,
)
from providers.openai import chat_request, responses_request, responses_response
from providers.openai.responses_encoder import Encoder
from providers.openai.responses_tools import NAME_MAX, FreeText, flat, free_text, names

SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}}
CLOSE = {"type": "function", "name": "close", "description": "Close it.", "strict": False, "parameters": SCHEMA}
EXEC = {"type": "custom", "name": "exec", "description": "Run it.", "format": {"type": "text"}}
GROUP = {"type": "namespace", "name": "agents", "description": "Of agents.", "tools": [CLOSE, EXEC]}
PATCH = {"type": "custom", "name": "patch"}
SEARCH = {"type": "web_search", "external_web_access": True}
TOOLS = [GROUP, PATCH, {**CLOSE, "name": "plain"}, SEARCH]
ASKED: dict[str, Any] = {"model": "m", "input": "hello", "tools": TOOLS}


def elsewhere(**fields: Any) -> dict[str, Any]:
    """The request at a provider of Anthropic's protocol."""
    request = responses_request.leave(responses_request.decode({**ASKED, **fields}))
    return anthropic_request.encode(request, anthropic_request.Limits(output_max=9))


def test_a_group_is_its_functions_elsewhere_and_an_offer_of_the_providers_is_left_out() -> None:
    tools = elsewhere()["tools"]

    assert [it["name"] for it in tools] == ["agents__close", "agents__exec", "patch", "plain"]
    assert (tools[0]["description"], tools[0]["input_schema"]) == ("Close it.", SCHEMA)
    assert list(tools[1]["input_schema"]["properties"]) == ["input"]


def test_tools_that_are_told_among_the_items_are_tools_elsewhere() -> None:
    told = {"type": "additional_tools", "role": "developer", "tools": [GROUP, SEARCH]}
    body = elsewhere(tools=[PATCH], input=[told, {"role": "user", "content": "hello"}])

    assert [it["name"] for it in body["tools"]] == ["patch", "agents__close", "agents__exec"]
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert set(names({"input": [told]})) == {"agents__close", "agents__exec"}


def test_earlier_calls_have_the_names_that_their_functions_have() -> None:
    call = {"type": "function_call", "call_id": "a", "namespace": "agents", "name": "close", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "a", "output": "done"}

    body = elsewhere(input=[{"role": "user", "content": "hello"}, call, result])

    assert body["messages"][1]["content"] == [{"type": "tool_use", "id": "a", "name": "agents__close", "input": {}}]


def test_at_a_provider_of_this_protocol_all_is_as_it_was() -> None:
    call = {"type": "function_call", "call_id": "a", "name": "close", "arguments": "{}", "namespace": "agents"}
    asked = {**ASKED, "input": [{"role": "user", "content": "hello"}, call]}

    again = responses_request.encode(responses_request.decode(asked))

    assert (again["tools"], again["input"][1]) == (TOOLS, call)


def test_a_long_name_is_cut_and_stays_itself() -> None:
    one, other = flat("n" * 40, "f" * 40), flat("n" * 40, "f" * 41)

    assert {len(one), len(other)} == {NAME_MAX}
    assert one != other
    assert chat_request.encode(chat_request.decode({"model": one, "messages": []}))["model"] == one


# --- and back ------------------------------------------------------------------------------------------------------------

TEXT = 'say "hi" \\ to\n€ 😀'
CALLS = (
    ToolCall(id="a", name="agents__close", arguments='{"id":"7"}'),
    ToolCall(id="b", name="agents__exec", arguments=json.dumps({"input": TEXT})),
    ToolCall(id="c", name="patch", arguments=json.dumps({"input": ""})),
    ToolCall(id="d", name="plain", arguments="{}"),
    ToolCall(id="e", name="patch", arguments="no object"),
)
OWN: list[dict[str, Any]] = [
    {"type": "function_call", "call_id": "a", "namespace": "agents", "name": "close", "arguments": '{"id":"7"}'},
    {"type": "custom_tool_call", "call_id": "b", "namespace": "agents", "name": "exec", "input": TEXT},
    {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": ""},
    {"type": "function_call", "call_id": "d", "name": "plain", "arguments": "{}"},
    {"type": "custom_tool_call", "call_id": "e", "name": "patch", "input": "no object"},
]


def bare(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in it.items() if name not in ("id", "status")} for it in items]


def test_a_whole_answer_calls_the_clients_tools_by_their_own_names() -> None:
    answer = Response(family="anthropic", id="x", model="m", choices=(Choice(parts=CALLS, finish="tool_calls"),))

    body = json.loads(responses_response.encode(answer, model="m", created_s=1, asked=ASKED))

    assert bare(body["output"]) == OWN


@pytest.mark.parametrize("size", [1, 3, 1_000])
def test_a_stream_calls_the_clients_tools_by_their_own_names(size: int) -> None:
    events: list[Event] = [Started(family="anthropic", id="x", model="m")]
    for index, call in enumerate(CALLS):
        text = call.arguments
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        events.append(PartStarted(index=index, part=ToolCall(id=call.id, name=call.name, arguments="")))
        events += [Delta(index=index, arguments=it) for it in pieces]
        events.append(PartStopped(index=index))
    encoder = Encoder(model="m", created_s=1, asked=ASKED)

    sent = b"".join(encoder.feed(it) for it in [*events, Finished(finish="tool_calls"), Ended()])

    told = [json.loads(it.partition(b"data: ")[2]) for it in sent.split(b"\n\n") if it]
    pieces_of_b = [
        it["delta"] for it in told if it["type"] == "response.custom_tool_call_input.delta" and it["output_index"] == 1
    ]
    assert bare(told[-1]["response"]["output"]) == OWN
    assert bare([it["item"] for it in told if it["type"] == "response.output_item.done"]) == OWN
    assert "".join(pieces_of_b) == TEXT
    assert len(pieces_of_b) > 1 or size == 1_000


@settings(max_examples=200, deadline=None)
@given(st.text(), st.booleans(), st.randoms(use_true_random=False))
def test_a_free_text_comes_out_of_its_object_however_it_is_cut(text: str, ascii_only: bool, chance: random.Random) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    at = sorted(chance.randrange(len(arguments) + 1) for _ in range(4))
    read = FreeText()

    heard = [read.feed(arguments[a:b]) for a, b in zip([0, *at], [*at, len(arguments)], strict=True)]

    assert "".join(heard) + read.finish() == text
    assert free_text(arguments) == text
