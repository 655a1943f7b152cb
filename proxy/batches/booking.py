"""The entries that end a batch: for each model a reservation, its settlement and a record, all in one transaction.

They are called after the request that made the batch, ``req_…-1`` and so on, so that however often one is booked it is
booked once.  They count in the periods of the moment at which it was made, as any request does.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ledger.budgets.accounts import USD, Amounts
from ledger.ports import Entry
from ledger.records import AttemptRecord, Quality, RequestRecord, Reservation, Settlement, Tokens
from proxy.batches.opened import Open
from proxy.batches.tally import Sum

ENDPOINT = "batches"


class Booking(msgspec.Struct, frozen=True, kw_only=True):
    """What ends a batch.  actual: what it came to, as the rollups will say.  cost_nusd: of each sum; ``None``: unknown."""

    entries: tuple[Entry, ...]
    actual: Amounts
    costs_nusd: tuple[int | None, ...]


def first_id(it: Open) -> str:
    """What the first of its bookings is called: where that is, all are."""
    return f"{it.request_id}-1"


def of_sums(
    it: Open, sums: Sequence[Sum], *, status: str, exact: bool, usage_raw: bytes, now_us: int, outcome: str = ""
) -> Booking:
    """The end of a batch whose answers were read.  exact: every one of them said what it used.

    status: the batch's own.  usage_raw: what its provider says of all of it.  outcome: what its records say came of it, where
    the status and the sums do not.
    """
    outcome = outcome or ("ok" if status == "completed" or sums else f"batch_{status}"[:64])
    if not sums:
        record = _record(it, 1, None, outcome=outcome, quality="exact", cost_nusd=0, usage_raw=b"", now_us=now_us)
        return Booking(entries=(record,), actual=(0, 0, 1), costs_nusd=())
    entries: list[Entry] = []
    tokens = cost = 0
    for number, sum_ in enumerate(sums, 1):
        quality: Quality = "exact" if exact and not sum_.unmetered else "estimated"
        raw = usage_raw if len(sums) == 1 else b""
        entries += _entries(it, number, sum_, outcome=outcome, quality=quality, usage_raw=raw, now_us=now_us)
        tokens += sum_.tokens.input_tokens + sum_.tokens.output_tokens
        cost += sum_.cost_nusd or 0
    return Booking(entries=tuple(entries), actual=(cost, tokens, len(sums)), costs_nusd=tuple(it.cost_nusd for it in sums))


def of_nobody(it: Open, *, outcome: str, now_us: int) -> Booking:
    """The end of a batch of which nobody can say what it did: it is held at what it reserved, until reconciliation knows."""
    cost_nusd = it.reserve[USD] or None
    model = it.models[0] if it.models else "unknown"
    sum_ = Sum(model=model, answered_model="", answers=0, tokens=Tokens(), cost_nusd=cost_nusd, price_source="")
    entries = _entries(it, 1, sum_, outcome=outcome, quality="held", usage_raw=b"", now_us=now_us)
    return Booking(entries=entries, actual=(cost_nusd or 0, 0, 1), costs_nusd=(cost_nusd,))


def _endpoint(it: Open) -> str:
    """What its record is found under: a response's own, for all of a batch one."""
    return it.endpoint if it.asked else ENDPOINT


def _entries(
    it: Open, number: int, sum_: Sum, *, outcome: str, quality: Quality, usage_raw: bytes, now_us: int
) -> tuple[Entry, ...]:
    request_id = f"{it.request_id}-{number}"
    reservation = Reservation(
        request_id=request_id,
        attempt=1,
        at_us=now_us,
        key_id=it.key_id,
        endpoint=_endpoint(it),
        model=it.asked or sum_.model,
        provider=it.provider,
        account=it.account,
        upstream_model=sum_.model,
        stream=False,
        input_tokens_estimate=sum_.tokens.input_tokens,
        user=it.user,
        team=it.team,
        tags=it.tags,
        max_cost_nusd=sum_.cost_nusd,
    )
    settlement = Settlement(
        request_id=request_id,
        attempt=1,
        at_us=now_us,
        quality=quality,
        tokens=sum_.tokens,
        cost_nusd=sum_.cost_nusd,
        price_source=sum_.price_source,
        usage_raw=usage_raw,
    )
    record = _record(
        it, number, sum_, outcome=outcome, quality=quality, cost_nusd=sum_.cost_nusd, usage_raw=usage_raw, now_us=now_us
    )
    return reservation, settlement, record


def _record(
    it: Open,
    number: int,
    sum_: Sum | None,
    *,
    outcome: str,
    quality: Quality,
    cost_nusd: int | None,
    usage_raw: bytes,
    now_us: int,
) -> RequestRecord:
    model = sum_.model if sum_ is not None else it.models[0] if it.models else ENDPOINT
    attempt = AttemptRecord(
        attempt=1,
        provider=it.provider,
        account=it.account,
        upstream_model=model,
        outcome=outcome,
        status=200,
        upstream_request_id=it.batch_id,
        cost_nusd=cost_nusd,
    )
    return RequestRecord(
        request_id=f"{it.request_id}-{number}",
        at_us=it.created_us,
        key_id=it.key_id,
        endpoint=_endpoint(it),
        model=it.asked or model,
        provider=it.provider,
        upstream_model=model,
        answered_model=sum_.answered_model if sum_ is not None else "",
        stream=False,
        status=200,
        outcome=outcome,
        quality=quality,
        tokens=sum_.tokens if sum_ is not None else Tokens(),
        cost_nusd=cost_nusd,
        price_source=sum_.price_source if sum_ is not None else "",
        duration_us=max(now_us - it.created_us, 0),
        ttfb_us=None,
        attempts=(attempt,),
        usage_raw=usage_raw,
        user=it.user,
        team=it.team,
        tags=it.tags,
    )
