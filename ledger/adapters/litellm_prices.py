"""Prices out of the list that the litellm package carries, read as a file: importing litellm takes seconds and 200 MB.

The list has USD per token as floats, keyed ``model`` or ``provider/model``.  A float becomes an integer through its
shortest decimal, which is what its author wrote: 1e-07 USD per token is 100,000,000 nano-USD per million.
Of a row the plain price per token is read; those by prompt length, service tier and batch are not.
Source: the list itself, in litellm 1.109.1 (MIT), read 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import msgspec

from ledger.errors import LedgerError
from ledger.records import Price

FILE = "model_prices_and_context_window_backup.json"
NUSD_PER_USD = 10**9
TOKENS_PER_MTOK = 10**6
# Answered names are remembered, found or not; a client that invents names cannot make it grow.
MEMO_LIMIT = 4096
# What a gateway can forward; the list has images, speech, search and more besides.
TEXT_MODES = frozenset(("chat", "completion", "embedding", "responses"))
# Rows of one vendor under a second provider name that is neither ``text-completion-<provider>`` nor ``<provider>-…``.
VARIANTS = {"azure_text": "azure", "bedrock_converse": "bedrock", "cohere_chat": "cohere"}


class PricesUnreadable(LedgerError):
    """The list is not there, or is not JSON of the expected shape."""


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
    # Units that we do not meter: a row that charges by them and nothing by token is not free.
    input_cost_per_character: float | None = None
    output_cost_per_character: float | None = None
    input_cost_per_second: float | None = None
    output_cost_per_second: float | None = None
    input_cost_per_image: float | None = None
    output_cost_per_image: float | None = None
    input_cost_per_query: float | None = None

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


_decode = msgspec.json.Decoder(dict[str, Row]).decode
_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_row = msgspec.json.Decoder(Row).decode


def parse(data: bytes, /) -> dict[str, Row]:
    """The rows of the list by key.  A row of an unexpected shape is left out.  Raises: PricesUnreadable."""
    try:
        return _decode(data)
    except msgspec.ValidationError:
        return _parse_rows(data)
    except msgspec.DecodeError as error:
        raise PricesUnreadable(f"the price list is not JSON: {error}") from error


def _parse_rows(data: bytes) -> dict[str, Row]:
    try:
        raw_rows = _decode_raw(data)
    except msgspec.ValidationError as error:
        raise PricesUnreadable(f"the price list is no object: {error}") from error
    rows = {}
    for key, raw in raw_rows.items():
        try:
            rows[key] = _decode_row(raw)
        except msgspec.ValidationError:
            continue
    return rows


class LitellmPrices:
    """A PricingPort over the rows of one release of the list.  Rows are converted when asked for, and remembered.

    provider is litellm's word for the vendor: ``openai``, ``together_ai``, ``fireworks_ai``, ``nvidia_nim``, …
    """

    def __init__(self, rows: dict[str, Row], *, version: str) -> None:
        self._rows = rows
        self._version = version
        self._memo = lru_cache(maxsize=MEMO_LIMIT)(self._find)

    def price(self, provider: str, model: str, /) -> Price | None:
        """The price of a provider's model; ``None`` where the list does not say it.  O(1), no I/O.

        ``model``: with or without the provider's prefix; a fine-tuned ``ft:base:org::id`` is priced as ``ft:base``.
        """
        return self._memo(provider, model)

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

    def _find(self, provider: str, model: str) -> Price | None:
        base = ":".join(model.split(":")[:2]) if model.startswith("ft:") else model
        for key in (f"{provider}/{base}", base, f"text-completion-{provider}/{base}"):
            row = self._rows.get(key)
            if row is not None and _is_of(provider, row):
                return to_price(row, source=f"litellm {self._version}: {key}")
        return None


def to_price(row: Row, /, *, source: str) -> Price | None:
    """The row in integers; ``None`` if it does not say what a token costs, or only what another unit costs."""
    input_usd = row.input_cost_per_token
    output_usd = row.output_cost_per_token
    if output_usd is None and row.mode == "embedding":
        output_usd = 0
    if input_usd is None or output_usd is None or min(input_usd, output_usd) < 0:
        return None
    free = input_usd == output_usd == 0 and not row.input_cost_per_request
    if free and (row.mode not in TEXT_MODES or row.has_other_unit()):
        return None
    return Price(
        source=f"{source} (free)" if free else source,
        input_nusd_per_mtok=_nusd(input_usd, TOKENS_PER_MTOK),
        output_nusd_per_mtok=_nusd(output_usd, TOKENS_PER_MTOK),
        cache_read_nusd_per_mtok=_own(row.cache_read_input_token_cost),
        # Where writing to the cache costs nothing on top, the list says 0; the tokens themselves still are input.
        cache_write_nusd_per_mtok=_own(row.cache_creation_input_token_cost or None),
        input_audio_nusd_per_mtok=_own(row.input_cost_per_audio_token),
        reasoning_nusd_per_mtok=_own(row.output_cost_per_reasoning_token),
        output_audio_nusd_per_mtok=_own(row.output_cost_per_audio_token),
        request_nusd=_nusd(row.input_cost_per_request or 0, 1),
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


def _own(usd: float | None) -> int | None:
    return None if usd is None or usd < 0 else _nusd(usd, TOKENS_PER_MTOK)


def _nusd(usd: float, units: int) -> int:
    """USD per one unit as nano-USD per ``units``."""
    return int((Decimal(str(usd)) * NUSD_PER_USD * units).to_integral_value(ROUND_HALF_EVEN))
