"""Keys, users, teams, budgets and the audit log, as an operator manages them: by the command, with and without a server."""

from __future__ import annotations

import base64
import json
import re
import secrets
import shlex
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.conftest import Serve
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config

ASK: Any = {"model": "openai/plain", "messages": []}
DECLARED = "tw-" + secrets.token_hex(32)
RUNNING = pytest.mark.parametrize("running", [True, False], ids=["while serving", "while not serving"])


@pytest.fixture
def proxy(serve: Serve, upstream: OpenAIUpstream) -> TollwayProcess:
    upstream.serve("plain", "other")
    setting = config(
        upstream,
        {"openai": ["plain", "other"]},
        keys={"declared": {"key": "env:DECLARED", "user": "alice", "models": ["openai/*"]}},
        users={"alice": {"team": "declared-team"}},
        teams={"declared-team": {"models": ["openai/plain"]}},
    )
    setting.env["DECLARED"] = DECLARED
    return serve(setting)


def ask(proxy: TollwayProcess, key: str, model: str = "openai/plain", path: str = "/chat/completions") -> int:
    with proxy.client() as client:
        headers = {"authorization": f"Bearer {key}"}
        return client.post(path, json={**ASK, "model": model}, headers=headers).status_code


def run(proxy: TollwayProcess, line: str) -> str:
    """What a command prints; it must succeed."""
    ran = proxy.command(*shlex.split(line))
    assert ran.returncode == 0, f"{line}: {ran.stderr}"
    return ran.stdout


def data(proxy: TollwayProcess, line: str) -> Any:
    return json.loads(run(proxy, f"{line} --json"))


def admin(proxy: TollwayProcess, method: str, path: str, **options: Any) -> httpx.Response:
    url = proxy.base_url.removesuffix("/v1") + f"/admin/v1/{path}"
    return httpx.request(method, url, headers=proxy.headers, timeout=10, trust_env=False, **options)


# --- what a key may do ---------------------------------------------------------------------------------------------------


def test_a_change_is_seen_by_the_next_request_without_another_secret(proxy: TollwayProcess) -> None:
    key = run(proxy, "keys create laptop").strip()
    before = ask(proxy, key)

    run(proxy, "keys update laptop --model 'anthropic/*'")
    narrowed = ask(proxy, key)
    run(proxy, "keys update laptop --unset models --endpoint embeddings")
    elsewhere = ask(proxy, key)
    run(proxy, "keys update laptop --unset endpoints")

    assert (before, narrowed, elsewhere, ask(proxy, key)) == (200, 403, 403, 200)


def test_a_refused_endpoint_is_on_the_record(proxy: TollwayProcess) -> None:
    key = run(proxy, "keys create laptop --endpoint embeddings").strip()

    ask(proxy, key)

    (record,) = proxy.records("openai/plain")
    assert (record["status"], record["outcome"]) == (403, "not_allowed")


def test_a_team_restricts_its_keys_and_their_list_of_models(proxy: TollwayProcess) -> None:
    run(proxy, "teams create search --model openai/other")
    key = run(proxy, "keys create laptop --team search").strip()

    with proxy.client() as client:
        listed = client.get("/models", headers={"authorization": f"Bearer {key}"}).json()["data"]

    assert [ask(proxy, key, model) for model in ("openai/plain", "openai/other")] == [403, 200]
    assert [row["id"] for row in listed] == ["openai/other"]


def test_a_declared_key_is_restricted_by_the_team_of_its_user_and_changed_in_the_file_alone(proxy: TollwayProcess) -> None:
    statuses = [ask(proxy, DECLARED, model) for model in ("openai/plain", "openai/other")]

    refused = proxy.command("keys", "update", "declared", "--unset", "models")

    assert statuses == [200, 403]
    assert refused.returncode == 1
    assert "declared in the configuration" in refused.stderr


def test_a_rotated_key_keeps_its_id_and_both_secrets_work_during_the_grace(proxy: TollwayProcess) -> None:
    made = data(proxy, "keys create laptop")
    rotated = data(proxy, "keys rotate laptop --grace 1h")

    during = [ask(proxy, it["key"]) for it in (made, rotated)]
    again = data(proxy, f"keys rotate {made['id']} --grace 0")

    assert rotated["id"] == again["id"] == made["id"]
    assert during == [200, 200]
    assert [ask(proxy, it["key"]) for it in (made, rotated, again)] == [401, 401, 200]


def test_a_grace_survives_a_restart(proxy: TollwayProcess) -> None:
    made = data(proxy, "keys create laptop")
    rotated = data(proxy, "keys rotate laptop")
    proxy.terminate()

    proxy.restart()

    assert [ask(proxy, it["key"]) for it in (made, rotated)] == [200, 200]


# --- the commands --------------------------------------------------------------------------------------------------------


@RUNNING
def test_everything_is_managed_by_commands(proxy: TollwayProcess, running: bool) -> None:
    if not running:
        proxy.terminate()

    run(proxy, "teams create Search --requests-per-minute 600 --metadata '{\"floor\": 3}'")
    run(proxy, "users create bob@example.com --team search --concurrent 8")
    run(proxy, "keys create 'ci job' --user bob@example.com --tokens-per-minute 1000 --priority low --disconnect drain:5")
    run(proxy, "keys update 'CI JOB' --durability power --expires-days 3")
    run(proxy, "budgets set team:search --usd 12.50 --period month")
    run(proxy, "budgets set team:search --usd 20 --period month --warn-percent 0")
    run(proxy, "budgets set 'key:ci job' --requests 100 --period day")

    (key,) = data(proxy, "keys list --team search --live")
    (team,) = [it for it in data(proxy, "teams list") if not it["declared"]]
    (user,) = data(proxy, "users list --team search")
    of_key, of_team = data(proxy, "budgets list")
    assert (key["user"], key["tokens_per_minute"], key["priority"]) == ("bob@example.com", 1000, "low")
    assert (key["disconnect"], key["durability"]) == ("drain:5", "power")
    assert (team["name"], team["requests_per_minute"], team["metadata"]) == ("Search", 600, {"floor": 3})
    assert (user["name"], user["team"], user["concurrent"]) == ("bob@example.com", "Search", 8)
    assert (of_team["scope"], of_team["usd"], of_team["warn_percent"]) == ("team:Search", "20.00", None)
    assert (of_key["scope"], of_key["limit"], of_key["unit"], of_key["period"]) == (f"key:{key['id']}", 100, "requests", "day")
    assert "bob@example.com" in run(proxy, "keys show 'ci job'")
    assert "Search" in run(proxy, "teams list") + run(proxy, "users list")
    assert "$20.00" in run(proxy, "budgets list")

    run(proxy, f"budgets remove {of_key['id']}")
    run(proxy, "keys revoke 'ci job'")
    run(proxy, "users remove bob@example.com")
    run(proxy, "teams remove search")
    run(proxy, "teams restore search")

    actions = [f"{row['action']} {row['kind']}" for row in data(proxy, "audit --limit 1000")]
    assert actions[::-1] == [
        *("create team", "create user", "create key", "update key", "create budget", "update budget", "create budget"),
        *("remove budget", "revoke key", "remove user", "remove team", "restore team"),
    ]
    assert re.search(
        r"this machine +update budget +team:Search \(bud_\w+\) +limit: 12500000000 -> 20000000000", run(proxy, "audit")
    )


MISTAKES = (
    ("teams remove taken", "has user 'u'"),
    ("teams create TAKEN", "'taken' exists"),
    ("teams create 'a b'", "letters and digits"),
    ("teams show none", "There is no team 'none'"),
    ("teams update taken", "nothing to change"),
    ("teams update declared-team --concurrent 1", "declared in the configuration"),
    ("users create v --team none", "There is no team 'none'"),
    ("users restore u", "No user 'u' was removed"),
    ("keys update none --concurrent 1", "no live key 'none'"),
    ("keys update k --unset colour", "no such setting"),
    ("keys update k --endpoint chat", "no such endpoint; there are: chat/completions"),
    ("keys update k --metadata [1", "JSON object"),
    ("keys rotate k --grace soon", "no length of time"),
    ("keys rotate k --grace 400d", "grace_s"),
    ("keys create k2 --user none", "There is no user 'none'"),
    ("budgets set team:none --usd 5", "team:none"),
    ("budgets set global", "one of --usd, --tokens and --requests"),
    ("budgets set global --usd five", "must be an amount"),
    ("budgets remove bud_1", "no budget 'bud_1'"),
)


@RUNNING
def test_mistakes_are_told_and_change_nothing(proxy: TollwayProcess, running: bool) -> None:
    for line in ("teams create taken", "users create u --team taken", "keys create k"):
        run(proxy, line)
    if not running:
        proxy.terminate()

    for line, said in MISTAKES:
        ran = proxy.command(*shlex.split(line))
        assert (ran.returncode, ran.stdout) == (1, ""), line
        assert said in ran.stderr, line

    assert len(data(proxy, "audit")) == 3


# --- secrets -------------------------------------------------------------------------------------------------------------


def forms(secret: str) -> list[str]:
    """A secret however it could be written."""
    raw = secret.encode()
    return [secret, raw.hex(), base64.b64encode(raw).decode()[:-4], quote(secret, safe=""), secret[3:-4]]


def test_no_secret_is_in_an_answer_the_audit_log_a_log_line_or_a_file(proxy: TollwayProcess) -> None:
    first = data(proxy, "keys create canary")["key"]
    second = data(proxy, "keys rotate canary")["key"]
    for key in (first, second):
        assert ask(proxy, key) == 200
    answers = [admin(proxy, "GET", path).text for path in ("keys", "keys/canary", "audit", "users", "teams", "budgets")]
    answers.append(admin(proxy, "PATCH", "keys/canary", json={"concurrent": 1}).text)
    answers.append(admin(proxy, "PATCH", "keys/canary", json={"key": first}).text)
    answers += [proxy.command(*line.split()).stdout for line in ("keys list", "keys show canary", "audit", "audit --json")]
    answers.append(admin(proxy, "DELETE", "keys/canary").text)
    digests = [row["digest"].hex() for row in proxy.rows("SELECT digest FROM keys")]
    columns = [str(tuple(row.values())) for row in proxy.rows("SELECT * FROM audit")]
    proxy.terminate()

    files = [path.read_bytes() for path in proxy.home.rglob("*") if path.is_file()]
    for secret in (first, second):
        for form in forms(secret):
            assert [text for text in (*answers, *columns, proxy.stdout, proxy.stderr) if form in text] == []
            assert [data for data in files if form.encode() in data] == []
    for digest in digests:
        assert [text for text in (*answers, *columns, proxy.stdout, proxy.stderr) if digest in text] == []
    assert len(digests) == 1


# --- other keys' things ----------------------------------------------------------------------------------------------------


def test_a_key_sees_nothing_of_anothers_by_its_id(proxy: TollwayProcess) -> None:
    mine, other = data(proxy, "keys create mine"), data(proxy, "keys create other")
    with proxy.client() as client:
        theirs = client.post("/chat/completions", json=ASK, headers={"authorization": f"Bearer {other['key']}"})
        receipt = theirs.headers["x-request-id"]
        headers = {"authorization": f"Bearer {mine['key']}"}

        answers = {
            path: client.get(path, headers=headers).status_code
            for path in (f"/receipts/{receipt}", f"/usage?key={other['id']}", "/usage?key=other")
        }
        own = client.get("/usage?by=key", headers=headers).json()["data"]

    assert answers == {f"/receipts/{receipt}": 404, f"/usage?key={other['id']}": 403, "/usage?key=other": 403}
    assert own == []


def test_what_a_terminal_would_obey_is_escaped(proxy: TollwayProcess) -> None:
    made = proxy.command("keys", "create", "k", "--metadata", json.dumps({"a": "\x1b[2J\u202e\x9b1m"}))
    assert made.returncode == 0

    shown = run(proxy, "keys show k") + run(proxy, "audit") + run(proxy, "keys list")

    assert set(shown) & set("\x1b\u202e\x9b") == set()
