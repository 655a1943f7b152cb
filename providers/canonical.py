"""The canonical form: what a request, an answer and a stream are in no protocol in particular.

Every protocol has a codec to it and one from it, so N clients' and M providers' protocols need N + M translations.  It is a
superset of them.  What only one family of protocols knows is carried along as ``Native`` values and in ``extra``, and comes
out again where the same family is spoken; elsewhere it is dropped or refused as the table in the documentation says.

A field that the caller did not send is ``None`` or empty, never a default of ours.  JSON that a model wrote (a tool call's
arguments) is kept as its text, so that it leaves as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from providers.errors import ErrorBody
from providers.usage import Usage

Family = Literal["openai-chat", "openai-responses", "anthropic", "gemini", "bedrock", "cohere"]
"""Protocols whose own values mean the same wherever they are spoken: Vertex speaks ``gemini``, Azure OpenAI's."""

Role = Literal["system", "developer", "user", "assistant", "tool"]

Finish = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "pause", "error", "other"]
"""Why an answer ended.  ``pause``: the provider's own tools are still at work, and the turn is to be sent again."""

NOTHING: Mapping[str, Any] = {}


class Unsupported(Exception):
    """A protocol cannot say this.

    field: the place in the client's request, such as ``messages[2].content[0]``.
    """

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


class Malformed(Exception):
    """A client's request is not what its protocol says.  field: the place in it."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


# --- parts -------------------------------------------------------------------------------------------------------------


class CacheHint(msgspec.Struct, frozen=True, kw_only=True):
    """Everything up to here is worth keeping in the provider's prompt cache.  ttl: ``5m``, ``1h``; empty: as it is usual."""

    ttl: str = ""


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes, or where they are; exactly one of data, url and file_id is given.

    data: base64.  url: http(s), or a provider's own scheme such as ``gs:`` and ``s3:``.
    media_type: such as ``image/png``; empty if the protocol did not say.
    """

    data: str = ""
    url: str = ""
    file_id: str = ""
    media_type: str = ""


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """What a passage rests on.  start, end: characters of the text that it is for.  native: the family's own object."""

    family: Family
    native: Mapping[str, Any]
    url: str = ""
    title: str = ""
    quoted: str = ""
    start: int | None = None
    end: int | None = None


class Text(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """Words."""

    text: str
    citations: tuple[Citation, ...] = ()
    signature: str = ""
    cache: CacheHint | None = None
    extra: Mapping[str, Any] = NOTHING


class Image(msgspec.Struct, frozen=True, kw_only=True, tag="image"):
    """A picture.  detail: how closely to look, as OpenAI names it."""

    media: Media
    detail: str = ""
    cache: CacheHint | None = None
    extra: Mapping[str, Any] = NOTHING


class Audio(msgspec.Struct, frozen=True, kw_only=True, tag="audio"):
    """Sound.  format: ``wav``, ``mp3``, ….  id: of an earlier answer's audio, which stands for its data."""

    media: Media
    format: str = ""
    transcript: str = ""
    id: str = ""
    expires_at: int | None = None
    extra: Mapping[str, Any] = NOTHING


class Video(msgspec.Struct, frozen=True, kw_only=True, tag="video"):
    """Moving pictures."""

    media: Media
    extra: Mapping[str, Any] = NOTHING


class File(msgspec.Struct, frozen=True, kw_only=True, tag="file"):
    """A document.  text: its whole content, where it came as plain text instead of media."""

    media: Media = Media()
    text: str = ""
    name: str = ""
    cache: CacheHint | None = None
    extra: Mapping[str, Any] = NOTHING


class Reasoning(msgspec.Struct, frozen=True, kw_only=True, tag="reasoning"):
    """What the model thought, as far as it is shown.

    summary: the parts of a summary, where the thoughts themselves are not shown.
    signature, encrypted: the provider's seals; only the family that made them can take them back.
    """

    family: Family
    text: str = ""
    summary: tuple[str, ...] = ()
    signature: str = ""
    encrypted: str = ""
    id: str = ""
    extra: Mapping[str, Any] = NOTHING


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, tag="tool_call"):
    """The model wants one of the caller's tools run.

    id: empty where the protocol has none (Gemini).  arguments: JSON text; of a custom tool, free text.
    item_id: a second id that the Responses API has.  signature: a seal on the call (Gemini).
    """

    id: str
    name: str
    arguments: str
    custom: bool = False
    item_id: str = ""
    signature: str = ""
    cache: CacheHint | None = None
    extra: Mapping[str, Any] = NOTHING


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, tag="tool_result"):
    """What a tool gave.  name: of the tool, if known.  content: parts that its protocol allows there."""

    id: str
    content: tuple[Part, ...] = ()
    name: str = ""
    failed: bool = False
    custom: bool = False
    cache: CacheHint | None = None
    extra: Mapping[str, Any] = NOTHING


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refusal"):
    """The model's own words for not answering."""

    text: str
    extra: Mapping[str, Any] = NOTHING


class Native(msgspec.Struct, frozen=True, kw_only=True, tag="native"):
    """A part that only its family has: server-side tools and their results, containers, code that was run, ….

    text: what a client of another family should see of it; empty: nothing.
    """

    family: Family
    value: Mapping[str, Any]
    text: str = ""


Part = Text | Image | Audio | Video | File | Reasoning | ToolCall | ToolResult | Refusal | Native


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn.  name: of a participant, as OpenAI has it."""

    role: Role
    parts: tuple[Part, ...]
    name: str = ""
    id: str = ""
    extra: Mapping[str, Any] = NOTHING


# --- requests ----------------------------------------------------------------------------------------------------------


class Function(msgspec.Struct, frozen=True, kw_only=True, tag="function"):
    """A tool of the caller's.  parameters: a JSON schema; ``None``: it did not say.  custom: it takes free text."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None
    custom: bool = False
    cache: CacheHint | None = None
    extra: Mapping[str, Any] = NOTHING


class NativeTool(msgspec.Struct, frozen=True, kw_only=True, tag="native_tool"):
    """A tool that the provider runs, or that only its family defines.  kind: what it does, if it is one that several have."""

    family: Family
    value: Mapping[str, Any]
    kind: Literal["", "web_search", "web_fetch", "code_execution", "file_search", "image_generation"] = ""


Tool = Function | NativeTool


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Which tools may or must be called.  names: the only ones; with ``required`` and one name, exactly that one."""

    mode: Literal["auto", "none", "required"]
    names: tuple[str, ...] = ()
    native: Mapping[str, Any] = NOTHING


class OutputFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer's text has to be.  schema: of ``schema`` alone."""

    kind: Literal["text", "json", "schema"]
    schema: Mapping[str, Any] | None = None
    name: str = ""
    description: str = ""
    strict: bool | None = None


class ReasoningAsk(msgspec.Struct, frozen=True, kw_only=True):
    """How much the model should think.

    effort: ``none``, ``minimal``, ``low``, ``medium``, ``high``, ``xhigh``, ``max``; empty: not said.
    budget_tokens: -1: as it likes (Gemini).  adaptive: it decides itself (Anthropic).
    shown: whether thoughts are wanted in the answer.  summary: how they are summed up, as the Responses API names it.
    suffixed: it is a suffix of the model's name, and not in the words of the request's family.
    """

    effort: str = ""
    budget_tokens: int | None = None
    adaptive: bool = False
    shown: bool | None = None
    summary: str = ""
    suffixed: bool = False


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks.  family: the protocol that it came in; ``extra``: that family's fields with no place here.

    verbosity: how long the answer should be, as OpenAI names it.
    """

    family: Family
    model: str
    messages: tuple[Message, ...]
    stream: bool | None = None
    stream_usage: bool | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    output_format: OutputFormat | None = None
    reasoning: ReasoningAsk | None = None
    output_max: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    choices: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    verbosity: str = ""
    user: str = ""
    metadata: Mapping[str, Any] | None = None
    service_tier: str = ""
    prompt_cache_key: str = ""
    cache: CacheHint | None = None
    modalities: tuple[str, ...] = ()
    extra: Mapping[str, Any] = NOTHING


# --- answers -----------------------------------------------------------------------------------------------------------


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of the answers that were asked for.  stopped_by: the stop sequence.  native_finish: the family's own word."""

    parts: tuple[Part, ...]
    finish: Finish
    index: int = 0
    stopped_by: str = ""
    native_finish: str = ""
    logprobs: Any = None
    extra: Mapping[str, Any] = NOTHING


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer.  usage_raw: the provider's own object, byte for byte; empty if there was none."""

    family: Family
    id: str
    model: str
    choices: tuple[Choice, ...]
    created_s: int | None = None
    usage: Usage | None = None
    usage_raw: bytes = b""
    extra: Mapping[str, Any] = NOTHING


# --- embeddings --------------------------------------------------------------------------------------------------------


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Texts whose vectors are asked for.  dimensions: how many numbers each is to have.  extra: as a ``Request``'s."""

    family: Family
    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    user: str = ""
    extra: Mapping[str, Any] = NOTHING


class EmbeddingResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A vector for each text, in their order."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None
    usage_raw: bytes = b""


# --- streams -----------------------------------------------------------------------------------------------------------


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """The first event."""

    family: Family
    id: str
    model: str
    created_s: int | None = None
    usage: Usage | None = None
    extra: Mapping[str, Any] = NOTHING


class PartStarted(msgspec.Struct, frozen=True, kw_only=True, tag="part_started"):
    """A part begins.  index: counts the parts of its choice from 0.  part: with what is known of it by now."""

    index: int
    part: Part
    choice: int = 0


class Delta(msgspec.Struct, frozen=True, kw_only=True, tag="delta"):
    """More of a part: of a text, a refusal, thoughts, a summary, a tool call's arguments; exactly one of them.

    summary_index: which part of a summary.  signature, encrypted: the seal of thoughts or of a call, whole.
    """

    index: int
    choice: int = 0
    text: str = ""
    arguments: str = ""
    signature: str = ""
    encrypted: str = ""
    citation: Citation | None = None
    audio: Audio | None = None
    summary_index: int | None = None
    logprobs: Any = None


class PartStopped(msgspec.Struct, frozen=True, kw_only=True, tag="part_stopped"):
    """A part is whole.  part: it, where the protocol says it again; ``None``: it is the sum of its deltas."""

    index: int
    choice: int = 0
    part: Part | None = None


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """A choice is whole."""

    finish: Finish
    choice: int = 0
    stopped_by: str = ""
    native_finish: str = ""
    extra: Mapping[str, Any] = NOTHING


class UsageSeen(msgspec.Struct, frozen=True, kw_only=True, tag="usage"):
    """The usage so far; the last one counts, and they are never summed."""

    usage: Usage | None
    raw: bytes


class NativeEvent(msgspec.Struct, frozen=True, kw_only=True, tag="native_event"):
    """An event that only its family has."""

    family: Family
    value: Mapping[str, Any]


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """The stream is whole, as its protocol says: nothing comes after it."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The provider broke off: nothing comes after it."""

    error: ErrorBody


Event = Started | PartStarted | Delta | PartStopped | Finished | UsageSeen | NativeEvent | Ended | Failed
