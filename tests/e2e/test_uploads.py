"""Forms with files, from the official SDK and from clients that write them otherwise, against a strict upstream."""

from __future__ import annotations

import io
import json
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.fakes.form_upstream import Early, FormUpstream, Reset, Say, Seen, told
from tests.process import TollwayProcess, config, tollway
from tests.providers.test_sound import wav

SOUND = b"RIFF\x24\0\0\0WAVE\r\n--\r\n" + os.urandom(30_000)
TEXT = {"text": "Hallo", "usage": {"type": "duration", "seconds": 3}}
WHOLE_MAX = 3 * 1024 * 1024
LARGE = os.urandom(1 << 16) * 80  # 5 MiB: it passes
MIDDLE = LARGE[: 2 << 20]  # 2 MiB: it goes into a file


POOR_KEY = "tw-" + secrets.token_hex(32)
LIMITED_KEY = "tw-" + secrets.token_hex(32)
DRAWN = {
    "input_usd_per_mtok": 5,
    "input_image_usd_per_mtok": 10,
    "output_usd_per_mtok": 40,
    "output_image_usd_per_mtok": 40,
}
NAMES = ("acme", "beta", "broken", "limited")


@pytest.fixture(scope="module")
def upstream() -> Iterator[FormUpstream]:
    with FormUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy(upstream: FormUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    names = {"openai": ["whisper-1", "gpt-image-1", "heard"], **{name: ["whisper-1"] for name in NAMES}}

    def first(name: str) -> Any:
        return {"targets": [{"model": f"{name}/whisper-1", "priority": 1}, {"model": "beta/whisper-1", "priority": 2}]}

    setting = config(
        upstream,  # type: ignore[arg-type]  # it has what the configuration is made of
        names,
        models={"limited": first("limited"), "broken": first("broken")},
        server={"max_whole_upload_bytes": WHOLE_MAX, "max_upload_bytes": 48 * 1024 * 1024},
        retries={"backoff_s": 0.01},
        circuit_breaker={"enabled": False},
        ledger={"prices": [{"model": "openai/heard", "audio_usd_per_hour": 0.36}, {"model": "openai/gpt-image-1", **DRAWN}]},
        keys={
            "poor": {"key": "env:POOR_KEY"},
            "limited": {"key": "env:LIMITED_KEY", "endpoints": ["chat/completions"]},
        },
        budgets={"poor": {"scope": "key:poor", "usd": 0.02, "period": "total"}},
    )
    setting.env.update(POOR_KEY=POOR_KEY, LIMITED_KEY=LIMITED_KEY)
    with tollway(tmp_path_factory.mktemp("uploads"), setting) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def strict(upstream: FormUpstream) -> Iterator[None]:
    upstream.seen.clear()
    upstream.problems.clear()
    for name in ("openai", *NAMES):
        upstream.script(f"/{name}/v1", told(TEXT))
    yield
    assert upstream.problems == []


@pytest.fixture
def sdk(proxy: TollwayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=30) as sdk:
        yield sdk


@pytest.fixture
async def async_sdk(proxy: TollwayProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0, timeout=30) as sdk:
        yield sdk


@pytest.fixture
def client(proxy: TollwayProcess) -> Iterator[httpx.Client]:
    with proxy.client() as client:
        yield client


# Variations and translations by the models of today are "deprecated" to the SDK, and are served.
deprecated = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

EDGE = "edge-0123"
HEADERS = {"content-type": f"multipart/form-data; boundary={EDGE}"}
PATH = "/audio/transcriptions"


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"\r\nContent-Type: audio/wav' if filename else ""
    return f'--{EDGE}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{EDGE}--\r\n".encode()


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


# --- the SDK ----------------------------------------------------------------------------------------------------------------


def test_a_sound_that_is_bytes_is_transcribed(sdk: openai.OpenAI, upstream: FormUpstream) -> None:
    answer = sdk.audio.transcriptions.create(model="openai/whisper-1", file=("a b.wav", SOUND, "audio/wav"), language="de")

    (seen,) = upstream.seen
    assert answer.text == "Hallo"
    assert (seen.model, seen.fields["language"]) == ("whisper-1", ["de"])
    (file,) = seen.files["file"]
    assert (file.filename, file.content_type, file.size, file.digest) == ("a b.wav", "audio/wav", len(SOUND), digest(SOUND))


@deprecated
async def test_a_sound_that_is_an_open_file_is_transcribed(
    async_sdk: openai.AsyncOpenAI, upstream: FormUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "sound.mp3"
    path.write_bytes(MIDDLE)
    with path.open("rb") as file:
        answer = await async_sdk.audio.translations.create(model="openai/whisper-1", file=file)

    assert answer.text == "Hallo"
    assert upstream.seen[0].path == "/openai/v1/audio/translations"
    assert upstream.seen[0].files["file"][0].digest == digest(MIDDLE)


@pytest.mark.parametrize(
    ("kind", "content_type", "body"),
    [
        ("text", "text/plain; charset=utf-8", b"Hallo\n"),
        ("srt", "text/plain; charset=utf-8", b"1\n00:00:00,000 --> 00:00:03,000\nHallo\n"),
        ("vtt", "text/vtt", b"WEBVTT\n\n00:00.000 --> 00:03.000\nHallo\n"),
    ],
)
def test_an_answer_that_is_text_passes(
    sdk: openai.OpenAI, upstream: FormUpstream, kind: Any, content_type: str, body: bytes
) -> None:
    upstream.script("/openai/v1", Say(body, content_type=content_type))

    answer = sdk.audio.transcriptions.with_raw_response.create(
        model="openai/whisper-1", file=("a.wav", SOUND), response_format=kind
    )

    assert answer.content == body
    assert answer.headers["content-type"] == content_type
    assert upstream.seen[0].fields["response_format"] == [kind]


@pytest.mark.parametrize("kind", ["json", "verbose_json", "diarized_json"])
def test_an_answer_that_is_json_passes(sdk: openai.OpenAI, upstream: FormUpstream, kind: Any) -> None:
    said = {"task": "transcribe", "duration": 3.2, "segments": [], **TEXT}
    upstream.script("/openai/v1", told(said))

    answer = sdk.audio.transcriptions.with_raw_response.create(
        model="openai/whisper-1", file=("a.wav", SOUND), response_format=kind, timestamp_granularities=["word", "segment"]
    )

    assert answer.http_response.json() == said
    assert upstream.seen[0].fields["timestamp_granularities[]"] == ["word", "segment"]


async def test_pictures_are_edited(async_sdk: openai.AsyncOpenAI, upstream: FormUpstream) -> None:
    upstream.script("/openai/v1", told({"created": 1, "data": [{"b64_json": "AA=="}]}))

    answer = await async_sdk.images.edit(
        model="openai/gpt-image-1",
        image=[("a.png", SOUND, "image/png"), ("b.png", SOUND[:99], "image/png")],
        mask=io.BytesIO(b"mask"),
        prompt="Ein Hut ✓",
        n=2,
    )

    (seen,) = upstream.seen
    assert answer.data is not None and answer.data[0].b64_json == "AA=="
    assert (seen.model, seen.fields["prompt"], seen.fields["n"]) == ("gpt-image-1", ["Ein Hut ✓"], ["2"])
    assert [file.digest for file in seen.files["image[]"]] == [digest(SOUND), digest(SOUND[:99])]
    assert len(seen.files["mask"]) == 1


@deprecated
def test_a_picture_is_varied(sdk: openai.OpenAI, upstream: FormUpstream) -> None:
    upstream.script("/openai/v1", told({"created": 1, "data": [{"url": "u"}]}))

    answer = sdk.images.create_variation(model="openai/gpt-image-1", image=("a.png", SOUND))

    assert answer.data is not None and answer.data[0].url == "u"
    assert upstream.seen[0].path == "/openai/v1/images/variations"


# --- how forms are written --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sound", [SOUND, MIDDLE], ids=["small", "spooled"])
def test_fields_may_stand_behind_the_file(client: httpx.Client, upstream: FormUpstream, sound: bytes) -> None:
    body = form(part("file", sound, "a.wav"), part("model", b"acme/whisper-1"), part("language", b"de"))

    answer = client.post(PATH, content=body, headers=HEADERS)

    (seen,) = upstream.seen
    assert answer.json() == TEXT
    assert (seen.model, seen.fields["language"]) == ("whisper-1", ["de"])
    assert seen.files["file"][0].digest == digest(sound)


def test_all_but_the_models_name_keeps_its_bytes(client: httpx.Client, upstream: FormUpstream) -> None:
    body = form(part("model", b"acme/whisper-1"), part("file", MIDDLE, "a.wav"))

    client.post(PATH, content=body, headers=HEADERS)

    assert upstream.seen[0].got == len(body) - len(b"acme/")
    assert upstream.seen[0].headers["content-length"] == str(len(body) - len(b"acme/"))


@pytest.mark.parametrize("sound", [MIDDLE, LARGE], ids=["spooled", "passing"])
def test_a_form_may_come_in_chunks(client: httpx.Client, upstream: FormUpstream, sound: bytes) -> None:
    body = form(part("model", b"acme/whisper-1"), part("file", sound, "a.wav"))

    answer = client.post(PATH, content=(body[at : at + 50_000] for at in range(0, len(body), 50_000)), headers=HEADERS)

    assert answer.status_code == 200
    assert upstream.seen[0].files["file"][0].digest == digest(sound)


BAD = {
    "no form": (b"{}", HEADERS),
    "no content-type": (form(part("model", b"acme/whisper-1")), {}),
    "json": (b'{"model": "acme/whisper-1"}', {"content-type": "application/json"}),
    "no boundary": (form(part("model", b"acme/whisper-1")), {"content-type": "multipart/form-data"}),
    "another boundary": (form(part("model", b"acme/whisper-1")), {"content-type": "multipart/form-data; boundary=other"}),
    "charset": (form(part("model", b"acme/whisper-1")), {"content-type": f"{HEADERS['content-type']}; charset=utf-16"}),
    "cut off": (form(part("model", b"acme/whisper-1"), part("file", SOUND, "a"))[:-9], HEADERS),
    "two models": (form(part("model", b"acme/whisper-1"), part("model", b"beta/whisper-1")), HEADERS),
    "model is a file": (form(part("model", b"acme/whisper-1", "a")), HEADERS),
    "no model": (form(part("file", SOUND, "a.wav")), HEADERS),
    "not text": (form(part("model", b"acme/\xff")), HEADERS),
    "stream": (form(part("model", b"acme/whisper-1"), part("stream", b"1")), HEADERS),
    "its own place": (form(part("model", b"acme/whisper-1"), part("api_base", b"http://x")), HEADERS),
    "route": (form(part("model", b"acme/whisper-1"), part("route[max_cost_usd]", b"1")), HEADERS),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_plain_form_is_refused_and_nothing_is_sent(client: httpx.Client, upstream: FormUpstream, name: str) -> None:
    body, headers = BAD[name]

    answer = client.post(PATH, content=body, headers=headers)

    assert answer.status_code == 400, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert upstream.seen == []


def test_a_large_form_without_a_key_is_not_read(proxy: TollwayProcess, upstream: FormUpstream) -> None:
    with httpx.Client(trust_env=False, timeout=20) as stranger:
        answer = stranger.post(
            f"{proxy.base_url}{PATH}",
            content=form(part("model", b"acme/whisper-1"), part("file", LARGE * 8, "a.wav")),
            headers=HEADERS,
        )

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert answer.headers["connection"] == "close"
    assert upstream.seen == []


def test_a_form_that_is_too_large_is_refused(proxy: TollwayProcess, client: httpx.Client) -> None:
    sent = 0

    def zeros() -> Iterator[bytes]:
        nonlocal sent
        yield form(part("model", b"acme/whisper-1"))[: -len(EDGE) - 6] + part("file", b"", "a.wav")[:-2]
        while sent < 60 << 20:
            sent += 1 << 20
            yield bytes(1 << 20)

    answer = client.post(PATH, content=zeros(), headers=HEADERS)

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


# --- what becomes of it -----------------------------------------------------------------------------------------------------


STEPS = [
    ("broken", Reset(after=100_000)),
    ("broken", Reset()),
    ("limited", Early(told({"error": {"message": "slow"}}, 429), after=0)),
]


@pytest.mark.parametrize(("name", "step"), STEPS, ids=["middle", "beginning", "unread"])
@pytest.mark.parametrize("sound", [SOUND * 8, MIDDLE], ids=["small", "spooled"])
def test_another_deployment_gets_all_of_it_again(
    client: httpx.Client, upstream: FormUpstream, name: str, step: Any, sound: bytes
) -> None:
    upstream.script(f"/{name}/v1", step)

    answer = client.post(PATH, content=form(part("model", name.encode()), part("file", sound, "a.wav")), headers=HEADERS)

    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tollway-provider"] == "beta"
    assert upstream.below("/beta/v1")[0].files["file"][0].digest == digest(sound)
    assert upstream.below("/beta/v1")[0].model == "whisper-1"


def test_what_passes_is_tried_once(client: httpx.Client, upstream: FormUpstream, proxy: TollwayProcess) -> None:
    upstream.script("/broken/v1", Reset(after=1 << 20))

    answer = client.post(PATH, content=form(part("model", b"broken"), part("file", LARGE * 4, "a.wav")), headers=HEADERS)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    assert upstream.below("/beta/v1") == []
    assert proxy.entries(answer.headers["x-request-id"]) == [(1, "RESERVE"), (1, "VOID")]


def test_an_early_refusal_of_what_passes_reaches_the_client(client: httpx.Client, upstream: FormUpstream) -> None:
    upstream.script("/acme/v1", Early(told({"error": {"message": "Too large.", "type": "invalid_request_error"}}, 413)))

    answer = client.post(PATH, content=form(part("model", b"acme/whisper-1"), part("file", LARGE * 4, "a")), headers=HEADERS)

    assert (answer.status_code, answer.json()["error"]["message"]) == (413, "Too large.")


def test_what_passes_and_turns_out_not_to_be_a_form_is_never_whole(
    client: httpx.Client, upstream: FormUpstream, proxy: TollwayProcess
) -> None:
    body = form(part("model", b"acme/whisper-1"), part("file", LARGE, "a.wav"))[:-8] + b"garbage!"

    answer = client.post(PATH, content=body, headers=HEADERS)

    upstream.until(lambda: upstream.seen[0].got > 0)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_form")
    assert not upstream.seen[0].whole
    assert proxy.entries(answer.headers["x-request-id"]) == [(1, "RESERVE"), (1, "VOID")]


@pytest.mark.parametrize("late", ["model", "language"])
def test_in_what_passes_fields_come_first(client: httpx.Client, late: str) -> None:
    fields = {"model": b"acme/whisper-1", "language": b"de"}
    early = [part(name, value) for name, value in fields.items() if name != late]

    answer = client.post(PATH, content=form(*early, part("file", LARGE, "a"), part(late, fields[late])), headers=HEADERS)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, late)


@pytest.mark.parametrize("size", [1 << 20, 4 << 20], ids=["taken in", "passing"])
def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(
    proxy: TollwayProcess, upstream: FormUpstream, size: int
) -> None:
    model = b"acme/whisper-1"
    before = len(proxy.rows("SELECT 1 FROM requests WHERE outcome = 'client_closed'"))
    head = (
        f"POST /v1{PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {proxy.api_key}\r\n"
        f"content-type: {HEADERS['content-type']}\r\ncontent-length: {8 << 20}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", proxy.port)) as raw:
        raw.sendall(head.encode() + part("model", model) + part("file", bytes(size), "a.wav"))
        if size > WHOLE_MAX:
            upstream.until(lambda: bool(upstream.seen) and upstream.seen[0].got > WHOLE_MAX)

    deadline_s = time.monotonic() + 20
    while len(proxy.rows("SELECT 1 FROM requests WHERE outcome = 'client_closed'")) <= before:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    assert proxy.open_reservations() == []
    assert not any(seen.whole for seen in upstream.seen)


@pytest.mark.parametrize("sound", [SOUND, MIDDLE], ids=["small", "spooled"])
def test_one_sent_twice_under_one_name_is_answered_once(client: httpx.Client, upstream: FormUpstream, sound: bytes) -> None:
    named = {**HEADERS, "idempotency-key": os.urandom(8).hex()}
    body = form(part("model", b"acme/whisper-1"), part("file", sound, "a.wav"))
    other = form(part("model", b"acme/whisper-1"), part("file", sound[:-1] + bytes([sound[-1] ^ 1]), "a.wav"))

    first = client.post(PATH, content=body, headers=named)
    again = client.post(PATH, content=body, headers=named)
    reused = client.post(PATH, content=other, headers=named)

    assert (first.json(), again.json()) == (TEXT, TEXT)
    assert again.headers["idempotent-replayed"] == "true"
    assert reused.status_code == 422
    assert len(upstream.seen) == 1


def test_of_what_passes_nobody_knows_whether_it_is_the_same(client: httpx.Client) -> None:
    named = {**HEADERS, "idempotency-key": os.urandom(8).hex()}
    body = form(part("model", b"acme/whisper-1"), part("file", LARGE, "a.wav"))

    first = client.post(PATH, content=body, headers=named)
    again = client.post(PATH, content=body, headers=named)

    assert (first.status_code, again.status_code) == (200, 422)


# --- streams, and what it costs ---------------------------------------------------------------------------------------------


def events(*values: dict[str, Any]) -> Say:
    body = b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)
    return Say(body, content_type="text/event-stream; charset=utf-8")


async def test_a_transcript_comes_as_it_is_made(async_sdk: openai.AsyncOpenAI, upstream: FormUpstream) -> None:
    usage = {
        "type": "tokens",
        "input_tokens": 30,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 30},
        "output_tokens": 4,
        "total_tokens": 34,
    }
    told_events = [
        {"type": "transcript.text.delta", "delta": "Hal"},
        {"type": "transcript.text.delta", "delta": "lo"},
        {"type": "transcript.text.done", "text": "Hallo", "usage": usage},
    ]
    upstream.script("/openai/v1", events(*told_events))

    stream = await async_sdk.audio.transcriptions.create(model="openai/heard", file=("a.wav", SOUND), stream=True)
    types = [event.type async for event in stream]

    assert types == [event["type"] for event in told_events]
    assert upstream.seen[0].fields["stream"] == ["true"]


def test_a_picture_comes_as_it_is_drawn(sdk: openai.OpenAI, upstream: FormUpstream, proxy: TollwayProcess) -> None:
    usage = {"input_tokens": 200, "input_tokens_details": {"image_tokens": 190, "text_tokens": 10}, "output_tokens": 1_000}
    upstream.script(
        "/openai/v1",
        events(
            {"type": "image_edit.partial_image", "b64_json": "AA==", "partial_image_index": 0},
            {"type": "image_edit.completed", "b64_json": "AA==", "size": "1024x1024", "quality": "low", "usage": usage},
        ),
    )

    stream = sdk.images.edit(
        model="openai/gpt-image-1", image=("a.png", SOUND), prompt="x", stream=True, partial_images=1, size="1024x1024"
    )
    types = [event.type for event in stream]
    record = proxy.records("openai/gpt-image-1")[-1]

    assert types == ["image_edit.partial_image", "image_edit.completed"]
    # 10 tokens of text at 5, 190 of pictures at 10, 1,000 that are drawn at 40 USD a million.
    assert record["cost_nusd"] == (10 * 5 + 190 * 10 + 1_000 * 40) * 1_000


WAV = wav(90)
HOUR_NUSD = 360_000_000


def cost_of(proxy: TollwayProcess, answer: httpx.Response) -> tuple[int, str]:
    receipt = proxy.receipt(answer.headers["x-request-id"])
    return receipt["cost_nusd"], receipt["quality"]


@pytest.mark.parametrize(
    ("say", "cost", "quality"),
    [
        (told({"text": "a", "usage": {"type": "duration", "seconds": 100}}), HOUR_NUSD * 100 // 3600, "exact"),
        (told({"text": "a", "duration": 95.5}), HOUR_NUSD * 955 // 36_000, "exact"),
        (Say(b"a\n", content_type="text/plain"), HOUR_NUSD * 90 // 3600, "estimated"),
    ],
    ids=["usage", "duration", "neither"],
)
def test_sound_is_charged_by_the_second(
    client: httpx.Client, upstream: FormUpstream, proxy: TollwayProcess, say: Say, cost: int, quality: str
) -> None:
    upstream.script("/openai/v1", say)

    answer = client.post(PATH, content=form(part("model", b"openai/heard"), part("file", WAV, "a.wav")), headers=HEADERS)

    assert cost_of(proxy, answer) == (cost, quality)
    assert answer.headers["x-tollway-cost-usd"] == f"0.{cost:09d}"


def test_what_was_never_sent_whole_costs_nothing(client: httpx.Client, upstream: FormUpstream, proxy: TollwayProcess) -> None:
    upstream.script("/openai/v1", Early(told({"error": {"message": "Too large."}}, 413)))

    answer = client.post(PATH, content=form(part("model", b"openai/heard"), part("file", LARGE * 4, "a")), headers=HEADERS)

    assert answer.status_code == 413
    assert cost_of(proxy, answer)[0] == 0


def test_a_budget_holds_what_a_sound_may_cost(client: httpx.Client, proxy: TollwayProcess, upstream: FormUpstream) -> None:
    poor = {"authorization": f"Bearer {POOR_KEY}"}
    short = form(part("model", b"openai/heard"), part("file", wav(1), "a.wav"))
    # About eight minutes, by its size: 0.05 USD, and there are 0.02.
    long = form(part("model", b"openai/heard"), part("file", bytes(2_000_000), "a.wav"))

    refused = client.post(PATH, content=long, headers=HEADERS | poor)
    admitted = client.post(PATH, content=short, headers=HEADERS | poor)

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
    assert admitted.status_code == 200
    assert len(upstream.seen) == 1


def test_a_key_may_be_kept_from_an_endpoint(client: httpx.Client, upstream: FormUpstream) -> None:
    body = form(part("model", b"openai/heard"), part("file", SOUND, "a.wav"))

    answer = client.post(PATH, content=body, headers=HEADERS | {"authorization": f"Bearer {LIMITED_KEY}"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")
    assert upstream.seen == []


# --- memory -----------------------------------------------------------------------------------------------------------------


def peak_bytes(proxy: TollwayProcess) -> int:
    """The most memory that the process has had since this was last reset."""
    text = Path(f"/proc/{proxy.pid}/status").read_text(encoding="ascii")
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process's peak")
@pytest.mark.parametrize("whole_max", [WHOLE_MAX, 256 << 20], ids=["passing", "spooled"])
def test_a_large_file_is_not_held_in_memory(upstream: FormUpstream, tmp_path: Path, whole_max: int) -> None:
    size = 56 << 20
    setting = config(
        upstream,  # type: ignore[arg-type]  # as above
        {"acme": ["whisper-1"]},
        server={"max_whole_upload_bytes": whole_max},
    )

    def counted(seen: Seen) -> Say:
        return told({"text": str(seen.files["large"][0].size), "usage": {"type": "duration", "seconds": 3}})

    def pieces() -> Iterator[bytes]:
        yield part("model", b"acme/whisper-1") + part("file", b"", "a.wav")[:-2]
        for _ in range(size >> 20):
            yield bytes(1 << 20)
        yield b"\r\n" + form()

    upstream.script("/acme/v1", counted)
    with tollway(tmp_path, setting) as proxy, proxy.client() as client:
        client.post(PATH, content=form(part("model", b"acme/whisper-1"), part("file", SOUND, "a.wav")), headers=HEADERS)
        before = peak_bytes(proxy)

        answer = client.post(PATH, content=pieces(), headers=HEADERS)

        assert answer.json()["text"] == str(size)
        assert peak_bytes(proxy) - before < 20 << 20
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".upload")] == []
