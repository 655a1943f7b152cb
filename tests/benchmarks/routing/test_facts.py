"""What the ledger knows of recorded models: from payloads, and from an installation's file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.routing.facts import Facts, Joined, join, listed_price, load, of_home
from ledger.adapters import aliases, artificial_analysis
from ledger.adapters.sqlite import SqliteLedger
from ledger.adapters.sqlite_facts import SqliteFacts
from tests.ledger.recorded import AUGUST, MAY, us

FOLDER = Path(__file__).parents[2] / "ledger" / "data" / "catalogue"
ANALYSIS = FOLDER / f"artificial-analysis-{MAY}.json"


@pytest.fixture(scope="module")
def facts() -> Facts:
    files = [("artificial_analysis", ANALYSIS), ("openrouter", FOLDER / f"openrouter-{AUGUST}.json")]
    return load(files, at_us=us(AUGUST))


def joined(facts: Facts, name: str, **mapping: str) -> Joined:
    return join([name], facts, mapping)[0]


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("gpt-4o-mini", "openai/gpt-4o-mini"),
        ("openai/gpt-5", "openai/gpt-5"),
        ("gpt-4-1106-preview", "openai/gpt-4-turbo"),
        ("claude-v2", "anthropic/claude-2"),
        ("meta/llama-2-70b-chat", "meta/llama-2-chat-70b"),
        ("mistralai/mixtral-8x7b-chat", "mistral/mixtral-8x7b-instruct"),
        ("Qwen3-8B", "qwen/qwen3-8b"),
        ("claude-3-5-sonnet-20241022", "anthropic/claude-sonnet-3-5-20241022"),
    ],
)
def test_names_that_sets_of_outcomes_have_are_found(facts: Facts, name: str, variant: str) -> None:
    found = joined(facts, name)

    assert (found.variant, found.known) == (variant, True)


def test_a_name_that_nobody_knows_is_not_guessed(facts: Facts) -> None:
    assert not joined(facts, "WizardLM/WizardLM-13B-V1.2").known
    assert joined(facts, "my-own-finetune").variant == ""


def test_a_mapping_says_who_is_meant(facts: Facts) -> None:
    mapping = {"m1": "openai/gpt-5#high", "m2": "claude-v2"}

    assert [it.variant for it in join(["m1", "m2"], facts, mapping)] == ["openai/gpt-5#high", "anthropic/claude-2"]


def test_a_listed_price_is_an_offers_or_else_the_bundled_lists(facts: Facts) -> None:
    offered, bundled, unknown = (
        listed_price(joined(facts, name), facts) for name in ("gpt-4o-mini", "claude-v1", "my-own-finetune")
    )

    assert offered is not None
    assert (offered.input_nusd_per_mtok, offered.source) == (150_000_000, "openrouter: openai/gpt-4o-mini")
    assert bundled is not None
    assert bundled.source.startswith("genai-prices")
    assert unknown is None


async def filled(path: Path) -> None:
    parsed = artificial_analysis.parse(ANALYSIS.read_bytes(), fetched_at_us=us(MAY))
    with SqliteLedger(path) as ledger:
        async with SqliteFacts(path, aliases=aliases.load(), clock_us=lambda: us(MAY), run=ledger.run) as facts:
            await facts.ingest(parsed, source="artificial_analysis", fetched_at_us=us(MAY))


def test_an_installations_ledger_is_read(tmp_path: Path) -> None:
    asyncio.run(filled(tmp_path / "ledger.sqlite"))

    known = of_home(tmp_path, at_us=us(AUGUST))

    assert joined(known, "gpt-5").known
    assert known.snapshot.score("openai/gpt-5#high", "gpqa_diamond") is not None


def test_where_there_is_no_ledger_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no ledger"):
        of_home(tmp_path, at_us=us(MAY))
