"""Azure, Bedrock and Vertex AI: where an account's models are, and how the environment names one, as their own SDKs read it.

Sources: github.com/openai/openai-python (azure), docs.aws.amazon.com/sdkref/latest/guide (environment variables),
github.com/googleapis/python-genai and github.com/anthropics/anthropic-sdk-python (vertex), read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from providers.bedrock.models import is_region
from providers.provider import Identity, Protocol, Vendor

PROTOCOLS: Final[frozenset[Protocol]] = frozenset({"azure", "bedrock", "vertex", "vertex-anthropic"})
"""Those that are in regions, projects and resources of one's own."""
_PROOFS: Final = ("AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE")
_AWS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_GOOGLE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
_PROJECTS: Final[Mapping[Protocol, tuple[str, ...]]] = {
    "vertex": ("GOOGLE_CLOUD_PROJECT",),
    "vertex-anthropic": ("ANTHROPIC_VERTEX_PROJECT_ID",),
}
_LOCATIONS: Final[Mapping[Protocol, tuple[str, ...]]] = {
    "vertex": ("GOOGLE_CLOUD_LOCATION",),
    "vertex-anthropic": ("CLOUD_ML_REGION", "GOOGLE_CLOUD_LOCATION"),
}


class Cloud(msgspec.Struct, frozen=True, kw_only=True):
    """An account that the environment names.  origin: the variable that did.  identity: who it is without a key."""

    base_url: str
    origin: str
    api_key: str | None = None
    api_version: str = ""
    identity: Identity = Identity()

    def __repr__(self) -> str:
        return f"Cloud({self.base_url!r}, {self.origin!r})"


def azure_url(url: str, api_version: str) -> str:
    """Where a resource's models are.  People copy its address from the portal, or the whole of it from an example."""
    resource = url.rstrip("/").removesuffix("/v1").removesuffix("/openai")
    return f"{resource}/openai" if api_version else f"{resource}/openai/v1"


def vertex_url(vendor: Vendor, project: str, region: str = "", base_url: str = "") -> str:
    """A publisher's models in a project of Vertex AI.  base_url: stands for the host alone."""
    region = region or "global"
    host, path = vendor.base_url.split("/v1", 1)
    # Source: cloud.google.com/vertex-ai/generative-ai/docs/learn/locations, the global endpoint, read 2026-11.
    host = base_url or host.replace("{region}-", "" if region == "global" else f"{region}-")
    return f"{host}/v1{path}".replace("{region}", region).replace("{project}", project)


def found(vendor: Vendor, environ: Mapping[str, str]) -> Cloud | None:
    """The account that the environment names at one of these; ``None``: none, or not enough of it."""
    match vendor.protocol:
        case "azure":
            return _azure(vendor, environ)
        case "bedrock":
            return _bedrock(vendor, environ)
        case "vertex" | "vertex-anthropic":
            return _vertex(vendor, environ)
        case _:
            return None


def _azure(vendor: Vendor, environ: Mapping[str, str]) -> Cloud | None:
    url = _first(environ, "AZURE_OPENAI_ENDPOINT")[1]
    if not url:
        # A key alone does not tell of which resource it is.
        return None
    version = _first(environ, "OPENAI_API_VERSION")[1]
    name, key = _first(environ, *vendor.key_names)
    # Without a key: an application, or the identity that the machine was given, as far as anything speaks of one.
    opened = _first(environ, *_PROOFS, "IDENTITY_ENDPOINT", "AZURE_CLIENT_ID")[0]
    if not (key or opened):
        return None
    return Cloud(base_url=azure_url(url, version), origin=name or opened, api_key=key or None, api_version=version)


def _bedrock(vendor: Vendor, environ: Mapping[str, str]) -> Cloud | None:
    region = _first(environ, "AWS_REGION", "AWS_DEFAULT_REGION")[1]
    if not is_region(region):
        return None
    url = _first(environ, "BEDROCK_BASE_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME")[1].rstrip("/")
    base_url = url or vendor.base_url.replace("{region}", region)
    name, key = _first(environ, *vendor.key_names)
    if key:
        return Cloud(base_url=base_url, origin=name, api_key=key)
    name = _first(environ, *_AWS)[0]
    return Cloud(base_url=base_url, origin=name, identity=Identity(region=region)) if name else None


def _vertex(vendor: Vendor, environ: Mapping[str, str]) -> Cloud | None:
    """A project alone says nothing: much else of Google's is in one."""
    named, project = _first(environ, *_PROJECTS[vendor.protocol])
    asked = environ.get("GOOGLE_GENAI_USE_VERTEXAI", "").strip().lower() in ("1", "true")
    if not project or not (vendor.protocol == "vertex-anthropic" or asked or environ.get(_GOOGLE, "").strip()):
        return None
    region = _first(environ, *_LOCATIONS[vendor.protocol])[1]
    return Cloud(base_url=vertex_url(vendor, project, region), origin=named)


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    """The first of the variables that is set, and its value; empty: none is."""
    return next(((name, value) for name in names if (value := environ.get(name, "").strip())), ("", ""))
