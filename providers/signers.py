"""Which accounts are opened by something else than a key, and by what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from providers import aws
from providers.bearer import Bearer
from providers.bridge import Bridge
from providers.entra import Entra, Sender
from providers.google import Account
from providers.provider import Identity, Signer, Vendor

LOOK_S: Final = 15.0
"""Between two looks at how long the tokens are good for."""


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

    async def keep_fresh(self) -> None:
        """Exchange the tokens that are in use before they end, until cancelled: no request waits for that."""
        while True:
            await asyncio.sleep(LOOK_S)
            async with asyncio.TaskGroup() as group:
                for signer in self._made.values():
                    if isinstance(signer, Bearer):
                        group.create_task(signer.freshen())

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
                return Bearer(Entra(self._environ, self._sender), self._clock_s)
            case "vertex" | "vertex-anthropic":
                return Bearer(Account(identity.credentials_file), self._clock_s)
            case "litellm" if self._bridge is not None and identity.litellm is not None:
                return self._bridge.account(identity.litellm)
            case _:
                return None
