"""Which requests are the same request: an HMAC over the tenant, what is asked, and what it resolves to.

Two requests have the same key only if they are equal in everything that can change the answer.  The order of a JSON
object's keys, white space and escapes do not count; the spelling of a fraction does (``1.0`` is not ``1.00``), since a
parser's rounding could make different numbers equal.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from providers.provider import Protocol
from proxy.call import Principal, Tier

Scope = Literal["key", "user", "team", "global"]

SCHEMA = 1
"""Part of every key and every entry: what an earlier release kept is never found."""

IGNORED: dict[str, str] = {
    "model": "counted apart, with what it resolves to",
    "stream": "the same answer in another form",
    "stream_options": "the same answer; whether a stream shows its usage is settled when it is replayed",
    "cache": "for the cache itself; its namespace is counted apart",
    "metadata": "labels for the provider's dashboard; no model sees them",
    "prompt_cache_key": "a hint where the provider's own cache is",
    "prompt_cache_retention": "how long the provider's own cache lasts",
}
"""Fields of a body that do not change the answer, and why.  ``user`` and ``safety_identifier`` are none of them: one end
user of an application must not learn what another has asked."""

_decode = msgspec.json.Decoder(dict[str, Any], float_hook=lambda text: msgspec.Raw(text.encode())).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def fields_of(body: bytes) -> dict[str, Any]:
    """The body of a request that passed the gate.  Numbers are exact: a fraction is a ``Raw`` as it was spelled."""
    return _decode(body)


OTHERS_IGNORED = frozenset(("model", "stream", "cache"))
"""The same for the protocols that are not OpenAI's: Anthropic's ``metadata`` names the user."""


def canonical(fields: dict[str, Any], protocol: Protocol = "openai") -> bytes:
    """Everything that can change the answer, the same bytes for the same meaning."""
    ignored = IGNORED if protocol == "openai" else OTHERS_IGNORED
    return _encode({name: value for name, value in fields.items() if name not in ignored})


def tenant_of(principal: Principal | None, scope: Scope) -> str:
    """Whose answers these are; who belongs to no user or no team shares with nobody."""
    if scope == "global":
        return "global"
    if principal is None:
        return "nobody"
    if scope == "team" and principal.team:
        return f"team:{principal.team}"
    if scope != "key" and principal.user:
        return f"user:{principal.user}"
    return f"key:{principal.key_id}"


class Keyer:
    """Makes keys of 32 bytes.  Without the secret nobody can tell from a key what was asked, nor make one to look for it."""

    def __init__(self, secret: bytes) -> None:
        self._keyed = hmac.new(secret, digestmod="sha256")

    def key(
        self,
        *,
        tenant: str,
        endpoint: str,
        model: str,
        tiers: Sequence[Tier],
        namespace: str,
        fields: dict[str, Any],
        protocol: Protocol = "openai",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> bytes:
        """The key of a question, whatever form its answer is to have.  headers: those that can change the answer."""
        keyed = self._keyed.copy()
        # A JSON text has no line break of its own, so the two cannot run into each other.
        keyed.update(_encode((SCHEMA, tenant, endpoint, model, namespace, [_places(tier) for tier in tiers])))
        keyed.update(b"\n")
        keyed.update(canonical(fields, protocol))
        for name, value in headers:
            keyed.update(b"\n%b: %b" % (name, value))
        return keyed.digest()


def _places(tier: Tier) -> list[tuple[str, str, str]]:
    """Who may answer, however many accounts are behind it and whoever is next in turn."""
    return sorted({(it.upstream.provider, it.upstream.base_url, it.model) for it in tier.deployments})
