"""A kept answer in another form: what the one says, the other says, or it is not said at all."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from pydantic import ValidationError

from providers.provider import Endpoint
from proxy.api.gate import admit
from proxy.caching.entry import Entry, Form, is_whole, is_whole_stream
from proxy.caching.forms import Unfaithful
from proxy.caching.replay import as_asked
from proxy.call import Origin
from tests.recordings import Recording, every

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
NOBODY = Origin(provider="acme", model="gpt", answered_model="gpt", at_us=0)
METERED = Origin(provider="acme", model="gpt", answered_model="gpt", at_us=0, usage_raw=json.dumps(USAGE).encode())


def whole(body: dict[str, Any], origin: Origin = METERED) -> Entry:
    return Entry(made_us=0, form="whole", content_type=b"application/json", body=json.dumps(body).encode(), origin=origin)


def stream(*events: dict[str, Any], origin: Origin = METERED, closing: bytes = DONE, shows_usage: bool = False) -> Entry:
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return Entry(
        made_us=0,
        form="stream",
        content_type=b"text/event-stream",
        body=body,
        origin=origin,
        closing=closing,
        shows_usage=shows_usage,
    )


def events_of(entry: Entry) -> list[dict[str, Any]]:
    lines = (entry.body + entry.closing).decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]


def there_and_back(body: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    """A whole answer as a stream, and that as a whole again."""
    streamed = as_asked(whole(body), endpoint, "stream", shows_usage=False)
    back: dict[str, Any] = json.loads(as_asked(streamed, endpoint, "whole", shows_usage=False).body)
    return back


LOGPROBS = {"content": [{"token": "hi", "logprob": -0.1, "bytes": [104, 105], "top_logprobs": []}], "refusal": None}
TOOLS = [
    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
    {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": ""}},
]
MESSAGES: list[dict[str, Any]] = [
    {"role": "assistant", "content": "hi"},
    {"role": "assistant", "content": ""},
    {"role": "assistant", "content": None, "refusal": "no"},
    {"role": "assistant", "content": None, "tool_calls": TOOLS},
    {"role": "assistant", "content": "let me see", "tool_calls": TOOLS},
    {"role": "assistant", "content": "hi", "reasoning_content": "hm"},
    {"role": "assistant", "content": "hi", "reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "assistant", "content": "hi", "annotations": [{"type": "url_citation"}], "a vendor's": {"own": [1.50]}},
]


def chat(*messages: dict[str, Any], logprobs: Any = None, **more: Any) -> dict[str, Any]:
    choices = [
        {"index": index, "message": message, "logprobs": logprobs, "finish_reason": "stop", **more}
        for index, message in enumerate(messages)
    ]
    head = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt",
        "system_fingerprint": "fp",
        "service_tier": "x",
    }
    return {**head, "choices": choices, "usage": USAGE}


@pytest.mark.parametrize("message", MESSAGES, ids=",".join)
def test_a_chat_completion_survives_being_streamed(message: dict[str, Any]) -> None:
    assert there_and_back(chat(message), "chat/completions") == chat(message)


def test_so_do_several_choices_their_logprobs_and_what_a_vendor_adds() -> None:
    body = chat(*MESSAGES[:3], logprobs=LOGPROBS, stop_reason=None, content_filter_results={"hate": "safe"})

    assert there_and_back(body, "chat/completions") == body


def test_a_stream_that_is_made_of_a_whole_answer_has_the_protocols_order() -> None:
    shown = as_asked(whole(chat({"role": "assistant", "content": "hi"})), "chat/completions", "stream", shows_usage=True)

    first, second, third, last = events_of(shown)
    assert (shown.form, shown.closing) == ("stream", DONE)
    assert {event["object"] for event in (first, second, third, last)} == {"chat.completion.chunk"}
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert second["choices"][0]["delta"] == {"content": "hi"}
    assert (third["choices"][0]["delta"], third["choices"][0]["finish_reason"]) == ({}, "stop")
    assert (last["choices"], last["usage"]) == ([], USAGE)


def test_the_pieces_of_a_streamed_tool_call_are_put_together_by_their_index() -> None:
    def delta(**fields: Any) -> dict[str, Any]:
        return {"id": "c1", "choices": [{"index": 0, "delta": fields, "finish_reason": None}]}

    entry = stream(
        delta(role="assistant", content=None),
        delta(tool_calls=[{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}]),
        delta(tool_calls=[{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x"'}}]),
        delta(tool_calls=[{"index": 1, "function": {"arguments": "{}"}}, {"index": 0, "function": {"arguments": ":1}"}}]),
        {"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    )

    answer = json.loads(as_asked(entry, "chat/completions", "whole", shows_usage=False).body)

    tools = answer["choices"][0]["message"]["tool_calls"]
    assert [(it["id"], it["function"]["name"], it["function"]["arguments"]) for it in tools] == [
        ("a", "f", '{"x":1}'),
        ("b", "g", "{}"),
    ]
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["usage"] == USAGE


def test_a_text_completion_survives_being_streamed() -> None:
    logprobs = {"tokens": ["hi"], "token_logprobs": [-0.5], "top_logprobs": None, "text_offset": [0]}
    choices = [{"index": n, "text": f"hi {n}", "logprobs": logprobs, "finish_reason": "stop"} for n in range(2)]
    body = {"id": "t1", "object": "text_completion", "created": 1, "model": "gpt", "choices": choices, "usage": USAGE}

    assert there_and_back(body, "completions") == body


ITEMS: list[dict[str, Any]] = [
    {
        "id": "msg_1",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [
            {"type": "output_text", "text": "hi", "annotations": [{"type": "url_citation", "url": "u"}], "logprobs": []},
            {"type": "refusal", "refusal": "no"},
        ],
    },
    {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "c", "name": "f", "arguments": "{}"},
    {"id": "ct_1", "type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"},
    {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "e"},
]


def response(*items: dict[str, Any]) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "status": "completed", "error": None, "output": list(items), "usage": USAGE}


@pytest.mark.parametrize("items", [ITEMS, *([item] for item in ITEMS), []], ids=lambda it: ",".join(i["type"] for i in it))
def test_a_response_survives_being_streamed(items: list[dict[str, Any]]) -> None:
    streamed = as_asked(whole(response(*items)), "responses", "stream", shows_usage=False)

    events = events_of(streamed)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in (*events[:2], events[-1])] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]
    assert [event["item"] for event in events if event["type"] == "response.output_item.done"] == items
    assert json.loads(as_asked(streamed, "responses", "whole", shows_usage=False).body) == response(*items)


# --- usage -----------------------------------------------------------------------------------------------------------

CHUNK = {
    "id": "c1",
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}],
}
SHOWN = {"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE}


def test_a_stream_shows_its_usage_to_whoever_asks_for_it() -> None:
    shown = as_asked(stream(CHUNK), "chat/completions", "stream", shows_usage=True)

    assert events_of(shown) == [CHUNK, SHOWN]


def test_a_stream_hides_its_usage_from_whoever_does_not() -> None:
    hidden = as_asked(stream(CHUNK, SHOWN, shows_usage=True), "chat/completions", "stream", shows_usage=False)

    assert events_of(hidden) == [CHUNK]


def test_a_stream_is_handed_on_as_it_is_where_that_is_what_is_asked_for() -> None:
    entry = stream(CHUNK)

    assert as_asked(entry, "chat/completions", "stream", shows_usage=False) is entry


# --- what cannot be said ---------------------------------------------------------------------------------------------

UNSAYABLE: list[tuple[Entry, Endpoint, Form, bool]] = [
    (stream(CHUNK, origin=NOBODY), "chat/completions", "stream", True),
    (whole({**chat(MESSAGES[0]), "usage": None}), "chat/completions", "stream", True),
    (whole(chat({"role": "assistant", "content": None, "audio": {"id": "a"}})), "chat/completions", "stream", False),
    (whole({"choices": [{"message": "hi"}]}), "chat/completions", "stream", False),
    (whole({"choices": [5]}), "chat/completions", "stream", False),
    (whole({}), "chat/completions", "stream", False),
    (whole({"data": []}), "embeddings", "stream", False),
    (whole(response({"id": "ws_1", "type": "web_search_call"})), "responses", "stream", False),
    (whole(response({"type": "message", "content": [{"type": "something new"}]})), "responses", "stream", False),
    (whole({"id": "r"}), "responses", "stream", False),
    (stream(CHUNK, closing=b""), "responses", "whole", False),
    (
        stream(*({"choices": [{"index": 0, "delta": {"reasoning_details": [{"text": it}]}}]} for it in "ab")),
        "chat/completions",
        "whole",
        False,
    ),
    (stream({"choices": [{"index": 0, "delta": {"tool_calls": 5}}]}), "chat/completions", "whole", False),
    (stream({"choices": 5}), "chat/completions", "whole", False),
]


@pytest.mark.parametrize(("entry", "endpoint", "form", "shows_usage"), UNSAYABLE, ids=lambda it: str(it)[:40])
def test_what_cannot_be_said_in_the_other_form_is_not_said(
    entry: Entry, endpoint: Endpoint, form: Form, shows_usage: bool
) -> None:
    with pytest.raises(Unfaithful):
        as_asked(entry, endpoint, form, shows_usage=shows_usage)


def test_a_broken_event_is_not_said() -> None:
    broken = msgspec.structs.replace(stream(CHUNK), body=b"data: {\n\n")

    with pytest.raises(Unfaithful):
        as_asked(broken, "chat/completions", "whole", shows_usage=False)


# --- what providers really sent ----------------------------------------------------------------------------------------

ANSWERS = [it for it in every() if it.status == 200 and it.endpoint != "embeddings"]


def kept(recording: Recording) -> Entry:
    """A recorded answer as the cache would keep it."""
    body, closing = recording.body, b""
    if recording.streamed:
        *events, last = [event for event in recording.body.split(b"\n\n") if event.strip()]
        body, closing = b"".join(event + b"\n\n" for event in events), last + b"\n\n"
    return Entry(
        made_us=0,
        form="stream" if recording.streamed else "whole",
        content_type=recording.content_type.encode(),
        body=body,
        origin=METERED,
        closing=closing,
        shows_usage=recording.asks_usage,
    )


def is_kept(recording: Recording) -> bool:
    entry, head = kept(recording), admit(json.dumps(recording.request).encode())
    endpoint: Any = recording.endpoint
    if recording.streamed:
        return is_whole_stream(endpoint, head, entry.body, entry.closing)
    return is_whole(endpoint, head, entry.body)


def said(entry: Entry) -> str:
    """All text of an answer, in whatever form, in its order."""
    texts: dict[tuple[int, str], str] = {}
    for event in [json.loads(entry.body)] if entry.form == "whole" else events_of(entry):
        for choice in event.get("choices") or ():
            parts = {**(choice.get("message") or choice.get("delta") or {}), "text": choice.get("text")}
            for name in ("content", "text", "refusal", "reasoning", "reasoning_content"):
                if isinstance(parts.get(name), str):
                    place = (choice.get("index", 0), name)
                    texts[place] = texts.get(place, "") + parts[name]
    return json.dumps(sorted((*place, text) for place, text in texts.items() if text))


def faults(entry: Entry, endpoint: str) -> set[tuple[str, str]]:
    """What the SDK's models find wrong with an answer: vendors take liberties, and only theirs are to be there."""
    events = [json.loads(entry.body)] if entry.form == "whole" else events_of(entry)
    if endpoint == "responses" and entry.form == "stream":
        events = [events[-1]["response"]]
    kinds: dict[tuple[str, str], Any] = {
        ("chat/completions", "whole"): ChatCompletion,
        ("chat/completions", "stream"): ChatCompletionChunk,
    }
    kind = kinds.get((endpoint, entry.form), Response if endpoint == "responses" else Completion)
    found = set()
    for event in events:
        try:
            kind.model_validate(event)
        except ValidationError as error:
            found |= {(str([it for it in fault["loc"] if it != "delta"][-1]), fault["type"]) for fault in error.errors()}
    return found


def test_there_are_recordings_of_each_kind_that_would_be_kept() -> None:
    found = {(it.endpoint, it.streamed) for it in ANSWERS if is_kept(it)}

    assert found >= {("chat/completions", True), ("chat/completions", False), ("responses", True), ("responses", False)}


@pytest.mark.parametrize("recording", [it for it in ANSWERS if is_kept(it)], ids=lambda it: it.id)
def test_a_recorded_answer_says_the_same_in_the_other_form_and_the_sdk_reads_it(recording: Recording) -> None:
    entry, endpoint = kept(recording), recording.endpoint
    other: Form = "whole" if recording.streamed else "stream"

    try:
        turned = as_asked(entry, endpoint, other, shows_usage=False)  # type: ignore[arg-type]  # a recording's is any text
    except Unfaithful:
        # Then it is asked for anew.
        return

    if endpoint != "responses":
        assert said(turned) == said(entry)
    assert faults(turned, endpoint) <= faults(entry, endpoint)


def test_of_the_recorded_answers_only_those_with_tools_of_the_providers_own_cannot_be_said_in_the_other_form() -> None:
    unsayable = set()
    for recording in filter(is_kept, ANSWERS):
        endpoint: Any = recording.endpoint
        try:
            as_asked(kept(recording), endpoint, "whole" if recording.streamed else "stream", shows_usage=False)
        except Unfaithful as error:
            unsayable.add(str(error).split("'")[1])

    # The last: Mistral's thinking, which comes as lists among the texts.
    assert unsayable == {
        *("code_interpreter_call", "file_search_call", "tool_search_call", "web_search_call", "executed_tools"),
        "content",
    }
