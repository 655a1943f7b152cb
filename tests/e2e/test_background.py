"""Responses that are made in the background: whoever sees that one is over, it is charged once, by what it used."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conftest import Serve
from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import Setting, TollwayProcess, config

PRICE = {"model": "openai/bg", "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}
USED = {"input_tokens": 1000, "output_tokens": 50, "total_tokens": 1050}
COST_NUSD = 1000 * 1000 + 50 * 10_000
PATIENT_S = 30.0
NEVER_S = 3600


def body(status: str, usage: dict[str, Any] | None = None, name: str = "resp_bg") -> dict[str, Any]:
    return {"id": name, "object": "response", "status": status, "model": "bg", "output": [], "usage": usage, "error": None}


def event(kind: str, number: int, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number, **fields})}\n\n".encode()


def set_up(upstream: OpenAIUpstream, *, poll_s: float) -> Setting:
    return config(
        upstream,
        {"openai": ["bg"]},
        ledger={"prices": [PRICE]},
        background={"poll_s": poll_s, "poll_max_s": poll_s},
    )


def path(rest: str = "") -> str:
    return f"/openai/v1/responses/resp_bg{rest}"


def started(serve: Serve, upstream: OpenAIUpstream, *, poll_s: float) -> TollwayProcess:
    """A gateway with a budget of a dollar."""
    proxy = serve(set_up(upstream, poll_s=poll_s))
    with proxy.client() as client:
        url = proxy.base_url.replace("/v1", "/admin/v1/budgets")
        assert client.post(url, json={"scope": "global", "usd": "1", "period": "total"}).status_code == 201
    until(lambda: standing(proxy) is not None)
    return proxy


def ask(proxy: TollwayProcess, **fields: Any) -> httpx.Response:
    said = {"model": "openai/bg", "input": "think", "background": True, "max_output_tokens": 5_000, **fields}
    with proxy.client() as client:
        return client.post("/responses", json=said)


def standing(proxy: TollwayProcess) -> tuple[int, int] | None:
    """What the budget has settled, and what is reserved of it, in nano-USD; ``None``: it is not counted yet."""
    with proxy.client() as client:
        (row,) = client.get(proxy.base_url.replace("/v1", "/admin/v1/budgets")).json()["data"]
    found = row["standing"]
    return None if found is None else (found["settled"], found["reserved"])


def until(look: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENT_S
    while not look():
        assert time.monotonic() < deadline_s, "it did not come to that"
        time.sleep(0.02)


def booked(proxy: TollwayProcess) -> list[dict[str, Any]]:
    return proxy.rows("SELECT * FROM requests WHERE request_id LIKE '%-1'")


def test_what_its_client_is_told_is_booked_before(upstream: OpenAIUpstream, serve: Serve) -> None:
    upstream.script("bg", replies.answer(body("queued")))
    upstream.kept["GET", path()] = replies.answer(body("in_progress"))
    proxy = started(serve, upstream, poll_s=NEVER_S)

    made = ask(proxy)
    reserved = standing(proxy)
    with proxy.client() as client:
        client.get("/responses/resp_bg")
        early = booked(proxy)
        kept = client.delete("/responses/resp_bg")
        upstream.kept["GET", path()] = replies.answer(body("completed", USED))
        answers = [client.get("/responses/resp_bg") for _ in range(2)]
        (record,) = booked(proxy)

    request_id = made.headers["x-request-id"]
    assert (made.status_code, "x-tollway-cost-usd" in made.headers) == (200, False)
    assert (reserved[0], reserved[1] > COST_NUSD, early) == (0, True, [])
    assert (kept.status_code, kept.json()["error"]["code"]) == (409, "response_not_metered")
    assert [it.json()["status"] for it in answers] == ["completed"] * 2
    assert (record["request_id"], record["cost_nusd"], record["quality"]) == (f"{request_id}-1", COST_NUSD, "exact")
    assert (record["model"], record["endpoint"]) == ("openai/bg", "responses")
    assert proxy.entries(request_id) == [(1, "RESERVE"), (1, "VOID")]
    assert standing(proxy) == (COST_NUSD, 0)
    assert proxy.open_reservations() == []


def test_one_that_nobody_asks_about_is_looked_at(upstream: OpenAIUpstream, serve: Serve) -> None:
    upstream.script("bg", replies.answer(body("queued")))
    upstream.kept["GET", path()] = replies.answer(body("in_progress"))
    proxy = started(serve, upstream, poll_s=0.1)
    ask(proxy)
    until(lambda: any(it.method == "GET" for it in upstream.seen))

    upstream.kept["GET", path()] = replies.answer(body("failed", USED))
    until(lambda: bool(booked(proxy)))

    (record,) = booked(proxy)
    assert (record["outcome"], record["cost_nusd"], record["quality"]) == ("response_failed", COST_NUSD, "exact")
    until(lambda: standing(proxy) == (COST_NUSD, 0))


def test_one_that_is_cancelled_is_charged_what_it_used(upstream: OpenAIUpstream, serve: Serve) -> None:
    upstream.script("bg", replies.answer(body("in_progress")))
    upstream.kept["POST", path("/cancel")] = replies.answer(body("cancelled", USED))
    proxy = started(serve, upstream, poll_s=NEVER_S)
    ask(proxy)

    with proxy.client() as client:
        client.post("/responses/resp_bg/cancel")

    (record,) = booked(proxy)
    assert (record["outcome"], record["cost_nusd"], record["quality"]) == ("response_cancelled", COST_NUSD, "exact")


def test_a_kill_in_between_loses_nothing(upstream: OpenAIUpstream, serve: Serve) -> None:
    upstream.script("bg", replies.answer(body("queued")))
    upstream.kept["GET", path()] = replies.answer(body("in_progress"))
    proxy = started(serve, upstream, poll_s=0.1)
    ask(proxy)
    proxy.kill()
    upstream.kept["GET", path()] = replies.answer(body("completed", USED))

    proxy.restart()
    until(lambda: bool(booked(proxy)))
    until(lambda: standing(proxy) == (COST_NUSD, 0))
    proxy.kill()
    proxy.restart()

    (record,) = booked(proxy)
    assert (record["cost_nusd"], record["quality"]) == (COST_NUSD, "exact")
    assert standing(proxy) == (COST_NUSD, 0)
    assert (proxy.home / "background.jsonl").read_bytes().count(b'"open":{') == 0


@pytest.mark.parametrize("end", ["whole", "cut"])
def test_a_stream_is_charged_once_however_it_is_taken_up_again(upstream: OpenAIUpstream, serve: Serve, end: str) -> None:
    begun = event("response.created", 0, response=body("queued"))
    over = event("response.completed", 1, response=body("completed", USED))
    upstream.script("bg", replies.event_stream(begun, over) if end == "whole" else replies.event_stream(begun))
    upstream.kept["GET", path()] = replies.event_stream(over)
    proxy = started(serve, upstream, poll_s=NEVER_S)

    first = ask(proxy, stream=True)
    with proxy.client() as client:
        again = client.get("/responses/resp_bg", params={"stream": "true", "starting_after": 0})
        upstream.kept["GET", path()] = replies.answer(body("completed", USED))
        if end == "cut":
            client.get("/responses/resp_bg", params={"stream": "true", "starting_after": 1})
            until(lambda: bool(booked(proxy)))
        client.get("/responses/resp_bg")

    assert (first.content.count(b"response.completed") > 0) == (end == "whole")
    assert b"response.completed" in again.content
    charged = proxy.rows("SELECT cost_nusd, quality FROM requests WHERE cost_nusd > 0")
    assert [(it["cost_nusd"], it["quality"]) for it in charged] == [(COST_NUSD, "exact")]
    assert standing(proxy) == (COST_NUSD, 0)
