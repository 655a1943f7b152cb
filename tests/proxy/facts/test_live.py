"""Live metrics of the gateway's own traffic."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ledger.adapters import aliases
from ledger.catalogue.identity import Resolver
from ledger.records import Settlement, Tokens
from proxy.call import Call, Fault
from proxy.disk.home import Home
from proxy.errors import Hedged
from proxy.facts.live import FILE, Live, sample_of
from tests.proxy.samples import attempt, call, deployment

TOKENS = Tokens(input_uncached=700, cache_read=200, input_audio=90, cache_read_audio=10, output_text=30, reasoning=20)
RESOLVER = Resolver(aliases.load())


class Clock:
    """A wall clock that is set by hand."""

    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def settled(**changes: Any) -> Settlement:
    fields: dict[str, Any] = {"quality": "exact", "tokens": TOKENS, "cost_nusd": 5_000, "price_source": "a list", **changes}
    return Settlement(request_id="req_1", attempt=1, at_us=1, **fields)


def live(home: Path, *, resolver: Resolver = RESOLVER, clock: Clock | None = None) -> Live:
    return Live(Home(home), lambda: resolver, clock or Clock())


async def until(holds: Any, running: Sequence[asyncio.Task[Any]] = ()) -> None:
    async with asyncio.timeout(20):
        while not holds():
            assert not any(task.done() for task in running)
            await asyncio.sleep(0.01)


# --- what a try says ---------------------------------------------------------------------------------------------------


def test_an_answered_stream_says_how_fast_how_wordy_and_how_dear_its_offer_is() -> None:
    done = attempt(duration_us=2_000_000, ttfb_us=500_000, truncated=True)

    sample = sample_of(done, settled(), stream=True, task="coding")

    assert sample is not None
    assert (sample.offer, sample.outcome, sample.e2e_ms, sample.ttft_ms) == ("acme/gpt", "ok", 2_000.0, 500.0)
    assert (sample.input_tokens, sample.cached_tokens, sample.output_tokens) == (1_000, 210, 50)
    assert (sample.cost_nusd, sample.truncated, sample.task) == (5_000, True, "coding")


def test_a_whole_answer_has_no_first_token() -> None:
    sample = sample_of(attempt(), settled(), stream=False)

    assert sample is not None and sample.ttft_ms is None


@pytest.mark.parametrize(
    ("fault", "outcome"), [("rate_limit", "limited"), ("account", "refused"), ("upstream", "broken"), ("timeout", "late")]
)
def test_a_fault_of_the_upstream_is_told_by_its_kind(fault: Fault, outcome: str) -> None:
    sample = sample_of(attempt(fault=fault, outcome="upstream_error"), settled(quality="held"), stream=True)

    assert sample is not None
    assert (sample.outcome, sample.cost_nusd, sample.output_tokens) == (outcome, 5_000, None)


@pytest.mark.parametrize("fault", ["request", "client", "gateway"])
def test_a_fault_of_the_request_the_client_or_ours_says_nothing(fault: Fault) -> None:
    assert sample_of(attempt(fault=fault, outcome="bad"), settled(), stream=True) is None


def test_a_hedge_that_another_try_was_faster_than_says_nothing() -> None:
    assert sample_of(attempt(outcome=Hedged.code), settled(quality="estimated"), stream=True) is None


def test_a_try_that_was_never_sent_is_told_as_broken_and_costs_nothing() -> None:
    sample = sample_of(attempt(fault="upstream", outcome="no_healthy_upstream", status=None), None, stream=False)

    assert sample is not None and (sample.outcome, sample.cost_nusd) == ("broken", None)


def test_a_guess_at_tokens_and_cost_is_no_measurement() -> None:
    sample = sample_of(attempt(), settled(quality="estimated"), stream=False)

    assert sample is not None
    assert (sample.output_tokens, sample.cached_tokens, sample.cost_nusd) == (None, None, None)


# --- the view ----------------------------------------------------------------------------------------------------------


async def test_what_happens_is_seen_within_a_second_by_the_ledgers_names(tmp_path: Path) -> None:
    it = live(tmp_path)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(it.run())
        slow = attempt(deployment=deployment("openrouter/openai/gpt-5"), duration_us=9_000_000, ttfb_us=8_000_000)

        it.observe(call(fields={"stream": True}), slow, settled())
        await until(lambda: it.view.values, [running])

        for subject in ("openai/gpt-5@openrouter", "openai/gpt-5", "openrouter/openai/gpt-5"):
            assert it.view.values[subject, "ttft_p50"] == (pytest.approx(8_000, rel=0.05), 1)
        running.cancel()


async def test_what_the_ledger_learns_to_name_is_found_by_that_name(tmp_path: Path) -> None:
    resolvers = [Resolver(aliases.load())]
    it = Live(Home(tmp_path), lambda: resolvers[-1], Clock())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(it.run())
        it.observe(call(), attempt(deployment=deployment("acme/gpt-5")), settled())
        await until(lambda: ("openai/gpt-5@acme", "e2e_p50") in it.view.values, [running])
        before = it.view

        resolvers.append(Resolver(aliases.load()))
        it.observe(call(), attempt(deployment=deployment("acme/other")), settled())
        await until(lambda: it.view is not before, [running])

        assert it.view.values["openai/gpt-5@acme", "e2e_p50"][1] == 1
        assert it.view.by_offer("acme/other")["e2e_p50"].n == 1
        running.cancel()


def test_a_kind_of_task_is_what_somebody_says_that_it_is(tmp_path: Path) -> None:
    def task_of(call: Call) -> str:
        return f"about {call.head.model}"

    it = Live(Home(tmp_path), lambda: RESOLVER, Clock(), task_of=task_of)

    it.observe(call("smart"), attempt(), settled())

    assert it.metrics.tasks() == [("acme/gpt", "about smart")]


# --- the file ----------------------------------------------------------------------------------------------------------


async def test_what_was_measured_is_there_after_a_restart(tmp_path: Path) -> None:
    before = live(tmp_path)
    before.observe(call(), attempt(), settled())
    await before.close()

    after = live(tmp_path)
    after.restore()

    assert after.view.by_offer("acme/gpt")["success_rate"].n == 1
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


async def test_it_is_kept_while_it_runs_and_not_only_at_its_end(tmp_path: Path) -> None:
    clock = Clock()
    it = live(tmp_path, clock=clock)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(it.run())
        await asyncio.sleep(0)
        clock.now_s += 31

        it.observe(call(), attempt(), settled())
        await until((tmp_path / FILE).exists, [running])

        running.cancel()


async def test_where_nothing_was_measured_nothing_is_written(tmp_path: Path) -> None:
    await live(tmp_path).close()

    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b'{"version":1}\n{"kind":"offer"}'])
def test_a_file_that_cannot_be_read_is_logged_and_forgotten(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    it = live(tmp_path)

    with capture_logs() as logs:
        it.restore()

    assert [line["event"] for line in logs] == ["live_metrics_not_restored"]
    assert it.metrics.offers() == []


def test_the_first_start_has_no_file_and_says_nothing(tmp_path: Path) -> None:
    with capture_logs() as logs:
        live(tmp_path).restore()

    assert logs == []


async def test_a_file_that_cannot_be_written_is_logged_and_written_next_time(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    it = live(gone)
    it.observe(call(), attempt(), settled())

    with capture_logs() as logs:
        await it.close()
    gone.mkdir()
    await it.close()

    assert [line["event"] for line in logs] == ["live_metrics_not_kept"]
    assert (gone / FILE).exists()
