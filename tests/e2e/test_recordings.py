"""Every recorded exchange, sent through a running proxy to an upstream that answers as the provider did.

All of them are sent once, many at a time, over one proxy; the tests then look at one exchange each.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec
import pytest

from providers.openai.vendors import VENDORS
from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream, Seen, fingerprint
from tests.process import TollwayProcess, config, tollway
from tests.recordings import PROVIDERS, Recording, every, recordings

ALL = every()
ANSWERED = [recording for recording in ALL if recording.status == 200]
REFUSED = [recording for recording in ALL if recording.status != 200]
STREAMED = [recording for recording in ANSWERED if recording.streamed]
ASKING = [recording for recording in STREAMED if recording.asks_usage]
AT_ONCE = 24
SPLITS = 3
GAP_S = 0.003


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one request: at the client, at the upstream, in the books."""

    sent: bytes
    status: int
    headers: dict[str, str]
    body: bytes
    seen: Seen
    receipt: dict[str, Any]


Key = tuple[str, str]
Exchanges = dict[Key, Exchange]


def without_asking(recording: Recording) -> dict[str, Any]:
    return {key: value for key, value in recording.request.items() if key != "stream_options"}


def plan() -> list[tuple[Key, Recording, dict[str, Any], replies.Reply]]:
    """Everything to be sent: a key, the recording, the request, and how the upstream answers."""
    rows = [((recording.id, "whole"), recording, recording.request, replies.replay(recording)) for recording in ALL]
    chance = random.Random(20261122)  # noqa: S311  # a fixed seed: the cuts are to be the same in every run
    for recording in STREAMED:
        for number in range(SPLITS):
            cuts = chance.sample(range(1, len(recording.body)), k=min(7, len(recording.body) - 1))
            reply = replies.replay(recording, splits=[*cuts, *awkward(recording.body, chance)], gap_s=GAP_S)
            rows.append(((recording.id, f"split {number}"), recording, recording.request, reply))
    for recording in ASKING:
        rows += [((recording.id, "not asking"), recording, without_asking(recording), replies.replay(recording))]
    return rows


def awkward(body: bytes, chance: random.Random) -> list[int]:
    """A few offsets inside of characters, of line ends and of the terminator."""
    inside = [index for index, byte in enumerate(body) if byte & 0xC0 == 0x80]
    between = [index + 1 for index, byte in enumerate(body) if byte == 0x0A]
    return [chance.choice(places) for places in (inside, between, between) if places] + [len(body) - 1, len(body) - 6]


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIUpstream]:
    with OpenAIUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy(upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    names = {provider: sorted({row.model for row in recordings(provider)}) for provider in PROVIDERS}
    # Below the vendor's name stands the path that its base URL really has.
    prefixes = {provider: f"/{provider}{recordings(provider)[0].prefix}" for provider in PROVIDERS}
    # Each recording stands for itself: an error is passed on as it is, and held against nobody.
    # What goes on in the background is charged by its end here, as nobody will ask for it again.
    alone = {
        "retries": {"max_attempts": 1},
        "circuit_breaker": {"enabled": False},
        "limits": {"adaptive": {"enabled": False}},
        "background": {"max_open": 0},
    }
    with tollway(tmp_path_factory.mktemp("recordings"), config(upstream, names, prefixes=prefixes, **alone)) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def exchanges(upstream: OpenAIUpstream, proxy: TollwayProcess) -> Exchanges:
    return asyncio.run(send_all(upstream, proxy))


async def send_all(upstream: OpenAIUpstream, proxy: TollwayProcess) -> Exchanges:
    # What asks the same of the same model goes one after the other: its scripts would take each other's place.
    queues = defaultdict(list)
    for row in plan():
        queues[row[1].model, fingerprint(row[2])].append(row)
    done: Exchanges = {}
    gate = asyncio.Semaphore(AT_ONCE)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=proxy.headers, auto_decompress=False, connector=connector) as session:

        async def send(queue: Sequence[tuple[Key, Recording, dict[str, Any], replies.Reply]]) -> None:
            for key, recording, request, reply in queue:
                async with gate:
                    upstream.script(recording.model, reply, body=request)
                    done[key] = await exchange(session, upstream, proxy, recording, request, reply)

        async with asyncio.TaskGroup() as group:
            for queue in queues.values():
                group.create_task(send(queue))
    return done


async def exchange(
    session: aiohttp.ClientSession,
    upstream: OpenAIUpstream,
    proxy: TollwayProcess,
    recording: Recording,
    request: dict[str, Any],
    reply: replies.Reply,
) -> Exchange:
    sent = json.dumps({**request, "model": asked_model(recording)}, ensure_ascii=False).encode()
    url = f"{proxy.base_url}/{recording.endpoint}"
    async with session.post(url, data=sent, headers={"content-type": "application/json"}) as answer:
        body = await answer.read()
    (seen,) = (seen for seen in upstream.of(recording.model) if seen.reply is reply)
    return Exchange(
        sent=sent,
        status=answer.status,
        headers={name.lower(): value for name, value in answer.headers.items()},
        body=body,
        seen=seen,
        receipt=await receipt(session, proxy, answer.headers["x-request-id"]),
    )


def asked_model(recording: Recording) -> str:
    return f"{recording.provider}/{recording.model}"


async def receipt(session: aiohttp.ClientSession, proxy: TollwayProcess, request_id: str) -> dict[str, Any]:
    async with asyncio.timeout(5):
        while True:
            async with session.get(f"{proxy.base_url}/receipts/{request_id}") as answer:
                if answer.status != 404:
                    assert answer.status == 200, await answer.text()
                    found: dict[str, Any] = await answer.json()
                    return found
            await asyncio.sleep(0.02)


# --- the oracle: what a recording says was used, read from it by other means than the proxy's ---------------------


class Used(msgspec.Struct, frozen=True):
    """Totals, and how many of them were cached (``None``: the recording contradicts itself) and reasoning."""

    input_tokens: int
    output_tokens: int
    cached: int | None
    reasoning: int


def events(body: bytes) -> list[dict[str, Any]]:
    lines = body.decode().split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]


def said_usage(recording: Recording) -> dict[str, Any] | None:
    """The last usage object that is not null."""
    found = None
    for value in events(recording.body) if recording.streamed else [json.loads(recording.body)]:
        for holder in (value, value.get("x_groq"), value.get("response")):
            found = ((holder or {}).get("usage")) or found
    return found


def used(usage: Mapping[str, Any]) -> Used:
    taken = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    given = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    total_in = usage.get("prompt_tokens", usage.get("input_tokens"))
    # Mistral's num_cached_tokens are not what it discounts.
    cached = taken.get("cached_tokens", usage.get("cached_tokens", 0))
    # Gemini through OpenRouter counts the same tokens as read from the cache and as written to it.
    contradictory = cached + taken.get("cache_write_tokens", 0) > total_in
    return Used(
        total_in,
        usage.get("completion_tokens", usage.get("output_tokens", 0)),
        None if contradictory else cached,
        given.get("reasoning_tokens", 0),
    )


def without_usage_chunk(body: bytes) -> bytes:
    """The stream as it is for a client that did not ask for usage."""
    kept = []
    for part in body.split(b"\n\n"):
        chunk = json.loads(part[6:]) if part.startswith(b"data: {") else {}
        if not (chunk.get("choices") == [] and chunk.get("usage")):
            kept.append(part)
    return b"\n\n".join(kept)


def exact(text: bytes) -> Any:
    """JSON with its numbers as they are written, so that 1.0 is not 1."""
    return json.loads(text, parse_float=str, parse_int=str)


def of(recordings: Sequence[Recording]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("recording", recordings, ids=lambda recording: recording.id)


# --- the tests -------------------------------------------------------------------------------------------------------


@of(ANSWERED)
def test_the_client_gets_the_providers_bytes(exchanges: Exchanges, recording: Recording) -> None:
    exchange = exchanges[recording.id, "whole"]

    assert exchange.status == 200
    assert exchange.body == recording.body
    assert exchange.headers["content-type"] == recording.content_type


@pytest.mark.parametrize("number", range(SPLITS))
@of(STREAMED)
def test_it_does_not_matter_where_a_stream_was_cut(exchanges: Exchanges, recording: Recording, number: int) -> None:
    exchange = exchanges[recording.id, f"split {number}"]

    assert exchange.body == recording.body
    assert exchange.receipt["usage"] == exchanges[recording.id, "whole"].receipt["usage"]
    assert exchange.receipt["quality"] == exchanges[recording.id, "whole"].receipt["quality"]


@of(ASKING)
def test_a_client_that_did_not_ask_for_usage_gets_no_usage_chunk(exchanges: Exchanges, recording: Recording) -> None:
    exchange = exchanges[recording.id, "not asking"]
    vendor = VENDORS[recording.provider]
    stripped = vendor.asks_usage and vendor.strips_usage

    assert exchange.body == (without_usage_chunk(recording.body) if stripped else recording.body)
    assert exchange.receipt["usage"] == exchanges[recording.id, "whole"].receipt["usage"]
    assert exchange.receipt["quality"] == "exact"


@of(ALL)
def test_the_provider_gets_the_clients_request(upstream: OpenAIUpstream, exchanges: Exchanges, recording: Recording) -> None:
    exchange = exchanges[recording.id, "whole"]
    expected = {**exact(exchange.sent), "model": recording.model}
    if recording.endpoint == "chat/completions" and recording.request.get("stream") and VENDORS[recording.provider].asks_usage:
        expected["stream_options"] = {**(expected.get("stream_options") or {}), "include_usage": True}

    assert exact(exchange.seen.body) == expected
    assert exchange.seen.path.startswith(f"/{recording.provider}/") and exchange.seen.path.endswith(recording.endpoint)
    assert (exchange.seen.header("user-agent") or "").startswith("tollway/")


@of([recording for recording in ANSWERED if not recording.asks_usage and not recording.streamed])
def test_a_request_in_which_only_the_model_changes_keeps_every_other_byte(exchanges: Exchanges, recording: Recording) -> None:
    exchange = exchanges[recording.id, "whole"]
    asked = json.dumps(asked_model(recording), ensure_ascii=False).encode()
    upstreams = json.dumps(recording.model, ensure_ascii=False).encode()

    assert exchange.sent.count(asked) == 1
    assert exchange.seen.body == exchange.sent.replace(asked, upstreams)


@of([recording for recording in ANSWERED if said_usage(recording)])
def test_the_books_have_the_usage_that_the_provider_reported(exchanges: Exchanges, recording: Recording) -> None:
    exchange = exchanges[recording.id, "whole"]
    said = said_usage(recording)
    assert said is not None
    expected = used(said)

    booked = exchange.receipt["usage"]
    assert exchange.receipt["quality"] == "exact"
    assert (booked["input_tokens"], booked["output_tokens"]) == (expected.input_tokens, expected.output_tokens)
    assert booked["cache_read"] == (booked["cache_read"] if expected.cached is None else expected.cached)
    assert booked["reasoning"] == expected.reasoning
    assert booked["raw"] == said


@of([recording for recording in ANSWERED if said_usage(recording)])
def test_no_token_is_in_two_buckets(exchanges: Exchanges, recording: Recording) -> None:
    booked = exchanges[recording.id, "whole"].receipt["usage"]

    inputs = [booked[name] for name in ("input_uncached", "cache_read", "cache_write", "input_audio")]
    outputs = [booked[name] for name in ("output_text", "reasoning", "output_audio")]
    assert min(inputs + outputs) >= 0
    assert (sum(inputs), sum(outputs)) == (booked["input_tokens"], booked["output_tokens"])


@of([recording for recording in ANSWERED if not said_usage(recording)])
def test_what_reported_no_usage_is_estimated(exchanges: Exchanges, recording: Recording) -> None:
    receipt = exchanges[recording.id, "whole"].receipt

    assert receipt["quality"] == "estimated"
    assert receipt["usage"]["input_tokens"] > 0


@of([recording for recording in ANSWERED if b"event: error" not in recording.body])
def test_the_receipt_tells_who_answered(exchanges: Exchanges, recording: Recording) -> None:
    exchange = exchanges[recording.id, "whole"]

    told = exchange.receipt
    assert (told["status"], told["outcome"]) == (200, "ok")
    assert (told["endpoint"], told["stream"]) == (recording.endpoint, recording.streamed)
    assert (told["model"], told["provider"]) == (asked_model(recording), recording.provider)
    assert told["upstream_model"] == recording.model
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["ok"]


@of([recording for recording in ANSWERED if not recording.streamed])
def test_the_receipt_has_the_model_that_answered(exchanges: Exchanges, recording: Recording) -> None:
    exchange = exchanges[recording.id, "whole"]

    assert exchange.receipt["answered_model"] == json.loads(recording.body)["model"]


def test_a_stream_that_the_provider_ended_by_an_error_is_no_success(exchanges: Exchanges) -> None:
    (failed,) = (recording for recording in STREAMED if b"event: error" in recording.body)

    told = exchanges[failed.id, "whole"].receipt
    assert told["outcome"] != "ok"
    assert told["quality"] == "estimated"


@of(REFUSED)
def test_what_the_provider_refused_keeps_its_status_in_our_envelope(exchanges: Exchanges, recording: Recording) -> None:
    exchange = exchanges[recording.id, "whole"]

    error = json.loads(exchange.body)["error"]
    assert exchange.status == recording.status
    assert sorted(error) == ["code", "message", "param", "type"]
    assert all(value is None or isinstance(value, str) for value in error.values())
    assert error["message"] and error["type"]
    assert exchange.receipt["status"] == recording.status


@of([recording for recording in REFUSED if recording.status in (400, 404)])
def test_what_the_provider_says_about_the_request_reaches_the_client(exchanges: Exchanges, recording: Recording) -> None:
    exchange = exchanges[recording.id, "whole"]
    said = json.loads(recording.body)["error"]

    error = json.loads(exchange.body)["error"]
    assert error == {"message": said["message"], "type": said["type"], "param": said.get("param"), "code": said["code"]}
    assert exchange.receipt["usage"]["input_tokens"] == 0


def test_headers_of_the_provider_stay_with_the_proxy(exchanges: Exchanges) -> None:
    names = {name for exchange in exchanges.values() for name in exchange.headers}

    assert names & {"set-cookie", "openai-organization", "openai-processing-ms"} == set()
    assert {exchange.headers.get("server") for exchange in exchanges.values()} <= {None, "tollway"}
    assert all(exchange.headers["x-request-id"] for exchange in exchanges.values())


def test_every_exchange_has_an_id_and_a_settled_record_of_its_own(proxy: TollwayProcess, exchanges: Exchanges) -> None:
    ids = {exchange.receipt["request_id"] for exchange in exchanges.values()}

    assert len(ids) == len(exchanges)
    assert {row["request_id"] for row in proxy.rows("SELECT request_id FROM requests")} == ids
    assert proxy.open_reservations() == []


def test_every_request_kept_to_the_protocol(upstream: OpenAIUpstream, exchanges: Exchanges) -> None:
    assert upstream.problems == []
    # A provider called Ollama is also asked what its models can.
    assert len([seen for seen in upstream.seen if seen.method == "POST" and not seen.path.startswith("/ollama/api/")]) == len(
        exchanges
    )
