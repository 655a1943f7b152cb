"""``tollway ledger sla`` where no server runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ledger.live import LiveMetrics, Sample
from proxy.commands import sla
from proxy.facts.live import FILE

runner = CliRunner()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOLLWAY_HOME", str(tmp_path))
    return tmp_path


def command(*arguments: str) -> tuple[int, str, str]:
    ledger = typer.Typer()
    sla.add_to(ledger)
    done = runner.invoke(ledger, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def keep(home: Path, *samples: Sample) -> None:
    metrics = LiveMetrics(time.time)
    for sample in samples:
        metrics.observe(sample)
    (home / FILE).write_bytes(metrics.dump())


def test_what_was_kept_is_reported(home: Path) -> None:
    keep(home, Sample(offer="acme/a|b", outcome="ok", e2e_ms=1_000.0, ttft_ms=100.0, output_tokens=90))

    as_table = command()[1].splitlines()
    as_markdown = command("--format", "markdown")[1].splitlines()
    as_json = json.loads(command("--format", "json")[1])

    assert as_table[0].split()[:3] == ["PROVIDER", "TRIES", "SUCCESS"]
    assert as_table[1].split()[:4] == ["acme", "1", "100.00%", "100.00%"]
    assert as_table[2].startswith("  acme/a|b")
    assert as_markdown[0].count("|") == as_markdown[1].count("|") == as_markdown[2].count("|")
    assert as_markdown[3].startswith(r"| acme/a\|b | 1 |")
    assert [row["offer"] for row in as_json["rows"]] == ["", "acme/a|b"]


def test_a_target_that_is_missed_exits_with_1(home: Path) -> None:
    keep(home, Sample(offer="acme/a", outcome="ok", e2e_ms=1.0), Sample(offer="acme/a", outcome="late", e2e_ms=1.0))

    met = command("--min-success", "0.5")
    missed = command("--min-success", "0.9", "--max-ttft-p90-ms", "2000")

    assert (met[0], met[2]) == (0, "")
    assert missed[0] == 1
    assert missed[2].splitlines() == [
        "tollway: acme: success is 50.00%, not at least 90.00%",
        "tollway: acme: ttft p90 is unknown, not at most 2,000 ms",
    ]


def test_where_nothing_was_asked_that_is_said_and_no_target_is_met() -> None:
    assert command() == (0, "nothing was asked of anybody in the last 24h\n", "")
    assert command("--min-success", "0.9")[0] == 1


def test_a_file_that_cannot_be_read_is_said(home: Path) -> None:
    (home / FILE).write_bytes(b"nonsense")

    code, out, err = command()

    assert (code, out) == (1, "")
    assert err.startswith(f"tollway: {home / FILE} cannot be read: not live metrics")
