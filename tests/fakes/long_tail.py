"""Three providers that are reached through litellm, as strict as their own HTTP APIs are documented to be.

Whatever they do not know they refuse in their own way.  A prompt says what they are to do: ``limit``, ``long``, ``fail``,
``tool``; ``watsonx is full`` is a limit of watsonx's alone, ``again and again`` many pieces of a stream that are all the same.
Sources: cloud.ibm.com/apidocs/watsonx-ai#text-chat, docs.snowflake.com/en/user-guide/snowflake-cortex/cortex-rest-api,
docs.databricks.com/aws/en/machine-learning/foundation-model-apis/api-reference, read 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.posts import Post, Said

ZEN, PAT, DAPI = "zen-0123456789abcdef", "pat-0123456789abcdef", "dapi0123456789abcdef"
ARGUMENTS = '{"city": "Kyōto"}'
TEXT = ("Good ", "morning")
AGAIN = 250


class Refused(Exception):
    """What one of them does not take."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass
class LongTail:
    """All three, at one address.  posts: what was asked."""

    posts: list[Post] = field(default_factory=list)

    def answer(self, post: Post) -> Said:
        """What they say."""
        self.posts.append(post)
        place = urlsplit(post.path).path
        asked = _ROUTES.get(place)
        if asked is None:
            return _json(404, {"message": f"no such place: {place}"})
        serve, refuse = asked
        try:
            return serve(post, json.loads(post.body))
        except Refused as error:
            said = _json(error.status, refuse(str(error), error.status))
            return Said(said.status, said.content_type, said.body, headers=error.headers)


def _known(body: dict[str, Any], *names: str) -> None:
    for name in body:
        if name not in names:
            raise Refused(400, f"unknown field: {name}")


def _ordered(prompt: Any) -> str:
    """What the prompt orders."""
    text = prompt if isinstance(prompt, str) else "".join(it.get("text", "") for it in prompt)
    if text == "limit":
        raise Refused(429, "rate limit reached", retry_after="7")
    if text == "long":
        raise Refused(400, "This model's maximum context length is 4096 tokens")
    if text == "fail":
        raise Refused(503, "the model is not loaded")
    return text


def _json(status: int, value: Any) -> Said:
    return Said(status, "application/json", json.dumps(value).encode())


def _events(events: Iterable[Any], *, named: bool = False, done: bool = True) -> Said:
    rows = [(f"event: {it['type']}\n" if named else "") + f"data: {json.dumps(it, ensure_ascii=False)}\n\n" for it in events]
    return Said(200, "text/event-stream", "".join([*rows, "data: [DONE]\n\n" if done else ""]).encode(), pieces=True)


# --- OpenAI's shapes, which two of them have nearly -----------------------------------------------------------------------


def _called(index: int) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "index": index, "function": {"name": "weather", "arguments": ARGUMENTS}}


def _completion(prompt: str, **more: Any) -> dict[str, Any]:
    tool = prompt == "tool"
    call = {key: value for key, value in _called(0).items() if key != "index"}
    message = {"role": "assistant", "content": None if tool else "".join(TEXT), **({"tool_calls": [call]} if tool else {})}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if tool else "stop"}
    return {"id": "chat-1", "created": 1_760_000_000, "choices": [choice], "usage": _usage(), **more}


def _usage() -> dict[str, int]:
    return {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}


def _chunks(prompt: str, **more: Any) -> list[dict[str, Any]]:
    if prompt == "tool":
        first, second = ARGUMENTS[:6], ARGUMENTS[6:]
        start = {**_called(0), "function": {"name": "weather", "arguments": first}}
        deltas: list[dict[str, Any]] = [
            {"role": "assistant", "content": None, "tool_calls": [start]},
            {"tool_calls": [{"index": 0, "function": {"arguments": second}}]},
        ]
    elif prompt == "again and again":
        deltas = [{"role": "assistant", "content": "again"}] * AGAIN
    else:
        deltas = [{"role": "assistant", "content": TEXT[0]}, {"content": TEXT[1]}]
    head = {"id": "chat-1", "created": 1_760_000_000, **more}
    reason = "tool_calls" if prompt == "tool" else "stop"
    rows = [{**head, "choices": [{"index": 0, "delta": it, "finish_reason": None}]} for it in deltas]
    last = {**head, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": reason}]}
    return [*rows, last, {**head, "choices": [], "usage": _usage()}]


# --- watsonx.ai -----------------------------------------------------------------------------------------------------------

_WATSONX = ("model_id", "project_id", "messages", "tools", "tool_choice_option", "tool_choice", "max_tokens", "temperature",
            "top_p", "seed", "stop", "n", "frequency_penalty", "presence_penalty", "response_format", "logprobs",
            "top_logprobs", "reasoning_effort")  # fmt: skip


def _watsonx(stream: bool) -> Callable[[Post, dict[str, Any]], Said]:
    def serve(post: Post, body: dict[str, Any]) -> Said:
        if post.headers.get("authorization") != f"ZenApiKey {ZEN}":
            raise Refused(401, "Failed to authenticate the request due to invalid credentials")
        if "version" not in parse_qs(urlsplit(post.path).query):
            raise Refused(400, "query parameter version is missing")
        # litellm says these two besides, which the API ignores.
        _known(body, "model", "stream", *_WATSONX)
        if body.get("model_id") != "ibm/granite" or body.get("project_id") != "project-1":
            raise Refused(404, "Model is not supported for this environment.")
        prompt = _ordered(body["messages"][-1]["content"])
        if prompt == "watsonx is full":
            raise Refused(429, "rate limit reached", retry_after="7")
        if not stream:
            return _json(200, _completion(prompt, model_id="ibm/granite", model_version="1.0.0"))
        return _events(_chunks(prompt, model_id="ibm/granite", object="chat.completion.chunk"), done=False)

    return serve


def _watsonx_refusal(message: str, status: int) -> dict[str, Any]:
    return {"errors": [{"code": "some_code", "message": message}], "trace": "t", "status_code": status}


# --- Snowflake Cortex, of Claude: Anthropic's words behind Snowflake's door -------------------------------------------------

_MESSAGES = ("model", "messages", "system", "max_tokens", "temperature", "top_p", "tools", "tool_choice", "stream", "thinking")


def _snowflake(post: Post, body: dict[str, Any]) -> Said:
    if post.headers.get("authorization") != f"Bearer {PAT}":
        raise Refused(401, "Programmatic access token is invalid.")
    if post.headers.get("x-snowflake-authorization-token-type") != "PROGRAMMATIC_ACCESS_TOKEN":
        raise Refused(401, "the type of the token is missing")
    if post.headers.get("anthropic-version") != "2023-06-01":
        raise Refused(400, "anthropic-version is missing")
    _known(body, *_MESSAGES)
    if body["model"] != "claude-sonnet" or "max_tokens" not in body:
        raise Refused(400, "unknown model, or no max_tokens")
    if any(set(tool) - {"name", "description", "input_schema"} for tool in body.get("tools", ())):
        raise Refused(400, "unknown field in a tool")
    prompt = _ordered(body["messages"][-1]["content"])
    usage = {"input_tokens": 6, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2, "output_tokens": 4}
    tool = prompt == "tool"
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": json.loads(ARGUMENTS)}
    reason = "tool_use" if tool else "end_turn"
    if not body.get("stream"):
        content = [call] if tool else [{"type": "text", "text": "".join(TEXT)}]
        return _json(200, {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet", "content": content,
                           "stop_reason": reason, "stop_sequence": None, "usage": usage})  # fmt: skip
    opened = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet", "content": [],
              "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}  # fmt: skip
    said = {"type": "text", "text": ""}
    pieces: list[dict[str, Any]] = [{"type": "text_delta", "text": "Let me see."}] if tool else [
        {"type": "text_delta", "text": it} for it in TEXT
    ]  # fmt: skip
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": opened},
        {"type": "content_block_start", "index": 0, "content_block": said},
        *({"type": "content_block_delta", "index": 0, "delta": it} for it in pieces),
        {"type": "content_block_stop", "index": 0},
    ]
    if tool:
        events += [
            {"type": "content_block_start", "index": 1, "content_block": {**call, "input": {}}},
            *(
                {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": it}}
                for it in (ARGUMENTS[:6], ARGUMENTS[6:])
            ),
            {"type": "content_block_stop", "index": 1},
        ]
    events += [
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": 4}},
        {"type": "message_stop"},
    ]
    return _events(events, named=True, done=False)


def _snowflake_open(post: Post, body: dict[str, Any]) -> Said:
    """Its other models: OpenAI's words, whose usage litellm loses in streams."""
    if post.headers.get("authorization") != f"Bearer {PAT}":
        raise Refused(401, "Programmatic access token is invalid.")
    _known(body, "model", "messages", "max_completion_tokens", "max_tokens", "temperature", "top_p", "stream", "tools")
    prompt = _ordered(body["messages"][-1]["content"])
    return _events(_chunks(prompt, object="chat.completion.chunk", model="llama"))


def _snowflake_refusal(message: str, status: int) -> dict[str, Any]:
    return {"message": message, "error_code": "390000", "request_id": "r"}


# --- Databricks -------------------------------------------------------------------------------------------------------------

_DATABRICKS = ("model", "messages", "max_tokens", "temperature", "top_p", "stop", "n", "stream", "tools", "tool_choice",
               "response_format", "reasoning_effort", "thinking", "top_k")  # fmt: skip


def _databricks(post: Post, body: dict[str, Any]) -> Said:
    if post.headers.get("authorization") != f"Bearer {DAPI}":
        raise Refused(401, "Credential was not sent or was of an unsupported type for this API.")
    _known(body, *_DATABRICKS)
    if body["model"] not in ("dbrx", "dbrx-2"):
        raise Refused(404, "Endpoint does not exist.")
    prompt = _ordered(body["messages"][-1]["content"])
    if not body.get("stream"):
        return _json(200, _completion(prompt, object="chat.completion", model="dbrx-2026"))
    return _events(_chunks(prompt, object="chat.completion.chunk", model="dbrx-2026"))


def _databricks_vectors(post: Post, body: dict[str, Any]) -> Said:
    if post.headers.get("authorization") != f"Bearer {DAPI}":
        raise Refused(401, "Credential was not sent or was of an unsupported type for this API.")
    _known(body, "model", "input", "instruction")
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    data = [{"object": "embedding", "index": index, "embedding": [0.5, -0.25]} for index, _ in enumerate(texts)]
    return _json(200, {"object": "list", "id": "e", "model": "gte", "data": data,
                       "usage": {"prompt_tokens": 5, "total_tokens": 5}})  # fmt: skip


def _databricks_refusal(message: str, status: int) -> dict[str, Any]:
    return {"error_code": "REQUEST_LIMIT_EXCEEDED" if status == 429 else "BAD_REQUEST", "message": message}


_ROUTES: dict[str, tuple[Callable[[Post, dict[str, Any]], Said], Callable[[str, int], dict[str, Any]]]] = {
    "/ml/v1/text/chat": (_watsonx(False), _watsonx_refusal),
    "/ml/v1/text/chat_stream": (_watsonx(True), _watsonx_refusal),
    "/api/v2/cortex/v1/messages": (_snowflake, _snowflake_refusal),
    "/api/v2/cortex/v1/chat/completions": (_snowflake_open, _snowflake_refusal),
    "/serving-endpoints/chat/completions": (_databricks, _databricks_refusal),
    "/serving-endpoints/embeddings": (_databricks_vectors, _databricks_refusal),
}
