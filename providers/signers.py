"""Which accounts are opened by something else than a key, and by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from providers import aws
from providers.bearer import Bearer
from providers.bridge import Bridge
from providers.entra import Application, Sender
from providers.google import Account
from providers.provider import Identity, Signer, Vendor


class Signers:
    """One signer for each protocol and identity, so that credentials are fetched once for all who use them.

    environ: where an application's credentials are looked for.  sender: asks for tokens.
    bridge: for those that are reached through litellm.
    """

    def __init__(
        self, environ: Mapping[str, str], sender: Sender, clock_s: Callable[[], float], bridge: Bridge | None = None
    ) -> None:
        self._bridge = bridge
        self._environ = environ
        self._sender = sender
        self._clock_s = clock_s
        self._made: dict[tuple[str, Identity], Signer] = {}

    def __call__(self, vendor: Vendor, identity: Identity) -> Signer | None:
        """What opens an account without a key; ``None``: nothing does."""
        name = (vendor.protocol, identity)
        if name not in self._made:
            signer = self._new(vendor, identity)
            if signer is None:
                return None
            self._made[name] = signer
        return self._made[name]

    def _new(self, vendor: Vendor, identity: Identity) -> Signer | None:
        match vendor.protocol:
            case "bedrock":
                return aws.Signer(service="bedrock", region=identity.region, profile=identity.profile, clock_s=self._clock_s)
            case "azure":
                return Bearer(Application(self._environ, self._sender), self._clock_s)
            case "vertex" | "vertex-anthropic":
                return Bearer(Account(identity.credentials_file), self._clock_s)
            case "litellm" if self._bridge is not None and identity.litellm is not None:
                return self._bridge.account(identity.litellm)
            case _:
                return None
