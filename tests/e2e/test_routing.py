"""``model: auto``, as a client of the running proxy sees it: who answers, why, and what changes that."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.conftest import Serve
from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.ledger.refresh.publisher import Publisher
from tests.process import Setting, TollwayProcess, config, tollway

HELLO: Any = [{"role": "user", "content": "Hi there!"}]
CODE: Any = [{"role": "user", "content": "Write a Python function that merges two sorted lists."}]
LESSER_KEY = "tw-" + secrets.token_hex(32)

SCORES = {"gpt-9-small": 40.0, "gpt-9-middle": 55.0, "gpt-9-large": 60.0}
PRICES = {"gpt-9-small": (0.1, 0.4), "gpt-9-middle": (1.0, 4.0), "gpt-9-large": (10.0, 40.0)}


def house(upstream: OpenAIUpstream, **sections: Any) -> Setting:
    """A provider ``a`` with three models that the ledger can know, each with a price."""
    prices = [
        {"model": f"a/{name}", "input_usd_per_mtok": price[0], "output_usd_per_mtok": price[1]}
        for name, price in PRICES.items()
    ]
    keys = {"lesser": {"key": "env:LESSER_KEY", "models": ["auto*", "a/gpt-9-small", "a/gpt-9-middle"]}}
    setting = config(upstream, {"a": [*PRICES, "text-embedding-9"]}, **{"ledger": {"prices": prices}, "keys": keys, **sections})
    setting.env["LESSER_KEY"] = LESSER_KEY
    upstream.serve(*PRICES)
    return setting


def post_scores(proxy: TollwayProcess, scores: dict[str, float], metric: str = "intelligence_index") -> None:
    """As a harness does it."""
    envelope = {
        "schema": "tollway.benchmarks/1",
        "harness": {"name": "helios", "version": "1"},
        "observed_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 5)),
        "results": [
            {"model": name, "metric": metric, "value": value, "unit": "points", "confidence": 1.0}
            for name, value in scores.items()
        ],
    }
    answer = post(proxy, "ledger/benchmarks", envelope)
    assert (answer.status_code, answer.json().get("accepted")) == (200, len(scores)), answer.text


def post(proxy: TollwayProcess, path: str, body: Any, *, key: str = "", **headers: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {key or proxy.api_key}", **headers}
    return httpx.post(f"{proxy.base_url}/{path}", json=body, headers=headers, timeout=30, trust_env=False)


def ask(proxy: TollwayProcess, model: str = "auto:best", messages: Any = HELLO, **fields: Any) -> httpx.Response:
    key, headers = fields.pop("key", ""), fields.pop("headers", {})
    return post(proxy, "chat/completions", {"model": model, "messages": messages, **fields}, key=key, **headers)


def explain(proxy: TollwayProcess, model: str = "auto:best", messages: Any = HELLO, **fields: Any) -> dict[str, Any]:
    answer = post(proxy, "route/explain", {"model": model, "messages": messages, **fields})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def until(condition: Callable[[], bool], *, within_s: float) -> None:
    """Wait for it.  Raises: AssertionError, if it takes longer."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() < began_s + within_s, "it did not come to that in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIUpstream]:
    with OpenAIUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy(upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    policies = {
        "auto:known": {"abstain": {"coverage": 0.9}, "default": "a/gpt-9-small", "task": "math"},
        "auto:quick": {"rule": "fastest"},
    }
    with tollway(tmp_path_factory.mktemp("routing"), house(upstream, policies=policies)) as proxy:
        post_scores(proxy, SCORES)
        post_scores(proxy, {"gpt-9-small": 10.0, "gpt-9-middle": 70.0, "gpt-9-large": 20.0}, "coding_index")
        until(lambda: explain(proxy)["chosen"] == "a/gpt-9-large", within_s=20)
        until(lambda: explain(proxy, messages=CODE)["chosen"] == "a/gpt-9-middle", within_s=20)
        yield proxy


def test_the_official_sdk_is_answered_by_whoever_is_best(proxy: TollwayProcess) -> None:
    client = OpenAI(base_url=proxy.base_url, api_key=proxy.api_key, max_retries=0)

    raw = client.chat.completions.with_raw_response.create(
        model="auto:best", messages=HELLO, extra_body={"route": {"max_cost_usd": 1}}
    )

    assert raw.headers["x-tollway-model"] == "gpt-9-large"
    assert raw.parse().choices[0].message.content
    assert {"auto", "auto:cheap", "auto:known"} <= {it.id for it in client.models.list()}


@pytest.mark.parametrize(
    ("model", "messages", "expected"),
    [
        ("auto:best", HELLO, "gpt-9-large"),
        ("auto:best", CODE, "gpt-9-middle"),
        ("auto:coding", HELLO, "gpt-9-middle"),
        ("auto:quality", HELLO, "gpt-9-large"),
        ("auto:floor", HELLO, "gpt-9-small"),
        ("auto:pareto", HELLO, "gpt-9-small"),
    ],
)
def test_a_policy_means_what_it_says(proxy: TollwayProcess, model: str, messages: Any, expected: str) -> None:
    assert ask(proxy, model, messages).headers["x-tollway-model"] == expected


def test_what_the_caller_asks_is_kept_to_and_reaches_no_upstream(proxy: TollwayProcess, upstream: OpenAIUpstream) -> None:
    in_body = ask(proxy, route={"max_cost_usd": 0.005})
    in_header = ask(proxy, headers={"x-tollway-route": "max_cost_usd=0.005, deny=a/gpt-9-middle"})

    assert (in_body.headers["x-tollway-model"], in_header.headers["x-tollway-model"]) == ("gpt-9-middle", "gpt-9-small")
    assert all(b"route" not in seen.body for seen in upstream.seen)


@pytest.mark.parametrize(
    ("route", "param"),
    [
        (3, "route"),
        ({"max_cost": 1}, "route.max_cost"),
        ({"max_cost_usd": -1}, "route.max_cost_usd"),
        ({"max_ttft_ms": "fast"}, "route.max_ttft_ms"),
        ({"task": "cooking"}, "route.task"),
        ({"allow": [1]}, "route.allow"),
    ],
)
def test_what_is_asked_wrongly_is_refused_by_name(proxy: TollwayProcess, route: Any, param: str) -> None:
    answer = ask(proxy, route=route)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_nobody_who_may_answer_is_said_with_everybodys_reason(proxy: TollwayProcess) -> None:
    answer = ask(proxy, route={"max_cost_usd": 0.000001, "deny": ["*/gpt-9-large"]})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], answer.headers["x-should-retry"]) == (422, "no_candidate", "false")
    assert "a/gpt-9-small: it would cost $0.000" in error["message"]
    assert "a/gpt-9-large: the request denies it" in error["message"]
    assert "a/text-embedding-9: it does not write text" in error["message"]


def test_somebody_may_stand_in_for_nobody(proxy: TollwayProcess) -> None:
    answer = ask(proxy, route={"max_cost_usd": 0.000001, "fallback": "a/gpt-9-small"})

    assert (answer.status_code, answer.headers["x-tollway-model"]) == (200, "gpt-9-small")


def test_a_key_is_given_nobody_whom_it_may_not_use(proxy: TollwayProcess) -> None:
    # Its patterns allow ``auto*`` by name, which allows whoever that comes to; its own models are a matter of its patterns.
    by_name = ask(proxy, "a/gpt-9-large", key=LESSER_KEY)

    assert by_name.status_code == 403


def test_embeddings_are_not_chosen_for(proxy: TollwayProcess) -> None:
    answer = post(proxy, "embeddings", {"model": "auto", "input": "hi"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_endpoint")


def test_a_policy_that_knows_too_little_says_so_and_takes_its_default(proxy: TollwayProcess) -> None:
    answer = ask(proxy, "auto:known")

    receipt = fetched(proxy, answer.headers["x-request-id"])["route"]
    assert (answer.headers["x-tollway-model"], receipt["abstained"], receipt["standing_in"]) == (
        "gpt-9-small",
        True,
        "a/gpt-9-small",
    )


def fetched(proxy: TollwayProcess, request_id: str, key: str = "") -> Any:
    headers = {"authorization": f"Bearer {key or proxy.api_key}"}
    answer = httpx.get(f"{proxy.base_url}/receipts/{request_id}", headers=headers, timeout=30, trust_env=False)
    return answer.json() if answer.status_code == 200 else answer.status_code


def test_a_receipt_tells_the_choice_and_what_came_of_it(proxy: TollwayProcess) -> None:
    answer = ask(proxy, "auto:best", route={"max_latency_ms": 86_400_000})
    plain = ask(proxy, "auto:best")

    route = fetched(proxy, plain.headers["x-request-id"])["route"]
    assert fetched(proxy, answer.headers.get("x-request-id", ""), LESSER_KEY) == 404
    assert (route["chosen"], route["policy"], route["features"]["task"]) == ("a/gpt-9-large", "auto:best", "general")
    best = route["candidates"][0]
    assert (best["name"], best["quality"]["source"]) == ("a/gpt-9-large", "harness:helios")
    assert best["cost_nusd"]["source"].startswith("configuration: a/gpt-9-large")
    receipt = fetched(proxy, plain.headers["x-request-id"])
    assert receipt["attempts"][0]["upstream_model"] == "gpt-9-large"
    assert receipt["cost_nusd"] > 0


def test_explaining_asks_nobody_and_charges_nothing(proxy: TollwayProcess, upstream: OpenAIUpstream) -> None:
    before = len(upstream.seen)

    told = explain(proxy, "auto", CODE)

    assert (told["features"]["task"], len(upstream.seen)) == ("coding", before)
    assert {it["name"] for it in told["candidates"]} == {f"a/{name}" for name in PRICES}
    assert all(it["reason"] for it in told["candidates"] if it["name"] != told["chosen"])
    assert told["rejected"] == [{"name": "a/text-embedding-9", "reason": "it does not write text"}]
    assert explain(proxy, "a/gpt-9-small")["chosen"] == "a/gpt-9-small"


def test_the_command_explains_too(proxy: TollwayProcess) -> None:
    told = proxy.command("route", "Write a Python function.", "--policy", "best", "--json")
    table = proxy.command("route", "Write a Python function.", "--policy", "best", "--max-cost-usd", "0.001")

    assert json.loads(told.stdout)["chosen"] == "a/gpt-9-middle", told.stderr
    assert "a/gpt-9-small" in table.stdout, table.stderr
    assert "it would cost" in table.stdout


def test_a_choice_is_drawn_where_it_is_asked(proxy: TollwayProcess, tmp_path: Path) -> None:
    file = tmp_path / "front.svg"

    told = proxy.command("route", "Hello", "--plot", str(file))

    assert told.returncode == 0, told.stderr
    assert file.read_text(encoding="utf-8").lstrip().startswith("<?xml")


def test_a_sort_asks_whoever_serves_the_model(proxy: TollwayProcess) -> None:
    assert ask(proxy, "gpt-9-large:floor").headers["x-tollway-model"] == "gpt-9-large"
    assert ask(proxy, "gpt-0:floor").status_code == 404


# --- what changes it -----------------------------------------------------------------------------------------------------


def test_a_posted_benchmark_changes_the_next_decision(proxy: TollwayProcess) -> None:
    before = explain(proxy, messages=[{"role": "user", "content": "Solve for x: x^2 = 4"}])

    post_scores(proxy, {"gpt-9-small": 90.0, "gpt-9-middle": 20.0, "gpt-9-large": 10.0}, "math_index")
    until(lambda: explain(proxy, messages=[{"role": "user", "content": "Solve for x: x^2 = 4"}])["chosen"] == "a/gpt-9-small", within_s=20)  # noqa: E501  # fmt: skip

    assert before["chosen"] != "a/gpt-9-small"


def gizmos(*dollars: float) -> bytes:
    """A list as OpenRouter publishes it: two models that no price list of ours knows."""
    rows = [
        {
            "id": f"acme/gizmo-{number}",
            "name": f"Gizmo {number}",
            "context_length": 100_000,
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            "pricing": {"prompt": f"{usd / 1e6:.9f}", "completion": f"{usd / 1e6:.9f}"},
            "supported_parameters": [],
        }
        for number, usd in enumerate(dollars, 1)
    ]
    return json.dumps({"data": rows}).encode()


def test_a_new_price_changes_the_next_decision(serve: Serve, upstream: OpenAIUpstream) -> None:
    with Publisher() as publisher:
        publisher.body = gizmos(1.0, 2.0)
        refresh = {"refresh": {"sources": {"openrouter": {"url": publisher.url}}}}
        proxy = serve(config(upstream, {"openrouter": ["acme/gizmo-1", "acme/gizmo-2"]}, ledger=refresh))

        def cheapest() -> str:
            """Whom it chooses; nobody, as long as it knows no prices."""
            told = explain(proxy, "auto:floor", max_tokens=100)
            costs.update({it["name"]: it["cost_nusd"] for it in told["candidates"]})
            chosen: str = told["chosen"]
            return chosen if all(it["value"] for it in costs.values()) else ""

        costs: dict[str, Any] = {}
        assert post(proxy, "ledger/refresh", {"sources": ["openrouter"]}).json()["data"][0]["status"] == "updated"
        until(lambda: cheapest() == "openrouter/acme/gizmo-1", within_s=20)
        before = dict(costs)
        publisher.body = gizmos(3.0, 2.0)
        assert post(proxy, "ledger/refresh", {"sources": ["openrouter"]}).json()["data"][0]["status"] == "updated"

        until(lambda: cheapest() == "openrouter/acme/gizmo-2", within_s=20)

    assert before["openrouter/acme/gizmo-1"]["value"] < before["openrouter/acme/gizmo-2"]["value"]
    assert before["openrouter/acme/gizmo-1"]["source"]


# --- what is not as it was for those before: these come last -----------------------------------------------------------------


def test_a_slower_upstream_changes_the_next_decision(proxy: TollwayProcess, upstream: OpenAIUpstream) -> None:
    for name in PRICES:
        upstream.script(name, replies.canned(gap_s=0.01))
        for _ in range(3):
            ask(proxy, f"a/{name}", stream=True)

    def fastest() -> dict[str, Any]:
        return explain(proxy, "auto:quick", max_tokens=5)

    until(lambda: all(it["latency_ms"].get("n") for it in fastest()["candidates"]), within_s=20)
    before = fastest()["chosen"]
    upstream.script(before.removeprefix("a/"), replies.canned(wait_s=1.0, gap_s=0.01))
    for _ in range(4):
        ask(proxy, before, stream=True)

    until(lambda: fastest()["chosen"] != before, within_s=20)

    upstream.serve(*PRICES)


def test_a_broken_upstream_is_fallen_back_from_within_the_limits(proxy: TollwayProcess, upstream: OpenAIUpstream) -> None:
    first = explain(proxy)["chosen"]
    upstream.script(first.removeprefix("a/"), replies.error(503))

    answers, second = [], first
    while second == first and len(answers) < 30:  # until enough of its tries have failed
        answers.append(ask(proxy, route={"max_cost_usd": 0.05}))
        told = explain(proxy)
        second = told["chosen"]

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-tollway-model"] for answer in answers} == {second.removeprefix("a/")}
    assert answers[0].headers["x-tollway-attempts"] == "2"
    assert second != first == "a/gpt-9-large"
    assert next(it for it in told["candidates"] if it["name"] == first)["reason"].startswith("it is kept back")
