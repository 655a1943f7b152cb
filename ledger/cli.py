"""Usage and prices as a person or a program reads them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Final

import msgspec

from ledger.journal.agent_reports import AgentRow
from ledger.journal.reconcile import Reconciliation, Row, Side
from ledger.journal.reports import FeeRow, HourRow, month_of
from ledger.journal.verify import Verification
from ledger.prices.compare import Difference, Known
from ledger.prices.pieces import BY_THE_PIECE, is_by_the_piece
from ledger.records import ContextTier, Price, Rates, UsageRow

HEADINGS = (
    *("", "requests", "failed", "input", "cached", "output", "reasoning", "cost", "per Mtok"),
    *("unpriced", "estimated", "held"),
)
# Shown where there is anything to show.
MORE_HEADINGS = {"subscription": "subscription_nusd", "saved": "saved_nusd"}
HOUR_S = 3600
NUSD_PER_USD = 10**9


def usage_table(rows: Sequence[UsageRow], /) -> str:
    """An aligned table with a line for each row, and one for their sum if there are several."""
    if not rows:
        return "no requests yet\n"
    more = {heading: field for heading, field in MORE_HEADINGS.items() if any(getattr(row, field) for row in rows)}
    lines = [(*HEADINGS, *more), *(_cells(row, more.values()) for row in rows)]
    if len(rows) > 1:
        lines.append(_cells(_total(rows), more.values()))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "".join(
        "  ".join((line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)))) + "\n"
        for line in lines
    )


def usage_json(rows: Sequence[UsageRow], /) -> bytes:
    """The rows as a JSON array of objects, with money in integer nano-USD."""
    return msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n"


def usage_csv(rows: Sequence[UsageRow], /) -> str:
    """The rows as CSV with a line of names; money is in nano-USD, and empty where it is unknown."""
    names = UsageRow.__struct_fields__
    return _csv(names, ([getattr(row, name) for name in names] for row in rows))


# Source: https://focus.finops.org/focus-specification/v1-1/ (columns and their allowed values).
FOCUS: dict[str, Callable[[HourRow], object]] = {
    "BilledCost": lambda row: decimal_usd(row.cost_nusd),
    "BillingAccountId": lambda row: row.provider,
    "BillingAccountName": lambda row: row.provider,
    "BillingCurrency": lambda _: "USD",
    "BillingPeriodEnd": lambda row: f"{month_of(row.hour)[1]}T00:00:00Z",
    "BillingPeriodStart": lambda row: f"{month_of(row.hour)[0]}T00:00:00Z",
    "ChargeCategory": lambda _: "Usage",
    "ChargeClass": lambda _: None,
    "ChargeDescription": lambda row: f"{row.requests} requests to {row.provider}/{row.model}",
    "ChargeFrequency": lambda _: "Usage-Based",
    "ChargePeriodEnd": lambda row: _at(row.hour + 1),
    "ChargePeriodStart": lambda row: _at(row.hour),
    "ConsumedQuantity": lambda row: row.input_tokens + row.output_tokens,
    "ConsumedUnit": lambda _: "Tokens",
    "ContractedCost": lambda row: decimal_usd(row.cost_nusd),
    "EffectiveCost": lambda row: decimal_usd(row.cost_nusd + row.subscription_nusd),
    "InvoiceIssuerName": lambda row: row.provider,
    "ListCost": lambda row: decimal_usd(row.cost_nusd),
    "PricingCategory": lambda _: "Standard",
    "PricingQuantity": lambda row: row.input_tokens + row.output_tokens,
    "PricingUnit": lambda _: "Tokens",
    "ProviderName": lambda row: row.provider,
    "PublisherName": lambda row: row.provider,
    "ResourceId": lambda row: f"{row.provider}/{row.model}",
    "ResourceName": lambda row: row.model,
    "ResourceType": lambda _: "Model",
    "ServiceCategory": lambda _: "AI and Machine Learning",
    "ServiceName": lambda row: row.provider,
    "ServiceSubcategory": lambda _: "Generative AI",
    "SkuId": lambda row: f"{row.provider}/{row.model}",
    "SubAccountId": lambda row: row.key_id,
    "SubAccountName": lambda row: row.key_name or row.key_id,
    "Tags": lambda row: msgspec.json.encode(_tags(row)).decode(),
}
# What a subscription's fee has in them; a column that is not here is empty.
FOCUS_FEE: dict[str, Callable[[FeeRow], object]] = {
    "BilledCost": lambda row: decimal_usd(row.fee_nusd),
    "BillingAccountId": lambda row: row.subscription.provider,
    "BillingAccountName": lambda row: row.subscription.provider,
    "BillingCurrency": lambda _: "USD",
    "BillingPeriodEnd": lambda row: _at(row.month[1]),
    "BillingPeriodStart": lambda row: _at(row.month[0]),
    "ChargeCategory": lambda _: "Purchase",
    "ChargeDescription": lambda row: f"subscription {row.subscription.name}",
    "ChargeFrequency": lambda _: "Recurring",
    "ChargePeriodEnd": lambda row: _at(row.month[1]),
    "ChargePeriodStart": lambda row: _at(row.month[0]),
    "ContractedCost": lambda row: decimal_usd(row.fee_nusd),
    # The fee is in the effective cost of what was used under it; where nothing was, it is here.
    "EffectiveCost": lambda row: decimal_usd(0 if row.used else row.fee_nusd),
    "InvoiceIssuerName": lambda row: row.subscription.provider,
    "ListCost": lambda row: decimal_usd(row.fee_nusd),
    "PricingCategory": lambda _: "Standard",
    "PricingQuantity": lambda _: 1,
    "PricingUnit": lambda _: "Months",
    "ProviderName": lambda row: row.subscription.provider,
    "PublisherName": lambda row: row.subscription.provider,
    "ServiceCategory": lambda _: "AI and Machine Learning",
    "ServiceName": lambda row: row.subscription.provider,
    "ServiceSubcategory": lambda _: "Generative AI",
    "SkuId": lambda row: row.subscription.name,
    "Tags": lambda _: "{}",
}


def focus_csv(rows: Sequence[HourRow], fees: Sequence[FeeRow] = (), /) -> str:
    """What was charged, in the columns of the FinOps Open Cost and Usage Specification as far as there is data for them.

    An hour, key and model is a line, and a subscription's month.  What we reckon for use is a list price: billed,
    contracted and list cost are one; the effective cost has its share of the subscriptions' fees beside it.
    """
    lines = [[column(row) for column in FOCUS.values()] for row in rows]
    lines += [[FOCUS_FEE[name](row) if name in FOCUS_FEE else None for name in FOCUS] for row in fees]
    return _csv(FOCUS, lines)


def _tags(row: HourRow) -> dict[str, str]:
    owners = {name: value for name, value in (("tollway_user", row.user), ("tollway_team", row.team)) if value}
    return {"tollway_requests": str(row.requests), **owners}


def reconciliation_text(found: Reconciliation, /) -> str:
    """What ``tollway ledger reconcile`` says: a line for each day and model, then the sum."""
    heads = ("day", "model", "requests", "theirs", "tokens", "theirs", "cost", "theirs", "drift", "%", "")
    lines = [heads, *(_cell_line(row) for row in found.rows if not row.request_id or row.alert)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    text = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    if not found.complete:
        text.append("the report is not whole: it says itself that more pages follow")
    both = [row for row in found.rows if row.drift_nusd is not None]
    text.append(
        f"report {found.report_id}: {len(found.rows)} cells, {sum(row.alert for row in found.rows)} that do not match, drift "
        f"{_signed(sum(row.drift_nusd or 0 for row in both))}, {sum(row.held for row in found.rows)} tries held"
    )
    if found.adjusted:
        text.append(f"booked {found.adjusted} adjustments, {_signed(found.adjusted_nusd)}")
    return "".join(f"{line}\n" for line in text)


def _cell_line(row: Row) -> tuple[str, ...]:
    ours, theirs = row.ours or Side(), row.theirs or Side()
    note = "only ours" if row.theirs is None else "only theirs" if row.ours is None else "DRIFT" if row.alert else ""
    name = f"{row.model} {row.request_id}".strip() or "all models"
    sides = [(_count(side.requests), _count(_tokens(side)), _cost(side.cost_nusd)) for side in (ours, theirs)]
    counted = tuple(cell for pair in zip(*sides, strict=True) for cell in pair)
    drift = "" if row.drift_nusd is None else _signed(row.drift_nusd)
    return (row.day, name, *counted, drift, _percent(row.drift_nusd, theirs.cost_nusd), note)


def _tokens(side: Side) -> int | None:
    return None if side.input_tokens is None or side.output_tokens is None else side.input_tokens + side.output_tokens


def _count(count: int | None) -> str:
    return "-" if count is None else str(count)


def _cost(cost_nusd: int | None) -> str:
    return "-" if cost_nusd is None else usd(cost_nusd)


def _signed(amount_nusd: int) -> str:
    return f"+{usd(amount_nusd)}" if amount_nusd > 0 else usd(amount_nusd)


def _percent(drift_nusd: int | None, whole_nusd: int | None) -> str:
    """The drift as a share of theirs, to a hundredth of a percent."""
    if drift_nusd is None or not whole_nusd:
        return ""
    hundredths = abs(drift_nusd) * 10_000 // abs(whole_nusd)
    return f"{'-' if drift_nusd < 0 else ''}{hundredths // 100}.{hundredths % 100:02d}"


def verification_text(found: Verification, /) -> str:
    """What ``tollway ledger verify`` says."""
    lines = [f"fault: {fault}" for fault in found.faults]
    lines.append(
        f"{found.entries} entries, {usd(found.spent_nusd)} spent, {found.open_attempts} tries open with "
        f"{usd(found.reserved_nusd)} reserved"
    )
    lines.append(f"head {found.head}")
    lines.append("the journal is whole" if not found.faults else f"the journal is NOT whole: {len(found.faults)} faults")
    return "".join(f"{line}\n" for line in lines)


def decimal_usd(cost_nusd: int, /) -> str:
    """``-0.001234567``: dollars with nine digits behind the point."""
    whole, nano = divmod(abs(cost_nusd), NUSD_PER_USD)
    return f"{'-' if cost_nusd < 0 else ''}{whole}.{nano:09d}"


def usd(cost_nusd: int | None, /) -> str:
    """``$12.50``, ``$0.001234567``: every digit there is, and two at least; ``unknown`` for ``None``."""
    if cost_nusd is None:
        return "unknown"
    whole, nano = divmod(abs(cost_nusd), NUSD_PER_USD)
    return f"{'-' if cost_nusd < 0 else ''}${whole:,}.{f'{nano:09d}'.rstrip('0').ljust(2, '0')}"


def prices_text(rows: Sequence[Known], /) -> str:
    """Each row with its source, its time and its prices; ``*`` before the one that counts."""
    return "".join(f"{line}\n" for row in rows for line in _known(row)) or "no price is known\n"


def prices_json(rows: Sequence[Known], /) -> bytes:
    """The rows as a JSON array, with money in integer nano-USD and times in microseconds."""
    return msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n"


def differences_text(found: Sequence[Difference], /) -> str:
    """A line for each price that two lists have differently."""
    lines = [
        f"{it.provider}/{it.model}  {_unit(it.field)}  "
        + "  ".join(f"{source}: {'-' if amount is None else usd(amount)}" for source, amount in it.amounts_nusd.items())
        for it in found
    ]
    return "".join(f"{line}\n" for line in lines) or "no differences\n"


def differences_json(found: Sequence[Difference], /) -> bytes:
    """The differences as a JSON array, with money in integer nano-USD."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"


def _known(row: Known) -> Iterator[str]:
    price = row.price
    yield f"{'*' if row.counts else ' '} {row.provider}/{row.model}  {price.source}{_when(price)}"
    if not is_by_the_piece(price) or price.request_nusd:
        yield f"      {_rates(price)}"
    yield from _pieces(price)
    yield from _tiers("", price.context_tiers)
    for service in price.service_tiers:
        yield f"      {service.name}: {_rates(service.rates)}"
        yield from _tiers(f"{service.name}, ", service.context_tiers)


PIECES: Final = dict(
    zip(BY_THE_PIECE, ("a picture", "a search unit", "a million characters", "an hour heard", "an hour spoken"), strict=True)
)


def _pieces(price: Price) -> Iterator[str]:
    said = [f"{what} {usd(nusd)}" for field, what in PIECES.items() if (nusd := getattr(price, field)) is not None]
    if said:
        yield f"      {', '.join(said)}"
    for it in price.images:
        yield f"      a picture of {' '.join(filter(None, (it.size, it.quality))) or 'any kind'} {usd(it.image_nusd)}"


def _tiers(served: str, tiers: Sequence[ContextTier]) -> Iterator[str]:
    for tier in tiers:
        yield f"      {served}above {tier.above_tokens:,} input tokens: {_rates(tier.rates)}"


def _rates(rates: Rates) -> str:
    said = {field: getattr(rates, field) for field in Rates.__struct_fields__}
    return ", ".join(
        f"{_unit(field)} {usd(amount)}"
        for field, amount in said.items()
        if field not in PIECES and (amount or (amount == 0 and "put_nusd" in field))
    )


def _unit(field: str) -> str:
    """``cache read`` of ``cache_read_nusd_per_mtok``."""
    return field.partition("_nusd")[0].replace("_", " ")


def _when(price: Price) -> str:
    since, until = price.effective_from_us, price.effective_to_us
    text = "" if since is None or f" from {_day(since)}" in price.source else f", from {_day(since)}"
    text += "" if until is None else f", until {_day(until)}"
    if price.daily_from_s is not None and price.daily_to_s is not None:
        text += f", daily {_hour(price.daily_from_s)} to {_hour(price.daily_to_s)} UTC"
    return text


def _day(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us // 1_000_000, UTC):%Y-%m-%d}"


def _hour(second: int) -> str:
    return f"{second // 3600:02d}:{second // 60 % 60:02d}"


def _cells(row: UsageRow, more: Iterable[str]) -> tuple[str, ...]:
    counts = (row.requests, row.failed, row.input_tokens, row.cached_tokens, row.output_tokens, row.reasoning_tokens)
    name = f"{row.label} ({row.group})" if row.label else row.group
    blended = "" if row.nusd_per_mtok is None else usd((row.nusd_per_mtok + 50_000) // 100_000 * 100_000)
    doubts = (str(row.unpriced), str(row.estimated), str(row.held))
    return (name, *map(str, counts), usd(row.cost_nusd), blended, *doubts, *(usd(getattr(row, field)) for field in more))


def _total(rows: Sequence[UsageRow]) -> UsageRow:
    costs_nusd = [row.cost_nusd for row in rows if row.cost_nusd is not None]
    fees_nusd = sum(row.subscription_nusd for row in rows)
    tokens = sum(row.input_tokens + row.output_tokens for row in rows)
    return UsageRow(
        group="total",
        label="",
        requests=sum(row.requests for row in rows),
        failed=sum(row.failed for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        cached_tokens=sum(row.cached_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        reasoning_tokens=sum(row.reasoning_tokens for row in rows),
        cost_nusd=sum(costs_nusd) if costs_nusd else None,
        unpriced=sum(row.unpriced for row in rows),
        estimated=sum(row.estimated for row in rows),
        held=sum(row.held for row in rows),
        cached_requests=sum(row.cached_requests for row in rows),
        saved_nusd=sum(row.saved_nusd for row in rows),
        subscription_nusd=fees_nusd,
        nusd_per_mtok=(sum(costs_nusd) + fees_nusd) * 10**6 // tokens if tokens and (costs_nusd or fees_nusd) else None,
    )


def _at(hour: int) -> str:
    return datetime.fromtimestamp(hour * HOUR_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _csv(names: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[_harmless(cell) for cell in row] for row in rows])
    return text.getvalue()


def _harmless(cell: object) -> object:
    """A client chooses the name of a model; a spreadsheet must not take it for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "@", "\t", "\r")) else cell


AGENT_HEADINGS = (
    *("period", "source", "", "calls", "input", "cached", "output", "reasoning", "cost", "unpriced", "reported"),
    *("subscription", "per Mtok"),
)


def agent_table(rows: Sequence[AgentRow], /) -> str:
    """An aligned table with a line for each row."""
    if not rows:
        return "nothing used\n"
    lines = [AGENT_HEADINGS, *map(_agent_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(AGENT_HEADINGS))]
    return "".join(
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        + "\n"
        for line in lines
    )


def agent_markdown(rows: Sequence[AgentRow], /) -> str:
    """A Markdown table with a line for each row."""
    rule = ("---",) * 3 + ("---:",) * (len(AGENT_HEADINGS) - 3)
    lines = [AGENT_HEADINGS, rule, *([_plain(cell) for cell in _agent_cells(row)] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _plain(cell: str) -> str:
    """A log chooses the names in it; none of them ends a cell or a line."""
    return " ".join(cell.replace("\\", "\\\\").replace("|", "\\|").split())


def _agent_cells(row: AgentRow) -> tuple[str, ...]:
    counts = (row.calls, row.input_tokens, row.cached_tokens, row.output_tokens, row.reasoning_tokens)
    group = "".join(letter if letter.isprintable() else "?" for letter in row.group)
    blended = "" if row.nusd_per_mtok is None else usd((row.nusd_per_mtok + 50_000) // 100_000 * 100_000)
    cost = "" if not row.calls else usd(row.cost_nusd)
    reported = "" if row.reported_nusd is None else usd(row.reported_nusd)
    fees = usd(row.subscription_nusd) if row.subscription_nusd else ""
    return (row.period, row.source, group, *map(str, counts), cost, str(row.unpriced), reported, fees, blended)
