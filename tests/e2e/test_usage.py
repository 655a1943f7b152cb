"""What a running Tollway tells of its ledger: by HTTP, by its commands, and after it was killed."""

from __future__ import annotations

import csv
import json
import secrets
import time
from collections.abc import Iterator
from io import StringIO
from typing import Any

import httpx
import pytest

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config, tollway

LESSER_KEY = "tw-" + secrets.token_hex(32)
MODELS = ("plain", "long")


@pytest.fixture(scope="module")
def proxy(shared_upstream: OpenAIUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    """Two requests by one key and one by another are behind it."""
    shared_upstream.serve(*MODELS)
    setting = config(shared_upstream, {"acme": MODELS}, keys={"lesser": {"key": "env:LESSER_KEY"}})
    setting.env["LESSER_KEY"] = LESSER_KEY
    with tollway(tmp_path_factory.mktemp("usage"), setting) as proxy:
        for key in (proxy.api_key, proxy.api_key, LESSER_KEY):
            assert ask(proxy, key).status_code == 200
        yield proxy


def ask(proxy: TollwayProcess, key: str) -> httpx.Response:
    body = {"model": "acme/plain", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{proxy.base_url}/chat/completions", json=body, headers=headers, timeout=10, trust_env=False)


def usage(proxy: TollwayProcess, secret: str, **query: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.get(f"{proxy.base_url}/usage", params=query, headers=headers, timeout=10, trust_env=False)


def test_a_key_sees_its_own_usage(proxy: TollwayProcess) -> None:
    told = usage(proxy, LESSER_KEY, by="model").json()

    (row,) = told["data"]
    assert told["by"] == "model"
    assert (row["group"], row["requests"], row["failed"], row["unpriced"]) == ("acme/plain", 1, 0, 1)
    assert (row["cost_nusd"], row["cost_usd"]) == (None, None)


def test_a_key_does_not_see_anothers_usage(proxy: TollwayProcess) -> None:
    answer = usage(proxy, LESSER_KEY, key="key_of_somebody")

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")


def test_an_admin_sees_all_and_each_key_alone(proxy: TollwayProcess) -> None:
    everybody = usage(proxy, proxy.api_key, by="key").json()["data"]
    lesser = usage(proxy, LESSER_KEY).json()["key"]

    alone = usage(proxy, proxy.api_key, by="week", key=lesser).json()

    assert sorted(row["requests"] for row in everybody) == [1, 2]
    assert [row["requests"] for row in alone["data"]] == [1]


def test_usage_takes_a_key_and_a_sensible_question(proxy: TollwayProcess) -> None:
    asked: list[dict[str, Any]] = [{"by": "mood"}, {"days": "0"}]

    assert usage(proxy, "tw-wrong").status_code == 401
    assert [usage(proxy, proxy.api_key, **query).status_code for query in asked] == [400, 400]


def test_the_description_has_it(proxy: TollwayProcess) -> None:
    described = httpx.get(proxy.base_url.removesuffix("/v1") + "/openapi.json", trust_env=False, timeout=60).json()

    assert {it["name"] for it in described["paths"]["/v1/usage"]["get"]["parameters"]} == {"by", "days", "key"}


def test_the_commands_tell_the_same(proxy: TollwayProcess) -> None:
    as_csv = proxy.command("usage", "--by", "provider", "--csv")
    as_json = proxy.command("usage", "--by", "month", "--json")
    focus = proxy.command("usage", "--focus")

    (row,) = csv.DictReader(StringIO(as_csv.stdout))
    assert (row["group"], row["requests"], row["cost_nusd"]) == ("acme", "3", "")
    assert [it["requests"] for it in json.loads(as_json.stdout)] == [3]
    charges = list(csv.DictReader(StringIO(focus.stdout)))
    assert {it["ServiceSubcategory"] for it in charges} == {"Generative AI"}
    assert {it["ResourceId"] for it in charges} == {"acme/plain"}


def test_a_journal_in_use_is_verified(proxy: TollwayProcess) -> None:
    done = proxy.command("ledger", "verify")
    (head,) = [line.removeprefix("head ") for line in done.stdout.splitlines() if line.startswith("head ")]

    noted = proxy.command("ledger", "verify", "--json", "--head", head)
    other = proxy.command("ledger", "verify", "--head", "ab" * 32)

    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "the journal is whole")
    assert (noted.returncode, json.loads(noted.stdout)["faults"]) == (0, [])
    assert (other.returncode, "is not in the chain" in other.stdout) == (1, True)


def test_the_log_says_which_sqlite_it_is_and_where_the_journal_was(proxy: TollwayProcess) -> None:
    events = {line["event"]: line for line in map(json.loads, proxy.stderr.splitlines())}

    assert events["ledger_opened"]["sqlite"].count(".") == 2
    assert len(events["ledger_head"]["head"]) == 64


def test_a_request_counts_under_its_tags(proxy: TollwayProcess) -> None:
    headers = {"x-tollway-tags": "nightly, Suche ü".encode()}
    body = {"model": "acme/plain", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with proxy.client() as client:
        answer = client.post("/chat/completions", json=body, headers=headers)
        refused = client.post("/chat/completions", json=body, headers={"x-tollway-tags": "x" * 65})

    told = proxy.receipt(answer.headers["x-request-id"])
    tags = usage(proxy, proxy.api_key, by="tag").json()["data"]
    others = usage(proxy, LESSER_KEY, by="tag").json()["data"]

    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "x-tollway-tags")
    assert told["tags"] == ["nightly", "Suche ü"]
    assert sorted((row["group"], row["requests"]) for row in tags) == [("Suche ü", 1), ("nightly", 1)]
    assert others == []


def test_a_killed_stream_is_charged_as_far_as_it_was_known_to_have_come(
    proxy: TollwayProcess, shared_upstream: OpenAIUpstream
) -> None:
    shared_upstream.script("long", replies.canned(words=("word ",) * 2000, gap_s=0.02))
    body = {"model": "acme/long", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with proxy.client() as client, client.stream("POST", "/chat/completions", json=body) as answer:
        request_id = answer.headers["x-request-id"]
        deadline_s = time.monotonic() + 10
        while not (noted := proxy.rows("SELECT output_tokens FROM progress WHERE output_tokens > 20")):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        proxy.kill()

    proxy.restart()
    told = proxy.receipt(request_id)

    assert (told["outcome"], told["quality"]) == ("interrupted", "estimated")
    assert told["usage"]["output_tokens"] >= noted[0]["output_tokens"]
    assert proxy.rows("SELECT * FROM progress") == []
