"""A provider for coding agents, in four protocols: a model that reads the file it is asked about, and says what is in it.

What a request asks is read, and answers are written, by other means than the codecs.  The model is simple: asked for the
first time, by a client that has a tool it knows for reading files, it calls the tool; told what the tool gave, it says that.
A client without such a tool is told ``WORDS``.  Every request is kept, and what breaks its protocol with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.posts import Post, Said, serving

Json = dict[str, Any]

WORDS = "No file was asked for: 1 € 😀."
THOUGHT = "I should look."
FILE = "note.txt"
KEY = "sk-upstream-0123456789abcdef"
CALLS: Mapping[str, Callable[[str], Json]] = {
    "Read": lambda folder: {"file_path": f"{folder}/{FILE}"},
    "exec_command": lambda folder: {"cmd": f"cat {folder}/{FILE}"},
    "shell_command": lambda folder: {"command": f"cat {folder}/{FILE}"},
    "shell": lambda folder: {"command": ["cat", f"{folder}/{FILE}"]},
    # A custom tool of Codex' newer models, which takes a program; elsewhere it is a function with one text.
    "functions__exec": lambda folder: {
        "input": f'const it = await tools.exec_command({{cmd: "cat {folder}/{FILE}"}});\ntext(it.output);'
    },
    "read_file": lambda folder: {"file_path": f"{folder}/{FILE}"},
    "read": lambda folder: {"filePath": f"{folder}/{FILE}"},
}
"""How the tools of the known agents are called to read the file."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a request asks.  tools: their names; free: of those that take text.  results: what tools gave, of all turns."""

    model: str
    stream: bool
    tools: tuple[str, ...]
    results: tuple[str, ...]
    free: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool; its arguments are sent in two pieces."""

    name: str
    arguments: Json

    @property
    def pieces(self) -> tuple[str, str]:
        """The arguments' JSON."""
        text = json.dumps(self.arguments)
        return text[: len(text) // 2], text[len(text) // 2 :]


@dataclass
class Agents:
    """The server's journal.  problems: where requests broke their protocol."""

    folder: str
    seen: list[Post] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def answer(self, post: Post) -> Said:
        """What this request is answered."""
        self.seen.append(post)
        path = post.path.partition("?")[0]
        spoken = next((it for end, it in PROTOCOLS.items() if end in path), None)
        if spoken is None:
            self.problems.append(f"no such path: {post.path}")
            return Said(404, "application/json", b'{"error":{"message":"no such path"}}')
        read, write, header, value = spoken
        if post.headers.get(header) != value:
            self.problems.append(f"{post.path}: {header} is {post.headers.get(header)!r}")
        try:
            turn = read(post, json.loads(post.body))
        except (KeyError, TypeError, ValueError) as error:
            self.problems.append(f"{post.path}: {error!r}")
            return Said(400, "application/json", json.dumps({"error": {"message": repr(error)}}).encode())
        body = write(turn, self._said(turn))
        kind = "text/event-stream" if turn.stream else "application/json"
        return Said(200, kind, body, pieces=turn.stream)

    def _said(self, turn: Turn) -> str | Call:
        if turn.results:
            return f"The file says: {turn.results[-1]}"
        name = next((it for it in CALLS if it in turn.tools), None)
        return WORDS if name is None else Call(name, CALLS[name](self.folder))


@contextmanager
def agents(folder: str) -> Iterator[tuple[str, Agents]]:
    """The server's address and its journal.  folder: where the file is."""
    journal = Agents(folder)
    with serving(journal.answer) as url:
        yield url, journal


def _text(content: Any) -> str:
    """The words of a content, whether a text or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(it.get("text") or it.get("output") or "" for it in content or ())


def _events(events: list[Json], *, named: bool) -> bytes:
    lines = []
    for event in events:
        head = f"event: {event['type']}\n" if named else ""
        lines.append(f"{head}data: {json.dumps(event)}\n\n")
    return "".join(lines).encode()


# --- messages ----------------------------------------------------------------------------------------------------------


def _read_messages(post: Post, body: Json) -> Turn:
    if not post.headers["anthropic-version"]:
        raise ValueError("no version")
    blocks = [it for message in body["messages"] if isinstance(message["content"], list) for it in message["content"]]
    results = tuple(_text(it.get("content")) for it in blocks if it["type"] == "tool_result")
    called = {it["id"] for it in blocks if it["type"] == "tool_use"}
    answered = {it["tool_use_id"] for it in blocks if it["type"] == "tool_result"}
    if called != answered:
        raise ValueError(f"calls {called} and results {answered}")
    if not isinstance(body["max_tokens"], int):
        raise TypeError("max_tokens")
    tools = tuple(it["name"] for it in body.get("tools") or ())
    return Turn(body["model"], bool(body.get("stream")), tools, results)


def _write_messages(turn: Turn, said: str | Call) -> bytes:
    usage = {"input_tokens": 100, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 3, "output_tokens": 7}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": turn.model}
    end = {"stop_reason": "end_turn" if isinstance(said, str) else "tool_use", "stop_sequence": None}
    block: Json = {"type": "text", "text": said} if isinstance(said, str) else {
        "type": "tool_use", "id": "toolu_1", "name": said.name, "input": said.arguments
    }  # fmt: skip
    if not turn.stream:
        return json.dumps({**head, "content": [block], **end, "usage": usage}).encode()
    begun = {**block, "text": ""} if isinstance(said, str) else {**block, "input": {}}
    pieces: list[Json] = (
        [{"type": "text_delta", "text": said[:9]}, {"type": "text_delta", "text": said[9:]}]
        if isinstance(said, str)
        else [{"type": "input_json_delta", "partial_json": it} for it in said.pieces]
    )
    first = {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}
    return _events(
        [
            {"type": "message_start", "message": first},
            {"type": "ping"},
            {"type": "content_block_start", "index": 0, "content_block": begun},
            *({"type": "content_block_delta", "index": 0, "delta": it} for it in pieces),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": end, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        ],
        named=True,
    )


# --- chat completions --------------------------------------------------------------------------------------------------


def _read_chat(post: Post, body: Json) -> Turn:
    del post
    asked = {call["id"] for it in body["messages"] for call in it.get("tool_calls") or ()}
    told = [it for it in body["messages"] if it["role"] == "tool"]
    if asked != {it["tool_call_id"] for it in told}:
        raise ValueError(f"calls {asked} and results {[it['tool_call_id'] for it in told]}")
    tools = tuple(it[it["type"]]["name"] for it in body.get("tools") or ())
    free = tuple(it["custom"]["name"] for it in body.get("tools") or () if it["type"] == "custom")
    return Turn(body["model"], bool(body.get("stream")), tools, tuple(_text(it["content"]) for it in told), free)


def _chat_call(turn: Turn, call: Call) -> Json:
    if call.name in turn.free:
        return {"type": "custom", "custom": {"name": call.name, **call.arguments}}
    return {"type": "function", "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}


def _write_chat(turn: Turn, said: str | Call) -> bytes:
    usage = {"prompt_tokens": 120, "completion_tokens": 7, "total_tokens": 127, "prompt_tokens_details": {"cached_tokens": 20}}
    head = {"id": "chatcmpl-1", "created": 1, "model": turn.model}
    finish = "stop" if isinstance(said, str) else "tool_calls"
    if not turn.stream:
        message: Json = {"role": "assistant", "content": said if isinstance(said, str) else None}
        if isinstance(said, Call):
            message["tool_calls"] = [{"id": "call_1", **_chat_call(turn, said)}]
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    deltas: list[Json] = [{"role": "assistant", "content": "" if isinstance(said, str) else None}]
    if isinstance(said, str):
        deltas += [{"content": said[:9]}, {"content": said[9:]}]
    elif said.name in turn.free:
        deltas.append({"tool_calls": [{"index": 0, "id": "call_1", **_chat_call(turn, said)}]})
    else:
        deltas.append({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                                       "function": {"name": said.name, "arguments": ""}}]})  # fmt: skip
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": it}}]} for it in said.pieces]
    head["object"] = "chat.completion.chunk"
    chunks: list[Json] = [{**head, "choices": [{"index": 0, "delta": it, "finish_reason": None}]} for it in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({**head, "choices": [], "usage": usage})
    return _events(chunks, named=False) + b"data: [DONE]\n\n"


# --- responses ---------------------------------------------------------------------------------------------------------


def _read_responses(post: Post, body: Json) -> Turn:
    del post
    items = body["input"] if isinstance(body["input"], list) else []
    called = {it["call_id"] for it in items if it.get("type") in ("function_call", "custom_tool_call")}
    told = [it for it in items if it.get("type") in ("function_call_output", "custom_tool_call_output")]
    if called != {it["call_id"] for it in told}:
        raise ValueError(f"calls {called} and results {told}")
    own = [*(body.get("tools") or ()), *(tool for it in items if it.get("type") == "additional_tools" for tool in it["tools"])]
    groups = [it for it in own if it["type"] == "namespace"]
    tools = [it["name"] for it in own if it["type"] in ("function", "custom")]
    tools += [f"{group['name']}__{it['name']}" for group in groups for it in group["tools"]]
    free = [f"{group['name']}__{it['name']}" for group in groups for it in group["tools"] if it["type"] == "custom"]
    results = tuple(_text(it["output"]) for it in told)
    return Turn(body["model"], bool(body.get("stream")), tuple(tools), results, tuple(free))


def _write_responses(turn: Turn, said: str | Call) -> bytes:
    usage = {"input_tokens": 120, "input_tokens_details": {"cached_tokens": 20}, "output_tokens": 7,
             "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 127}  # fmt: skip
    part = {"type": "output_text", "text": said if isinstance(said, str) else "", "annotations": []}
    item: Json = (
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "status": "completed", **said.arguments,
         **dict(zip(("namespace", "name"), said.name.split("__"), strict=True))}
        if isinstance(said, Call) and said.name in turn.free
        else {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
        if isinstance(said, str)
        else {"type": "function_call", "id": "fc_1", "call_id": "call_1", "status": "completed", "name": said.name,
              "arguments": json.dumps(said.arguments)}
    )  # fmt: skip
    head = {"id": "resp_1", "object": "response", "created_at": 1, "model": turn.model, "error": None,
            "incomplete_details": None, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}  # fmt: skip
    whole = {**head, "status": "completed", "output": [item], "usage": usage}
    if not turn.stream:
        return json.dumps(whole).encode()
    begun = {**head, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": item["id"], "output_index": 0}
    middle: list[Json]
    if isinstance(said, str):
        at = {**place, "content_index": 0}
        middle = [
            {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": [], "status": "in_progress"}},
            {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
            {"type": "response.output_text.delta", **at, "delta": said[:9]},
            {"type": "response.output_text.delta", **at, "delta": said[9:]},
            {"type": "response.output_text.done", **at, "text": said},
            {"type": "response.content_part.done", **at, "part": part},
        ]
    elif item["type"] == "custom_tool_call":
        middle = [
            {"type": "response.output_item.added", "output_index": 0, "item": {**item, "input": "", "status": "in_progress"}},
            {"type": "response.custom_tool_call_input.delta", **place, "delta": item["input"]},
            {"type": "response.custom_tool_call_input.done", **place, "input": item["input"]},
        ]
    else:
        middle = [
            {"type": "response.output_item.added", "output_index": 0,
             "item": {**item, "arguments": "", "status": "in_progress"}},
            *({"type": "response.function_call_arguments.delta", **place, "delta": it} for it in said.pieces),
            {"type": "response.function_call_arguments.done", **place, "arguments": item["arguments"]},
        ]  # fmt: skip
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        *middle,
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return _events([{**it, "sequence_number": number} for number, it in enumerate(events)], named=True)


# --- generated content -------------------------------------------------------------------------------------------------


def _read_contents(post: Post, body: Json) -> Turn:
    parts = [part for it in body["contents"] for part in it["parts"]]
    called = [it["functionCall"]["name"] for it in parts if "functionCall" in it]
    told = [it["functionResponse"] for it in parts if "functionResponse" in it]
    if called != [it["name"] for it in told]:
        raise ValueError(f"calls {called} and results {told}")
    declared = [it for tool in body.get("tools") or () for it in tool.get("functionDeclarations") or ()]
    model = post.path.partition("/models/")[2].partition(":")[0]
    # The AI SDK says the tool's name first.
    results = tuple(str([*it["response"].values(), ""][it["response"].get("name") == it["name"]]) for it in told)
    return Turn(model, ":streamGenerateContent" in post.path, tuple(it["name"] for it in declared), results)


def _write_contents(turn: Turn, said: str | Call) -> bytes:
    usage = {"promptTokenCount": 120, "cachedContentTokenCount": 20, "candidatesTokenCount": 5, "thoughtsTokenCount": 2,
             "totalTokenCount": 127}  # fmt: skip
    head = {"modelVersion": turn.model, "responseId": "resp-1"}
    parts: list[Json] = [{"text": THOUGHT, "thought": True}]
    if isinstance(said, str):
        parts += [{"text": said[:9]}, {"text": said[9:]}]
    else:
        call = {"name": said.name, "args": said.arguments}
        parts.append({"functionCall": call, "thoughtSignature": "c2lnbmF0dXJl"})
    if not turn.stream:
        candidate = {"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
        return json.dumps({**head, "candidates": [candidate], "usageMetadata": usage}).encode()
    chunks: list[Json] = [
        {**head, "candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}}], "usageMetadata": usage}
        for part in parts
    ]
    chunks[-1]["candidates"][0]["finishReason"] = "STOP"
    return _events(chunks, named=False)


PROTOCOLS: Mapping[str, tuple[Callable[[Post, Json], Turn], Callable[[Turn, str | Call], bytes], str, str]] = {
    "/messages": (_read_messages, _write_messages, "x-api-key", KEY),
    "/chat/completions": (_read_chat, _write_chat, "authorization", f"Bearer {KEY}"),
    "/responses": (_read_responses, _write_responses, "authorization", f"Bearer {KEY}"),
    "enerateContent": (_read_contents, _write_contents, "x-goog-api-key", KEY),
}
"""By the end of a path: how a request is read, how an answer is written, and the header that opens the door."""
