"""What was used, summed up; and what a provider reports of it."""

from __future__ import annotations

from typing import Literal

import msgspec

from ledger.records.entries import Tokens

By = Literal["day", "week", "month", "key", "user", "team", "model", "provider", "tag"]
"""What usage is summed by.  A request with several tags counts under each of them, one without any under none."""


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one period (UTC: ``2026-11-22``, ``2026-W47``, ``2026-11``), one model (``provider/upstream
    model``), one provider (empty: none was asked), one key (its id), one user or team (empty:
    nobody's), or one tag.

    label: the key's name, else empty.  failed: neither answered nor left by the client.  cached_tokens are part of
    input_tokens, reasoning_tokens of output_tokens.  cost_nusd: the sum of the known costs, with what reconciliation
    adjusted; ``None`` if none is known.  unpriced: requests whose cost is unknown.  estimated: requests whose tokens were
    counted by us, not by the provider; held: those of which nobody knows whether the provider worked at all.
    cached_requests: those that our own cache answered; saved_nusd: what their answers would have cost.
    subscription_nusd: its share of the subscriptions' fees.  nusd_per_mtok: cost and share for a million tokens, in and
    out; ``None`` without tokens.
    """

    group: str
    label: str
    requests: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_nusd: int | None
    unpriced: int
    estimated: int
    held: int
    cached_requests: int = 0
    saved_nusd: int = 0
    subscription_nusd: int = 0
    nusd_per_mtok: int | None = None


class ReportedUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider's report says of a stretch of time and a model, or of one request.

    model: as the report names it; a line that is for no model has its own name; empty: all models together.
    owners: the report's ids of whose it was (project, workspace, key).  request_id: ours, or the provider's own.
    tokens, cost_nusd: ``None`` where it does not say.
    """

    start_us: int
    end_us: int
    model: str = ""
    owners: tuple[str, ...] = ()
    request_id: str = ""
    requests: int | None = None
    tokens: Tokens | None = None
    cost_nusd: int | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's report of what was used.

    id: of its content; the same report has the same.  windows: the stretches of time that it is about, also those in which
    nothing was used.  complete: no page of it is missing.
    """

    id: str
    uses: tuple[ReportedUse, ...]
    windows: tuple[tuple[int, int], ...]
    complete: bool = True
