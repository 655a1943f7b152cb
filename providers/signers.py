"""Which accounts are opened by something else than a key, and by what."""

from __future__ import annotations

from collections.abc import Callable

from providers import aws
from providers.provider import Signer, Vendor


class Signers:
    """One signer for each vendor, region and profile, so that credentials are fetched once for all who use them."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._made: dict[tuple[str, str, str], Signer] = {}

    def __call__(self, vendor: Vendor, region: str, profile: str) -> Signer | None:
        """What opens an account without a key; ``None``: nothing does.  region, profile: as the configuration has them."""
        if vendor.protocol != "bedrock":
            return None
        name = (vendor.name, region, profile)
        if name not in self._made:
            self._made[name] = aws.Signer(service="bedrock", region=region, profile=profile, clock_s=self._clock_s)
        return self._made[name]
