"""Ollama and LM Studio, found by themselves, and asked for what each of their models can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fakes.local_servers import LMStudio, Ollama, running
from tests.process import Setting, tollway

HELLO: Any = [{"role": "user", "content": "hello"}]
PICTURE: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]}]
CHAT = ("POST", "/v1/chat/completions")
TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def test_what_they_say_of_their_models_decides_who_is_asked(tmp_path: Path) -> None:
    ollama, studio = Ollama(), LMStudio()
    with running(ollama.answer) as one, running(studio.answer) as other:
        setting = Setting("{}", {"OLLAMA_HOST": one, "LMSTUDIO_HOST": other})
        with tollway(tmp_path / "home", setting) as proxy, proxy.client() as client:
            seen = client.post("/chat/completions", json={"model": "auto", "messages": PICTURE, "tools": [TOOL]})
            explained = client.post("/route/explain", json={"model": "auto", "messages": HELLO}).json()
            vectors = client.post("/embeddings", json={"model": "ollama/nomic-embed-text:latest", "input": "a"})
            before = ollama.asked.count(CHAT)
            chat = client.post("/chat/completions", json={"model": "ollama/nomic-embed-text:latest", "messages": HELLO})
            said = proxy.stdout

    # One of them sees, and takes tools.
    assert (seen.status_code, seen.headers["x-tollway-model"]) == (200, "qwen3-vl:8b"), seen.text
    assert "text-embedding-nomic" not in str(explained.get("chosen"))
    assert vectors.json()["data"][0]["embedding"] == [0.5]
    assert (chat.status_code, chat.json()["error"]["code"]) == (400, "unsupported_endpoint"), chat.text
    assert ollama.asked.count(CHAT) == before
    assert "provider: ollama (OLLAMA_HOST; 4 models)" in said
    assert "provider: lmstudio (LMSTUDIO_HOST; 3 models)" in said
