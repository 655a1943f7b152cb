"""The Responses API, to the canonical form and back: recorded traffic loses nothing that the form can say."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any, cast

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from openai._models import construct_type
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent

from providers.canonical import (
    Choice,
    Delta,
    Ended,
    Event,
    Failed,
    File,
    Finished,
    Function,
    Image,
    Malformed,
    Media,
    Message,
    PartStarted,
    PartStopped,
    Reasoning,
    ReasoningAsk,
    Refusal,
    Request,
    Started,
    Text,
    ToolCall,
    ToolResult,
    Unsupported,
)
from providers.canonical import Response as Answer
from providers.errors import ErrorBody, InvalidResponse, RefusedInBody
from providers.openai import chat_request, responses_request, responses_response
from providers.openai.responses_decoder import Decoder
from providers.openai.responses_encoder import Encoder
from tests.recordings import Recording, every

RESPONSES = [recording for recording in every() if recording.endpoint == "responses"]
WHOLE = [it for it in RESPONSES if it.status == 200 and not it.streamed]
STREAMS = [it for it in RESPONSES if it.status == 200 and it.streamed]


def said(value: Any) -> Any:
    """JSON without what says nothing; a list of one plain text is that text, and one text a list of one message."""
    if isinstance(value, dict):
        return {name: said(field) for name, field in value.items() if field is not None and field not in ([], {}, "")}
    if isinstance(value, list):
        kept = [said(item) for item in value]
        if len(kept) == 1 and isinstance(kept[0], dict) and kept[0].keys() == {"type", "text"}:
            return kept[0]["text"]
        return kept
    return value


def usual(request: dict[str, Any]) -> Any:
    value = said(request)
    if isinstance(value["input"], str):
        value["input"] = [{"role": "user", "content": value["input"]}]
    return value


@pytest.mark.parametrize("recording", RESPONSES, ids=lambda recording: recording.id)
def test_a_recorded_request_comes_back_as_it_was(recording: Recording) -> None:
    again = responses_request.encode(responses_request.decode(recording.request))

    assert said(again) == usual(recording.request)


@pytest.mark.parametrize("recording", WHOLE, ids=lambda recording: recording.id)
def test_a_recorded_answer_comes_back_as_it_was(recording: Recording) -> None:
    read = responses_response.decode(recording.body)

    again = json.loads(responses_response.encode(read, model=read.model, created_s=1))

    assert said(again) == said(json.loads(recording.body))


def decoded(body: bytes, cuts: list[int] | None = None) -> list[Event]:
    decoder = Decoder()
    places = [0, *sorted(cuts or ()), len(body)]
    events = [event for start, end in itertools.pairwise(places) for event in decoder.feed(body[start:end])]
    return [*events, *decoder.finish()]


def told(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, with those that came in a row counted through."""
    datas = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(data) for data in datas if data != b"[DONE]"]


def steady(value: Any) -> Any:
    """What OpenAI itself says twice in the same way: it seals anew for each event, and rounds in the last one."""
    if isinstance(value, dict):
        kept = {name: steady(field) for name, field in value.items() if name != "encrypted_content"}
        return said({name: abs(round(field, 5)) if name == "logprob" else field for name, field in kept.items()})
    return [steady(item) for item in value] if isinstance(value, list) else value


def heard(body: bytes) -> Response:
    """What the official SDK has put together when a stream is over."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=[], text_format=omit)
    for event in told(body):
        state.handle_event(cast(Any, construct_type(type_=ResponseStreamEvent, value=event)))
    assert state._completed_response is not None
    return state._completed_response


def encoded(events: list[Event], model: str = "m") -> bytes:
    encoder = Encoder(model=model, created_s=1)
    return b"".join(encoder.feed(event) for event in events)


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_recorded_stream_comes_back_as_it_was(recording: Recording) -> None:
    events = decoded(recording.body)
    started = events[0]
    assert isinstance(started, Started)

    again = encoded(events, started.model)

    was = told(recording.body)
    sent = told(again)
    kinds = [it["type"] for it in was if it["type"] != "response.queued"]
    assert [it["type"] for it in sent if it["type"] != "response.queued"] == kinds
    assert [it["sequence_number"] for it in sent] == list(range(len(sent)))
    assert steady(sent[-1]["response"]) == steady(was[-1]["response"])
    places = ("item_id", "output_index", "content_index", "delta", "text", "arguments", "annotation_index")
    mine = [[it.get(name) for name in places] for it in sent if "item_id" in it]
    assert mine == [[it.get(name) for name in places] for it in was if "item_id" in it]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STREAMS), st.integers(0, 2**32), st.integers(0, 40))
def test_however_the_bytes_are_split_the_events_are_the_same(recording: Recording, seed: int, count: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # where to cut, no secret
    cuts = [chance.randrange(len(recording.body) + 1) for _ in range(count)]

    assert decoded(recording.body, cuts) == decoded(recording.body)


# --- requests ----------------------------------------------------------------------------------------------------------------


def asked(**fields: Any) -> dict[str, Any]:
    """What a chat client's request is here."""
    return responses_request.encode(chat_request.decode({"model": "m", "messages": [], **fields}))


def there(**fields: Any) -> dict[str, Any]:
    """What a request of this protocol is for a provider of chat completions."""
    request = responses_request.decode({"model": "m", "input": "hello", **fields})
    return chat_request.encode(responses_request.leave(request))


def test_a_turn_is_one_message_elsewhere() -> None:
    items: list[dict[str, Any]] = [
        {"role": "user", "content": "go"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "let me see"}]},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "one"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "two"}]},
    ]

    messages = there(instructions="be brief", input=items)["messages"]

    assert [it["role"] for it in messages] == ["system", "user", "assistant", "tool", "tool"]
    assert messages[2]["content"] == "let me see"
    assert [call["id"] for call in messages[2]["tool_calls"]] == ["a", "b"]
    assert [it["content"] for it in messages[3:]] == ["one", "two"]


def test_a_message_of_chat_completions_is_several_items() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    own = {"id": "b", "type": "custom", "custom": {"name": "g", "input": "hi"}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}
    messages = [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, image]},
        {"role": "assistant", "content": "a cat", "tool_calls": [call, own]},
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "tool", "tool_call_id": "b", "content": "two"},
    ]

    items = asked(messages=messages)["input"]

    assert items == [
        {"role": "developer", "content": "be kind"},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
            ],
        },
        {"role": "assistant", "content": "a cat"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": '{"x":1}'},
        {"type": "custom_tool_call", "call_id": "b", "name": "g", "input": "hi"},
        {"type": "function_call_output", "call_id": "a", "output": "one"},
        {"type": "custom_tool_call_output", "call_id": "b", "output": "two"},
    ]


def test_settings_have_their_own_names_here() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    schema = {"name": "n", "schema": {"type": "object"}, "strict": True}

    body = asked(
        max_completion_tokens=9,
        reasoning_effort="low",
        verbosity="low",
        tools=[tool, {"type": "custom", "custom": {"name": "g"}}],
        tool_choice={"type": "custom", "custom": {"name": "g"}},
        response_format={"type": "json_schema", "json_schema": schema},
        logprobs=True,
        top_logprobs=2,
    )

    assert body == {
        "model": "m",
        "input": [],
        "max_output_tokens": 9,
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "low", "format": {"type": "json_schema", **schema}},
        "tools": [
            {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False},
            {"type": "custom", "name": "g"},
        ],
        "tool_choice": {"type": "custom", "name": "g"},
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "store": False,
    }


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"n": 2}, "n"),
        ({"stop": ["x"]}, "stop"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file_1"}}]}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x"}}]}]}, "messages[0]"),
    ],
)
def test_what_cannot_be_said_here_is_refused_by_name(fields: Any, place: str) -> None:
    with pytest.raises(Unsupported) as refused:
        asked(**fields)

    assert refused.value.field == place


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "file_search"}]}, "tools[0]"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tools[0]"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]}, "tools[0].tools[0]"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"instructions": "x", "input": [{"role": "user", "content": "x"}, {"type": "item_reference", "id": "a"}]}, "input[1]"),
        ({"input": [{"id": "msg_1"}]}, "input[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}]},
            "input[0].content[0]",
        ),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0]"),
        ({"input": [{"type": "computer_call_output", "call_id": "x", "output": {}}]}, "input[0]"),
        (
            {"input": [{"type": "additional_tools", "role": "developer", "tools": [{"type": "mcp"}]}]},
            "input[].tools[0]",
        ),
    ],
)
def test_what_only_the_provider_knows_is_not_taken_elsewhere(fields: Any, place: str) -> None:
    with pytest.raises(Unsupported) as refused:
        there(**fields)

    assert refused.value.field == place


def of_item(**fields: Any) -> dict[str, Any]:
    return {"input": [fields]}


def of_part(**fields: Any) -> dict[str, Any]:
    return of_item(role="user", content=[fields])


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        (of_item(role="user", content="hi", mood="glad"), "input[0].mood"),
        (of_item(type="function_call", call_id="a", name="f", arguments="{}", mood=1), "input[0].mood"),
        (of_item(type="function_call_output", call_id="a", output="x", mood=1), "input[0].mood"),
        (of_part(type="input_text", text="hi", mood="glad"), "input[0].content[0].mood"),
        (of_part(type="input_image", image_url="https://a.example/b.png", crop=[1, 2]), "input[0].content[0].crop"),
        (of_part(type="input_video", video_url="https://a.example/b.mp4"), "input[0].content[0]"),
        ({"tools": [{"type": "function", "name": "f", "parameters": {}, "mood": 1}]}, "tools[0].mood"),
    ],
)
def test_a_field_inside_that_nobody_knows_is_refused_by_its_name_elsewhere(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(Unsupported) as refused:
        responses_request.leave(responses_request.decode({"model": "m", "input": "hi", **fields}))

    assert refused.value.field == place


@pytest.mark.parametrize(
    "fields",
    [
        of_item(type="message", role="assistant", content="hi", id="msg_1", status="completed", phase="commentary"),
        of_item(role="user", content="hi", mood=None, tune="", calm=False),
        of_item(type="function_call", call_id="a", name="f", arguments="{}", id="fc_1", status="completed"),
        of_part(type="input_text", text="hi", prompt_cache_breakpoint={"mode": "explicit"}),
        {"tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True, "defer_loading": True}]},
    ],
)
def test_what_makes_no_difference_to_the_answer_is_taken_elsewhere(fields: dict[str, Any]) -> None:
    request = responses_request.decode({"model": "m", "input": "hi", **fields})

    assert responses_request.leave(request).messages == request.messages


def test_what_a_providers_own_tools_did_is_left_out_elsewhere() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}
    answer = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "found"}]}

    messages = there(input=[{"role": "user", "content": "search"}, search, answer])["messages"]

    assert [it["content"] for it in messages] == ["search", "found"]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"input": None}, "input"),
        ({"input": 7}, "input"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
        ({"input": [{"content": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "a"}]}, "input[0].output"),
        ({"input": [{"type": "reasoning", "encrypted_content": "tollway:!"}]}, "input[0].encrypted_content"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"temperature": "warm"}, "temperature"),
        ({"include": [1]}, "include[0]"),
    ],
)
def test_what_is_no_request_is_refused_by_its_place(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(Malformed) as refused:
        responses_request.decode({"model": "m", "input": "hello", **fields})

    assert refused.value.field == place


def test_an_earlier_response_takes_the_place_of_an_input() -> None:
    request = responses_request.decode({"model": "m", "previous_response_id": "resp_1"})

    assert responses_request.encode(request) == {"model": "m", "input": [], "previous_response_id": "resp_1"}


# --- answers -----------------------------------------------------------------------------------------------------------------


def answered(*parts: Any, family: Any = "anthropic", **fields: Any) -> dict[str, Any]:
    choice = Choice(parts=parts, finish=fields.pop("finish", "stop"), **fields)
    answer = Answer(family=family, id="abc", model="m", choices=(choice,))
    told: dict[str, Any] = json.loads(responses_response.encode(answer, model="m", created_s=7, asked={"temperature": 0.5}))
    return told


def test_seals_of_another_family_come_back_to_it() -> None:
    thought = Reasoning(family="anthropic", text="hm", signature="s1")
    closed = Reasoning(family="anthropic", encrypted="e1")
    call = ToolCall(id="c1", name="f", arguments="{}", signature="s2")

    output = answered(thought, closed, Text(text="hello"), call)["output"]
    again = responses_request.decode({"model": "m", "input": [*output, {"role": "user", "content": "go on"}]})

    parts = again.messages[0].parts
    assert [part for part in parts if isinstance(part, Reasoning)] == [thought, closed]
    assert [(part.id, part.signature) for part in parts if isinstance(part, ToolCall)] == [("c1", "s2")]
    assert len(again.messages) == 2


def test_thoughts_of_another_family_are_not_sent_to_openai() -> None:
    output = answered(Reasoning(family="anthropic", text="hm", signature="s1"), Text(text="hello"))["output"]

    body = responses_request.encode(responses_request.decode({"model": "m", "input": output}))

    assert [item["type"] for item in body["input"]] == ["message"]


def test_an_answer_repeats_what_was_asked_and_says_that_it_is_not_kept() -> None:
    answer = answered(Text(text="hello"))

    assert (answer["id"], answer["created_at"], answer["temperature"], answer["tools"]) == ("resp_abc", 7, 0.5, [])
    assert (answer["status"], answer["error"], answer["store"], answer["usage"]) == ("completed", None, False, None)
    assert Response.model_validate(answer, strict=True).output_text == "hello"


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("refusal", "incomplete", "content_filter"),
        ("error", "failed", None),
    ],
)
def test_an_end_has_its_word(finish: str, status: str, reason: str | None) -> None:
    answer = answered(Text(text="hello"), finish=finish)

    assert answer["status"] == status
    assert (answer.get("incomplete_details") or {}).get("reason") == reason


def test_logprobs_are_those_of_the_first_text() -> None:
    told = [{"token": "hello", "logprob": -0.5, "bytes": None, "top_logprobs": []}]

    answer = answered(Text(text="hello"), logprobs={"content": told})

    assert answer["output"][0]["content"][0]["logprobs"] == told


@pytest.mark.parametrize("value", [True, 7, "x", {"a": 1}])
def test_logprobs_that_are_no_list_say_nothing(value: Any) -> None:
    content = [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": value}]
    item = {"type": "message", "id": "m", "role": "assistant", "content": content}

    answer = responses_response.decode(json.dumps({"id": "r", "status": "completed", "output": [item]}).encode())

    assert answer.choices[0].logprobs is None


def test_a_failed_response_is_an_error() -> None:
    failed = {"id": "resp_1", "status": "failed", "error": {"code": "server_error", "message": "oh"}, "output": []}

    with pytest.raises(RefusedInBody, match="oh"):
        responses_response.decode(json.dumps(failed).encode())
    with pytest.raises(InvalidResponse, match="oh"):
        responses_response.decode(json.dumps({**failed, "usage": {"input_tokens": 1, "output_tokens": 2}}).encode())


@pytest.mark.parametrize("body", [b"{}", b"[]", b"{", b'{"output":[{}]}', b'{"output":[{"type":"function_call"}]}'])
def test_what_is_no_answer_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        responses_response.decode(body)


# --- streams -----------------------------------------------------------------------------------------------------------------


def stream(*events: Event, family: Any = "anthropic") -> bytes:
    return encoded([Started(family=family, id="abc", model="m"), *events])


def test_the_official_sdk_puts_together_a_stream_of_another_family() -> None:
    events = [
        PartStarted(index=0, part=Reasoning(family="anthropic")),
        Delta(index=0, text="h"),
        Delta(index=0, text="m"),
        Delta(index=0, signature="s1"),
        PartStopped(index=0),
        PartStarted(index=1, part=Text(text="")),
        Delta(index=1, text="hel"),
        Delta(index=1, text="lo"),
        PartStopped(index=1),
        PartStarted(index=2, part=ToolCall(id="a", name="f", arguments="")),
        PartStarted(index=3, part=ToolCall(id="b", name="g", arguments="", custom=True, signature="s2")),
        Delta(index=2, arguments='{"x"'),
        Delta(index=3, arguments="y"),
        Delta(index=2, arguments=":1}"),
        Finished(finish="tool_calls"),
        Ended(),
    ]

    body = stream(*events)

    response = heard(body)
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "custom_tool_call", "reasoning"]
    assert response.output_text == "hello"
    call, custom = cast(Any, response.output[2]), cast(Any, response.output[3])
    assert (call.call_id, call.name, call.arguments, call.status) == ("a", "f", '{"x":1}', "completed")
    assert (custom.call_id, custom.name, custom.input) == ("b", "g", "y")
    whole = answered(
        Reasoning(family="anthropic", text="hm", signature="s1"),
        Text(text="hello"),
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="g", arguments="y", custom=True, signature="s2"),
        finish="tool_calls",
    )
    assert said(told(body)[-1]["response"]["output"]) == said(whole["output"])


def test_the_events_of_a_text_come_in_the_order_that_the_protocol_promises() -> None:
    body = stream(
        PartStarted(index=0, part=Text(text="")),
        Delta(index=0, text="hi"),
        PartStopped(index=0),
        Finished(finish="stop"),
        Ended(),
    )

    events = told(body)

    assert [it["type"].removeprefix("response.") for it in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [it["sequence_number"] for it in events] == list(range(9))
    assert {it["item_id"] for it in events if "item_id" in it} == {events[-1]["response"]["output"][0]["id"]}


def test_a_summary_has_its_parts() -> None:
    body = stream(
        PartStarted(index=0, part=Reasoning(family="openai-responses", id="rs_1")),
        Delta(index=0, text="a", summary_index=0),
        Delta(index=0, text="b", summary_index=1),
        Delta(index=0, encrypted="e"),
        PartStopped(index=0),
        Finished(finish="stop"),
        Ended(),
        family="openai-responses",
    )

    kinds = [it["type"].removeprefix("response.reasoning_summary_") for it in told(body)][3:11]
    item = told(body)[-1]["response"]["output"][0]

    assert kinds == ["part.added", "text.delta", "text.done", "part.done"] * 2
    assert [it["text"] for it in item["summary"]] == ["a", "b"]
    assert item["encrypted_content"] == "e"


def test_thoughts_of_another_family_are_told_where_clients_look_for_them_and_come_back_as_they_were() -> None:
    body = stream(
        PartStarted(index=0, part=Reasoning(family="anthropic")),
        Delta(index=0, text="first\n\n"),
        Delta(index=0, text="second"),
        Delta(index=0, signature="s"),
        PartStopped(index=0),
        Finished(finish="stop"),
        Ended(),
        family="anthropic",
    )

    item = told(body)[-1]["response"]["output"][0]
    back = responses_request.decode({"model": "m", "input": [item]}).messages[0].parts[0]

    assert [it["text"] for it in item["summary"]] == ["first\n\nsecond"]
    assert "content" not in item
    assert "".join(it["delta"] for it in told(body) if it["type"].endswith("summary_text.delta")) == "first\n\nsecond"
    assert back == Reasoning(family="anthropic", text="first\n\nsecond", signature="s")


def test_items_have_ids_of_their_own_whatever_the_providers_are() -> None:
    choice = Choice(parts=(Text(text="hm"),), finish="stop")
    answer = Answer(family="openai-chat", id="chatcmpl-1", model="m", choices=(choice,))

    bodies = [responses_response.encode(answer, model="m", created_s=1, name=name) for name in "ab"]

    assert len({json.loads(it)["output"][0]["id"] for it in bodies}) == 2


def test_each_piece_goes_out_when_it_comes() -> None:
    encoder = Encoder(model="m", created_s=1)
    encoder.feed(Started(family="anthropic", id="x", model="m"))
    encoder.feed(PartStarted(index=0, part=ToolCall(id="a", name="f", arguments="")))

    sent = encoder.feed(Delta(index=0, arguments='{"a'))

    assert told(sent)[0]["delta"] == '{"a'


def test_a_refusal_and_a_text_are_parts_of_one_message() -> None:
    body = stream(
        PartStarted(index=0, part=Text(text="well")),
        PartStopped(index=0),
        PartStarted(index=1, part=Refusal(text="no")),
        PartStopped(index=1),
        Finished(finish="stop"),
        Ended(),
    )

    content = told(body)[-1]["response"]["output"][0]["content"]

    assert [part.get("text") or part.get("refusal") for part in content] == ["well", "no"]
    assert [it["type"] for it in told(body) if "refusal" in it["type"]] == ["response.refusal.delta", "response.refusal.done"]


def test_a_stream_that_broke_off_fails() -> None:
    body = stream(
        PartStarted(index=0, part=Text(text="")), Delta(index=0, text="hi"), Failed(error=ErrorBody(message="oh", code="x"))
    )

    failed, error = told(body)[-2:]

    assert (failed["type"], failed["response"]["status"], failed["response"]["error"]["message"]) == (
        "response.failed",
        "failed",
        "oh",
    )
    assert (error["type"], error["message"], error["error"]["code"]) == ("error", "oh", "x")


def events_of(*values: dict[str, Any]) -> list[Event]:
    return decoded(b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values))


def test_what_came_in_no_pieces_is_told_when_it_is_whole() -> None:
    item = {"type": "function_call", "id": "fc", "call_id": "a", "name": "f", "arguments": '{"x":1}', "status": "completed"}
    message = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}
    response = {"id": "resp_1", "status": "completed", "output": []}

    events = events_of(
        {"type": "response.created", "response": {"id": "resp_1", "model": "m"}},
        {"type": "response.output_item.done", "output_index": 0, "item": message},
        {"type": "response.output_item.done", "output_index": 1, "item": item},
        {"type": "response.completed", "response": response},
    )

    assert [it.text for it in events if isinstance(it, Delta) and it.text] == ["hello"]
    assert [it.arguments for it in events if isinstance(it, Delta) and it.arguments] == ['{"x":1}']
    assert [it.finish for it in events if isinstance(it, Finished)] == ["tool_calls"]
    assert isinstance(events[-1], Ended)


def test_a_whole_answer_as_the_only_event_is_a_stream_too() -> None:
    message = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}

    events = events_of({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [message]}})

    assert isinstance(events[0], Started)
    assert "".join(it.text for it in events if isinstance(it, Delta)) == "hello"


def texts(events: list[Event]) -> tuple[str, str, list[str]]:
    """The text, the thoughts and the arguments that were told."""
    begun = {it.index: it.part for it in events if isinstance(it, PartStarted)}
    told: dict[type, str] = {Text: "", Reasoning: "", ToolCall: ""}
    for it in events:
        if isinstance(it, Delta):
            told[type(begun[it.index])] += it.text + it.arguments
    arguments = [part.name for part in begun.values() if isinstance(part, ToolCall)]
    return told[Text], told[Reasoning], [*arguments, told[ToolCall]]


CALLED = {"type": "function_call", "id": "fc", "call_id": "a", "name": "f", "arguments": '{"x":1}'}
SPOKE = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}
THOUGHT = {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}


def test_items_that_nobody_announced_are_told() -> None:
    events = events_of(
        {"type": "response.reasoning_text.delta", "output_index": 0, "item_id": "rs", "content_index": 0, "delta": "hm"},
        {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "hello"},
        {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"x"'},
        {"type": "response.function_call_arguments.done", "output_index": 2, "arguments": '{"x":1}'},
        {"type": "response.output_item.done", "output_index": 2, "item": CALLED},
        {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [THOUGHT, SPOKE, CALLED]}},
    )

    assert texts(events) == ("hello", "hm", ["f", '{"x":1}'])


def test_what_only_the_end_tells_is_told_once() -> None:
    events = events_of(
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_item.added", "output_index": 1, "item": {**SPOKE, "content": []}},
        {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "hello"},
        {"type": "response.output_item.added", "output_index": 2, "item": {**CALLED, "arguments": ""}},
        {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [THOUGHT, SPOKE, CALLED]}},
    )

    assert texts(events) == ("hello", "hm", ["f", '{"x":1}'])
    assert [it.finish for it in events if isinstance(it, Finished)] == ["tool_calls"]


def test_parts_that_are_counted_from_the_outputs_beginning_are_not_told_twice() -> None:
    # Bedrock's OpenAI endpoint: the message is the output's second item, and its one part has the place 1.
    part = {"type": "output_text", "text": "hello", "annotations": []}

    events = events_of(
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_item.added", "output_index": 1, "item": {**SPOKE, "content": []}},
        {"type": "response.content_part.added", "output_index": 1, "content_index": 1, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", "output_index": 1, "content_index": 1, "delta": "hello"},
        {"type": "response.content_part.done", "output_index": 1, "content_index": 1, "part": part},
        {"type": "response.output_item.done", "output_index": 1, "item": SPOKE},
        {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [THOUGHT, SPOKE]}},
    )

    assert texts(events)[0] == "hello"


def test_of_thoughts_and_their_summary_that_come_whole_the_thoughts_are_told() -> None:
    both = {**THOUGHT, "summary": [{"type": "summary_text", "text": "in short"}]}

    events = events_of({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [both]}})

    assert texts(events)[1] == "hm"


@pytest.mark.parametrize(
    ("kind", "pieces", "expected"),
    [
        ("output_text", ["a\\ud83d", "\\ude00b"], "a\U0001f600b"),
        ("reasoning_text", ["\\ud83d", "\\ude00"], "\U0001f600"),
        ("output_text", ["\\ud83d", "plain"], "\ufffdplain"),
        ("output_text", ["x\\ud83d"], "x\ufffd"),
    ],
)
def test_a_character_that_was_cut_in_two_is_one(kind: str, pieces: list[str], expected: str) -> None:
    where = f'"output_index":0,"content_index":0,"type":"response.{kind}'
    sent = [*(f'{{{where}.delta","delta":"{it}"}}' for it in pieces), f'{{{where}.done","text":""}}']

    events = decoded("".join(f"data: {it}\n\n" for it in sent).encode())

    assert "".join(it.text for it in events if isinstance(it, Delta)) == expected


def test_arguments_that_are_an_object_are_a_text_and_an_empty_message_is_none() -> None:
    items = [{**CALLED, "arguments": {"x": "é"}}, {**SPOKE, "content": None}]

    answer = responses_response.decode(json.dumps({"id": "r", "status": "completed", "output": items}).encode())

    assert [getattr(part, "arguments", part) for part in answer.choices[0].parts] == ['{"x":"é"}']


@pytest.mark.parametrize(
    "last",
    [
        {"type": "response.failed", "response": {"id": "r", "status": "failed", "error": {"code": "c", "message": "oh"}}},
        {"type": "error", "code": "c", "message": "oh", "param": None},
        {"error": {"code": "c", "message": "oh"}},
    ],
)
def test_an_error_ends_a_stream(last: dict[str, Any]) -> None:
    events = events_of({"type": "response.created", "response": {"id": "r"}}, last, {"type": "response.created"})

    assert isinstance(events[-1], Failed)
    assert (events[-1].error.message, events[-1].error.code) == ("oh", "c")


@pytest.mark.parametrize(
    "value",
    [
        {"type": "response.output_text.delta", "delta": "x"},
        {"type": "response.output_item.added", "output_index": 0, "item": {}},
        {"type": "response.completed"},
        [],
    ],
)
def test_an_event_that_is_none_is_invalid(value: Any) -> None:
    with pytest.raises(InvalidResponse):
        events_of(value)


def test_an_item_that_ends_as_another_kind_is_invalid() -> None:
    begun = {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "summary": []}}
    ended = {"type": "response.output_item.done", "output_index": 0, "item": {**SPOKE, "content": None}}

    with pytest.raises(InvalidResponse):
        events_of({"type": "response.created", "response": {"id": "r"}}, begun, ended)


def test_a_stream_without_its_end_was_cut_off() -> None:
    events = events_of({"type": "response.created", "response": {"id": "r"}})

    assert not isinstance(events[-1], Ended)


# --- whatever can be said comes back -------------------------------------------------------------------------------------

WORDS = st.text(min_size=1, max_size=20)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz_-0123456789", min_size=1, max_size=12)
MEDIA = st.one_of(
    st.builds(Media, url=st.just("https://pictures.invalid/a.png")),
    st.builds(Media, data=st.just("AA=="), media_type=st.just("image/png")),
    st.builds(Media, file_id=NAMES),
)
SPOKEN = st.one_of(
    st.builds(Text, text=WORDS),
    st.builds(Image, media=MEDIA, detail=st.sampled_from(("", "low"))),
    st.builds(File, media=MEDIA, name=st.sampled_from(("", "a.pdf"))),
)
CALLS = st.builds(ToolCall, id=NAMES, name=NAMES, arguments=WORDS, custom=st.booleans(), item_id=NAMES)
THOUGHTS = st.builds(
    Reasoning,
    family=st.just("openai-responses"),
    text=st.text(max_size=9),
    summary=st.lists(WORDS, max_size=2).map(tuple),
    encrypted=st.sampled_from(("", "sealed")),
    id=NAMES,
)
WRITTEN = st.builds(Text, text=WORDS, extra=st.just({"item": {"type": "message"}}))
TURNS = st.one_of(
    st.builds(
        Message,
        role=st.sampled_from(("user", "system", "developer")),
        parts=st.lists(SPOKEN, min_size=1, max_size=3).map(tuple),
        extra=st.just({"type": "message"}),
    ),
    st.builds(
        Message,
        role=st.just("tool"),
        parts=st.builds(
            ToolResult, id=NAMES, content=st.lists(st.builds(Text, text=WORDS), min_size=1, max_size=2).map(tuple)
        ).map(lambda part: (part,)),
    ),
    st.builds(
        Message,
        role=st.just("assistant"),
        parts=st.lists(st.one_of(WRITTEN, CALLS, THOUGHTS), min_size=1, max_size=4).map(tuple),
    ),
)
ASKED = st.builds(
    Request,
    family=st.just("openai-responses"),
    model=NAMES,
    stream_usage=st.just(True),
    messages=st.lists(TURNS, max_size=4)
    .filter(lambda turns: all({one.role, two.role} != {"assistant"} for one, two in itertools.pairwise(turns)))
    .map(tuple),
    tools=st.lists(st.builds(Function, name=NAMES, description=st.text(max_size=5), strict=st.booleans()), max_size=2).map(
        tuple
    ),
    parallel_tools=st.sampled_from((None, True, False)),
    output_max=st.none() | st.integers(1, 9),
    temperature=st.none() | st.integers(0, 2),
    verbosity=st.sampled_from(("", "low")),
    reasoning=st.none() | st.builds(ReasoningAsk, effort=st.sampled_from(("low", "high"))),
    metadata=st.none() | st.just({"a": "b"}),
)


@settings(max_examples=150, deadline=None)
@given(ASKED)
def test_whatever_a_request_asks_comes_back(request: Request) -> None:
    # A result of a custom tool's call is a custom one: a request that says otherwise does not come back as it is.
    parts = [part for message in request.messages for part in message.parts]
    free = {part.id for part in parts if isinstance(part, ToolCall) and part.custom}
    assume(not any(isinstance(part, ToolResult) and not part.custom and part.id in free for part in parts))

    body = json.loads(json.dumps(responses_request.encode(request)))

    assert responses_request.decode(body) == request


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(WRITTEN, CALLS, THOUGHTS), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_whatever_an_answer_says_comes_back_whole_and_as_a_stream(parts: list[Any], chance: random.Random) -> None:
    events: list[Event] = [Started(family="openai-responses", id="resp_1", model="m")]
    for index, part in enumerate(parts):
        events += pieces(index, part, chance)
    answer = Answer(
        family="openai-responses",
        id="resp_1",
        model="m",
        choices=(Choice(parts=tuple(parts), finish="stop", native_finish="completed"),),
        extra={"status": "completed"},
    )

    streamed = told(encoded([*events, Finished(finish="stop"), Ended()]))[-1]["response"]["output"]
    whole = json.loads(responses_response.encode(answer, model="m", created_s=1))["output"]

    assert nameless(streamed) == nameless(whole)
    again = responses_response.decode(json.dumps({"object": "response", "status": "completed", "output": whole}).encode())
    assert [spoken(part) for part in again.choices[0].parts] == [spoken(part) for part in parts]


def pieces(index: int, part: Any, chance: random.Random) -> list[Event]:
    """A part as a stream has it, cut anywhere."""

    def cut(text: str) -> list[str]:
        at = chance.randrange(len(text) + 1)
        return [piece for piece in (text[:at], text[at:]) if piece]

    match part:
        case ToolCall():
            begun: Any = replace(part, arguments="")
            deltas = [Delta(index=index, arguments=it) for it in cut(part.arguments)]
        case Reasoning():
            begun = replace(part, text="", summary=(), encrypted="")
            deltas = [Delta(index=index, text=it, summary_index=at) for at, text in enumerate(part.summary) for it in cut(text)]
            deltas += [Delta(index=index, text=it) for it in cut(part.text)]
            deltas += [Delta(index=index, encrypted=part.encrypted)] if part.encrypted else []
        case _:
            begun = replace(part, text="")
            deltas = [Delta(index=index, text=it) for it in cut(part.text)]
    return [PartStarted(index=index, part=begun), *deltas, PartStopped(index=index)]


def nameless(items: list[dict[str, Any]]) -> Any:
    return said([{name: value for name, value in item.items() if name not in ("id", "status")} for item in items])


def spoken(part: Any) -> Any:
    """A part without what its item says besides."""
    return replace(part, extra={}) if isinstance(part, Text | Reasoning) else replace(part, extra={}, item_id=part.item_id)
