"""Google's tokens for Vertex AI: of a service account by its key file, or the application default credentials.

google-auth is loaded with the first request, in a thread; it comes with the extra ``vertex``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Final

from providers.aside import Aside
from providers.bearer import Token
from providers.errors import NoCredentials

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
USUAL_S: Final = 3600.0


class Account:
    """Fetches tokens.  file: a service account's key; empty: what Google's own tools would use."""

    def __init__(self, file: str = "") -> None:
        self._file = file
        self._credentials: Any = None
        self._aside = Aside(self._fetch)

    async def __call__(self) -> Token:
        """A new token.  Raises: NoCredentials."""
        return await self._aside()

    def _fetch(self) -> Token:
        """In a thread: files, metadata servers and token services take their time."""
        try:
            errors = import_module("google.auth.exceptions")
            requests = import_module("google.auth.transport.requests")
        except ImportError as error:
            raise NoCredentials("Vertex AI needs google-auth: install tollway[vertex].") from error
        try:
            if self._credentials is None:
                self._credentials = self._found()
            self._credentials.refresh(requests.Request())
        except (errors.GoogleAuthError, OSError, ValueError, KeyError) as error:
            self._credentials = None
            # Its text may have paths and answers in it; the class says what to look for.
            raise NoCredentials(f"Google's credentials could not be had: {type(error).__name__}.") from error
        expiry = self._credentials.expiry
        lives_s = USUAL_S if expiry is None else (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
        quota = getattr(self._credentials, "quota_project_id", None)
        return Token(self._credentials.token, lives_s, {"x-goog-user-project": quota} if quota else {})

    def _found(self) -> Any:
        if not self._file:
            return import_module("google.auth").default(scopes=[SCOPE])[0]
        accounts = import_module("google.oauth2.service_account")
        return accounts.Credentials.from_service_account_file(self._file, scopes=[SCOPE])
