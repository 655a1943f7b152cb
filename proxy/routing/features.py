"""What a request needs, and what kind of task it is: from its own JSON, without a tokenizer, in bounded time.

``features_of`` takes the body as its client sent it, whichever protocol that is: messages and parts are found by the names
that OpenAI, Anthropic and Gemini have for them.  Only the first and the last of the texts are looked at.  About 20 µs for
an ordinary request; a conversation of a thousand messages costs about 0.2 µs for each of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from proxy.routing.words import LANGUAGES, MARKED_BY_CHAR, MARKED_BY_WORD, PHRASES, PUNCTUATION, SCRIPTS, WORDS

SCANNED_CHARS: Final = 1_000
"""Of the beginning and of the end of the last question; of the instructions half as many.  Of what is not in ASCII half of
all that: it takes twice as long."""

BYTES_PER_TOKEN: Final = 4.0
"""What is taken for a token of a family that was not metered yet: a JSON body of English text has 3.5 to 4.5 bytes a token."""
PICTURE_TOKENS: Final = 1_000
"""Of a picture, a file or a sound.  Source: OpenAI's guide "Images and vision": 765 to 1,105 at high detail; read 2026-11."""

LONG_TOKENS: Final = 32_000
"""From here on what matters most is to find one's way in a long text."""
ENOUGH: Final = 1.0
"""The evidence from which on a kind is believed."""
DOUBT: Final = 1.0
"""What speaks against every kind."""

EFFORTS: Final = frozenset(("none", "minimal", "low", "medium", "high", "xhigh", "max"))

_PARTS: Final = {
    "image_url": "vision",
    "input_image": "vision",
    "image": "vision",
    "input_audio": "audio_in",
    "audio": "audio_in",
    "file": "file",
    "input_file": "file",
    "document": "file",
    "video_url": "video",
    "video": "video",
}
"""The types of parts that need a capability.  Source: the API references of OpenAI and Anthropic, read 2026-11."""
_MEDIA: Final = {"image": "vision", "audio": "audio_in", "video": "video", "application": "file", "text": "file"}
"""The same for Gemini's parts, by the first half of their ``mimeType``."""

_WORD: Final = re.compile(r"[^\W_]+")


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """A request, as far as the choice of a model depends on it.  It holds nothing of its text.

    task: one of ``KINDS``; task_confidence: in [0, 1].  hinted: the caller said so.
    text_bytes: of the body, without the data of pictures and files; files: how many of those there are.
    input_tokens: by the bytes, at what is usual.  output_max: the bound of an answer, where the caller set one.
    needs: capabilities, by the ledger's names (``CAPABILITIES``; and ``file``, ``video``).  effort: the reasoning asked for.
    language: ISO 639-1, empty where it is not plain.  turns: of the user.  tools: how many are offered.
    goes_on: what came before is not in the body, but where it was answered.
    """

    endpoint: str
    task: str = "general"
    task_confidence: float = 0.0
    hinted: bool = False
    text_bytes: int = 0
    files: int = 0
    input_tokens: int = 0
    output_max: int | None = None
    choices: int = 1
    needs: tuple[str, ...] = ()
    effort: str = ""
    service_tier: str = ""
    language: str = ""
    turns: int = 0
    tools: int = 0
    stream: bool = False
    goes_on: bool = False

    @property
    def context_tokens(self) -> int:
        """What has to fit into a model's window, as far as that is certain: the input, and one token of an answer."""
        return self.input_tokens + (self.output_max or 1)


def features_of(
    endpoint: str,
    fields: Mapping[str, Any],
    *,
    size_bytes: int,
    payload_bytes: int = 0,
    escapes: int = 0,
    output_max: int | None = None,
    task: str = "",
) -> Features:
    """The features of a body.

    fields: the parsed body, of any protocol.  size_bytes: of the body as it came; payload_bytes: of it, that are data of
    pictures and files; escapes: how many ``\\u`` it has, each of which spells with six bytes what UTF-8 has in three.
    output_max: the bound of an answer, under whatever name.  task: what the caller says that it is; it counts.
    """
    seen = _Seen()
    for item in _messages(fields):
        seen.message(item)
    system = _text_of(fields.get("instructions") or fields.get("system") or _gemini(fields, "systemInstruction"))
    tools = fields.get("tools")
    count = len(tools) if type(tools) is list else 0
    needs = seen.needs
    if count:
        needs.add("tools")
    if _wants_schema(fields):
        needs.add("structured_output")
    modalities = fields.get("modalities")
    if fields.get("audio") is not None or (type(modalities) is list and "audio" in modalities):
        needs.add("audio_out")
    effort = _effort(fields)
    if effort not in ("", "none"):
        needs.add("reasoning")
    text_bytes = max(size_bytes - payload_bytes - 3 * escapes, 0)
    input_tokens = int(text_bytes / BYTES_PER_TOKEN) + seen.files * PICTURE_TOKENS
    sample = _sample(system or seen.system, seen.question)
    # The one is quick for ASCII, the other for everything else.
    words = set(sample.translate(PUNCTUATION).split() if sample.isascii() else _WORD.findall(sample))
    if task:
        kind, confidence = task, 1.0
    else:
        kind, confidence = _kind(sample, words, seen, needs, input_tokens=input_tokens, tools=count, effort=effort)
    tier = fields.get("service_tier")
    choices = fields.get("n")
    return Features(
        endpoint=endpoint,
        task=kind,
        task_confidence=round(confidence, 3),
        hinted=bool(task),
        text_bytes=text_bytes,
        files=seen.files,
        input_tokens=max(input_tokens, 1),
        output_max=output_max,
        choices=choices if type(choices) is int and choices > 0 else 1,
        needs=tuple(sorted(needs)),
        effort=effort,
        service_tier=tier if type(tier) is str else "",
        language=_language(sample, words),
        turns=seen.turns,
        tools=count,
        stream=fields.get("stream") is True,
        goes_on=fields.get("previous_response_id") is not None or fields.get("conversation") is not None,
    )


# --- the shapes of the protocols ---------------------------------------------------------------------------------------


def _messages(fields: Mapping[str, Any]) -> list[Any]:
    """Chat and Anthropic have ``messages``, Responses ``input``, Gemini ``contents``, the old completions ``prompt``."""
    for name in ("messages", "input", "contents", "prompt"):
        found = fields.get(name)
        if type(found) is list:
            return found
        if type(found) is str:
            return [found]
    return []


class _Seen:
    """What the messages show, collected."""

    __slots__ = ("acted", "files", "needs", "question", "system", "turns")

    def __init__(self) -> None:
        self.needs: set[str] = set()
        self.files = 0
        self.turns = 0
        self.acted = 0
        self.question = ""
        self.system = ""

    def message(self, item: Any) -> None:
        if type(item) is str:
            self.turns += 1
            self.question = item
            return
        if type(item) is not dict:
            return
        role = item.get("role")
        kind = item.get("type")
        if role == "tool" or kind in ("function_call_output", "custom_tool_call_output"):
            self.acted += 1
            return
        content = item.get("content")
        if content is None:
            content = item.get("parts")
        if type(content) is list:
            self._parts(content)
        if role == "user":
            text = _text_of(content)
            self.turns += 1
            # An answer to a tool's call has no text of its own; the question before it is still the question.
            self.question = text or self.question
        elif role in ("system", "developer") and not self.system:
            self.system = _text_of(content)

    def _parts(self, parts: list[Any]) -> None:
        for part in parts:
            if type(part) is not dict:
                continue
            kind = part.get("type")
            if kind == "text" or kind == "input_text" or kind == "output_text":
                continue
            if kind == "tool_result" or "functionResponse" in part:
                self.acted += 1
                inner = part.get("content")
                if type(inner) is list:
                    self._parts(inner)
                continue
            need = _PARTS.get(kind) if type(kind) is str else _medium(part)
            if need is not None:
                self.needs.add(need)
                self.files += 1


def _medium(part: Mapping[str, Any]) -> str | None:
    for name in ("inlineData", "inline_data", "fileData", "file_data"):
        data = part.get(name)
        if type(data) is dict:
            kind = data.get("mimeType") or data.get("mime_type")
            return _MEDIA.get(kind.partition("/")[0], "file") if type(kind) is str else "file"
    return None


def _text_of(content: Any) -> str:
    """The text of a message: as it is, or the first and the last of its texts."""
    if type(content) is str:
        return content
    if type(content) is dict:
        content = content.get("parts")
    if type(content) is not list:
        return ""
    texts = list(_texts(content))
    return texts[0] if len(texts) == 1 else "\n".join((texts[0], texts[-1])) if texts else ""


def _texts(parts: list[Any]) -> Iterator[str]:
    for part in parts:
        if type(part) is str:
            yield part
        elif type(part) is dict and type(text := part.get("text")) is str:
            yield text


def _gemini(fields: Mapping[str, Any], name: str) -> Any:
    return fields.get(name) or fields.get("system_instruction")


def _wants_schema(fields: Mapping[str, Any]) -> bool:
    """Chat: ``response_format``; Responses: ``text.format``; Gemini: ``generationConfig.responseSchema``."""
    wanted = fields.get("response_format")
    if type(wanted) is not dict:
        text = fields.get("text")
        wanted = text.get("format") if type(text) is dict else None
    if type(wanted) is dict:
        return wanted.get("type") == "json_schema"
    config = fields.get("generationConfig")
    return type(config) is dict and ("responseSchema" in config or "responseJsonSchema" in config)


def _effort(fields: Mapping[str, Any]) -> str:
    """Chat: ``reasoning_effort``; Responses: ``reasoning.effort``; Anthropic: ``thinking``."""
    effort = fields.get("reasoning_effort")
    if effort is None and type(reasoning := fields.get("reasoning")) is dict:
        effort = reasoning.get("effort")
    if type(effort) is str:
        return effort if effort in EFFORTS else ""
    thinking = fields.get("thinking")
    return "high" if type(thinking) is dict and thinking.get("type") == "enabled" else ""


# --- the kind of task --------------------------------------------------------------------------------------------------


def _sample(system: str, question: str) -> str:
    """What is looked at, in lower case."""
    most = SCANNED_CHARS if question.isascii() else SCANNED_CHARS // 2
    if len(question) > 2 * most:
        question = f"{question[:most]}\n{question[-most:]}"
    return f"{system[: most // 2]}\n{question}".lower()


def _kind(
    sample: str, words: set[str], seen: _Seen, needs: set[str], *, input_tokens: int, tools: int, effort: str
) -> tuple[str, float]:
    """The kind that most speaks for, and how much of all that was found speaks for it."""
    found: dict[str, float] = {}
    for word in words & WORDS.keys():
        kind, weight = WORDS[word]
        found[kind] = found.get(kind, 0.0) + weight
    for word in words & MARKED_BY_WORD.keys():
        for mark, kind, weight in MARKED_BY_WORD[word]:
            if mark in sample:
                found[kind] = found.get(kind, 0.0) + weight
    for char, marks in MARKED_BY_CHAR.items():
        if char in sample:
            for mark, kind, weight in marks:
                if mark in sample:
                    found[kind] = found.get(kind, 0.0) + weight
    if not sample.isascii():
        for phrase, kind, weight in PHRASES:
            if phrase in sample:
                found[kind] = found.get(kind, 0.0) + weight
    for kind, weight in _structure(sample, words, seen, needs, input_tokens=input_tokens, tools=tools, effort=effort):
        found[kind] = found.get(kind, 0.0) + weight
    if not found:
        return "general", 0.5
    best = max(found, key=lambda kind: (found[kind], kind))
    weight = found[best]
    if weight < ENOUGH:
        return "general", 0.5
    return best, weight / (sum(found.values()) + DOUBT)


def _structure(
    sample: str, words: set[str], seen: _Seen, needs: set[str], *, input_tokens: int, tools: int, effort: str
) -> Iterator[tuple[str, float]]:
    """What the request's form says, whatever its words are."""
    if seen.acted:
        yield "agentic", 3.0 + min(seen.acted, 4)
    elif tools:
        yield "agentic", 2.0
    if "vision" in needs or "video" in needs:
        yield "vision", 4.0
    if input_tokens > LONG_TOKENS:
        yield "long_context", 3.0
    if "structured_output" in needs:
        yield "extraction", 1.5
    if effort in ("high", "xhigh", "max"):
        yield "reasoning", 1.0
    numbers = sum(word.isdigit() for word in words)
    if numbers >= 2 and "how" in words and ("many" in words or "much" in words):
        yield "math", 2.5
    if "\nb" in sample and ("\nb)" in sample or "\nb." in sample) and ("\nc)" in sample or "\nc." in sample):
        yield "knowledge", 1.5


def _language(sample: str, words: set[str]) -> str:
    """By the script, else by the commonest words; empty where neither is plain."""
    if not sample.isascii():
        for code, letters in SCRIPTS:
            if letters.search(sample):
                return code
    best, most = "", 1
    for code, common in LANGUAGES.items():
        count = len(words & common)
        if count > most:
            best, most = code, count
    return best
