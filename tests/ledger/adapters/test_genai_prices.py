"""The list that comes with Tollway."""

import json
from pathlib import Path

import pytest

from ledger.adapters.genai_prices import FILE, GenaiPrices, facts, load, matches
from ledger.errors import PricesUnreadable, SourceUnreadable
from ledger.prices.book import holds
from ledger.prices.days import day_us
from tests.ledger.adapters.hostile import sane


@pytest.fixture(scope="module")
def prices() -> GenaiPrices:
    return load()


def at(prices: GenaiPrices, provider: str, model: str, day: str) -> tuple[int, int] | None:
    moment_us = day_us(day)
    assert moment_us is not None
    held = [row for row in prices.rows(provider, model) if holds(row, moment_us)]
    return (held[-1].input_nusd_per_mtok, held[-1].output_nusd_per_mtok) if held else None


def test_the_file_says_where_it_is_from_and_under_which_licence() -> None:
    head = {key: value for key, value in json.loads(FILE.read_bytes()).items() if key != "providers"}

    assert head["source"] == "genai-prices"
    assert head["url"] == "https://github.com/pydantic/genai-prices"
    assert head["licence"].startswith("MIT, Copyright")
    assert head["compiled_us"] > (day_us("2026-11-01") or 0)


def test_the_file_has_no_fraction_and_no_negative_price() -> None:
    def refuse(text: str) -> float:
        raise AssertionError(text)

    data = json.loads(FILE.read_bytes(), parse_float=refuse)

    amounts = [
        amount
        for provider in data["providers"].values()
        for model in provider["models"]
        for row in model["rows"]
        for amount in row["amounts"].values()
    ]
    assert len(amounts) > 5000
    assert min(amounts) == 0


def test_a_price_that_changed_has_a_row_for_each_stretch(prices: GenaiPrices) -> None:
    assert at(prices, "mistral", "mistral-medium-latest", "2026-06-15") == (400_000_000, 2_000_000_000)
    assert at(prices, "mistral", "mistral-medium-latest", "2026-06-16") == (1_500_000_000, 7_500_000_000)


def test_a_row_names_the_list_the_model_and_the_day(prices: GenaiPrices) -> None:
    sources = [row.source for row in prices.rows("mistral", "mistral-medium-latest")]

    name = f"{prices.name}: mistral/mistral-medium-latest"
    assert sources == [name, f"{name} from 2026-06-16"]


def test_cliffs_services_and_pieces_are_read(prices: GenaiPrices) -> None:
    (row,) = prices.rows("anthropic", "claude-sonnet-4-5-20250929")

    assert row.search_nusd == 10_000_000
    assert row.cache_write_1h_nusd_per_mtok == 6_000_000_000
    assert [(tier.above_tokens, tier.rates.input_nusd_per_mtok) for tier in row.context_tiers] == [(200_000, 6_000_000_000)]
    assert [(tier.name, tier.rates.output_nusd_per_mtok) for tier in row.service_tiers] == [("batch", 7_500_000_000)]


def test_a_date_without_hyphens_is_a_date(prices: GenaiPrices) -> None:
    assert prices.rows("openai", "gpt-4.1-20250414") == prices.rows("openai", "gpt-4.1-2025-04-14") != ()


def test_a_host_of_others_models_falls_back_to_their_owners(prices: GenaiPrices) -> None:
    (row,) = prices.rows("azure", "claude-3-haiku")

    assert row.source == f"{prices.name}: anthropic/claude-3-haiku"


@pytest.mark.parametrize(("provider", "model"), [("openai", "nothing-like-it"), ("nobody", "gpt-4o"), ("", "")])
def test_what_the_list_does_not_have_has_no_rows(prices: GenaiPrices, provider: str, model: str) -> None:
    assert prices.rows(provider, model) == ()


@pytest.mark.parametrize(
    ("clause", "name", "expected"),
    [
        (["=", "a"], "a", True), (["=", "a"], "ab", False),
        (["^", "a"], "ab", True), (["^", "b"], "ab", False),
        (["$", "b"], "ab", True), (["$", "a"], "ab", False),
        (["*", "b"], "abc", True), (["*", "x"], "abc", False),
        (["~", "^a.c$"], "abc", True), (["~", "^a.c$"], "abcd", False),
        (["|", ["=", "x"], ["=", "a"]], "a", True), (["|", ["=", "x"]], "a", False),
        (["&", ["^", "a"], ["$", "c"]], "abc", True), (["&", ["^", "a"], ["$", "x"]], "abc", False),
    ],
)  # fmt: skip
def test_a_clause_says_which_names_it_means(clause: list[object], name: str, expected: bool) -> None:
    assert matches(clause, name) is expected


def test_a_clause_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(PricesUnreadable):
        matches(["?", "a"], "a")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"source": 5}', None])
def test_what_is_no_list_is_refused(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "list.json"
    if data is not None:
        path.write_bytes(data)

    with pytest.raises(PricesUnreadable, match=r"list\.json"):
        load(path)


def test_facts_are_the_limits_and_every_dated_price() -> None:
    parsed = facts(FILE.read_bytes(), fetched_at_us=0)

    sane(parsed)
    limits = {(model.subject.host, model.subject.source_name): model.context_tokens for model in parsed.models}
    assert limits["anthropic", "claude-2"] == 200_000
    assert len(parsed.prices) >= len(parsed.models) > 1_000


@pytest.mark.parametrize("payload", [b"[]", b"{}", b"<html>", b'{"source": 1}'])
def test_facts_of_another_file_are_unreadable(payload: bytes) -> None:
    with pytest.raises(SourceUnreadable):
        facts(payload, fetched_at_us=0)
