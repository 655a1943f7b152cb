"""An answer as the checks see it, read from what the client was sent, whole or as a stream, in each protocol.

Pure.  What is no answer of its protocol is no answer here: nothing is judged that was not understood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from providers import sse


class ToolCall(msgspec.Struct, frozen=True):
    """A tool that the model wants called.  arguments: as it wrote them; ``None``: the protocol has them decoded."""

    name: str
    arguments: str | None


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """One answer.  finish: why it ended, in the words of OpenAI's chat; empty: it does not say.

    text: what it says; ``None``: that was not kept.
    """

    finish: str
    refused: bool = False
    text: str | None = None
    calls: tuple[ToolCall, ...] = ()


def read(endpoint: str, body: bytes, *, stream: bool, whole: bool = True) -> list[Answered]:
    """The answers that a client was sent: one for each choice.

    whole: all of the stream's events are there, not only the last ones.  About 3 µs for an answer, and 1 µs for an event.
    """
    reader = READERS.get(endpoint)
    if reader is None:
        return []
    try:
        return reader(body, stream, whole)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


# --- OpenAI's chat and completions -------------------------------------------------------------------------------------


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    function: _Function | None = None


class _Message(msgspec.Struct):
    content: Any = None
    refusal: Any = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None
    message: _Message | None = None
    delta: _Message | None = None
    text: str | None = None


class _Chat(msgspec.Struct):
    choices: list[_Choice] = []


_chat = msgspec.json.Decoder(_Chat).decode


def _of_chat(body: bytes, stream: bool, whole: bool) -> list[Answered]:
    if not stream:
        return [_chosen(it) for it in _chat(body).choices]
    gathered: dict[int, _Gathered] = {}
    for data in _events(body):
        for choice in _chat(data).choices:
            gathered.setdefault(choice.index, _Gathered()).add(choice)
    return [it.answered(whole) for _, it in sorted(gathered.items())]


def _chosen(choice: _Choice) -> Answered:
    message = choice.message or _Message()
    text = message.content if isinstance(message.content, str) else choice.text
    calls = (ToolCall(it.function.name or "", it.function.arguments or "") for it in message.tool_calls or () if it.function)
    return Answered(finish=choice.finish_reason or "", refused=bool(message.refusal), text=text or "", calls=tuple(calls))


class _Gathered:
    """The pieces of one choice of a stream."""

    def __init__(self) -> None:
        self._finish = ""
        self._refused = False
        self._text: list[str] = []
        self._calls: dict[int, list[str]] = {}

    def add(self, choice: _Choice) -> None:
        self._finish = choice.finish_reason or self._finish
        delta = choice.delta or _Message()
        self._refused = self._refused or bool(delta.refusal)
        if isinstance(said := delta.content or choice.text, str):
            self._text.append(said)
        for call in delta.tool_calls or ():
            if call.function is not None:
                pieces = self._calls.setdefault(call.index, [""])
                pieces[0] = pieces[0] or call.function.name or ""
                pieces.append(call.function.arguments or "")

    def answered(self, whole: bool) -> Answered:
        calls = (ToolCall(pieces[0], "".join(pieces[1:])) for _, pieces in sorted(self._calls.items()))
        return Answered(
            finish=self._finish,
            refused=self._refused,
            text="".join(self._text) if whole else None,
            calls=tuple(calls) if whole else (),
        )


# --- OpenAI's responses ------------------------------------------------------------------------------------------------


class _Reason(msgspec.Struct):
    reason: str | None = None


class _Piece(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct):
    type: str = ""
    name: str | None = None
    arguments: str | None = None
    content: list[_Piece] | None = None


class _Response(msgspec.Struct):
    status: str | None = None
    incomplete_details: _Reason | None = None
    output: list[_Item] = []


class _ResponseEvent(msgspec.Struct):
    type: str = ""
    response: _Response | None = None


_response = msgspec.json.Decoder(_Response).decode
_response_event = msgspec.json.Decoder(_ResponseEvent).decode
_REASONS: Final[Mapping[str, str]] = {"max_output_tokens": "length", "content_filter": "content_filter"}


def _of_responses(body: bytes, stream: bool, whole: bool) -> list[Answered]:
    del whole  # the last event has all of it
    if not stream:
        return _responded(_response(body))
    for data in reversed(list(_events(body))):
        if b'"response.completed"' in data or b'"response.incomplete"' in data:
            event = _response_event(data)
            return [] if event.response is None else _responded(event.response)
    return []


def _responded(response: _Response) -> list[Answered]:
    if response.status not in ("completed", "incomplete"):
        return []  # it failed, or goes on elsewhere
    text, refused = [], False
    for item in response.output:
        for piece in item.content or ():
            refused = refused or piece.type == "refusal"
            if piece.type == "output_text":
                text.append(piece.text or "")
    calls = tuple(ToolCall(it.name or "", it.arguments or "") for it in response.output if it.type == "function_call")
    why = response.incomplete_details.reason if response.incomplete_details is not None else None
    finish = _REASONS.get(why or "", "") if response.status == "incomplete" else "tool_calls" if calls else "stop"
    return [Answered(finish=finish, refused=refused, text="".join(text), calls=calls)]


# --- Anthropic's messages ----------------------------------------------------------------------------------------------


class _Block(msgspec.Struct):
    type: str = ""
    text: str | None = None
    name: str | None = None


class _Delta(msgspec.Struct):
    type: str = ""
    text: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Anthropic(msgspec.Struct):
    type: str = ""
    stop_reason: str | None = None
    content: list[_Block] = []


class _AnthropicEvent(msgspec.Struct):
    type: str = ""
    index: int = 0
    content_block: _Block | None = None
    delta: _Delta | None = None


_anthropic = msgspec.json.Decoder(_Anthropic).decode
_anthropic_event = msgspec.json.Decoder(_AnthropicEvent).decode
_STOPS: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def _of_messages(body: bytes, stream: bool, whole: bool) -> list[Answered]:
    if not stream:
        message = _anthropic(body)
        if message.type != "message":
            return []
        text = "".join(it.text or "" for it in message.content if it.type == "text")
        calls = tuple(ToolCall(it.name or "", None) for it in message.content if it.type == "tool_use")
        return [Answered(finish=_STOPS.get(message.stop_reason or "", ""), text=text, calls=calls)]
    finish, said = "", []
    tools: dict[int, list[str]] = {}
    for data in _events(body):
        event = _anthropic_event(data)
        block, delta = event.content_block, event.delta
        if block is not None and block.type == "tool_use":
            tools[event.index] = [block.name or ""]
        if delta is not None:
            finish = _STOPS.get(delta.stop_reason or "", finish)
            if delta.text is not None:
                said.append(delta.text)
            if delta.partial_json is not None and event.index in tools:
                tools[event.index].append(delta.partial_json)
    # A tool without fields has no pieces of arguments at all.
    calls = tuple(ToolCall(pieces[0], "".join(pieces[1:]) or "{}") for _, pieces in sorted(tools.items()))
    return [Answered(finish=finish, text="".join(said) if whole else None, calls=calls if whole else ())]


# --- Gemini's generateContent ------------------------------------------------------------------------------------------


class _GeminiCall(msgspec.Struct):
    name: str | None = None


class _GeminiPart(msgspec.Struct):
    text: str | None = None
    thought: bool = False
    functionCall: _GeminiCall | None = None  # noqa: N815  # the protocol's name


class _GeminiContent(msgspec.Struct):
    parts: list[_GeminiPart] = []


class _GeminiCandidate(msgspec.Struct):
    index: int = 0
    content: _GeminiContent | None = None
    finishReason: str | None = None  # noqa: N815  # the protocol's name


class _GeminiFeedback(msgspec.Struct):
    blockReason: str | None = None  # noqa: N815  # the protocol's name


class _Gemini(msgspec.Struct):
    candidates: list[_GeminiCandidate] = []
    promptFeedback: _GeminiFeedback | None = None  # noqa: N815  # the protocol's name


_gemini = msgspec.json.Decoder(_Gemini).decode
_BLOCKED: Final = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"})


def _of_gemini(body: bytes, stream: bool, whole: bool) -> list[Answered]:
    found: dict[int, tuple[str, list[str], list[ToolCall]]] = {}
    for data in _events(body) if stream else (body,):
        answer = _gemini(data)
        if answer.promptFeedback is not None and answer.promptFeedback.blockReason:
            return [Answered(finish="content_filter")]
        for candidate in answer.candidates:
            _, text, calls = found.setdefault(candidate.index, ("", [], []))
            for part in candidate.content.parts if candidate.content is not None else ():
                if part.functionCall is not None:
                    calls.append(ToolCall(part.functionCall.name or "", None))
                elif part.text and not part.thought:
                    text.append(part.text)
            if candidate.finishReason:
                found[candidate.index] = (_gemini_finish(candidate.finishReason), text, calls)
    return [
        Answered(finish=finish, text="".join(text) if whole else None, calls=tuple(calls) if whole else ())
        for _, (finish, text, calls) in sorted(found.items())
    ]


def _gemini_finish(said: str) -> str:
    if said in _BLOCKED:
        return "content_filter"
    if said == "MALFORMED_FUNCTION_CALL":
        return "malformed_tool_call"
    return {"STOP": "stop", "MAX_TOKENS": "length"}.get(said, "")


READERS: Final[Mapping[str, Callable[[bytes, bool, bool], list[Answered]]]] = {
    "chat/completions": _of_chat,
    "completions": _of_chat,
    "responses": _of_responses,
    "messages": _of_messages,
    "generateContent": _of_gemini,
}


def _events(body: bytes) -> Iterable[bytes]:
    for part in sse.split(body):
        data = sse.data_of(part)
        if data.startswith(b"{"):
            yield data
