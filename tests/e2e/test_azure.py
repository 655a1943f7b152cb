"""OpenAI's clients and Azure OpenAI: by both forms of its addresses, by a key and by a token of Entra."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

from tests.fakes.posts import Post, Said, serving
from tests.process import Setting, TollwayProcess, tollway

KEY, TOKEN = "azure-key-0123456789", "ey.entra.token"
ASK: Any = [{"role": "user", "content": "hello"}]
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
MESSAGE = {"role": "assistant", "content": "hi"}
CHAT = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-11-20", "usage": USAGE,
        "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop", "content_filter_results": {}}]}  # fmt: skip
FILTERED = {"error": {"code": "content_filter", "message": "The response was filtered", "param": "prompt", "status": 400}}
ENTRA = {"AZURE_TENANT_ID": "tenant-0123", "AZURE_CLIENT_ID": "app-0123456789", "AZURE_CLIENT_SECRET": "s3cret"}


class Azure:
    """One resource with the deployment ``my:gpt-4o``, and Entra beside it."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.url = ""

    def answer(self, post: Post) -> Said:
        self.posts.append(post)
        if post.path == "/login/tenant-0123/oauth2/v2.0/token":
            return Said(200, "application/json", json.dumps({"access_token": TOKEN, "expires_in": 3600}).encode())
        opened = post.headers.get("api-key") == KEY or post.headers.get("authorization") == f"Bearer {TOKEN}"
        if not opened or ("api-key" in post.headers and "authorization" in post.headers):
            return Said(401, "application/json", b'{"error":{"code":"401","message":"Access denied"}}')
        body = json.loads(post.body)
        if "filtered" in str(body["messages"]):
            return Said(400, "application/json", json.dumps(FILTERED).encode())
        if not body.get("stream"):
            return Said(200, "application/json", json.dumps(CHAT).encode())
        # What the filters found of the prompt comes first, without a choice.
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
        first = {**chunk, "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
        words = {**chunk, "choices": [{"index": 0, "delta": MESSAGE, "finish_reason": "stop"}]}
        last = {**chunk, "choices": [], "usage": USAGE}
        events = b"".join(b"data: " + json.dumps(it).encode() + b"\n\n" for it in (first, words, last))
        return Said(200, "text/event-stream", events + b"data: [DONE]\n\n", pieces=True)


@pytest.fixture(scope="module")
def azure() -> Iterator[Azure]:
    azure = Azure()
    with serving(azure.answer) as azure.url:
        yield azure


Start = Callable[..., openai.OpenAI]


@pytest.fixture
def client(azure: Azure, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(base_url: str, env: dict[str, str], **fields: str) -> tuple[openai.OpenAI, TollwayProcess]:
            row = {"base_url": base_url, "models": ["my:gpt-4o", "gpt-4o"], **fields}
            text = yaml.safe_dump({"providers": {"azure": row}})
            proxy = stack.enter_context(
                tollway(tmp_path / "home", Setting(text, {"AZURE_AUTHORITY_HOST": f"{azure.url}/login", **env}))
            )
            sdk = openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=20)
            return stack.enter_context(sdk), proxy

        yield start


def test_a_resource_is_asked_by_its_first_version_with_a_key(azure: Azure, client: Start) -> None:
    sdk, proxy = client(f"{azure.url}/", {"KEY": KEY}, api_key="env:KEY")

    answer = sdk.chat.completions.create(model="azure/gpt-4o", messages=ASK)
    with sdk.chat.completions.create(model="azure/gpt-4o", messages=ASK, stream=True) as stream:
        request_id = stream.response.headers["x-request-id"]
        chunks = list(stream)
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model="azure/gpt-4o", messages=[{"role": "user", "content": "filtered"}])

    assert answer.choices[0].message.content == "hi"
    assert {post.path for post in azure.posts} == {"/openai/v1/chat/completions"}
    assert json.loads(azure.posts[0].body)["model"] == "gpt-4o"
    assert "".join(it.delta.content or "" for chunk in chunks for it in chunk.choices) == "hi"
    for identity in (answer._request_id or "", request_id):
        usage = proxy.receipt(identity)["usage"]
        assert (usage["input_tokens"], usage["output_tokens"]) == (3, 4)
    assert refused.value.code == "content_filter"


def test_a_deployment_is_asked_by_its_url_with_a_token(azure: Azure, client: Start) -> None:
    before = len(azure.posts)
    sdk, _ = client(f"{azure.url}/openai/v1", ENTRA, api_version="2024-10-21")

    answers = [sdk.chat.completions.create(model="azure/my:gpt-4o", messages=ASK) for _ in range(2)]

    paths = [post.path for post in azure.posts[before:]]
    assert [it.choices[0].message.content for it in answers] == ["hi", "hi"]
    assert paths == [
        "/login/tenant-0123/oauth2/v2.0/token",
        "/openai/deployments/my%3Agpt-4o/chat/completions?api-version=2024-10-21",
        "/openai/deployments/my%3Agpt-4o/chat/completions?api-version=2024-10-21",
    ]


def test_a_resource_in_the_environment_is_found_by_itself(azure: Azure, tmp_path: Path) -> None:
    environ = {"AZURE_OPENAI_ENDPOINT": azure.url, "AZURE_OPENAI_API_KEY": KEY, "OPENAI_API_VERSION": "2024-10-21"}

    with tollway(tmp_path / "home", Setting("{}", environ)) as proxy:
        with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=20) as sdk:
            answer = sdk.chat.completions.create(model="azure/my:gpt-4o", messages=ASK)
        said = proxy.stdout

    assert answer.choices[0].message.content == "hi"
    assert azure.posts[-1].path == "/openai/deployments/my%3Agpt-4o/chat/completions?api-version=2024-10-21"
    assert "provider: azure (AZURE_OPENAI_API_KEY;" in said
