"""Usage rows as a person or a program reads them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from io import StringIO

import msgspec

from ledger.journal.reports import HourRow, month_of
from ledger.journal.verify import Verification
from ledger.records import UsageRow

HEADINGS = ("", "requests", "failed", "input", "cached", "output", "reasoning", "cost", "unpriced", "estimated", "held")
HOUR_S = 3600
NUSD_PER_USD = 10**9


def usage_table(rows: Sequence[UsageRow], /) -> str:
    """An aligned table with a line for each row, and one for their sum if there are several."""
    if not rows:
        return "no requests yet\n"
    lines = [HEADINGS, *(_cells(row) for row in rows)]
    if len(rows) > 1:
        lines.append(_cells(_total(rows)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
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
    "EffectiveCost": lambda row: decimal_usd(row.cost_nusd),
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
    "Tags": lambda row: msgspec.json.encode({"tollway_requests": str(row.requests)}).decode(),
}


def focus_csv(rows: Sequence[HourRow], /) -> str:
    """What was charged, in the columns of the FinOps Open Cost and Usage Specification as far as there is data for them.

    An hour, key and model is a line.  What we reckon is a list price: billed, contracted, effective and list cost are one.
    """
    return _csv(FOCUS, ([column(row) for column in FOCUS.values()] for row in rows))


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


def _cells(row: UsageRow) -> tuple[str, ...]:
    counts = (row.requests, row.failed, row.input_tokens, row.cached_tokens, row.output_tokens, row.reasoning_tokens)
    name = f"{row.label} ({row.group})" if row.label else row.group
    return (name, *map(str, counts), usd(row.cost_nusd), str(row.unpriced), str(row.estimated), str(row.held))


def _total(rows: Sequence[UsageRow]) -> UsageRow:
    costs_nusd = [row.cost_nusd for row in rows if row.cost_nusd is not None]
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
