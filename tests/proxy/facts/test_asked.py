"""What is asked of the facts."""

from datetime import UTC, datetime

import pytest

from ledger.adapters import aliases
from ledger.catalogue.identity import Resolver
from ledger.catalogue.merge import ORDER
from ledger.catalogue.snapshot import Snapshot
from ledger.live import LiveMetrics, LiveView, Sample
from proxy.config import Config
from proxy.config.ledger import LedgerConfig, PriorityConfig
from proxy.facts.asked import live_models, live_score, live_scores, model_named, moment, priority
from proxy.facts.live import view_of
from tests.ledger.catalogue.observed import seen

RESOLVER = Resolver(aliases.load())


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


def test_a_day_is_its_end_and_a_time_is_itself() -> None:
    assert moment("2026-03-01") == us("2026-03-02T00:00") - 1
    assert moment("2026-03-01T08:30") == us("2026-03-01T08:30")
    assert moment("2026-03-01T08:30+02:00") == us("2026-03-01T06:30")


@pytest.mark.parametrize("text", ["9f0b04a80d14", "soon", "", "2026-02-30"])
def test_anything_else_is_taken_for_a_snapshots_id(text: str) -> None:
    assert moment(text) == text


@pytest.mark.parametrize("name", ["openai/gpt-5-5", "gpt-5.5", "openai/gpt-5.5-2026-04-23", "azure/eu/gpt-5.5"])
def test_a_model_is_found_by_any_name(name: str) -> None:
    assert model_named(RESOLVER, ("openai/gpt-5-5",), name) == "openai/gpt-5-5"


@pytest.mark.parametrize("name", ["gpt-5", "nothing", ""])
def test_a_model_that_nobody_knows_is_none(name: str) -> None:
    assert model_named(RESOLVER, ("openai/gpt-5-5",), name) is None


def test_the_configuration_says_whose_word_counts() -> None:
    config = Config(ledger=LedgerConfig(priority=("b", "a"), priority_of={"speed": PriorityConfig(order=("a",))}))

    found = priority(config)

    assert (found.rank("b", "hle"), found.rank("a", "hle"), found.rank("a", "ttft_p50")) == (0, 1, 0)
    assert priority(Config()).order == ORDER


# --- what is measured here ---------------------------------------------------------------------------------------------


def view(*offers: str) -> LiveView:
    metrics = LiveMetrics(lambda: 1_800_000_000.0)
    for offer in offers:
        metrics.observe(Sample(offer=offer, outcome="ok", e2e_ms=1_000.0, ttft_ms=300.0))
    return view_of(metrics, RESOLVER, lambda: 1_800_000_000.0)


def test_live_values_are_a_source_with_samples_a_time_and_a_share() -> None:
    offer = "openai/gpt-5@azure"
    snapshot = Snapshot([seen(100.0, "ttft_p50", offer=offer)])

    found = live_score(snapshot, view("azure/gpt-5"), offer, "ttft_p50")

    assert found is not None
    assert (found.source, found.n, found.observed_at_us, found.confidence) == ("live", 1, 1_800_000_000_000_000, 1 / 26)
    assert found.value == pytest.approx(300, rel=0.05)


def test_what_an_operator_overrides_is_not_measured() -> None:
    offer = "openai/gpt-5@azure"
    snapshot = Snapshot([seen(100.0, "ttft_p50", offer=offer, source="override")])

    found = live_scores(snapshot, view("azure/gpt-5"), [offer])

    assert {"ttft_p90", "e2e_p50", "success_rate"} <= {it.metric for it in found}
    assert "ttft_p50" not in {it.metric for it in found}


def test_what_is_measured_belongs_to_models_and_what_nobody_knows_to_itself() -> None:
    found = live_models(view("azure/gpt-5", "openai/gpt-5", "acme/blend"))

    assert found == {
        "acme/blend": ["acme/blend"],
        "openai/gpt-5": ["openai/gpt-5", "openai/gpt-5@azure", "openai/gpt-5@openai"],
    }
