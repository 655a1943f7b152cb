"""models.dev's catalogue: limits, modalities, capabilities and prices of models at their providers, and some benchmarks.

Three files of it are read alike: ``catalog.json`` (models and providers), ``api.json`` (providers), ``models.json``
(models as their makers released them).  The seed that comes with Tollway has the shape of the first.
Prices are USD per million tokens.  Source: https://github.com/anomalyco/models.dev (MIT), schema read 2026-11.  What it
takes care of:

- Input and output at 0 are subscriptions and own machines as often as gifts, so 0 is no price.
- Scores are percentages: 0.72 could be a fraction or less than one percent, so what is at most 1 is left out.
- A benchmark counts by name and version: Terminal-Bench 2.1 and 2.0 are not compared, nor two harnesses.
- Artificial Analysis' own indices are left out: here nobody says of which version they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.errors import SourceUnreadable
from ledger.facts import ModelFact, OfferPrice, Parsed, Reading, Subject
from ledger.payload import (
    PRICE_MAX_USD_PER_MTOK,
    Problems,
    abilities,
    day,
    decode,
    effort,
    measured,
    moment_us,
    number,
    nusd,
    part,
    rows,
    table,
    text,
    texts,
    tokens,
    usd,
)
from ledger.records import ContextTier, Price, Rates

NAME = "models_dev"
CONFIDENCE = 0.7

COSTS = {
    "input": "input_nusd_per_mtok",
    "output": "output_nusd_per_mtok",
    "reasoning": "reasoning_nusd_per_mtok",
    "cache_read": "cache_read_nusd_per_mtok",
    "cache_write": "cache_write_nusd_per_mtok",
    "input_audio": "input_audio_nusd_per_mtok",
    "output_audio": "output_audio_nusd_per_mtok",
}
FLAGS = {
    "tool_call": "tools",
    "structured_output": "structured_output",
    "reasoning": "reasoning",
    "open_weights": "open_weights",
}
MODALITIES = {"text": "text", "image": "image", "audio": "audio", "video": "video", "pdf": "file"}
# By name in lower case without punctuation: our metric, and the version that the name itself says.
BENCHMARKS = {
    "swe bench verified": ("swe_bench_verified", ""),
    "swe bench pro": ("swe_bench_pro", ""),
    "swe bench multilingual": ("swe_bench_multilingual", ""),
    "terminal bench hard": ("terminalbench_hard", ""),
    "terminal bench 2.0": ("terminal_bench_2", "2.0"),
    "terminal bench 2.1": ("terminal_bench_2", "2.1"),
    "terminal bench": ("terminal_bench_2", "2"),
    "scicode": ("scicode", ""),
    "livecodebench": ("livecodebench", ""),
    "gpqa diamond": ("gpqa_diamond", ""),
    "humanitys last exam": ("hle", ""),
    "mmlu pro": ("mmlu_pro", ""),
    "aime 2025": ("aime_2025", ""),
    "aime 2026": ("aime_2026", ""),
    "arc agi 2": ("arc_agi_2", ""),
    "osworld verified": ("osworld_verified", ""),
    "browsecomp": ("browsecomp", ""),
    "toolathlon": ("toolathlon", ""),
}
_PUNCTUATION = str.maketrans({"-": " ", "_": " ", "’": None, "'": None})


def parse(payload: bytes | str, /, *, fetched_at_us: int, source: str = NAME) -> Parsed:
    """Any of the three files.  source: who says it, where that is the seed.  Raises: SourceUnreadable."""
    data = table(decode(payload), "the payload")
    if isinstance(data.get("models"), dict):
        models, providers = data["models"], part(data, "providers")
    elif data and all("models" in part(data, key) for key in data):
        models, providers = {}, data
    else:
        models, providers = data, {}
    reader = _Reader(source, fetched_at_us)
    for name, row in table(models, "models").items():
        reader.model(name, row)
    for host, provider in table(providers, "providers").items():
        for name, row in part(provider, "models").items():
            reader.offer(host, name, row)
    if not reader.models:
        raise SourceUnreadable("there is not one model in the payload")
    return Parsed(
        readings=tuple(reader.readings),
        models=tuple(reader.models),
        prices=tuple(reader.prices),
        problems=reader.problems.told(),
    )


def benchmark_name(name: str, /) -> str:
    """A benchmark's name as ``BENCHMARKS`` has it."""
    return name.lower().translate(_PUNCTUATION)


class _Reader:
    """Collects what one payload says."""

    def __init__(self, source: str, fetched_at_us: int) -> None:
        self.readings: list[Reading] = []
        self.models: list[ModelFact] = []
        self.prices: list[OfferPrice] = []
        self.problems = Problems()
        self._source = source
        self._fetched_at_us = fetched_at_us

    def model(self, name: str, row: Any) -> None:
        """A model as its maker released it, ``maker/model``."""
        if not text(name) or not isinstance(row, dict):
            self.problems.add(f"{name[:80]!r} is no model")
            return
        subject = Subject(source_name=text(name), creator=name.partition("/")[0], label=text(row.get("name")))
        self.models.append(_fact(row, subject))
        listed = row.get("benchmarks")
        for entry in rows(listed if isinstance(listed, list) else [], self.problems, f"{name}: benchmarks"):
            self._benchmark(entry, subject)

    def offer(self, host: str, name: str, row: Any) -> None:
        """A model at a provider, by the name that it has there."""
        if not text(name) or not text(host) or not isinstance(row, dict):
            self.problems.add(f"{name[:80]!r} at {host[:80]!r} is no model")
            return
        subject = Subject(source_name=text(name), label=text(row.get("name")), host=text(host))
        self.models.append(_fact(row, subject))
        if (price := self._price(part(row, "cost"), subject)) is not None:
            self.prices.append(OfferPrice(subject=subject, price=price))

    def _price(self, cost: dict[str, Any], subject: Subject) -> Price | None:
        if not cost or number(cost.get("input")) == number(cost.get("output")) == 0:
            return None
        where = f"{subject.host}/{subject.source_name}"
        base = self._rates(cost, where)
        if base is None:
            return None
        tiers: dict[int, Rates] = {}
        listed = cost.get("tiers")
        if isinstance(listed, list):
            said = [(tokens(part(row, "tier").get("size")), row) for row in rows(listed, self.problems, f"{where}: tiers")]
        else:
            over = part(cost, "context_over_200k")
            said = [(200_000, over)] if over else []
        for above, row in said:
            rates = self._rates({**cost, **row}, where) if above else None
            if above is None or rates is None:
                self.problems.add(f"{where}: a tier cannot be read, so the price is left out")
                return None
            tiers[above] = rates
        return Price(
            source=f"{self._source}: {where}",
            **{field: getattr(base, field) for field in Rates.__struct_fields__},
            context_tiers=tuple(ContextTier(above_tokens=above, rates=tiers[above]) for above in sorted(tiers)),
        )

    def _rates(self, cost: Mapping[str, Any], where: str) -> Rates | None:
        amounts = {}
        for field, ours in COSTS.items():
            if cost.get(field) is None:
                continue
            amount = usd(cost[field])
            if amount is None or not 0 <= amount <= PRICE_MAX_USD_PER_MTOK:
                self.problems.add(f"{where}: the price cannot be read: {field} is {str(cost[field])[:40]!r}")
                return None
            amounts[ours] = nusd(amount, 1)
        if not {"input_nusd_per_mtok", "output_nusd_per_mtok"} <= amounts.keys():
            self.problems.add(f"{where}: input and output have no price")
            return None
        return Rates(**amounts)

    def _benchmark(self, entry: dict[str, Any], subject: Subject) -> None:
        name = text(entry.get("name"))
        known = BENCHMARKS.get(benchmark_name(name))
        if known is None:
            return
        metric, version = known
        percent = number(entry.get("score"))
        value = None if percent is None or percent <= 1 else measured(round(percent / 100, 12), "fraction")
        if value is None:
            self.problems.add(f"{subject.source_name}: {name} is {str(entry.get('score'))[:40]!r}, which is no percentage")
            return
        stated = text(entry.get("version")) or version
        self.readings.append(
            Reading(
                source=self._source,
                source_version="; ".join(filter(None, (stated, text(entry.get("dataset")), text(entry.get("harness"))))),
                subject=Subject(
                    source_name=subject.source_name,
                    creator=subject.creator,
                    label=subject.label,
                    effort=effort(entry.get("variant")),
                ),
                metric=metric,
                value=value,
                unit="fraction",
                observed_at_us=moment_us(day(entry.get("date"))) or self._fetched_at_us,
                fetched_at_us=self._fetched_at_us,
                confidence=CONFIDENCE,
            )
        )


def _fact(row: dict[str, Any], subject: Subject) -> ModelFact:
    limit, shapes = part(row, "limit"), part(row, "modalities")
    takes = tuple(MODALITIES[name] for name in texts(shapes.get("input")) if name in MODALITIES)
    gives = tuple(MODALITIES[name] for name in texts(shapes.get("output")) if name in MODALITIES)
    can = {name for flag, name in FLAGS.items() if row.get(flag) is True} | abilities(takes, gives)
    if part(row, "cost").get("cache_read") is not None:
        can.add("prompt_cache")
    return ModelFact(
        subject=subject,
        context_tokens=tokens(limit.get("context")),
        output_max_tokens=tokens(limit.get("output")),
        modalities_in=takes,
        modalities_out=gives,
        capabilities=tuple(sorted(can)),
        released=day(row.get("release_date")),
        base_model=text(row.get("base_model")),
    )
