"""Moderation, pictures, speech and reranking, asked by the official OpenAI SDK of a running proxy."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.fakes import media, replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config, tollway

USD = 10**9
MODELS = ("omni-moderation-latest", "gpt-image-2", "painter", "tts-1", "gpt-4o-mini-tts", "broken", "cut", "large")
PRICES = [
    {"model": "openai/painter", "image_usd": 0.04, "images": [{"size": "1024x1536", "quality": "hd", "image_usd": 0.08}]},
    {"model": "openai/cut", "characters_usd_per_mchar": 15},
]


@pytest.fixture(scope="module")
def proxy(shared_upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    scripts: dict[str, Any] = {
        "omni-moderation-latest": media.moderated,
        "gpt-image-2": media.drawn(),
        "painter": media.drawn(counted=False),
        "tts-1": media.spoken,
        "gpt-4o-mini-tts": media.spoken,
        "rerank-v3.5": media.ranked_by_units,
        "rerank-2.5": media.ranked_by_tokens,
        "broken": replies.error(500),
        "large": media.drawn(picture=media.PICTURE * 1_000),
        "cut": lambda asked: media.spoken(asked, end="rst"),
    }
    for model, step in scripts.items():
        shared_upstream.script(model, step)
    setting = config(
        shared_upstream,
        {"openai": MODELS, "cohere": ["rerank-v3.5"], "voyage": ["rerank-2.5"], "acme": ["tts-1", "painter", "chatty"]},
        prefixes={"cohere": "/v2"},
        fields={"cohere": {"base_url": shared_upstream.base_url("")}},
        models={"steady": {"targets": ["openai/broken"], "fallbacks": ["openai/gpt-image-2"]}},
        aliases={"judge": "openai/omni-moderation-latest"},
        keys={
            "reader": {"key": "env:READER_KEY", "endpoints": ["chat/completions"]},
            "small": {"key": "env:SMALL_KEY"},
        },
        budgets={"small": {"scope": "key:small", "period": "total", "usd": 0.1}},
        cache={"mode": "on"},
        ledger={"prices": PRICES},
    )
    setting.env["READER_KEY"] = READER_KEY
    setting.env["SMALL_KEY"] = SMALL_KEY
    with tollway(tmp_path_factory.mktemp("media"), setting) as proxy:
        yield proxy


READER_KEY = "tw-" + secrets.token_hex(32)
SMALL_KEY = "tw-" + secrets.token_hex(32)


@pytest.fixture
def sdk(proxy: TollwayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=30) as sdk:
        yield sdk


# --- moderations -----------------------------------------------------------------------------------------------------


def test_moderation_without_a_model_is_done_by_openais_own_and_is_free(
    proxy: TollwayProcess, sdk: openai.OpenAI, shared_upstream: OpenAIUpstream
) -> None:
    answer = sdk.moderations.create(input=["one", "two"])

    receipt = proxy.receipt(answer._request_id or "")
    assert [result.flagged for result in answer.results] == [False, False]
    assert (receipt["endpoint"], receipt["model"], receipt["cost_nusd"]) == ("moderations", "omni-moderation-latest", 0)
    assert receipt["price_source"].endswith("(free)")
    assert shared_upstream.of("omni-moderation-latest")[-1].json["model"] == "omni-moderation-latest"


def test_the_same_question_of_moderation_is_answered_by_the_cache(
    proxy: TollwayProcess, sdk: openai.OpenAI, shared_upstream: OpenAIUpstream
) -> None:
    first, second = (sdk.moderations.with_raw_response.create(input="again", model="judge") for _ in range(2))

    assert first.content == second.content
    assert [it.headers["x-tollway-cache"] for it in (first, second)] == ["miss", "hit"]
    assert [it.json["input"] for it in shared_upstream.of("omni-moderation-latest")].count("again") == 1


# --- pictures --------------------------------------------------------------------------------------------------------


def test_pictures_that_are_counted_in_tokens_are_charged_by_them(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    answer = sdk.images.generate(model="openai/gpt-image-2", prompt="a bridge", n=2)

    receipt = proxy.receipt(answer._request_id or "")
    assert [base64.b64decode(picture.b64_json or "") for picture in answer.data or []] == [media.PICTURE] * 2
    assert receipt["quality"] == "exact"
    assert (receipt["usage"]["input_uncached"], receipt["usage"]["output_image"]) == (13, 272)
    assert receipt["cost_nusd"] == 13 * 5_000 + 272 * 30_000
    assert receipt["attempts"][0]["pieces"] == {"images": 2, "image_size": "1024x1024", "image_quality": "low"}


@pytest.mark.parametrize(("asked", "each_nusd"), [({}, 40_000_000), ({"size": "1024x1536", "quality": "hd"}, 80_000_000)])
def test_pictures_that_nobody_counts_are_charged_by_the_piece(
    proxy: TollwayProcess, sdk: openai.OpenAI, asked: Any, each_nusd: int
) -> None:
    answer = sdk.images.generate(model="openai/painter", prompt="a bridge", n=3, **asked)

    receipt = proxy.receipt(answer._request_id or "")
    assert (receipt["cost_nusd"], receipt["quality"]) == (3 * each_nusd, "exact")
    assert receipt["price_source"] == "configuration: openai/painter"


def test_a_picture_is_streamed_as_it_is_drawn(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    with sdk.images.generate(model="openai/gpt-image-2", prompt="a bridge", stream=True, partial_images=2) as stream:
        request_id = stream.response.headers["x-request-id"]
        events = list(stream)

    receipt = proxy.receipt(request_id)
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert base64.b64decode(events[-1].b64_json) == media.PICTURE
    assert (receipt["stream"], receipt["quality"], receipt["usage"]["output_image"]) == (True, "exact", 272)


def test_megabytes_of_picture_arrive_whole(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    whole = sdk.images.generate(model="openai/large", prompt="a bridge", n=2)
    events = list(sdk.images.generate(model="openai/large", prompt="a bridge", stream=True))

    pictures = [*((it.b64_json or "") for it in whole.data or []), events[-1].b64_json]
    assert [base64.b64decode(it) == media.PICTURE * 1_000 for it in pictures] == [True] * 3


def test_another_deployment_draws_what_the_first_cannot(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    answer = sdk.images.generate(model="steady", prompt="a bridge")

    receipt = proxy.receipt(answer._request_id or "")
    assert [attempt["outcome"] for attempt in receipt["attempts"]] == ["upstream_error", "ok"]


def test_a_budget_has_no_room_for_pictures_that_may_cost_more_than_is_left(proxy: TollwayProcess) -> None:
    with openai.OpenAI(base_url=proxy.base_url, api_key=SMALL_KEY, max_retries=0, timeout=30) as sdk:
        sdk.images.generate(model="openai/painter", prompt="a bridge", n=2)
        with pytest.raises(openai.RateLimitError) as refused:
            sdk.images.generate(model="openai/painter", prompt="a bridge", n=1)

    assert refused.value.code == "budget_exceeded"


# --- speech ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "kind"), [("mp3", "audio/mpeg"), ("wav", "audio/wav"), ("pcm", "audio/pcm")])
def test_speech_of_any_format_arrives_as_it_was_spoken(proxy: TollwayProcess, sdk: openai.OpenAI, form: Any, kind: str) -> None:
    answer = sdk.audio.speech.create(model="openai/tts-1", input="Hello, wörld!", voice="alloy", response_format=form)

    receipt = proxy.receipt(answer.response.headers["x-request-id"])
    assert answer.content == media.SOUND
    assert answer.response.headers["content-type"] == kind
    # 13 characters at 15 USD a million.
    assert (receipt["cost_nusd"], receipt["quality"], receipt["endpoint"]) == (13 * 15_000, "exact", "audio/speech")
    assert receipt["attempts"][0]["pieces"]["characters"] == 13


def test_speech_in_events_is_charged_by_the_tokens_at_its_end(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    answer = sdk.audio.speech.create(model="openai/gpt-4o-mini-tts", input="Hello", voice="alloy", stream_format="sse")

    receipt = proxy.receipt(answer.response.headers["x-request-id"])
    assert answer.content.count(b"speech.audio.delta") == 10
    assert (receipt["usage"]["input_uncached"], receipt["usage"]["output_audio"], receipt["quality"]) == (9, 40, "exact")
    assert receipt["cost_nusd"] == 9 * 600 + 40 * 12_000


def test_speech_whose_length_is_all_that_is_charged_is_charged_by_an_estimate(
    proxy: TollwayProcess, sdk: openai.OpenAI
) -> None:
    answer = sdk.audio.speech.create(model="openai/gpt-4o-mini-tts", input="x" * 150, voice="alloy")

    receipt = proxy.receipt(answer.response.headers["x-request-id"])
    # Ten seconds at 0.90 USD an hour.
    assert (receipt["cost_nusd"], receipt["quality"]) == (2_500_000, "estimated")


def test_speech_of_a_model_without_a_price_costs_nobody_knows_what(proxy: TollwayProcess, sdk: openai.OpenAI) -> None:
    answer = sdk.audio.speech.create(model="acme/tts-1", input="Hello", voice="alloy")

    assert proxy.receipt(answer.response.headers["x-request-id"])["cost_nusd"] is None


def test_speech_that_breaks_off_does_not_look_whole(proxy: TollwayProcess) -> None:
    asked = {"model": "openai/cut", "input": "Hello", "voice": "alloy"}

    with proxy.client() as client, client.stream("POST", "/audio/speech", json=asked) as answer:
        heard = []
        with pytest.raises(httpx.RemoteProtocolError):
            heard.extend(answer.iter_raw())

    receipt = proxy.receipt(answer.headers["x-request-id"])
    assert media.SOUND.startswith(b"".join(heard))
    assert (receipt["outcome"], receipt["quality"]) == ("upstream_error", "estimated")


# --- reranking -------------------------------------------------------------------------------------------------------

DOCUMENTS = ["a bridge", "a ferry", "a tunnel"]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_reranking_by_search_units_is_charged_by_them(proxy: TollwayProcess, version: str) -> None:
    asked = {"model": "cohere/rerank-v3.5", "query": "how to cross?", "documents": DOCUMENTS, "top_n": 3}

    with proxy.client() as client:
        answer = client.post(f"{proxy.base_url.removesuffix('/v1')}/{version}/rerank", json=asked, headers=FRESH)

    receipt = proxy.receipt(answer.headers["x-request-id"])
    assert [result["index"] for result in answer.json()["results"]] == [0, 1, 2]
    assert (receipt["cost_nusd"], receipt["quality"]) == (2_000_000, "exact")
    assert (receipt["attempts"][0]["pieces"], receipt["endpoint"]) == ({"queries": 1}, "rerank")


FRESH = {"x-tollway-cache": "refresh"}


def test_reranking_by_tokens_is_charged_by_them_and_kept(proxy: TollwayProcess) -> None:
    asked = {"model": "voyage/rerank-2.5", "query": "how to cross?", "documents": DOCUMENTS}

    with proxy.client() as client:
        first, second = (client.post("/rerank", json=asked) for _ in range(2))

    receipts = [proxy.receipt(it.headers["x-request-id"]) for it in (first, second)]
    assert first.content == second.content
    assert [it["cost_nusd"] for it in receipts] == [26 * 50, 0]
    assert (receipts[0]["usage"]["input_uncached"], receipts[1]["saved_nusd"], receipts[1]["cache"]) == (26, 1_300, "hit")


# --- what all of them share ------------------------------------------------------------------------------------------

BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/moderations", {"input": "x"}),
    ("/images/generations", {"model": "openai/gpt-image-2", "prompt": "x"}),
    ("/audio/speech", {"model": "openai/tts-1", "input": "x", "voice": "alloy"}),
    ("/rerank", {"model": "cohere/rerank-v3.5", "query": "x", "documents": ["y"]}),
]


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_a_key_calls_only_the_endpoints_that_it_may(proxy: TollwayProcess, path: str, body: dict[str, Any]) -> None:
    with proxy.client() as client:
        answer = client.post(path, json=body, headers={"authorization": f"Bearer {READER_KEY}"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_errors_have_openais_shape(proxy: TollwayProcess, path: str, body: dict[str, Any]) -> None:
    with proxy.client() as client:
        answers = [
            client.post(path, json={**body, "model": "nobody/knows"}),
            client.post(path, json={**body, "model": "auto"}),
            client.post(path, json={**body, "model": 7}),
            client.get(path),
            client.post(path, json=body, headers={"authorization": "Bearer wrong"}),
        ]

    assert [it.status_code for it in answers] == [404, 400, 400, 405, 401]
    assert all(set(it.json()["error"]) == {"message", "type", "param", "code"} for it in answers)


def test_who_does_not_serve_it_is_not_asked(proxy: TollwayProcess) -> None:
    with proxy.client() as client:
        answer = client.post("/rerank", json={"model": "openai/gpt-image-2", "query": "x", "documents": ["y"]})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_endpoint")


def test_every_answer_has_one_record_and_nothing_stays_reserved(proxy: TollwayProcess) -> None:
    deadline_s = time.monotonic() + 20
    while proxy.open_reservations() and time.monotonic() < deadline_s:
        proxy.receipt(proxy.rows("SELECT request_id FROM requests LIMIT 1")[0]["request_id"])

    counted = proxy.rows("SELECT count(*) AS n, count(DISTINCT request_id) AS one FROM requests")[0]
    assert proxy.open_reservations() == []
    assert counted["n"] == counted["one"]
