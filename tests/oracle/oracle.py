"""Price every usage object of the oracle by our own reading, book and arithmetic.  ``python -m tests.oracle.oracle``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import yaml

from ledger.adapters import genai_prices, litellm_prices
from ledger.prices.book import Book, Listed
from ledger.prices.cost import cost_nusd
from ledger.prices.days import day_us
from ledger.records import Tokens
from providers.usage import OPENAI_LIKE, ROWS, Semantics, read
from proxy.metering.prices import Free

HERE = Path(__file__).parent
AT_US = (day_us("2026-03-01") or 0) + 12 * 3600 * 1_000_000
"""The oracle does not say when it was computed; by the prices of this noon, or any other of that spring, it agrees most."""

# Which row of ours reads what the oracle's provider and API flavour sent.
SEMANTICS = {
    ("anthropic", "chat"): ("anthropic", "chat/completions"),
    ("anthropic", "default"): ("anthropic", "messages"),
    ("aws", "anthropic"): ("bedrock", "messages"),
    ("azure", "anthropic"): ("azure", "messages"),
    ("azure", "chat"): ("azure", "chat/completions"),
    ("azure", "embeddings"): ("azure", "embeddings"),
    ("azure", "responses"): ("azure", "responses"),
    ("cerebras", "chat"): ("cerebras", "chat/completions"),
    ("deepseek", "chat"): ("deepseek", "chat/completions"),
    ("google", "anthropic"): ("gemini", "messages"),
    ("google", "chat"): ("gemini", "chat/completions"),
    ("google", "default"): ("gemini", "generateContent"),
    ("groq", "default"): ("groq", "chat/completions"),
    ("mistral", "default"): ("mistral", "chat/completions"),
    ("openai", "chat"): ("openai", "chat/completions"),
    ("openai", "embeddings"): ("openai", "embeddings"),
    ("openai", "responses"): ("openai", "responses"),
    ("openrouter", "chat"): ("openrouter", "chat/completions"),
    ("ovhcloud", "chat"): ("openai", "chat/completions"),
    ("zai", "chat"): ("zai", "chat/completions"),
    ("zhipuai", "chat"): ("zai", "chat/completions"),
}
# litellm's words for the oracle's providers.
LITELLM = {
    "anthropic": "anthropic", "aws": "bedrock", "azure": "azure", "cerebras": "cerebras", "deepseek": "deepseek",
    "google": "gemini", "groq": "groq", "mistral": "mistral", "openai": "openai", "openrouter": "openrouter", "zai": "zai",
}  # fmt: skip


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One usage object, as one provider's API sent it, and what it costs by the oracle and by us."""

    file: str
    provider: str
    api: str
    model: str
    oracle_nusd: int
    ours_nusd: int | None
    row: str


class Difference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of ``differences.yaml``."""

    case: Case
    why: str


def book() -> Book:
    """The two lists, as the proxy has them, by the oracle's names of providers."""
    return Book((Listed(Free()), Listed(litellm_prices.load(), LITELLM), Listed(genai_prices.load())), clock_us=lambda: 0)


def cases() -> Iterator[Case]:
    """Every priced usage object of the oracle, for every provider and API flavour that it is priced for."""
    prices = book()
    for entry in json.loads((HERE / "usages.json").read_text()):
        body = entry["body"]
        raw = json.dumps(body.get("usage") or body.get("usageMetadata") or body.get("meta")).encode()
        for flavour in (flavour for extracted in entry["extracted"] for flavour in extracted["extractors"]):
            if "input_price" not in flavour:
                continue
            provider, api, model = flavour["provider_id"], flavour["api_flavor"], body.get("model") or body["modelVersion"]
            usage = read(raw, _semantics(provider, api))
            row = prices.price(provider, model, AT_US)
            cost = None
            if usage is not None and row is not None:
                tokens = Tokens(**{name: getattr(usage, name) for name in Tokens.__struct_fields__})
                cost = cost_nusd(row, tokens, service_tier=usage.service_tier)
            yield Case(
                file=body["file"],
                provider=provider,
                api=api,
                model=model,
                oracle_nusd=_nusd(flavour),
                ours_nusd=cost,
                row="" if row is None else row.source,
            )


def listed() -> list[Difference]:
    """The differences that are explained."""
    return msgspec.convert(yaml.safe_load((HERE / "differences.yaml").read_text()), list[Difference])


def figure(found: list[Case]) -> str:
    """``N cases, N equal, N explained``."""
    equal = sum(case.ours_nusd == case.oracle_nusd for case in found)
    return f"{len(found)} cases, {equal} equal, {len(listed())} explained"


def _semantics(provider: str, api: str) -> Semantics:
    key = SEMANTICS.get((provider, api))
    if key is None and provider.startswith("huggingface_"):
        key = ("huggingface", "chat/completions")
    return OPENAI_LIKE if key is None else ROWS[key]


def _nusd(flavour: dict[str, Any]) -> int:
    usd = Decimal(flavour.get("total_price") or Decimal(flavour["input_price"]) + Decimal(flavour["output_price"]))
    return round(usd * 10**9)


def main() -> None:
    """Print the figure."""
    found = list(cases())
    print(figure(found))
    explained = {difference.case for difference in listed()}
    for case in found:
        if case.ours_nusd != case.oracle_nusd and case not in explained:
            print(msgspec.json.encode(case).decode())


if __name__ == "__main__":
    main()
