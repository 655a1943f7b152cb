"""Clients of Anthropic's and Gemini's protocols: who they are, what they are listed, how they are refused, what passes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import msgspec
import pytest

from proxy.routing.policy import POLICIES
from tests.fakes.replaying import Replaying
from tests.process import API_KEY, Setting, TollwayProcess, tollway
from tests.recordings import Recording, recordings

with warnings.catch_warnings():
    # Compiled for the first time, it warns of its own backslashes.
    warnings.simplefilter("ignore")
    from google import genai
    from google.genai import errors as genai_errors
    from google.genai import types

OWN = {
    f"{provider}-{at}": recording
    for provider in ("anthropic", "gemini")
    for at, recording in enumerate(recordings(provider))
    if "chat/completions" not in recording.path
}
CONFIG = """
server: {{key_in_query: true}}
providers:
  anthropic: {{api_key: env:K, base_url: '{url}/anthropic/v1', models: [claude]}}
  gemini: {{api_key: env:K, base_url: '{url}/gemini/v1beta', models: [flash]}}
  openai: {{api_key: env:K, base_url: '{url}/openai/v1', models: [gpt, small]}}
  own-claude: {{type: anthropic, api_key: env:K, base_url: '{url}/anthropic/v1'}}
  own-gemini: {{type: gemini, api_key: env:K, base_url: '{url}/gemini/v1beta'}}
retries: {{max_attempts: 1}}
circuit_breaker: {{enabled: false}}
limits: {{adaptive: {{enabled: false}}}}
cache: {{mode: on}}
"""
HELLO = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
MESSAGES = {"max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
NO_CACHE = {"x-tollway-cache": "off"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Replaying]:
    with Replaying(OWN) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy(upstream: Replaying, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    setting = Setting(CONFIG.format(url=upstream.url), {"K": "sk-upstream-0123456789abcdef"})
    with tollway(tmp_path_factory.mktemp("inbound"), setting) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def client(proxy: TollwayProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=proxy.base_url.removesuffix("/v1"), timeout=20, trust_env=False) as client:
        client.headers.update({"x-api-key": API_KEY, **NO_CACHE})
        yield client


# --- who they are ------------------------------------------------------------------------------------------------------

KEYS = [{"x-api-key": API_KEY}, {"x-goog-api-key": API_KEY}, {"authorization": f"Bearer {API_KEY}"}]


@pytest.mark.parametrize("headers", [*KEYS, {**KEYS[0], **KEYS[2]}], ids=["anthropic", "google", "bearer", "two alike"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1beta/models"])
def test_a_key_opens_under_the_name_that_its_protocol_has(proxy: TollwayProcess, headers: dict[str, str], path: str) -> None:
    root = proxy.base_url.removesuffix("/v1")

    assert httpx.get(root + path, headers=headers, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": "tw-bad"}, {**KEYS[0], "authorization": "Bearer tw-other"}], ids=["none", "bad", "two unlike"]
)
def test_no_key_a_bad_one_and_two_that_differ_are_refused_alike(proxy: TollwayProcess, headers: dict[str, str]) -> None:
    answer = httpx.post(f"{proxy.base_url}/messages", headers=headers, json={"model": "claude", **MESSAGES}, trust_env=False)

    assert answer.status_code == 401
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "authentication_error"


def test_a_key_in_the_url_opens_geminis_paths_alone(proxy: TollwayProcess) -> None:
    root = proxy.base_url.removesuffix("/v1")

    assert httpx.get(f"{root}/v1beta/models?key={API_KEY}", trust_env=False).status_code == 200
    assert httpx.get(f"{root}/v1/models?key={API_KEY}", trust_env=False).status_code == 401


# --- what they are listed ----------------------------------------------------------------------------------------------


def test_models_are_listed_in_anthropics_shape(client: httpx.Client) -> None:
    headers = {"anthropic-version": "2023-06-01"}

    page = client.get("/v1/models?limit=2", headers=headers).json()
    rest = client.get(f"/v1/models?after_id={page['last_id']}", headers=headers).json()
    one = client.get("/v1/models/anthropic/claude", headers=headers).json()
    auto = client.get("/v1/models/auto", headers=headers).json()

    assert [it["id"] for it in (*page["data"], *rest["data"])] == [
        "anthropic/claude",
        "gemini/flash",
        "openai/gpt",
        "openai/small",
        *POLICIES,
    ]
    assert (page["has_more"], rest["has_more"]) == (True, False)
    assert (one["type"], one["id"], one["created_at"][-1]) == ("model", "anthropic/claude", "Z")
    assert (auto["type"], auto["id"]) == ("model", "auto")


def test_models_are_listed_in_geminis_shape(client: httpx.Client) -> None:
    page = client.get("/v1beta/models?pageSize=3").json()
    rest = client.get(f"/v1beta/models?pageToken={page['nextPageToken']}").json()
    one = client.get("/v1beta/models/openai/gpt").json()

    assert [it["name"] for it in page["models"]] == ["models/anthropic/claude", "models/gemini/flash", "models/openai/gpt"]
    assert [it["name"] for it in rest["models"]] == ["models/openai/small", *(f"models/{name}" for name in POLICIES)]
    assert "nextPageToken" not in rest
    assert one["name"] == "models/openai/gpt"
    assert "generateContent" in one["supportedGenerationMethods"]


# --- how they are refused ----------------------------------------------------------------------------------------------


def test_anthropics_clients_are_refused_in_its_shape(client: httpx.Client) -> None:
    answer = client.post("/v1/messages", json={"model": "nobody", **MESSAGES})

    assert answer.status_code == 404
    body = answer.json()
    assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
    assert body["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-tollway-error"] == "model_not_found"


def test_geminis_clients_are_refused_in_its_shape(client: httpx.Client) -> None:
    answer = client.post("/v1beta/models/nobody:generateContent", json=HELLO)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (404, 404, "NOT_FOUND")
    assert error["details"][0]["reason"] == "model_not_found"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/messages", {"model": "openai/gpt", **MESSAGES, "container": "c"}, "container"),
        ("/v1beta/models/openai/gpt:generateContent", {**HELLO, "cachedContent": "c"}, "cachedContent"),
        ("/v1/chat/completions", {"model": "anthropic/claude", "messages": MESSAGES["messages"], "n": 2}, "n"),
    ],
)
def test_what_no_provider_could_be_told_is_refused_by_name_and_nothing_is_sent(
    proxy: TollwayProcess, client: httpx.Client, path: str, body: dict[str, Any], field: str
) -> None:
    answer = client.post(path, json=body, headers=KEYS[2])

    assert answer.status_code == 400
    assert f"'{field}'" in answer.text
    assert proxy.entries(answer.headers["x-request-id"]) == []


def test_a_refused_request_of_the_providers_keeps_its_status_in_the_clients_shape(client: httpx.Client) -> None:
    (name,) = (name for name, it in OWN.items() if it.status == 404)

    own = client.post("/v1/messages", json={"model": f"own-claude/{name}", **MESSAGES})
    other = client.post(f"/v1beta/models/own-claude/{name}:generateContent", json=HELLO)

    assert (own.status_code, own.json()["error"]["type"]) == (404, "not_found_error")
    assert (other.status_code, other.json()["error"]["status"]) == (404, "NOT_FOUND")
    assert own.json()["error"]["message"] == other.json()["error"]["message"]


# --- what passes through -----------------------------------------------------------------------------------------------


def asked(name: str, recording: Recording) -> tuple[str, dict[str, Any]]:
    """The path and the body with which a client asks for the recording in its own protocol."""
    if name.startswith("anthropic"):
        return f"/v1/{recording.endpoint}", {**recording.request, "model": f"own-claude/{name}"}
    body = json.loads(recording.request) if isinstance(recording.request, str) else recording.request
    return f"/v1beta/models/own-gemini/{name}:{recording.path.rpartition(':')[2]}", body


@pytest.mark.parametrize(("name", "recording"), OWN.items(), ids=OWN)
def test_a_recorded_exchange_passes_in_its_own_protocol(
    upstream: Replaying, client: httpx.Client, name: str, recording: Recording
) -> None:
    path, body = asked(name, recording)

    answer = client.post(path, json=body, headers={"anthropic-beta": "some-beta"})

    seen = upstream.seen[name]
    assert answer.status_code == recording.status
    if recording.status == 200:
        assert answer.content == recording.body
    assert without_model(seen.json) == without_model(body)
    if path.startswith("/v1/messages"):
        assert seen.json["model"] == name
        assert (seen.headers["anthropic-beta"], seen.headers["anthropic-version"]) == ("some-beta", "2023-06-01")
        assert "x-goog-api-key" not in seen.headers and seen.headers["x-api-key"].startswith("sk-")
        assert answer.headers["request-id"] == answer.headers["x-request-id"]
    else:
        assert seen.path.removesuffix("?alt=sse") == f"/gemini/v1beta/models/{name}:{path.rpartition(':')[2].partition('?')[0]}"
        assert "x-api-key" not in seen.headers and seen.headers["x-goog-api-key"].startswith("sk-")


def without_model(body: Any) -> Any:
    """The body without the names of models, which are the upstream's there."""
    if isinstance(body, dict):
        return {name: without_model(value) for name, value in body.items() if name != "model"}
    return [without_model(it) for it in body] if isinstance(body, list) else body


STREAMED = next(name for name, it in OWN.items() if it.streamed and name.startswith("gemini"))


def test_a_stream_that_is_not_asked_for_as_events_is_one_array(client: httpx.Client) -> None:
    answer = client.post(f"/v1beta/models/own-gemini/{STREAMED}:streamGenerateContent", json=HELLO)

    own = [json.loads(event[6:]) for event in OWN[STREAMED].body.replace(b"\r\n", b"\n").split(b"\n\n") if event.strip()]
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == own


def test_an_upstream_may_answer_with_one_array_to_whoever_asks_for_a_stream(
    upstream: Replaying, proxy: TollwayProcess, client: httpx.Client
) -> None:
    own = OWN[STREAMED]
    elements = [json.loads(event[6:]) for event in own.body.replace(b"\r\n", b"\n").split(b"\n\n") if event.strip()]
    body = json.dumps(elements, indent=2).encode()
    upstream.recordings["array"] = msgspec.structs.replace(own, body=body, content_type="application/json; charset=UTF-8")
    path = "/v1beta/models/own-gemini/array:streamGenerateContent"

    array = client.post(path, json=HELLO)
    events = client.post(f"{path}?alt=sse", json=HELLO)
    other = client.post("/v1/messages", json={"model": "own-gemini/array", **MESSAGES, "stream": True})

    said = "".join(part.get("text", "") for it in elements for part in it["candidates"][0]["content"].get("parts", ()))
    deltas = [json.loads(line[6:]).get("delta", {}) for line in other.text.splitlines() if line.startswith("data: ")]
    assert array.json() == elements
    assert events.headers["content-type"].startswith("text/event-stream")
    assert [json.loads(line[6:]) for line in events.text.splitlines() if line.startswith("data: ")] == elements
    assert "".join(it.get("text", "") + it.get("thinking", "") for it in deltas) == said
    assert len({proxy.receipt(it.headers["x-request-id"])["usage"]["output_tokens"] for it in (array, events, other)}) == 1


def test_an_error_in_the_place_of_an_array_is_one(upstream: Replaying, client: httpx.Client) -> None:
    said = b'[{"error": {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED"}}]'
    upstream.recordings["wrong"] = msgspec.structs.replace(OWN[STREAMED], body=said, content_type="application/json")

    answer = client.post("/v1beta/models/own-gemini/wrong:streamGenerateContent?alt=sse", json=HELLO)

    assert answer.status_code >= 400
    assert "Quota exceeded." in answer.json()["error"]["message"]


def test_tokens_that_nobody_counts_are_estimated_and_said_to_be(client: httpx.Client) -> None:
    body = {"model": "openai/gpt", "messages": [{"role": "user", "content": "word " * 400}]}

    answer = client.post("/v1/messages/count_tokens", json=body)

    assert answer.status_code == 200
    assert 300 < answer.json()["input_tokens"] < 700
    assert answer.headers["x-tollway-token-count"] == "estimate"


def test_tokens_are_estimated_where_the_provider_cannot_count_them_after_all(client: httpx.Client) -> None:
    # The provider is asked in its own words, and answers with something else.
    body = {"model": "gemini/flash", "messages": [{"role": "user", "content": "word " * 400}]}

    answer = client.post("/v1/messages/count_tokens", json=body)

    assert answer.status_code == 200
    assert 300 < answer.json()["input_tokens"] < 700
    assert answer.headers["x-tollway-token-count"] == "estimate"


def test_tokens_that_gemini_cannot_count_are_estimated(client: httpx.Client) -> None:
    answer = client.post("/v1beta/models/openai/gpt:countTokens", json=HELLO)

    assert answer.json()["totalTokens"] > 0
    assert answer.headers["x-tollway-token-count"] == "estimate"


def test_counting_costs_nothing(proxy: TollwayProcess, client: httpx.Client) -> None:
    name = next(name for name, it in OWN.items() if it.endpoint == "messages/count_tokens")

    answer = client.post("/v1/messages/count_tokens", json={"model": f"own-claude/{name}", "messages": []})

    receipt = proxy.receipt(answer.headers["x-request-id"])
    assert "x-tollway-token-count" not in answer.headers
    assert (receipt["outcome"], receipt["usage"]["input_tokens"]) == ("ok", 0)
    assert [kind for _, kind in proxy.entries(receipt["request_id"])] == ["RESERVE", "VOID"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
def test_an_answer_is_kept_and_told_again(proxy: TollwayProcess, client: httpx.Client, provider: str, streamed: bool) -> None:
    chats = ("/messages?beta=true", ":generateContent", ":streamGenerateContent?alt=sse")
    name = next(
        name
        for name, it in OWN.items()
        if name.startswith(provider) and it.streamed is streamed and it.status == 200 and it.path.endswith(chats)
    )
    path, _ = asked(name, OWN[name])
    body = {"model": f"own-claude/{name}", **MESSAGES, "stream": streamed} if provider == "anthropic" else HELLO

    first = client.post(path, json=body, headers={"x-tollway-cache": "on"})
    second = client.post(path, json=body, headers={"x-tollway-cache": "on"})

    assert (first.headers["x-tollway-cache"], second.headers["x-tollway-cache"]) == ("miss", "hit")
    assert second.content == first.content == OWN[name].body
    assert proxy.receipt(second.headers["x-request-id"])["cost_nusd"] == 0


def test_a_large_picture_is_not_taken_for_text(client: httpx.Client) -> None:
    data = "A" * 400_000
    source = {"type": "base64", "media_type": "image/png", "data": data}
    body = {"model": "openai/gpt", "messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}

    answer = client.post("/v1/messages/count_tokens", content=msgspec.json.encode(body))

    assert answer.json()["input_tokens"] < 2_000


def test_what_is_at_none_of_geminis_paths_is_said_in_its_shape(client: httpx.Client) -> None:
    answer = client.get("/v1beta/models/openai/nobody")

    assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_a_method_takes_post(client: httpx.Client) -> None:
    answer = client.get("/v1beta/models/openai/gpt:generateContent")

    assert (answer.status_code, answer.json()["error"]["code"]) == (405, 405)


def test_geminis_clients_get_the_vectors_of_a_model_of_openais(
    upstream: Replaying, proxy: TollwayProcess, client: httpx.Client
) -> None:
    recording = next(it for it in recordings("openai") if it.endpoint == "embeddings")
    upstream.recordings["small"] = recording
    asks = [{"model": "models/openai/small", "content": {"parts": [{"text": text}]}} for text in ("a", "b")]

    many = client.post("/v1beta/models/openai/small:batchEmbedContents", json={"requests": asks})
    one = client.post("/v1beta/models/openai/small:embedContent", json={"content": {"parts": [{"text": "a"}]}})

    assert upstream.seen["small"].json == {"model": "small", "input": ["a"], "encoding_format": "float"}
    assert many.json()["embeddings"][0] == one.json()["embedding"]
    assert len(one.json()["embedding"]["values"]) > 100
    used = proxy.receipt(one.headers["x-request-id"])["usage"]["input_tokens"]
    assert used == json.loads(recording.body)["usage"]["prompt_tokens"]


# --- by their SDKs -----------------------------------------------------------------------------------------------------


def test_anthropics_sdk_lists_counts_and_knows_its_errors(proxy: TollwayProcess) -> None:
    messages: Any = MESSAGES["messages"]
    with anthropic.Anthropic(base_url=proxy.base_url.removesuffix("/v1"), api_key=API_KEY, max_retries=0) as sdk:
        listed = [it.id for it in sdk.models.list(limit=3)]
        one = sdk.models.retrieve("anthropic/claude")
        counted = sdk.messages.count_tokens(model="openai/gpt", messages=messages)
        with pytest.raises(anthropic.NotFoundError) as unknown:
            sdk.messages.create(model="nobody", max_tokens=9, messages=messages)
        with pytest.raises(anthropic.BadRequestError, match="'container'") as refused:
            sdk.messages.create(model="openai/gpt", max_tokens=9, messages=messages, extra_body={"container": "c"})
    with (
        anthropic.Anthropic(base_url=proxy.base_url.removesuffix("/v1"), api_key="tw-bad", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(model="openai/gpt", max_tokens=9, messages=messages)

    assert listed == ["anthropic/claude", "gemini/flash", "openai/gpt", "openai/small", *POLICIES]
    assert (one.id, counted.input_tokens > 0) == ("anthropic/claude", True)
    assert unknown.value.request_id == unknown.value.response.headers["x-request-id"]
    assert refused.value.response.headers["x-tollway-error"] == "invalid_value"


def test_googles_sdk_lists_counts_embeds_and_knows_its_errors(upstream: Replaying, proxy: TollwayProcess) -> None:
    upstream.recordings["small"] = next(it for it in recordings("openai") if it.endpoint == "embeddings")
    options = types.HttpOptions(base_url=proxy.base_url.removesuffix("/v1"))
    with genai.Client(api_key=API_KEY, http_options=options) as sdk:
        listed = [it.name for it in sdk.models.list(config={"page_size": 3})]
        one = sdk.models.get(model="openai/gpt")
        counted = sdk.models.count_tokens(model="openai/gpt", contents="hello")
        embedded = sdk.models.embed_content(model="openai/small", contents="hello")
        with pytest.raises(genai_errors.ClientError) as unknown:
            sdk.models.generate_content(model="nobody", contents="hello")
    with (
        genai.Client(api_key="tw-bad", http_options=options) as stranger,
        pytest.raises(genai_errors.ClientError) as closed,
    ):
        stranger.models.generate_content(model="openai/gpt", contents="hello")

    names = ("anthropic/claude", "gemini/flash", "openai/gpt", "openai/small", *POLICIES)
    assert listed == [f"models/{name}" for name in names]
    assert one.name == "models/openai/gpt"
    assert counted.total_tokens
    assert embedded.embeddings and embedded.embeddings[0].values
    assert (unknown.value.code, unknown.value.status) == (404, "NOT_FOUND")
    assert (closed.value.code, closed.value.status) == (401, "UNAUTHENTICATED")
