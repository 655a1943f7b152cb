"""Real exchanges with providers, recorded, one frozen struct each.  ``tests/wire/README.md`` says whose they are."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

WIRE = Path(__file__).parent / "wire"
OTHERS = ("anthropic",)
"""Providers that speak another protocol."""
ENDPOINTS = ("chat/completions", "completions", "embeddings", "responses")
PROVIDERS = ("cerebras", "deepseek", "groq", "huggingface", "mistral", "ollama", "openai", "openrouter", "zai")


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded exchange.

    request: the JSON object that was posted, empty if it was not kept whole.
    body: the answer's bytes as they would be on the wire.
    path: what was posted to, ``prefix + "/" + endpoint``.   retry_after: that header's value, if it was sent.
    """

    name: str
    provider: str
    path: str
    endpoint: str
    request: dict[str, Any]
    status: int
    content_type: str
    body: bytes
    retry_after: str | None = None

    @property
    def id(self) -> str:
        """Unique among all recordings."""
        return f"{self.provider}:{self.name}"

    @property
    def model(self) -> str:
        """The upstream model that was asked."""
        return str(self.request["model"])

    @property
    def prefix(self) -> str:
        """The path of the base URL that was used."""
        return self.path.removesuffix("/" + self.endpoint)

    @property
    def streamed(self) -> bool:
        """Whether the answer is an event stream."""
        return self.content_type.startswith(("text/event-stream", "application/vnd.amazon.eventstream"))

    @property
    def asks_usage(self) -> bool:
        """Whether the request has ``stream_options.include_usage``."""
        return bool((self.request.get("stream_options") or {}).get("include_usage"))


def _endpoint(path: str) -> str:
    """The longest known endpoint that the path ends in; for another protocol than OpenAI's the end of the path."""
    bare = path.partition("?")[0]
    return max((name for name in ENDPOINTS if bare.endswith("/" + name)), key=len, default=bare.rpartition("/v1/")[2])


def _request(said: Any) -> dict[str, Any]:
    """The object that was posted; some recordings have its text."""
    if not isinstance(said, str):
        return dict(said)
    try:
        return dict(json.loads(said))
    except ValueError:
        return {}


def _recording(provider: str, line: str) -> Recording:
    row = json.loads(line)
    answer = row["response"]
    data = base64.b64decode(answer["b64"]) if isinstance(answer, dict) and answer.keys() == {"b64"} else b""
    # OpenAI indents its JSON, the others do not; the recordings kept the values only.
    indent = 2 if provider == "openai" else None
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, indent=indent)
    return Recording(
        name=row["name"],
        provider=provider,
        path=row["path"],
        endpoint=_endpoint(row["path"]),
        request=_request(row["request"]),
        status=row["status"],
        content_type=row["content_type"],
        body=data or text.encode(),
        retry_after=row.get("retry_after"),
    )


@cache
def recordings(provider: str) -> tuple[Recording, ...]:
    """The recorded exchanges of one provider, in the file's order."""
    lines = (WIRE / f"{provider}.jsonl").read_text(encoding="utf-8").split("\n")
    return tuple(_recording(provider, line) for line in lines if line)


def every() -> tuple[Recording, ...]:
    """All recordings of all providers."""
    return tuple(recording for provider in PROVIDERS for recording in recordings(provider))
