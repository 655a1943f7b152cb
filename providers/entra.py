"""Microsoft Entra's tokens for Azure OpenAI: of an application, by its secret or by the token that its cluster gives it.

Source: learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow and
learn.microsoft.com/azure/aks/workload-identity-overview, read 2026-11.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

import msgspec

from providers.bearer import Token
from providers.errors import NoCredentials, ProviderError
from providers.provider import HttpRequest, Timeouts

AUTHORITY: Final = "https://login.microsoftonline.com"
SCOPE: Final = "https://cognitiveservices.azure.com/.default"
_TIMEOUTS: Final = Timeouts(connect_s=5, first_byte_s=10, idle_s=10, total_s=15)
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_HEADERS: Final = {"content-type": "application/x-www-form-urlencoded", "accept-encoding": "identity"}


class Answering(Protocol):
    """The head of an answer, and its body to come."""

    status: int

    async def read(self) -> bytes:
        """The whole body.  Raises: ProviderError."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Sender(Protocol):
    """The transport, as it is needed here."""

    async def send(self, request: HttpRequest, *, timeouts: Timeouts, deadline_s: float) -> Answering:
        """POST it and wait for the head of the answer.  Raises: ProviderError."""
        ...


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: int | str = 3600


_decode = msgspec.json.Decoder(_Answer).decode


class Application:
    """Fetches tokens of the application that the environment names, as Azure's own libraries have it: AZURE_TENANT_ID,
    AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE; AZURE_AUTHORITY_HOST for other clouds.
    """

    def __init__(self, environ: Mapping[str, str], sender: Sender) -> None:
        self._environ = environ
        self._sender = sender

    async def __call__(self) -> Token:
        """A new token.  Raises: NoCredentials."""
        said = {name: self._environ.get(f"AZURE_{name}", "").strip() for name in ("TENANT_ID", "CLIENT_ID")}
        missing = [f"AZURE_{name}" for name, value in said.items() if not value]
        if missing:
            raise NoCredentials(f"Neither an api_key nor an application of Entra: {', '.join(missing)} missing.")
        form = {"client_id": said["CLIENT_ID"], "grant_type": "client_credentials", "scope": SCOPE, **await self._proof()}
        host = self._environ.get("AZURE_AUTHORITY_HOST", "").strip().rstrip("/") or AUTHORITY
        url = f"{host}/{quote(said['TENANT_ID'], safe='')}/oauth2/v2.0/token"
        return await self._asked(HttpRequest(url, dict(_HEADERS), urlencode(form).encode()))

    async def _proof(self) -> dict[str, str]:
        if secret := self._environ.get("AZURE_CLIENT_SECRET", "").strip():
            return {"client_secret": secret}
        file = self._environ.get("AZURE_FEDERATED_TOKEN_FILE", "").strip()
        if not file:
            raise NoCredentials("Neither AZURE_CLIENT_SECRET nor AZURE_FEDERATED_TOKEN_FILE is set.")
        try:
            # The cluster writes a new one now and then.
            token = await asyncio.to_thread(Path(file).read_text, encoding="utf-8")
        except (OSError, ValueError) as error:
            raise NoCredentials("The file of AZURE_FEDERATED_TOKEN_FILE cannot be read.") from error
        return {"client_assertion_type": _ASSERTION, "client_assertion": token.strip()}

    async def _asked(self, request: HttpRequest) -> Token:
        deadline_s = asyncio.get_running_loop().time() + _TIMEOUTS.total_s
        answer: Any = None
        try:
            answer = await self._sender.send(request, timeouts=_TIMEOUTS, deadline_s=deadline_s)
            body = await answer.read()
            if answer.status != 200:
                raise NoCredentials(f"Entra refused the application: status {answer.status}{_code(body)}.")
            said = _decode(body)
            return Token(said.access_token, float(said.expires_in))
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise NoCredentials("Entra's answer is not a token.") from error
        except NoCredentials:
            raise
        except ProviderError as error:
            raise NoCredentials(f"Entra could not be asked: {error}") from error
        finally:
            if answer is not None:
                answer.close()


class _Refusal(msgspec.Struct):
    error: str = ""


def _code(body: bytes) -> str:
    """What Entra calls it, such as ``invalid_client``; its description has ids in it that are nobody's business."""
    try:
        code = msgspec.json.decode(body, type=_Refusal).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return f", {code}" if code.replace("_", "").isalnum() and len(code) <= 64 else ""
