"""Fields with a few made-up models in them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ledger.adapters import aliases
from ledger.catalogue.identity import Resolver
from ledger.catalogue.indices import Indices
from ledger.catalogue.merge import StatedFact
from ledger.catalogue.metrics import METRICS
from ledger.catalogue.snapshot import Snapshot
from ledger.facts import ModelFact, Observation, Subject
from ledger.records import Bounds, Price
from providers.provider import Traits
from proxy.routing.features import Features
from proxy.routing.field import Field, Listed, build

NOW_US = 1_790_000_000_000_000
ASK = Features(endpoint="chat/completions", task="general", text_bytes=4_000, input_tokens=1_000, output_max=500)
RESOLVER = Resolver(aliases.load())


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model.  score: of one index, in points; input_usd, output_usd: for a million tokens."""

    score: float | None = 50.0
    input_usd: float | None = 1.0
    output_usd: float = 4.0
    ttft_ms: float | None = 500.0
    tokens_per_s: float | None = 100.0
    window_tokens: int | None = None
    capabilities: tuple[str, ...] = ()
    modalities_in: tuple[str, ...] = ()
    at_us: int = NOW_US
    confidence: float = 1.0


def observed(name: str, metric: str, value: float, known: Known) -> Observation:
    """An observation of a model of OpenAI's, by its name there."""
    return Observation(
        source="artificial_analysis",
        source_version="1",
        variant=f"openai/{name}",
        subject=Subject(source_name=name),
        metric=metric,
        value=value,
        unit=METRICS[metric].unit,
        observed_at_us=known.at_us,
        fetched_at_us=known.at_us,
        confidence=known.confidence,
    )


def price_of(known: Known) -> Price | None:
    """Its price row."""
    if known.input_usd is None:
        return None
    return Price(
        source="a list",
        input_nusd_per_mtok=round(known.input_usd * 1e9),
        output_nusd_per_mtok=round(known.output_usd * 1e9),
        cache_read_nusd_per_mtok=round(known.input_usd * 1e8),
    )


def field_of(
    models: Mapping[str, Known], *, index: str = "intelligence_index", traits: Mapping[str, Traits] | None = None
) -> Field:
    """A field of ``openai/NAME``, for every name.  traits: what some say of themselves."""
    observations, facts = [], []
    for name, known in models.items():
        for metric, value in ((index, known.score), ("ttft_p50", known.ttft_ms), ("output_tps_p50", known.tokens_per_s)):
            if value is not None:
                observations.append(observed(name, metric, value, known))
        fact = ModelFact(
            subject=Subject(source_name=name),
            context_tokens=known.window_tokens,
            capabilities=known.capabilities,
            modalities_in=known.modalities_in,
        )
        facts.append(StatedFact(source="openrouter", model=f"openai/{name}", plan="", fetched_at_us=NOW_US, fact=fact))
    return build(
        [Listed(provider="openai", model=name, traits=(traits or {}).get(name)) for name in models],
        indices=Indices(Snapshot(observations, facts, at_us=NOW_US)),
        resolver=RESOLVER,
        prices=lambda _, model: price_of(models[model]),
        bounds=lambda _, __: Bounds(),
        at_us=NOW_US,
    )
