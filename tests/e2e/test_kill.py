"""``kill -9`` under load: what a client was told is in the books, once, and they agree with the upstream's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Serve
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.faults.kills import run
from tests.process import TollwayProcess, config

ASK: Any = {"model": "acme/m", "messages": [{"role": "user", "content": "once"}]}
REQUESTS = 20_000
KILLS = 5
WALL_S = 480.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_request_is_lost_doubled_or_made_up_over_five_kills(tmp_path: Path) -> None:
    found = run(tmp_path, requests=REQUESTS, kills=KILLS, durability="process", wall_s=WALL_S)

    print(found)
    assert found.wrong == []
    assert found.sent >= REQUESTS
    assert found.billed >= found.acknowledged
    assert found.acknowledged + found.refused > REQUESTS - KILLS * 100


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_request_that_was_answered_before_a_kill_is_not_made_again(
    upstream: OpenAIUpstream, serve: Serve, stream: bool
) -> None:
    upstream.serve("m")
    proxy = serve(config(upstream, {"acme": ["m"]}))
    first = named(proxy, stream=stream)
    proxy.kill()
    proxy.restart()

    again = named(proxy, stream=stream)
    other = named(proxy, stream=not stream)

    assert (again.status_code, again.content) == (200, first.content)
    assert (again.headers["idempotent-replayed"], again.headers["x-tollway-cache"]) == ("true", "hit")
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert len(upstream.of("m")) == 1
    charged = proxy.rows("SELECT cost_nusd > 0 AS charged FROM requests ORDER BY at_us")
    assert len(proxy.entries(first.headers["x-request-id"])) == 2
    assert [row["charged"] for row in charged][1:] == [0, 0]


def test_what_is_not_to_be_on_disk_is_not(upstream: OpenAIUpstream, serve: Serve) -> None:
    upstream.serve("m")
    proxy = serve(config(upstream, {"acme": ["m"]}, cache={"idempotency": {"persist": False}}))
    named(proxy, stream=False)

    again = named(proxy, stream=False)

    assert again.headers["idempotent-replayed"] == "true"
    assert not (proxy.home / "idempotency.sqlite").exists()


def named(proxy: TollwayProcess, *, stream: bool) -> httpx.Response:
    with proxy.client() as client:
        return client.post("/chat/completions", json={**ASK, "stream": stream}, headers={"idempotency-key": "one"})
