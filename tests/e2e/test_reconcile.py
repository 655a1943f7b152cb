"""``tollway ledger reconcile`` beside a running server and without one."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config, tollway

DAY_S = 86_400


def costs(proxy: TollwayProcess, usd: float, path: Path) -> str:
    """A costs export of today and tomorrow, of the day that the requests are on."""
    (row,) = proxy.rows("SELECT DISTINCT at_us / 86400000000 AS day FROM requests")
    results = [
        {
            "object": "organization.costs.result",
            "amount": {"value": usd, "currency": "usd"},
            "line_item": "gpt-x-2025-01-01, output",
        }
    ]
    bucket = {"object": "bucket", "start_time": row["day"] * DAY_S, "end_time": (row["day"] + 1) * DAY_S, "results": results}
    path.write_text(json.dumps({"object": "page", "data": [bucket], "has_more": False, "next_page": None}))
    return str(path)


def test_a_difference_is_shown_and_booked_once_through_the_server_and_without_it(
    upstream: OpenAIUpstream, tmp_path: Path
) -> None:
    upstream.script("gpt-x", replies.canned())
    prices = {"prices": [{"model": "openai/gpt-x", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}]}
    setting = config(upstream, {"openai": ["gpt-x"]}, ledger=prices)
    with tollway(tmp_path / "home", setting) as proxy:
        with proxy.client() as client:
            for _ in range(3):
                body = {"model": "openai/gpt-x", "messages": [{"role": "user", "content": "hi"}]}
                assert client.post("/chat/completions", json=body).status_code == 200
        paid_nusd = sum(row["cost_nusd"] for row in proxy.rows("SELECT cost_nusd FROM requests"))
        asked = ("ledger", "reconcile", "--provider", "openai", "--config", "config.yaml", "--report")
        file = costs(proxy, 2 * paid_nusd / 1e9, tmp_path / "costs.json")

        shown = proxy.command(*asked, file)
        applied = proxy.command(*asked, file, "--apply", "--json")
        again = proxy.command(*asked, file, "--apply", "--json")
        usage = proxy.command("usage", "--by", "provider", "--json", "--config", "config.yaml")
        receipts = [proxy.receipt(row["request_id"]) for row in proxy.rows("SELECT request_id FROM requests")]
        without_key = httpx.post(proxy.base_url.removesuffix("/v1") + "/admin/v1/ledger/reconcile", trust_env=False)
        nonsense = httpx.post(
            proxy.base_url.removesuffix("/v1") + "/admin/v1/ledger/reconcile",
            content=b"{}",
            headers=proxy.headers,
            trust_env=False,
        )
        assert proxy.terminate() == 0
        file = costs(proxy, 3 * paid_nusd / 1e9, tmp_path / "more.json")
        offline = proxy.command(*asked, file, "--apply", "--json")
        wrong = proxy.command(*asked, str(tmp_path / "home" / "config.yaml"))
        missing = proxy.command(*asked, str(tmp_path / "nowhere.json"))
        folder = proxy.command(*asked, str(tmp_path))
        verified = proxy.command("ledger", "verify", "--config", "config.yaml")

    assert (shown.returncode, "DRIFT" in shown.stdout, "gpt-x-2025-01-01" in shown.stdout) == (1, True, True)
    assert [json.loads(it.stdout)["adjusted_nusd"] for it in (applied, again, offline)] == [paid_nusd, 0, paid_nusd]
    assert [it.returncode for it in (applied, again, offline)] == [0, 0, 0]
    assert [row["cost_nusd"] for row in json.loads(usage.stdout)] == [2 * paid_nusd]
    assert sum(it["adjusted_nusd"] for it in receipts) == paid_nusd
    assert (without_key.status_code, nonsense.status_code) == (401, 400)
    assert (wrong.returncode, "no usage or costs report" in wrong.stderr) == (1, True)
    assert (missing.returncode, missing.stderr) == (1, f"tollway: there is no report at {tmp_path / 'nowhere.json'}\n")
    assert (folder.returncode, folder.stderr) == (1, f"tollway: the report {tmp_path} cannot be read: Is a directory\n")
    assert verified.returncode == 0, verified.stdout


def test_a_budget_counts_what_a_report_books_from_the_next_request_on(upstream: OpenAIUpstream, tmp_path: Path) -> None:
    upstream.script("gpt-x", replies.canned())
    setting = config(
        upstream,
        {"openai": ["gpt-x"]},
        ledger={"prices": [{"model": "openai/gpt-x", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}]},
        budgets={"everything": {"scope": "global", "usd": 1, "period": "total"}},
    )
    with tollway(tmp_path / "home", setting) as proxy, proxy.client() as client:
        body = {"model": "openai/gpt-x", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}

        def asked() -> tuple[int, str]:
            answer = client.post("/chat/completions", json=body)
            return answer.status_code, "" if answer.is_success else answer.json()["error"]["message"]

        reconcile = ("ledger", "reconcile", "--provider", "openai", "--config", "config.yaml", "--apply", "--json", "--report")
        before = asked()
        more = proxy.command(*reconcile, costs(proxy, 2, tmp_path / "more.json"))
        refused = asked()
        again = proxy.command(*reconcile, costs(proxy, 2, tmp_path / "more.json"))
        refused_again = asked()
        less = proxy.command(*reconcile, costs(proxy, 0.5, tmp_path / "less.json"))
        after = asked()

    assert [it.returncode for it in (more, again, less)] == [0, 0, 0]
    assert [it[0] for it in (before, refused, refused_again, after)] == [200, 429, 429, 200]
    assert "2.00 USD of 1.00 USD are spent" in refused[1]
    assert "2.00 USD of 1.00 USD are spent" in refused_again[1]
