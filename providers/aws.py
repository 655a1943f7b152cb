"""AWS's signatures, with the credentials that AWS's own chain finds: environment, profiles, roles, SSO, containers, instances.

botocore is loaded with the first request that has to be signed, in a thread: it takes 0.4 s of CPU and 27 MB, and whoever
has no such provider does without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from providers.aside import Aside
from providers.errors import NoCredentials
from providers.provider import HttpRequest

ASK_AGAIN_S: Final = 60.0
"""How often the chain is asked; it looks at the clock, and fetches new credentials 15 minutes before the old ones end."""
WAIT_MAX_S: Final = 15.0
"""How long a request waits for credentials; a token service is usually there in a second."""


class Signer:
    """Signs requests to one service in one region.

    profile: of the user's AWS configuration; empty: what the environment says, or the default one.
    """

    def __init__(self, *, service: str, region: str, profile: str = "", clock_s: Callable[[], float]) -> None:
        self._service = service
        self._region = region
        self._profile = profile
        self._clock_s = clock_s
        self._lock = asyncio.Lock()
        self._aside = Aside(self._load)
        self._botocore: _Botocore | None = None
        self._credentials: Any = None
        self._frozen: Any = None
        self._until_s = 0.0

    async def signed(self, request: HttpRequest) -> HttpRequest:
        """The request with the headers that prove whose it is.  Raises: NoCredentials."""
        if self._frozen is None or self._clock_s() >= self._until_s:
            await self._renew()
        botocore = self._botocore
        assert botocore is not None  # noqa: S101  # credentials come from it
        return HttpRequest(request.url, botocore.signed(request, self._frozen, self._service, self._region), request.body)

    async def _renew(self) -> None:
        if self._frozen is not None and self._lock.locked():
            # Somebody is asking already, and those at hand have minutes to go.
            return
        async with self._lock:
            if self._frozen is not None and self._clock_s() < self._until_s:
                return
            try:
                async with asyncio.timeout(WAIT_MAX_S):
                    self._frozen = await self._aside()
            except TimeoutError as error:
                # Those at hand are good for minutes: they would have been exchanged by now otherwise.
                if self._frozen is None:
                    raise NoCredentials(f"AWS gave no credentials within {WAIT_MAX_S:g} s.") from error
            self._until_s = self._clock_s() + ASK_AGAIN_S

    def _load(self) -> Any:
        """In a thread: files, processes and token services take their time.  Raises: NoCredentials."""
        if self._botocore is None:
            self._botocore = _Botocore()
        if not hasattr(self._credentials, "refresh_needed"):
            # Those that never end are read anew, since somebody may have changed them.
            self._credentials = self._botocore.credentials(self._profile)
        return self._botocore.frozen(self._credentials)


class _Botocore:
    """The parts of the library that are used.  Its errors stop here."""

    def __init__(self) -> None:
        self._session = import_module("botocore.session")
        self._auth = import_module("botocore.auth")
        self._request = import_module("botocore.awsrequest")
        errors = import_module("botocore.exceptions")
        self._errors = (errors.BotoCoreError, errors.ClientError, OSError)

    def credentials(self, profile: str) -> Any:
        """Those that the chain finds.  Raises: NoCredentials."""
        try:
            found = self._session.Session(profile=profile or None).get_credentials()
        except self._errors as error:
            raise _without_details(error) from error
        if found is None:
            raise NoCredentials("AWS's credentials were found nowhere: neither keys, profile nor role.")
        return found

    def frozen(self, credentials: Any) -> Any:
        """What they are at this moment, fetched anew if they are about to end.  Raises: NoCredentials."""
        try:
            return credentials.get_frozen_credentials()
        except self._errors as error:
            raise _without_details(error) from error

    def signed(self, request: HttpRequest, frozen: Any, service: str, region: str) -> dict[str, str]:
        """The request's headers and those that sign it."""
        asked = self._request.AWSRequest("POST", request.url, data=request.body, headers=request.headers)
        self._auth.SigV4Auth(frozen, service, region).add_auth(asked)
        return {name.lower(): value for name, value in asked.headers.items()}


def _without_details(error: Exception) -> NoCredentials:
    # Its text may have paths, account numbers and commands in it; the class says what to look for.
    return NoCredentials(f"AWS's credentials could not be had: {type(error).__name__}.")
