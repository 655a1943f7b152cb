"""Sessions: whatever breaks on either side, the other one is told, one record is left, and nothing stays reserved."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.faults.crooked import LINGER, Crooked, Line, until
from tests.process import TollwayProcess, config, tollway

PROVIDERS = [f"s{number}" for number in range(40)]
BOUND_S = 25.0
PING_S = 1.0
IMPATIENT = {"connect_timeout_s": 1.0, "first_byte_timeout_s": 1.0, "idle_timeout_s": 1.0, "total_timeout_s": 3.0}
_unused = iter(PROVIDERS)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Crooked]:
    with Crooked() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy(upstream: Crooked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    setting = config(
        None,
        {name: ["m"] for name in PROVIDERS},
        fields={name: {"base_url": upstream.base_url(name), **IMPATIENT} for name in PROVIDERS},
        retries={"max_attempts": 1, "total_timeout_s": 4.0},
        circuit_breaker={"enabled": False},
        realtime={"ping_s": PING_S},
        ledger={"prices": [{"model": f"{name}/m", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2} for name in PROVIDERS]},
    )
    with tollway(tmp_path_factory.mktemp("sessions"), setting, timeout_s=60) as proxy:
        with proxy.client() as client:
            url = proxy.base_url.replace("/v1", "/admin/v1/budgets")
            assert client.post(url, json={"scope": "global", "usd": "100", "period": "total"}).status_code == 201
        until(lambda: standing(proxy) is not None)
        yield proxy


def standing(proxy: TollwayProcess) -> dict[str, Any] | None:
    with proxy.client() as client:
        (row,) = client.get(proxy.base_url.replace("/v1", "/admin/v1/budgets")).json()["data"]
    found: dict[str, Any] | None = row["standing"]
    return found


def session(proxy: TollwayProcess, name: str) -> connect:
    url = f"ws{proxy.base_url.removeprefix('http')}/realtime?model={name}/m"
    return connect(url, proxy=None, compression=None, close_timeout=5, open_timeout=BOUND_S, additional_headers=proxy.headers)


def record(proxy: TollwayProcess, name: str) -> dict[str, Any]:
    (row,) = proxy.records(f"{name}/m", timeout_s=BOUND_S)
    return row


def nothing_left(proxy: TollwayProcess) -> None:
    until(lambda: proxy.open_reservations() == [], "an end of every reservation")
    until(lambda: (it := standing(proxy)) is not None and it["reserved"] == 0, "nothing held of the budget")


# --- before a session is open ------------------------------------------------------------------------------------------------


def reset_at_once(line: Line) -> None:
    line.head()
    line.reset()


def leave(line: Line) -> None:
    line.head()


def be_silent(line: Line) -> None:
    line.head()
    line.silence()


def say_garbage(line: Line) -> None:
    line.head()
    line.say(b"\x00\xff what?\r\n\r\n")


def answer_as_a_page(line: Line) -> None:
    line.head()
    line.answer(b"<html>hello</html>", kind="text/html")


def confirm_wrongly(line: Line) -> None:
    line.head()
    line.say(b"HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: bm8=\r\n\r\n")


def limit_rate(line: Line) -> None:
    line.head()
    line.say(b"HTTP/1.1 429 X\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}")


def fail(line: Line) -> None:
    line.head()
    line.answer(b"{}", status=500)


def lie_about_length(line: Line) -> None:
    line.head()
    line.answer(b"{}", status=500, length=100)


REFUSED: dict[Callable[[Line], None], set[int]] = {
    reset_at_once: {502, 503},
    leave: {502, 503},
    be_silent: {504},
    say_garbage: {502},
    answer_as_a_page: {502},
    confirm_wrongly: {502},
    limit_rate: {429},
    fail: {502, 503},
    lie_about_length: {502, 503},
}


async def test_an_upstream_that_does_not_open_is_told_of_as_to_any_request(proxy: TollwayProcess, upstream: Crooked) -> None:
    found: dict[str, tuple[str, int]] = {}

    async def one(fault: Callable[[Line], None]) -> None:
        name = next(_unused)
        upstream.faults[name] = fault
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(InvalidStatus) as caught:
                async with session(proxy, name):
                    pass
        answer = caught.value.response
        assert sorted(json.loads(answer.body or b"{}")["error"]) == ["code", "message", "param", "type"]
        found[fault.__name__] = name, answer.status_code

    await asyncio.gather(*map(one, REFUSED))

    wrong = {fault.__name__: found[fault.__name__] for fault in REFUSED if found[fault.__name__][1] not in REFUSED[fault]}
    assert wrong == {}
    assert all(
        record(proxy, name)["status"] == status and record(proxy, name)["cost_nusd"] == 0 for name, status in found.values()
    )
    nothing_left(proxy)


# --- in a session, upstreams ---


def answering(line: Line) -> None:
    """A session in which an answer has begun."""
    line.upgrade()
    line.event(type="session.created", session={"model": "m"})
    line.heard(b"response.create")
    line.event(type="response.created", response={"id": "r1", "status": "in_progress"})
    line.event(type="response.output_text.delta", response_id="r1", delta="hello")


def then(last: Callable[[Line], None], name: str) -> Callable[[Line], None]:
    def fault(line: Line) -> None:
        answering(line)
        last(line)

    fault.__name__ = name
    return fault


IN_SESSION = [
    then(lambda line: line.reset(), "reset"),
    then(lambda line: line.sock.close(), "leave"),
    then(lambda line: line.say(b"\x8f\x00"), "unknown opcode"),
    then(lambda line: line.say(b"\x81\x85abcdhello"), "masked"),
    then(lambda line: line.say(b"\x81\x7f" + struct.pack(">Q", 1 << 40)), "a message without an end"),
    then(lambda line: line.say(b"\x81\x02\xff\xfe"), "no UTF-8"),
    then(lambda line: line.silence(), "silence, no answer to pings"),
    then(lambda line: line.say(b"\x88\x02\x03\xf3"), "close 1011"),
]


async def test_an_upstream_that_breaks_in_an_answer_is_told_of_and_the_answer_estimated(
    proxy: TollwayProcess, upstream: Crooked
) -> None:
    found: dict[str, tuple[str, list[str], int | None]] = {}

    async def one(fault: Callable[[Line], None]) -> None:
        name = next(_unused)
        upstream.faults[name] = fault
        kinds: list[str] = []
        code = None
        async with asyncio.timeout(BOUND_S), session(proxy, name) as connection:
            await connection.send(json.dumps({"type": "response.create"}))
            try:
                async for message in connection:
                    with contextlib.suppress(ValueError):
                        kinds.append(json.loads(message)["type"])
            except ConnectionClosed:
                pass
            code = connection.close_code
        found[fault.__name__] = name, kinds, code

    await asyncio.gather(*map(one, IN_SESSION))

    for fault, (name, kinds, code) in found.items():
        row = record(proxy, name)
        assert kinds[:2] == ["session.created", "response.created"], fault
        assert code == (1009 if fault == "a message without an end" else 1011), fault
        assert (row["outcome"], row["quality"], row["cost_nusd"] > 0) == ("upstream_error", "estimated", True), fault
    nothing_left(proxy)


# --- in a session, clients ---


def reset(raw: socket.socket) -> None:
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)


def close(raw: socket.socket) -> None:
    del raw


def garbage(raw: socket.socket) -> None:
    raw.sendall(b"\x8f\x80abcd")
    drained(raw)


def unmasked(raw: socket.socket) -> None:
    raw.sendall(b"\x81\x02{}")
    drained(raw)


def half_a_frame(raw: socket.socket) -> None:
    """And no answer to a ping."""
    raw.sendall(b"\x81\xfe\x10\x00abcd{")
    drained(raw)


def drained(raw: socket.socket) -> None:
    """Until it is closed."""
    raw.settimeout(BOUND_S)
    with contextlib.suppress(ConnectionError):
        while raw.recv(4096):
            pass


async def test_a_client_that_breaks_in_an_answer_pays_and_holds_nothing(proxy: TollwayProcess, upstream: Crooked) -> None:
    names: dict[str, str] = {}

    def one(doing: Callable[[socket.socket], None], name: str) -> None:
        upstream.faults[name] = then(lambda line: line.silence(), "goes on")
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=BOUND_S) as raw:
            raw.sendall(
                f"GET /v1/realtime?model={name}/m HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {proxy.api_key}\r\n"
                "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
                "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            said = b'{"type":"response.create"}'
            data = b""
            for until_there, then_say in (
                (b"session.created", b"\x81" + bytes([0x80 | len(said)]) + b"\0\0\0\0" + said),
                (b"output_text.delta", b""),
            ):
                while until_there not in data:
                    more = raw.recv(4096)
                    assert more, data
                    data += more
                raw.sendall(then_say)
            doing(raw)

    jobs = []
    for doing in (reset, close, garbage, unmasked, half_a_frame):
        names[doing.__name__] = name = next(_unused)
        jobs.append(asyncio.to_thread(one, doing, name))
    await asyncio.gather(*jobs)

    rows = {doing: record(proxy, name) for doing, name in names.items()}
    assert {doing: (row["quality"], row["cost_nusd"] > 0) for doing, row in rows.items()} == dict.fromkeys(
        names, ("estimated", True)
    )
    nothing_left(proxy)
