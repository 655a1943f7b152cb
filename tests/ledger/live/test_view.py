"""The view of live metrics that decisions read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from ledger.live import LiveMetrics, Sample, Value, Views
from ledger.live.metrics import TASK_ENOUGH

NOW = 1_800_000_000.0
SUBJECTS: Mapping[str, Sequence[str]] = {
    "openai/gpt-5": ("openai/gpt-5@openai", "openai/gpt-5"),
    "azure/gpt-5": ("openai/gpt-5@azure", "openai/gpt-5"),
}


class Clock:
    """A wall clock that is set by hand."""

    now_s = NOW

    def __call__(self) -> float:
        return self.now_s


class Fixture:
    """Live metrics, and the view of them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.metrics = LiveMetrics(self.clock)
        self.subjects = dict(SUBJECTS)
        self.views = Views(
            self.metrics,
            subjects=lambda offer: self.subjects.get(offer, ()),
            bounds={"output_tps_p50": (0.01, 20_000.0)},
            clock_s=self.clock,
        )

    def sample(
        self, offer: str, *, ttft_ms: float = 100.0, e2e_ms: float = 1_100.0, output_tokens: int = 50, task: str = ""
    ) -> None:
        self.metrics.observe(
            Sample(
                offer=offer,
                outcome="ok",
                e2e_ms=e2e_ms,
                ttft_ms=ttft_ms,
                input_tokens=10,
                output_tokens=output_tokens,
                task=task,
            )
        )

    def renew(self, *, all_of: bool = False) -> int:
        """How many steps it took."""
        return sum(1 for _ in self.views.renew(all_of=all_of))


def test_an_offer_is_known_by_its_own_name_and_by_the_ledgers() -> None:
    it = Fixture()
    it.sample("azure/gpt-5", ttft_ms=300.0)

    it.renew()

    view = it.views.view
    for subject in ("openai/gpt-5@azure", "openai/gpt-5", "azure/gpt-5"):
        value, n = view.values[subject, "ttft_p50"]
        assert (value, n) == (pytest.approx(300, rel=0.05), 1)
        assert view.metrics[subject]["ttft_p50"] == Value(value, n)
        assert view.heard_us[subject] == NOW * 1e6
    assert view.by_offer("azure/gpt-5")["ttft_p50"].n == 1


def test_an_offer_that_the_ledger_does_not_know_keeps_its_own_name() -> None:
    it = Fixture()
    it.sample("acme/plain")

    it.renew()

    assert {subject for subject, _ in it.views.view.values} == {"acme/plain"}


def test_a_variant_is_what_was_asked_of_all_its_hosts() -> None:
    it = Fixture()
    for _ in range(3):
        it.sample("openai/gpt-5", ttft_ms=100.0)
    it.sample("azure/gpt-5", ttft_ms=900.0)

    it.renew()

    view = it.views.view
    assert view.values["openai/gpt-5", "ttft_p50"][1] == 4
    assert view.values["openai/gpt-5", "ttft_p99"][0] == pytest.approx(100, rel=0.05)
    assert view.values["openai/gpt-5@openai", "ttft_p50"][1] == 3
    # The provider's own model is asked for by the same name, and is an offer.
    assert view.by_offer("openai/gpt-5")["ttft_p50"].n == 3


def test_only_what_has_changed_is_made_anew() -> None:
    it = Fixture()
    for number in range(20):
        it.sample(f"acme/{number}")
    assert it.renew() == 20

    it.sample("acme/7", ttft_ms=900.0)
    steps = it.renew()

    assert steps == 1
    assert it.views.view.by_offer("acme/7")["ttft_p50"].n == 2
    assert it.views.view.by_offer("acme/8")["ttft_p50"].n == 1


def test_a_view_that_somebody_holds_does_not_change() -> None:
    it = Fixture()
    it.sample("acme/plain")
    it.renew()
    held = it.views.view

    it.sample("acme/plain")
    it.renew()

    assert held.by_offer("acme/plain")["ttft_p50"].n == 1
    assert it.views.view.by_offer("acme/plain")["ttft_p50"].n == 2


def test_a_sample_that_comes_while_the_view_is_made_is_in_the_next_one() -> None:
    it = Fixture()
    it.sample("acme/a")
    it.sample("acme/b")
    steps = it.views.renew()
    next(steps)

    it.sample("acme/a")
    list(steps)
    it.renew()

    assert it.views.view.by_offer("acme/a")["ttft_p50"].n == 2


def test_what_is_a_week_old_is_in_the_view_no_more() -> None:
    it = Fixture()
    it.sample("azure/gpt-5")
    it.renew()
    it.clock.now_s += 700_000

    it.renew()

    assert (it.views.view.values, it.views.view.by_offer("azure/gpt-5")) == ({}, {})


def test_when_the_ledger_learns_a_name_everything_can_be_made_anew() -> None:
    it = Fixture()
    it.sample("acme/plain")
    it.renew()
    it.subjects["acme/plain"] = ("acme/plain-1@acme",)

    it.renew(all_of=True)

    assert it.views.view.values["acme/plain-1@acme", "ttft_p50"][1] == 1


def test_what_cannot_be_true_is_left_out() -> None:
    it = Fixture()
    it.sample("acme/plain", ttft_ms=1.0, e2e_ms=1.01, output_tokens=50)

    it.renew()

    known = it.views.view.by_offer("acme/plain")
    assert "output_tps_p50" not in known
    assert "ttft_p50" in known


def test_answers_to_a_kind_of_task_have_a_length_of_their_own() -> None:
    it = Fixture()
    for _ in range(TASK_ENOUGH):
        it.sample("acme/plain", output_tokens=900, task="coding")
        it.sample("acme/plain", output_tokens=100)

    it.renew()

    view = it.views.view
    assert view.by_offer("acme/plain", "coding")["tokens_out_per_answer"] == Value(900.0, TASK_ENOUGH)
    assert view.by_offer("acme/plain", "coding")["ttft_p50"].n == 2 * TASK_ENOUGH
    assert view.by_offer("acme/plain", "math")["tokens_out_per_answer"] == Value(500.0, 2 * TASK_ENOUGH)
    assert view.by_offer("nobody/plain", "coding") == {}
