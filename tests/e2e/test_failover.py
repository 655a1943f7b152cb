"""Upstreams that fail before the first byte, and after it, seen by a client of the running proxy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream, refusing_port
from tests.fakes.replies import SSE, Reply, Step
from tests.process import TollwayProcess, config, tollway

TIMEOUT_S = 1.0
ASK: Any = [{"role": "user", "content": "hello"}]

# Nothing of these was answered, so nobody bills for it.
REFUSED: dict[str, Step] = {
    "500": replies.error(500),
    "503": replies.error(503),
    "529": replies.error(529, "overloaded_error"),
    "429": replies.error(429, "rate_limit_exceeded", retry_after="30"),
    "401": replies.error(401, "invalid_api_key"),
    "403": replies.error(403, "forbidden"),
    "quota": replies.error(429, "insufficient_quota"),
    "html": Reply(status=502, content_type="text/html", pieces=(b"<html>bad gateway</html>",)),
}
# The request had been sent whole: it may have been worked on.
LOST: dict[str, Step] = {
    "rst": replies.RESET,
    "eof": replies.EOF,
    "silence": replies.SILENCE,
    "malformed": replies.answer(b'{"id":"chatcmpl-1","choices":[{"index":0,'),
    "short": replies.canned(end="eof", framing="length", content_type="application/json"),
    "error in a 200": replies.answer({"error": {"message": "overloaded", "type": "server_error", "code": None}}),
    "not zipped": replies.answer(b"plain", headers=(("content-encoding", "gzip"),)),
    "no content": Reply(status=204, content_type=None),
    "web page": Reply(content_type="text/html", pieces=(b"<html>welcome</html>",)),
}
NO_STREAM: dict[str, Step] = {
    "stalled": Reply(content_type=SSE, framing="chunked", end="hang"),
    "empty": Reply(content_type=SSE, framing="chunked"),
    "half an event": Reply(content_type=SSE, framing="chunked", pieces=(b'data: {"id"',), end="eof"),
    "error event": Reply(content_type=SSE, framing="chunked", pieces=(b'data: {"error":{"message":"busy"}}\n\n',)),
}
SOLO = {
    "500": (502, "upstream_error"),
    "503": (502, "upstream_error"),
    "529": (502, "upstream_error"),
    "401": (502, "upstream_auth"),
    "403": (502, "upstream_auth"),
    "quota": (502, "upstream_auth"),
    "html": (502, "upstream_error"),
    "rst": (502, "upstream_error"),
    "eof": (502, "upstream_error"),
    "silence": (504, "upstream_timeout"),
    "malformed": (502, "upstream_invalid_response"),
    "short": (502, "upstream_error"),
    "error in a 200": (502, "upstream_invalid_response"),
    "not zipped": (502, "upstream_invalid_response"),
    "no content": (502, "upstream_invalid_response"),
    "web page": (502, "upstream_invalid_response"),
}
SOLO_STREAM = {
    "stalled": (504, "upstream_timeout"),
    "empty": (502, "upstream_error"),
    "half an event": (502, "upstream_error"),
    "error event": (502, "upstream_invalid_response"),
}
FAULTS = {**REFUSED, **LOST, **NO_STREAM}


def name(fault: str) -> str:
    return fault.replace(" ", "-")


@pytest.fixture(scope="module")
def proxy(shared_upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    for fault, step in FAULTS.items():
        shared_upstream.script(name(fault), step)
    shared_upstream.serve("good", "other")
    pairs = {f"pair-{name(fault)}": {"targets": [f"a/{name(fault)}"], "fallbacks": ["b/good"]} for fault in FAULTS}
    models = {
        **pairs,
        "pair-refusing": {"targets": ["gone/m"], "fallbacks": ["b/good"]},
        "either": {"targets": ["gone/m", "b/good"]},
        "pair-picky": {"targets": ["a/picky"], "fallbacks": ["b/good"]},
        "pair-cut": {"targets": ["a/cut"], "fallbacks": ["b/other"]},
        "chain": {"targets": ["a/c1"], "fallbacks": ["a/c2", "b/c3", "b/c4"]},
        "limited-then-broken": {"targets": ["a/429"], "fallbacks": ["b/500"]},
    }
    served = [*map(name, FAULTS), "picky", "cut", "c1", "c2", "c3", "c4", "good", "other", "nodone", "zip", "odd", "old"]
    impatient = {"first_byte_timeout_s": TIMEOUT_S, "idle_timeout_s": TIMEOUT_S, "connect_timeout_s": 1.0}
    with refusing_port() as port:
        setting = config(
            shared_upstream,
            {"a": served, "b": served, "gone": ["m"]},
            fields={"a": impatient, "b": impatient, "gone": {"base_url": f"http://127.0.0.1:{port}/v1"}},
            models=models,
            # Each test for itself: nothing waits, and nobody runs out of retries because of the tests before.
            retries={"wait_s": 0, "budget_floor": 10_000},
        )
        with tollway(tmp_path_factory.mktemp("failover"), setting) as proxy:
            yield proxy


@pytest.fixture
def client(proxy: TollwayProcess) -> Iterator[httpx.Client]:
    """A client, of a gateway that holds nothing against anybody."""
    with proxy.client() as client:
        reset = client.post(proxy.base_url.removesuffix("/v1") + "/admin/v1/deployments/reset", json={})
        assert reset.status_code == 200, reset.text
        yield client


def ask(client: httpx.Client, model: str, *, stream: bool = False) -> httpx.Response:
    return client.post("/chat/completions", json={"model": model, "messages": ASK, "stream": stream})


def canned(model: str, *, stream: bool) -> bytes:
    """What the fake sends for a canned answer, to a client that did not ask for usage."""
    asked = replies.Asked(
        endpoint="chat/completions", model=model, stream=stream, include_usage=stream, tool="", base64=False, inputs=1
    )
    return b"".join(piece for piece in replies.canned()(asked).pieces if b'"choices":[]' not in piece)


def events(body: bytes) -> list[bytes]:
    return [part for part in body.split(b"\n\n") if part]


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert list(answer.json()) == ["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert 0 < len(error["message"]) <= 512
    return error


# --- another deployment answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", [*REFUSED, *LOST])
def test_the_next_deployment_answers(proxy: TollwayProcess, client: httpx.Client, fault: str, stream: bool) -> None:
    answer = ask(client, f"pair-{name(fault)}", stream=stream)

    told = proxy.receipt(answer.headers["x-request-id"])
    assert answer.status_code == 200
    assert answer.content == canned("good", stream=stream)
    assert (answer.headers["x-tollway-provider"], answer.headers["x-tollway-attempts"]) == ("b", "2")
    assert [attempt["provider"] for attempt in told["attempts"]] == ["a", "b"]
    assert told["attempts"][0]["outcome"] != "ok"
    assert (told["attempts"][1]["outcome"], told["outcome"], told["status"]) == ("ok", "ok", 200)


@pytest.mark.parametrize("fault", NO_STREAM)
def test_the_next_deployment_answers_when_no_event_came(proxy: TollwayProcess, client: httpx.Client, fault: str) -> None:
    answer = ask(client, f"pair-{name(fault)}", stream=True)

    told = proxy.receipt(answer.headers["x-request-id"])
    assert answer.content == canned("good", stream=True)
    assert [attempt["provider"] for attempt in told["attempts"]] == ["a", "b"]


@pytest.mark.parametrize("fault", REFUSED)
def test_a_try_that_was_refused_costs_nothing(proxy: TollwayProcess, client: httpx.Client, fault: str) -> None:
    answer = ask(client, f"pair-{name(fault)}")

    request_id = answer.headers["x-request-id"]
    usage = replies.usage_of("chat/completions")
    told = proxy.receipt(request_id)
    assert proxy.entries(request_id)[:2] == [(1, "RESERVE"), (2, "RESERVE")]
    assert sorted(proxy.entries(request_id)[2:]) == [(1, "VOID"), (2, "SETTLE")]
    assert told["quality"] == "exact"
    assert told["usage"]["input_tokens"] == usage["prompt_tokens"]


@pytest.mark.parametrize("fault", LOST)
def test_a_try_that_was_lost_is_closed_in_the_books(proxy: TollwayProcess, client: httpx.Client, fault: str) -> None:
    answer = ask(client, f"pair-{name(fault)}")

    entries = proxy.entries(answer.headers["x-request-id"])
    assert sorted(attempt for attempt, kind in entries if kind == "RESERVE") == [1, 2]
    assert sorted(attempt for attempt, kind in entries if kind != "RESERVE") == [1, 2]


def test_a_refused_connection_is_passed_over_at_once(proxy: TollwayProcess, client: httpx.Client) -> None:
    started_s = time.monotonic()
    answer = ask(client, "pair-refusing")
    took_s = time.monotonic() - started_s

    request_id = answer.headers["x-request-id"]
    assert answer.content == canned("good", stream=False)
    assert took_s < TIMEOUT_S
    assert sorted(proxy.entries(request_id)) == [(1, "RESERVE"), (1, "VOID"), (2, "RESERVE"), (2, "SETTLE")]


def test_every_request_is_answered_while_one_of_two_targets_is_gone(proxy: TollwayProcess, client: httpx.Client) -> None:
    answers = [ask(client, "either") for _ in range(24)]

    tries = {answer.headers["x-tollway-attempts"] for answer in answers}
    assert [answer.status_code for answer in answers] == [200] * 24
    assert tries == {"1", "2"}


def test_no_more_tries_are_made_than_are_allowed(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, client: httpx.Client
) -> None:
    for model in ("c1", "c2", "c3"):
        shared_upstream.script(model, replies.error(500))
    shared_upstream.serve("c4")

    answer = ask(client, "chain")

    told = proxy.receipt(answer.headers["x-request-id"])
    assert (answer.status_code, error_of(answer)["code"]) == (502, "upstream_error")
    assert [len(shared_upstream.of(model)) for model in ("c1", "c2", "c3", "c4")] == [1, 1, 1, 0]
    assert [attempt["upstream_model"] for attempt in told["attempts"]] == ["c1", "c2", "c3"]


def test_a_fault_of_the_request_itself_is_not_tried_elsewhere(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, client: httpx.Client
) -> None:
    shared_upstream.script("picky", replies.error(400, "context_length_exceeded", message="too long"))

    answer = ask(client, "pair-picky")

    told = proxy.receipt(answer.headers["x-request-id"])
    assert (answer.status_code, error_of(answer)["code"]) == (400, "context_length_exceeded")
    assert len(told["attempts"]) == 1


def test_a_limit_that_passes_outranks_a_failure_that_does_not(client: httpx.Client) -> None:
    answer = ask(client, "limited-then-broken")

    assert (answer.status_code, error_of(answer)["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(answer.headers["retry-after"]) <= 120


# --- nobody else can answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "stream"),
    [*((fault, stream) for fault in SOLO for stream in (False, True)), *((fault, True) for fault in SOLO_STREAM)],
)
def test_a_failure_without_fallback_is_told_as_the_contract_says(
    proxy: TollwayProcess, client: httpx.Client, fault: str, stream: bool
) -> None:
    answer = ask(client, f"a/{name(fault)}", stream=stream)

    status, code = {**SOLO, **SOLO_STREAM}[fault]
    error = error_of(answer)
    told = proxy.receipt(answer.headers["x-request-id"])
    assert (answer.status_code, error["type"], error["code"]) == (status, "upstream_error", code)
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["content-type"].startswith("application/json")
    assert "<html" not in answer.text
    assert (told["status"], told["outcome"], len(told["attempts"])) == (status, code, 1)


def test_nobody_listening_is_service_unavailable(proxy: TollwayProcess, client: httpx.Client) -> None:
    answer = ask(client, "gone/m")

    assert (answer.status_code, error_of(answer)["code"]) == (503, "no_healthy_upstream")
    assert answer.headers["x-should-retry"] == "false"
    assert 1 <= int(answer.headers["retry-after"]) <= 120
    assert proxy.entries(answer.headers["x-request-id"]) == [(1, "RESERVE"), (1, "VOID")]


def test_a_rate_limit_without_fallback_is_passed_on_with_its_time(client: httpx.Client) -> None:
    answer = ask(client, "a/429")

    assert (answer.status_code, error_of(answer)["type"]) == (429, "rate_limit_error")
    assert answer.headers["retry-after"] == "30"


@pytest.mark.parametrize("said", ["soon", "-5", "99999999999", "Wed, 21 Oct 2015 07:28:00 GMT", ""])
def test_a_senseless_retry_after_becomes_a_sensible_one(
    shared_upstream: OpenAIUpstream, client: httpx.Client, said: str
) -> None:
    shared_upstream.script("picky", replies.error(429, "rate_limit_exceeded", retry_after=said))

    answer = ask(client, "a/picky")

    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 120


def test_a_redirect_is_not_followed(shared_upstream: OpenAIUpstream, client: httpx.Client) -> None:
    with OpenAIUpstream() as trap:
        shared_upstream.script("picky", replies.redirect(trap.base_url() + "/chat/completions"))

        answer = ask(client, "a/picky")

        assert (answer.status_code, error_of(answer)["type"]) == (502, "upstream_error")
        assert trap.connections == 0


def test_a_silent_provider_is_given_up_in_time(client: httpx.Client) -> None:
    started_s = time.monotonic()
    answer = ask(client, "a/silence")

    assert answer.status_code == 504
    assert TIMEOUT_S <= time.monotonic() - started_s < TIMEOUT_S + 5


# --- after the first byte --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "code"), [("eof", "upstream_error"), ("rst", "upstream_error"), ("hang", "upstream_timeout")])
def test_a_stream_that_breaks_off_ends_by_an_error_event_and_is_not_tried_again(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, client: httpx.Client, end: Any, code: str
) -> None:
    shared_upstream.script("cut", replies.canned(keep=4, end=end, gap_s=0.02))

    answer = ask(client, "pair-cut", stream=True)

    *passed, last = events(answer.content)
    error = httpx.Response(200, content=last.removeprefix(b"data: ")).json()["error"]
    told = proxy.receipt(answer.headers["x-request-id"])
    assert passed == events(canned("cut", stream=True))[:4]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert (error["type"], error["code"]) == ("upstream_error", code)
    assert b"[DONE]" not in answer.content
    assert b'"finish_reason":"' not in answer.content
    assert shared_upstream.of("other") == []
    assert (told["status"], told["outcome"], told["quality"]) == (200, code, "estimated")
    assert len(told["attempts"]) == 1
    assert proxy.entries(answer.headers["x-request-id"]) == [(1, "RESERVE"), (1, "SETTLE")]
    assert told["usage"]["output_tokens"] >= 3


def test_an_error_event_of_the_provider_ends_the_stream(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, client: httpx.Client
) -> None:
    event = replies.event({"error": {"message": "Overloaded", "type": "server_error", "param": None, "code": None}})
    stream = events(canned("cut", stream=True))
    pieces = (*(piece + b"\n\n" for piece in stream[:3]), event, stream[3] + b"\n\n")
    shared_upstream.script("cut", Reply(content_type=SSE, framing="chunked", pieces=pieces, gap_s=0.01))

    answer = ask(client, "a/cut", stream=True)

    *passed, last = events(answer.content)
    told = proxy.receipt(answer.headers["x-request-id"])
    assert passed == stream[:3]
    assert b'"Overloaded"' in last
    assert told["outcome"] != "ok"


def test_an_event_that_is_not_json_is_not_passed_on(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, client: httpx.Client
) -> None:
    stream = [part + b"\n\n" for part in events(canned("cut", stream=True))]
    pieces = (*stream[:3], b'data: {"id":"chatcmpl-1","choi\n\n', *stream[3:])
    shared_upstream.script("cut", Reply(content_type=SSE, framing="chunked", pieces=pieces, gap_s=0.01))

    answer = ask(client, "a/cut", stream=True)

    told = proxy.receipt(answer.headers["x-request-id"])
    assert answer.content.startswith(b"".join(stream[:3]) + b'data: {"error":')
    assert b"[DONE]" not in answer.content
    assert (told["outcome"], told["quality"]) == ("upstream_invalid_response", "estimated")


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {"prompt_tokens": -5, "completion_tokens": 7},
        {"prompt_tokens": 1.5, "completion_tokens": "7"},
        {"prompt_tokens": 2**63, "completion_tokens": 10**30},
    ],
)
def test_usage_that_cannot_be_true_is_estimated(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, client: httpx.Client, usage: dict[str, Any] | None
) -> None:
    sent: dict[str, Any] = {"id": "c", "object": "chat.completion", "model": "odd", "choices": [], "usage": usage}
    shared_upstream.script("odd", replies.answer(sent))

    answer = ask(client, "a/odd")

    told = proxy.receipt(answer.headers["x-request-id"])
    assert answer.content == replies.dumps(sent)
    assert (told["outcome"], told["quality"]) == ("ok", "estimated")
    assert 0 < told["usage"]["input_tokens"] < 1000
    assert 0 <= told["usage"]["output_tokens"] < 1000


def test_a_terminator_that_is_missing_is_added_to_an_answer_that_is_whole(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, client: httpx.Client
) -> None:
    shared_upstream.script("nodone", replies.canned(keep=-1))

    answer = ask(client, "a/nodone", stream=True)

    assert answer.content == canned("nodone", stream=True)
    assert proxy.receipt(answer.headers["x-request-id"])["quality"] == "exact"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_compressed_answer_arrives_plain(shared_upstream: OpenAIUpstream, client: httpx.Client, stream: bool) -> None:
    shared_upstream.script("zip", lambda asked: replies.gzipped(replies.canned()(asked)))

    answer = ask(client, "a/zip", stream=stream)

    assert answer.content == canned("zip", stream=stream)
    assert "content-encoding" not in answer.headers


def test_a_connection_that_the_upstream_closed_while_idle_costs_the_client_nothing(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream, client: httpx.Client
) -> None:
    shared_upstream.script("old", replies.canned(), replies.EOF, replies.canned())

    answers = [ask(client, "a/old") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(proxy.receipt(answers[1].headers["x-request-id"])["attempts"]) == 1


def test_after_all_that_nothing_is_open(proxy: TollwayProcess, client: httpx.Client) -> None:
    assert ask(client, "b/good").status_code == 200
    assert proxy.open_reservations() == []
