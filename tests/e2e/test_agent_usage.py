"""``tollway ledger ingest``, ``monthly`` and ``daily``, beside a running server and without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config, tollway

DATA = Path(__file__).parents[1] / "ledger" / "adapters" / "usage_logs" / "data"
PLACES = {
    "claude_code.jsonl": ".claude/projects/-home-ada-work-engine/5d1c.jsonl",
    "codex.jsonl": ".codex/sessions/2026/11/04/rollout-1.jsonl",
    "gemini_cli.jsonl": ".gemini/tmp/engine/chats/session-1.jsonl",
    "copilot.jsonl": ".copilot/session-state/cop-1/events.jsonl",
}
PRICES = [
    {"model": "openai/gpt-5-codex", "input_usd_per_mtok": 1, "cache_read_usd_per_mtok": 0.5, "output_usd_per_mtok": 10},
    {"model": "openai/gpt-x", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2},
]
LEDGER = {"prices": PRICES, "subscriptions": [{"name": "plus", "provider": "openai", "usd_per_month": 20}]}


def put(home: Path) -> None:
    """Everything that agents wrote, in the home of the process."""
    for name, place in PLACES.items():
        path = home / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((DATA / name).read_bytes())


def ask(proxy: TollwayProcess, *arguments: str) -> Any:
    done = proxy.command("ledger", *arguments, "--config", "config.yaml")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def kept(proxy: TollwayProcess) -> list[Any]:
    found = proxy.rows("SELECT * FROM agent_usage_now ORDER BY event_hash")
    return [{name: value for name, value in dict(row).items() if name != "id"} for row in found]


def test_logs_are_read_once_through_the_server_and_without_it_and_shown_beside_the_gateway(
    upstream: OpenAIUpstream, tmp_path: Path
) -> None:
    upstream.script("gpt-x", replies.canned())
    setting = config(upstream, {"openai": ["gpt-x"]}, ledger=LEDGER)
    home = tmp_path / "home"
    with tollway(home, setting) as proxy:
        put(home)
        with proxy.client() as client:
            body = {"model": "openai/gpt-x", "messages": [{"role": "user", "content": "hi"}]}
            assert client.post("/chat/completions", json=body).status_code == 200

        tried = ask(proxy, "ingest", "--dry-run", "--json")
        first = ask(proxy, "ingest", "--json")
        second = ask(proxy, "ingest", "--json")
        with (home / PLACES["codex.jsonl"]).open("ab") as file:
            file.write((DATA / "codex.jsonl").read_bytes().splitlines()[3].replace(b"09:00:05", b"10:00:05") + b"\n")
        third = ask(proxy, "ingest", "--json")
        usage = proxy.command("usage", "--by", "provider", "--json", "--config", "config.yaml")
        assert proxy.terminate() == 0
        offline = ask(proxy, "ingest", "--agent", "cursor", "--root", str(DATA / "cursor.csv"), "--json")
        again = ask(proxy, "ingest", "--agent", "claude-code", "--root", str(DATA / "claude_code.jsonl"), "--json")
        (day,) = proxy.rows("SELECT strftime('%Y-%m', at_us / 1000000, 'unixepoch') AS month FROM requests")
        november = ask(proxy, "monthly", "--month", "2026-11", "--format", "json")
        now = ask(proxy, "monthly", "--month", day["month"], "--format", "json")
        daily = ask(proxy, "daily", "--month", "2026-11", "--by", "project", "--format", "json")
        table = proxy.command("ledger", "monthly", "--month", "2026-11", "--config", "config.yaml")
        markdown = proxy.command("ledger", "daily", "--month", "2026-11", "--format", "markdown", "--config", "config.yaml")
        verified = proxy.command("ledger", "verify", "--config", "config.yaml")

    assert (tried["new"], tried["events"], first["events"], first["new"]) == (0, first["events"], 15, 12)
    claude = first["models"]["anthropic/claude-sonnet-4-5-20250929"]
    assert (claude["calls"], claude["output_tokens"], tried["models"]) == (2, 120, first["models"])
    assert (first["files"], second["unchanged"], second["events"], second["new"]) == (4, 4, 0, 0)
    assert (third["events"], third["new"]) == (1, 1)
    assert first["skipped"] == {"counts_disagree": 1, "no_model_call": 1, "repeated": 2, "totals_fell": 1}
    assert (offline["new"], offline["skipped"]) == (2, {"counts_disagree": 1, "nothing_used": 1, "wrong_shape": 1})
    assert (again["events"] > 0, again["new"]) == (True, 0)
    # What agents' logs tell is no part of the journal's usage.
    assert [(row["group"], row["requests"]) for row in json.loads(usage.stdout)] == [("openai", 1)]
    codex = next(row for row in november if row["group"] == "openai/gpt-5-codex")
    # 400 uncached at 1, 600 cached at 0.5, 200 out at 10 USD a million.
    assert (codex["calls"], codex["cost_nusd"], codex["unpriced"]) == (1, 400_000 + 300_000 + 2_000_000, 0)
    assert sum(row["subscription_nusd"] for row in november) == 20 * 10**9
    assert [row["calls"] for row in now if row["source"] == "gateway"] == [1]
    assert {row["group"] for row in daily if row["source"] == "agents"} >= {"engine"}
    assert sum(row["calls"] for row in daily) == sum(row["calls"] for row in november)
    assert ("openai/gpt-5-codex" in table.stdout, markdown.stdout.startswith("| period | source |")) == (True, True)
    assert verified.returncode == 0, verified.stdout


def test_the_server_and_the_command_alone_keep_the_same(upstream: OpenAIUpstream, tmp_path: Path) -> None:
    setting = config(upstream, {"openai": ["gpt-x"]})
    with tollway(tmp_path / "a", setting) as online:
        put(tmp_path / "a")
        ask(online, "ingest", "--json")
        through = kept(online)
    with tollway(tmp_path / "b", setting) as alone:
        put(tmp_path / "b")
        assert alone.terminate() == 0
        ask(alone, "ingest", "--json")
        beside = kept(alone)

    assert (len(through), through) == (12, beside)


def test_only_admins_store_usage_and_only_what_is_usage(upstream: OpenAIUpstream, tmp_path: Path) -> None:
    with tollway(tmp_path / "home", config(upstream, {"openai": ["gpt-x"]})) as proxy:
        url = proxy.base_url.removesuffix("/v1") + "/admin/v1/ledger/agent-usage"
        event = {"agent": "codex", "event": "e", "at_us": 1, "tokens": {"input_uncached": 1}}
        bodies = [
            {"events": [event]},
            {"events": [{**event, "tokens": {"input_uncached": -1}}]},
            {"events": [{**event, "at_us": 2**63}]},
            {"events": [{**event, "reported_nusd": 2**63}]},
            {"events": [{"agent": "codex"}]},
            {"events": [event] * 2001},
        ]

        unknown = httpx.post(url, json=bodies[0], trust_env=False)
        answers = [httpx.post(url, json=body, headers=proxy.headers, trust_env=False) for body in bodies]

    assert unknown.status_code == 401
    assert [it.status_code for it in answers] == [200, 400, 400, 400, 400, 413]
    assert answers[0].json() == {"new": 1, "duplicate": 0}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--agent", "nobody"), "must be one of"),
        (("--root", "."), "--root needs --agent"),
        (("--agent", "codex", "--root", "nowhere"), "nothing at"),
        (("--agent", "cursor"), "--root names the file"),
        (("--since", "soon"), "is no day"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_with_why(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = TollwayProcess(tmp_path / "home").command("ledger", "ingest", *arguments)

    assert (done.returncode, said in done.stderr) == (1, True), done.stderr


def test_what_was_before_a_day_is_left_out_and_read_when_it_is_asked_for(tmp_path: Path) -> None:
    proxy = TollwayProcess(tmp_path / "home", config(None, {}))
    put(proxy.home)

    late = ask(proxy, "ingest", "--agent", "codex", "--since", "2026-11-05", "--json")
    whole = ask(proxy, "ingest", "--agent", "codex", "--json")

    assert (late["new"], late["skipped"].get("before_since", 0) + late["unchanged"] * 3, whole["new"]) == (0, 3, 3)


def test_much_is_read_by_several_processes_and_kept_once(tmp_path: Path) -> None:
    proxy = TollwayProcess(tmp_path / "home", config(None, {}))
    answer = next(it for it in (DATA / "claude_code.jsonl").read_bytes().splitlines() if b'"id":"msg_1"' in it)
    prompt = b'{"type":"user","message":{"role":"user","content":"%b"}}' % (b"x" * 2_000)
    folder = proxy.home / ".claude" / "projects" / "-home-ada-work-engine"
    folder.mkdir(parents=True)
    for session in range(3):  # each of which repeats half of the one before it
        numbers = range(session * 1_000, session * 1_000 + 2_000)
        text = b"".join(b"%b\n%b\n" % (prompt, answer.replace(b'"msg_1"', b'"msg_%06d"' % number)) for number in numbers)
        (folder / f"{session}.jsonl").write_bytes(text)

    tried = ask(proxy, "ingest", "--agent", "claude-code", "--dry-run", "--json")
    first = ask(proxy, "ingest", "--agent", "claude-code", "--json")
    second = ask(proxy, "ingest", "--agent", "claude-code", "--json")

    assert sum(path.stat().st_size for path in folder.iterdir()) > 12 << 20
    assert (first["events"], first["new"], first["duplicate"]) == (6_000, 4_000, 2_000)
    assert (tried["events"], tried["new"], tried["models"]) == (6_000, 0, first["models"])
    assert [used["calls"] for used in first["models"].values()] == [4_000]
    assert (second["unchanged"], second["new"]) == (3, 0)
    assert proxy.rows("SELECT count(*) AS kept FROM agent_usage_now") == [{"kept": 4_000}]
