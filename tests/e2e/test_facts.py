"""What a running Tollway tells of models: by HTTP and by its commands, from recorded payloads in its ledger."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.adapters import aliases
from ledger.adapters.sqlite import SqliteLedger
from ledger.adapters.sqlite_facts import SqliteFacts
from tests.ledger import recorded
from tests.ledger.recorded import AUGUST, MARCH, MAY, us
from tests.process import TollwayProcess, config, tollway

LESSER_KEY = "tw-" + secrets.token_hex(32)
OVERRIDES = """
- {model: deepseek/deepseek-v4-flash-0731, host: openrouter, metric: context_window, value: 5, unit: tokens,
   who: dana@example.com, why: to see what becomes of it, expires: 2090-01-01}
"""
ROUTES = ("ledger/models", "ledger/metrics", "ledger/prices", "ledger/snapshot", "rankings")


async def fill(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        facts = SqliteFacts(path, aliases=aliases.load(), clock_us=lambda: time.time_ns() // 1000, run=ledger.run)
        async with facts:
            for day in (MARCH, MAY):
                await facts.ingest(recorded.artificial_analysis(day), source="artificial_analysis", fetched_at_us=us(day))
            await facts.ingest(recorded.openrouter(), source="openrouter", fetched_at_us=us(AUGUST))
            await facts.refresh()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TollwayProcess]:
    home = tmp_path_factory.mktemp("facts")
    asyncio.run(fill(home / "ledger.sqlite"))
    (home / "overrides.yaml").write_text(OVERRIDES, encoding="utf-8")
    setting = config(None, {"acme": ["plain"]}, fields={"acme": {"base_url": "http://127.0.0.1:9/v1"}}, keys={"lesser": {"key": "env:LESSER_KEY"}})  # noqa: E501  # fmt: skip
    setting.env["LESSER_KEY"] = LESSER_KEY
    with tollway(home, setting) as proxy:
        deadline_s = time.monotonic() + 30
        while not {"bundled", "override"} <= set(ask(proxy, "ledger/snapshot")["sources"]):
            assert time.monotonic() < deadline_s, "the seed and the overrides were not read"
            time.sleep(0.05)
        yield proxy


def answer(proxy: TollwayProcess, path: str, key: str = LESSER_KEY, **query: str | int) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.get(f"{proxy.base_url}/{path}", params=query, headers=headers, timeout=30, trust_env=False)


def ask(proxy: TollwayProcess, path: str, **query: str | int) -> Any:
    told = answer(proxy, path, **query)
    assert told.status_code == 200, told.text
    return told.json()


@pytest.mark.parametrize("route", ROUTES)
def test_anybody_with_a_key_may_ask_and_nobody_without(proxy: TollwayProcess, route: str) -> None:
    assert answer(proxy, route).status_code == 200
    assert answer(proxy, route, key="tw-wrong").status_code == 401


def test_a_model_is_told_by_any_name_with_who_says_so(proxy: TollwayProcess) -> None:
    (told,) = ask(proxy, "ledger/models", model="openrouter/openai/gpt-5.5")["data"]

    assert (told["id"], told["context_tokens"], told["sources"]["context_tokens"]) == ("openai/gpt-5-5", 1050000, "openrouter")
    assert "openai/gpt-5-5#high" in told["variants"]
    assert told["offers"] == ["openai/gpt-5-5@openrouter"]


def test_models_are_told_page_by_page(proxy: TollwayProcess) -> None:
    first = ask(proxy, "ledger/models", limit=3)
    last = first["data"][-1]["id"]

    second = ask(proxy, "ledger/models", limit=3, after=last)

    assert first["total"] > 500
    assert all(row["id"] > last for row in second["data"])
    assert len(second["data"]) == 3


def test_a_models_metrics_are_told_with_source_age_and_confidence(proxy: TollwayProcess) -> None:
    told = ask(proxy, "ledger/metrics", model="gpt-5.5", metric="gpqa_diamond")

    assert [row["name"] for row in told["metrics"]] == ["gpqa_diamond"]
    assert {row["subject"] for row in told["data"]} == {
        f"openai/gpt-5-5#{it}" for it in ("none", "low", "medium", "high", "xhigh")
    }
    assert all(row["source"] == "artificial_analysis" and 0 < row["confidence"] < 0.9 for row in told["data"])


def test_the_catalogue_is_told_without_a_model(proxy: TollwayProcess) -> None:
    told = ask(proxy, "ledger/metrics")

    assert len(told["metrics"]) > 100
    assert told["data"] == []


def test_who_disagrees_is_told(proxy: TollwayProcess) -> None:
    (conflict,) = ask(proxy, "ledger/metrics", model="deepseek/deepseek-v4-flash-0731")["conflicts"]

    assert (conflict["counts"]["source"], conflict["counts"]["value"]) == ("override", 5.0)
    assert [(it["source"], it["value"]) for it in conflict["others"]] == [("openrouter", 1048576.0)]


def test_prices_are_integers_by_offer(proxy: TollwayProcess) -> None:
    (told,) = ask(proxy, "ledger/prices", model="anthropic/claude-opus-4.7")["data"]

    assert (told["offer"], told["source"]) == ("anthropic/claude-opus-4-7@openrouter", "openrouter")
    assert (told["input_nusd_per_mtok"], told["output_nusd_per_mtok"]) == (5_000_000_000, 25_000_000_000)


def test_rankings_have_a_receipt(proxy: TollwayProcess) -> None:
    told = ask(proxy, "rankings", task="coding", limit=5)

    best = told["data"][0]
    assert (best["place"], best["subject"], best["offer"]) == (1, "openai/gpt-5-5#xhigh", "openai/gpt-5-5@openrouter")
    assert {part["score"]["metric"] for part in best["parts"]} >= {"coding_index", "scicode"}
    assert told["total"] > 300
    assert [row["quality"] for row in told["data"]] == sorted((row["quality"] for row in told["data"]), reverse=True)


def test_the_past_gives_back_its_ranking(proxy: TollwayProcess) -> None:
    then = ask(proxy, "rankings", task="coding", at="2026-03-15", limit=1)
    now = ask(proxy, "rankings", task="coding", limit=50)
    again = ask(proxy, "rankings", task="coding", at=now["snapshot"]["id"], limit=50)

    assert then["data"][0]["subject"] == "google/gemini-3-1-pro-preview"
    assert then["snapshot"]["id"] != now["snapshot"]["id"]
    assert [(it["subject"], it["quality"], it["offer"]) for it in again["data"]] == [
        (it["subject"], it["quality"], it["offer"]) for it in now["data"]
    ]


def test_other_systems_formulas_rank_too(proxy: TollwayProcess) -> None:
    told = ask(proxy, "rankings", formula="tokenledger", limit=3)

    assert told["data"][0]["quality"] >= told["data"][1]["quality"] > 0
    assert ask(proxy, "rankings", formula="thegent")["total"] > 100


def test_the_snapshot_says_what_is_in_it(proxy: TollwayProcess) -> None:
    told = ask(proxy, "ledger/snapshot")

    assert set(told["sources"]) == {"artificial_analysis", "bundled", "openrouter", "override"}
    assert told["scales"]["coding_index"] == f"index of {MAY}"
    assert told["conflicts"] == 1
    assert told["models"] > 500


@pytest.mark.parametrize(
    ("path", "query", "status", "param"),
    [
        ("ledger/models", {"model": "nobody/nothing"}, 404, "model"),
        ("ledger/metrics", {"metric": "charm"}, 400, "metric"),
        ("rankings", {"task": "charm"}, 400, "task"),
        ("rankings", {"formula": "magic"}, 400, "formula"),
        ("rankings", {"at": "1999-01-01"}, 404, "at"),
        ("ledger/snapshot", {"at": "0123456789ab"}, 404, "at"),
        ("ledger/snapshot", {"at": "soon"}, 404, "at"),
        ("ledger/models", {"limit": 0}, 400, "limit"),
    ],
)
def test_what_makes_no_sense_is_said(proxy: TollwayProcess, path: str, query: dict[str, str], status: int, param: str) -> None:
    told = answer(proxy, path, **query)

    assert (told.status_code, told.json()["error"]["param"]) == (status, param)


def test_the_description_has_the_routes(proxy: TollwayProcess) -> None:
    described = httpx.get(proxy.base_url.removesuffix("/v1") + "/openapi.json", trust_env=False, timeout=60).json()

    assert {f"/v1/{route}" for route in ROUTES} <= set(described["paths"])


def test_a_model_is_shown_on_one_screen_while_the_server_runs(proxy: TollwayProcess) -> None:
    done = proxy.command("ledger", "models", "show", "deepseek/deepseek-v4-flash-0731")

    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0].startswith("deepseek/deepseek-v4-flash-0731  DeepSeek")
    assert any("price at openrouter: $0.14 in, $0.28 out per MTok (openrouter)" in line for line in lines)
    window = [line.split() for line in lines if "context_window" in line]
    assert [(row[0] == "*", "disagrees" in row) for row in window] == [(True, False), (False, True)]


def test_a_model_is_shown_as_json_with_versions_that_do_not_count(proxy: TollwayProcess) -> None:
    shown = json.loads(proxy.command("ledger", "models", "show", "gpt-5", "--json").stdout)

    index = [it for it in shown["values"] if it["metric"] == "intelligence_index" and it["subject"] == "openai/gpt-5#high"]
    assert [(it["source_version"], it["counts"], it["superseded"]) for it in index] == [
        (f"index of {MAY}", True, False),
        (f"index of {MARCH}", False, True),
    ]
    assert shown["known"]["context_tokens"] == 400_000


def test_benchmarks_are_listed_shown_and_validated(proxy: TollwayProcess) -> None:
    listed = proxy.command("ledger", "benchmarks", "list", "--task", "coding", "--at", "2026-03-15")
    formula = json.loads(proxy.command("ledger", "benchmarks", "list", "--formula", "thegent", "--json", "--limit", "2").stdout)
    shown = json.loads(proxy.command("ledger", "benchmarks", "show", "gpt-5.5", "--json").stdout)
    valid = proxy.command("ledger", "benchmarks", "validate")

    assert listed.stdout.splitlines()[1].split()[:2] == ["1", "google/gemini-3-1-pro-preview"]
    # What it wants most, Artificial Analysis and OpenRouter do not tell; the seed that comes with the release does.
    best = [{score["metric"]: score["source"] for score in it["scores"]} for it in formula]
    assert [it["terminal_bench_2"] for it in best] == ["bundled", "bundled"]
    assert {it["unit"] for it in shown["values"]} <= {"points", "fraction"}
    assert (valid.returncode, "unresolved: openrouter/auto" in valid.stdout) == (0, True)


def test_two_moments_are_compared(proxy: TollwayProcess) -> None:
    as_text = proxy.command("ledger", "diff", "2026-03-15", "2026-05-15")
    as_json = json.loads(proxy.command("ledger", "diff", "2026-06-01", "--json").stdout)
    nothing = proxy.command("ledger", "diff", "now", "now")

    assert any(line.startswith("openai/gpt-5-5#xhigh  gpqa_diamond  unknown -> 0.9") for line in as_text.stdout.splitlines())
    assert {"price", "context_tokens"} <= {it["field"] for it in as_json}
    assert (nothing.returncode, nothing.stdout) == (0, "")


def test_lists_and_suggestions_are_told(proxy: TollwayProcess) -> None:
    models = json.loads(proxy.command("ledger", "models", "list", "--json").stdout)
    suggestions = proxy.command("ledger", "models", "suggestions")
    snapshots = proxy.command("ledger", "snapshots")

    assert len(models) > 500
    assert "openrouter/auto" in suggestions.stdout
    assert len(snapshots.stdout.splitlines()) >= 2


@pytest.mark.parametrize(
    "arguments", [("models", "show", "nothing"), ("diff", "1999-01-01"), ("benchmarks", "list", "--task", "charm")]
)
def test_a_command_that_cannot_be_answered_says_why(proxy: TollwayProcess, arguments: tuple[str, ...]) -> None:
    done = proxy.command("ledger", *arguments)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tollway: ")
