"""The benchmark's arithmetic, and one short run of all of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.load import machine, measure, report, tools
from benchmarks.load.measure import BURST, Check, Figure, Results, Run, Target
from benchmarks.load.process import NotRunning, Process
from benchmarks.load.tools import BenchmarkFailed, Load

ROOT = Path(__file__).parents[2]
HAS_COMPILER = any(map(shutil.which, ("cc", "gcc")))


def a_load(**fields: Any) -> Load:
    """What the generator would print after 10 answers of 20 events."""
    found: dict[str, Any] = {
        **dict.fromkeys(Load.__struct_fields__, 0),
        "all_ok": 10,
        "all_events": 200,
        "started": 10,
        **fields,
    }
    return Load(**found)


def a_figure(*values: float, target: Target | None = None) -> Figure:
    """A figure called CPU."""
    return Figure(key="cpu", name="CPU", unit="µs", values=values, target=target)


# --- reading the machine ---


def test_cpu_ticks_are_read_past_a_command_name_with_spaces_and_brackets() -> None:
    stat = "4711 (a (bad) name) S 1 2 3 4 5 6 7 8 9 10 320 45 0 0 20 0 3 0 12345 1000000 2000"

    ticks = machine.cpu_ticks(stat)

    assert ticks == 365


def test_a_core_is_busy_with_everything_but_idling_and_waiting_for_the_disk() -> None:
    stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 1 2 4 1000 5000 8 16 32 0 0\ncpu10 7 7 7 7 7 7 7 7 0 0\n"

    ticks = machine.busy_ticks(stat, 1)

    assert ticks == 63


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("  0:01.27\n", 1.27), ("12:03.50", 723.5), ("00:01:02", 62), ("2-03:04:05", 183_845)],
)
def test_the_times_that_ps_prints_are_read_as_macos_and_linux_print_them(text: str, seconds: float) -> None:
    found = machine.ps_time_s(text)

    assert found == pytest.approx(seconds)


# --- from measurements to figures ---


def test_cpu_time_is_shared_out_over_answers_and_over_events() -> None:
    run = Run(load=a_load(), cpu_us=4000)

    shares = (run.cpu_us_per_answer, run.cpu_us_per_event, run.events_per_answer)

    assert shares == (400, 20, 20)


def test_an_event_is_charged_with_what_its_stream_costs_beyond_a_plain_request() -> None:
    streams = Run(load=a_load(), cpu_us=4000)
    plain = Run(load=a_load(all_events=0), cpu_us=1000)

    marginal_us = measure.marginal_us(streams, plain)

    assert marginal_us == 15


def test_what_the_proxy_adds_is_taken_from_the_direct_run_of_the_same_round() -> None:
    run = Run(load=a_load(p50=900, p99=2000), cpu_us=1, direct=a_load(p50=100, p99=500))

    added_us = (measure.added_us(run, "p50"), measure.added_us(run, "p99"))

    assert added_us == (800, 1500)


def test_a_run_without_any_answer_divides_by_nothing() -> None:
    nothing = {case.key: Run(load=a_load(all_ok=0, all_events=0), cpu_us=5, direct=a_load()) for case in measure.CASES}

    found = measure.figures([nothing])

    assert {figure.key for figure in found} >= {"c64_rps", "c64_cpu_us", "paced_cpu_us", "burst_cpu_us", "ttft_p99_ms"}


@pytest.mark.parametrize(
    ("sign", "value", "met"),
    [(">=", 10, True), (">=", 9.9, False), ("<=", 10, True), ("<=", 10.1, False), ("<", 9.9, True), ("<", 10, False)],
)
def test_a_target_is_met_on_its_own_side_only(sign: str, value: float, met: bool) -> None:
    target = Target(sign, 10)

    verdict = target.met(value)

    assert verdict is met


def test_the_verdict_is_on_the_median_and_not_on_the_best_round() -> None:
    figure = a_figure(350, 420, 410, target=Target("<=", 400))

    verdict = figure.ok

    assert verdict is False


def test_the_request_of_a_stream_differs_in_one_field() -> None:
    plain, stream = (msgspec.json.decode(measure.body(case, "m")) for case in (measure.PLAIN[0], BURST))

    assert stream == {**plain, "stream": True}


# --- the report ---


def test_a_table_names_median_spread_target_and_verdict() -> None:
    results = Results(
        subject="tollway",
        figures=(a_figure(410, 350, 420, target=Target("<=", 400)), Figure(key="r", name="RSS", unit="MB", values=(80.66,))),
        checks=(),
        other_work_ratio=None,
    )

    lines = [line.split() for line in report.own(results).splitlines()]

    assert lines[0] == ["median", "min", "-", "max", "unit", "target"]
    assert lines[2:] == [["CPU", "410", "350", "-", "420", "µs", "<=", "400", "miss"], ["RSS", "80.7", "MB"]]


def test_a_peer_stands_beside_with_how_many_times_as_much_it_takes() -> None:
    ours, theirs = (
        Results(subject=name, figures=(a_figure(value),), checks=(), other_work_ratio=None)
        for name, value in (("tollway", 350), ("litellm", 8750))
    )

    lines = report.beside(ours, theirs).splitlines()

    assert lines[2].split() == ["CPU", "350", "8,750", "µs", "25.00"]


def test_counts_that_disagree_are_shouted() -> None:
    text = report.checks((Check(name="records", expected=10, found=9), Check(name="answers", expected=3, found=3)))

    assert text == "COUNTS DO NOT AGREE:\n  records: 9, not 10"


# --- processes ---


def test_a_process_that_ends_by_itself_says_how_it_went(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such port'); raise SystemExit(3)"]

    with (
        (tmp_path / "log").open("wb") as log,
        Process("the mock", command, log=log) as process,
        pytest.raises(NotRunning) as refused,
    ):
        process.said(re.compile(r"port \d+"), limit_s=10)

    assert str(refused.value) == "the mock ended with code 3. The end of its output:\nno such port\n"


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)

    with pytest.raises(BenchmarkFailed, match=r"no C compiler.*apt-get install gcc"):
        tools.build(tmp_path / "bin")


# --- all of it ---


@pytest.mark.slow
@pytest.mark.skipif(not HAS_COMPILER, reason="there is no C compiler")
def test_a_quick_run_measures_every_figure_and_all_counts_agree(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load.run", "--quick", "--seconds", "0.3", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    found = msgspec.json.decode(file.read_bytes())["subjects"]["tollway"]
    assert [check["name"] for check in found["checks"] if not check["ok"]] == []
    assert {key for key, figure in found["figures"].items() if figure["median"] <= 0} <= NEAR_ZERO
    assert {key for key, figure in found["figures"].items() if figure["target"]} == WITH_TARGETS
    assert "tollway: counts agree: 0 answers that were not 200" in done.stdout
    assert not list(tools.BIN.glob("state-*"))


WITH_TARGETS = {"c64_rps", "c64_cpu_us", "c1_added_p50_ms", "paced_cpu_us", "burst_cpu_us", "start_up_s", "rss_idle_mb"}
NEAR_ZERO = {"c1_added_p99_ms", "c16_added_p99_ms", "c64_added_p99_ms", "ttft_p99_ms", "paced_marginal_us", "burst_marginal_us"}
"""Differences, which may come out below zero in runs this short."""
