"""Entries to write, complete and unremarkable; a test says what matters to it and leaves the rest."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from ledger.records import (
    AttemptRecord,
    Budget,
    Change,
    Checked,
    DecisionRecord,
    Feedback,
    Key,
    Price,
    RequestRecord,
    Reservation,
    Settlement,
    Team,
    Tokens,
    User,
    Void,
)

TOKENS = Tokens(input_uncached=800, cache_read=200, output_text=150, reasoning=50)
ATTEMPT = AttemptRecord(attempt=1, provider="openai", account="main", upstream_model="gpt-4o", outcome="ok", status=200)


def reservation(request_id: str = "req_1", attempt: int = 1, **changes: Any) -> Reservation:
    fields: dict[str, Any] = {
        "at_us": 1_000_000,
        "key_id": "key_1",
        "endpoint": "chat.completions",
        "model": "openai/gpt-4o",
        "provider": "openai",
        "account": "main",
        "upstream_model": "gpt-4o",
        "stream": False,
        "input_tokens_estimate": 1000,
    }
    return Reservation(request_id=request_id, attempt=attempt, **{**fields, **changes})


def settlement(request_id: str = "req_1", attempt: int = 1, **changes: Any) -> Settlement:
    fields: dict[str, Any] = {
        "at_us": 2_000_000,
        "quality": "exact",
        "tokens": TOKENS,
        "cost_nusd": 4_250_000,
        "price_source": "a list",
        "usage_raw": b'{"total_tokens":1200}',
    }
    return Settlement(request_id=request_id, attempt=attempt, **{**fields, **changes})


def void(request_id: str = "req_1", attempt: int = 1, reason: str = "connect") -> Void:
    return Void(request_id=request_id, attempt=attempt, at_us=2_000_000, reason=reason)


def record(request_id: str = "req_1", **changes: Any) -> RequestRecord:
    fields: dict[str, Any] = {
        "at_us": 1_000_000,
        "key_id": "key_1",
        "endpoint": "chat.completions",
        "model": "openai/gpt-4o",
        "provider": "openai",
        "upstream_model": "gpt-4o",
        "answered_model": "gpt-4o-2024-08-06",
        "stream": False,
        "status": 200,
        "outcome": "ok",
        "quality": "exact",
        "tokens": TOKENS,
        "cost_nusd": 4_250_000,
        "price_source": "a list",
        "duration_us": 1_000_000,
        "ttfb_us": 900_000,
        "attempts": (ATTEMPT,),
        "usage_raw": b'{"total_tokens":1200}',
    }
    return RequestRecord(request_id=request_id, **{**fields, **changes})


def key(key_id: str = "key_1", **changes: Any) -> Key:
    fields: dict[str, Any] = {
        "name": f"name of {key_id}",
        "digest": key_id.encode(),
        "last4": "abcd",
        "admin": False,
        "models": (),
        "created_us": 1_000_000,
    }
    return Key(id=key_id, **{**fields, **changes})


def team(name: str = "search", **changes: Any) -> Team:
    return Team(name=name, **{"created_us": 1_000_000, **changes})


def user(name: str = "alice@example.com", **changes: Any) -> User:
    return User(name=name, **{"created_us": 1_000_000, **changes})


def budget(budget_id: str = "bud_1", **changes: Any) -> Budget:
    fields: dict[str, Any] = {"scope": "team:search", "unit": "usd", "period": "month", "limit": 12_500_000_000}
    return Budget(id=budget_id, **{**fields, **changes})


def change(object_id: str = "key_1", **changes: Any) -> Change:
    fields: dict[str, Any] = {
        "at_us": 1_000_000,
        "actor_id": "key_admin",
        "actor": "admin",
        "action": "create",
        "kind": "key",
        "name": f"name of {object_id}",
        "before": None,
        "after": "{}",
    }
    return Change(object=object_id, **{**fields, **changes})


class OnePrice:
    """A price list with one row: ``gpt-4o`` of ``openai``."""

    def price(self, provider: str, model: str, at_us: int | None = None, /) -> Price | None:
        del at_us  # it never changes
        if (provider, model) != ("openai", "gpt-4o"):
            return None
        return Price(source="one price", input_nusd_per_mtok=2_500_000_000, output_nusd_per_mtok=10_000_000_000)


def rows(path: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """What another process sees in the file."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(sql, values).fetchall()


async def gathered(*writes: asyncio.Future[None]) -> list[BaseException | None]:
    """How each of the writes ended, when all have."""
    return await asyncio.gather(*writes, return_exceptions=True)


def decision(request_id: str = "req_1", **changes: Any) -> DecisionRecord:
    fields: dict[str, Any] = {
        "at_us": 1_000_000,
        "policy": "auto",
        "task": "coding",
        "chosen": "openai/gpt-4o",
        "snapshot_id": "5" * 64,
        "quality_ppm": 610_000,
        "cost_nusd": 4_000_000,
        "output_tokens": 250,
        "ttft_us": 400_000,
        "latency_us": 2_000_000,
        "features": '{"task":"coding"}',
        "candidates": '[["openai/gpt-4o",610000,4000000,250,400000,2000000]]',
    }
    return DecisionRecord(request_id=request_id, **{**fields, **changes})


def feedback(request_id: str = "req_1", **changes: Any) -> Feedback:
    fields: dict[str, Any] = {
        "at_us": 3_000_000,
        "source": "user",
        "key_id": "key_1",
        "offer": "openai/gpt-4o",
        "task": "coding",
        "policy": "auto",
        "metric": "live_user_accept_rate",
        "score_ppm": 1_000_000,
    }
    return Feedback(request_id=request_id, **{**fields, **changes})


def checked(request_id: str = "req_1", **changes: Any) -> Checked:
    fields: dict[str, Any] = {"at_us": 2_000_000, "offer": "openai/gpt-4o", "task": "coding", "passed": ("answered",)}
    return Checked(request_id=request_id, **{**fields, **changes})
