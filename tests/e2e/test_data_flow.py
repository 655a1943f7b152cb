"""What sources publish, what a harness measured and what our own traffic shows: in by the real surface, out as rankings,
indices and prices that say who says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import replies
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.ledger.refresh.publisher import Publisher
from tests.process import TollwayProcess, config, tollway

DATA = Path(__file__).parents[1] / "ledger" / "adapters" / "data"
ENVELOPE = {
    "schema": "tollway.benchmarks/1",
    "harness": {"name": "helios", "version": "1.4.0"},
    "observed_at": "2026-11-01T12:00:00Z",
    "results": [
        {"model": "google/gemini-2.5-pro", "metric": "swe_bench_verified", "value": 0.71, "unit": "fraction", "n": 500}
    ],
}
STREAMS, WHOLE = 12, 4
GAP_S = 0.01
MODEL = "google/gemini-2-5-pro"
BODY = {"messages": [{"role": "user", "content": "hi"}]}


class Flow:
    """A running Tollway whose ledger everything has flowed into."""

    def __init__(self, proxy: TollwayProcess) -> None:
        self.proxy = proxy

    def own(self, *arguments: str) -> tuple[int, str, str]:
        done = self.proxy.command("ledger", *arguments)
        return done.returncode, done.stdout, done.stderr

    def told(self, path: str, **query: Any) -> Any:
        with self.proxy.client() as client:
            answer = client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def measured(self, subject: str, metric: str, **query: Any) -> dict[str, Any]:
        """The live value of a subject, as soon as there is one."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            rows = self.told("/ledger/metrics", metric=metric, limit=1000, **query)["live"]
            found[:] = [row for row in rows if row["subject"] == subject]
            return bool(found)

        until(there)
        return found[0]


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, "not in time"
        time.sleep(0.05)


def send(proxy: TollwayProcess, model: str, *, stream: bool) -> None:
    with proxy.client() as client:
        answer = client.post("/chat/completions", json={**BODY, "model": model, "stream": stream})
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory, shared_upstream: OpenAIUpstream) -> Iterator[Flow]:
    home = tmp_path_factory.mktemp("flow")
    shared_upstream.script("google/gemini-2.5-pro", replies.canned(gap_s=GAP_S))
    shared_upstream.script("gemini-2.5-pro", replies.error(500), replies.canned(gap_s=GAP_S))
    shared_upstream.script("house-blend", replies.canned())
    with ExitStack() as stack:
        routed = stack.enter_context(Publisher((DATA / "openrouter-models-2026-08-01.json").read_bytes()))
        analysed = stack.enter_context(Publisher((DATA / "llms-models-2026-05-07.json").read_bytes()))
        setting = config(
            shared_upstream,
            {"openrouter": ["google/gemini-2.5-pro"], "acme": ["gemini-2.5-pro", "house-blend"]},
            ledger={
                "prices": [{"model": "openrouter/google/gemini-2.5-pro", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}],
                "refresh": {
                    "sources": {
                        "openrouter": {"url": routed.url},
                        "artificial_analysis": {"url": analysed.url, "api_key": "env:AA_KEY"},
                    }
                },
            },
        )
        setting.env["AA_KEY"] = "aa-0123456789abcdef0123456789abcdef"
        with tollway(home, setting) as started:
            flow = Flow(started)
            names = [part for source in ("openrouter", "artificial_analysis") for part in ("--source", source)]
            code, out, err = flow.own("refresh", *names, "--config", "config.yaml")
            assert (code, out.count("updated")) == (0, 2), err
            with flow.proxy.client() as client:
                assert client.post("/ledger/benchmarks", json=ENVELOPE).json()["accepted"] == 1
            for _ in range(STREAMS):
                send(flow.proxy, "openrouter/google/gemini-2.5-pro", stream=True)
            for _ in range(WHOLE):
                send(flow.proxy, "acme/gemini-2.5-pro", stream=False)
            send(flow.proxy, "acme/house-blend", stream=False)
            until(lambda: flow.measured("acme/house-blend", "e2e_p50")["n"] == 1)
            yield flow


def test_rankings_say_who_measured_what_and_how_fast_it_is_here(flow: Flow) -> None:
    rows = {row["subject"]: row for row in flow.told("/rankings", task="coding", limit=1000)["data"]}

    here = rows["google/gemini-2-5-pro"]
    sources = {(part["score"]["metric"], part["score"]["source"]) for part in here["parts"]}
    assert {("coding_index", "artificial_analysis"), ("scicode", "artificial_analysis")} <= sources
    live = {it["metric"]: it for it in here["speed_parts"] if it["source"] == "live"}
    assert set(live) == {"ttft_p50", "output_tps_p50"}
    assert live["ttft_p50"]["n"] == STREAMS
    assert 0 <= live["ttft_p50"]["age_s"] < 600
    published = {it["metric"]: it for it in here["speed_parts"] if it["source"] == "artificial_analysis"}
    ttft_ms, tokens_per_s = (
        (live[name]["n"] * live[name]["value"] + 25 * published[name]["value"]) / (live[name]["n"] + 25)
        for name in ("ttft_p50", "output_tps_p50")
    )
    assert here["answer_s"] == pytest.approx(ttft_ms / 1000 + 500 / tokens_per_s)
    assert here["offer"] == "google/gemini-2-5-pro@openrouter"
    unasked = rows["anthropic/claude-opus-4-7"]
    assert "live" not in {it["source"] for it in unasked["speed_parts"]}


def test_a_harness_stands_beside_the_others_with_its_name(flow: Flow) -> None:
    data = flow.told("/ledger/metrics", model="gemini-2.5-pro", metric="swe_bench_verified")["data"]

    assert ("google/gemini-2-5-pro", "harness:helios", 0.71, 500) in {
        (row["subject"], row["source"], row["value"], row["n"]) for row in data
    }


def test_a_model_has_what_is_measured_of_its_offers_and_of_all_of_them_together(flow: Flow) -> None:
    (told,) = flow.told("/ledger/models", model="gemini-2.5-pro")["data"]

    tries = {row["subject"]: row["n"] for row in told["live"] if row["metric"] == "success_rate"}
    assert tries == {
        "google/gemini-2-5-pro": STREAMS + WHOLE + 1,
        "google/gemini-2-5-pro@acme": WHOLE + 1,
        "google/gemini-2-5-pro@openrouter": STREAMS,
    }
    values = {(row["subject"], row["metric"]): row for row in told["live"]}
    success = values["google/gemini-2-5-pro@acme", "success_rate"]
    assert (success["value"], success["source"], success["unit"]) == (WHOLE / (WHOLE + 1), "live", "fraction")
    assert values["google/gemini-2-5-pro@acme", "rate_5xx"]["value"] == 1 / (WHOLE + 1)
    # The canned answer: 11 in, 4 of them from the cache; 9 out; at the configured price.
    assert values["google/gemini-2-5-pro@openrouter", "tokens_out_per_answer"]["value"] == 9.0
    assert values["google/gemini-2-5-pro@openrouter", "cache_hit_rate"]["value"] == pytest.approx(4 / 11)
    assert values["google/gemini-2-5-pro@openrouter", "effective_cost_per_task"]["value"] == pytest.approx(
        (11 * 1 + 9 * 2) / 1e6
    )
    assert ("google/gemini-2-5-pro@acme", "ttft_p50") not in values


def test_what_is_measured_is_blended_with_what_is_published_as_far_as_it_is_grounded(flow: Flow) -> None:
    row = flow.measured("google/gemini-2-5-pro@openrouter", "ttft_p50", model="gemini-2.5-pro")
    data = flow.told("/ledger/metrics", model="gemini-2.5-pro", metric="ttft_p50")["data"]

    (published,) = [it["value"] for it in data if it["subject"] == "google/gemini-2-5-pro"]
    assert row["blended"] == pytest.approx((STREAMS * row["value"] + 25 * published) / (STREAMS + 25))
    assert row["confidence"] == pytest.approx(STREAMS / (STREAMS + 25), rel=0.01)


def test_an_offer_that_the_ledger_cannot_name_keeps_its_own(flow: Flow) -> None:
    (told,) = flow.told("/ledger/models", model="acme/house-blend")["data"]

    assert (told["id"], told["sources"]) == ("acme/house-blend", {})
    assert {row["subject"] for row in told["live"]} == {"acme/house-blend"}


def test_prices_and_the_snapshot_say_where_they_are_from(flow: Flow) -> None:
    price = next(
        row for row in flow.told("/ledger/prices", model="gemini-2.5-pro")["data"] if row["offer"].endswith("@openrouter")
    )
    snapshot = flow.told("/ledger/snapshot")

    assert (price["source"], price["input_nusd_per_mtok"]) == ("openrouter", 1_250_000_000)
    assert {"artificial_analysis", "openrouter", "harness:helios", "live"} <= set(snapshot["sources"])
    assert snapshot["live"] > 20


def test_the_past_knows_nothing_of_what_is_measured_now(flow: Flow) -> None:
    now = flow.told("/ledger/snapshot")["snapshot"]["id"]

    assert flow.told("/ledger/metrics", model="gemini-2.5-pro", at=now)["live"] == []
    (then,) = [row for row in flow.told("/rankings", task="coding", at=now, limit=1000)["data"] if row["subject"] == MODEL]
    assert {it["source"] for it in then["speed_parts"]} == {"artificial_analysis"}


def test_commands_show_what_the_running_server_has_measured(flow: Flow) -> None:
    shown = json.loads(flow.own("models", "show", "gemini-2.5-pro", "--json")[1])
    as_text = flow.own("models", "show", "gemini-2.5-pro")[1]
    listed = flow.own("benchmarks", "list", "--task", "coding", "--limit", "200")[1]

    live = [it for it in shown["values"] if it["source"] == "live" and it["metric"] == "ttft_p50"]
    assert {(it["subject"], it["n"], it["counts"]) for it in live} == {
        ("google/gemini-2-5-pro", STREAMS, True),
        ("google/gemini-2-5-pro@openrouter", STREAMS, True),
    }
    assert any(" live " in line and "ttft_p50" in line and f" {STREAMS} " in line for line in as_text.splitlines())
    (row,) = [line for line in listed.splitlines() if line.split()[1:2] == ["google/gemini-2-5-pro"]]
    assert row.split()[-1] == str(STREAMS + WHOLE)


def test_providers_are_reported_and_held_to_targets(flow: Flow) -> None:
    told = flow.told("/ledger/sla", window="1h", min_success=0.99)
    as_json = json.loads(flow.own("sla", "--window", "1h", "--format", "json")[1])
    kept = flow.own("sla", "--provider", "openrouter", "--min-success", "0.99", "--max-ttft-p90-ms", "60000")
    missed = flow.own("sla", "--provider", "acme", "--min-success", "0.99", "--format", "markdown")
    nobody = flow.own("sla", "--provider", "nobody", "--min-success", "0.99")

    rows = {(row["provider"], row["offer"]): row for row in told["data"]}
    acme, routed = rows["acme", ""], rows["openrouter", ""]
    assert (acme["tries"], acme["success"], acme["broken_rate"]) == (WHOLE + 2, (WHOLE + 1) / (WHOLE + 2), 1 / (WHOLE + 2))
    assert (routed["tries"], routed["success"], routed["availability"]) == (STREAMS, 1.0, 1.0)
    assert routed["ttft_p90_ms"] > 0
    assert acme["ttft_p90_ms"] is None
    assert rows["acme", "acme/gemini-2.5-pro"]["tries"] == WHOLE + 1
    assert told["met"] is False
    assert acme["missed"] == ["success is 83.33%, not at least 99.00%"]
    assert [(it["provider"], it["offer"], it["tries"]) for it in as_json["rows"]] == [
        (row["provider"], row["offer"], row["tries"]) for row in told["data"]
    ]
    assert as_json["met"] is None
    assert kept[0] == 0
    assert (missed[0], missed[1].splitlines()[2].startswith("| acme | 6 | 83.33% |")) == (1, True)
    assert "acme: success is 83.33%" in missed[2]
    assert (nobody[0], "nothing was asked of nobody" in nobody[2]) == (1, True)


def test_only_an_admin_is_told_everything_and_nonsense_is_refused(flow: Flow) -> None:
    with flow.proxy.client() as client:
        root = flow.proxy.base_url.removesuffix("/v1")
        dumped = client.get(f"{root}/admin/v1/ledger/live")
        nonsense = client.get("/ledger/sla", params={"window": "1y"})
        nobody = client.get(f"{root}/admin/v1/ledger/live", headers={"authorization": "Bearer tw-wrong"})

    assert (dumped.status_code, dumped.text.splitlines()[0]) == (200, '{"version":1}')
    assert (nonsense.status_code, nonsense.json()["error"]["param"]) == (400, "window")
    assert nobody.status_code == 401


def test_a_restart_keeps_what_was_measured_and_so_do_commands_without_a_server(flow: Flow) -> None:
    assert flow.proxy.terminate() == 0
    alone = json.loads(flow.own("sla", "--format", "json")[1])
    flow.proxy.restart()

    after = flow.measured("google/gemini-2-5-pro@openrouter", "ttft_p50", model="gemini-2.5-pro")

    assert {row["provider"]: row["tries"] for row in alone["rows"] if not row["offer"]} == {
        "acme": WHOLE + 2,
        "openrouter": STREAMS,
    }
    assert after["n"] == STREAMS
