"""What a start tells the person who made it: where it is, who may ask, whom it found, and a line to paste."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from ledger.records import Key

KEY_VARIABLE = "TOLLWAY_API_KEY"
LISTING_S = 2.0
"""How long it waits to be able to say which models were found; the server serves meanwhile."""


class Listing(Protocol):
    """Who serves which models, as far as that is known."""

    async def listed(self, timeout_s: float) -> bool:
        """Wait until everybody was asked, for so long at most; whether that is so."""
        ...

    def describe(self) -> Sequence[str]:
        """A line for each provider, and what else is to be said."""
        ...

    def example(self) -> str:
        """A model that can be asked."""
        ...


async def greeting(
    url: str, first_key: str | None, listing: Listing, list_keys: Callable[[], Sequence[Key]]
) -> AsyncIterator[str]:
    """The lines, each as soon as it can be said.  first_key: the key that this start has made, which is told only here."""
    yield f"base URL: {url}/v1"
    yield f"API key: {first_key or _about_keys(list_keys())}"
    await listing.listed(LISTING_S)
    for line in listing.describe():
        yield line
    yield f"try it: {_curl(url, first_key or f'${KEY_VARIABLE}', listing.example())}"


def _about_keys(keys: Sequence[Key]) -> str:
    stored = [key for key in keys if key.revoked_us is None and key.created_us]
    if not stored:
        return f"as {KEY_VARIABLE} or the configuration say"
    return f"made at an earlier start and not shown again; `tollway keys create NAME` makes another ({len(stored)} live)"


def _curl(url: str, key: str, model: str) -> str:
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hello in five words."}}]}}'
    quote = '"' if key.startswith("$") else "'"
    return (
        f"curl {url}/v1/chat/completions -H {quote}Authorization: Bearer {key}{quote} "
        f"-H 'content-type: application/json' -d '{body}'"
    )
