"""OpenAI's and Anthropic's clients and Vertex AI: recorded answers of Gemini, and Claude beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fakes.posts import Post, Said, serving
from tests.process import Setting, TollwayProcess, tollway
from tests.recordings import recordings

TOKEN = "ya29.token-0123456789"
ASK: Any = [{"role": "user", "content": "hello"}]
GEMINI = next(it for it in recordings("vertex") if it.status == 200 and b'"text"' in it.body and ":generate" in it.path)
MESSAGE = {"id": "msg_vrtx_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
           "stop_sequence": None, "content": [{"type": "text", "text": "hi"}],
           "usage": {"input_tokens": 3, "output_tokens": 4}}  # fmt: skip


class Vertex:
    """Google's token service, and two publishers of a project."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.url = ""

    def answer(self, post: Post) -> Said:
        self.posts.append(post)
        if post.path == "/token":
            return Said(200, "application/json", json.dumps({"access_token": TOKEN, "expires_in": 3599}).encode())
        if post.headers.get("authorization") != f"Bearer {TOKEN}":
            return Said(401, "application/json", b'{"error":{"code":401,"message":"no","status":"UNAUTHENTICATED"}}')
        match post.path.partition("/publishers/")[2]:
            case "google/models/gemini-3-flash:generateContent":
                return Said(200, "application/json; charset=UTF-8", GEMINI.body)
            case "google/models/gemini-3-flash:streamGenerateContent?alt=sse":
                return Said(200, "text/event-stream", b"data: " + GEMINI.body + b"\r\n\r\n", pieces=True)
            case "anthropic/models/claude-sonnet-4-5@20250929:rawPredict":
                body = json.loads(post.body)
                problem = "model" in body or body["anthropic_version"] != "vertex-2023-10-16"
                return Said(400 if problem else 200, "application/json", json.dumps(MESSAGE).encode())
            case _:
                return Said(404, "application/json", b'{"error":{"code":404,"message":"no model","status":"NOT_FOUND"}}')


@pytest.fixture(scope="module")
def vertex() -> Iterator[Vertex]:
    vertex = Vertex()
    with serving(vertex.answer) as vertex.url:
        yield vertex


def key_file(path: Path, token_url: str) -> str:
    """A service account's, as Google gives it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    said = {"type": "service_account", "client_email": "g@p.iam", "private_key": pem.decode(), "token_uri": token_url}
    path.write_text(json.dumps(said))
    return str(path)


@pytest.fixture(scope="module")
def proxy(vertex: Vertex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    folder = tmp_path_factory.mktemp("vertex")
    file = key_file(folder / "key.json", f"{vertex.url}/token")
    common = {"base_url": vertex.url, "project": "my-project", "credentials_file": file}
    rows = {
        "vertex": {**common, "models": ["gemini-3-flash", "gone"]},
        "vertex-anthropic": {**common, "region": "europe-west1", "models": ["claude-sonnet-4-5@20250929"]},
    }
    with tollway(folder / "home", Setting(yaml.safe_dump({"providers": rows}), {})) as proxy:
        yield proxy


@pytest.fixture
def sdk(proxy: TollwayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=20) as sdk:
        yield sdk


def test_gemini_answers_and_is_metered(proxy: TollwayProcess, sdk: openai.OpenAI, vertex: Vertex) -> None:
    was = json.loads(GEMINI.body)

    answer = sdk.chat.completions.create(model="vertex/gemini-3-flash", messages=ASK)

    parts = was["candidates"][0]["content"]["parts"]
    assert answer.choices[0].message.content == "".join(it["text"] for it in parts if "text" in it and not it.get("thought"))
    assert proxy.receipt(answer._request_id or "")["usage"]["input_tokens"] == was["usageMetadata"]["promptTokenCount"]
    place = "/v1beta1/projects/my-project/locations/global/publishers/google/models/gemini-3-flash:generateContent"
    assert vertex.posts[-1].path == place


def test_gemini_streams(sdk: openai.OpenAI) -> None:
    chunks = list(sdk.chat.completions.create(model="vertex/gemini-3-flash", messages=ASK, stream=True))

    assert "".join(it.delta.content or "" for chunk in chunks for it in chunk.choices)


def test_claude_answers_a_client_of_its_own_protocol(proxy: TollwayProcess, vertex: Vertex) -> None:
    root = proxy.base_url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=root, api_key=proxy.api_key, max_retries=0, timeout=20) as sdk:
        answer = sdk.messages.create(model="vertex-anthropic/claude-sonnet-4-5@20250929", max_tokens=9, messages=ASK)

    assert [it.type for it in answer.content] == ["text"]
    assert answer.usage.output_tokens == 4
    assert vertex.posts[-1].path.startswith("/v1/projects/my-project/locations/europe-west1/publishers/anthropic/")


def test_claude_answers_another_client(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="vertex-anthropic/claude-sonnet-4-5@20250929", messages=ASK)

    assert answer.choices[0].message.content == "hi"


def test_one_token_is_enough_for_a_project(sdk: openai.OpenAI, vertex: Vertex) -> None:
    with pytest.raises(openai.NotFoundError):
        sdk.chat.completions.create(model="vertex/gone", messages=ASK)

    # One for each of the two publishers.
    assert sum(post.path == "/token" for post in vertex.posts) <= 2
