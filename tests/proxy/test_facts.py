"""What is asked of the facts."""

from datetime import UTC, datetime

import pytest

from ledger.adapters import aliases
from ledger.catalogue.identity import Resolver
from ledger.catalogue.merge import ORDER
from proxy.config import Config
from proxy.config.settings import LedgerConfig, PriorityConfig
from proxy.facts import model_named, moment, priority

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
