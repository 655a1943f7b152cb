"""The command, on a set whose every figure can be computed by hand; and on what it cannot use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.routing.__main__ import main
from benchmarks.routing.simulate import REGIMES

DATA = Path(__file__).parent / "data" / "outcomes.csv"
LEDGER = Path(__file__).parents[2] / "ledger" / "data" / "catalogue" / "artificial-analysis-2026-05-07.json"
# One costs a thousandth of a dollar and answers one prompt of four, the other a hundredth and three.
LEAST, MOST = (0.001, 0.25), (0.010, 0.75)


def scored(tmp_path: Path, *more: str) -> dict[str, Any]:
    """What the command writes about the set."""
    path = tmp_path / "figures.json"
    arguments = ["--outcomes", str(DATA), "--artificial-analysis", str(LEDGER), "--as-of", "2026-05-08", "--warmup", "0"]
    assert main([*arguments, "--bootstrap", "50", "--json", str(path), *more]) == 0
    return msgspec.json.decode(path.read_bytes())  # type: ignore[no-any-return]  # JSON


def test_every_figure_is_the_one_that_a_pencil_finds(tmp_path: Path) -> None:
    found = scored(tmp_path)["comparison"]
    standings = {it["name"]: it for it in found["standings"]}
    areas = {name: it["aiq"]["value"] for name, it in standings.items()}

    assert (found["low"], found["high"]) == pytest.approx((0.001, 0.010))
    assert standings["cheapest"]["own"] == pytest.approx(LEAST)
    assert standings["hindsight"]["own"] == pytest.approx(MOST)
    assert standings["random"]["own"] == pytest.approx((0.0055, 0.5))
    assert standings["best"]["own"] == pytest.approx(MOST)
    # A straight line from one model to the other; half of it, and flat from there on; the oracle pays for two prompts of four.
    assert areas["cheapest"] == pytest.approx(0.25)
    assert [areas[name] for name in ("hindsight", "best", "composite", "ours")] == pytest.approx([0.5] * 4)
    assert areas["random"] == pytest.approx((0.375 * 0.0045 + 0.5 * 0.0045) / 0.009)
    assert areas["oracle"] == pytest.approx((0.5 * 0.0045 + 0.75 * 0.0045) / 0.009)
    assert standings["oracle"]["curve"] == [pytest.approx(LEAST), pytest.approx((0.0055, 0.75))]


def test_models_are_found_in_the_ledger_and_prices_in_the_costs(tmp_path: Path) -> None:
    models = scored(tmp_path)["models"]

    assert [(it["variant"], it["known"]) for it in models] == [("openai/gpt-3-5-turbo", True), ("openai/gpt-4", True)]
    # Too few answers to tell a price from; so the list's, of three to one.
    assert [it["price"]["source"] for it in models] == ["listed", "listed"]


def test_the_same_is_written_each_time(tmp_path: Path) -> None:
    assert scored(tmp_path) == scored(tmp_path)


def test_arms_tasks_models_and_prices_can_be_given(tmp_path: Path) -> None:
    files = {"models": '{"gpt-4": "openai/gpt-5"}', "prices": '{"gpt-4": [1, 2]}', "tasks": '{"gsm8k": "coding"}'}
    options = []
    for name, text in files.items():
        path = tmp_path / f"{name}.json"
        path.write_text(text)
        options += [f"--{name}", str(path)]

    found = scored(tmp_path, *options, "--arms", "ours,auto:cheap", "--at-cost", "0.005")

    assert [it["name"] for it in found["comparison"]["standings"]] == ["ours", "auto:cheap", "cheapest"]
    assert found["comparison"]["budgets"] == [0.005]
    assert found["models"][1]["variant"] == "openai/gpt-5"
    assert found["models"][1]["price"] == {"input_usd": 1.0, "output_usd": 2.0, "source": "given"}


def test_curves_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "curves.svg"

    scored(tmp_path, "--plot", str(path))

    assert "<svg" in path.read_text()


def test_a_regime_is_simulated_and_its_aims_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--simulate", "few models", "--bootstrap", "0", "--check"]) == 0
    assert "AIQ of ours less that of composite" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--outcomes", "nowhere.csv"), "failed: [Errno 2] No such file or directory: 'nowhere.csv'"),
        (("--outcomes", str(DATA), "--arms", "lucky"), "failed: there is no arm 'lucky'; there are: ours, random"),
        (("--outcomes", str(DATA), "--ledger", "nowhere"), "failed: [Errno 2] there is no ledger: 'nowhere'"),
        (("--outcomes", str(DATA), "--openrouter", str(DATA)), "failed: "),
        (("--outcomes", str(DATA), "--models", str(DATA)), "failed: "),
        (("--simulate", "paradise"), f"failed: there is no regime 'paradise'; there are: {REGIMES[0].name}"),
    ],
)
def test_what_it_cannot_use_is_said_in_a_sentence(
    options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options) == 1
    assert capsys.readouterr().err.startswith(said)
