"""Gemini's protocol at the edge: its paths, what its bodies ask, its streams as one JSON array, its list of models.

Source: ai.google.dev/api/generate-content, …/api/models and …/api/embeddings, read 2026-11.  Its JSON is protobuf's: every
field may be written in camelCase or in snake_case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from providers import sse
from providers.provider import Endpoint
from proxy.api import gate
from proxy.api.places import METHODS, PREFIXES
from proxy.api.stated import UNKNOWN, Architecture, Known, Pricing, Stated, nothing
from proxy.call import PLAIN, Chunks, Head, Weight
from proxy.deployments.models import Model
from proxy.errors import InvalidRequest, ProxyError

Body = dict[str, Any]

LISTS: Final = ("/v1beta/models", "/v1beta/models/")
PAGE: Final = 1000


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """What a path asks for.  array: the stream is to be one JSON array instead of events."""

    endpoint: Endpoint
    model: str
    stream: bool
    array: bool


def method_of(path: str, query: Mapping[str, str]) -> Method | None:
    """What the path ``/v1beta/models/MODEL:METHOD`` asks for; ``None``: it is none of them.

    A model's name may hold slashes and colons.
    """
    for prefix in PREFIXES:
        if path.startswith(prefix):
            model, colon, name = path.removeprefix(prefix).rpartition(":")
            if not colon or name not in METHODS:
                return None
            endpoint, stream = METHODS[name]
            return Method(endpoint=endpoint, model=model, stream=stream, array=stream and query.get("alt") != "sse")
    return None


def head(body: Body, method: Method) -> Head:
    """The few fields that the pipeline needs.  Raises: InvalidRequest, naming the field."""
    gate.check_places(body)
    config = _object(body, "generationConfig", "generation_config")
    return Head(
        model=gate.model_of({"model": method.model}),
        stream=method.stream,
        output_max=_most(config, "maxOutputTokens", "max_output_tokens"),
        choices=_most(config, "candidateCount", "candidate_count") or 1,
        weight=weigh(body, config),
        cache=gate.cache_of(body),
        route=gate.route_of(body),
        ours=gate.ours_of(body),
        array=method.array,
    )


def _object(body: Body, *names: str) -> Body:
    """The objects under any of the spellings, as one."""
    found: Body = {}
    for name in names:
        value = body.get(name)
        if value is not None and type(value) is not dict:
            raise InvalidRequest(f"'{name}' must be an object.", param=name)
        found |= value or {}
    return found


def _most(config: Body, *names: str) -> int | None:
    """The larger of what the spellings say: an upstream may read either."""
    return max([it for name in names if (it := gate.whole(config, name, least=0)) is not None], default=None)


def weigh(body: Body, config: Body) -> Weight:
    """What its bytes and its bound do not tell.  What has an unknown shape counts as a reference; nothing is refused here."""
    counted = _Counted()
    counted.body(body)
    requests = body.get("requests")
    for request in requests if type(requests) is list else ():
        if type(request) is dict:
            counted.body(request)
    for name in ("generateContentRequest", "generate_content_request"):
        if type(inner := body.get(name)) is dict:
            counted.body(inner)
    modalities = config.get("responseModalities", config.get("response_modalities"))
    audio = counted.audio or (type(modalities) is list and "AUDIO" in modalities)
    tier = body.get("serviceTier", body.get("service_tier"))
    tier = tier.lower() if isinstance(tier, str) else ""
    if not (counted.references or audio or tier):
        return PLAIN
    return Weight(references=counted.references, payload_bytes=counted.payload_bytes, audio=audio, service_tier=tier)


class _Counted:
    __slots__ = ("audio", "payload_bytes", "references")

    def __init__(self) -> None:
        self.references = 0
        self.payload_bytes = 0
        self.audio = False

    def body(self, body: Body) -> None:
        contents = body.get("contents")
        found = [*contents] if type(contents) is list else [contents]
        for content in (*found, body.get("content"), body.get("systemInstruction"), body.get("system_instruction")):
            parts = content.get("parts") if type(content) is dict else None
            for part in parts if type(parts) is list else (parts,):
                if type(part) is dict:
                    self._part(part)
        if body.get("cachedContent", body.get("cached_content")) is not None:
            self.references += 1
        tools = body.get("tools")
        for tool in tools if type(tools) is list else ():
            if type(tool) is not dict or tool.keys() - {"functionDeclarations", "function_declarations"}:
                self.references += 1

    def _part(self, part: Body) -> None:
        for name in ("inlineData", "inline_data", "fileData", "file_data"):
            media = part.get(name)
            if media is None:
                continue
            self.references += 1
            if type(media) is not dict:
                continue
            kind = media.get("mimeType", media.get("mime_type"))
            if type(kind) is not str or not kind.startswith(("image/", "application/", "text/")):
                self.audio = True
            data = media.get("data")
            if type(data) is str and data.isascii():
                self.payload_bytes += len(data)
        for name in ("functionResponse", "function_response"):
            answer = part.get(name)
            parts = answer.get("parts") if type(answer) is dict else None
            for inner in parts if type(parts) is list else ():
                if type(inner) is dict:
                    self._part(inner)


# --- a stream as one array ---------------------------------------------------------------------------------------------


class Array:
    """Chunks of a stream, as one JSON array: what a client gets that does not ask for events (``alt=sse``)."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._begun = False

    async def read(self, write: Callable[[bytes], bool] = lambda _: False) -> bytes:
        """Write elements as they come, and return those that could not be written at once; ``b""`` at the end."""

        def said(events: bytes) -> bool:
            begun = self._begun
            if write(self._said(events)):
                return True
            # They come again, to be returned.
            self._begun = begun
            return False

        while events := await self._chunks.read(said):
            if elements := self._said(events):
                return elements
        return b""

    @property
    def closing(self) -> bytes:
        """The last element, and what ends the array."""
        return self.ended(self._chunks.closing)

    def ended(self, events: bytes) -> bytes:
        """What ends the array after these events."""
        return self._said(events) + (b"]" if self._begun else b"[]")

    def fail(self, error: ProxyError) -> None:
        """End it here."""
        self._chunks.fail(error)

    def close(self) -> None:
        """Let go of the upstream."""
        self._chunks.close()

    def _said(self, events: bytes) -> bytes:
        parts = []
        for event in sse.split(events):
            data = sse.data_of(event)
            if data:
                parts.append((b",\r\n" if self._begun else b"[") + data)
                self._begun = True
        return b"".join(parts)


# --- models ------------------------------------------------------------------------------------------------------------


class ModelRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A model, as Gemini's API lists it; what it takes and costs as OpenRouter says it, for which there is no place here."""

    name: str
    base_model_id: str
    version: str = ""
    display_name: str
    description: str = ""
    input_token_limit: int | UnsetType = UNSET
    output_token_limit: int | UnsetType = UNSET
    supported_generation_methods: tuple[str, ...] = ("generateContent", "streamGenerateContent", "countTokens")
    architecture: Architecture | UnsetType = UNSET
    pricing: Pricing | UnsetType = UNSET


class ModelPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A page of them."""

    models: list[ModelRow]
    next_page_token: str = ""


def row(name: str, known: Stated = UNKNOWN) -> ModelRow:
    """One row."""
    return ModelRow(
        name=f"models/{name}",
        base_model_id=name,
        display_name=name,
        input_token_limit=known.context_length,
        output_token_limit=known.output_most,
        architecture=known.architecture,
        pricing=known.pricing,
    )


def page(models: Sequence[Model], query: Mapping[str, str], known: Known = nothing) -> ModelPage:
    """The page that is asked for.  Raises: InvalidRequest."""
    size = query.get("pageSize") or query.get("page_size") or str(PAGE)
    token = query.get("pageToken") or query.get("page_token") or "0"
    for name, value in (("pageSize", size), ("pageToken", token)):
        if not value.isascii() or not value.isdigit() or len(value) > 9:
            raise InvalidRequest(f"'{name}' must be a whole number.", param=name)
    first, count = int(token), min(max(int(size), 1), PAGE)
    last = first + count
    return ModelPage(
        models=[row(it.id, known(it.id)) for it in models[first:last]], next_page_token=str(last) if last < len(models) else ""
    )
