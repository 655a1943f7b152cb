"""What was decided of a request that left the choice of its model open, and what became of it."""

from __future__ import annotations

import msgspec


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Why a routed request went where it went, beside its record; nothing of what was asked.

    chosen: ``provider/model``; empty: nobody could answer.  propensity_ppm: how likely the policy was to choose it, in
    millionths.  why: the policy's ``rule``, the ``session`` so far, ``explored`` by chance, ``abstained`` since too little was
    known, ``nobody``.  quality_ppm, cost_nusd, output_tokens, ttft_us, latency_us: what was expected of the chosen one;
    ``None``: nobody knew.
    features: a JSON object, without what is as usual.  candidates: a JSON array of arrays in the order of ``CANDIDATE``.
    """

    request_id: str
    at_us: int
    policy: str
    task: str
    chosen: str
    snapshot_id: str
    propensity_ppm: int = 1_000_000
    why: str = "rule"
    quality_ppm: int | None = None
    cost_nusd: int | None = None
    output_tokens: int | None = None
    ttft_us: int | None = None
    latency_us: int | None = None
    features: str = "{}"
    candidates: str = "[]"


CANDIDATE = ("name", "quality_ppm", "cost_nusd", "output_tokens", "ttft_us", "latency_us")
"""What is kept of each candidate of a decision, in this order."""


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody thinks of an answer.  One row for each source (of a comparison: and for each of the two).

    key_id: whose key gave it.  offer, task, policy: of the request.  score_ppm: from 0, useless, to 1,000,000, perfect.
    metric: which live metric it counts for.  weight_ppm: how much it counts, one whole observation being 1,000,000.
    other_id: the request that it was compared with; empty: none.
    """

    at_us: int
    request_id: str
    source: str
    key_id: str
    offer: str
    task: str
    policy: str
    metric: str
    score_ppm: int
    weight_ppm: int = 1_000_000
    label: str = ""
    comment: str = ""
    other_id: str = ""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What of an answer could be checked without a reader: the names of what it passed and of what it failed."""

    request_id: str
    at_us: int
    offer: str
    task: str
    passed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Routed(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, and what came of it.

    offer: who was asked last, ``provider/model``; empty: nobody.  Costs, tokens and times are metered; ``None``: unknown, or
    there was none.  output_tokens: of a request that one try answered.  feedback: score and weight, both in millionths.
    """

    decision: DecisionRecord
    key_id: str
    offer: str
    stream: bool
    outcome: str
    cache: str
    tries: int
    quality: str
    input_tokens: int
    output_tokens: int
    cost_nusd: int | None
    ttfb_us: int | None
    duration_us: int
    passed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    feedback: tuple[tuple[int, int], ...] = ()
