"""The fake upstream itself, without a proxy: what the end-to-end tests conclude rests on it."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest

from tests.fakes import replies
from tests.fakes.openai_upstream import KEY, OpenAIUpstream, refusing_port
from tests.recordings import recordings


@pytest.fixture
def upstream() -> Iterator[OpenAIUpstream]:
    with OpenAIUpstream() as upstream:
        upstream.serve("m")
        yield upstream


@pytest.fixture
async def sdk(upstream: OpenAIUpstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=upstream.base_url(), api_key=KEY, max_retries=0, timeout=5) as sdk:
        yield sdk


CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def post(upstream: OpenAIUpstream, body: Any = None, *, path: str = "/v1/chat/completions", head: str = "") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(CHAT if body is None else body).encode()
    rows = f"host: {upstream.host}\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n{head}"
    return f"POST {path} HTTP/1.1\r\n{rows}content-length: {len(data)}\r\n\r\n".encode() + data


async def exchange(upstream: OpenAIUpstream, request: bytes) -> list[bytes]:
    """Send the bytes; everything that comes back until the peer closes, one read each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    reads = []
    try:
        writer.write(request)
        async with asyncio.timeout(5):
            while data := await reader.read(1 << 20):
                reads.append(data)
    finally:
        writer.close()
    return reads


async def test_the_sdk_gets_a_chat_answer_and_the_journal_what_it_bills(
    upstream: OpenAIUpstream, sdk: openai.AsyncOpenAI
) -> None:
    answer = await sdk.chat.completions.create(**CHAT)

    (seen,) = upstream.of("m")
    assert answer.choices[0].message.content == "".join(replies.WORDS)
    assert answer.usage is not None and seen.usage is not None
    assert answer.usage.total_tokens == seen.usage["total_tokens"]
    assert seen.json == CHAT


async def test_a_stream_has_usage_only_if_asked(upstream: OpenAIUpstream, sdk: openai.AsyncOpenAI) -> None:
    plain = [chunk async for chunk in await sdk.chat.completions.create(**CHAT, stream=True)]
    asked = [
        chunk async for chunk in await sdk.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True})
    ]

    assert [chunk.usage for chunk in plain] == [None] * len(plain)
    assert len(asked) == len(plain) + 1
    assert asked[-1].choices == [] and asked[-1].usage is not None
    assert asked[-1].usage.model_dump(exclude_none=True) == replies.usage_of("chat/completions")


async def test_a_chunk_carries_a_null_usage_exactly_when_usage_was_asked_for(upstream: OpenAIUpstream) -> None:
    close = "connection: close\r\n"
    plain = await exchange(upstream, post(upstream, {**CHAT, "stream": True}, head=close))
    asked = await exchange(
        upstream, post(upstream, {**CHAT, "stream": True, "stream_options": {"include_usage": True}}, head=close)
    )

    assert b'"usage"' not in b"".join(plain)
    assert b"".join(asked).count(b'"usage":null') == len(replies.WORDS) + 2


async def test_tools_completions_embeddings_responses_and_models_speak_the_sdks_language(
    upstream: OpenAIUpstream, sdk: openai.AsyncOpenAI
) -> None:
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}

    called = await sdk.chat.completions.create(**CHAT, tools=[tool])
    text = await sdk.completions.create(model="m", prompt="hello")
    vectors = await sdk.embeddings.create(model="m", input=["a", "b"])
    response = await sdk.responses.create(model="m", input="hello")
    stream = await sdk.responses.create(model="m", input="hello", stream=True)
    events = [event.type async for event in stream]
    models = [model.id async for model in sdk.models.list()]

    assert called.choices[0].message.tool_calls is not None
    assert called.choices[0].message.tool_calls[0].function.name == "weather"
    assert text.choices[0].text == "".join(replies.WORDS)
    assert [row.embedding for row in vectors.data] == [[0.5, -0.25, 0.125]] * 2
    assert response.output_text == "".join(replies.WORDS)
    assert events[0] == "response.created" and events[-1] == "response.completed"
    assert models == ["m"]
    # The SDK itself is no proxy: it says who it is, and keeps cookies.
    assert all("leaked header: " in problem for problem in upstream.problems)


async def test_a_wrong_key_is_refused_and_noted(upstream: OpenAIUpstream) -> None:
    async with openai.AsyncOpenAI(base_url=upstream.base_url(), api_key="sk-other", max_retries=0) as sdk:
        with pytest.raises(openai.AuthenticationError):
            await sdk.chat.completions.create(**CHAT)

    assert any("authorization" in problem for problem in upstream.problems)


@pytest.mark.parametrize(
    ("request_of", "status", "problem"),
    [
        (lambda up: post(up, path="/v2/chat/completions"), 404, "no such path"),
        (lambda up: post(up, path="/v1/chat/completions?a=b"), 404, "no such path"),
        (lambda up: post(up, b'{"model":"m","messages":[],"model":"m"}'), 400, "a key twice"),
        (lambda up: post(up, b'{"model":"m","messages":[],"top_p":NaN}'), 400, "NaN"),
        (lambda up: post(up, {**CHAT, "route": {}}), 400, "route"),
        (lambda up: post(up).replace(b"application/json", b"text/plain"), 415, "content-type"),
        (lambda up: post(up, head="x-forwarded-for: 10.0.0.1\r\n"), 200, "leaked header: x-forwarded-for"),
        (lambda up: post(up, head="te: trailers\r\n"), 200, "leaked header: te"),
        (lambda up: post(up).replace(up.host.encode(), b"evil.test"), 200, "host"),
        (lambda up: post(up, head="x-a: client-secret\r\n"), 200, "a secret"),
        (lambda up: post(up, {"model": "m"}), 400, None),
        (lambda up: post(up, {**CHAT, "model": "unheard-of"}), 404, None),
        (lambda up: post(up, {**CHAT, "stream_options": {"include_usage": True}}), 400, None),
    ],
)
async def test_what_breaks_the_protocol_is_answered_as_openai_does_and_noted(
    upstream: OpenAIUpstream, request_of: Any, status: int, problem: str | None
) -> None:
    upstream.secrets.append(b"client-secret")
    request = request_of(upstream).replace(b"content-length", b"connection: close\r\ncontent-length")

    reads = await exchange(upstream, request)

    assert reads[0].startswith(f"HTTP/1.1 {status} ".encode())
    assert [problem in noted for noted in upstream.problems] == [True] if problem else upstream.problems == []


async def test_a_recording_cut_anywhere_is_the_same_bytes(upstream: OpenAIUpstream) -> None:
    recording = next(recording for recording in recordings("openai") if recording.streamed)
    upstream.script("rec", replies.replay(recording, splits=(1, 7, 8, 100), gap_s=0.005))

    reads = await exchange(upstream, post(upstream, {**CHAT, "model": "rec"}, head="connection: close\r\n"))

    head, _, rest = b"".join(reads).partition(b"\r\n\r\n")
    sizes, body = [], b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        sizes.append(int(size, 16))
        body += rest[: sizes[-1]]
        rest = rest[sizes[-1] + 2 :]
    assert b"transfer-encoding: chunked" in head
    assert body == recording.body
    assert sizes == [1, 6, 1, 92, len(recording.body) - 100, 0]
    assert len(reads) >= 5


async def test_steps_are_taken_one_by_one_and_the_last_one_stays(upstream: OpenAIUpstream, sdk: openai.AsyncOpenAI) -> None:
    upstream.script("flaky", replies.error(429, "rate_limit_exceeded", retry_after="2"), replies.canned())

    with pytest.raises(openai.RateLimitError) as refused:
        await sdk.chat.completions.create(**{**CHAT, "model": "flaky"})
    first = await sdk.chat.completions.create(**{**CHAT, "model": "flaky"})
    second = await sdk.chat.completions.create(**{**CHAT, "model": "flaky"})

    assert refused.value.response.headers["retry-after"] == "2"
    assert first.id == second.id
    assert [seen.attempt for seen in upstream.of("flaky")] == [1, 2, 3]


async def test_a_script_can_be_for_one_body_of_a_model(upstream: OpenAIUpstream, sdk: openai.AsyncOpenAI) -> None:
    asked = {"messages": [{"role": "user", "content": "the special one"}]}
    upstream.script("m", replies.error(500), body=asked)

    with pytest.raises(openai.InternalServerError):
        await sdk.chat.completions.create(**{**CHAT, **asked})
    answer = await sdk.chat.completions.create(**CHAT)

    assert answer.id == "chatcmpl-fake"


@pytest.mark.parametrize("kind", ["rst", "eof"])
async def test_a_fault_before_the_headers_looks_like_one(upstream: OpenAIUpstream, kind: Any) -> None:
    upstream.script("bad", replies.Fault(kind))

    try:
        reads: list[bytes] | str = await exchange(upstream, post(upstream, {**CHAT, "model": "bad"}))
    except ConnectionResetError:
        reads = "reset"

    assert reads == ("reset" if kind == "rst" else [])


@pytest.mark.parametrize("end", ["rst", "eof"])
async def test_a_stream_can_be_cut_in_the_middle(upstream: OpenAIUpstream, end: Any) -> None:
    upstream.script("cut", replies.canned(keep=3, end=end, gap_s=0.01))
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)

    writer.write(post(upstream, {**CHAT, "model": "cut", "stream": True}))
    got, broken = b"", False
    try:
        while data := await reader.read(65536):
            got += data
    except ConnectionResetError:
        broken = True
    writer.close()

    assert got.count(b"data: ") == 3
    assert not got.endswith(b"0\r\n\r\n")
    assert broken == (end == "rst")


@pytest.mark.parametrize("step", [replies.SILENCE, replies.canned(gap_s=30), replies.canned(wait_s=30)])
async def test_a_peer_that_leaves_is_noted_at_once(upstream: OpenAIUpstream, step: Any) -> None:
    upstream.script("slow", step)
    _, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    writer.write(post(upstream, {**CHAT, "model": "slow", "stream": True}))
    await upstream.until(lambda: bool(upstream.of("slow")))

    left_s = time.monotonic()
    writer.close()
    await upstream.until(lambda: upstream.of("slow")[0].aborted)

    (seen,) = upstream.of("slow")
    assert seen.ended_s is not None and seen.ended_s - left_s < 5
    assert not seen.finished


async def test_gaps_between_pieces_are_kept(upstream: OpenAIUpstream, sdk: openai.AsyncOpenAI) -> None:
    upstream.script("paced", replies.canned(gap_s=0.05))

    stream = await sdk.chat.completions.create(**{**CHAT, "model": "paced"}, stream=True)
    times = [time.monotonic() async for _ in stream]

    assert times[-1] - times[0] >= 0.05 * (len(times) - 1) * 0.9


async def test_a_compressed_answer_says_so_and_unpacks_to_the_plain_one(upstream: OpenAIUpstream) -> None:
    plain = replies.answer({"id": "x"})
    upstream.script("zip", replies.gzipped(plain))

    reads = await exchange(upstream, post(upstream, {**CHAT, "model": "zip"}, head="connection: close\r\n"))

    head, _, body = b"".join(reads).partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in head
    assert gzip.decompress(body) == b'{"id":"x"}'


async def test_hundreds_of_connections_are_served_at_once(upstream: OpenAIUpstream) -> None:
    upstream.script("held", replies.canned(wait_s=0.5))

    started_s = time.monotonic()
    request = post(upstream, {**CHAT, "model": "held"}, head="connection: close\r\n")
    answers = await asyncio.gather(*(exchange(upstream, request) for _ in range(300)))

    assert all(answer[0].startswith(b"HTTP/1.1 200") for answer in answers)
    assert time.monotonic() - started_s < 20
    assert len({seen.connection for seen in upstream.of("held")}) == 300


def test_stopping_is_bounded_while_answers_are_on_their_way() -> None:
    with OpenAIUpstream() as upstream, socket.create_connection(("127.0.0.1", upstream.port)) as client:
        upstream.script("m", replies.SILENCE)
        client.sendall(post(upstream))
        upstream.wait_for(lambda: bool(upstream.of("m")))
        started_s = time.monotonic()

        upstream.stop()

        assert time.monotonic() - started_s < 10
        upstream.start()


def test_a_refusing_port_refuses() -> None:
    with refusing_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


def test_every_recorded_path_ends_in_its_endpoint() -> None:
    assert {recording.prefix + "/" + recording.endpoint for recording in recordings("groq")} == {"/openai/v1/chat/completions"}
