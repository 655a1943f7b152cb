"""The table of sources, and what the configuration and the environment make of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest
import yaml

from ledger.catalogue.metrics import check
from ledger.errors import LedgerUnavailable
from ledger.facts import Parsed
from proxy import config
from proxy.config.checks import SOURCES
from proxy.facts import sources
from tests.ledger.refresh.memory_facts import MemoryFacts

NOW_US = 1_795_000_000_000_000


def configured(text: str = "{}", environ: dict[str, str] | None = None) -> dict[str, sources.Source]:
    settings = config.Config(ledger={"refresh": yaml.safe_load(text)})
    return {source.name: source for source in sources.configured(settings, environ or {})}


def test_the_configuration_knows_every_source() -> None:
    assert set(SOURCES) == set(sources.TABLE)


def test_without_a_key_those_that_need_none_are_asked() -> None:
    asked = {name for name, source in configured().items() if not source.idle}

    assert asked == {"openrouter", "models_dev", "litellm"}


@pytest.mark.parametrize("key", ["", "   ", "schlüssel", "a\nb"])
def test_a_key_that_no_header_can_carry_is_none(key: str) -> None:
    assert configured(environ={"AA_API_KEY": key})["artificial_analysis"].idle


def test_a_key_adds_artificial_analysis_and_is_not_shown() -> None:
    source = configured(environ={"AA_API_KEY": "aa-secret"})["artificial_analysis"]

    assert (source.idle, source.headers) == ("", (("x-api-key", "aa-secret"),))
    assert "aa-secret" not in repr(source)
    assert source.requests_per_day < 100


def test_settings_of_a_source_count_before_its_own() -> None:
    found = configured(
        """
        sources:
          openrouter: {url: "https://mirror.example/models", every_hours: 12.0}
          openrouter_endpoints: {models: [openai/gpt-5, "a b/c"]}
          lmarena: {url: "https://mirror.example/text.json"}
          litellm: {enabled: false}
        """
    )

    assert (found["openrouter"].urls, found["openrouter"].every_s) == (("https://mirror.example/models",), 43_200)
    assert found["openrouter_endpoints"].urls == (
        "https://openrouter.ai/api/v1/models/openai/gpt-5/endpoints",
        "https://openrouter.ai/api/v1/models/a%20b/c/endpoints",
    )
    assert (found["lmarena"].idle, found["litellm"].idle) == ("", "it is switched off in the configuration")


def test_every_address_in_the_table_is_https() -> None:
    assert all(url.startswith("https://") for source in sources.TABLE.values() for url in source.urls)


def test_the_seed_is_dated_and_every_value_of_it_may_be_kept() -> None:
    parsed = sources.read_seed()

    assert len(parsed.models) > 200
    assert [check(reading) for reading in parsed.readings if check(reading)] == []
    assert {reading.source for reading in parsed.readings} == {sources.BUNDLED}
    assert parsed.problems == ()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"as_of_us": 1, "models": {}}', b"<html>"])
def test_a_seed_that_cannot_be_read_is_a_problem_and_nothing_more(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "seed.json").write_bytes(content)

    parsed = sources.read_seed(tmp_path / "seed.json")

    assert parsed.models == ()
    assert len(parsed.problems) == 1


def test_overrides_are_looked_for_in_the_home_and_need_not_be_there(tmp_path: Path) -> None:
    settings = config.Config()
    row = "- {model: m, metric: hle, value: 0.5, unit: fraction, who: me, why: so, expires: 2199-01-01}"

    nothing = sources.read_overrides(settings, tmp_path, NOW_US)
    (tmp_path / "overrides.yaml").write_text(row, encoding="utf-8")
    one = sources.read_overrides(settings, tmp_path, NOW_US)
    (tmp_path / "overrides.yaml").write_text("{", encoding="utf-8")
    broken = sources.read_overrides(settings, tmp_path, NOW_US)

    assert (nothing.readings, nothing.problems) == ((), ())
    assert [reading.value for reading in one.readings] == [0.5]
    assert len(broken.problems) == 1


def test_overrides_that_are_named_must_be_there(tmp_path: Path) -> None:
    settings = config.Config(ledger={"overrides": {"file": str(tmp_path / "none.yaml")}})

    assert "is not there" in sources.read_overrides(settings, tmp_path, NOW_US).problems[0]


class Broken:
    """A store whose disk is gone."""

    async def ingest(self, parsed: Parsed, /, *, source: str, fetched_at_us: int, complete: bool = False) -> NoReturn:
        raise LedgerUnavailable(f"the disk is gone: {source} {fetched_at_us} {complete} {len(parsed.readings)}")

    async def refresh(self) -> None:
        raise LedgerUnavailable("the disk is gone")


async def test_the_start_fills_the_store_with_the_seed_and_the_overrides(tmp_path: Path) -> None:
    row = "- {model: m, metric: hle, value: 0.5, unit: fraction, who: me, why: so, expires: 2199-01-01}"
    (tmp_path / "overrides.yaml").write_text(row, encoding="utf-8")
    store, web, settings = MemoryFacts(), NoWeb(), config.Config()
    refresher = sources.refresher(settings, tmp_path, {}, web, store, lambda: NOW_US)

    await sources.feed(settings, tmp_path, refresher, store, lambda: NOW_US)

    assert {reading.source for reading in store.readings} == {sources.BUNDLED, "override"}


async def test_a_store_that_takes_nothing_is_no_reason_not_to_serve(tmp_path: Path) -> None:
    settings = config.Config()
    refresher = sources.refresher(settings, tmp_path, {}, NoWeb(), Broken(), lambda: NOW_US)

    await sources.feed(settings, tmp_path, refresher, Broken(), lambda: NOW_US)


class NoWeb:
    """Nobody is asked."""

    async def get(self, url: str, headers: Mapping[str, str], /) -> NoReturn:
        raise AssertionError(url, headers)
