"""Ollama and LM Studio, as their own APIs are documented: what they list, say of their models, and answer.

Sources: github.com/ollama/ollama/blob/main/docs/api.md; lmstudio.ai/docs/developer/rest; read 2026-11.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]


@contextmanager
def running(answer: Callable[[str, str, bytes], Answer]) -> Iterator[str]:
    """A server's address, ``127.0.0.1:PORT``.  answer: of method, path and body; called in the threads of connections."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def _answer(self, method: str) -> None:
            asked = self.rfile.read(int(self.headers.get("content-length", "0")))
            status, value = answer(method, self.path, asked)
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Whoever answers keeps its own journal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), name="local server", daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
CHAT = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}  # fmt: skip
VECTORS = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
           "usage": {"prompt_tokens": 2, "total_tokens": 2}}  # fmt: skip


def listed(*names: str) -> Answer:
    """OpenAI's list."""
    return 200, {"object": "list", "data": [{"id": it, "object": "model", "created": 1, "owned_by": "library"} for it in names]}


SHOWN: dict[str, dict[str, Any]] = {
    "qwen3-vl:8b": {
        "modelfile": "FROM qwen3-vl",
        "parameters": "temperature 0.7\nnum_ctx                        16384\nstop \"<|im_end|>\"",
        "details": {"format": "gguf", "family": "qwen3vl", "parameter_size": "8B"},
        "model_info": {"general.architecture": "qwen3vl", "qwen3vl.context_length": 262144, "qwen3vl.block_count": 36},
        "capabilities": ["completion", "vision", "tools", "thinking"],
    },
    "gemma3:1b": {
        "details": {"format": "gguf", "family": "gemma3"},
        "model_info": {"general.architecture": "gemma3", "gemma3.context_length": 32768},
        "capabilities": ["completion"],
    },
    "nomic-embed-text:latest": {
        "details": {"format": "gguf", "family": "nomic-bert"},
        "model_info": {"general.architecture": "nomic-bert", "nomic-bert.context_length": 2048},
        "capabilities": ["embedding"],
    },
}  # fmt: skip


@dataclass
class Ollama:
    """Three models, of which one is loaded with less than it could take in.  asked: method and path of all that was asked."""

    asked: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """What it says."""
        self.asked.append((method, path))
        match method, path:
            case "GET", "/v1/models":
                return listed(*SHOWN, "removed:latest")
            case "GET", "/api/ps":
                loaded = {"name": "gemma3:1b", "model": "gemma3:1b", "size_vram": 1, "context_length": 4096}
                return 200, {"models": [loaded]}
            case "POST", "/api/show":
                asked = json.loads(body)
                if set(asked) != {"model"}:
                    return 400, {"error": "model is required"}
                shown = SHOWN.get(asked["model"])
                return (404, {"error": f"model '{asked['model']}' not found"}) if shown is None else (200, shown)
            case "POST", "/v1/chat/completions":
                return 200, CHAT
            case "POST", "/v1/embeddings":
                return 200, VECTORS
            case _:
                return 404, {"error": "not found"}


NEW = {
    "models": [
        {"type": "llm", "publisher": "google", "key": "google/gemma-3-4b", "display_name": "Gemma 3 4B",
         "architecture": "gemma3", "size_bytes": 1, "loaded_instances": [], "max_context_length": 131072, "format": "mlx",
         "capabilities": {"vision": True, "trained_for_tool_use": False}},
        {"type": "llm", "publisher": "qwen", "key": "qwen/qwen3-8b", "max_context_length": 40960,
         "loaded_instances": [{"id": "qwen/qwen3-8b:2", "config": {"context_length": 8192, "flash_attention": True}}],
         "capabilities": {"vision": False, "trained_for_tool_use": True}},
        {"type": "embedding", "key": "text-embedding-nomic", "max_context_length": 2048, "loaded_instances": []},
    ]
}  # fmt: skip
OLD = {
    "object": "list",
    "data": [
        {"id": "qwen2-vl-7b-instruct", "object": "model", "type": "vlm", "arch": "qwen2_vl", "state": "not-loaded",
         "max_context_length": 32768, "capabilities": ["tool_use"]},
        {"id": "meta-llama-3.1-8b-instruct", "object": "model", "type": "llm", "state": "loaded", "max_context_length": 131072,
         "loaded_context_length": 4096, "capabilities": []},
        {"id": "text-embedding-nomic", "object": "model", "type": "embeddings", "state": "not-loaded",
         "max_context_length": 2048},
    ],
}  # fmt: skip


@dataclass
class LMStudio:
    """With the newer list, or the older one alone; what it does not know it answers with 200, as it does.  asked: as above."""

    older: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str, _body: bytes) -> Answer:
        """What it says."""
        self.asked.append((method, path))
        match method, path:
            case "GET", "/v1/models":
                rows: list[dict[str, Any]] = OLD["data"] if self.older else NEW["models"]  # type: ignore[assignment]
                return listed(*(it["id"] if self.older else it["key"] for it in rows))
            case "GET", "/api/v1/models" if not self.older:
                return 200, NEW
            case "GET", "/api/v0/models":
                return 200, OLD
            case _:
                return 200, {"error": f"Unexpected endpoint or method. ({method} {path})"}
