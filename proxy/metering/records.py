"""What the ledger is told of a request and its tries."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.budgets.accounts import NOTHING, Amounts
from ledger.records import NO_PIECES, AttemptRecord, Quality, RequestRecord, Reservation, Tokens
from proxy.call import Attempt, Call, Deployment, Principal
from proxy.errors import ProxyError, status_of
from proxy.metering.costs import guessed_input
from proxy.metering.pieces import pieces_of

BEYOND_PERCENT = 110
"""Of the output tokens that a client allowed, how many may be counted before it is told in the receipt and the log: providers
count the ends of answers differently, by a few tokens."""

_NOBODY = Principal(key_id="", name="")


def reservation(call: Call, number: int, deployment: Deployment, at_us: int, max_cost_nusd: int | None) -> Reservation:
    """What is said before a try is sent."""
    upstream = deployment.upstream
    principal = call.principal or _NOBODY
    return Reservation(
        request_id=call.id,
        attempt=number,
        at_us=at_us,
        key_id=principal.key_id,
        endpoint=call.endpoint,
        model=call.head.model,
        provider=upstream.provider,
        account=upstream.account,
        upstream_model=deployment.model,
        stream=call.head.stream,
        input_tokens_estimate=guessed_input(call),
        max_cost_nusd=max_cost_nusd,
        user=principal.user,
        team=principal.team,
        tags=call.tags,
    )


def request(
    call: Call,
    error: ProxyError | None,
    ended: str,
    now_us: int,
    *,
    tokens: Tokens,
    cost: int | None,
    costs: Sequence[int | None],
    quality: Quality,
    source: str,
    saved_nusd: int,
) -> RequestRecord:
    """The record of a request that has ended.  ended: how, where no error and no try says it.   costs: of each try."""
    last = call.trail[-1] if call.trail else None
    if error is not None:
        status, outcome = status_of(error), error.code
    else:
        status, outcome = 200, ended or (last.outcome if last else "ok")
    origin = call.cached.origin
    principal = call.principal or _NOBODY
    return RequestRecord(
        request_id=call.id,
        at_us=call.received_us,
        key_id=principal.key_id,
        endpoint=call.endpoint,
        model=call.head.model,
        provider=last.deployment.upstream.provider if last else "",
        upstream_model=last.deployment.model if last else "",
        answered_model=last.answered_model if last else origin.answered_model if origin else "",
        stream=call.head.stream,
        status=status,
        outcome=outcome,
        quality=quality,
        tokens=tokens,
        cost_nusd=cost,
        price_source=source,
        duration_us=max(now_us - call.received_us, 0),
        ttfb_us=last.ttfb_us if last else None,
        attempts=tuple([_attempt_record(call, attempt, cost) for attempt, cost in zip(call.trail, costs, strict=True)]),
        usage_raw=last.usage_raw if last else b"",
        user=principal.user,
        team=principal.team,
        tags=call.tags,
        saved_nusd=saved_nusd,
        cache=call.cached.state,
    )


def _attempt_record(call: Call, attempt: Attempt, cost_nusd: int | None) -> AttemptRecord:
    return AttemptRecord(
        attempt=attempt.number,
        provider=attempt.deployment.upstream.provider,
        account=attempt.deployment.upstream.account,
        upstream_model=attempt.deployment.model,
        outcome=attempt.outcome,
        status=attempt.status,
        duration_us=attempt.duration_us,
        ttfb_us=attempt.ttfb_us,
        upstream_request_id=attempt.upstream_request_id,
        error=attempt.error or beyond(call, attempt),
        kind=attempt.kind,
        fault=attempt.fault,
        waited_us=attempt.waited_us,
        cost_nusd=cost_nusd,
        pieces=pieces_of(call, attempt.usage) if attempt.may_cost else NO_PIECES,
    )


def beyond(call: Call, attempt: Attempt) -> str:
    """What is wrong with a count of text that is longer than the client allowed; empty if nothing is.

    It is settled all the same: the provider bills what it counts.  What it reasons before it answers is not counted here, since
    not every provider holds that to the limit.
    """
    allowed, usage = call.head.output_max, attempt.usage
    if allowed is None or usage is None:
        return ""
    allowed *= call.head.choices * call.head.weight.answers
    if usage.output_text * 100 <= allowed * BEYOND_PERCENT:
        return ""
    return f"The provider counted {usage.output_text} output tokens, and {allowed} were allowed."


def amounts(record: RequestRecord) -> Amounts:
    """What the rollups will say that it came to."""
    if not record.provider:
        return NOTHING
    return record.cost_nusd or 0, record.tokens.input_tokens + record.tokens.output_tokens, 1
