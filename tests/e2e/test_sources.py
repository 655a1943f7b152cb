"""Facts come in: from a publisher, from a harness, from the seed; through a running server and without one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.ledger.refresh.publisher import Publisher
from tests.process import TollwayProcess, config

RECORDED = Path(__file__).parents[1] / "ledger" / "adapters" / "data" / "openrouter-models-2026-08-01.json"
ENVELOPE = {
    "schema": "tollway.benchmarks/1",
    "harness": {"name": "helios", "version": "1.4.0"},
    "observed_at": "2026-11-01T12:00:00Z",
    "results": [
        {"model": "openai/gpt-5", "metric": "swe_bench_verified", "value": 0.71, "unit": "fraction", "n": 500},
        {"model": "openai/gpt-5", "metric": "swe_bench_pro", "value": 41, "unit": "fraction"},
        {"model": "openai/gpt-5", "metric": "vibes", "value": 1, "unit": "fraction"},
    ],
}


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(RECORDED.read_bytes()) as publisher:
        yield publisher


def ledger(publisher: Publisher, *, enabled: bool = False) -> dict[str, Any]:
    others = {name: {"enabled": False} for name in ("models_dev", "litellm")}
    return {"refresh": {"enabled": enabled, "sources": {"openrouter": {"url": publisher.url}, **others}}}


def own(proxy: TollwayProcess, *arguments: str) -> tuple[int, str, str]:
    done = proxy.command("ledger", *arguments, "--config", "config.yaml")
    return done.returncode, done.stdout, done.stderr


def refreshed(proxy: TollwayProcess, *arguments: str) -> dict[str, Any]:
    _, out, err = own(proxy, "refresh", "--json", *arguments)
    assert out, err
    return {row["source"]: row for row in json.loads(out)["data"]}


def test_nobody_is_asked_unless_that_is_wanted(serve: Serve, publisher: Publisher) -> None:
    proxy = serve(config(None, {"acme": ["m"]}, fields={"acme": {"base_url": "http://127.0.0.1:1/v1"}},
                         ledger=ledger(publisher)))  # fmt: skip

    with proxy.client() as client:
        shown = client.get("/ledger/sources").json()
    told = own(proxy, "sources")[1]

    assert publisher.asked == []
    assert shown["background"] is False
    assert "nobody is asked in the background: ledger.refresh.enabled is off" in told
    assert {row["name"]: row["why_not"] for row in shown["data"]}["artificial_analysis"] == "it needs a key: AA_API_KEY"


def test_a_refresh_goes_through_the_server_and_looks_before_it_believes(serve: Serve, publisher: Publisher) -> None:
    proxy = serve(config(None, {"acme": ["m"]}, fields={"acme": {"base_url": "http://127.0.0.1:1/v1"}},
                         ledger=ledger(publisher)))  # fmt: skip

    dry = refreshed(proxy, "--source", "openrouter", "--dry-run")["openrouter"]
    first = refreshed(proxy)
    again = refreshed(proxy, "--source", "openrouter")["openrouter"]
    publisher.body = json.dumps({"data": json.loads(RECORDED.read_bytes())["data"][:100]}).encode()
    code, out, _ = own(proxy, "refresh", "--source", "openrouter")
    aside = own(proxy, "sources")[1].partition("put aside: ")[2].partition(" ")[0]
    accepted = refreshed(proxy, "--accept", aside)["openrouter"]

    assert (dry["status"], first["openrouter"]["status"], again["status"]) == ("would_update", "updated", "unchanged")
    assert (first["openrouter"]["rows"], first["openrouter"]["prices"]) == (336, 319)
    assert first["litellm"]["detail"] == "it is switched off in the configuration"
    assert code == 1
    assert "about 100 models, where there were 336" in out
    assert accepted["status"] == "updated"


def test_in_the_background_it_is_asked_by_itself(serve: Serve, publisher: Publisher) -> None:
    proxy = serve(config(None, {"acme": ["m"]}, fields={"acme": {"base_url": "http://127.0.0.1:1/v1"}},
                         ledger=ledger(publisher, enabled=True)))  # fmt: skip

    again = refreshed(proxy, "--source", "openrouter")["openrouter"]
    told = own(proxy, "sources")[1]

    assert "in the background" not in told
    assert again["status"] in ("unchanged", "skipped")
    assert publisher.asked[0].headers["if-none-match"] is None


def test_without_a_server_what_is_fetched_waits_for_it(serve: Serve, publisher: Publisher) -> None:
    proxy = serve(config(None, {"acme": ["m"]}, fields={"acme": {"base_url": "http://127.0.0.1:1/v1"}},
                         ledger=ledger(publisher)))  # fmt: skip
    proxy.terminate()

    alone = refreshed(proxy, "--source", "openrouter")["openrouter"]
    proxy.restart()
    through = refreshed(proxy, "--source", "openrouter")["openrouter"]

    assert (alone["status"], through["status"]) == ("updated", "unchanged")


def test_a_harness_writes_in_and_hears_what_was_refused(serve: Serve, publisher: Publisher, tmp_path: Path) -> None:
    proxy = serve(config(None, {"acme": ["m"]}, fields={"acme": {"base_url": "http://127.0.0.1:1/v1"}},
                         ledger=ledger(publisher)))  # fmt: skip
    file = tmp_path / "envelope.json"
    file.write_text(json.dumps(ENVELOPE), encoding="utf-8")

    with proxy.client() as client:
        looked = client.post("/ledger/benchmarks?dry_run=true", json=ENVELOPE).json()
        first = client.post("/ledger/benchmarks", json=ENVELOPE).json()
        again = client.post("/ledger/benchmarks", json=ENVELOPE).json()
        wrong = client.post("/ledger/benchmarks", json=ENVELOPE | {"results": ENVELOPE["results"][1:]})
        nonsense = client.post("/ledger/benchmarks", content=b"<html>")
    code, out, err = own(proxy, "import", str(file))

    assert (looked["accepted"], looked["kept"], looked["dry_run"]) == (1, 0, True)
    assert (first["format"], first["accepted"], len(first["refused"])) == ("helios", 1, 2)
    assert first["refused"][0].startswith("results[1]: ")
    assert "41.0 is not between 0 and 1 fraction" in first["refused"][0]
    assert "there is no such metric" in first["refused"][1]
    assert (first["unresolved"], again["accepted"]) == ([], 1)
    assert (wrong.status_code, nonsense.status_code) == (400, 400)
    assert nonsense.json()["error"]["message"] == "The payload is a web page, not JSON."
    assert code == 1
    assert "1 accepted, 2 refused (helios)" in out
    assert "results[2]: " in err


def test_only_an_admin_may_say_what_is_true(serve: Serve, publisher: Publisher) -> None:
    proxy = serve(config(None, {"acme": ["m"]}, fields={"acme": {"base_url": "http://127.0.0.1:1/v1"}},
                         ledger=ledger(publisher)))  # fmt: skip
    made = proxy.command("keys", "create", "worker")

    with proxy.client() as client:
        headers = {"authorization": f"Bearer {made.stdout.strip()}"}
        posted = client.post("/ledger/benchmarks", json=ENVELOPE, headers=headers)
        asked = client.post("/ledger/refresh", json={}, headers=headers)

    assert (posted.status_code, asked.status_code) == (403, 403)
    assert publisher.asked == []
