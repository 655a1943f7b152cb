"""The cache as configured: where answers are kept, of requests that ask the same and of those that have a name."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from proxy.caching.flight import Bounds as FlightBounds
from proxy.caching.flight import Flights
from proxy.caching.idempotency import Idempotency
from proxy.caching.policy import Policies, Policy
from proxy.caching.semantic import Semantic
from proxy.config import Config
from proxy.disk.cache_file import CacheFile
from proxy.stage import Stage
from proxy.stages.cache import Cache
from proxy.stores.memory_cache import MemoryCache


def named(config: Config, pepper: bytes, home: Path) -> MemoryCache | CacheFile:
    """Where the answers are of requests that have a name."""
    section = config.cache.idempotency
    if not section.persist or not section.ttl_s:
        return MemoryCache(section.max_bytes, time.monotonic)
    secret = hmac.digest(pepper, b"tollway idempotency file", "sha256")
    return CacheFile(home / "idempotency.sqlite", secret, max_bytes=section.max_bytes, clock_s=time.time)


def cache(
    config: Config,
    pepper: bytes,
    named: MemoryCache | CacheFile,
    *,
    before: tuple[Stage, ...],
    clock_us: Callable[[], int],
) -> Cache:
    """The cache as configured, its entries in this process's memory.

    named: keeps the answers of requests that have a name.   before: what a request for a vector goes through.
    """
    section, semantic = config.cache, config.cache.semantic
    default = Policy(mode=section.mode, ttl_s=section.ttl_s, temperature_max=section.temperature_max)
    rows = [
        (pattern, msgspec.structs.replace(default, **row.model_dump(exclude_none=True)))
        for pattern, row in section.models.items()
    ]
    return Cache(
        MemoryCache(section.max_bytes, time.monotonic),
        Flights(
            FlightBounds(
                kept_max_bytes=section.max_entry_bytes,
                held_max_bytes=section.max_bytes,
                lifespan_s=config.retries.total_timeout_s + config.server.write_timeout_s,
            )
        ),
        policies=Policies(default, rows),
        scope=section.scope,
        # A secret of its own, so that no key of the cache says anything about an API key's digest.
        secret=hmac.digest(pepper, b"tollway cache", "sha256"),
        single_flight=section.single_flight,
        entry_max_bytes=section.max_entry_bytes,
        clock_us=clock_us,
        semantic=Semantic(model=semantic.model, threshold=semantic.threshold, entries_max=semantic.max_entries, before=before)
        if semantic.model
        else None,
        idempotency=Idempotency(
            named,
            hmac.digest(pepper, b"tollway idempotency", "sha256"),
            ttl_s=section.idempotency.ttl_s,
        ),
    )
