"""OpenAI's chat completions: a whole answer from JSON to the canonical form, and back.

Source: platform.openai.com/docs/api-reference/chat/object, read 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from providers import characters
from providers.canonical import (
    Audio,
    Choice,
    Citation,
    Finish,
    Image,
    Media,
    Native,
    Part,
    Reasoning,
    Refusal,
    Response,
    Text,
    ToolCall,
)
from providers.errors import InvalidResponse
from providers.openai import response as peek
from providers.openai.chat_request import FAMILY, media_of
from providers.usage import OPENAI_LIKE, Semantics, Usage

FINISHES: Final[Mapping[str, Finish]] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
    "stop_sequence": "stop",
    "complete": "stop",
    "max_output_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "safety": "content_filter",
    "recitation": "content_filter",
    "sensitive": "content_filter",
    "insufficient_system_resource": "error",
    "network_error": "error",
    "abort": "error",
}
"""What an answer says of its end, in small letters.

Sources: OpenAI's reference; for the other spellings those of Together, Mistral, OpenRouter, Z.ai, DeepSeek, vLLM and SGLang,
and of hosts that pass on the words of Anthropic's, Google's and Cohere's models, read 2026-11.
"""

FINISH_WORDS: Final[Mapping[Finish, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "pause": "stop",
    "error": "stop",
    "other": "stop",
}


# --- from JSON -----------------------------------------------------------------------------------------------------------


def decode(body: bytes, semantics: Semantics = OPENAI_LIKE) -> Response:
    """A provider's answer.  Raises: InvalidResponse; RefusedInBody, if it is an error in disguise."""
    body = characters.whole(body)
    read = peek.decode(body, semantics)
    try:
        value = json.loads(body)
        looked_up = sources(value)
        told = (choice(it, at, looked_up) for at, it in enumerate(value["choices"]))
        choices = tuple(sorted(told, key=lambda it: it.index))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidResponse("The upstream's answer is not a chat completion.") from error
    created = value.get("created")
    known = {"id", "object", "created", "model", "choices", "usage"}
    return Response(
        family=FAMILY,
        id=str(value.get("id") or ""),
        model=read.model,
        choices=choices,
        created_s=created if isinstance(created, int) else None,
        usage=read.usage,
        usage_raw=read.usage_raw,
        extra={name: field for name, field in value.items() if name not in known and field is not None},
    )


def choice(value: Mapping[str, Any], at: int, looked_up: tuple[Citation, ...] = ()) -> Choice:
    """One of the answers.  looked_up: what it rests on, told beside it.  Raises: KeyError, TypeError, AttributeError."""
    word = finish_word(value)
    # Of an answer that was filtered Azure may send nothing but that.
    message = value["message"] if "message" in value or not word else {}
    parts = tuple(_parts(message, looked_up))
    # Who says nothing has stopped: a whole answer that ended otherwise would say so, as a stream does.
    finish = FINISHES.get(word.lower(), "other") if word else "stop"
    if finish == "stop" and any(isinstance(part, ToolCall) for part in parts):
        # Some say that they stopped when they called a tool, and a client would not look for it.
        finish = "tool_calls"
    known = {"index", "message", "finish_reason", "logprobs"}
    return Choice(
        index=index if isinstance(index := value.get("index"), int) else at,
        parts=parts,
        finish=finish,
        native_finish=word,
        logprobs=value.get("logprobs"),
        extra={name: field for name, field in value.items() if name not in known and field is not None},
    )


def finish_word(choice: Mapping[str, Any]) -> str:
    """Why it ended, in the provider's word; empty: it does not say.

    Models that saw pictures first said it in ``finish_details``.  Source: recorded answers of gpt-4-vision-preview.
    """
    details = choice.get("finish_details")
    return str(choice.get("finish_reason") or (details.get("type") if isinstance(details, dict) else "") or "")


def _parts(message: Mapping[str, Any], looked_up: tuple[Citation, ...]) -> Iterator[Part]:
    name, thought = thoughts(message)
    if thought:
        yield Reasoning(family=FAMILY, text=thought, extra={"as": name})
    content = message.get("content")
    citations = tuple(citation(it) for it in message.get("annotations") or ()) or looked_up
    if isinstance(content, dict):
        # Cloudflare's answer to a schema is the object itself.  Source: a recorded answer of Workers AI.
        content = json.dumps(content, ensure_ascii=False)
    if isinstance(content, str):
        if content or not _has_more(message):
            yield Text(text=content, citations=citations)
    elif isinstance(content, list):
        yield from listed(content, citations)
    elif isinstance(content, dict):
        # Cloudflare's models, where JSON was asked for.  Source: recorded answers.
        yield Text(text=json.dumps(content, ensure_ascii=False), citations=citations)
    for image in message.get("images") or ():
        yield picture(image)
    if message.get("refusal"):
        yield Refusal(text=message["refusal"])
    audio = message.get("audio")
    if isinstance(audio, dict) and any(audio.values()):
        yield Audio(
            media=Media(data=audio.get("data") or ""),
            id=audio.get("id") or "",
            transcript=audio.get("transcript") or "",
            expires_at=audio.get("expires_at"),
        )
    for call in message.get("tool_calls") or ():
        yield tool_call(call)
    older = message.get("function_call")
    if isinstance(older, dict) and older.get("name"):
        yield ToolCall(id=older["name"], name=older["name"], arguments=older.get("arguments") or "")


_BESIDES: Final = ("tool_calls", "refusal", "reasoning", "reasoning_content", "reasoning_details", "images")


def _has_more(message: Mapping[str, Any]) -> bool:
    # Some fill in the older fields, with nothing in them.
    whole = any(any(it.values()) for name in ("audio", "function_call") if isinstance(it := message.get(name), dict))
    return whole or any(message.get(name) for name in _BESIDES)


def thoughts(said: Mapping[str, Any]) -> tuple[str, str]:
    """The thoughts of a message or a piece of one, and the name that the vendor has given them; empty: there are none.

    Source: the references of DeepSeek and others (``reasoning_content``), of Groq, OpenRouter and others (``reasoning``), of
    MiniMax and OpenRouter (``reasoning_details``), read 2026-11.
    """
    for name in ("reasoning_content", "reasoning"):
        text = said.get(name)
        if isinstance(text, str) and text:
            return name, text
    details = said.get("reasoning_details")
    if not isinstance(details, list):
        return "", ""
    texts = [it.get("text") or it.get("summary") for it in details if isinstance(it, dict)]
    return "reasoning_content", "".join(it for it in texts if isinstance(it, str))


def picture(image: Mapping[str, Any]) -> Image:
    """A picture that was made.  Raises: KeyError, TypeError."""
    return Image(media=media_of(image["image_url"]["url"]))


def listed(content: list[Any], citations: tuple[Citation, ...] = ()) -> Iterator[Part]:
    """The parts of a content that is a list, as Mistral's thinking models send it, and Databricks' with a ``summary``.

    Source: docs.mistral.ai/capabilities/reasoning; docs.databricks.com, "Query reasoning models"; read 2026-11.
    """
    for part in content:
        if isinstance(part, str):
            yield Text(text=part, citations=citations)
            continue
        match part.get("type"):
            case "thinking" | "reasoning" as kind:
                told = part.get("thinking" if kind == "thinking" else "summary") or ()
                text = told if isinstance(told, str) else "".join(it.get("text") or "" for it in told)
                yield Reasoning(family=FAMILY, text=text, signature=part.get("signature") or "", extra={"as": "content"})
            case "text":
                yield Text(text=part.get("text") or "", citations=citations)
            case "refusal":
                yield Refusal(text=part.get("refusal") or "")
            case _:
                yield Native(family=FAMILY, value=part)


def sources(said: Mapping[str, Any]) -> tuple[Citation, ...]:
    """The places that an answer rests on, where a vendor tells them beside it and not where in it.

    Sources: docs.perplexity.ai/api-reference (``search_results``, ``citations``), docs.x.ai/docs/guides/live-search
    (``citations``), read 2026-11.
    """
    found = said.get("search_results") or said.get("citations")
    rows = [{"url": it} if isinstance(it, str) else it for it in found] if isinstance(found, list) else []
    return tuple(
        Citation(family=FAMILY, native=_url_citation(url, title, None, None), url=url, title=title)
        for it in rows
        if isinstance(it, dict) and isinstance(url := it.get("url"), str) and isinstance(title := it.get("title") or "", str)
    )


def citation(value: Mapping[str, Any]) -> Citation:
    """One annotation of a text."""
    said = value.get("url_citation") or {}
    return Citation(
        family=FAMILY,
        native=value,
        url=said.get("url") or "",
        title=said.get("title") or "",
        start=said.get("start_index"),
        end=said.get("end_index"),
    )


def is_custom(call: Mapping[str, Any]) -> bool:
    """Whether a call, or the first piece of one, is of a custom tool; not every one says its type."""
    kind = call.get("type")
    return kind == "custom" or (not kind and "custom" in call and "function" not in call)


def tool_call(value: Mapping[str, Any]) -> ToolCall:
    """One call of a whole answer."""
    custom = is_custom(value)
    said = value["custom"] if custom else value["function"]
    arguments = said.get("input" if custom else "arguments")
    return ToolCall(
        id=value.get("id") or "",
        name=said["name"],
        arguments=arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False),
        custom=custom,
        signature=signature(value),
    )


def signature(call: Mapping[str, Any]) -> str:
    """The seal of a call, where Google's layer for OpenAI's clients puts it."""
    google = (call.get("extra_content") or {}).get("google") or {}
    return google.get("thought_signature") or ""


# --- to JSON -------------------------------------------------------------------------------------------------------------


def encode(response: Response, *, model: str, created_s: int) -> bytes:
    """The body for a client.  model: what it is told answered.  created_s: the time, where the provider did not say it."""
    same = response.family == FAMILY
    body = {
        "id": response.id or "chatcmpl-tollway",
        "object": "chat.completion",
        "created": response.created_s or created_s,
        "model": model,
        "choices": [_choice_json(it, same=same) for it in response.choices],
        "usage": usage_json(response.usage, response.usage_raw if same else b""),
        **(response.extra if same else {}),
    }
    return msgspec.json.encode(body)


def _choice_json(it: Choice, *, same: bool) -> dict[str, Any]:
    texts = [part for part in it.parts if isinstance(part, Text)]
    thoughts = [part for part in it.parts if isinstance(part, Reasoning)]
    refusals = "".join(part.text for part in it.parts if isinstance(part, Refusal))
    shown = "".join(part.text for part in it.parts if isinstance(part, Text) or (isinstance(part, Native) and part.text))
    message: dict[str, Any] = {"role": "assistant", "content": shown if texts or shown else None, "refusal": refusals or None}
    thought = "".join(part.text or "\n\n".join(part.summary) for part in thoughts)
    if thought:
        message["reasoning_content"] = thought
    annotations = [noted for part in texts for cited in part.citations if (noted := annotation(cited)) is not None]
    if annotations:
        message["annotations"] = annotations
    images = [part.media for part in it.parts if isinstance(part, Image)]
    if images:
        message["images"] = [
            {"type": "image_url", "image_url": {"url": media.url or f"data:{media.media_type};base64,{media.data}"}}
            for media in images
        ]
    calls = [_call_json(part) for part in it.parts if isinstance(part, ToolCall)]
    if calls:
        message["tool_calls"] = calls
    for part in it.parts:
        if isinstance(part, Audio):
            audio = {"id": part.id, "data": part.media.data, "transcript": part.transcript, "expires_at": part.expires_at or 0}
            message["audio"] = audio
    finish = it.native_finish if same and it.native_finish else FINISH_WORDS[it.finish]
    extra = it.extra if same else {}
    return {"index": it.index, "message": message, "logprobs": it.logprobs, "finish_reason": finish, **extra}


def _call_json(call: ToolCall) -> dict[str, Any]:
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    made: dict[str, Any] = {"id": call.id, "type": "function", "function": function}
    if call.signature:
        made["extra_content"] = {"google": {"thought_signature": call.signature}}
    return made


def annotation(cited: Citation) -> dict[str, Any] | None:
    """A citation as this protocol has it; ``None``: it has no place for it."""
    if cited.family == FAMILY:
        return dict(cited.native)
    if not cited.url:
        return None
    return _url_citation(cited.url, cited.title, cited.start, cited.end)


def _url_citation(url: str, title: str, start: int | None, end: int | None) -> dict[str, Any]:
    place = {"start_index": start or 0, "end_index": end or 0}
    return {"type": "url_citation", "url_citation": {"url": url, "title": title, **place}}


def usage_json(usage: Usage | None, raw: bytes = b"") -> Any:
    """The usage object of a chat completion; ``raw``: the provider's own, which is passed on as it is."""
    if raw:
        return msgspec.Raw(raw)
    if usage is None:
        return None
    into, out = usage.input_tokens, usage.output_tokens
    return {
        "prompt_tokens": into,
        "completion_tokens": out,
        "total_tokens": into + out,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read + usage.cache_read_audio,
            "audio_tokens": usage.input_audio + usage.cache_read_audio,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.output_audio},
    }
