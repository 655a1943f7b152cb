"""What the ledger knows of the models that outcomes were recorded of: from a ledger's file, or from payloads of sources.

The facts that come with Tollway are there in either case; what is read counts more, as it does in the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from ledger.adapters import (
    aliases,
    artificial_analysis,
    genai_prices,
    litellm_prices,
    lmarena,
    models_dev,
    openrouter,
    overrides,
)
from ledger.adapters.sqlite_facts import SqliteFacts
from ledger.catalogue.identity import Resolution, Resolver
from ledger.catalogue.indices import Indices
from ledger.catalogue.merge import StatedFact
from ledger.catalogue.metrics import check
from ledger.catalogue.snapshot import Snapshot, StatedPrice
from ledger.facts import Observation, Parsed, Subject
from ledger.records import Price
from proxy.facts.sources import BUNDLED, read_seed

Parse = Callable[..., Parsed]

SOURCES: Final[Mapping[str, Parse]] = {
    "artificial_analysis": artificial_analysis.parse,
    "openrouter": openrouter.parse,
    "models_dev": models_dev.parse,
    "litellm": litellm_prices.facts,
    "lmarena": lmarena.parse,
    "override": overrides.parse,
}
"""The readers of payloads, by the names that sources have in the ledger."""

_CALLED_IN_LIST: Final = {"xai": "x-ai", "moonshot": "moonshotai"}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger at one moment, and who is meant by a name."""

    indices: Indices
    resolver: Resolver

    @property
    def snapshot(self) -> Snapshot:
        """What is known."""
        return self.indices.snapshot


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the outcomes.  name: as they have it; asked: by which it was looked up.

    variant: the ledger's; empty: nobody knows who is meant.  known: whether anything is published of it.
    alike: models of the ledger with a longer or a shorter name, for whoever maps it by hand.
    """

    name: str
    asked: str
    variant: str
    known: bool
    alike: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """Without the effort."""
        return self.variant.partition("#")[0]


def load(files: Sequence[tuple[str, Path]], /, *, at_us: int) -> Facts:
    """The facts of payloads, each with its source, as they are at a moment.  Raises: SourceUnreadable, OSError."""
    parsed = [(BUNDLED, read_seed())]
    parsed += [(source, SOURCES[source](path.read_bytes(), fetched_at_us=at_us)) for source, path in files]
    resolver = Resolver(aliases.load(), ((source, fact) for source, it in parsed for fact in it.models))
    observations: list[Observation] = []
    facts: list[StatedFact] = []
    prices: list[StatedPrice] = []
    for source, it in parsed:
        found = (resolver.observe(reading) for reading in it.readings if check(reading) is None)
        observations += [one for one in found if isinstance(one, Observation)]
        for fact in it.models:
            who = resolver.resolve(source, fact.subject)
            if isinstance(who, Resolution):
                facts.append(StatedFact(source=source, model=who.model, plan=who.plan, fetched_at_us=at_us, fact=fact))
        for stated in it.prices:
            who = resolver.resolve(source, stated.subject)
            if isinstance(who, Resolution) and who.host:
                prices.append(StatedPrice(source=source, offer=who.offer, fetched_at_us=at_us, price=stated.price))
    return Facts(indices=Indices(Snapshot(observations, facts, prices, at_us=at_us)), resolver=resolver)


def of_home(home: Path, /, *, at_us: int) -> Facts:
    """The facts of an installation's ledger.  Raises: LedgerUnavailable, FileNotFoundError."""
    path = home / "ledger.sqlite" if home.is_dir() else home
    if not path.is_file():
        raise FileNotFoundError(2, "there is no ledger", str(path))

    async def read() -> Facts:
        async with SqliteFacts(path, aliases=aliases.load(), clock_us=lambda: at_us) as facts:
            return Facts(indices=facts.indices, resolver=facts.resolver)

    return asyncio.run(read())


def join(names: Sequence[str], facts: Facts, mapping: Mapping[str, str], /) -> tuple[Joined, ...]:
    """Who each name of the outcomes is.  mapping: the ledger's name, or any that the resolver knows, for those it does not."""
    models = facts.snapshot.names()
    found = []
    for name in names:
        asked = mapping.get(name, name)
        if facts.snapshot.variants(asked.partition("#")[0]):
            found.append(Joined(name=name, asked=asked, variant=asked, known=True))
            continue
        who = facts.resolver.resolve("", Subject(source_name=asked))
        variant = who.variant if isinstance(who, Resolution) else ""
        known = isinstance(who, Resolution) and any(facts.snapshot.scores.get(it) for it in facts.snapshot.variants(who.model))
        model = variant.partition("#")[0]
        alike = (
            () if known or not model else tuple(it for it in models if it.startswith(f"{model}-") or model.startswith(f"{it}-"))
        )
        found.append(Joined(name=name, asked=asked, variant=variant, known=known, alike=alike[:5]))
    return tuple(found)


def listed_price(it: Joined, facts: Facts, /) -> Price | None:
    """What a model costs as it is listed: by its cheapest paid offer, by who publishes prices without a host, or by the list
    that comes with Tollway, under its maker; ``None``: nobody says."""
    if not it.variant:
        return None
    cost = facts.indices.cost(it.variant)
    if cost is not None:
        return cost.stated.price
    score = facts.snapshot.score
    stated = score(it.variant, "price_input"), score(it.variant, "price_output")
    if stated[0] is not None and stated[1] is not None:
        return Price(
            source=stated[0].source,
            input_nusd_per_mtok=round(stated[0].value * 1e9),
            output_nusd_per_mtok=round(stated[1].value * 1e9),
        )
    maker = it.model.partition("/")[0]
    for name in (it.asked.rpartition("/")[2], it.model.partition("/")[2]):
        rows = _bundled().rows(_CALLED_IN_LIST.get(maker, maker), name)
        if rows:
            return rows[-1]
    return None


@cache
def _bundled() -> genai_prices.GenaiPrices:
    return genai_prices.load()
