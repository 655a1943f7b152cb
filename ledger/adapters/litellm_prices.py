"""Prices out of the list that the litellm package carries, read as a file: importing litellm takes seconds and 200 MB.

The list has USD per token as floats, keyed ``model`` or ``provider/model``.  A float becomes an integer through its
shortest decimal, which is what its author wrote: 1e-07 USD per token is 100,000,000 nano-USD per million.
Prices by prompt length are ``<field>_above_200k_tokens``, those of a service tier ``<field>_flex`` and the like; what such
a tier does not say is charged as without it.  A price per web search is read where it is one for every size of search.
Of models that draw, speak, listen or rerank the prices per picture, character, second and query are read too; pictures of one
size and quality have rows of their own, ``<quality>/<width>-x-<height>/<model>``, some of them with a price per pixel.
Source: the list itself, in litellm 1.109.1 (MIT), read 2026-11-22.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from ledger.errors import PricesUnreadable, SourceUnreadable
from ledger.facts import ModelFact, OfferPrice, Parsed, Subject
from ledger.payload import Problems, abilities, decode, part, table, text, texts, tokens
from ledger.prices.listed import RATE_KEYS, Amounts, rates
from ledger.records import Bounds, ContextTier, ImageRate, Price, Rates, ServiceTier

FILE = "model_prices_and_context_window_backup.json"
NUSD_PER_USD = 10**9
TOKENS_PER_MTOK = 10**6
DEAREST_NUSD = 10**15
# Answered names are remembered, found or not; a client that invents names cannot make it grow.
MEMO_LIMIT = 4096
# Those whose models are listed as what they are; the list has images, speech, search and more besides.
TEXT_MODES = frozenset(("chat", "completion", "embedding", "responses"))
# Those that are charged by the piece; output has no price of its own in some of their rows.
PIECE_MODES = frozenset(("image_generation", "image_edit", "audio_speech", "audio_transcription", "rerank"))
# Rows of one vendor under a second provider name that is neither ``text-completion-<provider>`` nor ``<provider>-…``.
VARIANTS = {"azure_text": "azure", "bedrock_converse": "bedrock", "cohere_chat": "cohere"}
# The list's fields per token, by our keys; each may end in ``_above_<n>k_tokens`` and in the name of a service.
FIELDS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "cache_read_input_audio_token_cost": "cache_read_audio",
    "input_cost_per_audio_token": "input_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_reasoning_token": "reasoning",
    "output_cost_per_audio_token": "output_audio",
    "output_cost_per_image_token": "output_image",
}
# What a row says that its model can do, and what it takes beside text.
CAPABILITIES = {
    "supports_function_calling": "tools",
    "supports_parallel_function_calling": "parallel_tools",
    "supports_response_schema": "structured_output",
    "supports_reasoning": "reasoning",
    "supports_prompt_caching": "prompt_cache",
    "supports_web_search": "web_search",
}
TAKES = {
    "supports_vision": "image",
    "supports_audio_input": "audio",
    "supports_video_input": "video",
    "supports_pdf_input": "file",
}
SERVICES = {"batches": "batch", "flex": "flex", "priority": "priority"}
SECONDS_PER_HOUR = 3_600
_SIZED = re.compile(r"(?:([a-z]+)/)?([1-9][0-9]*)-x-([1-9][0-9]*)/(.+)", re.ASCII)
_FIELD = re.compile(rf"({'|'.join(FIELDS)})(?:_above_(\d+)k_tokens)?(?:_({'|'.join(SERVICES)}))?")


class Row(msgspec.Struct, frozen=True, gc=False):
    """What is read of a row; prices in USD per token, request or other unit, ``None`` where the row has none."""

    litellm_provider: str = ""
    mode: str | None = None
    input_cost_per_token: float | None = None
    output_cost_per_token: float | None = None
    cache_read_input_token_cost: float | None = None
    cache_creation_input_token_cost: float | None = None
    input_cost_per_audio_token: float | None = None
    output_cost_per_reasoning_token: float | None = None
    output_cost_per_audio_token: float | None = None
    input_cost_per_request: float | None = None
    # Units by which only some modes are metered: of any other, a row that charges by them and nothing by token is not free.
    input_cost_per_character: float | None = None
    output_cost_per_character: float | None = None
    input_cost_per_second: float | None = None
    output_cost_per_second: float | None = None
    input_cost_per_image: float | None = None
    output_cost_per_image: float | None = None
    input_cost_per_query: float | None = None
    # The whole row, for what is only read when somebody asks for the model.
    raw: msgspec.Raw = msgspec.Raw(b"{}")

    def has_other_unit(self) -> bool:
        """Whether it charges by a unit that we do not meter."""
        return bool(
            self.input_cost_per_character
            or self.output_cost_per_character
            or self.input_cost_per_second
            or self.output_cost_per_second
            or self.input_cost_per_image
            or self.output_cost_per_image
            or self.input_cost_per_query
        )


_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_row = msgspec.json.Decoder(Row).decode
_decode_whole = msgspec.json.Decoder(dict[str, Any]).decode


def parse(data: bytes, /) -> dict[str, Row]:
    """The rows of the list by key.  A row of an unexpected shape is left out.  Raises: PricesUnreadable."""
    try:
        raw_rows = _decode_raw(data)
    except msgspec.ValidationError as error:
        raise PricesUnreadable(f"the price list is no object: {error}") from error
    except msgspec.DecodeError as error:
        raise PricesUnreadable(f"the price list is not JSON: {error}") from error
    rows = {}
    for key, raw in raw_rows.items():
        try:
            row = _decode_row(raw)
        except msgspec.ValidationError:
            continue
        msgspec.structs.force_setattr(row, "raw", raw)
        rows[key] = row
    return rows


class LitellmPrices:
    """A source of the price book: one release of the list.  Rows are converted when asked for, and remembered.

    provider is litellm's word for the vendor: ``openai``, ``together_ai``, ``fireworks_ai``, ``nvidia_nim``, …
    """

    dated = False
    as_of_us: int | None = None

    def __init__(self, rows: dict[str, Row], *, version: str) -> None:
        self._rows = rows
        self._sized = {key: row for key, row in rows.items() if "-x-" in key}
        self.name = f"litellm {version}"
        self._memo = lru_cache(maxsize=MEMO_LIMIT)(self._find)

    def price(self, provider: str, model: str, /) -> Price | None:
        """The price of a provider's model; ``None`` where the list does not say it.  O(1), no I/O.

        ``model``: with or without the provider's prefix; a fine-tuned ``ft:base:org::id`` is priced as ``ft:base``.
        """
        return self._memo(provider, model)

    def rows(self, provider: str, model: str, /) -> Sequence[Price]:
        """The one row of a provider's model, if the list has it.  It has no dates."""
        found = self._memo(provider, model)
        return () if found is None else (found,)

    def names(self, provider: str, /) -> Sequence[str]:
        """The provider's text models that the list knows, sorted, without its prefix.  O(rows), so keep it."""
        # Two vendors' lists hold price classes by model size, such as ``together-ai-4.1b-8b``: no model has that name.
        size_class = f"{provider.replace('_', '-')}-" if "_" in provider else "\0"
        return sorted(
            {
                _bare(provider, key)
                for key, row in self._rows.items()
                if row.mode in TEXT_MODES and _is_of(provider, row) and not key.startswith(size_class)
            }
        )

    def bounds(self, provider: str, model: str, /) -> Bounds:
        """The most tokens that a provider's model takes and gives, as far as the list says.  Not remembered."""
        for _, row in self._rows_of(provider, model):
            whole = _decode_whole(row.raw)
            return Bounds(
                input_tokens=_count(whole.get("max_input_tokens")),
                output_tokens=_count(whole.get("max_output_tokens")),
                adaptive=whole.get("supports_adaptive_thinking") is True,
                efforts=_efforts(whole),
                reasoning=whole.get("supports_reasoning") is True,
                always_thinks=whole.get("thinking_always_on") is True,
                responses_only=_responses_only(whole.get("supported_endpoints")),
            )
        return Bounds()

    def _find(self, provider: str, model: str) -> Price | None:
        pictures = self._pictures(provider, model)
        for key, row in self._rows_of(provider, model):
            price = to_price(row, source=f"{self.name}: {key}")
            return price if price is None or not pictures else replace(price, images=pictures)
        if not pictures:
            return None
        return Price(source=f"{self.name}: {model}", input_nusd_per_mtok=0, output_nusd_per_mtok=0, images=pictures)

    def _pictures(self, provider: str, model: str) -> tuple[ImageRate, ...]:
        """What pictures of one size and quality cost that the model draws."""
        found = []
        for key, row in self._sized.items():
            sized = _SIZED.fullmatch(_bare(provider, key))
            if sized is None or sized[4] != model or not _is_of(provider, row) or row.mode not in PIECE_MODES:
                continue
            width, height = int(sized[2]), int(sized[3])
            nusd = _image(_decode_whole(row.raw), width * height)
            if nusd is not None:
                found.append(ImageRate(size=f"{width}x{height}", quality=sized[1] or "", image_nusd=nusd))
        return tuple(found)

    def _rows_of(self, provider: str, model: str) -> Iterator[tuple[str, Row]]:
        base = ":".join(model.split(":")[:2]) if model.startswith("ft:") else model
        for key in (f"{provider}/{base}", base, f"text-completion-{provider}/{base}"):
            row = self._rows.get(key)
            if row is not None and _is_of(provider, row):
                yield key, row


def to_price(row: Row, /, *, source: str) -> Price | None:
    """The row in integers; ``None`` if it does not say what a token costs, or only what another unit costs."""
    input_usd = row.input_cost_per_token
    output_usd = row.output_cost_per_token
    whole = _decode_whole(row.raw)
    pieces = _by_the_piece(row.mode, whole)
    if row.mode in PIECE_MODES:
        # What comes out of a model that draws is pictures.
        drawn = whole.get("output_cost_per_image_token")
        output_usd = (drawn if isinstance(drawn, float | int) else None) if output_usd is None else output_usd
        if pieces or row.mode == "rerank":
            output_usd = 0 if output_usd is None else output_usd
            input_usd = 0 if input_usd is None and pieces else input_usd
    elif output_usd is None and row.mode == "embedding":
        output_usd = 0
    if input_usd is None or output_usd is None or min(input_usd, output_usd) < 0:
        return None
    free = input_usd == output_usd == 0 and not row.input_cost_per_request
    if free and row.mode == "moderation":
        free = not row.has_other_unit()
    elif free and (row.mode not in TEXT_MODES or row.has_other_unit()):
        if not any(pieces.values()):
            return None
        free = False
    base = _pieces(row, whole) | pieces
    said = _said(whole)
    standard = (
        {"input": _nusd(input_usd, TOKENS_PER_MTOK), "output": _nusd(output_usd, TOKENS_PER_MTOK)}
        | said.pop(("", 0), {})
        | base
    )
    return Price(
        source=f"{source} (free)" if free else source,
        **{RATE_KEYS[key]: amount for key, amount in standard.items()},
        context_tiers=_context_tiers(standard, said, ""),
        images=(),
        service_tiers=tuple(_service(name, standard, said) for name in sorted({name for name, _ in said if name})),
    )


def _pieces(row: Row, whole: dict[str, Any]) -> Amounts:
    """What is not charged by the token."""
    pieces = {}
    if row.input_cost_per_request:
        pieces["request"] = _nusd(row.input_cost_per_request, 1)
    by_size = whole.get("search_context_cost_per_query")
    sizes = set(by_size.values()) if isinstance(by_size, dict) else set()
    if len(sizes) == 1 and isinstance(size := sizes.pop(), float | int) and size >= 0:
        pieces["search"] = _nusd(size, 1)
    return pieces


def _by_the_piece(mode: str | None, whole: dict[str, Any]) -> Amounts:
    """What a model of such a mode charges by the piece.

    A transcription's seconds are charged once, whichever of the two fields they stand in; a row of pictures has the price of
    one that is made in either field, and where both are there in that of the output.
    """
    pieces: dict[str, int | None] = {}
    if mode in ("image_generation", "image_edit"):
        pieces["image"] = _image(whole, None)
    elif mode == "audio_speech":
        pieces["characters"] = _amount(whole, "input_cost_per_character", TOKENS_PER_MTOK)
        pieces["spoken_hour"] = _amount(whole, "output_cost_per_second", SECONDS_PER_HOUR)
    elif mode == "audio_transcription":
        both = [_amount(whole, field, SECONDS_PER_HOUR) for field in ("input_cost_per_second", "output_cost_per_second")]
        pieces["audio_hour"] = max((it for it in both if it is not None), default=None)
    elif mode == "rerank":
        pieces["query"] = _amount(whole, "input_cost_per_query", 1)
    return {key: nusd for key, nusd in pieces.items() if nusd is not None}


def _image(whole: dict[str, Any], pixels: int | None) -> int | None:
    """What a picture costs; of one with so many pixels it may be their price that is said."""
    for field in ("output_cost_per_image", "input_cost_per_image"):
        if nusd := _amount(whole, field, 1):
            return nusd
    if pixels is None:
        return None
    each = (_amount(whole, field, pixels) for field in ("input_cost_per_pixel", "output_cost_per_pixel"))
    return max((nusd for nusd in each if nusd), default=None)


def _amount(whole: dict[str, Any], field: str, units: int) -> int | None:
    usd = whole.get(field)
    return _nusd(usd, units) if isinstance(usd, float | int) and not isinstance(usd, bool) and usd >= 0 else None


def _said(whole: dict[str, Any]) -> dict[tuple[str, int], Amounts]:
    """The prices per token by service and threshold in tokens; ``("", 0)``: without either."""
    said: dict[tuple[str, int], Amounts] = {}
    for field, usd in whole.items():
        found = _FIELD.fullmatch(field)
        if found is None or not isinstance(usd, float | int) or usd < 0:
            continue
        key = FIELDS[found[1]]
        if usd == 0 and key in ("cache_write", "cache_write_1h"):
            # Where writing to the cache costs nothing on top, the list says 0; the tokens themselves still are input.
            continue
        place = SERVICES[found[3]] if found[3] else "", int(found[2] or 0) * 1000
        said.setdefault(place, {})[key] = _nusd(usd, TOKENS_PER_MTOK)
    return said


def _context_tiers(base: Amounts, said: dict[tuple[str, int], Amounts], service: str) -> tuple[ContextTier, ...]:
    """A tier for each threshold that the standard or the service's own prices have, each over the one below."""
    tiers = []
    for above in sorted({above for name, above in said if above and name in ("", service)}):
        base = base | said.get(("", above), {}) | said.get((service, above), {})
        tiers.append(ContextTier(above_tokens=above, rates=rates(base)))
    return tuple(tiers)


def _service(name: str, standard: Amounts, said: dict[tuple[str, int], Amounts]) -> ServiceTier:
    """A service's own prices over the standard ones, at every threshold that either has."""
    own = standard | said.get((name, 0), {})
    return ServiceTier(name=name, rates=rates(own), context_tiers=_context_tiers(own, said, name))


def facts(payload: bytes | str, /, *, fetched_at_us: int) -> Parsed:
    """What the list says of each model beside its price: limits, what it takes, what it can do; and the price again.

    Nothing depends on the time.  A row whose limits are texts, or that is of another kind than text, has none here.
    Raises: SourceUnreadable.
    """
    del fetched_at_us
    data = table(decode(payload), "the price list")
    problems = Problems()
    models: list[ModelFact] = []
    prices: list[OfferPrice] = []
    for key, row in data.items():
        whole = part(data, key)
        host, name = text(whole.get("litellm_provider")), text(key)
        if not name or not host:
            problems.add(f"{key[:80]!r}: the row has no provider")
            continue
        if text(whole.get("mode")) not in TEXT_MODES or key == "sample_spec":
            continue
        subject = Subject(source_name=_bare(host, name), host=host)
        models.append(_fact(whole, subject))
        try:
            price = to_price(_decode_row(msgspec.json.encode({**row, "raw": row})), source=f"litellm: {name}")
        except msgspec.ValidationError as error:
            problems.add(f"{name}: the price cannot be read: {error}")
            continue
        if price is not None and _is_too_dear(price):
            problems.add(f"{name}: the price is left out: nothing costs more than a dollar a token")
        elif price is not None:
            prices.append(OfferPrice(subject=subject, price=price))
    if not models:
        raise SourceUnreadable("there is not one text model in the price list")
    return Parsed(models=tuple(models), prices=tuple(prices), problems=problems.told())


def _is_too_dear(price: Price) -> bool:
    every: list[Rates] = [price, *(tier.rates for tier in price.context_tiers)]
    for service in price.service_tiers:
        every += [service.rates, *(tier.rates for tier in service.context_tiers)]
    return any((getattr(rates, field) or 0) > DEAREST_NUSD for rates in every for field in Rates.__struct_fields__)


def _fact(row: dict[str, Any], subject: Subject) -> ModelFact:
    takes = texts(row.get("supported_modalities")) or (
        "text", *(name for flag, name in TAKES.items() if row.get(flag) is True)
    )  # fmt: skip
    gives = texts(row.get("supported_output_modalities"))
    can = {name for flag, name in CAPABILITIES.items() if row.get(flag) is True} | abilities(takes, gives)
    if row.get("mode") == "embedding":
        can.add("embeddings")
    return ModelFact(
        subject=subject,
        context_tokens=tokens(row.get("max_input_tokens")) or tokens(row.get("max_tokens")),
        output_max_tokens=tokens(row.get("max_output_tokens")),
        modalities_in=takes,
        modalities_out=gives,
        capabilities=tuple(sorted(can)),
    )


def load() -> LitellmPrices:
    """The list of the installed litellm, found without importing it.  Raises: PricesUnreadable."""
    spec = find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        raise PricesUnreadable("litellm is not installed, so its price list is not here")
    try:
        data = Path(spec.submodule_search_locations[0], FILE).read_bytes()
    except OSError as error:
        raise PricesUnreadable(f"the price list of litellm cannot be read: {error}") from error
    return LitellmPrices(parse(data), version=metadata.version("litellm"))


def _count(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_USUAL_EFFORTS = ("low", "medium", "high")


def _efforts(row: dict[str, Any]) -> tuple[str, ...]:
    """The efforts that a model takes: listed, or the three that all have with what is said of the others; else none."""
    listed = row.get("reasoning_effort_levels")
    if isinstance(listed, list):
        return tuple(name for name in _EFFORTS if name in listed)
    said = {name: row.get(f"supports_{name}_reasoning_effort") for name in _EFFORTS}
    if not any(isinstance(told, bool) for told in said.values()):
        return ()
    return tuple(name for name in _EFFORTS if said[name] is True or (name in _USUAL_EFFORTS and said[name] is not False))


def _responses_only(endpoints: object) -> bool:
    return isinstance(endpoints, list) and "/v1/responses" in endpoints and "/v1/chat/completions" not in endpoints


def _is_of(provider: str, row: Row) -> bool:
    """Whether the row is the provider's own or of a variant such as ``text-completion-openai``."""
    name = row.litellm_provider
    return (
        name == provider
        or name == f"text-completion-{provider}"
        or name.startswith(f"{provider}-")
        or VARIANTS.get(name) == provider
    )


def _bare(provider: str, key: str) -> str:
    return key.removeprefix(f"text-completion-{provider}/").removeprefix(f"{provider}/")


def _nusd(usd: float, units: int) -> int:
    """USD per one unit as nano-USD per ``units``."""
    return int((Decimal(str(usd)) * NUSD_PER_USD * units).to_integral_value(ROUND_HALF_EVEN))
