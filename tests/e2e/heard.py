"""What a recorded answer says, read from its JSON by other means than the codecs; and the same read from what SDKs made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tests.recordings import Recording


class Heard(msgspec.Struct, frozen=True):
    """An answer's first choice.  calls: name and arguments of each.  finish: stop, length, tool_calls, filter or other.

    ids: of the calls, in the characters that every protocol allows; empty for one that the provider gave none.
    usage: all that went in and all that came out; ``None``: not told.
    """

    text: str
    thoughts: str
    calls: tuple[tuple[str, Any], ...]
    ids: tuple[str, ...]
    finish: str
    usage: tuple[int, int] | None


FINISHES = {
    "stop": "stop", "eos": "stop", "end_turn": "stop", "stop_sequence": "stop", "STOP": "stop", "pause_turn": "stop",
    "length": "length", "max_tokens": "length", "MAX_TOKENS": "length", "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls", "tool_use": "tool_calls", "function_call": "tool_calls",
    "UNEXPECTED_TOOL_CALL": "stop",
    "content_filter": "filter", "refusal": "filter", "SAFETY": "filter", "PROHIBITED_CONTENT": "filter", "BLOCKLIST": "filter",
    "RECITATION": "filter",
}  # fmt: skip


def finish(word: object, calls: object) -> str:
    """Why it ended; whoever stopped to have a tool called did so for that."""
    found = FINISHES.get(str(getattr(word, "value", word)), "other")
    return "tool_calls" if calls and found == "stop" else found


def plain(given: str | None) -> str:
    """An id in the characters that every protocol allows."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", given or "")


def parsed(arguments: str) -> Any:
    """A call's arguments; text that is no JSON is under one name, where they have to be an object."""
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        value = arguments
    return value if isinstance(value, dict) else {"input": value}


def events(body: bytes) -> Iterator[Any]:
    """The JSON of a stream's events."""
    for event in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
        if data and data != b"[DONE]":
            yield json.loads(data)


def said(recording: Recording) -> Heard:
    """What the recording says."""
    if recording.endpoint == "messages":
        return _message(_whole_message(recording))
    if "enerateContent" in recording.endpoint:
        return _contents(list(events(recording.body)) if recording.streamed else [json.loads(recording.body)])
    return _chat(_whole_chat(recording))


# --- chat completions --------------------------------------------------------------------------------------------------


def _whole_chat(recording: Recording) -> dict[str, Any]:
    if not recording.streamed:
        whole: dict[str, Any] = json.loads(recording.body)
        return whole
    message: dict[str, Any] = {"content": "", "reasoning_content": "", "refusal": "", "tool_calls": {}}
    choice: dict[str, Any] = {"message": message, "finish_reason": None}
    usage = None
    for chunk in events(recording.body):
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or usage
        for it in chunk.get("choices") or ():
            if it.get("index", 0) == 0:
                choice["finish_reason"] = choice["finish_reason"] or it.get("finish_reason")
                _add(message, it.get("delta") or {})
    message["tool_calls"] = [message["tool_calls"][slot] for slot in sorted(message["tool_calls"])]
    return {"choices": [choice], "usage": usage}


def _add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    text, thought = _texts(delta)
    message["content"] += text
    message["reasoning_content"] += thought
    message["refusal"] += delta.get("refusal") or ""
    for at, call in enumerate(delta.get("tool_calls") or ()):
        slot = call.get("index")
        known = message["tool_calls"].setdefault(at if slot is None else slot, {"function": {"name": "", "arguments": ""}})
        function = call.get("function") or {}
        known["id"] = known.get("id") or call.get("id")
        known["function"]["name"] = known["function"]["name"] or function.get("name") or ""
        known["function"]["arguments"] += function.get("arguments") or ""


def _texts(message: dict[str, Any]) -> tuple[str, str]:
    content = message.get("content") or ""
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    if isinstance(content, list):
        thought += "".join(it["text"] for part in content if part["type"] == "thinking" for it in part["thinking"])
        content = "".join(part["text"] for part in content if part["type"] == "text")
    return content, thought


def _chat(body: dict[str, Any]) -> Heard:
    choice = next(it for it in body["choices"] if it.get("index", 0) == 0)
    message = choice["message"]
    text, thought = _texts(message)
    calls = tuple(
        (it["function"]["name"], parsed(it["function"]["arguments"]))
        if "function" in it
        else (it["custom"]["name"], {"input": it["custom"]["input"]})
        for it in message.get("tool_calls") or ()
    )
    usage = body.get("usage")
    return Heard(
        text=text + (message.get("refusal") or ""),
        thoughts=thought,
        calls=calls,
        ids=tuple(plain(it.get("id")) for it in message.get("tool_calls") or ()),
        finish=finish(choice.get("finish_reason"), calls),
        usage=None if not usage else (usage["prompt_tokens"], usage.get("completion_tokens", 0)),
    )


# --- messages ----------------------------------------------------------------------------------------------------------


def _whole_message(recording: Recording) -> dict[str, Any]:
    if not recording.streamed:
        whole: dict[str, Any] = json.loads(recording.body)
        return whole
    message: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    for event in events(recording.body):
        match event["type"]:
            case "message_start":
                message = {**event["message"], "content": []}
            case "content_block_start":
                message["content"].append(dict(event["content_block"]))
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                for name in ("text", "thinking"):
                    if name in delta:
                        block[name] += delta[name]
                inputs[event["index"]] = inputs.get(event["index"], "") + delta.get("partial_json", "")
            case "message_delta":
                message |= event["delta"]
                message["usage"] = {**message["usage"], **{k: v for k, v in event["usage"].items() if v is not None}}
    for index, text in inputs.items():
        if text:
            message["content"][index]["input"] = json.loads(text)
    return message


def _message(body: dict[str, Any]) -> Heard:
    blocks = body["content"]
    calls = tuple((it["name"], it["input"]) for it in blocks if it["type"] == "tool_use")
    return Heard(
        text="".join(it["text"] for it in blocks if it["type"] == "text"),
        thoughts="".join(it["thinking"] for it in blocks if it["type"] == "thinking"),
        calls=calls,
        ids=tuple(plain(it["id"]) for it in blocks if it["type"] == "tool_use"),
        finish=finish(body["stop_reason"], calls),
        usage=_used(body["usage"]),
    )


def _used(usage: dict[str, Any]) -> tuple[int, int]:
    into = sum(usage.get(name) or 0 for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"))
    return into, usage["output_tokens"]


APART = ("compaction", "advisor_message")
"""Rounds of a message's making that are charged, and that its counts leave out."""


def charged(recording: Recording) -> tuple[int, int] | None:
    """What went in and what came out of all that is charged for; ``None``: not told."""
    used = said(recording).usage
    if recording.endpoint != "messages" or used is None:
        return used
    rounds = _whole_message(recording)["usage"].get("iterations") or ()
    apart = [_used(it) for it in rounds if it["type"] in APART]
    return used[0] + sum(it[0] for it in apart), used[1] + sum(it[1] for it in apart)


# --- generated content -------------------------------------------------------------------------------------------------


def _contents(bodies: list[dict[str, Any]]) -> Heard:
    parts: list[dict[str, Any]] = []
    word = None
    usage: dict[str, int] = {}
    for body in bodies:
        for candidate in body.get("candidates") or ():
            if candidate.get("index", 0) == 0:
                parts += (candidate.get("content") or {}).get("parts") or ()
                word = candidate.get("finishReason") or word
        if "blockReason" in (body.get("promptFeedback") or {}):
            word = "SAFETY"
        usage = body.get("usageMetadata") or usage
    calls = tuple((it["functionCall"]["name"], it["functionCall"].get("args") or {}) for it in parts if "functionCall" in it)
    into = usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0)
    return Heard(
        text="".join(it["text"] for it in parts if "text" in it and not it.get("thought")),
        thoughts="".join(it["text"] for it in parts if "text" in it and it.get("thought")),
        calls=calls,
        ids=tuple(plain(it["functionCall"].get("id")) for it in parts if "functionCall" in it),
        finish=finish(word, calls),
        usage=(into, usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)) if usage else None,
    )


# --- what the SDKs made of it ------------------------------------------------------------------------------------------


def by_openai(completion: Any) -> Heard:
    """A ``ChatCompletion``."""
    return _chat(completion if isinstance(completion, dict) else completion.to_dict())


def by_anthropic(message: Any) -> Heard:
    """A ``Message``."""
    return _message(message.to_dict())


def by_genai(answers: list[Any]) -> Heard:
    """``GenerateContentResponse``, one or those of a stream."""
    return _contents([json.loads(it.model_dump_json(by_alias=True, exclude_none=True)) for it in answers])


def by_responses(response: Any) -> Heard:
    """A ``Response``."""
    value = response.to_dict()
    items = value["output"]
    content = [part for it in items if it["type"] == "message" for part in it["content"]]
    thoughts = [
        "".join(part["text"] for part in it.get("content") or ()) or "\n\n".join(part["text"] for part in it["summary"])
        for it in items
        if it["type"] == "reasoning"
    ]
    called = [it for it in items if it["type"] == "function_call"]
    calls = tuple((it["name"], parsed(it["arguments"])) for it in called)
    reason = (value.get("incomplete_details") or {}).get("reason")
    word = {"max_output_tokens": "length", "content_filter": "content_filter"}.get(reason or "", "stop")
    usage = value.get("usage")
    return Heard(
        text="".join(part.get("text", "") for part in content),
        thoughts="".join(thoughts),
        calls=calls,
        ids=tuple(plain(it["call_id"]) for it in called),
        finish=finish(word, calls),
        usage=None if usage is None else (usage["input_tokens"], usage["output_tokens"]),
    )
