from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from providers.local import MODEL, LocalModel, LocalModelError

ROOT = Path(__file__).parents[2]
ANSWER_S = 60.0
GONE_S = 10.0
HELLO = [{"role": "user", "content": "Say hello."}]
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    model = LocalModel()
    model.start()
    yield model
    model.stop()


def post(model: LocalModel, path: str, **body: Any) -> httpx.Response:
    """A request on a connection of its own; the model is started where an earlier test has ended it."""
    return httpx.post(
        f"{model.start()}/{path}",
        json={"model": MODEL, "temperature": 0, **body},
        headers={"Authorization": f"Bearer {model.api_key}", "Connection": "close"},
        timeout=ANSWER_S,
    )


def events(reply: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def refuses_connections(base_url: str) -> bool:
    """Whether the port closes within the time a test waits."""
    deadline_s = time.monotonic() + GONE_S
    while time.monotonic() < deadline_s:
        try:
            httpx.get(f"{base_url}/models", timeout=1.0)
        except httpx.ConnectError:
            return True
        except httpx.HTTPError:
            continue
    return False


# --- what it answers ---


def test_a_chat_is_answered_with_its_usage(model: LocalModel) -> None:
    reply = post(model, "chat/completions", messages=HELLO, max_tokens=12).json()

    assert reply["choices"][0]["message"]["content"].strip()
    usage = reply["usage"]
    assert usage["prompt_tokens"] > 0
    assert 0 < usage["completion_tokens"] <= 12
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_chat_stream_ends_with_its_usage_when_asked(model: LocalModel) -> None:
    chunks = events(
        post(
            model,
            "chat/completions",
            messages=HELLO,
            max_tokens=12,
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text.strip()
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    assert not any("usage" in chunk for chunk in chunks[:-1])


def test_a_chat_stream_has_no_usage_unless_asked(model: LocalModel) -> None:
    chunks = events(post(model, "chat/completions", messages=HELLO, max_tokens=4, stream=True))

    assert chunks
    assert not any("usage" in chunk for chunk in chunks)


def test_a_chat_keeps_to_a_json_schema(model: LocalModel) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"enum": [1, 2]}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }

    reply = post(
        model,
        "chat/completions",
        messages=HELLO,
        max_tokens=100,
        response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": schema}},
    ).json()

    person = json.loads(reply["choices"][0]["message"]["content"])
    assert set(person) == {"name", "age"}
    assert person["age"] in {1, 2}


def test_a_response_is_answered_with_its_usage(model: LocalModel) -> None:
    reply = post(model, "responses", input="Say hello.", max_output_tokens=12).json()

    assert reply["object"] == "response"
    assert reply["output"][0]["content"][0]["text"].strip()
    assert reply["usage"]["total_tokens"] == reply["usage"]["input_tokens"] + reply["usage"]["output_tokens"]
    assert reply["usage"]["output_tokens"] > 0


def test_a_response_stream_ends_with_its_usage(model: LocalModel) -> None:
    stream = events(post(model, "responses", input="Say hello.", max_output_tokens=6, stream=True))

    assert stream[-1]["type"] == "response.completed"
    assert stream[-1]["response"]["usage"]["output_tokens"] > 0


def test_a_completion_is_answered_with_its_usage(model: LocalModel) -> None:
    reply = post(model, "completions", prompt="The sea is", max_tokens=6).json()

    assert reply["choices"][0]["text"].strip()
    assert reply["usage"]["completion_tokens"] == 6


def test_it_lists_one_model(model: LocalModel) -> None:
    base_url = model.start()

    listed = httpx.get(f"{base_url}/models", headers={"Authorization": f"Bearer {model.api_key}"}).json()

    assert [row["id"] for row in listed["data"]] == [MODEL]


def test_a_request_may_use_a_context_of_4096_tokens_and_no_more(model: LocalModel) -> None:
    reply = post(model, "chat/completions", messages=[{"role": "user", "content": "word " * 4200}], max_tokens=1)

    assert reply.status_code == 400
    assert reply.json()["error"]["n_ctx"] == 4096


# --- who may use it ---


@pytest.mark.parametrize("key", [None, "", "Bearer", "Bearer wrong"])
@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses"])
def test_nobody_uses_it_without_the_key(model: LocalModel, path: str, key: str | None) -> None:
    base_url = model.start()

    reply = httpx.post(
        f"{base_url}/{path}",
        json={"messages": HELLO, "prompt": "x", "input": "x", "max_tokens": 1},
        headers={} if key is None else {"Authorization": key},
        timeout=ANSWER_S,
    )

    assert reply.status_code == 401


def test_two_models_have_different_keys() -> None:
    assert LocalModel().api_key != LocalModel().api_key


def test_the_key_is_not_on_the_command_line_and_no_other_secret_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-llama")
    model = LocalModel()
    try:
        model.start()

        process = Path(f"/proc/{model.pid}")
        seen = process.joinpath("cmdline").read_bytes() + process.joinpath("environ").read_bytes()

        assert b"llama_server.py" in seen
        assert model.api_key.encode() not in seen
        assert b"sk-not-for-llama" not in seen
    finally:
        model.stop()


# --- start, stop, crash ---


def test_a_second_start_finds_the_first(model: LocalModel) -> None:
    base_url, pid = model.start(), model.pid

    again = model.start()

    assert (base_url, pid) == (again, model.pid)


def test_after_stop_the_port_is_closed() -> None:
    model = LocalModel()
    base_url = model.start()
    assert model.is_running

    model.stop()
    model.stop()

    assert not model.is_running
    assert model.pid is None
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base_url}/models")


def test_stop_does_not_wait_for_a_request_that_never_ends() -> None:
    model = LocalModel()
    base_url = model.start()
    headers = {"Authorization": f"Bearer {model.api_key}"}
    body = {"messages": HELLO, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", f"{base_url}/chat/completions", json=body, headers=headers, timeout=ANSWER_S) as reply:
        next(reply.iter_lines())
        began_s = time.monotonic()

        model.stop()

        assert time.monotonic() - began_s < 5.0
    assert refuses_connections(base_url)


def test_stop_ends_a_start_that_is_under_way() -> None:
    model = LocalModel()
    failures: list[LocalModelError] = []

    def start() -> None:
        try:
            model.start()
        except LocalModelError as error:
            failures.append(error)

    starting = threading.Thread(target=start)
    starting.start()
    deadline_s = time.monotonic() + GONE_S
    while model.pid is None and time.monotonic() < deadline_s:
        time.sleep(0.001)

    model.stop()
    starting.join(GONE_S)

    assert not starting.is_alive()
    assert len(failures) == 1
    assert not model.is_running


def test_a_crash_leaves_this_process_alive_and_a_new_start_keeps_address_and_key(model: LocalModel) -> None:
    base_url = model.start()
    chain = "\n".join(f"a{depth} ::= a{depth + 1}" for depth in range(100_000))
    with pytest.raises(httpx.TransportError):
        post(model, "chat/completions", messages=HELLO, grammar=f'root ::= a0\n{chain}\na100000 ::= "x"')
    deadline_s = time.monotonic() + GONE_S
    while model.is_running and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not model.is_running

    again = model.start()

    assert base_url == again
    assert post(model, "completions", prompt="The sea is", max_tokens=2).status_code == 200


@linux
def test_a_request_for_gigabytes_is_refused_and_the_next_one_answered(model: LocalModel) -> None:
    pid = model.start() and model.pid

    greedy = post(model, "completions", prompt="x", max_tokens=2, repeat_last_n=2**31 - 1, repeat_penalty=1.5)
    modest = post(model, "completions", prompt="x", max_tokens=2)

    assert (greedy.status_code, modest.status_code) == (400, 200)
    assert pid == model.pid


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_does_not_cut_its_streams(model: LocalModel, number: int) -> None:
    model.start()
    assert model.pid is not None

    os.kill(model.pid, number)

    assert post(model, "completions", prompt="The sea is", max_tokens=2).status_code == 200
    assert model.is_running


def test_a_start_that_takes_too_long_is_given_up_and_leaves_no_process() -> None:
    model = LocalModel(start_timeout_s=0.001)

    with pytest.raises(LocalModelError, match="ended before it was ready"):
        model.start()

    assert not model.is_running
    assert model.pid is None


PARENT = """
import sys
import httpx
from providers.local import LocalModel

model = LocalModel()
base_url = model.start()
print(base_url, flush=True)
schema = {"type": "string", "pattern": "^" + "(" * 2000 + "a" + ")" * 2000 + "$"}
form = {"type": "json_schema", "json_schema": {"name": "deep", "schema": schema}}
body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "response_format": form}
reply = httpx.post(base_url + "/chat/completions", json=body, timeout=60, headers={
    "Authorization": "Bearer " + model.api_key, "Connection": "close"})
print(reply.status_code, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    """A program that has started the model and asked it something that llama.cpp warns about."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        yield parent
        parent.kill()


def test_it_ends_with_a_parent_that_is_killed(parent: subprocess.Popen[str]) -> None:
    assert parent.stdout is not None
    base_url = parent.stdout.readline().strip()
    parent.stdout.readline()

    parent.kill()

    assert refuses_connections(base_url)


def test_it_is_silent_and_a_program_that_forgets_to_stop_it_exits_cleanly(parent: subprocess.Popen[str]) -> None:
    out, err = parent.communicate("", timeout=ANSWER_S)

    base_url, status = out.splitlines()
    assert (status, parent.returncode, err) == ("200", 0, "")
    assert refuses_connections(base_url)
