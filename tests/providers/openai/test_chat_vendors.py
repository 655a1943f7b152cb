"""Chat completions as servers other than OpenAI's speak it, and older models of OpenAI's: what they say is not lost.

Each case shows in a few words what a recorded answer of the vendor that is named looks like.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.lib.streaming.chat._completions import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from providers.canonical import (
    CacheHint,
    Choice,
    Citation,
    Delta,
    Event,
    Finished,
    Image,
    Media,
    Message,
    Part,
    PartStarted,
    PartStopped,
    Reasoning,
    Request,
    Started,
    Text,
    ToolCall,
    ToolResult,
    Unsupported,
)
from providers.openai import chat_request, chat_response
from providers.openai.chat_stream import Decoder, Encoder


def whole(message: Any, finish: str | None = "stop", **fields: Any) -> Choice:
    """The choice of a whole answer."""
    choice = {"index": 0, **({} if message is None else {"message": message}), "finish_reason": finish, **fields}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return chat_response.decode(json.dumps(body).encode()).choices[0]


def data(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def streamed(*deltas: dict[str, Any], finish: dict[str, Any] | None = None) -> list[Event]:
    """The events of a stream of pieces, which ends."""
    last = {"index": 0, "delta": {}, **(finish or {"finish_reason": "stop"})}
    chunks = [*({"index": 0, "delta": it} for it in deltas), last]
    body = b"".join(data({"id": "c", "model": "m", "choices": [it]}) for it in chunks) + data(b"[DONE]")
    return Decoder().feed(body)


def calls(events: list[Event]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of each call, as they began and were told."""
    begun = {it.index: it.part for it in events if isinstance(it, PartStarted) and isinstance(it.part, ToolCall)}
    told = {index: "".join(it.arguments for it in events if isinstance(it, Delta) and it.index == index) for index in begun}
    stopped = [it.index for it in events if isinstance(it, PartStopped)]
    assert sorted(it for it in stopped if it in begun) == sorted(begun)
    return [(part.id, part.name, told[index]) for index, part in begun.items()]


def reason(events: list[Event]) -> str:
    return next(it.finish for it in events if isinstance(it, Finished))


# --- whole answers -------------------------------------------------------------------------------------------------------


def test_a_field_that_is_there_and_empty_says_nothing() -> None:
    # Snowflake sends every field that the schema has.
    nothing = {"name": "", "arguments": ""}
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, "custom": {"name": "", "input": ""}}
    audio = {"id": "", "data": "", "transcript": "", "expires_at": 0}
    message = {"content": "hi", "refusal": "", "audio": audio, "function_call": nothing, "tool_calls": [call]}

    choice = whole(message, "")

    assert choice.parts == (Text(text="hi"), ToolCall(id="a", name="f", arguments="{}"))
    assert choice.finish == "tool_calls"


def test_an_answer_that_the_filter_kept_back_has_no_message() -> None:
    assert whole(None, "content_filter") == Choice(parts=(), finish="content_filter", native_finish="content_filter")


def test_an_answer_to_a_schema_may_be_the_object_itself() -> None:
    # Cloudflare's Workers AI.
    assert whole({"content": {"title": "Ü"}}).parts == (Text(text='{"title": "Ü"}'),)


@pytest.mark.parametrize(
    ("finish", "fields", "expected"),
    [
        (None, {}, "stop"),
        ("", {}, "stop"),
        (None, {"finish_details": {"type": "max_tokens"}}, "length"),
        (None, {"finish_details": {"type": "stop", "stop": "<|end|>"}}, "stop"),
        ("nobody_knows", {}, "other"),
    ],
)
def test_who_does_not_say_why_it_ended_has_stopped(finish: str | None, fields: dict[str, Any], expected: str) -> None:
    assert whole({"content": "hi"}, finish, **fields).finish == expected
    events = streamed({"content": "hi"}, finish={"finish_reason": finish, **fields})
    assert reason(events) == expected


DETAILS = [{"type": "reasoning.text", "text": "hm, "}, {"type": "reasoning.summary", "summary": "yes"}]


@pytest.mark.parametrize(
    ("said", "field", "text"),
    [
        ({"reasoning_details": DETAILS}, "reasoning_content", "hm, yes"),
        ({"reasoning_details": DETAILS, "reasoning": "hm"}, "reasoning", "hm"),
        ({"reasoning_details": DETAILS, "reasoning_content": "oh"}, "reasoning_content", "oh"),
    ],
)
def test_thoughts_that_are_only_told_in_detail_are_thoughts(said: dict[str, Any], field: str, text: str) -> None:
    thought = Reasoning(family="openai-chat", text=text, extra={"as": field})

    assert whole({"content": "hi", **said}).parts == (thought, Text(text="hi"))
    assert [it.text for it in streamed(said) if isinstance(it, Delta)] == [text]


@pytest.mark.parametrize("part", [{"type": "encrypted", "data": "x"}, {"type": "reasoning.encrypted", "data": "x"}])
def test_details_without_words_are_no_thoughts(part: dict[str, Any]) -> None:
    assert whole({"content": "hi", "reasoning_details": [part]}).parts == (Text(text="hi"),)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "thinking", "thinking": "hm"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
    ],
)
def test_thoughts_may_stand_in_the_content(part: dict[str, Any]) -> None:
    # Mistral, and Databricks.
    content = [part, {"type": "text", "text": "hi"}]

    assert [getattr(it, "text", "") for it in whole({"content": content}).parts] == ["hm", "hi"]
    assert [it.text for it in streamed({"content": content}) if isinstance(it, Delta)] == ["hm", "hi"]


def test_a_call_of_a_custom_tool_is_known_without_its_type() -> None:
    custom = {"id": "a", "custom": {"name": "f", "input": "free"}}

    assert whole({"tool_calls": [custom]}).parts == (ToolCall(id="a", name="f", arguments="free", custom=True),)
    events = streamed({"tool_calls": [{"index": 0, **custom}]}, {"tool_calls": [{"index": 0, "custom": {"input": " text"}}]})
    assert calls(events) == [("a", "f", "free text")]


# --- streams -------------------------------------------------------------------------------------------------------------


def test_a_function_call_of_the_older_form_is_a_call() -> None:
    pieces = [{"name": "f", "arguments": ""}, {"arguments": '{"x"'}, {"arguments": ": 1}"}]

    events = streamed(*({"function_call": it} for it in pieces), finish={"finish_reason": "function_call"})

    assert calls(events) == [("f", "f", '{"x": 1}')]
    assert reason(events) == "tool_calls"


def test_a_call_waits_for_its_name() -> None:
    pieces: list[dict[str, Any]] = [
        {"index": 0, "id": "a", "function": {"arguments": "{"}},
        {"index": 0, "function": {"arguments": '"x":'}},
        {"index": 0, "function": {"name": "f", "arguments": "1"}},
        {"index": 0, "function": {"name": None, "arguments": "}"}},
    ]

    events = streamed(*({"tool_calls": [it]} for it in pieces))

    assert calls(events) == [("a", "f", '{"x":1}')]
    assert reason(events) == "tool_calls"


def test_a_call_whose_name_never_comes_is_told_at_the_end() -> None:
    events = streamed({"tool_calls": [{"index": 0, "id": "a", "function": {"arguments": "{}"}}]})

    assert calls(events) == [("a", "", "{}")]


@pytest.mark.parametrize("place", [{"index": 0}, {}])
def test_another_id_and_name_in_the_same_place_is_another_call(place: dict[str, Any]) -> None:
    # Google's layer for OpenAI's clients, and servers that give no places.
    pieces = [{**place, "id": name, "function": {"name": "f", "arguments": "{}"}} for name in ("a", "b")]

    assert calls(streamed(*({"tool_calls": [it]} for it in pieces))) == [("a", "f", "{}"), ("b", "f", "{}")]


def test_a_name_that_is_said_with_every_piece_is_one_name() -> None:
    pieces = [{"index": 0, "id": "a", "function": {"name": "f", "arguments": it}} for it in ("{", "}")]

    assert calls(streamed(*({"tool_calls": [it]} for it in pieces))) == [("a", "f", "{}")]


def raw(text: bytes, name: bytes = b"content", finish: bytes = b"null") -> bytes:
    return data(b'{"choices":[{"index":0,"delta":{"%b":"%b"},"finish_reason":%b}]}' % (name, text, finish))


@pytest.mark.parametrize("name", [b"content", b"reasoning_content", b"reasoning", b"refusal"])
@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([rb"a\ud83d", rb"\ude00b"], "a\U0001f600b"),
        ([rb"\ud83d", rb"\ude00\ud83d", rb"\ude01"], "\U0001f600\U0001f601"),
        ([rb"\ud83d", b"plain"], "\ufffdplain"),
        ([rb"\ude00x"], "\ufffdx"),
        ([rb"x\ud83d"], "x\ufffd"),
    ],
)
def test_a_character_that_was_cut_in_two_is_one(name: bytes, pieces: list[bytes], expected: str) -> None:
    body = b"".join(raw(it, name) for it in pieces) + raw(b"", name, b'"stop"') + data(b"[DONE]")

    events = Decoder().feed(body)
    decoder = Decoder()
    bytewise = [event for at in range(len(body)) for event in decoder.feed(body[at : at + 1])]

    assert "".join(it.text for it in events if isinstance(it, Delta)) == expected
    assert bytewise == events


def test_a_character_of_arguments_that_was_cut_in_two_is_one() -> None:
    told = [rb"{\"x\": \"\ud83d", rb"\ude00\"}"]
    call = b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"%b"}}]}}]}'

    events = Decoder().feed(b"".join(data(call % it) for it in told) + data(b"[DONE]"))

    assert calls(events) == [("a", "f", '{"x": "\U0001f600"}')]


def test_the_official_sdk_puts_lists_together_that_come_in_pieces() -> None:
    cited = [Citation(family="anthropic", native={}, url=f"https://a.example/{at}", title="t") for at in range(3)]
    drawn = [Image(media=Media(url=f"https://a.example/{at}.png")) for at in range(2)]
    events: list[Event] = [
        Started(family="anthropic", id="m", model="m"),
        PartStarted(index=0, part=Text(text="")),
        Delta(index=0, text="hi"),
        *(Delta(index=0, citation=it) for it in cited),
        *(PartStarted(index=1 + at, part=it) for at, it in enumerate(drawn)),
        Finished(finish="stop"),
    ]
    encoder = Encoder(model="m", created_s=1, include_usage=False)
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()

    for event in events:
        if told := encoder.feed(event):
            state.handle_chunk(ChatCompletionChunk.model_validate_json(told.removeprefix(b"data: ")))

    message = state.get_final_completion().choices[0].message.to_dict()
    annotations: Any = message["annotations"]
    images: Any = message["images"]
    assert [it["url_citation"]["url"] for it in annotations] == [it.url for it in cited]
    assert [it["image_url"]["url"] for it in images] == [it.media.url for it in drawn]


# --- requests ------------------------------------------------------------------------------------------------------------


def asked(**fields: Any) -> Request:
    return chat_request.decode({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields})


def of_message(**fields: Any) -> dict[str, Any]:
    return {"messages": [fields]}


def of_part(**fields: Any) -> dict[str, Any]:
    return of_message(role="user", content=[fields])


CALL: dict[str, Any] = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CUSTOM = {"id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}
TEXT = {"type": "text", "text": "hi", "mood": 1}
PICTURE = "https://a.example/b.png"
FUNCTION = {"name": "f", "parameters": {}}
KEPT: list[dict[str, Any]] = [
    of_message(role="tool", tool_call_id="a", name="f", content="sunny", note=1),
    of_message(role="tool", tool_call_id="a", content="sunny", cache_control={"type": "ephemeral"}),
    of_message(role="assistant", content="hi", prefix=True),
    of_message(role="assistant", content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),
    of_message(role="assistant", content=None, tool_calls=[{**CALL, "index": 0, "function": {**CALL["function"], "more": 1}}]),
    of_message(role="assistant", content=None, tool_calls=[{**CUSTOM, "more": 1}]),
    of_part(type="text", text="hi", prompt_cache_breakpoint={"mode": "explicit"}),
    of_part(type="image_url", image_url={"url": "https://a.example/b.png", "format": "png"}, more=1),
    of_part(type="input_audio", input_audio={"data": "AAAA", "format": "wav", "rate": 8000}, more=1),
    of_part(type="video_url", video_url={"url": "https://a.example/b.mp4", "fps": 2}, more=1),
    of_part(type="file", file={"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf", "more": 1}, extra=1),
    of_part(type="document_url", document_url="https://a.example/b.pdf"),
    {"tools": [{"type": "function", "function": {**FUNCTION, "more": 1}, "defer_loading": True}]},
    {"tools": [{"type": "custom", "custom": {"name": "f", "format": {"type": "text"}}, "more": 1}]},
]  # fmt: skip


@pytest.mark.parametrize("fields", KEPT)
def test_fields_that_nobody_knows_come_back_where_they_stood(fields: dict[str, Any]) -> None:
    again = chat_request.encode(asked(**fields))

    assert {name: again[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        (of_message(role="user", content="hi", mood="glad"), "messages[0].mood"),
        (of_message(role="tool", tool_call_id="a", content="hi", note=1), "messages[0].note"),
        (of_part(type="text", text="hi", mood="glad"), "messages[0].content.mood"),
        (of_part(type="image_url", image_url={"url": PICTURE, "crop": 1}), "messages[0].content.image_url.crop"),
        (of_message(role="tool", tool_call_id="a", content=[TEXT]), "messages[0].content.mood"),
        (of_message(role="assistant", tool_calls=[{**CALL, "mood": 1}]), "messages[0].tool_calls.mood"),
        ({"tools": [{"type": "function", "function": FUNCTION, "mood": 1}]}, "tools[0].mood"),
        ({"tools": [{"type": "function", "function": {**FUNCTION, "mood": 1}}]}, "tools[0].function.mood"),
    ],
)  # fmt: skip
def test_a_field_inside_that_nobody_knows_is_refused_by_its_name_elsewhere(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(Unsupported) as refused:
        chat_request.leave(asked(**fields))

    assert refused.value.field == place


@pytest.mark.parametrize(
    "fields",
    [
        of_message(role="assistant", content="hi", annotations=[{"type": "url_citation"}], reasoning_details=[{}], id="x"),
        of_message(role="user", content="hi", mood=None, tune="", list=[], calm=False),
        of_message(role="assistant", content=None, tool_calls=[{**CALL, "index": 1}]),
        of_part(type="text", text="hi", prompt_cache_breakpoint={"mode": "explicit"}),
    ],
)
def test_what_makes_no_difference_to_the_answer_is_taken_elsewhere(fields: dict[str, Any]) -> None:
    request = asked(**fields)

    assert chat_request.leave(request) == request


def test_sound_says_of_what_kind_it_is() -> None:
    request = asked(**of_part(type="input_audio", input_audio={"data": "AAAA", "format": "mp3"}))

    (part,) = request.messages[0].parts

    assert getattr(part, "media", None) == Media(data="AAAA", media_type="audio/mp3")


def test_a_hint_on_a_result_is_one_on_its_last_text_here() -> None:
    content = (Text(text="one"), Text(text="two"))
    result = ToolResult(id="a", content=content, cache=CacheHint(ttl="1h"))
    request = Request(family="anthropic", model="m", messages=(Message(role="user", parts=(result,)),))

    (message,) = chat_request.encode(request)["messages"]

    hint = {"type": "ephemeral", "ttl": "1h"}
    assert message["content"] == [{"type": "text", "text": "one"}, {"type": "text", "text": "two", "cache_control": hint}]


def of_results(*content: tuple[Part, ...], after: tuple[Message, ...] = ()) -> list[dict[str, Any]]:
    """The messages of a request of another protocol whose tools gave that."""
    calls = tuple(ToolCall(id=str(at), name="f", arguments="{}") for at in range(len(content)))
    results = tuple(Message(role="tool", parts=(ToolResult(id=str(at), content=it),)) for at, it in enumerate(content))
    messages = (Message(role="assistant", parts=calls), *results, *after)
    made = chat_request.encode(Request(family="anthropic", model="m", messages=messages))["messages"]
    return [{name: it[name] for name in ("role", "content")} for it in made[1:]]


SEEN = Image(media=Media(data="AAAA", media_type="image/png"))
SHOWN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
WORDS = {"type": "text", "text": "hm"}


def test_a_picture_that_a_tool_gave_is_shown_by_the_user() -> None:
    made = of_results((Text(text="here"), SEEN), (SEEN,), (Text(text="no picture"),))

    assert made == [
        {"role": "tool", "content": "here"},
        {"role": "tool", "content": ""},
        {"role": "tool", "content": "no picture"},
        {"role": "user", "content": [SHOWN, SHOWN]},
    ]


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("user", [{"role": "user", "content": [SHOWN, WORDS]}]),
        ("assistant", [{"role": "user", "content": [SHOWN]}, {"role": "assistant", "content": "hm"}]),
    ],
)
def test_pictures_of_tools_stand_before_what_comes_next(role: Any, expected: list[dict[str, Any]]) -> None:
    made = of_results((SEEN,), after=(Message(role=role, parts=(Text(text="hm"),)),))

    assert made[1:] == expected


def test_a_request_of_chat_completions_keeps_its_pictures_where_it_had_them() -> None:
    fields = of_message(role="tool", tool_call_id="a", content=[WORDS, SHOWN])

    assert chat_request.encode(asked(**fields))["messages"] == fields["messages"]
