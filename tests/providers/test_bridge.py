"""Providers that are reached through litellm, at our seam: wire, signer and transport, and litellm as it is installed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from providers import litellm_bridge
from providers.bridge import AGAIN_S, Bridge, Through
from providers.errors import ConnectFailed, Disconnected
from providers.openai.vendors import CUSTOMS
from providers.protocol import Posting
from providers.provider import Endpoint, Litellm, Timeouts, Upstream
from providers.registry import WIRES
from providers.transport import Transport
from providers.usage import semantics_of
from tests.fakes.long_tail import AGAIN, ARGUMENTS, DAPI, PAT, TEXT, ZEN, LongTail
from tests.fakes.posts import serving

ANSWER_S = 60.0
LOAD_S = 120.0
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
MODELS = {"watsonx": "ibm/granite", "snowflake": "claude-sonnet", "databricks": "dbrx"}
PROMPTED = {"watsonx": 11, "snowflake": 11, "databricks": 11}


def accounts(url: str, odd: str) -> dict[str, Litellm]:
    def account(provider: str, path: str, **more: Any) -> Litellm:
        return Litellm(provider=provider, timeout_s=20, base_url=f"{url}{path}", **more)

    return {
        "watsonx": account("watsonx", "", settings=(("project_id", "project-1"), ("zen_api_key", ZEN))),
        "snowflake": account("snowflake", "/api/v2", api_key=f"pat/{PAT}"),
        "databricks": account("databricks", "/serving-endpoints", api_key=DAPI),
        "locked out": account("databricks", "/serving-endpoints", api_key="dapi-wrong-0123456789"),
        "closed": Litellm(provider="databricks", timeout_s=20, base_url="http://127.0.0.1:9/serving-endpoints", api_key=DAPI),
        "unheard": account("no_such_provider", ""),
        "odd": Litellm(provider="databricks", timeout_s=20, base_url=f"{odd}/serving-endpoints", api_key=DAPI),
    }


@pytest.fixture(scope="module")
def tail() -> Iterator[tuple[LongTail, str]]:
    tail = LongTail()
    with serving(tail.answer) as url:
        yield tail, url


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """Where the odd upstream is found, whichever test it runs in."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


WATCHED = """
import runpy, sys

# So that connections are made where they are seen.
sys.modules["uvloop"] = None

def seen(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        place = arguments[1] if event == "socket.connect" else arguments[:2]
        with open({file!r}, "a") as file:
            file.write(f"{{place}}\\n")

sys.addaudithook(seen)
runpy.run_path({program!r}, run_name="__main__")
"""
"""The child's program, and beside it a list of every place that it turns to."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bridge") / "places"


@pytest.fixture(scope="module")
def through(tail: tuple[LongTail, str], listener: socket.socket, places: Path) -> Iterator[dict[str, Through]]:
    program = places.with_name("watched.py")
    text = WATCHED.format(file=str(places), program=str(Path(litellm_bridge.__file__)))
    program.write_text(text, encoding="utf-8")
    bridge = Bridge(load_s=LOAD_S, program=program)
    known = accounts(tail[1], f"http://127.0.0.1:{listener.getsockname()[1]}")
    yield {name: bridge.account(account) for name, account in known.items()}
    bridge.stop()


class Asking:
    """Sends what a client said, as a try does."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def __call__(self, way: Through, model: str, *, endpoint: Endpoint = "chat/completions", **body: Any) -> Any:
        upstream = Upstream(provider="p", account="a", vendor=CUSTOMS["litellm"], base_url="litellm:", signer=way)
        said = json.dumps({"model": "asked", **body}).encode()
        posting = Posting(
            upstream=upstream,
            endpoint=endpoint,
            model=model,
            stream=bool(body.get("stream")),
            request_id="r",
            asked_model="asked",
            ask_usage=bool(body.get("stream")),
        )
        http = await way.signed(WIRES[endpoint].passed(said, posting))
        deadline_s = asyncio.get_running_loop().time() + ANSWER_S
        return await self._transport.send(http, timeouts=Timeouts(first_byte_s=ANSWER_S), deadline_s=deadline_s)


@pytest.fixture
async def ask() -> AsyncIterator[Asking]:
    transport = Transport()
    yield Asking(transport)
    await transport.close()


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def events(body: bytes) -> list[dict[str, Any]]:
    rows = [line.removeprefix(b"data: ") for line in body.split(b"\n\n") if line]
    assert rows.pop() == b"[DONE]"
    return [json.loads(row) for row in rows]


# --- what they answer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
async def test_a_whole_answer_and_its_usage(name: str, through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through[name], MODELS[name], messages=user("hello"), max_tokens=50)
    body = await answer.read()
    read = WIRES["chat/completions"].peek(body, semantics_of("litellm", "chat/completions"))

    said = json.loads(body)
    assert (answer.status, said["choices"][0]["finish_reason"]) == (200, "stop")
    assert said["choices"][0]["message"] == {"role": "assistant", "content": "".join(TEXT)}
    assert said["model"] == MODELS[name]
    assert read.usage is not None
    assert (read.usage.input_tokens, read.usage.output_tokens) == (PROMPTED[name], 4)


async def test_tokens_of_a_cache_are_counted_apart(through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through["snowflake"], "claude-sonnet", messages=user("hello"), max_tokens=50)
    read = WIRES["chat/completions"].peek(await answer.read(), semantics_of("litellm", "chat/completions"))

    assert read.usage is not None
    assert (read.usage.input_uncached, read.usage.cache_read, read.usage.cache_write) == (6, 3, 2)


@pytest.mark.parametrize("name", MODELS)
async def test_a_stream_comes_in_pieces_and_ends_with_the_providers_usage(
    name: str, through: dict[str, Through], ask: Asking
) -> None:
    answer = await ask(through[name], MODELS[name], messages=user("hello"), stream=True)
    body = await answer.read()
    reader_of = WIRES["chat/completions"].tap
    assert reader_of is not None
    reader = reader_of(False, semantics_of("litellm", "chat/completions"))
    reader.feed(body)

    said = events(body)
    text = [it["choices"][0]["delta"].get("content") for it in said if it["choices"]]
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    assert [it for it in text if it] == list(TEXT)
    assert [it["choices"][0]["finish_reason"] for it in said if it["choices"]][-1] == "stop"
    assert reader.done
    assert reader.usage is not None
    assert (reader.usage.input_tokens, reader.usage.output_tokens) == (PROMPTED[name], 4)


async def test_a_stream_may_say_the_same_as_often_as_it_likes(through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through["databricks"], "dbrx", messages=user("again and again"), stream=True)

    said = events(await answer.read())
    text = [it["choices"][0]["delta"].get("content") for it in said if it["choices"]]
    assert "".join(it or "" for it in text) == "again" * AGAIN


async def test_usage_that_a_provider_has_not_reported_is_not_made_up(through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through["snowflake"], "llama", messages=user("hello"), stream=True)

    said = events(await answer.read())
    assert [it["usage"] for it in said if "usage" in it] == []


@pytest.mark.parametrize("name", MODELS)
async def test_a_tool_call_keeps_its_id_name_and_arguments(name: str, through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through[name], MODELS[name], messages=user("tool"), tools=TOOLS, max_tokens=50)

    choice = json.loads(await answer.read())["choices"][0]
    call = choice["message"]["tool_calls"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert (call["type"], call["function"]["name"]) == ("function", "weather")
    assert call["id"] in ("call_1", "toolu_1")
    assert json.loads(call["function"]["arguments"]) == json.loads(ARGUMENTS)


@pytest.mark.parametrize("name", MODELS)
async def test_a_tool_call_comes_in_a_stream_counted_from_0(name: str, through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through[name], MODELS[name], messages=user("tool"), tools=TOOLS, stream=True)

    said = events(await answer.read())
    calls = [call for it in said if it["choices"] for call in it["choices"][0]["delta"].get("tool_calls") or ()]
    assert {call["index"] for call in calls} == {0}
    assert [call["function"]["name"] for call in calls if call["function"].get("name")] == ["weather"]
    assert json.loads("".join(call["function"].get("arguments") or "" for call in calls)) == json.loads(ARGUMENTS)
    assert [it["choices"][0]["finish_reason"] for it in said if it["choices"]][-1] == "tool_calls"


@pytest.mark.parametrize("base64", [False, True])
async def test_vectors(through: dict[str, Through], ask: Asking, base64: bool) -> None:
    form = {"encoding_format": "base64"} if base64 else {}

    answer = await ask(through["databricks"], "gte", endpoint="embeddings", input=["a", "b"], **form)

    said = json.loads(await answer.read())
    assert [it["embedding"] for it in said["data"]] == ["AAAAPwAAgL4=" if base64 else [0.5, -0.25]] * 2
    assert said["usage"] == {"prompt_tokens": 5, "total_tokens": 5}


# --- what goes wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", MODELS)
async def test_a_limit_says_when_to_ask_again(name: str, stream: bool, through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through[name], MODELS[name], messages=user("limit"), stream=stream)

    error = json.loads(await answer.read())["error"]
    assert (answer.status, answer.retry_after_s) == (429, 7)
    assert (error["message"], error["type"]) == ("rate limit reached", "rate_limit_error")


@pytest.mark.parametrize("name", MODELS)
async def test_a_provider_that_is_down_is_an_error_of_its_own(name: str, through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through[name], MODELS[name], messages=user("fail"))

    assert answer.status >= 500
    assert "the model is not loaded" in json.loads(await answer.read())["error"]["message"]


@pytest.mark.parametrize("name", MODELS)
async def test_a_prompt_that_is_too_long_is_the_requests_own_fault(name: str, through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through[name], MODELS[name], messages=user("long"))

    error = json.loads(await answer.read())["error"]
    assert answer.status == 400
    assert "maximum context length" in error["message"]


async def test_a_wrong_key_is_told_without_the_key(through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through["locked out"], "dbrx", messages=user("hello"))

    body = await answer.read()
    assert answer.status in (401, 403)
    assert b"dapi-wrong" not in body


async def test_a_provider_that_cannot_be_reached_has_not_been_asked(through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through["closed"], "dbrx", messages=user("hello"))

    assert answer.status == 502
    assert json.loads(await answer.read())["error"]["type"] == "api_error"


async def test_a_provider_that_litellm_does_not_know_is_no_fault_of_the_request(
    through: dict[str, Through], ask: Asking
) -> None:
    answer = await ask(through["unheard"], "m", messages=user("hello"))

    assert answer.status == 500
    assert "no_such_provider" in json.loads(await answer.read())["error"]["message"]


@pytest.mark.parametrize(
    "field", ["api_base", "base_url", "api_key", "mock_response", "fallbacks", "extra_headers", "model_list"]
)
async def test_a_client_tells_litellm_nothing_but_what_openais_protocol_has(
    field: str, tail: tuple[LongTail, str], through: dict[str, Through], ask: Asking
) -> None:
    before = len(tail[0].posts)

    answer = await ask(through["databricks"], "dbrx", messages=user("hello"), **{field: "http://127.0.0.1:9/"})

    error = json.loads(await answer.read())["error"]
    assert (answer.status, error["param"]) == (400, field)
    assert len(tail[0].posts) == before


async def test_what_the_provider_does_not_take_is_named(through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through["databricks"], "dbrx", messages=user("hello"), seed=5)

    error = json.loads(await answer.read())["error"]
    assert answer.status == 400
    assert "seed" in error["message"]
    assert "drop_params" not in error["message"]


class Odd:
    """An upstream of Databricks' shape that begins to answer and then does what it is told."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(next(it for it in head.lower().split(b"\r\n") if it.startswith(b"content-length")).split(b":")[1])
        body = json.loads(await reader.readexactly(size))
        if body["messages"][-1]["content"] == "hang up":
            writer.close()
            return
        delta = {"role": "assistant", "content": "one"}
        chunk = {"id": "c", "created": 1, "model": "m", "object": "chat.completion.chunk",
                 "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}  # fmt: skip
        event = b"data: " + json.dumps(chunk).encode() + b"\n\n"
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
        if body["messages"][-1]["content"] == "break off":
            writer.close()
            return
        await reader.read()
        writer.close()
        self.left.set()


@pytest.fixture
async def odd(listener: socket.socket) -> AsyncIterator[Odd]:
    odd = Odd()
    server = await asyncio.start_server(odd.serve, sock=listener.dup())
    yield odd
    server.close()
    await server.wait_closed()


@pytest.mark.usefixtures("odd")
async def test_nobody_knows_what_a_provider_did_that_hung_up(through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through["odd"], "dbrx", messages=user("hang up"))

    # That is no refusal: it may cost something.
    with pytest.raises(Disconnected):
        await answer.read()


@pytest.mark.usefixtures("odd")
async def test_a_stream_that_breaks_off_does_so_here_too(through: dict[str, Through], ask: Asking) -> None:
    answer = await ask(through["odd"], "dbrx", messages=user("break off"), stream=True)

    with pytest.raises(Disconnected):
        await answer.read()


async def test_who_leaves_ends_the_request_at_the_provider(through: dict[str, Through], ask: Asking, odd: Odd) -> None:
    answer = await ask(through["odd"], "dbrx", messages=user("wait"), stream=True)
    first = await answer.chunk()

    answer.close()
    async with asyncio.timeout(ANSWER_S):
        await odd.left.wait()

    assert b"one" in first


async def test_nobody_is_asked_but_the_providers(
    tail: tuple[LongTail, str], listener: socket.socket, places: Path, through: dict[str, Through], ask: Asking
) -> None:
    known = {int(tail[1].rpartition(":")[2]), listener.getsockname()[1], 9}

    await (await ask(through["snowflake"], "claude-sonnet", messages=user("hello"))).read()

    # Nor by all of the above, nor when it was started.
    seen = set((await asyncio.to_thread(places.read_text, encoding="utf-8")).splitlines())

    assert seen
    assert {it for it in seen if not any(it == f"('127.0.0.1', {port})" for port in known)} == set()


# --- the child -----------------------------------------------------------------------------------------------------------


async def test_a_child_that_does_not_come_up_is_not_waited_for_again_at_once(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    program = tmp_path / "program.py"
    program.write_text(f"open({str(starts)!r}, 'a').write('.')\nprint('failed it is not installed')\n", encoding="utf-8")
    now_s = [1000.0]
    bridge = Bridge(clock_s=lambda: now_s[0], program=program, load_s=LOAD_S)
    bridge.account(Litellm(provider="p", timeout_s=1))

    with pytest.raises(ConnectFailed, match="it is not installed"):
        await bridge.opened(0)
    with pytest.raises(ConnectFailed, match="it is not installed"):
        await bridge.opened(0)
    asked_at_once = starts.read_text(encoding="utf-8")
    now_s[0] += AGAIN_S
    with pytest.raises(ConnectFailed):
        await bridge.opened(0)

    assert (asked_at_once, starts.read_text(encoding="utf-8")) == (".", "..")


async def test_all_who_wait_for_the_child_wait_for_the_same_one_and_it_ends_with_the_gateway(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    program = tmp_path / "program.py"
    program.write_text(
        f"import sys\nopen({str(starts)!r}, 'a').write(sys.stdin.readline())\nprint('ready http://127.0.0.1:1')\n"
        "sys.stdout.flush()\nsys.stdin.read()\n",
        encoding="utf-8",
    )
    bridge = Bridge(program=program, load_s=LOAD_S)
    bridge.account(Litellm(provider="p", timeout_s=1, api_key="k-0123456789"))

    opened = await asyncio.gather(*(bridge.opened(0) for _ in range(8)))
    pid = bridge.pid
    bridge.stop()

    told = [msgspec.json.decode(line) for line in starts.read_text(encoding="utf-8").splitlines()]
    assert len(set(opened)) == len(told) == 1
    assert told[0]["accounts"][0]["api_key"] == "k-0123456789"
    assert told[0]["token"] == opened[0][1]
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
async def test_a_child_that_died_is_started_again(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nsys.stdin.readline()\nprint('ready http://127.0.0.1:1', flush=True)\nsys.stdin.read()\n", encoding="utf-8"
    )
    bridge = Bridge(program=program, load_s=LOAD_S)
    bridge.account(Litellm(provider="p", timeout_s=1))
    await bridge.opened(0)
    first = bridge.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, first, os.WEXITED | os.WNOWAIT)

    await bridge.opened(0)
    second = bridge.pid
    bridge.stop()

    assert second is not None
    assert second != first


async def test_a_gateway_that_stops_waits_for_no_child(tmp_path: Path) -> None:
    spawned = asyncio.Event()

    async def told(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spawned.set()
        writer.close()

    server = await asyncio.start_server(told, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    program = tmp_path / "program.py"
    program.write_text(
        f"import socket, sys\nsocket.create_connection(('127.0.0.1', {port}))\nsys.stdin.read()\n", encoding="utf-8"
    )
    bridge = Bridge(program=program, load_s=LOAD_S)
    bridge.account(Litellm(provider="p", timeout_s=1))
    late = Bridge(program=program, load_s=LOAD_S)
    late.account(Litellm(provider="p", timeout_s=1))

    async with asyncio.TaskGroup() as group:
        opening = group.create_task(refused(bridge))
        await spawned.wait()
        await asyncio.to_thread(bridge.stop)
    late.stop()
    server.close()

    assert "did not start" in opening.result()
    assert await refused(late) == "The gateway is stopping."


async def refused(bridge: Bridge) -> str:
    with pytest.raises(ConnectFailed) as caught:
        await bridge.opened(0)
    return str(caught.value)


def test_no_secret_is_shown() -> None:
    account = Litellm(provider="p", timeout_s=1, api_key="k-0123456789", settings=(("zen", "z-0123456789"),))

    assert "0123456789" not in repr(account)
