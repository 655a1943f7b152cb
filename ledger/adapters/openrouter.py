"""OpenRouter's models and endpoints: prices, limits, capabilities, and benchmarks that it passes on.

Prices are texts of USD per token (per request and per search for those two) and become integers without a float.
Source: https://openrouter.ai/docs/api-reference (models, endpoints), and a whole answer of 2026-08-01.  What it takes
care of:

- ``-1`` says that the price varies with the model that is chosen: no price.  0 is believed of what is called free only
  (``:free``, ``openrouter/free``): others charge by a unit that is not told.
- A cache write below the input price is Google's: storage for five minutes on top of the input, so they are added.
- ``image`` is per token where it is as little as a token costs; a price per picture is not one that we meter.
- ``audio`` a hundred times the text's price is per second, not per token.
- The Artificial Analysis figures are of the model at its highest effort, so they carry that effort.
- An id that begins with ``~`` is another name of its target, not a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from ledger.facts import ModelFact, OfferPrice, Parsed, Reading, Subject
from ledger.payload import (
    PRICE_MAX_USD_PER_MTOK,
    TOKENS_PER_MTOK,
    Problems,
    abilities,
    day_of,
    decode,
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

NAME = "openrouter"
HOST = "openrouter"
PASSED_ON_CONFIDENCE = 0.7
ARENA_CONFIDENCE = 0.6
LIVE_CONFIDENCE = 0.8

# USD per token, by our names; per piece below.
PER_TOKEN = {
    "prompt": "input_nusd_per_mtok",
    "completion": "output_nusd_per_mtok",
    "input_cache_read": "cache_read_nusd_per_mtok",
    "input_cache_write": "cache_write_nusd_per_mtok",
    "input_cache_write_1h": "cache_write_1h_nusd_per_mtok",
    "input_audio_cache": "cache_read_audio_nusd_per_mtok",
    "audio": "input_audio_nusd_per_mtok",
    "image": "input_image_nusd_per_mtok",
    "internal_reasoning": "reasoning_nusd_per_mtok",
    "audio_output": "output_audio_nusd_per_mtok",
    "image_output": "output_image_nusd_per_mtok",
}
PER_PIECE = {"request": "request_nusd", "web_search": "search_nusd"}
WRITES = ("input_cache_write", "input_cache_write_1h")
IMAGE_TOKEN_MAX_USD = Decimal("0.0001")
AUDIO_RATIO_MAX = 50
PARAMETERS = {
    "tools": "tools",
    "parallel_tool_calls": "parallel_tools",
    "structured_outputs": "structured_output",
    "reasoning": "reasoning",
    "web_search_options": "web_search",
}
INDICES = {
    "intelligence_index": "intelligence_index",
    "coding_index": "coding_index",
    "agentic_index": "agentic_index",
}
# Of the arenas' many categories the one that sums up code; the others are parts of it.
ARENA = ("models", "codecategories")
LATENCIES = {"p50": "ttft_p50", "p90": "ttft_p90", "p99": "ttft_p99"}


def parse(payload: bytes | str, /, *, fetched_at_us: int) -> Parsed:
    """The list of models.  Raises: SourceUnreadable."""
    problems = Problems()
    readings: list[Reading] = []
    models: dict[str, ModelFact] = {}
    prices: list[OfferPrice] = []
    for row in rows(table(decode(payload), "the payload").get("data"), problems, "data"):
        name = text(row.get("id"))
        if not name:
            problems.add("a row has no id")
            continue
        if name in models:
            problems.add(f"{name} is there twice; the first counts")
            continue
        subject = Subject(source_name=name, creator=name.lstrip("~").partition("/")[0], label=text(row.get("name")), host=HOST)
        models[name] = _model(row, subject)
        if models[name].base_model:
            continue
        price = _price(row, name, problems)
        if price is not None:
            prices.append(OfferPrice(subject=subject, price=price))
        readings += _passed_on(row, subject, fetched_at_us, problems)
    return Parsed(readings=tuple(readings), models=tuple(models.values()), prices=tuple(prices), problems=problems.told())


def parse_endpoints(payload: bytes | str, /, *, fetched_at_us: int) -> Parsed:
    """The hosts of a model, or a list of such answers: how fast and how often up each is, and what it charges.

    Raises: SourceUnreadable.
    """
    decoded = decode(payload)
    problems = Problems()
    readings: list[Reading] = []
    models: dict[Subject, ModelFact] = {}
    prices: list[OfferPrice] = []
    for model, row in _endpoints(decoded if isinstance(decoded, list) else [decoded], problems):
        host, _, plan = (text(row.get("tag")) or text(row.get("provider_name")).lower()).partition("/")
        name = text(row.get("model_id")) or model
        if not host or not name:
            problems.add("an endpoint has no host or no model")
            continue
        subject = Subject(
            source_name=name, creator=name.partition("/")[0], label=text(row.get("name")), host=f"{HOST}:{host}", plan=plan
        )
        if subject in models:
            problems.add(f"{name} at {host} is there twice; the first counts")
            continue
        models[subject] = ModelFact(
            subject=subject,
            context_tokens=tokens(row.get("context_length")),
            output_max_tokens=tokens(row.get("max_completion_tokens")),
            capabilities=_capabilities(row),
        )
        if number(part(row, "pricing").get("discount")):
            problems.add(f"{name} at {host}: a discounted price is left out; the answer does not say from what")
        elif (price := _price(row, f"{name} at {host}", problems)) is not None:
            prices.append(OfferPrice(subject=subject, price=price))
        readings += _live(row, subject, fetched_at_us, problems)
    return Parsed(readings=tuple(readings), models=tuple(models.values()), prices=tuple(prices), problems=problems.told())


def _endpoints(answers: list[Any], problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every endpoint, with the model that its answer is about."""
    for answer in answers:
        data = table(table(answer, "the payload").get("data"), "data")
        for row in rows(data.get("endpoints"), problems, "endpoints"):
            yield text(data.get("id")), row


def _model(row: dict[str, Any], subject: Subject) -> ModelFact:
    top, shape = part(row, "top_provider"), part(row, "architecture")
    created_us = moment_us(row.get("created"))
    names = (text(row.get("canonical_slug")), text(row.get("hugging_face_id")))
    return ModelFact(
        subject=subject,
        context_tokens=tokens(top.get("context_length")) or tokens(row.get("context_length")),
        output_max_tokens=tokens(top.get("max_completion_tokens")),
        modalities_in=texts(shape.get("input_modalities")),
        modalities_out=texts(shape.get("output_modalities")),
        capabilities=_capabilities(row),
        released="" if created_us is None else day_of(created_us),
        aliases=tuple(dict.fromkeys(name for name in names if name and name != subject.source_name)),
        base_model=text(part(row, "alias_target").get("slug")),
    )


def _capabilities(row: dict[str, Any]) -> tuple[str, ...]:
    found = {PARAMETERS[name] for name in texts(row.get("supported_parameters")) if name in PARAMETERS}
    shape = part(row, "architecture")
    found |= abilities(texts(shape.get("input_modalities")), texts(shape.get("output_modalities")))
    if part(row, "pricing").get("input_cache_read") is not None or row.get("supports_implicit_caching") is True:
        found.add("prompt_cache")
    return tuple(sorted(found))


def _price(row: dict[str, Any], name: str, problems: Problems) -> Price | None:
    said = part(row, "pricing")
    base = _rates(said, name, problems)
    if base is None:
        return None
    free = base.input_nusd_per_mtok == base.output_nusd_per_mtok == base.request_nusd == 0
    if free and not (name.endswith(":free") or name == "openrouter/free"):
        problems.add(f"{name}: it costs nothing by the token and is not called free, so its price is not known")
        return None
    tiers: dict[int, Rates] = {}
    overrides = said.get("overrides")
    for override in rows(overrides if isinstance(overrides, list) else [], problems, f"{name}: overrides"):
        at_least = tokens(override.get("min_prompt_tokens"))
        rates = _rates({**said, **override}, f"{name} above {at_least}", problems) if at_least else None
        if at_least is None or rates is None:
            problems.add(f"{name}: an override cannot be read, so the price is left out")
            return None
        tiers[at_least - 1] = rates
    return Price(
        source=f"{NAME}: {name}{' (free)' if free else ''}",
        **{field: getattr(base, field) for field in Rates.__struct_fields__},
        context_tiers=tuple(ContextTier(above_tokens=above, rates=tiers[above]) for above in sorted(tiers)),
    )


def _rates(said: Mapping[str, Any], name: str, problems: Problems) -> Rates | None:
    """The rates, if input and output are known; what else cannot be read makes the whole unknown rather than less."""
    amounts: dict[str, Decimal] = {}
    for field in (*PER_TOKEN, *PER_PIECE):
        if said.get(field) is None:
            continue
        amount = usd(said[field])
        if (
            amount is None
            or amount < 0
            or amount * TOKENS_PER_MTOK > PRICE_MAX_USD_PER_MTOK * (TOKENS_PER_MTOK if field in PER_PIECE else 1)
        ):
            why = "varies" if amount == -1 else "cannot be read"
            problems.add(f"{name}: the price {why}: {field} is {str(said[field])[:40]!r}")
            return None
        amounts[field] = amount
    if "prompt" not in amounts or "completion" not in amounts:
        problems.add(f"{name}: input and output have no price")
        return None
    prompt = amounts["prompt"]
    for field in WRITES:
        if 0 < amounts.get(field, prompt) < prompt:
            amounts[field] += prompt
    if amounts.get("image", Decimal(0)) > IMAGE_TOKEN_MAX_USD:
        problems.add(f"{name}: image costs {amounts.pop('image')} USD a picture, which is not metered")
    if prompt and amounts.get("audio", Decimal(0)) > AUDIO_RATIO_MAX * prompt:
        problems.add(f"{name}: audio costs {amounts.pop('audio')} USD a unit that is no token; it is left out")
    return Rates(
        **{PER_TOKEN[field]: nusd(amount, TOKENS_PER_MTOK) for field, amount in amounts.items() if field in PER_TOKEN},
        **{PER_PIECE[field]: nusd(amount, 1) for field, amount in amounts.items() if field in PER_PIECE},
    )


def _passed_on(row: dict[str, Any], subject: Subject, fetched_at_us: int, problems: Problems) -> Iterator[Reading]:
    """Benchmarks of others.  They are true of the model, not of this host."""
    model = Subject(source_name=subject.source_name, creator=subject.creator, label=subject.label)
    highest = Subject(
        source_name=model.source_name, creator=model.creator, label=model.label, effort="max" if row.get("reasoning") else ""
    )
    benchmarks = part(row, "benchmarks")
    for field, metric in INDICES.items():
        value = part(benchmarks, "artificial_analysis").get(field)
        if value is None or number(value) == 0:
            continue
        checked = measured(value, "points")
        if checked is None:
            problems.add(f"{model.source_name}: {field} is {str(value)[:40]!r}, which is no value in points")
        else:
            yield _reading(highest, "artificial_analysis", metric, checked, "points", PASSED_ON_CONFIDENCE, fetched_at_us)
    arenas = benchmarks.get("design_arena")
    for entry in rows(arenas if isinstance(arenas, list) else [], problems, f"{model.source_name}: design_arena"):
        if (entry.get("arena"), entry.get("category")) == ARENA:
            elo = measured(entry.get("elo"), "elo")
            if elo:
                yield _reading(model, "/".join(ARENA), "design_arena_elo", elo, "elo", ARENA_CONFIDENCE, fetched_at_us)


def _live(row: dict[str, Any], subject: Subject, fetched_at_us: int, problems: Problems) -> Iterator[Reading]:
    uptime = number(row.get("uptime_last_1d"))
    if uptime is not None and 0 <= uptime <= 100:
        yield _reading(subject, "1d", "uptime_external", uptime / 100, "fraction", LIVE_CONFIDENCE, fetched_at_us)
    elif row.get("uptime_last_1d") is not None:
        problems.add(f"{subject.source_name} at {subject.host}: its uptime is no percentage")
    latencies = part(row, "latency_last_30m")
    to_ms = _to_ms(number(latencies.get("p50")))
    if latencies and to_ms is None and latencies.get("p50") is not None:
        problems.add(f"{subject.source_name} at {subject.host}: its latency may be in seconds or in milliseconds")
    for key, metric in LATENCIES.items() if to_ms else ():
        value = number(latencies.get(key))
        if value is not None and value > 0 and (checked := measured(value * (to_ms or 1), "ms")) is not None:
            yield _reading(subject, "30m", metric, checked, "ms", LIVE_CONFIDENCE, fetched_at_us)
    speed = measured(part(row, "throughput_last_30m").get("p50"), "tok/s")
    if speed:
        yield _reading(subject, "30m", "output_tps_p50", speed, "tok/s", LIVE_CONFIDENCE, fetched_at_us)


def _to_ms(p50: float | None) -> int | None:
    """What makes milliseconds of it.  The page says milliseconds, its examples are seconds: no half of all first tokens
    come within 10 ms, nor after 10 s and more at a host that is up; between the two nobody can tell."""
    if p50 is None or not 0 < p50 < 600_000 or 10 <= p50 < 50:
        return None
    return 1000 if p50 < 10 else 1


def _reading(
    subject: Subject, version: str, metric: str, value: float, unit: str, confidence: float, fetched_at_us: int
) -> Reading:
    return Reading(
        source=NAME,
        source_version=version,
        subject=subject,
        metric=metric,
        value=value,
        unit=unit,
        observed_at_us=fetched_at_us,
        fetched_at_us=fetched_at_us,
        confidence=confidence,
    )
