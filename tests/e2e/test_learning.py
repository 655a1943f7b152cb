"""What is learned from answers, as a client of the running proxy sees it: feedback, checks, kept decisions, reports."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from proxy.cli import cli
from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import Setting, TollwayProcess, config, tollway

HELLO: Any = [{"role": "user", "content": "Hi there!"}]
LESSER_KEY, OTHER_KEY = ("tw-" + secrets.token_hex(32) for _ in range(2))
SCORES = {"gpt-9-small": 40.0, "gpt-9-middle": 55.0, "gpt-9-large": 60.0}
PRICES = {"gpt-9-small": (0.1, 0.4), "gpt-9-middle": (1.0, 4.0), "gpt-9-large": (10.0, 40.0)}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "required": ["a"]}}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "required": ["town"]}}}


def house(upstream: OpenAIUpstream) -> Setting:
    prices = [
        {"model": f"a/{name}", "input_usd_per_mtok": price[0], "output_usd_per_mtok": price[1]}
        for name, price in PRICES.items()
    ]
    keys = {"lesser": {"key": "env:LESSER_KEY"}, "other": {"key": "env:OTHER_KEY"}}
    policies = {"auto:drawn": {"rule": "best", "explore": {"percent": 50, "max_cost_usd": 1, "seed": 7}}}
    setting = config(
        upstream, {"a": list(PRICES)}, ledger={"prices": prices}, keys=keys, policies=policies, routing={"receipts": 2}
    )
    setting.env.update({"LESSER_KEY": LESSER_KEY, "OTHER_KEY": OTHER_KEY})
    upstream.serve(*PRICES)
    return setting


def post(proxy: TollwayProcess, path: str, body: Any, *, key: str = LESSER_KEY) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{proxy.base_url}/{path}", json=body, headers=headers, timeout=30, trust_env=False)


def get(proxy: TollwayProcess, path: str, *, key: str = LESSER_KEY) -> httpx.Response:
    return httpx.get(f"{proxy.base_url}/{path}", headers={"authorization": f"Bearer {key}"}, timeout=30, trust_env=False)


def ask(proxy: TollwayProcess, model: str = "auto:best", **fields: Any) -> str:
    """The request's id."""
    answer = post(proxy, "chat/completions", {"model": model, "messages": HELLO, "user": secrets.token_hex(4), **fields})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-request-id"]


def say(proxy: TollwayProcess, *, key: str = LESSER_KEY, **fields: Any) -> httpx.Response:
    return post(proxy, "feedback", fields, key=key)


def candidate(proxy: TollwayProcess, name: str = "a/gpt-9-large") -> dict[str, Any]:
    told = post(proxy, "route/explain", {"model": "auto:best", "messages": HELLO}).json()
    found: dict[str, Any] = next(it for it in told["candidates"] if it["name"] == name)
    return found


def until(condition: Callable[[], object], *, within_s: float = 20) -> None:
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() < began_s + within_s, "it did not come to that in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIUpstream]:
    with OpenAIUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy(upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    with tollway(tmp_path_factory.mktemp("learning"), house(upstream)) as proxy:
        envelope = {
            "schema": "tollway.benchmarks/1",
            "harness": {"name": "helios", "version": "1"},
            "observed_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 5)),
            "results": [
                {"model": name, "metric": "intelligence_index", "value": value, "unit": "points", "confidence": 1.0}
                for name, value in SCORES.items()
            ],
        }
        assert post(proxy, "ledger/benchmarks", envelope, key=proxy.api_key).status_code == 200
        until(lambda: candidate(proxy)["place"] == 1)
        yield proxy


def checks(proxy: TollwayProcess, request_id: str) -> tuple[set[str], set[str]]:
    """What the request passed and failed, as soon as it was looked at."""
    rows: list[dict[str, Any]] = []
    until(lambda: rows.extend(proxy.rows("SELECT passed, failed FROM checks WHERE request_id = ?", request_id)) or rows)
    return set(rows[0]["passed"].split()), set(rows[0]["failed"].split())


# --- kept decisions ------------------------------------------------------------------------------------------------------


def test_a_decision_is_kept_beside_its_record_without_the_prompt(proxy: TollwayProcess) -> None:
    request_id = ask(proxy, route={"max_cost_usd": 1})

    (row,) = proxy.rows("SELECT * FROM decisions WHERE request_id = ?", request_id)

    assert (row["policy"], row["task"], row["chosen"], row["why"]) == ("auto:best", "general", "a/gpt-9-large", "rule")
    assert row["cost_nusd"] > 0
    assert json.loads(row["features"])["route"] == {"max_cost_nusd": 1_000_000_000}
    assert "Hi there" not in row["features"] + row["candidates"]
    assert len(json.loads(row["candidates"])) == 3


def test_a_request_that_names_its_model_has_no_decision(proxy: TollwayProcess) -> None:
    request_id = ask(proxy, "a/gpt-9-small")

    assert proxy.rows("SELECT * FROM decisions WHERE request_id = ?", request_id) == []


def test_a_refused_request_keeps_why_nobody_could_answer(proxy: TollwayProcess) -> None:
    answer = post(proxy, "chat/completions", {"model": "auto", "messages": HELLO, "route": {"max_cost_usd": 0.0000001}})

    (row,) = proxy.rows("SELECT * FROM decisions WHERE request_id = ?", answer.headers["x-request-id"])
    assert (answer.status_code, row["chosen"], row["why"]) == (422, "", "nobody")


def test_a_receipt_that_memory_has_forgotten_is_read_from_the_ledger(proxy: TollwayProcess) -> None:
    request_id = ask(proxy)
    whole = proxy.receipt(request_id)["route"]
    for _ in range(3):
        ask(proxy)

    kept = proxy.receipt(request_id)["route"]

    assert ("kept" in whole, kept["kept"]) == (False, True)
    assert (kept["policy"], kept["chosen"], kept["snapshot"]) == (whole["policy"], whole["chosen"], whole["snapshot"])
    assert kept["features"]["task"] == whole["features"]["task"]
    before = {it["name"]: it["cost_nusd"]["value"] for it in whole["candidates"]}
    assert {it["name"]: it["cost_nusd"] for it in kept["candidates"]} == before


def test_an_explored_choice_says_how_likely_it_was(proxy: TollwayProcess) -> None:
    ids = [ask(proxy, "auto:drawn") for _ in range(12)]

    rows = proxy.rows(f"SELECT why, propensity_ppm FROM decisions WHERE request_id IN ({','.join('?' * 12)})", *ids)  # noqa: S608  # places
    assert {(row["why"], row["propensity_ppm"]) for row in rows} <= {("rule", 500_000), ("explored", 250_000)}
    assert {row["why"] for row in rows} == {"rule", "explored"}


# --- feedback --------------------------------------------------------------------------------------------------------------


def test_feedback_is_kept_once_and_the_next_decision_knows_it(proxy: TollwayProcess) -> None:
    request_id = ask(proxy)
    before = candidate(proxy)["quality"].get("n", 0)

    first = say(proxy, request_id=request_id, thumbs="up", comment="helpful")
    again = say(proxy, request_id=request_id, score=1.0)
    other = say(proxy, request_id=request_id, score=0.25, source="bo")

    assert (first.status_code, first.json()["recorded"]) == (200, True)
    assert first.json()["model"] == "a/gpt-9-large"
    assert (again.status_code, again.json()["recorded"]) == (200, False)
    assert (other.json()["recorded"], other.json()["metric"]) == (True, "live_user_accept_rate")
    assert candidate(proxy)["quality"]["n"] == before + 2
    rows = proxy.rows("SELECT source, score_ppm, comment FROM feedback WHERE request_id = ? ORDER BY id", request_id)
    assert [tuple(row.values()) for row in rows] == [("user", 1_000_000, "helpful"), ("bo", 250_000, "")]


def test_another_opinion_of_the_same_source_is_a_conflict(proxy: TollwayProcess) -> None:
    request_id = ask(proxy)
    say(proxy, request_id=request_id, label="good")

    answer = say(proxy, request_id=request_id, label="bad")

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "feedback_given")


def test_of_two_answers_one_can_be_the_better_one(proxy: TollwayProcess) -> None:
    better, worse = ask(proxy), ask(proxy, "auto:floor")

    first = say(proxy, comparison={"better": better, "worse": worse})
    again = say(proxy, comparison={"better": better, "worse": worse})
    turned = say(proxy, comparison={"better": worse, "worse": better})

    rows = proxy.rows("SELECT offer, score_ppm, weight_ppm FROM feedback WHERE other_id IN (?, ?) ORDER BY id", better, worse)
    assert (first.json()["recorded"], again.json()["recorded"], turned.status_code) == (True, False, 409)
    assert [tuple(row.values()) for row in rows] == [("a/gpt-9-large", 1_000_000, 500_000), ("a/gpt-9-small", 0, 500_000)]


def test_only_who_asked_and_an_admin_may_say_anything(proxy: TollwayProcess) -> None:
    request_id = ask(proxy)

    foreign = say(proxy, key=OTHER_KEY, request_id=request_id, score=1)
    admin = say(proxy, key=proxy.api_key, request_id=request_id, label="pass", source="judge")
    nobody = say(proxy, key="tw-wrong", request_id=request_id, score=1)
    unknown = say(proxy, request_id="req_unknown", score=1)

    assert [it.status_code for it in (foreign, admin, nobody, unknown)] == [404, 200, 401, 404]
    assert admin.json()["metric"] == "live_pass_rate"
    assert unknown.json()["error"]["param"] == "request_id"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "score"),
        ({"score": 1.5}, "score"),
        ({"score": -0.1}, "score"),
        ({"score": True}, "score"),
        ({"score": "1"}, "score"),
        ({"score": 1, "thumbs": "up"}, "thumbs"),
        ({"thumbs": "sideways"}, "thumbs"),
        ({"label": "meh"}, "label"),
        ({"score": 1, "source": ""}, "source"),
        ({"score": 1, "comment": "x" * 2001}, "comment"),
        ({"score": 1, "stars": 5}, "stars"),
        ({"comparison": {"better": "a", "worse": "b"}}, "request_id"),
    ],
)
def test_what_is_no_feedback_is_refused_by_name(proxy: TollwayProcess, fields: dict[str, Any], param: str) -> None:
    answer = say(proxy, request_id="req_1", **fields)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_feedback_needs_a_request_and_a_comparison_two(proxy: TollwayProcess) -> None:
    request_id = ask(proxy)

    missing = say(proxy, score=1)
    itself = say(proxy, comparison={"better": request_id, "worse": request_id})

    assert [it.json()["error"]["param"] for it in (missing, itself)] == ["request_id", "comparison"]


# --- checks ----------------------------------------------------------------------------------------------------------------


def scripted(upstream: OpenAIUpstream, content: str, finish: str = "stop") -> None:
    """The next answer of the large one, whole; then as usual."""
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-9-large",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
    }
    upstream.script("gpt-9-large", replies.answer(body), replies.canned())


@pytest.mark.parametrize(
    ("content", "finish", "verdict"),
    [
        ('{"a": 1}', "stop", ({"answered", "whole", "schema"}, set())),
        ('{"b": 1}', "stop", ({"answered", "whole"}, {"schema"})),
        ('{"a"', "length", ({"answered"}, {"whole"})),
        ("", "content_filter", (set(), {"answered"})),
    ],
)
def test_an_answer_is_checked_after_it_was_given(
    proxy: TollwayProcess, upstream: OpenAIUpstream, content: str, finish: str, verdict: object
) -> None:
    scripted(upstream, content, finish)

    request_id = ask(proxy, response_format=SCHEMA)

    assert checks(proxy, request_id) == verdict


def test_a_streams_tools_are_checked_too(proxy: TollwayProcess) -> None:
    body = {"model": "auto:best", "messages": HELLO, "stream": True, "tools": [TOOL]}

    answer = post(proxy, "chat/completions", body)

    # The fake calls it with a city, and a town is required.
    assert b"[DONE]" in answer.content
    assert checks(proxy, answer.headers["x-request-id"]) == ({"answered", "whole"}, {"tools"})


def test_a_prompt_that_is_asked_once_more_speaks_against_its_answer(proxy: TollwayProcess) -> None:
    first = ask(proxy, user="the same")
    checks(proxy, first)

    ask(proxy, user="the same")

    until(lambda: proxy.rows("SELECT 1 FROM checks WHERE request_id = ? AND failed = 'kept'", first))


# --- what it says ------------------------------------------------------------------------------------------------------------


def run(proxy: TollwayProcess, *arguments: str) -> Result:
    """``tollway route …`` on the proxy's home, in this process: another one takes seconds to start on a busy machine."""
    env = {"TOLLWAY_HOME": str(proxy.home), "TOLLWAY_CONFIG": str(proxy.home / "config.yaml"), **proxy.setting_env}
    return CliRunner().invoke(cli, ["route", *arguments], env=env)


def told(proxy: TollwayProcess, *arguments: str) -> Any:
    done = run(proxy, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_recorded_requests_are_decided_once_more_by_another_policy(proxy: TollwayProcess, tmp_path: Path) -> None:
    for _ in range(3):
        ask(proxy)
    drawing = tmp_path / "replay.svg"

    first = told(proxy, "replay", "--policy", "floor", "--of", "auto:best", "--plot", str(drawing))["comparison"]
    again = told(proxy, "replay", "--policy", "auto:floor", "--of", "auto:best")["comparison"]
    table = run(proxy, "replay", "--policy", "floor").stdout

    assert first == again
    assert first["replayed"] >= 3
    assert set(first["now"]["models"]) == {"a/gpt-9-small"}
    assert first["now"]["cost_nusd"] < first["then"]["cost_nusd"]
    assert first["now"]["quality"] < first["then"]["quality"]
    assert drawing.read_bytes().startswith(b"<?xml")
    assert "nobody could answer" in table


def test_recorded_requests_are_decided_by_another_snapshot(proxy: TollwayProcess) -> None:
    (snapshot,) = {row["snapshot_id"] for row in proxy.rows("SELECT snapshot_id FROM decisions ORDER BY id DESC LIMIT 1")}

    replayed = told(proxy, "replay", "--at", snapshot[:12], "--of", "auto:best")["comparison"]
    unknown = run(proxy, "replay", "--at", "0" * 12)
    nothing = run(proxy, "replay")

    assert replayed["replayed"] > 0
    assert set(replayed["now"]["models"]) == {"a/gpt-9-large"}
    assert (unknown.exit_code, "there was no snapshot" in unknown.stderr) == (1, True)
    assert (nothing.exit_code, "--policy names another policy" in nothing.stderr) == (1, True)


def test_the_feedback_says_what_it_can_of_a_policy(proxy: TollwayProcess) -> None:
    report = told(proxy, "report", "--policy", "auto:floor")
    table = run(proxy, "report", "--policy", "auto:floor")

    wanted = ("auto:best", "general", "a/gpt-9-large")
    large = next(it for it in report["groups"] if (it["policy"], it["task"], it["model"]) == wanted)
    assert large["judged"] >= 2
    assert 0 <= large["score"]["low"] <= large["score"]["value"] <= large["score"]["high"] <= 1
    assert report["verdict"]["ips"] is None
    assert "requests were judged" in report["verdict"]["reason"]
    assert "cannot be told" in table.stdout
    assert told(proxy, "report", "--checks")["judged"] > report["judged"]
    other_task = run(proxy, "report", "--policy", "coding")
    assert (other_task.exit_code, "is not in the record" in other_task.stderr) == (1, True)


def test_what_was_expected_stands_beside_what_was_metered(proxy: TollwayProcess) -> None:
    by_command = told(proxy, "calibration")
    by_task = get(proxy, "route/calibration?by=task", key=proxy.api_key).json()
    table = run(proxy, "calibration").stdout

    assert by_command[0]["group"] == "all"
    assert by_command[0]["cost"]["n"] > 0
    assert by_task["data"][0]["compared"] > 0
    assert get(proxy, "route/calibration").status_code == 403
    assert "output tokens" in table


def test_a_moment_that_is_none_is_said_to_be_none(proxy: TollwayProcess) -> None:
    done = run(proxy, "report", "--since", "yesterday")

    assert (done.exit_code, "is no day such as 2026-11-01" in done.stderr) == (1, True)


# --- and after a restart: this one stands last, since it ends the others' server -----------------------------------------


def test_decisions_and_judgements_outlive_a_restart(proxy: TollwayProcess) -> None:
    request_id = ask(proxy)
    for n in range(40):
        say(proxy, request_id=request_id, label="fail", source=f"judge {n}")
    before = candidate(proxy)["quality"]["n"]

    proxy.terminate()
    proxy.restart()

    until(lambda: candidate(proxy)["quality"].get("n", 0) == before)
    assert proxy.receipt(request_id)["route"]["chosen"] == "a/gpt-9-large"
