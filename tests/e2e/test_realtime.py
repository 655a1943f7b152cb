"""Sessions over WebSockets through a running gateway, with OpenAI's own SDK: what passes, what it costs, and what breaks."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conftest import Serve
from tests.fakes.realtime_upstream import KEY, RealtimeUpstream, Script, realtime_upstream, usage
from tests.process import Setting, TollwayProcess, config, tollway

KEYS = {name: "tw-" + secrets.token_hex(32) for name in ("narrow", "chats", "poor", "single", "counted")}
USD = 10**9
MODELS = (
    "talk",
    "held",
    "broken",
    "busy",
    "down",
    "cut",
    "wide",
    "mute",
    "voice",
    "writes",
    "dear",
    "gone",
    "closes",
    "huge",
    "early",
    "hears",
)
PRICE = {"input_usd_per_mtok": 4.0, "output_usd_per_mtok": 16.0, "cache_read_usd_per_mtok": 0.4}
AUDIO = {"input_audio_usd_per_mtok": 32.0, "output_audio_usd_per_mtok": 64.0}
WAIT_S = 20.0


def setting(upstream: RealtimeUpstream, **sections: Any) -> Setting:
    made = config(
        None,
        {"acme": MODELS, "spare": MODELS, "dead": MODELS, "stale": MODELS},
        fields={
            "acme": {"base_url": upstream.base_url},
            "spare": {"base_url": upstream.base_url},
            "stale": {"base_url": upstream.base_url},
            "dead": {"base_url": "http://127.0.0.1:9/v1"},
        },
        models={
            "through-dead": {"targets": ["dead/talk"], "fallbacks": ["stale/talk", "acme/talk"]},
            "through-busy": {"targets": ["acme/busy"], "fallbacks": ["spare/talk"]},
        },
        **{
            "keys": {
                "narrow": {"key": KEYS["narrow"], "models": ["acme/held"]},
                "chats": {"key": KEYS["chats"], "endpoints": ["chat/completions"]},
                "poor": {"key": KEYS["poor"]},
                "single": {"key": KEYS["single"], "concurrent": 1},
                "counted": {"key": KEYS["counted"], "tokens_per_minute": 10_000},
            },
            "budgets": {"a-cent": {"scope": "key:poor", "usd": 0.01}},
            "reservations": {"assume_output_tokens": 100, "assume_reference_tokens": 100},
            "circuit_breaker": {"enabled": False},
            "ledger": {
                "prices": [
                    {"model": "acme/writer", "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0},
                    {"model": "acme/by-the-hour", "audio_usd_per_hour": 0.36},
                    *({"model": f"{name}/{model}", **PRICE, **AUDIO} for name in ("acme", "spare") for model in MODELS),
                ]
            },
            **sections,
        },
    )
    env = {**made.env, **dict.fromkeys(made.env, KEY)}
    env["KEY_OF_STALE"] = "sk-stale-0123456789abcdef0123456789"
    return Setting(made.text, env)


@pytest.fixture(scope="module")
def upstream() -> Iterator[RealtimeUpstream]:
    with realtime_upstream() as upstream:
        upstream.script("talk", Script(usages=[usage(100, 20, 50, 7, 30)]))
        upstream.script("held", Script(hold=True, usages=[usage(40, 0, 0, 3)]))
        upstream.script("broken", Script(breaks=1))
        upstream.script("closes", Script(closes=1))
        upstream.script("busy", Script(status=429, body=b'{"error":{"message":"Slow down.","type":"rate_limit_error"}}'))
        upstream.script("down", Script(status=503))
        upstream.script(
            "writes",
            Script(
                transcript={
                    "type": "tokens",
                    "input_tokens": 30,
                    "output_tokens": 4,
                    "total_tokens": 34,
                    "input_token_details": {"audio_tokens": 30, "text_tokens": 0},
                }
            ),
        )
        upstream.script("voice", Script(voice=True, usages=[usage(0, 20, 0, 1, 9)]))
        upstream.script("dear", Script(usages=[usage(600, 0, 0, 90)]))
        upstream.script("transcription", Script(transcript={"type": "duration", "seconds": 9}))
        upstream.script("huge", Script(usages=[usage(40_000)]))
        upstream.script("wide", Script(deltas=300, size=64 * 1024))
        yield upstream


@pytest.fixture(scope="module")
def proxy(upstream: RealtimeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    more = {"realtime": {"max_message_bytes": 1024 * 1024}}
    with tollway(tmp_path_factory.mktemp("realtime"), setting(upstream, **more)) as proxy:
        yield proxy


@contextlib.asynccontextmanager
async def sdk(proxy: TollwayProcess, model: str, key: str = "") -> AsyncIterator[AsyncRealtimeConnection]:
    async with (
        openai.AsyncOpenAI(base_url=proxy.base_url, api_key=key or proxy.api_key, max_retries=0) as client,
        client.realtime.connect(model=model) as connection,
    ):
        yield connection


def socket(proxy: TollwayProcess, model: str, *, key: str | None = None, **options: Any) -> connect:
    headers = {"authorization": f"Bearer {proxy.api_key if key is None else key}"}
    options.setdefault("additional_headers", headers)
    url = f"ws{proxy.base_url.removeprefix('http')}/realtime?model={model}"
    return connect(url, proxy=None, compression=None, close_timeout=5, open_timeout=WAIT_S, **options)


async def until(connection: ClientConnection, kind: str) -> dict[str, Any]:
    """The first event of a kind."""
    async with asyncio.timeout(WAIT_S):
        while True:
            event: dict[str, Any] = json.loads(await connection.recv())
            if event["type"] == kind:
                return event


async def refusal(proxy: TollwayProcess, model: str, **options: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as caught:
        async with socket(proxy, model, **options):
            pass
    response = caught.value.response
    assert response.headers["x-request-id"]
    return response.status_code, json.loads(response.body or b"{}")["error"]


def create(**fields: Any) -> str:
    return json.dumps({"type": "response.create", **fields})


async def test_the_sdk_converses_and_one_record_has_all_of_it(proxy: TollwayProcess, upstream: RealtimeUpstream) -> None:
    seen = []

    async with sdk(proxy, "acme/talk") as connection:
        await connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
        for _ in range(2):
            await connection.response.create()
            async for event in connection:
                seen.append(event.type)
                if event.type == "response.done":
                    break

    row = proxy.records("acme/talk")[0]
    assert seen[:2] == ["session.created", "session.updated"]
    assert seen.count("response.output_text.delta") == 4
    # Of each: 50 uncached and 50 cached text, 20 audio in; 7 text and 30 audio out.
    assert (row["input_uncached"], row["cache_read"], row["input_audio"]) == (100, 100, 40)
    assert (row["output_text"], row["output_audio"]) == (14, 60)
    assert row["cost_nusd"] == 100 * 4_000 + 100 * 400 + 40 * 32_000 + 14 * 16_000 + 60 * 64_000
    assert (row["outcome"], row["status"], row["quality"], row["endpoint"]) == ("ok", 200, "exact", "realtime")
    kinds = [kind for _, kind in proxy.entries(row["request_id"])]
    assert (kinds.count("SETTLE"), kinds.count("VOID")) == (2, 1)
    assert proxy.open_reservations() == []
    assert [upstream.sessions[-1].headers[name] for name in ("user-agent", "x-request-id")] == [
        "tollway/0.1",
        row["request_id"],
    ]


async def test_messages_pass_untouched_text_and_binary(proxy: TollwayProcess, upstream: RealtimeUpstream) -> None:
    odd = '{"type" : "conversation.item.create",\n "item":{"é":"\\u00e9","n":1.10}}'

    async with socket(proxy, "acme/mute") as connection:
        await connection.send(odd)
        await connection.send(b"\x00\xff binary")
        await until(connection, "conversation.item.added")
        echoed = await connection.recv()

    assert upstream.sessions[-1].events == [json.loads(odd), b"\x00\xff binary"]
    assert b"\x00\xff binary" == echoed


async def test_garbage_is_the_upstreams_to_refuse_and_ends_nothing(proxy: TollwayProcess, upstream: RealtimeUpstream) -> None:
    async with socket(proxy, "acme/mute") as connection:
        await connection.send("not JSON {")
        error = await until(connection, "error")
        await connection.send(create())
        await until(connection, "response.done")

    assert "not JSON {" in upstream.sessions[-1].events
    assert "That is not JSON." == error["error"]["message"]


async def test_a_browser_sends_its_key_as_a_subprotocol_and_is_told_realtime(proxy: TollwayProcess) -> None:
    offered = ["realtime", f"openai-insecure-api-key.{proxy.api_key}", "openai-beta.realtime-v1"]

    async with socket(
        proxy, "acme/mute", additional_headers={}, subprotocols=offered, origin="http://page.example"
    ) as connection:
        await until(connection, "session.created")
        assert "realtime" == connection.subprotocol


async def test_the_beta_that_a_client_names_goes_on(proxy: TollwayProcess, upstream: RealtimeUpstream) -> None:
    offered = ["realtime", f"openai-insecure-api-key.{proxy.api_key}", "openai-beta.realtime-v1"]

    async with socket(proxy, "acme/mute", additional_headers={}, subprotocols=offered) as connection:
        await until(connection, "session.created")

    assert "realtime=v1" == upstream.sessions[-1].headers["openai-beta"]


@pytest.mark.parametrize(
    ("model", "key", "status", "code"),
    [
        ("acme/talk", "tw-nobody", 401, "invalid_api_key"),
        ("acme/talk", "narrow", 403, "not_allowed"),
        ("acme/talk", "chats", 403, "not_allowed"),
        ("nobody/talk", None, 404, "model_not_found"),
        ("auto", None, 400, "unsupported_endpoint"),
        ("", None, 400, "invalid_value"),
        ("dead/talk", None, 503, "no_healthy_upstream"),
        ("stale/talk", None, 502, "upstream_auth"),
        ("acme/busy", None, 429, "rate_limit_exceeded"),
        ("acme/down", None, 502, "upstream_error"),
    ],
)
async def test_a_handshake_is_refused_as_a_request_is(
    proxy: TollwayProcess, model: str, key: str | None, status: int, code: str
) -> None:
    found, error = await refusal(proxy, model, key=KEYS.get(key, key) if key else None)

    assert (status, code) == (found, error["code"])
    assert {"message", "type", "param", "code"} == error.keys()


async def test_a_refused_handshake_leaves_one_record_and_no_reservation(proxy: TollwayProcess) -> None:
    await refusal(proxy, "spare/busy")

    row = proxy.records("spare/busy")[0]
    assert (429, "rate_limit_exceeded", 0) == (row["status"], row["outcome"], row["cost_nusd"])
    assert proxy.open_reservations() == []


async def test_a_request_that_is_no_handshake_is_told_so(proxy: TollwayProcess) -> None:
    async with httpx.AsyncClient(headers=proxy.headers, trust_env=False) as client:
        answer = await client.get(f"{proxy.base_url}/realtime?model=acme/talk")

    assert (426, "upgrade_required") == (answer.status_code, answer.json()["error"]["code"])


async def test_there_is_no_other_socket_and_no_other_host(proxy: TollwayProcess) -> None:
    url = proxy.base_url.removeprefix("http").removesuffix("/v1")
    with pytest.raises(InvalidStatus) as elsewhere:
        async with connect(f"ws{url}/v1/elsewhere", proxy=None):
            pass
    host, error = await refusal(
        proxy, "acme/talk", additional_headers={"authorization": f"Bearer {proxy.api_key}", "host": "x.y"}
    )

    assert 404 == elsewhere.value.response.status_code
    assert (400, "invalid_host") == (host, error["code"])


async def test_a_call_that_somebody_else_holds_is_not_joined(proxy: TollwayProcess) -> None:
    status, error = await refusal(proxy, "acme/talk&call_id=rtc_1")

    assert (400, "call_id") == (status, error["param"])


@pytest.mark.parametrize(("model", "tries"), [("through-dead", 3), ("through-busy", 2)])
async def test_who_cannot_be_reached_is_passed_over_for_the_next(proxy: TollwayProcess, model: str, tries: int) -> None:
    async with socket(proxy, model) as connection:
        assert str(tries) == connection.response.headers["x-tollway-attempts"]
        await connection.send(create())
        await until(connection, "response.done")

    row = proxy.records(model)[0]
    assert ("ok", "talk") == (row["outcome"], row["upstream_model"])
    assert proxy.open_reservations() == []


async def test_an_upstream_that_dies_is_told_of_and_estimated(proxy: TollwayProcess) -> None:
    async with socket(proxy, "acme/broken") as connection:
        await connection.send(create())
        error = await until(connection, "error")
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()

    row = proxy.records("acme/broken")[0]
    assert ("upstream_error", 1011) == (error["error"]["code"], closed.value.rcvd.code if closed.value.rcvd else 0)
    assert ("upstream_error", "estimated", 1) == (row["outcome"], row["quality"], row["output_text"])
    assert proxy.open_reservations() == []


async def test_the_upstreams_close_is_the_clients(proxy: TollwayProcess) -> None:
    async with socket(proxy, "acme/closes") as connection:
        await connection.send(create())
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await connection.recv()

    assert closed.value.rcvd is not None
    assert (1011, "keepalive") == (closed.value.rcvd.code, closed.value.rcvd.reason)


async def test_the_clients_close_is_the_upstreams(proxy: TollwayProcess, upstream: RealtimeUpstream) -> None:
    async with socket(proxy, "acme/mute") as connection:
        await until(connection, "session.created")

    session = upstream.sessions[-1]
    assert await asyncio.to_thread(session.ended.wait, WAIT_S)
    assert 1000 == session.code


async def test_a_client_that_vanishes_stops_its_answer_and_pays_for_what_it_used(
    proxy: TollwayProcess, upstream: RealtimeUpstream
) -> None:
    async with socket(proxy, "acme/held") as connection:
        await connection.send(create())
        await until(connection, "response.created")
        connection.transport.abort()

    row = proxy.records("acme/held", timeout_s=WAIT_S)[0]
    assert {"type": "response.cancel"} in upstream.sessions[-1].events
    assert ("client_closed", 499, "exact") == (row["outcome"], row["status"], row["quality"])
    assert (40, 3) == (row["input_uncached"], row["output_text"])


async def test_a_message_that_is_too_large_ends_the_session_with_1009(proxy: TollwayProcess) -> None:
    async with socket(proxy, "acme/early") as connection:
        with pytest.raises(ConnectionClosed) as closed:
            await connection.send("x" * (1024 * 1024 + 1))
            while True:
                await connection.recv()

    assert closed.value.rcvd is not None
    assert 1009 == closed.value.rcvd.code
    assert "request_too_large" == proxy.records("acme/early", timeout_s=WAIT_S)[0]["outcome"]


async def test_a_client_that_reads_slowly_holds_the_upstream_back_and_loses_nothing(proxy: TollwayProcess) -> None:
    async with socket(proxy, "acme/wide", max_queue=1) as connection:
        await connection.send(create())
        sizes = []
        async with asyncio.timeout(60):
            while True:
                event = json.loads(await connection.recv())
                if event["type"] == "response.output_text.delta":
                    sizes.append(len(event["delta"]))
                    if len(sizes) % 100 == 0:
                        await asyncio.sleep(0.05)
                elif event["type"] == "response.done":
                    break

    assert [64 * 1024] * 300 == sizes


async def test_an_answer_that_the_upstream_begins_by_itself_is_paid_for(proxy: TollwayProcess) -> None:
    audio = base64.b64encode(bytes(4_800)).decode()

    async with socket(proxy, "acme/voice") as connection:
        for _ in range(3):
            await connection.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            await until(connection, "response.done")

    row = proxy.records("acme/voice")[0]
    assert (60, 27, 3) == (row["input_audio"], row["output_audio"], row["output_text"])
    assert "exact" == row["quality"]


async def test_what_another_model_writes_down_is_charged_at_its_own_price(proxy: TollwayProcess) -> None:
    transcription = {"audio": {"input": {"transcription": {"model": "writer"}}}}

    async with socket(proxy, "acme/writes") as connection:
        await connection.send(json.dumps({"type": "session.update", "session": transcription}))
        await until(connection, "session.updated")
        await connection.send(json.dumps({"type": "input_audio_buffer.commit"}))
        await until(connection, "conversation.item.input_audio_transcription.completed")
        await connection.send(create())
        await until(connection, "response.done")

    row = proxy.records("acme/writes")[0]
    settled = proxy.rows(
        "SELECT cost_nusd FROM entries WHERE request_id = ? AND kind = 'SETTLE' ORDER BY id", row["request_id"]
    )
    assert [30 * 1_000 + 4 * 2_000, 10 * 4_000 + 5 * 16_000] == [it["cost_nusd"] for it in settled]
    assert (158_000, "writes") == (row["cost_nusd"], row["upstream_model"])


@pytest.mark.parametrize(
    ("update", "updated"),
    [
        (
            {"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "by-the-hour"}}}}},
            "session.updated",
        ),
        (
            {"type": "transcription_session.update", "session": {"input_audio_transcription": {"model": "by-the-hour"}}},
            "transcription_session.updated",
        ),
    ],
    ids=["of today", "of the beta"],
)
async def test_a_session_that_only_writes_down_is_charged_by_the_second(
    proxy: TollwayProcess, upstream: RealtimeUpstream, update: dict[str, Any], updated: str
) -> None:
    before = len(proxy.rows("SELECT 1 FROM requests WHERE model = 'acme/hears'"))

    async with socket(proxy, "acme/hears&intent=transcription") as connection:
        await connection.send(json.dumps(update))
        await until(connection, updated)
        for _ in range(2):
            await connection.send(json.dumps({"type": "input_audio_buffer.commit"}))
            await until(connection, "conversation.item.input_audio_transcription.completed")

    row = proxy.records("acme/hears", before + 1, timeout_s=WAIT_S)[-1]
    # Nine seconds at 0.36 USD an hour, twice.
    assert (row["cost_nusd"], row["quality"], row["outcome"]) == (2 * 900_000, "exact", "ok")
    assert upstream.sessions[-1].path.endswith("/realtime?intent=transcription")


async def test_a_session_for_something_else_is_refused(proxy: TollwayProcess) -> None:
    status, error = await refusal(proxy, "acme/hears&intent=singing")

    assert (400, "intent") == (status, error["param"])


async def test_a_session_ends_where_its_budget_does(proxy: TollwayProcess) -> None:
    answers = 0

    async with socket(proxy, "acme/dear", key=KEYS["poor"]) as connection:
        with pytest.raises(ConnectionClosed) as closed:
            error = None
            await connection.send(create())
            while True:
                event = json.loads(await connection.recv())
                if event["type"] == "response.done":
                    answers += 1
                    await connection.send(create())
                elif event["type"] == "error":
                    error = event["error"]

    row = proxy.records("acme/dear", timeout_s=WAIT_S)[0]
    # An answer costs 600 x 4,000 + 90 x 16,000 nano-USD; a cent has room for two of them, and not for the reserve of a third.
    assert (1008, "budget_exceeded") == (closed.value.rcvd.code if closed.value.rcvd else 0, error["code"] if error else "")
    assert ("budget_exceeded", answers * 3_840_000) == (row["outcome"], row["cost_nusd"])
    assert 0 < row["cost_nusd"] <= USD // 100
    status, refused = await refusal(proxy, "acme/dear", key=KEYS["poor"])
    assert (429, "budget_exceeded") == (status, refused["code"])


async def test_a_session_counts_among_what_is_under_way(proxy: TollwayProcess) -> None:
    async with socket(proxy, "acme/mute", key=KEYS["single"]) as connection:
        await until(connection, "session.created")
        status, error = await refusal(proxy, "acme/mute", key=KEYS["single"])

    assert (429, "rate_limit_exceeded") == (status, error["code"])


async def test_the_tokens_of_each_answer_count_against_the_limit_when_it_is_over(proxy: TollwayProcess) -> None:
    async with socket(proxy, "acme/huge", key=KEYS["counted"]) as connection:
        async with socket(proxy, "acme/mute", key=KEYS["counted"]):
            pass  # there is room for another
        await connection.send(create())
        await until(connection, "response.done")
        status, error = await refusal(proxy, "acme/mute", key=KEYS["counted"])

    assert (429, "rate_limit_exceeded") == (status, error["code"])


async def test_what_a_kill_leaves_open_is_settled_by_what_was_noted(serve: Serve, upstream: RealtimeUpstream) -> None:
    proxy = serve(setting(upstream))
    async with socket(proxy, "acme/talk") as connection:
        await connection.send(create())
        await until(connection, "response.done")
        proxy.kill()

    proxy.restart()
    row = proxy.records("acme/talk")[0]
    settled = proxy.rows(
        "SELECT quality, cost_nusd FROM entries WHERE request_id = ? AND kind = 'SETTLE' ORDER BY attempt", row["request_id"]
    )
    assert ("interrupted", 0) == (row["outcome"], row["status"])
    assert [("exact", 50 * 4_000 + 50 * 400 + 20 * 32_000 + 7 * 16_000 + 30 * 64_000)] == [
        tuple(it.values()) for it in settled[:1]
    ]
    assert ["held"] == [it["quality"] for it in settled[1:]]
    assert proxy.open_reservations() == []


async def test_a_shutdown_lets_an_answer_end_and_then_the_session(serve: Serve, upstream: RealtimeUpstream) -> None:
    proxy = serve(setting(upstream))
    async with socket(proxy, "acme/held") as connection, socket(proxy, "acme/mute") as idle:
        await until(idle, "session.created")
        await connection.send(create())
        await until(connection, "response.created")

        proxy.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await idle.recv()
        upstream_session = next(it for it in reversed(upstream.sessions) if it.model == "held")
        await connection.send(json.dumps({"type": "response.cancel"}))
        with pytest.raises(ConnectionClosed) as ended:
            while True:
                await connection.recv()

    assert closed.value.rcvd is not None
    assert 1012 == closed.value.rcvd.code
    assert ended.value.rcvd is not None
    assert 1012 == ended.value.rcvd.code
    assert upstream_session.billed
    assert 0 == await asyncio.to_thread(proxy.wait)


async def test_the_beta_of_the_sdk_converses_too(proxy: TollwayProcess, upstream: RealtimeUpstream) -> None:
    seen = []

    async with (
        openai.AsyncOpenAI(
            base_url=proxy.base_url,
            websocket_base_url=f"ws{proxy.base_url.removeprefix('http')}",
            api_key=proxy.api_key,
            max_retries=0,
        ) as client,
        client.beta.realtime.connect(model="acme/mute") as connection,
    ):
        await connection.response.create()
        async for event in connection:
            seen.append(event.type)
            if event.type == "response.done":
                break

    assert ["session.created", "response.created", "response.done"] == [it for it in seen if not it.endswith("delta")]
    assert "realtime=v1" == upstream.sessions[-1].headers["openai-beta"]
