"""Chat completions, to the canonical form and back: recorded traffic loses nothing that the form can say."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from providers.canonical import (
    Citation,
    Delta,
    Ended,
    Event,
    Failed,
    Finished,
    Image,
    Malformed,
    Media,
    Part,
    PartStarted,
    Reasoning,
    ReasoningAsk,
    Started,
    Text,
    ToolCall,
    UsageSeen,
)
from providers.errors import RefusedInBody
from providers.openai import chat_request, chat_response
from providers.openai.chat_stream import Decoder, Encoder
from tests.recordings import Recording, every

CHATS = [recording for recording in every() if recording.endpoint == "chat/completions"]
WHOLE = [it for it in CHATS if it.status == 200 and not it.streamed]
STREAMS = [it for it in CHATS if it.status == 200 and it.streamed]


def said(value: Any) -> Any:
    """JSON without what says nothing: nulls and empty values; a list of one plain text is that text."""
    if isinstance(value, dict):
        return {name: said(field) for name, field in value.items() if field is not None and field not in ([], {}, "")}
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], dict) and value[0].keys() == {"type", "text"}:
            return value[0]["text"]
        return [said(item) for item in value]
    return value


def usual(request: dict[str, Any]) -> Any:
    """A request in the words that we would use: what other vendors take besides is turned into OpenAI's."""
    value = said(request)
    for tool in value.get("tools", ()):
        tool.setdefault("type", "function")
    choice = value.get("tool_choice")
    if choice == "any":
        value["tool_choice"] = "required"
    elif isinstance(choice, dict):
        choice.setdefault("type", "function")
    return value


@pytest.mark.parametrize("recording", CHATS, ids=lambda recording: recording.id)
def test_a_recorded_request_comes_back_as_it_was(recording: Recording) -> None:
    request = chat_request.decode(recording.request)

    again = chat_request.encode(request, older_bound="max_tokens" in recording.request)

    assert said(again) == usual(recording.request)


@pytest.mark.parametrize("recording", WHOLE, ids=lambda recording: recording.id)
def test_a_recorded_answer_comes_back_with_all_that_was_said(recording: Recording) -> None:
    was = json.loads(recording.body)

    try:
        read = chat_response.decode(recording.body)
    except RefusedInBody:
        assert "error" in was
        return
    again = json.loads(chat_response.encode(read, model=read.model, created_s=1))

    assert [told(it["message"]) for it in again["choices"]] == [told(it["message"]) for it in was["choices"]]
    assert [it["finish_reason"] for it in again["choices"]] == [it["finish_reason"] for it in was["choices"]]
    assert again["usage"] == was["usage"]
    assert (again["id"], again["model"], again["created"]) == (was["id"], was["model"], was["created"])


def told(message: dict[str, Any]) -> dict[str, Any]:
    """What an answer's message says, in whatever words."""
    content = message.get("content")
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    if isinstance(content, list):
        thought = "".join(it["text"] for part in content if part["type"] == "thinking" for it in part["thinking"])
        content = "".join(part["text"] for part in content if part["type"] == "text")
    calls = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or ()]
    return {"text": content or "", "thought": thought, "calls": calls, "annotations": message.get("annotations") or []}


def decoded(body: bytes, cuts: list[int] | None = None) -> list[Event]:
    decoder = Decoder()
    places = [0, *sorted(cuts or ()), len(body)]
    events = [event for start, end in itertools.pairwise(places) for event in decoder.feed(body[start:end])]
    return [*events, *decoder.finish()]


def heard(body: bytes) -> dict[str, Any]:
    """What a client of a stream has heard when it is over."""
    heard: dict[str, Any] = {"text": "", "thought": "", "calls": {}, "finish": None, "usage": None}
    for event in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
        if not data or data == b"[DONE]":
            continue
        chunk = json.loads(data)
        heard["usage"] = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or heard["usage"]
        for choice in chunk.get("choices", ()):
            delta = choice["delta"] or {}
            content = told({"content": delta.get("content"), **{k: delta.get(k) for k in ("reasoning", "reasoning_content")}})
            heard["text"] += content["text"]
            heard["thought"] += content["thought"]
            for at, call in enumerate(delta.get("tool_calls") or ()):
                slot = call.get("index", at)
                known = heard["calls"].setdefault(slot if slot is not None else at, {"id": "", "name": "", "arguments": ""})
                known["id"] = known["id"] or call.get("id") or ""
                known["name"] = known["name"] or call["function"].get("name") or ""
                known["arguments"] += call["function"].get("arguments") or ""
            heard["finish"] = choice.get("finish_reason") or heard["finish"]
    heard["calls"] = list(heard["calls"].values())
    return heard


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.id)
def test_a_recorded_stream_comes_back_with_all_that_was_said(recording: Recording) -> None:
    events = decoded(recording.body)

    encoder = Encoder(model="m", created_s=1, include_usage=True)
    again = b"".join(encoder.feed(event) for event in events)

    if isinstance(events[-1], Failed):
        assert b'"error"' in again and b"[DONE]" not in again
        return
    assert isinstance(events[-1], Ended)
    assert again.endswith(b"data: [DONE]\n\n")
    assert heard(again) == heard(recording.body)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STREAMS), st.integers(0, 2**32), st.integers(0, 40))
def test_however_the_bytes_are_split_the_events_are_the_same(recording: Recording, seed: int, count: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # where to cut, no secret
    cuts = [chance.randrange(len(recording.body) + 1) for _ in range(count)]

    assert decoded(recording.body, cuts) == decoded(recording.body)


def test_calls_count_from_0_whatever_came_before_them() -> None:
    chunks = [
        {"reasoning_content": "hm"},
        {"content": "let me see"},
        {"tool_calls": [{"index": 3, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 3, "function": {"arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 7, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
        {"tool_calls": [{"index": 3, "function": {"arguments": ":1}"}}]},
    ]
    body = b"".join(b"data: " + json.dumps({"choices": [{"index": 0, "delta": it}]}).encode() + b"\n\n" for it in chunks)
    encoder = Encoder(model="m", created_s=1, include_usage=False)

    again = b"".join(encoder.feed(event) for event in decoded(body + b"data: [DONE]\n\n"))

    calls = heard(again)["calls"]
    assert calls == [{"id": "a", "name": "f", "arguments": '{"x":1}'}, {"id": "b", "name": "g", "arguments": "{}"}]
    assert b'"index":3' not in again
    assert heard(again)["finish"] == "tool_calls"


def test_arguments_are_passed_on_as_they_come() -> None:
    encoder = Encoder(model="m", created_s=1, include_usage=False)
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    first = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
    more = {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"a'}}]}}]}
    decoder = Decoder()

    sent = [
        b"".join(encoder.feed(event) for event in decoder.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n"))
        for chunk in (first, more)
    ]

    assert all(sent)
    assert b'{\\"a' in sent[1]


def test_a_client_that_puts_chunks_together_keeps_citations_and_pictures_apart() -> None:
    cited = [Citation(family="anthropic", native={}, url=f"https://{it}.example", title=it) for it in ("a", "b", "c")]
    events: list[Event] = [Started(family="anthropic", id="a", model="m")]
    for index, citation in enumerate(cited):
        events += [
            PartStarted(index=2 * index, part=Text(text="")),
            Delta(index=2 * index, citation=citation),
            Delta(index=2 * index, text=citation.title),
            PartStarted(index=2 * index + 1, part=Image(media=Media(data="AAAA", media_type="image/png"))),
        ]
    encoder = Encoder(model="m", created_s=1, include_usage=False)
    state: Any = ChatCompletionStreamState()

    for event in [*events, Finished(finish="stop")]:
        for chunk in encoder.feed(event).split(b"\n\n")[:-1]:
            state.handle_chunk(ChatCompletionChunk.construct(**json.loads(chunk.removeprefix(b"data: "))))
    message = state.get_final_completion().choices[0].message

    assert message.content == "abc"
    assert [it.url_citation.url for it in message.annotations] == [it.url for it in cited]
    assert len(message.images) == 3


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"messages": None}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [], "temperature": "warm"}, "temperature"),
        ({"messages": [], "tools": [{"type": "function"}]}, "tools[0].function"),
        ({"messages": [], "tool_choice": "maybe"}, "tool_choice"),
        ({"messages": [], "stop": [1]}, "stop"),
        ({"messages": [], "response_format": {"type": "xml"}}, "response_format.type"),
    ],
)
def test_what_is_no_request_is_refused_by_its_place(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(Malformed) as refused:
        chat_request.decode({"model": "m", **fields})

    assert refused.value.field == place


# --- what vendors do in their own way --------------------------------------------------------------------------------------


def whole(message: dict[str, Any] | None = None, **choice: Any) -> bytes:
    said = {} if message is None else {"message": {"role": "assistant", **message}}
    return json.dumps({"id": "c", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", **said, **choice}]}).encode()


def chunk(delta: dict[str, Any], /, *, finish: str | None = None, **more: Any) -> bytes:
    value = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def parts_of(body: bytes) -> list[Part]:
    return list(chat_response.decode(body).choices[0].parts)


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("stop_sequence", "stop"),
        ("STOP", "stop"),
        ("COMPLETE", "stop"),
        ("model_context_window_exceeded", "length"),
        ("MAX_TOKENS", "length"),
        ("tool_use", "tool_calls"),
        ("sensitive", "content_filter"),
        ("SAFETY", "content_filter"),
        ("refusal", "refusal"),
        ("insufficient_system_resource", "error"),
        ("a_new_one", "other"),
    ],
)
def test_vendors_have_their_own_words_for_the_end(word: str, finish: str) -> None:
    stream = decoded(chunk({"content": "a"}) + chunk({}, finish=word) + b"data: [DONE]\n\n")

    assert chat_response.decode(whole({"content": "a"}, finish_reason=word)).choices[0].finish == finish
    assert [it.finish for it in stream if isinstance(it, Finished)] == [finish]


def test_fields_with_nothing_in_them_are_no_parts() -> None:
    empty = {
        "function_call": {"name": "", "arguments": ""},
        "audio": {"id": "", "data": "", "transcript": "", "expires_at": 0},
        "annotations": None,
        "tool_calls": None,
        "refusal": "",
    }

    assert parts_of(whole({"content": "4", **empty})) == [Text(text="4")]
    assert parts_of(whole({"content": "", **empty})) == [Text(text="")]
    assert [it for it in decoded(chunk({"content": "4", **empty})) if isinstance(it, PartStarted)] == [
        PartStarted(index=0, part=Text(text=""))
    ]


def test_an_answer_that_was_filtered_may_have_no_message() -> None:
    read = chat_response.decode(whole(finish_reason="content_filter"))

    assert (read.choices[0].parts, read.choices[0].finish) == ((), "content_filter")


def test_an_answer_may_be_an_object() -> None:
    assert parts_of(whole({"content": {"name": "é"}})) == [Text(text='{"name": "é"}')]


DETAILS = [
    {"type": "reasoning.text", "text": "Let me ", "index": 0},
    {"type": "reasoning.summary", "summary": "see.", "index": 1},
    {"type": "reasoning.encrypted", "data": "sealed", "index": 2},
]


@pytest.mark.parametrize(
    ("said", "thought"),
    [
        ({"reasoning_details": DETAILS}, "Let me see."),
        ({"reasoning": None, "reasoning_content": "", "reasoning_details": DETAILS[:1]}, "Let me "),
        ({"reasoning": "Let me see.", "reasoning_details": DETAILS}, "Let me see."),
        ({"reasoning_content": "a", "reasoning": "a"}, "a"),
        ({"reasoning_details": DETAILS[2:]}, ""),
        ({"reasoning_details": "none"}, ""),
    ],
)
def test_thoughts_are_read_once_under_whatever_name_they_have(said: dict[str, Any], thought: str) -> None:
    read = [it.text for it in parts_of(whole({"content": "b", **said})) if isinstance(it, Reasoning)]
    stream = decoded(chunk(said) + chunk({"content": "b"}, finish="stop"))

    assert "".join(read) == thought
    assert "".join(it.text for it in stream if isinstance(it, Delta)) == thought + "b"


def test_a_picture_that_was_made_is_taken_apart() -> None:
    images = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    picture = Image(media=Media(data="AAAA", media_type="image/png"))

    assert parts_of(whole({"content": None, "images": images})) == [picture]
    assert [it.part for it in decoded(chunk({"images": images})) if isinstance(it, PartStarted)] == [picture]


def call(name: str | None, id: str | None, arguments: str = "{}", **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


@pytest.mark.parametrize("index", [{}, {"index": 0}], ids=["none", "zero"])
def test_calls_that_all_count_from_0_are_calls_of_their_own(index: dict[str, Any]) -> None:
    body = b"".join(chunk({"tool_calls": [call(name, name + "1", **index)]}) for name in "fg") + chunk({}, finish="tool_calls")

    begun = [it for it in decoded(body) if isinstance(it, PartStarted)]

    assert [(it.part.name, it.part.id) for it in begun if isinstance(it.part, ToolCall)] == [("f", "f1"), ("g", "g1")]


@pytest.mark.parametrize(("name", "id"), [(None, "other"), ("", "other"), ("f", "same"), ("f", None), ("f", "")])
def test_more_of_a_call_is_no_call_of_its_own(name: str | None, id: str | None) -> None:
    body = chunk({"tool_calls": [call("f", "same", '{"a":', index=0)]}) + chunk({"tool_calls": [call(name, id, "1}", index=0)]})

    events = decoded(body + chunk({}, finish="tool_calls"))

    assert len([it for it in events if isinstance(it, PartStarted)]) == 1
    assert "".join(it.arguments for it in events if isinstance(it, Delta)) == '{"a":1}'


USED = {"prompt_tokens": 19, "completion_tokens": 13, "total_tokens": 32}


def test_usage_may_stand_in_the_choice() -> None:
    value = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USED}]}
    last = b"data: " + json.dumps(value).encode() + b"\n\n"

    told = [it.usage for it in decoded(chunk({"content": "a"}) + last + b"data: [DONE]\n\n") if isinstance(it, UsageSeen)]

    assert [(it.input_tokens, it.output_tokens) for it in told if it is not None] == [(19, 13)]


def test_usage_of_an_answer_that_failed_is_read() -> None:
    error = {"error": {"code": 400, "message": "Token limit reached"}, "usage": USED}

    events = decoded(chunk({"content": "a"}, finish="length") + chunk({}, **error))

    assert isinstance(events[-1], Failed)
    assert [it.usage.input_tokens for it in events if isinstance(it, UsageSeen) and it.usage] == [19]


def test_pictures_of_a_stream_are_counted_so_that_sdks_can_put_them_together() -> None:
    encoder = Encoder(model="m", created_s=1, include_usage=False)
    picture = Image(media=Media(data="AAAA", media_type="image/png"))

    told = b"".join(encoder.feed(PartStarted(index=at, part=picture)) for at in range(2))

    images = [it for event in told.split(b"\n\n") if event for it in json.loads(event[6:])["choices"][0]["delta"]["images"]]
    assert [it["index"] for it in images] == [0, 1]


@pytest.mark.parametrize(
    ("fields", "ask"),
    [
        ({"reasoning": {"effort": "low", "exclude": True}}, ReasoningAsk(effort="low", shown=False)),
        ({"reasoning": {"max_tokens": 2000}}, ReasoningAsk(budget_tokens=2000)),
        ({"reasoning": {"enabled": True}}, ReasoningAsk(adaptive=True)),
        ({"reasoning": {"enabled": False}}, ReasoningAsk(effort="none")),
        ({"thinking": {"type": "enabled"}}, ReasoningAsk(adaptive=True)),
        ({"thinking": {"type": "disabled"}}, ReasoningAsk(effort="none")),
        ({"thinking": {"type": "disabled"}, "reasoning_effort": "high"}, ReasoningAsk(effort="high")),
        ({"enable_thinking": False, "thinking_budget": 5}, ReasoningAsk(effort="none")),
        ({"enable_thinking": True}, ReasoningAsk(adaptive=True)),
        ({"enable_thinking": True, "thinking_budget": 500}, ReasoningAsk(budget_tokens=500)),
        ({"reasoning": {"enabled": False, "effort": "high"}}, ReasoningAsk(effort="none")),
        ({"reasoning": {"enabled": {}, "effort": 1, "max_tokens": True}, "thinking": {"type": []}}, None),
        ({"reasoning": "much", "thinking": None}, None),
    ],
)
def test_thinking_is_asked_for_in_vendors_words(fields: dict[str, Any], ask: ReasoningAsk | None) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}], **fields}
    read = chat_request.decode(body)

    assert chat_request.leave(read).reasoning == ask
    assert said(chat_request.encode(read)) == said(body)


@pytest.mark.parametrize(("fields", "seed"), [({"random_seed": 7}, 7), ({"random_seed": 7, "seed": 8}, 8), ({}, None)])
def test_a_seed_is_read_by_the_name_that_mistral_has_for_it(fields: dict[str, Any], seed: int | None) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}], **fields}

    assert chat_request.leave(chat_request.decode(body)).seed == seed


FOUND = [{"title": "A", "url": "https://a.example", "date": None}, {"url": "https://b.example"}, {"url": None}, 1]


@pytest.mark.parametrize(
    ("beside", "titles"),
    [
        ({"search_results": FOUND, "citations": ["https://c.example"]}, ["A", ""]),
        ({"citations": ["https://a.example", "https://b.example", {}]}, ["", ""]),
        ({"citations": None, "search_results": "none"}, []),
    ],
)
def test_what_an_answer_rests_on_may_stand_beside_it(beside: dict[str, Any], titles: list[str]) -> None:
    body = json.dumps({**json.loads(whole({"content": "a"})), **beside}).encode()
    stream = decoded(chunk({"content": "a"}, **beside) + chunk({}, finish="stop", **beside))

    (text,) = chat_response.decode(body).choices[0].parts
    heard = [it.citation for it in stream if isinstance(it, Delta) and it.citation is not None]

    assert isinstance(text, Text) and list(text.citations) == heard
    assert [it.title for it in heard] == titles
    assert [it.url for it in heard] == ["https://a.example", "https://b.example"][: len(titles)]


def test_what_stands_in_the_answer_goes_before_what_stands_beside_it() -> None:
    noted = {
        "type": "url_citation",
        "url_citation": {"url": "https://d.example", "title": "D", "start_index": 0, "end_index": 1},
    }
    beside = {"citations": ["https://a.example"]}
    body = json.dumps({**json.loads(whole({"content": "a", "annotations": [noted]})), **beside}).encode()
    stream = decoded(chunk({"content": "a", "annotations": [noted]}, **beside) + chunk({}, finish="stop", **beside))

    (text,) = chat_response.decode(body).choices[0].parts

    assert isinstance(text, Text) and [it.title for it in text.citations] == ["D"]
    assert [it.citation.title for it in stream if isinstance(it, Delta) and it.citation is not None] == ["D"]
