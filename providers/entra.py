"""Microsoft Entra's tokens for Azure OpenAI: of an application, by its secret or by the token that its cluster gives it, or of
the machine that this runs on.

Source: learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow,
learn.microsoft.com/azure/aks/workload-identity-overview,
learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token,
learn.microsoft.com/azure/app-service/overview-managed-identity, read 2026-11.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

import msgspec

from providers.bearer import Token
from providers.errors import NoCredentials, ProviderError
from providers.provider import HttpRequest, Timeouts

AUTHORITY: Final = "https://login.microsoftonline.com"
RESOURCE: Final = "https://cognitiveservices.azure.com"
SCOPE: Final = f"{RESOURCE}/.default"
MACHINE: Final = "http://169.254.169.254"
"""Where a machine of Azure's finds its own metadata, unless AZURE_POD_IDENTITY_AUTHORITY_HOST says otherwise."""
_TIMEOUTS: Final = Timeouts(connect_s=5, first_byte_s=10, idle_s=10, total_s=15)
# On any other machine nobody is there, and nobody answers.
_MACHINE_TIMEOUTS: Final = Timeouts(connect_s=2, first_byte_s=10, idle_s=10, total_s=12)
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
USUAL_S: Final = 3600.0
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
        """Send it and wait for the head of the answer.  Raises: ProviderError."""
        ...


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: int | str | None = None
    expires_on: int | str | None = None


_decode = msgspec.json.Decoder(_Answer).decode


APPLICATION: Final = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID")
PROOFS: Final = ("AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE")


class Entra:
    """Fetches tokens of whoever the environment names, in the order of Azure's own libraries: an application, by its secret or
    by its cluster's token, else the identity that the machine was given.
    """

    def __init__(self, environ: Mapping[str, str], sender: Sender) -> None:
        named = any(environ.get(name, "").strip() for name in ("AZURE_TENANT_ID", *PROOFS))
        self._fetch = Application(environ, sender) if named else Machine(environ, sender)

    async def __call__(self) -> Token:
        """A new token.  Raises: NoCredentials."""
        return await self._fetch()


class Machine:
    """Fetches tokens of the identity that Azure gave the machine, the container or the app that this runs on.

    AZURE_CLIENT_ID: which, if there are several.  IDENTITY_ENDPOINT, IDENTITY_HEADER: set by App Service and Container Apps.
    """

    def __init__(self, environ: Mapping[str, str], sender: Sender) -> None:
        self._environ = environ
        self._sender = sender

    async def __call__(self) -> Token:
        """A new token.  Raises: NoCredentials."""
        said = {
            name: self._environ.get(name, "").strip()
            for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "AZURE_CLIENT_ID", "AZURE_POD_IDENTITY_AUTHORITY_HOST")
        }
        who = {"client_id": said["AZURE_CLIENT_ID"]} if said["AZURE_CLIENT_ID"] else {}
        if said["IDENTITY_ENDPOINT"] and said["IDENTITY_HEADER"]:
            query = urlencode({"api-version": "2019-08-01", "resource": RESOURCE, **who})
            url, headers = f"{said['IDENTITY_ENDPOINT']}?{query}", {"x-identity-header": said["IDENTITY_HEADER"]}
        else:
            host = said["AZURE_POD_IDENTITY_AUTHORITY_HOST"].rstrip("/") or MACHINE
            query = urlencode({"api-version": "2018-02-01", "resource": RESOURCE, **who})
            url, headers = f"{host}/metadata/identity/oauth2/token?{query}", {"metadata": "true"}
        request = HttpRequest(url, {"accept-encoding": "identity", **headers}, b"", "GET")
        try:
            return await _token(self._sender, request, _MACHINE_TIMEOUTS, "The machine's identity")
        except NoCredentials as error:
            raise NoCredentials(
                f"Neither an api_key, nor an application of Entra (AZURE_TENANT_ID, …), nor a managed identity: {error}"
            ) from error


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
        return await _token(self._sender, HttpRequest(url, dict(_HEADERS), urlencode(form).encode()), _TIMEOUTS, "Entra")

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


async def _token(sender: Sender, request: HttpRequest, timeouts: Timeouts, who: str) -> Token:
    """What is answered, as a token.  who: is asked.  Raises: NoCredentials."""
    deadline_s = asyncio.get_running_loop().time() + timeouts.total_s
    answer: Any = None
    try:
        answer = await sender.send(request, timeouts=timeouts, deadline_s=deadline_s)
        body = await answer.read()
        if answer.status != 200:
            raise NoCredentials(f"{who} refused: status {answer.status}{_code(body)}.")
        said = _decode(body)
        lives_s = float(said.expires_in) if said.expires_in is not None else _left_s(said.expires_on)
        return Token(said.access_token, lives_s)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise NoCredentials(f"{who} answered with something that is not a token.") from error
    except NoCredentials:
        raise
    except ProviderError as error:
        raise NoCredentials(f"{who} could not be asked: {error}") from error
    finally:
        if answer is not None:
            answer.close()


def _left_s(expires_on: int | str | None) -> float:
    """What is left until a moment, in seconds since 1970, which some answers name instead of a time to live."""
    return USUAL_S if expires_on is None else max(float(expires_on) - time(), 0.0)


class _Refusal(msgspec.Struct):
    error: str = ""


def _code(body: bytes) -> str:
    """What Entra calls it, such as ``invalid_client``; its description has ids in it that are nobody's business."""
    try:
        code = msgspec.json.decode(body, type=_Refusal).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return f", {code}" if code.replace("_", "").isalnum() and len(code) <= 64 else ""
