"""Which accounts are opened by something else than a key, and by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from providers import aws
from providers.bearer import Bearer
from providers.entra import Application, Sender
from providers.provider import Signer, Vendor


class Signers:
    """One signer for each vendor, region and profile, so that credentials are fetched once for all who use them.

    environ: where an application's credentials are looked for.  sender: asks for tokens.
    """

    def __init__(self, environ: Mapping[str, str], sender: Sender, clock_s: Callable[[], float]) -> None:
        self._environ = environ
        self._sender = sender
        self._clock_s = clock_s
        self._made: dict[tuple[str, str, str], Signer] = {}

    def __call__(self, vendor: Vendor, region: str, profile: str) -> Signer | None:
        """What opens an account without a key; ``None``: nothing does.  region, profile: as the configuration has them."""
        name = (vendor.protocol, region, profile)
        if name not in self._made:
            signer = self._new(vendor, region, profile)
            if signer is None:
                return None
            self._made[name] = signer
        return self._made[name]

    def _new(self, vendor: Vendor, region: str, profile: str) -> Signer | None:
        match vendor.protocol:
            case "bedrock":
                return aws.Signer(service="bedrock", region=region, profile=profile, clock_s=self._clock_s)
            case "azure":
                return Bearer(Application(self._environ, self._sender), self._clock_s)
            case _:
                return None
