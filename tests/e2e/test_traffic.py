"""Who is asked while upstreams limit, fail, flap and slow down: the figures, seen by clients of the running proxy."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import Counter
from email.utils import formatdate
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.conftest import Serve
from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream, refusing_port
from tests.process import TollwayProcess, config

ASK: Any = [{"role": "user", "content": "hello"}]
OK = replies.canned()
DOWN = replies.error(503)


def pair(upstream: OpenAIUpstream, **sections: Any) -> Any:
    """``both``: two deployments of equal weight; ``chain``: the second only takes over."""
    models = {"both": {"targets": ["a/m", "b/n"]}, "chain": {"targets": ["a/m"], "fallbacks": ["b/n"]}}
    return config(upstream, {"a": ["m", "other"], "b": ["n"]}, models=models, **sections)


def ask(client: httpx.Client, model: str, **fields: Any) -> httpx.Response:
    return client.post("/chat/completions", json={"model": model, "messages": ASK, **fields})


def standings(proxy: TollwayProcess) -> dict[str, dict[str, Any]]:
    listed = proxy.command("deployments", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    return {row["name"]: row for row in json.loads(listed.stdout)}


async def crowd(
    proxy: TollwayProcess, model: str, count: int, *, together: int, for_s: float = 60.0
) -> list[tuple[float, httpx.Response, float]]:
    """So many requests, so many at a time, for so long: when each began, its answer, and how long it took."""
    done: list[tuple[float, httpx.Response, float]] = []
    left = iter(range(count))
    started_s = time.monotonic()
    limits = httpx.Limits(max_connections=together, max_keepalive_connections=together)
    async with httpx.AsyncClient(
        base_url=proxy.base_url, headers=proxy.headers, timeout=20, trust_env=False, limits=limits
    ) as client:

        async def one() -> None:
            for _ in left:
                began_s = time.monotonic()
                if began_s - started_s > for_s:
                    return
                answer = await client.post("/chat/completions", json={"model": model, "messages": ASK})
                done.append((began_s - started_s, answer, time.monotonic() - began_s))

        async with asyncio.TaskGroup() as group:
            for _ in range(together):
                group.create_task(one())
    return done


# --- rate limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["seconds", "date", "reset"])
def test_who_asks_to_be_left_alone_is_left_alone_that_long(serve: Serve, upstream: OpenAIUpstream, form: str) -> None:
    def limited(_: replies.Asked) -> replies.Reply:
        headers = {
            "seconds": (("retry-after", "2"),),
            "date": (("retry-after", formatdate(time.time() + 2.5, usegmt=True)),),
            "reset": (("x-ratelimit-reset-requests", "2s"), ("x-ratelimit-remaining-requests", "0")),
        }[form]
        return replies.answer({"error": {"message": "slow down"}}, status=429, headers=headers)

    upstream.script("m", limited, OK)
    upstream.serve("n")
    proxy = serve(pair(upstream))
    with proxy.client() as client:
        first = ask(client, "chain")
        refused_s = time.monotonic()
        answers = [first]
        while len(upstream.of("m")) < 2 and time.monotonic() < refused_s + 10:
            answers.append(ask(client, "chain"))
            time.sleep(0.02)

    pause_s = upstream.of("m")[1].at_s - upstream.of("m")[0].at_s
    assert {it.status_code for it in answers} == {200}
    assert (1.4 if form == "date" else 1.95) <= pause_s <= 8.0


def test_the_only_one_is_waited_for_and_then_answers(serve: Serve, upstream: OpenAIUpstream) -> None:
    upstream.script("m", replies.error(429, "rate_limit_exceeded", retry_after="2"), OK)
    proxy = serve(pair(upstream))

    with proxy.client() as client:
        began_s = time.monotonic()
        answer = ask(client, "a/m")
        took_s = time.monotonic() - began_s

    told = proxy.receipt(answer.headers["x-request-id"])
    assert (answer.status_code, answer.headers["x-tollway-attempts"]) == (200, "2")
    assert 1.95 <= took_s <= 8.0
    assert [(it["kind"], it["fault"]) for it in told["attempts"]] == [("", "rate_limit"), ("retry", "")]
    assert told["attempts"][1]["waited_ms"] >= 1950


@pytest.mark.parametrize("said", ["60", "9999999", "99999999999999999999"])
def test_the_only_one_that_wants_more_time_than_there_is_is_told_of(serve: Serve, upstream: OpenAIUpstream, said: str) -> None:
    upstream.script("m", replies.error(429, "rate_limit_exceeded", retry_after=said))
    proxy = serve(pair(upstream, retries={"wait_s": 0}))

    with proxy.client() as client:
        first, second = ask(client, "a/m"), ask(client, "a/m")

    assert [it.status_code for it in (first, second)] == [429, 429]
    assert all(1 <= int(it.headers["retry-after"]) <= 120 for it in (first, second))
    assert len(upstream.of("m")) == 1 or said == "99999999999999999999"


# --- accounts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal", [replies.error(401, "invalid_api_key"), replies.error(429, "insufficient_quota")], ids=["key", "quota"]
)
def test_an_account_that_is_refused_is_asked_once_and_all_of_its_models_are_left_alone(
    serve: Serve, upstream: OpenAIUpstream, refusal: replies.Reply
) -> None:
    upstream.script("m", refusal)
    upstream.serve("n", "other")
    proxy = serve(pair(upstream))

    with proxy.client() as client:
        chained = [ask(client, "chain") for _ in range(20)]
        alone = [ask(client, model) for model in ("a/m", "a/other")]

    assert {it.status_code for it in chained} == {200}
    assert (len(upstream.of("m")), len(upstream.of("other"))) == (1, 0)
    assert [(it.status_code, it.json()["error"]["code"]) for it in alone] == [(502, "upstream_auth")] * 2
    assert [it.headers["x-should-retry"] for it in alone] == ["false"] * 2
    assert standings(proxy)["a@default"]["state"] == "open"


def test_an_operator_can_see_who_is_left_alone_and_take_it_back(serve: Serve, upstream: OpenAIUpstream) -> None:
    upstream.script("m", replies.error(401, "invalid_api_key"), OK)
    upstream.serve("n")
    proxy = serve(pair(upstream))

    with proxy.client() as client:
        ask(client, "chain")
        listed = proxy.command("deployments", "list").stdout
        wrong = proxy.command("deployments", "reset", "nobody")
        reset = proxy.command("deployments", "reset", "a@default")
        after = ask(client, "chain")

    assert "a@default" in listed
    assert "upstream_auth" in listed
    assert (wrong.returncode, "nobody" in wrong.stderr) == (1, True)
    assert reset.stdout == "1 reset\n"
    assert after.headers["x-tollway-provider"] == "a"


def test_only_an_admin_sees_and_resets(serve: Serve, upstream: OpenAIUpstream) -> None:
    upstream.serve("m")
    key = f"tw-{secrets.token_hex(32)}"
    proxy = serve(pair(upstream, keys={"user": {"key": key}}))
    url = proxy.base_url.removesuffix("/v1") + "/admin/v1/deployments"
    user = {"authorization": f"Bearer {key}"}

    with proxy.client() as client:
        answers = [client.get(url, headers=user), client.post(f"{url}/reset", json={}, headers=user)]

    assert [it.status_code for it in answers] == [403, 403]


def test_an_account_that_has_spent_its_share_is_passed_over_also_after_a_restart(
    serve: Serve, upstream: OpenAIUpstream
) -> None:
    upstream.serve("m", "n")
    prices = [{"model": "a/m", "input_usd_per_mtok": 100_000.0, "output_usd_per_mtok": 0.0}]
    setting = config(
        upstream,
        {"a": ["m"], "b": ["n"]},
        models={"chain": {"targets": ["a/m"], "fallbacks": ["b/n"]}},
        fields={"a": {"api_key": None, "accounts": [{"name": "x", "api_key": "env:KEY_OF_A", "usd_per_day": 2.0}]}},
        ledger={"prices": prices},
    )
    proxy = serve(setting)

    with proxy.client() as client:
        # 11 tokens at 10 cents each.
        served = [ask(client, "chain").headers["x-tollway-provider"] for _ in range(4)]
        alone = ask(client, "a/m")
    proxy.terminate()
    proxy.restart()
    with proxy.client() as client:
        later = ask(client, "chain").headers["x-tollway-provider"]

    assert served == ["a", "a", "b", "b"]
    assert (alone.status_code, alone.headers["retry-after"]) == (503, "120")
    assert later == "b"


# --- failures ----------------------------------------------------------------------------------------------------------


def test_a_connection_that_is_refused_costs_a_request_less_than_fifty_milliseconds(
    serve: Serve, upstream: OpenAIUpstream
) -> None:
    upstream.serve("n")
    with refusing_port() as port:
        fields = {"a": {"base_url": f"http://127.0.0.1:{port}/v1"}}
        models = {"chain": {"targets": ["a/m"], "fallbacks": ["b/n"]}}
        proxy = serve(config(upstream, {"a": ["m"], "b": ["n"]}, fields=fields, models=models))
        with proxy.client() as client:
            ask(client, "b/n")
            told = [proxy.receipt(ask(client, "chain").headers["x-request-id"]) for _ in range(4)]
            solo = ask(client, "a/m")

    assert [[it["outcome"] for it in each["attempts"]] for each in told] == [["no_healthy_upstream", "ok"]] * 4
    assert min(each["attempts"][0]["duration_ms"] for each in told) < 50
    assert solo.status_code == 503


def test_a_fault_of_the_request_is_held_against_nobody(serve: Serve, upstream: OpenAIUpstream) -> None:
    upstream.script("m", *[replies.error(400, "invalid_value")] * 30, OK)
    proxy = serve(pair(upstream))

    with proxy.client() as client:
        refused = [ask(client, "chain").status_code for _ in range(30)]
        after = ask(client, "chain")

    assert refused == [400] * 30
    assert after.headers["x-tollway-provider"] == "a"
    assert standings(proxy)["a/m@default"]["error_percent"] == 0


def test_a_redirect_is_not_followed_and_another_one_takes_over(serve: Serve, upstream: OpenAIUpstream) -> None:
    upstream.script("m", replies.redirect(upstream.base_url("/b/v1") + "/chat/completions"))
    upstream.serve("n")
    proxy = serve(pair(upstream))

    with proxy.client() as client:
        answer = ask(client, "chain")

    assert (answer.status_code, answer.headers["x-tollway-provider"]) == (200, "b")
    assert [it.model for it in upstream.seen if it.method == "POST"] == ["m", "n"]


def test_who_keeps_failing_is_asked_five_times_and_no_more(serve: Serve, upstream: OpenAIUpstream) -> None:
    upstream.script("m", DOWN)
    upstream.serve("n")
    # In turns, so that it is the breaker and not the balancer that keeps away from it.
    proxy = serve(pair(upstream, load_balancer={"strategy": "round_robin"}))

    with proxy.client() as client:
        answers = [ask(client, "both") for _ in range(40)]

    assert {it.status_code for it in answers} == {200}
    assert len(upstream.of("m")) == 5
    assert standings(proxy)["a/m@default"]["state"] == "open"


async def test_of_two_hundred_clients_that_come_when_it_may_be_well_again_one_is_the_probe(
    serve: Serve, upstream: OpenAIUpstream
) -> None:
    upstream.script("m", *[DOWN] * 10, replies.canned(wait_s=1.0))
    proxy = serve(pair(upstream, circuit_breaker={"last_open_s": 1}, retries={"max_attempts": 1}))
    await crowd(proxy, "a/m", 30, together=1)
    failed = len(upstream.of("m"))
    await asyncio.sleep(1.3)

    answers = await crowd(proxy, "a/m", 200, together=200)

    assert failed == 10
    assert len(upstream.of("m")) == 11
    assert Counter(answer.status_code for _, answer, _ in answers) == {200: 1, 503: 199}


async def test_when_all_are_down_requests_fail_fast_and_do_not_multiply(serve: Serve, upstream: OpenAIUpstream) -> None:
    for name in ("m", "n"):
        upstream.script(name, DOWN)
    proxy = serve(pair(upstream))

    answers = await crowd(proxy, "both", 3000, together=4, for_s=6.0)

    calls = len(upstream.of("m")) + len(upstream.of("n"))
    late = [(answer, took_s) for at_s, answer, took_s in answers if at_s > 2.0]
    refused = [(answer, took_s) for answer, took_s in late if answer.status_code == 503]
    assert calls <= 1.2 * len(answers) + 3
    assert len(refused) > 0.9 * len(late) > 0
    # The client's own part of it included; the median, since the machine does other things too.
    assert median(took_s for _, took_s in refused) < 0.05
    assert all(1 <= int(answer.headers["retry-after"]) <= 120 for answer, _ in refused)
    assert {answer.headers["x-should-retry"] for answer, _ in refused} == {"false"}


async def test_when_all_are_back_so_are_the_answers(serve: Serve, upstream: OpenAIUpstream) -> None:
    for name in ("m", "n"):
        upstream.script(name, DOWN)
    proxy = serve(pair(upstream))
    await crowd(proxy, "both", 2000, together=4, for_s=4.0)
    for name in ("m", "n"):
        upstream.script(name, OK)
    healed_s = time.monotonic()

    with proxy.client() as client:
        while ask(client, "both").status_code != 200:
            assert time.monotonic() < healed_s + 10
            await asyncio.sleep(0.05)
    answers = await crowd(proxy, "both", 200, together=4)

    assert sum(answer.status_code == 200 for _, answer, _ in answers) >= 190


async def test_one_that_fails_every_second_time_is_not_noticed_by_clients(serve: Serve, upstream: OpenAIUpstream) -> None:
    upstream.script("m", *[DOWN, OK] * 3000)
    upstream.serve("n")
    proxy = serve(pair(upstream))

    answers = await crowd(proxy, "both", 3000, together=16)

    failed = [answer for _, answer, _ in answers if answer.status_code != 200]
    assert len(answers) == 3000
    assert len(failed) <= 3


@pytest.mark.slow
async def test_one_that_is_twenty_times_slower_than_its_twin_gets_less_than_a_tenth(
    serve: Serve, upstream: OpenAIUpstream
) -> None:
    upstream.script("m", replies.canned(wait_s=1.0))
    upstream.script("n", replies.canned(wait_s=0.05))
    proxy = serve(pair(upstream))

    answers = await crowd(proxy, "both", 5000, together=16, for_s=15.0)

    served = Counter(answer.headers["x-tollway-provider"] for at_s, answer, _ in answers if at_s >= 10.0)
    assert {answer.status_code for _, answer, _ in answers} == {200}
    assert served["a"] < 0.1 * served.total()


async def test_who_is_well_again_gets_its_share_back(serve: Serve, upstream: OpenAIUpstream) -> None:
    upstream.script("m", *[DOWN] * 5, OK)
    upstream.serve("n")
    proxy = serve(pair(upstream, circuit_breaker={"open_s": 1}, load_balancer={"strategy": "round_robin"}))
    await crowd(proxy, "both", 20, together=1)
    await asyncio.sleep(1.3)

    answers = await crowd(proxy, "both", 100, together=1)

    served = Counter(answer.headers["x-tollway-provider"] for _, answer, _ in answers)
    assert served == {"a": 50, "b": 50}


# --- who goes first, and who stays together ----------------------------------------------------------------------------


def test_the_second_priority_takes_over_when_the_first_has_failed(serve: Serve, upstream: OpenAIUpstream) -> None:
    upstream.script("m", OK, DOWN)
    upstream.serve("n")
    targets = [{"model": "b/n", "priority": 2}, {"model": "a/m", "priority": 1}]
    proxy = serve(config(upstream, {"a": ["m"], "b": ["n"]}, models={"smart": {"targets": targets}}))

    with proxy.client() as client:
        served = [ask(client, "smart").headers["x-tollway-provider"] for _ in range(2)]

    assert served == ["a", "b"]


def test_requests_of_a_session_stay_with_one_and_move_once_when_it_dies(serve: Serve, upstream: OpenAIUpstream) -> None:
    upstream.serve("m", "n")
    proxy = serve(pair(upstream))

    with proxy.client() as client:
        before = [ask(client, "both", prompt_cache_key="s").headers["x-tollway-model"] for _ in range(10)]
        (home,) = set(before)
        upstream.script(home, DOWN)
        after = [ask(client, "both", prompt_cache_key="s").headers["x-tollway-model"] for _ in range(20)]

    assert set(after) == {"m", "n"} - {home}


def test_what_is_too_long_for_one_goes_to_one_that_takes_in_more(serve: Serve, upstream: OpenAIUpstream) -> None:
    too_long = replies.error(400, "context_length_exceeded")
    upstream.script("gpt-4", too_long)
    upstream.script("gpt-4o", OK)
    upstream.script("gpt-3.5-turbo-instruct", OK)
    smart = {
        "targets": ["openai/gpt-4"],
        "fallbacks": ["b/n"],
        "context_fallbacks": ["openai/gpt-3.5-turbo-instruct", "openai/gpt-4o"],
    }
    served = ["gpt-4", "gpt-4o", "gpt-3.5-turbo-instruct"]
    proxy = serve(config(upstream, {"openai": served, "b": ["n"]}, models={"smart": smart}))

    with proxy.client() as client:
        answer = ask(client, "smart")

    assert (answer.status_code, answer.headers["x-tollway-model"]) == (200, "gpt-4o")
    assert standings(proxy)["openai/gpt-4@default"]["state"] == "closed"


def test_what_one_refuses_for_its_content_goes_to_who_may_take_it(serve: Serve, upstream: OpenAIUpstream) -> None:
    upstream.script("m", replies.error(400, "content_policy_violation"))
    upstream.serve("n")
    smart = {"targets": ["a/m"], "content_policy_fallbacks": ["b/n"]}
    proxy = serve(config(upstream, {"a": ["m"], "b": ["n"]}, models={"smart": smart, "strict": {"targets": ["a/m"]}}))

    with proxy.client() as client:
        answers = [ask(client, model) for model in ("smart", "strict")]

    assert [it.status_code for it in answers] == [200, 400]
    assert answers[1].json()["error"]["code"] == "content_policy_violation"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_slow_request_is_tried_twice_where_that_is_switched_on_and_both_are_billed(
    serve: Serve, upstream: OpenAIUpstream, stream: bool
) -> None:
    upstream.script("m", *[OK] * 25, replies.canned(wait_s=5.0))
    upstream.serve("n")
    free = [{"model": name, "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0} for name in ("a/m", "b/n")]
    proxy = serve(pair(upstream, hedging={"enabled": True, "max_percent": 50}, ledger={"prices": free}))

    with proxy.client() as client:
        for _ in range(25):
            ask(client, "chain", stream=stream)
        began_s = time.monotonic()
        answer = ask(client, "chain", stream=stream)
        took_s = time.monotonic() - began_s

    told = proxy.receipt(answer.headers["x-request-id"])
    assert took_s < 3.0
    assert answer.headers["x-tollway-provider"] == "b"
    assert [(it["attempt"], it["outcome"], it["kind"]) for it in told["attempts"]] == [(1, "hedged", ""), (2, "ok", "hedge")]
    assert all(it["cost_nusd"] > 0 for it in told["attempts"])
    assert told["cost_nusd"] == sum(it["cost_nusd"] for it in told["attempts"])
    upstream.wait_for(lambda: upstream.of("m")[-1].aborted)


@pytest.mark.parametrize("end", ["rst", "eof"])
def test_a_stream_that_breaks_off_is_taken_up_where_that_is_switched_on(
    serve: Serve, upstream: OpenAIUpstream, end: Any
) -> None:
    upstream.script("m", replies.canned(keep=4, end=end, gap_s=0.02))
    upstream.serve("n")
    proxy = serve(pair(upstream, retries={"continue_streams": True}))

    with (
        OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0) as sdk,
        sdk.chat.completions.stream(model="chain", messages=ASK) as stream,
    ):
        events = list(stream)
        whole = stream.get_final_completion()

    request_id = proxy.rows("SELECT request_id FROM requests")[0]["request_id"]
    told = proxy.receipt(request_id)
    begun = "".join(replies.WORDS[:3])
    assert events
    assert whole.choices[0].message.role == "assistant"
    assert whole.choices[0].message.content == begun + "".join(replies.WORDS)
    assert upstream.of("n")[0].json["messages"] == [*ASK, {"role": "assistant", "content": begun}]
    assert [(it["outcome"], it["kind"]) for it in told["attempts"]] == [("upstream_error", ""), ("ok", "continuation")]
    assert proxy.open_reservations() == []


def test_the_receipt_tells_the_whole_chain_to_its_owner_and_to_an_admin(serve: Serve, upstream: OpenAIUpstream) -> None:
    upstream.script("m", DOWN)
    upstream.serve("n")
    keys = {name: f"tw-{secrets.token_hex(32)}" for name in ("mine", "yours")}
    proxy = serve(pair(upstream, keys={name: {"key": key} for name, key in keys.items()}))

    with proxy.client() as client:
        mine, yours = ({"authorization": f"Bearer {keys[name]}"} for name in ("mine", "yours"))
        answer = client.post("/chat/completions", json={"model": "chain", "messages": ASK}, headers=mine)
        path = f"/receipts/{answer.headers['x-request-id']}"
        told = [client.get(path, headers=headers) for headers in (mine, yours, proxy.headers)]

    assert [it.status_code for it in told] == [200, 404, 200]
    assert answer.headers["x-tollway-attempts"] == "2"
    assert [(it["provider"], it["kind"], it["fault"], it["cost_nusd"]) for it in told[0].json()["attempts"]] == [
        ("a", "", "upstream", 0),
        ("b", "fallback", "", None),
    ]


def test_the_ledger_is_whole_after_all_of_that(serve: Serve, upstream: OpenAIUpstream, tmp_path: Path) -> None:
    upstream.script("m", *[DOWN, OK] * 10)
    upstream.serve("n")
    proxy = serve(pair(upstream))

    with proxy.client() as client:
        for _ in range(20):
            ask(client, "both")

    verified = proxy.command("ledger", "verify", "--json")
    assert verified.returncode == 0, verified.stdout
    assert proxy.open_reservations() == []
