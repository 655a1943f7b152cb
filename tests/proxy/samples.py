"""Calls and deployments, complete and unremarkable; a test says what matters to it and leaves the rest."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace

from providers.openai.vendors import CUSTOM
from providers.provider import Endpoint, Upstream, Vendor
from proxy.api.gate import admit
from proxy.call import Attempt, Call, Deployment, Principal
from proxy.limits.rates import Declared, RateBook
from proxy.stages.rate_limiter import Enforcement, RateLimiter
from proxy.stores.memory_buckets import MemoryBuckets

PRINCIPAL = Principal(key_id="key_1", name="alice")


def upstream(provider: str = "acme", account: str = "default", *, vendor: Vendor = CUSTOM) -> Upstream:
    return Upstream(
        provider=provider,
        account=account,
        vendor=vendor,
        base_url=f"http://{provider}.invalid/v1",
        api_key=f"sk-{provider}-{account}",
    )


def deployment(name: str = "acme/gpt", *, account: str = "default", weight: int = 1, vendor: Vendor = CUSTOM) -> Deployment:
    provider, _, model = name.partition("/")
    return Deployment(upstream=upstream(provider, account, vendor=vendor), model=model, weight=weight)


def call(
    model: str = "acme/gpt", *, endpoint: Endpoint = "chat/completions", fields: dict[str, Any] | None = None, **changes: Any
) -> Call:
    """A call whose body has the ``fields`` besides the model; everything else by name."""
    body = json.dumps({"model": model, **(fields or {})}).encode()
    made = Call(
        id="req_1",
        endpoint=endpoint,
        authorization=("Bearer tw-x",),
        body=body,
        head=admit(body),
        received_us=1_000_000,
        started_s=10.0,
        principal=PRINCIPAL,
    )
    return replace(made, **changes)


def attempt(number: int = 1, **changes: Any) -> Attempt:
    fields: dict[str, Any] = {
        "deployment": deployment(),
        "started_us": 1_000_000,
        "duration_us": 2_000,
        "ttfb_us": 1_000,
        "status": 200,
        "outcome": "ok",
        "may_cost": True,
    }
    return Attempt(number=number, **{**fields, **changes})


def unlimited() -> RateLimiter:
    """A rate limiter without limits."""
    return RateLimiter(
        MemoryBuckets(lambda: 0), RateBook(Declared(), burst_s=60.0), enforcement=Enforcement(), clock_s=lambda: 0.0
    )
