"""What a model costs, and how much it may be asked."""

from __future__ import annotations

import msgspec


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What each unit costs: nano-USD per million tokens, per request, per web search, per piece; ``None``: not known.

    A bucket without a price of its own is charged at the next more general one: everything that goes in at the input
    price (an hour's cache write at the plain cache write's, cached audio at the cache read's, where there is one),
    everything that comes out at the output price.  ``search_nusd``: ``None`` charges nothing for a search.
    Pieces (see ``Pieces``) have no more general price: ``image_nusd`` for a picture that was made, ``query_nusd`` for a
    search unit of a reranking; a million characters that were spoken; an hour of sound that was listened to or made.
    """

    input_nusd_per_mtok: int
    output_nusd_per_mtok: int
    cache_read_nusd_per_mtok: int | None = None
    cache_write_nusd_per_mtok: int | None = None
    input_audio_nusd_per_mtok: int | None = None
    reasoning_nusd_per_mtok: int | None = None
    output_audio_nusd_per_mtok: int | None = None
    request_nusd: int = 0
    cache_write_1h_nusd_per_mtok: int | None = None
    cache_read_audio_nusd_per_mtok: int | None = None
    input_image_nusd_per_mtok: int | None = None
    output_image_nusd_per_mtok: int | None = None
    search_nusd: int | None = None
    image_nusd: int | None = None
    query_nusd: int | None = None
    characters_nusd_per_mchar: int | None = None
    audio_nusd_per_hour: int | None = None
    spoken_nusd_per_hour: int | None = None


class ImageRate(msgspec.Struct, frozen=True, kw_only=True):
    """What a picture of one size and quality costs.  size: ``1024x1024``.  Empty: of whatever size, or quality."""

    image_nusd: int
    size: str = ""
    quality: str = ""


class ContextTier(msgspec.Struct, frozen=True, kw_only=True):
    """A cliff: a request with more than ``above_tokens`` input tokens, cached ones too, is charged by ``rates`` whole."""

    above_tokens: int
    rates: Rates


class ServiceTier(msgspec.Struct, frozen=True, kw_only=True):
    """What a request costs that was served as ``name``: ``batch``, ``flex``, ``priority``."""

    name: str
    rates: Rates
    context_tiers: tuple[ContextTier, ...] = ()


class Price(Rates, frozen=True, kw_only=True):
    """A row of the price book: what one offer (model @ provider) costs, from when to when, and who says so.

    ``source`` names the list and the row.  ``context_tiers``: by rising ``above_tokens``; the last that is exceeded
    counts.  ``service_tiers``: those with a price of their own; any other is charged as standard.
    It holds from ``effective_from_us`` until just before ``effective_to_us``; ``None``: for ever.  ``daily_from_s`` and
    ``daily_to_s``: only between these seconds of the UTC day, half-open, over midnight where the first is the larger.
    ``images``: pictures that cost something else than ``image_nusd``.
    """

    source: str
    context_tiers: tuple[ContextTier, ...] = ()
    service_tiers: tuple[ServiceTier, ...] = ()
    effective_from_us: int | None = None
    effective_to_us: int | None = None
    daily_from_s: int | None = None
    daily_to_s: int | None = None
    images: tuple[ImageRate, ...] = ()


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """The most tokens that a model takes and gives in one request; ``None``: nobody says.

    adaptive: it decides itself how much it thinks, and is told an effort instead of a budget.
    reasoning: it can think; only who is known not to does not.  always_thinks: it cannot be told not to.
    efforts: the words for how much that it takes, from the least; empty: nobody says.
    caches: a prompt may be marked as worth keeping; only who is known not to take that does not.
    responses_only: OpenAI serves it by its Responses API and not by chat completions.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    adaptive: bool = False
    reasoning: bool = True
    always_thinks: bool = False
    efforts: tuple[str, ...] = ()
    caches: bool = True
    responses_only: bool = False


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A flat fee for a provider's models: what is used under it costs its share of the fee.

    models: glob patterns of the provider's own names; empty: all of them.  It holds from ``from_us`` until just before
    ``to_us``; ``None``: for ever.  A month that it holds for in part costs that part, by days.
    """

    name: str
    provider: str
    month_nusd: int
    models: tuple[str, ...] = ()
    from_us: int | None = None
    to_us: int | None = None
