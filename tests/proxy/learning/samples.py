"""Routed requests, complete and unremarkable; a test says what matters to it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ledger.records import DecisionRecord, Routed
from tests.ledger.samples import decision


def routed(request_id: str = "req_1", *, decided: DecisionRecord | None = None, **changes: Any) -> Routed:
    made = decided or decision(request_id)
    fields: dict[str, Any] = {
        "key_id": "key_1",
        "offer": made.chosen,
        "stream": True,
        "outcome": "ok",
        "cache": "",
        "tries": 1,
        "quality": "exact",
        "input_tokens": 1000,
        "output_tokens": 200,
        "cost_nusd": 5_000_000,
        "ttfb_us": 500_000,
        "duration_us": 2_500_000,
    }
    return Routed(decision=replace(made, request_id=request_id), **{**fields, **changes})
