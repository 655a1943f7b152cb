"""The control plane's client: how long, how much, and nowhere else."""

import socket

import httpx
import pytest

from ledger.errors import SourceUnavailable
from proxy.facts.web import HttpxWeb
from tests.ledger.refresh.publisher import Publisher


def now_us() -> int:
    return 1_795_000_000_000_000


async def test_an_answer_has_its_status_its_headers_and_its_body() -> None:
    with Publisher(b'{"a": 1}') as publisher:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await HttpxWeb(client, now_us).get(publisher.url, {"x-api-key": "k"})

    assert (answer.status, answer.body, answer.retry_after_s) == (200, b'{"a": 1}', None)
    assert answer.headers["etag"]
    assert publisher.asked[0].headers["x-api-key"] == "k"


async def test_a_refusal_says_when_to_come_again() -> None:
    with Publisher() as publisher:
        publisher.respond = lambda _: (503, {"retry-after": "17"}, b"busy")
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await HttpxWeb(client, now_us).get(publisher.url, {})

    assert (answer.status, answer.body, answer.retry_after_s) == (503, b"", 17.0)


async def test_more_than_is_taken_is_no_answer() -> None:
    with Publisher(b"x" * 5000) as publisher:
        async with httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(SourceUnavailable, match="more than 1000 bytes"):
                await HttpxWeb(client, now_us, body_max=1000).get(publisher.url, {})


async def test_who_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        async with httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(SourceUnavailable, match=r"within 0\.2 s"):
                await HttpxWeb(client, now_us, total_s=0.2).get(url, {})


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "nonsense://x", "http://[", "http://127.0.0.1:99999/"])
async def test_what_cannot_be_reached_is_said_without_a_header_in_it(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(SourceUnavailable, match=r"cannot be reached|no port") as caught:
            await HttpxWeb(client, now_us).get(url, {"x-api-key": "secret"})

    assert "secret" not in str(caught.value)
