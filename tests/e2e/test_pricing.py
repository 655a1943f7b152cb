"""``tollway ledger pricing``: what was asked for and has no price is found, filled in, and charged from then on."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.e2e.test_prices import answer, ask
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import TollwayProcess, config


def pricing(proxy: TollwayProcess, *arguments: str) -> tuple[int, str, str]:
    done = proxy.command("ledger", "pricing", *arguments, "--config", "config.yaml")
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def proxy(serve: Serve, upstream: OpenAIUpstream) -> TollwayProcess:
    for name in ("priced", "unpriced"):
        upstream.script(name, answer(name), answer(name))
    own = {"model": "acme/priced", "input_usd_per_mtok": 2, "output_usd_per_mtok": 10}
    return serve(config(upstream, {"acme": ["priced", "unpriced"]}, ledger={"prices": [own]}))


def test_from_an_unpriced_model_to_a_priced_one(proxy: TollwayProcess) -> None:
    ask(proxy, "acme/unpriced")
    ask(proxy, "acme/priced")
    proxy.records("acme/priced")
    patch = proxy.home / "patch.yaml"

    unpriced = pricing(proxy, "check")
    covered = pricing(proxy, "coverage", "--write-patch", str(patch))
    stub = pricing(proxy, "apply", str(patch))
    patch.write_text("- {model: acme/unpriced, input_usd_per_mtok: 1.5, output_usd_per_mtok: 6}\n", encoding="utf-8")
    dry = pricing(proxy, "reconcile", str(patch), "--dry-run", "--json")
    still = pricing(proxy, "check")
    applied = pricing(proxy, "reconcile", str(patch), "--json")
    after = pricing(proxy, "check")

    assert unpriced[0] == 1
    assert "acme/unpriced (1 requests): NO PRICE" in unpriced[1]
    assert covered[0] == 0
    assert covered[1].splitlines()[1] == "acme/priced (1 requests): configuration: acme/priced"
    assert stub[0] == 1
    assert "patch.yaml row 1: acme/unpriced: input or output is not filled in" in stub[2]
    for code, out, _ in (dry, applied):
        told = json.loads(out)
        assert (code, len(told["unpriced_before"]), told["unpriced_after"], told["added"]) == (0, 1, [], 1)
    assert still[0] == 1
    assert after[0] == 0

    proxy.terminate()
    proxy.restart()
    receipt = proxy.receipt(ask(proxy, "acme/unpriced").headers["x-request-id"])
    assert receipt["cost_nusd"] == 1000 * 1500 + 100 * 6000


def test_a_row_that_is_there_is_replaced_only_if_that_is_said_and_the_old_file_is_kept(
    proxy: TollwayProcess, tmp_path: Path
) -> None:
    patch = tmp_path / "patch.yaml"
    rows = [f"- {{model: acme/m, input_usd_per_mtok: {dollars}, output_usd_per_mtok: 9}}\n" for dollars in (1, 2)]
    patch.write_text(rows[0], encoding="utf-8")
    first = pricing(proxy, "apply", str(patch))
    again = pricing(proxy, "apply", str(patch))
    patch.write_text(rows[1], encoding="utf-8")

    refused = pricing(proxy, "apply", str(patch))
    replaced = pricing(proxy, "apply", str(patch), "--overwrite", "--json")

    assert (first[0], again[0], refused[0]) == (0, 0, 1)
    assert "--overwrite replaces it" in refused[2]
    told: dict[str, Any] = json.loads(replaced[1])
    assert (told["added"], told["replaced"]) == (0, 1)
    assert "input_usd_per_mtok: 1.0" in Path(told["backup"]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{model: nobody/m, input_usd_per_mtok: 1, output_usd_per_mtok: 1}", "there is no provider 'nobody'"),
        ("{model: openai/gpt-4o, input_usd_per_mtok: 2500, output_usd_per_mtok: 10000}", "what lists say"),
        ("{model: acme/m, input_usd_per_token: 1}", "row 1: input_usd_per_token"),
    ],
)
def test_a_patch_with_a_slip_is_refused_whole(proxy: TollwayProcess, tmp_path: Path, row: str, said: str) -> None:
    patch = tmp_path / "patch.yaml"
    patch.write_text(f"- {row}\n- {{model: acme/fine, input_usd_per_mtok: 1, output_usd_per_mtok: 1}}\n", encoding="utf-8")

    code, _, err = pricing(proxy, "apply", str(patch))

    assert code == 1
    assert said in err
    assert not (proxy.home / "prices.yaml").exists()


def test_lint_audit_and_agreement_say_what_they_found(proxy: TollwayProcess) -> None:
    lint = pricing(proxy, "lint")
    audit = pricing(proxy, "audit", "--json", "--max-age-days", "36000")
    agreement = pricing(proxy, "agreement", "--provider", "mistral")
    nobody = pricing(proxy, "agreement", "--provider", "nobody")
    month = pricing(proxy, "check", "--month", "yesterday")

    assert (lint[0], lint[1]) == (0, "1 rows, nothing is wrong with them\n")
    assert [row["name"].partition(" ")[0] for row in json.loads(audit[1])] == ["litellm", "genai-prices"]
    assert agreement[0] == 0
    assert "mistral/mistral-large-latest  own_name  input litellm" in agreement[1]
    assert "models are in both lists" in agreement[1]
    assert nobody[0] == 1
    assert "'yesterday' is no month" in month[2]


def test_a_file_of_prices_that_is_wrong_is_a_reason_not_to_start(proxy: TollwayProcess) -> None:
    proxy.terminate()
    (proxy.home / "prices.yaml").write_text("- {model: acme}\n", encoding="utf-8")

    with pytest.raises(AssertionError, match="must be provider/model"):
        proxy.restart()
