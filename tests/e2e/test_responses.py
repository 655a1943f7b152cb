"""The Responses API through a running gateway, with OpenAI's own SDK: whoever serves the model, and however it speaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import Setting, TollwayProcess, config, tollway
from tests.recordings import Recording, recordings

OWN = [it for it in recordings("openai") if it.endpoint == "responses" and it.status == 200]
CHATS = [it for name in ("groq", "deepseek", "mistral", "openrouter") for it in recordings(name)]
CHATS = [it for it in CHATS if it.endpoint == "chat/completions" and it.status == 200 and b'"error"' not in it.body]


def of(rows: list[Recording]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("recording", rows, ids=lambda it: it.id)


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIUpstream]:
    with OpenAIUpstream() as upstream:
        yield upstream
        assert upstream.problems == []


@pytest.fixture(scope="module")
def proxy(upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    # What mistral's row serves is chat completions alone; OpenAI serves some models by responses alone.
    names = {"mistral": ["chatty"], "openai": ["gpt", "gpt-5-codex"], "narrow": ["codex"]}
    fields: dict[str, dict[str, Any]] = {"narrow": {"endpoints": ["responses"]}}
    # Each recording stands for itself: an error is passed on as it is, and held against nobody.
    alone = {"retries": {"max_attempts": 1}, "circuit_breaker": {"enabled": False}, "limits": {"adaptive": {"enabled": False}}}
    with tollway(tmp_path_factory.mktemp("responses"), config(upstream, names, fields=fields, **alone)) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: TollwayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0) as client:
        yield client


def looked(recording: Recording) -> tuple[str, list[tuple[str, str]]]:
    """The text and the calls of a recorded chat completion."""
    if not recording.streamed:
        message = json.loads(recording.body)["choices"][0]["message"]
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "".join(part["text"] for part in content if part["type"] == "text")
        calls = [(it["function"]["name"], it["function"]["arguments"]) for it in message.get("tool_calls") or ()]
        return content, calls
    text, found = "", {}
    for line in recording.body.split(b"\n"):
        if not line.startswith(b"data: {"):
            continue
        for choice in json.loads(line[6:])["choices"]:
            content = choice["delta"].get("content") or ""
            text += content if isinstance(content, str) else "".join(it["text"] for it in content if it["type"] == "text")
            for at, call in enumerate(choice["delta"].get("tool_calls") or ()):
                known = found.setdefault(call.get("index", at), ["", ""])
                known[0] += call["function"].get("name") or ""
                known[1] += call["function"].get("arguments") or ""
    return text, [(name, arguments) for name, arguments in found.values()]


@of([it for it in CHATS if not it.streamed and it.provider in ("deepseek", "mistral")])
def test_the_sdk_reads_an_answer_of_chat_completions(
    upstream: OpenAIUpstream, client: openai.OpenAI, recording: Recording
) -> None:
    upstream.script("chatty", replies.replay(recording))

    response = client.responses.create(model="mistral/chatty", input="hello", instructions="be brief")

    calls = [(it.name, it.arguments) for it in response.output if it.type == "function_call"]
    assert (response.output_text, calls) == looked(recording)
    assert (response.instructions, response.store) == ("be brief", False)
    usage = json.loads(recording.body)["usage"]
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])


@of([it for it in CHATS if it.streamed])
def test_the_sdk_puts_a_stream_of_chat_completions_together(
    upstream: OpenAIUpstream, client: openai.OpenAI, recording: Recording
) -> None:
    upstream.script("chatty", replies.replay(recording))

    with client.responses.stream(model="mistral/chatty", input="hello") as stream:
        response = stream.get_final_response()

    calls = [(it.name, it.arguments) for it in response.output if it.type == "function_call"]
    assert (response.output_text, calls) == looked(recording)
    assert response.usage is not None and response.usage.output_tokens > 0


@of([it for it in OWN if it.streamed][:3])
def test_a_stream_of_openais_own_passes_as_it_came(
    upstream: OpenAIUpstream, client: openai.OpenAI, recording: Recording
) -> None:
    upstream.script("gpt", replies.replay(recording))

    with client.responses.with_streaming_response.create(model="openai/gpt", input="hello", stream=True) as answer:
        assert answer.read() == recording.body


@of([*OWN[:6], *[it for it in OWN if it.streamed][:6]])
@pytest.mark.parametrize("model", ["narrow/codex", "openai/gpt-5-codex"])
def test_a_client_of_chat_completions_reads_an_answer_of_responses(
    upstream: OpenAIUpstream, client: openai.OpenAI, recording: Recording, model: str
) -> None:
    upstream.script(model.partition("/")[2], replies.replay(recording))

    if recording.streamed:
        with client.chat.completions.stream(model=model, messages=[{"role": "user", "content": "hi"}]) as stream:
            answer: Any = stream.get_final_completion()
    else:
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])

    output = finished(recording)["output"]
    content = [part for it in output if it["type"] == "message" for part in it["content"]]
    calls = [(it["call_id"], it["name"], it["arguments"]) for it in output if it["type"] == "function_call"]
    message = answer.choices[0].message
    assert (message.content or "") == "".join(part["text"] for part in content)
    assert [(it.id, it.function.name, it.function.arguments) for it in message.tool_calls or ()] == calls


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_may_refer_to_what_a_translated_answer_consisted_of(
    upstream: OpenAIUpstream, client: openai.OpenAI, stream: bool
) -> None:
    recording = next(it for it in CHATS if it.streamed is stream and thought(it))
    upstream.script("chatty", replies.replay(recording), replies.canned())
    if stream:
        with client.responses.stream(model="mistral/chatty", input="hello") as events:
            output = events.get_final_response().output
    else:
        output = client.responses.create(model="mistral/chatty", input="hello").output
    said: list[Any] = [{"type": "item_reference", "id": it.id} for it in output if it.type in ("message", "reasoning")]

    client.responses.create(model="mistral/chatty", input=[{"role": "user", "content": "hello"}, *said, user("and?")])

    before = upstream.of("chatty")[-1].json["messages"][1]
    assert before["role"] == "assistant"
    assert before["content"] == looked(recording)[0]


def thought(recording: Recording) -> bool:
    return b'"reasoning' in recording.body and bool(looked(recording)[0]) and not looked(recording)[1]


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def finished(recording: Recording) -> dict[str, Any]:
    """The response, when it was whole."""
    if not recording.streamed:
        return json.loads(recording.body)  # type: ignore[no-any-return]  # JSON
    datas = [line[6:] for line in recording.body.split(b"\n") if line.startswith(b"data: {")]
    return json.loads(datas[-1])["response"]  # type: ignore[no-any-return]  # JSON


def test_a_suffix_says_how_much_to_think(upstream: OpenAIUpstream, client: openai.OpenAI) -> None:
    upstream.script("gpt", response("resp_thought"))

    answer = client.responses.create(model="openai/gpt(high)", input="hello", reasoning={"summary": "auto"}, store=True)

    (seen,) = (seen for seen in upstream.of("gpt") if b"hello" in seen.body and b"high" in seen.body)
    body = json.loads(seen.body)
    assert answer.output_text == "hello"
    assert (body["model"], body["reasoning"], body["store"]) == ("gpt", {"effort": "high", "summary": "auto"}, True)


# --- what a provider keeps -------------------------------------------------------------------------------------------------


def response(name: str, text: str = "hello", **fields: Any) -> replies.Reply:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    body = {"id": name, "object": "response", "created_at": 1, "model": "gpt", "status": "completed", "output": [message]}
    return replies.answer({**body, "usage": usage, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], **fields})


@pytest.fixture(scope="module")
def two(upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    """Two accounts of one provider, and another provider of the same model."""
    with tollway(tmp_path_factory.mktemp("two"), two_accounts(upstream)) as proxy:
        yield proxy


def two_accounts(upstream: OpenAIUpstream) -> Setting:
    accounts = []
    for name in ("a", "b"):
        upstream.keys[f"/{name}/v1"] = f"sk-{name}-0123456789abcdef"
        key = upstream.keys[f"/{name}/v1"]
        accounts.append({"name": name, "api_key": key, "base_url": upstream.base_url(f"/{name}/v1")})
    upstream.keys["/other/v1"] = "sk-other-0123456789abcdef"
    other = {"type": "openai", "api_key": "sk-other-0123456789abcdef", "base_url": upstream.base_url("/other/v1")}
    providers = {"openai": {"accounts": accounts, "models": ["kept"]}, "other": {**other, "models": ["kept", "more"]}}
    models = {"either": {"targets": ["openai/kept", "other/kept"]}}
    return Setting(yaml.safe_dump({"providers": providers, "models": models}), {})


def sdk(proxy: TollwayProcess, key: str = "") -> openai.OpenAI:
    return openai.OpenAI(base_url=proxy.base_url, api_key=key or proxy.api_key, max_retries=0)


def places(upstream: OpenAIUpstream) -> list[str]:
    return [seen.path.partition("/v1/")[0] for seen in upstream.of("kept")]


def test_who_goes_on_from_a_response_comes_to_the_account_that_holds_it(upstream: OpenAIUpstream, two: TollwayProcess) -> None:
    upstream.script("kept", response("resp_first"))
    with sdk(two) as client:
        client.responses.create(model="openai/kept", input="hi")
        home = places(upstream)[-1]

        upstream.script("kept", response("resp_next"))
        for _ in range(4):
            client.responses.create(model="either", input="more", previous_response_id="resp_first")

    assert places(upstream)[-4:] == [home] * 4


def test_a_stream_is_held_by_who_streamed_it(upstream: OpenAIUpstream, two: TollwayProcess) -> None:
    recording = next(it for it in OWN if it.streamed and b'"resp_' in it.body)
    upstream.script("kept", replies.replay(recording))
    with sdk(two) as client:
        with client.responses.stream(model="openai/kept", input="hi") as stream:
            made = stream.get_final_response()
        home = places(upstream)[-1]

        upstream.script("kept", response("resp_next"))
        for _ in range(2):
            client.responses.create(model="either", input="more", previous_response_id=made.id)

    assert places(upstream)[-2:] == [home] * 2


def test_a_conversation_outlives_a_restart(upstream: OpenAIUpstream, tmp_path: Path) -> None:
    upstream.script("kept", response("resp_first"))
    setting = two_accounts(upstream)
    with tollway(tmp_path / "home", setting) as proxy, sdk(proxy) as client:
        client.responses.create(model="openai/kept", input="hi")
    home = places(upstream)[-1]

    with tollway(tmp_path / "home", setting) as proxy, sdk(proxy) as client:
        for _ in range(2):
            client.responses.create(model="openai/kept", input="more", previous_response_id="resp_first")

    assert places(upstream)[-2:] == [home] * 2


def test_a_response_is_its_makers(upstream: OpenAIUpstream, two: TollwayProcess) -> None:
    upstream.script("kept", response("resp_mine"))
    made = httpx.post(
        two.base_url.replace("/v1", "/admin/v1/keys"),
        json={"name": "another"},
        headers={"authorization": f"Bearer {two.api_key}"},
    )
    with sdk(two) as mine, sdk(two, made.json()["key"]) as theirs:
        mine.responses.create(model="openai/kept", input="hi")
        sent = len(places(upstream))

        with pytest.raises(openai.BadRequestError) as refused:
            theirs.responses.create(model="openai/kept", input="more", previous_response_id="resp_mine")
        with pytest.raises(openai.NotFoundError):
            theirs.responses.retrieve("resp_mine")

    assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")
    assert len(places(upstream)) == sent


@pytest.mark.parametrize(("model", "code"), [("other/more", "invalid_value"), ("openai/kept", "previous_response_not_found")])
def test_what_nobody_can_go_on_from_is_refused(upstream: OpenAIUpstream, two: TollwayProcess, model: str, code: str) -> None:
    upstream.script("kept", response("resp_known"), response("resp_unkept"))
    with sdk(two) as client:
        client.responses.create(model="openai/kept", input="hi")
        client.responses.create(model="openai/kept", input="hi", store=False)
        earlier = "resp_known" if code == "invalid_value" else "resp_unkept"

        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model=model, input="more", previous_response_id=earlier)

    assert (refused.value.code, refused.value.param) == (code, "previous_response_id")


def test_a_kept_response_can_be_seen_listed_cancelled_and_deleted(upstream: OpenAIUpstream, two: TollwayProcess) -> None:
    upstream.script("kept", response("resp_seen", status="queued"))
    items = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    with sdk(two) as client:
        client.responses.create(model="openai/kept", input="hi")
        path = f"{places(upstream)[-1]}/v1/responses/resp_seen"
        upstream.kept |= {
            ("GET", path): response("resp_seen", "seen"),
            ("GET", f"{path}/input_items"): replies.answer(items),
            ("POST", f"{path}/cancel"): response("resp_seen", status="cancelled"),
            ("DELETE", path): replies.answer({"id": "resp_seen", "object": "response", "deleted": True}),
        }

        seen = client.responses.retrieve("resp_seen", include=["file_search_call.results"])
        listed = client.responses.input_items.list("resp_seen", limit=3)
        cancelled = client.responses.cancel("resp_seen")
        client.responses.delete("resp_seen")
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve("resp_seen")

    assert (seen.output_text, listed.data, cancelled.status) == ("seen", [], "cancelled")
    asked = [seen.path for seen in upstream.seen if "resp_seen" in seen.path]
    assert asked[:2] == [f"{path}?include%5B%5D=file_search_call.results", f"{path}/input_items?limit=3"]


def test_a_kept_response_can_be_streamed_again(upstream: OpenAIUpstream, two: TollwayProcess) -> None:
    recording = next(it for it in OWN if it.streamed)
    upstream.script("kept", response("resp_streams"))
    with sdk(two) as client:
        client.responses.create(model="openai/kept", input="hi")
        upstream.kept["GET", f"{places(upstream)[-1]}/v1/responses/resp_streams"] = replies.replay(recording)

        events = list(client.responses.retrieve("resp_streams", stream=True, starting_after=1))

    assert len(events) == recording.body.count(b"data: {")


def test_what_the_provider_no_longer_keeps_is_not_found(upstream: OpenAIUpstream, two: TollwayProcess) -> None:
    upstream.script("kept", response("resp_old"))
    with sdk(two) as client:
        client.responses.create(model="openai/kept", input="hi")
        upstream.kept["GET", f"{places(upstream)[-1]}/v1/responses/resp_old"] = replies.error(404, "not_found")

        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve("resp_old")
