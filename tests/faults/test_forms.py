"""Forms and files: whatever breaks on either side, nothing hangs, one record is left, and nothing stays reserved."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.faults.crooked import LINGER, Crooked, Line, until
from tests.process import Setting, TollwayProcess, config, tollway

BODY_S = 1.0
WHOLE_MAX = 1 << 20
SMALL, LARGE = os.urandom(20_000), os.urandom(1 << 16) * 48
EDGE = "edge-0123"
FORM = f"multipart/form-data; boundary={EDGE}"
PROVIDERS = [f"p{number}" for number in range(150)]
IMPATIENT = {"connect_timeout_s": 1.0, "first_byte_timeout_s": 1.0, "idle_timeout_s": 1.0, "total_timeout_s": 3.0}
BOUND_S = 25.0
"""A bound for a busy machine; without deadlines it would be for ever."""
TEXT = json.dumps({"text": "Hallo", "usage": {"type": "duration", "seconds": 3}}).encode()


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"\r\nContent-Type: audio/wav' if filename else ""
    return f'--{EDGE}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"


END = f"--{EDGE}--\r\n".encode()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Crooked]:
    with Crooked() as upstream:
        yield upstream


def setting(upstream: Crooked) -> Setting:
    return config(
        None,
        {name: ["m", "n"] for name in PROVIDERS},
        fields={name: {"base_url": upstream.base_url(name), "files": True, **IMPATIENT} for name in PROVIDERS},
        server={"body_timeout_s": BODY_S, "upload_timeout_s": 3, "max_whole_upload_bytes": WHOLE_MAX},
        retries={"max_attempts": 1},
        circuit_breaker={"enabled": False},
        files={"upload_timeout_s": 3},
        batches={"poll_s": 0.1, "poll_max_s": 0.1},
        ledger={
            "prices": [
                *({"model": f"{name}/m", "audio_usd_per_hour": 0.36} for name in PROVIDERS),
                *({"model": f"{name}/n", "input_usd_per_mtok": 1, "output_usd_per_mtok": 1} for name in PROVIDERS),
            ]
        },
    )


@pytest.fixture(scope="module")
def proxy(upstream: Crooked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    with tollway(tmp_path_factory.mktemp("forms"), setting(upstream), timeout_s=60) as proxy:
        limit(proxy)
        yield proxy


def limit(proxy: TollwayProcess) -> None:
    """A budget for everybody."""
    with proxy.client() as client:
        url = proxy.base_url.replace("/v1", "/admin/v1/budgets")
        assert client.post(url, json={"scope": "global", "usd": "100", "period": "total"}).status_code == 201
    until(lambda: standing(proxy) is not None)


def standing(proxy: TollwayProcess) -> dict[str, Any] | None:
    with proxy.client() as client:
        (row,) = client.get(proxy.base_url.replace("/v1", "/admin/v1/budgets")).json()["data"]
    found: dict[str, Any] | None = row["standing"]
    return found


_unused = iter(PROVIDERS)


# --- what upstreams do -------------------------------------------------------------------------------------------------------


def reset_at_once(line: Line) -> None:
    line.head()
    line.reset()


def reset_in_body(line: Line) -> None:
    line.head()
    line.body(4096)
    line.reset()


def leave(line: Line) -> None:
    line.head()
    line.body()


def be_silent(line: Line) -> None:
    line.head()
    line.body()
    line.silence()


def read_nothing(line: Line) -> None:
    line.head()
    line.over.wait(20)


def reset_in_answer(line: Line) -> None:
    line.head()
    line.body()
    line.answer(TEXT[:10], length=len(TEXT))
    line.reset()


def leave_in_answer(line: Line) -> None:
    line.head()
    line.body()
    line.answer(TEXT, length=len(TEXT) + 100)


def be_silent_in_answer(line: Line) -> None:
    line.head()
    line.body()
    line.answer(TEXT[:10], length=len(TEXT))
    line.silence()


def drip(line: Line) -> None:
    """A byte now and then, for longer than all of it may take."""
    line.head()
    line.body()
    line.answer(b"", length=1000)
    for _ in range(1000):
        line.say(b" ")
        if line.over.wait(0.2):
            return


def say_garbage(line: Line) -> None:
    line.head()
    line.body()
    line.say(b"\x00\xff\x00 what?\r\n\r\n\r\n")


def say_html(line: Line) -> None:
    line.head()
    line.body()
    line.answer(b"<html>Bad gateway</html>", status=502, kind="text/html")


def say_no_json(line: Line) -> None:
    line.head()
    line.body()
    line.answer(b'{"id": "file-')


def say_two_lengths(line: Line) -> None:
    line.head()
    line.body()
    line.say(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\ncontent-length: 7\r\n\r\n{}\r\nEVIL")


def limit_rate(line: Line) -> None:
    line.head()
    line.body()
    line.say(b"HTTP/1.1 429 X\r\nretry-after: 7\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")


def fail(line: Line) -> None:
    line.head()
    line.body()
    line.answer(b'{"error": {"message": "no"}}', status=500)


def redirect(line: Line) -> None:
    line.head()
    line.body()
    line.say(b"HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:1/elsewhere\r\ncontent-length: 0\r\n\r\n")


FAULTS: dict[Callable[[Line], None], set[int]] = {
    reset_at_once: {502, 503},
    reset_in_body: {502, 503},
    leave: {502, 503},
    be_silent: {504},
    reset_in_answer: {502, 503},
    leave_in_answer: {502, 503},
    be_silent_in_answer: {504},
    drip: {504},
    say_garbage: {502},
    say_html: {502, 503},
    say_no_json: {502},
    say_two_lengths: {502},
    limit_rate: {429},
    fail: {502, 503},
    redirect: {502},
}
"""What is told of each."""

Fault = Callable[[Line], None]


def told(answer: httpx.Response, fault: Fault) -> None:
    """The contract's error, whatever it was.  Raises: AssertionError."""
    assert answer.status_code in FAULTS[fault], answer.text
    assert sorted(answer.json()["error"]) == ["code", "message", "param", "type"]
    assert answer.headers["x-request-id"]
    assert b"EVIL" not in answer.content
    assert b"<html" not in answer.content


def record_of(proxy: TollwayProcess, answer: httpx.Response) -> dict[str, Any]:
    """Its one record."""
    request_id = answer.headers["x-request-id"]
    (record,) = until(lambda: proxy.rows("SELECT * FROM requests WHERE request_id = ?", request_id), "a record")
    assert record["status"] == answer.status_code
    return dict(record)


def nothing_left(proxy: TollwayProcess) -> None:
    """Nothing is reserved any more, and the next one is answered."""
    until(lambda: proxy.open_reservations() == [], "an end of every reservation")
    until(lambda: (it := standing(proxy)) is not None and it["reserved"] == 0, "nothing held of the budget")


Ask = Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]]


async def each(proxy: TollwayProcess, upstream: Crooked, ask: Ask) -> dict[Fault, tuple[str, httpx.Response]]:
    """What is answered under each fault, all at once, each at a provider of its own.  Raises: AssertionError, naming all."""
    names = {fault: next(_unused) for fault in FAULTS}
    problems: list[str] = []
    found: dict[Fault, tuple[str, httpx.Response]] = {}

    async def one(client: httpx.AsyncClient, fault: Fault, name: str) -> None:
        try:
            async with asyncio.timeout(BOUND_S):
                answer = await ask(client, name)
            told(answer, fault)
        except (AssertionError, TimeoutError, httpx.HTTPError) as error:
            problems.append(f"{fault.__name__}: {type(error).__name__} {str(error)[:300]}")
            return
        found[fault] = name, answer

    async with httpx.AsyncClient(base_url=proxy.base_url, headers=proxy.headers, timeout=BOUND_S, trust_env=False) as client:
        # Whoever asks for something that is kept has it kept before.
        if ask in KEPT:
            await asyncio.gather(*(give(client, name) for name in names.values()))
        method = "POST " if ask is have_done else ""
        upstream.faults.update({method + name: fault for fault, name in names.items()})
        await asyncio.gather(*(one(client, fault, name) for fault, name in names.items()))
    assert problems == []
    return found


async def transcribe(client: httpx.AsyncClient, name: str, sound: bytes = SMALL) -> httpx.Response:
    body = part("model", f"{name}/m".encode()) + part("file", sound, "a.wav") + END
    return await client.post("/audio/transcriptions", content=body, headers={"content-type": FORM})


async def transcribe_much(client: httpx.AsyncClient, name: str) -> httpx.Response:
    return await transcribe(client, name, LARGE)


async def give(client: httpx.AsyncClient, name: str, content: bytes = SMALL) -> httpx.Response:
    body = part("purpose", b"batch") + part("file", content, "a.jsonl") + END
    return await client.post("/files", content=body, headers={"content-type": FORM, "x-tollway-provider": name})


async def give_much(client: httpx.AsyncClient, name: str) -> httpx.Response:
    return await give(client, name, LARGE)


async def see(client: httpx.AsyncClient, name: str) -> httpx.Response:
    return await client.get(f"/files/file-{name}")


async def have_done(client: httpx.AsyncClient, name: str) -> httpx.Response:
    said = {"input_file_id": f"file-{name}", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return await client.post("/batches", json=said)


KEPT = (see, have_done)


async def test_an_upstream_that_breaks_is_told_of_and_recorded_once(proxy: TollwayProcess, upstream: Crooked) -> None:
    asks = (transcribe, transcribe_much, give, give_much, see, have_done)

    found = dict(zip(asks, await asyncio.gather(*(each(proxy, upstream, ask) for ask in asks)), strict=True))

    records = {ask: {fault: record_of(proxy, answer) for fault, (_, answer) in found[ask].items()} for ask in asks}
    nothing_left(proxy)
    # They never had all of it.
    assert [records[transcribe_much][fault]["cost_nusd"] for fault in (reset_at_once, reset_in_body)] == [0, 0]
    for ask in (transcribe, transcribe_much, give, give_much):
        assert {fault.__name__: len(upstream.of(name)) for fault, (name, _) in found[ask].items()} == {
            fault.__name__: 1 for fault in FAULTS
        }
    for ask in (transcribe_much, give_much):
        assert not any(upstream.of(found[ask][fault][0])[0].whole for fault in (reset_at_once, reset_in_body))


# --- what clients do ----------------------------------------------------------------------------------------------------------


class Place:
    """Where a client sends a body.  begun: bytes of it that may be all that comes; rest: what is missing of it then."""

    def __init__(self, path: str, kind: str, begun: bytes, rest: bytes, *, status: int = 408) -> None:
        self.path = path
        self.kind = kind
        self.begun = begun
        self.rest = rest
        self.status = status

    def head(self, proxy: TollwayProcess, name: str, length: int) -> bytes:
        return (
            f"POST /v1/{self.path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {proxy.api_key}\r\n"
            f"content-type: {self.kind}\r\nx-tollway-provider: {name}\r\ncontent-length: {length}\r\n\r\n"
        ).encode()


def places(name: str) -> dict[str, Place]:
    model, purpose = part("model", f"{name}/m".encode()), part("purpose", b"batch")
    small = part("file", SMALL, "a.wav") + END
    large = part("file", LARGE, "a.wav") + END
    return {
        "a form": Place("audio/transcriptions", FORM, model + small[:9_000], small[9_000:]),
        "a form that passes": Place("audio/transcriptions", FORM, model + large[:2_000_000], large[2_000_000:]),
        "a file": Place("files", FORM, purpose + small[:9_000], small[9_000:]),
        "a large file": Place("files", FORM, purpose + large[:2_000_000], large[2_000_000:]),
        "a batch": Place("batches", "application/json", b'{"input_file_id": "file-1",', b' "endpoint": "/v1/x"}'),
    }


def answered(raw: socket.socket) -> int:
    """The status of what is answered; 0: the connection was closed.  Raises: TimeoutError, OSError."""
    raw.settimeout(BOUND_S)
    data = b""
    while b"\r\n" not in data:
        more = raw.recv(4096)
        if not more:
            return 0
        data += more
    return int(data.split(b" ")[1])


def stop(raw: socket.socket, place: Place) -> int:
    raw.sendall(place.begun)
    return answered(raw)


def trickle(raw: socket.socket, place: Place) -> int:
    """A byte now and then: each comes in time, and all of them never do."""
    raw.sendall(place.begun)
    raw.settimeout(0.3)
    for at in range(200):
        try:
            raw.sendall(place.rest[at : at + 1] or b"x")
            data = raw.recv(4096, socket.MSG_PEEK)
        except TimeoutError:
            continue
        return int(data.split(b" ")[1]) if data else 0
    raise AssertionError("it was waited for without end")


def leave_half(raw: socket.socket, place: Place) -> int:
    raw.sendall(place.begun)
    return 0


def break_off(raw: socket.socket, place: Place) -> int:
    raw.sendall(place.begun)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    return 0


def end_half(raw: socket.socket, place: Place) -> int:
    """No more comes, and the answer is waited for."""
    raw.sendall(place.begun)
    raw.shutdown(socket.SHUT_WR)
    return answered(raw)


def leave_whole(raw: socket.socket, place: Place) -> int:
    """Leaves when all of it was sent, and nobody has answered."""
    raw.sendall(place.begun + place.rest)
    time.sleep(0.3)  # whoever leaves at once may not have been heard at all; how long it is here decides nothing
    return 0


DOINGS: dict[Callable[[socket.socket, Place], int], set[int]] = {
    stop: {408},
    trickle: {408},
    leave_half: {0},
    break_off: {0},
    end_half: {0},
    leave_whole: {0},
}


async def test_a_client_that_breaks_holds_nothing_and_is_recorded_once(proxy: TollwayProcess, upstream: Crooked) -> None:
    before = {row["request_id"] for row in proxy.rows("SELECT request_id FROM requests")}
    problems: list[str] = []
    names: dict[str, tuple[str, str]] = {}

    def one(doing: Callable[[socket.socket, Place], int], what: str, name: str) -> None:
        place = places(name)[what]
        upstream.faults[name] = be_silent
        try:
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=BOUND_S) as raw:
                raw.sendall(place.head(proxy, name, len(place.begun) + len(place.rest)))
                status = doing(raw, place)
        except (OSError, AssertionError) as error:
            problems.append(f"{doing.__name__} with {what}: {type(error).__name__} {error}")
            return
        if status not in DOINGS[doing]:
            problems.append(f"{doing.__name__} with {what}: {status}")

    jobs = []
    for doing in DOINGS:
        for what in places(""):
            if doing in (stop, trickle, leave_whole) and what == "a batch":
                continue  # nothing is asked of anybody for a file that is not there; and that door has a patience of its own
            name = next(_unused)
            names[name] = (doing.__name__, what)
            jobs.append(asyncio.to_thread(one, doing, what, name))
    await asyncio.gather(*jobs)

    # A batch's body is read before anything is known of it: at the door of what is no inference, which keeps no records.
    batches = sum(what == "a batch" for _, what in names.values())

    def recorded() -> list[dict[str, Any]]:
        rows = proxy.rows("SELECT * FROM requests WHERE endpoint != 'batches'")
        new = [row for row in rows if row["request_id"] not in before]
        return new if len(new) >= len(jobs) - batches else []

    rows = until(recorded, "a record of each")
    assert problems == []
    # Who sends all of it and leaves looks for a while like one who waits for the answer.
    assert {row["outcome"] for row in rows} <= {"client_closed", "request_timeout", "upstream_timeout"}
    assert sum(row["outcome"] == "upstream_timeout" for row in rows) <= 4
    assert len({row["request_id"] for row in rows}) == len(rows) == len(jobs) - batches
    nothing_left(proxy)
    cut = [name for name, (doing, _) in names.items() if doing != "leave_whole"]
    assert [names[name] for name in cut if any(asked.whole for asked in upstream.of(name))] == []
    # Whoever was asked is not waited for.
    left = [name for name, (doing, _) in names.items() if doing == "leave_whole"]
    assert all(upstream.of(name) for name in left)


# --- what becomes of us -------------------------------------------------------------------------------------------------------


def test_a_kill_in_the_middle_of_forms_leaves_nothing_reserved(
    upstream: Crooked, tmp_path_factory: pytest.TempPathFactory
) -> None:
    taken_in, passing, kept = "k1", "k2", "k3"
    for name in (taken_in, passing, kept):
        upstream.faults[name] = be_silent
    made = config(
        None,
        {name: ["m"] for name in (taken_in, passing, kept)},
        fields={name: {"base_url": upstream.base_url(name), "files": True} for name in (taken_in, passing, kept)},
        server={"max_whole_upload_bytes": WHOLE_MAX},
        ledger={"prices": [{"model": f"{name}/m", "audio_usd_per_hour": 0.36} for name in (taken_in, passing, kept)]},
    )
    with tollway(tmp_path_factory.mktemp("killed"), made) as proxy:
        limit(proxy)
        lines = []
        for name, what in ((taken_in, "a form"), (passing, "a form that passes"), (kept, "a file")):
            place = places(name)[what]
            raw = socket.create_connection(("127.0.0.1", proxy.port), timeout=BOUND_S)
            raw.sendall(place.head(proxy, name, len(place.begun) + len(place.rest)) + place.begun)
            if name != passing:
                raw.sendall(place.rest)
            lines.append(raw)
        for name in (taken_in, passing, kept):
            until(lambda name=name: any(asked.got for asked in upstream.of(name)), f"{name} being asked")
        before = standing(proxy)

        proxy.kill()
        for raw in lines:
            raw.close()
        proxy.restart()

        rows = proxy.rows("SELECT * FROM requests ORDER BY model")
        after = standing(proxy)
        spooled = [file.name for file in proxy.home.iterdir() if "spool" in file.name]

    assert before is not None and before["reserved"] > 0
    assert [(row["model"], row["outcome"], row["quality"]) for row in rows] == [
        (f"{name}/m", "interrupted", "held") for name in (taken_in, passing)
    ]
    assert after is not None and (after["reserved"], after["settled"]) == (0, sum(row["cost_nusd"] for row in rows))
    assert spooled == []


def test_who_stops_waits_for_no_provider_longer_than_it_may(
    upstream: Crooked, tmp_path_factory: pytest.TempPathFactory
) -> None:
    upstream.faults["d1"] = be_silent
    fields = {"d1": {"base_url": upstream.base_url("d1"), "files": True}}
    made = config(None, {"d1": ["m"]}, fields=fields, server={"drain_timeout_s": 0.5})
    with tollway(tmp_path_factory.mktemp("stopped"), made) as proxy:
        place = places("d1")["a file"]
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=BOUND_S) as raw:
            raw.sendall(place.head(proxy, "d1", len(place.begun) + len(place.rest)) + place.begun + place.rest)
            until(lambda: any(asked.whole for asked in upstream.of("d1")), "being asked")

            code = proxy.terminate()
            status = answered(raw)

        (row,) = proxy.rows("SELECT outcome FROM requests")

    assert (code, status, row["outcome"]) == (0, 503, "draining")
