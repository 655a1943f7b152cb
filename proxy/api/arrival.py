"""What a request says before its body: the few headers that matter, its query, and the protocol that its client speaks."""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

from providers.provider import Protocol
from proxy.api import gemini
from proxy.api.anthropic_kept import BATCHES
from proxy.api.peer import Scope
from proxy.errors import Headers

QUERY_MAX = 32


class Arrival(msgspec.Struct):
    """The few headers that matter, read in one pass."""

    authorization: tuple[str, ...] = ()
    host: bytes | None = None
    hosts: int = 0
    length: int = 0
    encoding: bytes = b""
    origin: bytes = b""
    deployment: str = ""
    tags: bytes = b""
    anthropic: bool = False
    google: bool = False


def read_headers(headers: Headers) -> Arrival:
    """Read them in one pass."""
    arrival = Arrival()
    keys: list[str] = []
    for name, value in headers:
        if name == b"authorization":
            arrival.authorization += (value.decode("latin-1"),)
        elif name == b"host":
            arrival.host = value
            arrival.hosts += 1
        elif name == b"content-length":
            arrival.length = int(value) if value.isdigit() else 0
        elif name == b"content-encoding":
            arrival.encoding = value.strip().lower()
        elif name == b"x-tollway-tags":
            arrival.tags += b"," + value
        elif name in (b"x-api-key", b"x-goog-api-key", b"api-key"):
            keys.append(value.decode("latin-1"))
            arrival.google = arrival.google or name == b"x-goog-api-key"
        elif name in (b"anthropic-version", b"anthropic-beta"):
            arrival.anthropic = True
        elif name == b"origin":
            arrival.origin = value
    for key in keys:
        add_key(arrival, key)
    return arrival


def add_key(arrival: Arrival, key: str) -> None:
    """A key under another name than Authorization's; the same one twice is one."""
    said = f"Bearer {key}"
    if said not in arrival.authorization:
        arrival.authorization += (said,)


def headers_asked(headers: Headers) -> bytes:
    """The headers that a page wants to send."""
    return b", ".join(value for name, value in headers if name == b"access-control-request-headers")


def query_of(scope: Scope) -> dict[str, str]:
    """The query's fields, of each the last; none if it cannot be read."""
    text = scope.get("query_string", b"")
    try:
        return dict(parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=QUERY_MAX)) if text else {}
    except ValueError:
        return {}


def protocol_spoken(path: str, arrival: Arrival, method: gemini.Method | None) -> Protocol:
    """What a client speaks that calls none of the endpoints with a path of their own."""
    if method is not None or path.startswith("/v1beta/"):
        return "gemini"
    if arrival.anthropic and path.startswith(("/v1/models", "/v1/messages", "/v1/files")):
        return "anthropic"
    if path.startswith(BATCHES):
        return "anthropic"  # nobody else has them
    return "gemini" if arrival.google and path.startswith("/v1/models") else "openai"
