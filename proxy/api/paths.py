"""The raw routes, as ``/openapi.json`` describes them; FastAPI knows only its own."""

from __future__ import annotations

from typing import Any

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}

_STATUSES = {
    "400": "The request is at fault; nothing was sent, or the provider refused it.",
    "401": "The API key is missing or not valid.",
    "403": "The API key may not use this model.",
    "404": "No provider serves this model.",
    "413": "The body is too large.",
    "429": "Every provider of this model is limiting the gateway just now; see Retry-After.",
    "502": "Every try failed at the provider.",
    "503": "No provider could be reached, or the journal cannot be written.",
    "504": "The provider took too long.",
}

_ERRORS = {
    status: {"description": text, "content": {"application/json": {"schema": _ERROR}}} for status, text in _STATUSES.items()
}

_SECURITY: list[dict[str, list[str]]] = [{"HTTPBearer": []}]


def _inference(name: str, what: str, required: list[str], *, streams: bool, whose: str = "OpenAI's") -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if streams:
        content["text/event-stream"] = {"schema": {"type": "string", "description": "Server-sent events."}}
    properties = {"model": {"type": "string", "description": "`provider/model`, a configured name, or an alias."}}
    if streams:
        properties["stream"] = {"type": "boolean"}
    return {
        "post": {
            "tags": ["inference"],
            "operationId": name,
            "summary": what,
            "description": f"Takes and answers what {whose} endpoint of this path does; other fields are forwarded.",
            "security": _SECURITY,
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": required,
                            "properties": properties,
                            "additionalProperties": True,
                        }
                    }
                },
            },
            "responses": {
                "200": {"description": "The provider's answer, byte for byte.", "content": content},
                **_ERRORS,
            },
        }
    }


def _listing(name: str, what: str, *, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "get": {
            "tags": ["inference"],
            "operationId": name,
            "summary": what,
            "security": _SECURITY,
            "parameters": parameters,
            "responses": {
                "200": {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}},
                **{status: _ERRORS[status] for status in ("401", "404")},
            },
        }
    }


_MODEL: dict[str, Any] = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}


def _with_model(path: dict[str, Any]) -> dict[str, Any]:
    """A path that has the model in it, and not in its body."""
    schema = path["post"]["requestBody"]["content"]["application/json"]["schema"]
    for name in ("model", "stream"):
        schema["properties"].pop(name, None)
    return {"post": {**path["post"], "parameters": [_MODEL]}}


def _form(name: str, what: str, files: list[str], *, streams: bool) -> dict[str, Any]:
    """A path that takes a form.  files: the fields that are files, the first of them needed."""
    path = _inference(name, what, [], streams=streams)
    properties: dict[str, Any] = {
        "model": {"type": "string", "description": "`provider/model`, a configured name, or an alias."},
        **{field: {"type": "string", "format": "binary"} for field in files},
    }
    if streams:
        properties["stream"] = {"type": "boolean"}
    if files == ["file"]:
        path["post"]["responses"]["200"]["content"]["text/plain"] = {"schema": {"type": "string"}}
    schema = {
        "type": "object",
        "required": ["model", files[0]],
        "properties": properties,
        "additionalProperties": True,
    }
    path["post"]["requestBody"]["content"] = {"multipart/form-data": {"schema": schema}}
    return path


def _with_sound(path: dict[str, Any]) -> dict[str, Any]:
    """A path whose answers are sound in whatever format is asked for, or events of it."""
    content = {
        "audio/*": {"schema": {"type": "string", "format": "binary"}},
        "text/event-stream": {"schema": {"type": "string", "description": "Server-sent events (`stream_format: sse`)."}},
    }
    path["post"]["responses"]["200"]["content"] = content
    return path


_REALTIME: dict[str, Any] = {
    "get": {
        "tags": ["inference"],
        "operationId": "open_realtime_session",
        "summary": "A session over a WebSocket",
        "description": "The handshake of OpenAI's realtime sessions; the events pass as they are. A browser sends its key as "
        "the subprotocol `openai-insecure-api-key.KEY`.",
        "security": _SECURITY,
        "parameters": [
            {
                "name": "model",
                "in": "query",
                "required": True,
                "schema": {"type": "string"},
                "description": "`provider/model`, a configured name, or an alias.",
            }
        ],
        "responses": {
            "101": {"description": "The session is open."},
            **_ERRORS,
            "426": {"description": "It is no handshake.", "content": {"application/json": {"schema": _ERROR}}},
        },
    }
}

_BATCH_ID: dict[str, Any] = {"name": "message_batch_id", "in": "path", "required": True, "schema": {"type": "string"}}


def _batch(method: str, name: str, what: str, *, kind: str = "application/json", of_one: bool = True) -> dict[str, Any]:
    """A request about message batches, whose answer is the provider's."""
    operation: dict[str, Any] = {
        "tags": ["batches"],
        "operationId": name,
        "summary": what,
        "security": _SECURITY,
        "parameters": [_BATCH_ID] if of_one else [],
        "responses": {
            "200": {"description": "The provider's answer.", "content": {kind: {"schema": {"type": "object"}}}},
            **{status: _ERRORS[status] for status in ("400", "401", "403", "404", "429")},
        },
    }
    return {method: operation}


def _query(name: str, what: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": what, "schema": {"type": "string"}}


_MAKE_BATCH: dict[str, Any] = _batch("post", "create_message_batch", "Have messages answered within a day", of_one=False)
_MAKE_BATCH["post"]["requestBody"] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["requests"],
                "properties": {
                    "requests": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["custom_id", "params"],
                            "properties": {"custom_id": {"type": "string"}, "params": {"type": "object"}},
                        },
                    }
                },
            }
        }
    },
}
_LIST_BATCHES: dict[str, Any] = _batch("get", "list_message_batches", "The batches that this key made", of_one=False)
_LIST_BATCHES["get"]["parameters"] = [
    _query("limit", "From 1 to 1,000."),
    _query("after_id", "The last batch of the page before."),
    _query("before_id", "The first batch of the page that follows."),
]

INFERENCE: dict[str, Any] = {
    "/v1/chat/completions": _inference("create_chat_completion", "Chat", ["model", "messages"], streams=True),
    "/v1/responses": _inference("create_response", "Responses", ["model"], streams=True),
    "/v1/responses/input_tokens": _inference(
        "count_response_tokens", "The tokens of a response's input", ["model"], streams=False
    ),
    "/v1/responses/compact": _inference("compact_response", "A conversation, made shorter", ["model"], streams=False),
    "/v1/completions": _inference("create_completion", "Completions", ["model"], streams=True),
    "/v1/realtime": _REALTIME,
    "/v1/embeddings": _inference("create_embedding", "Embeddings", ["model", "input"], streams=False),
    "/v1/moderations": _inference(
        "create_moderation", "Moderation; without a model by `omni-moderation-latest`", ["input"], streams=False
    ),
    "/v1/images/generations": _inference("create_image", "Pictures", ["model", "prompt"], streams=True),
    "/v1/audio/speech": _with_sound(_inference("create_speech", "Speech", ["model", "input", "voice"], streams=False)),
    **{
        f"/{version}/rerank": _inference(
            f"rerank_{version}",
            "Documents by how well they fit a query",
            ["model", "query", "documents"],
            streams=False,
            whose="Cohere's, Jina's or Voyage's",
        )
        for version in ("v1", "v2")
    },
    "/v1/images/edits": _form("edit_image", "Pictures made of pictures", ["image", "mask"], streams=True),
    "/v1/images/variations": _form("vary_image", "Pictures like a picture", ["image"], streams=False),
    "/v1/audio/transcriptions": _form("transcribe", "What is said in a sound", ["file"], streams=True),
    "/v1/audio/translations": _form("translate", "What is said in a sound, in English", ["file"], streams=False),
    "/v1/messages": _inference(
        "create_message", "Messages", ["model", "messages", "max_tokens"], streams=True, whose="Anthropic's"
    ),
    "/v1/messages/count_tokens": _inference(
        "count_message_tokens", "The tokens of a message", ["model", "messages"], streams=False, whose="Anthropic's"
    ),
    **{
        f"/v1beta/models/{{model}}:{method}": _with_model(
            _inference(f"gemini_{method}", what, required, streams=method.startswith("stream"), whose="Gemini's")
        )
        for method, what, required in (
            ("generateContent", "Content", ["contents"]),
            ("streamGenerateContent", "Content, streamed: as events with `alt=sse`, else as one array", ["contents"]),
            ("countTokens", "The tokens of a content", []),
            ("embedContent", "An embedding", ["content"]),
            ("batchEmbedContents", "Embeddings", ["requests"]),
        )
    },
    "/v1beta/models": _listing("gemini_list_models", "The models this key may use, in Gemini's shape", parameters=[]),
    "/v1beta/models/{model}": _listing("gemini_get_model", "One model, in Gemini's shape", parameters=[_MODEL]),
    "/v1/models": _listing(
        "list_models",
        "The models this key may use; in Anthropic's shape with `anthropic-version`, in Gemini's with `x-goog-api-key`",
        parameters=[],
    ),
    "/v1/models/{model}": _listing(
        "get_model",
        "One model; the name may hold slashes",
        parameters=[_MODEL],
    ),
}

KEPT: dict[str, Any] = {
    "/v1/messages/batches": {**_MAKE_BATCH, **_LIST_BATCHES},
    "/v1/messages/batches/{message_batch_id}": {
        **_batch("get", "get_message_batch", "A batch of this key's"),
        **_batch("delete", "delete_message_batch", "Delete it and its answers"),
    },
    "/v1/messages/batches/{message_batch_id}/cancel": _batch(
        "post", "cancel_message_batch", "Stop it; what is done by then is charged"
    ),
    "/v1/messages/batches/{message_batch_id}/results": _batch(
        "get", "get_message_batch_results", "Its answers, one a line", kind="application/x-jsonl"
    ),
}
"""What Anthropic's clients ask about message batches; its files have the paths of OpenAI's."""
