"""Usage rows as a person or a program reads them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ledger.journal.reports import UsageRow

HEADINGS = ("", "requests", "failed", "input", "cached", "output", "reasoning", "cost", "unpriced", "estimated")
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


def usd(cost_nusd: int | None, /) -> str:
    """``$12.50``, ``$0.001234567``: every digit there is, and two at least; ``unknown`` for ``None``."""
    if cost_nusd is None:
        return "unknown"
    whole, nano = divmod(cost_nusd, NUSD_PER_USD)
    return f"${whole:,}.{f'{nano:09d}'.rstrip('0').ljust(2, '0')}"


def _cells(row: UsageRow) -> tuple[str, ...]:
    counts = (row.requests, row.failed, row.input_tokens, row.cached_tokens, row.output_tokens, row.reasoning_tokens)
    name = f"{row.label} ({row.group})" if row.label else row.group
    return (name, *map(str, counts), usd(row.cost_nusd), str(row.unpriced), str(row.estimated))


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
    )
