"""A month of agents' usage beside the gateway's."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from ledger.adapters.sqlite import SqliteLedger
from ledger.journal.agent_reports import AgentRow, month_report
from ledger.prices.book import Book, Listed
from ledger.prices.days import day_us
from ledger.records import AgentBatch, AgentUsage, Price, Subscription, Tokens
from tests.ledger.samples import record

TENTH = 1_793_750_400_000_000 + 6 * 86_400_000_000
"""2026-11-10, noon or so."""
EVENT = AgentUsage(
    agent="claude-code",
    event="e1",
    at_us=TENTH,
    tokens=Tokens(input_uncached=700, cache_read=100, output_text=150, reasoning=50),
    project="engine",
    provider="anthropic",
    model="claude-x",
)
FLAT = Subscription(name="max", provider="anthropic", month_nusd=3_000)


class Rising:
    """A list in which a model costs twice as much from the 12th on."""

    name = "test"
    dated = True
    as_of_us = None

    def rows(self, provider: str, model: str, /) -> list[Price]:
        change = day_us("2026-11-12")
        if (provider, model) != ("anthropic", "claude-x"):
            return []
        return [
            Price(source="a", input_nusd_per_mtok=10**6, output_nusd_per_mtok=10**6, effective_to_us=change),
            Price(source="b", input_nusd_per_mtok=2 * 10**6, output_nusd_per_mtok=2 * 10**6, effective_from_us=change),
        ]

    def names(self, provider: str, /) -> list[str]:
        del provider
        return []


PRICES = Book([Listed(Rising())], clock_us=lambda: 0)
DAY_US = 86_400_000_000


async def report(path: Path, *events: AgentUsage, **asked: object) -> list[AgentRow]:
    with SqliteLedger(path) as ledger:
        await ledger.store_agents(AgentBatch(events=events))
        question = {"year": 2026, "month": 11, "daily": False, "by": "model", "prices": PRICES, **asked}
        return month_report(path, **question)  # type: ignore[arg-type]  # what a test asks for


async def test_each_event_is_priced_as_of_its_time(tmp_path: Path) -> None:
    later = replace(EVENT, event="e2", at_us=TENTH + 3 * DAY_US)

    (row,) = await report(tmp_path / "ledger.sqlite", EVENT, later)

    assert (row.group, row.calls, row.cost_nusd, row.unpriced) == ("anthropic/claude-x", 2, 1_000 + 2_000, 0)
    assert (row.input_tokens, row.cached_tokens, row.output_tokens, row.reasoning_tokens) == (1600, 200, 400, 100)


async def test_an_unknown_price_is_unknown_and_counted_and_a_tools_own_cost_does_not_stand_for_it(tmp_path: Path) -> None:
    event = replace(EVENT, model="else", reported_nusd=77)

    (row,) = await report(tmp_path / "ledger.sqlite", event)

    assert (row.cost_nusd, row.unpriced, row.reported_nusd, row.nusd_per_mtok) == (None, 1, 77, None)


async def test_a_month_ends_where_the_next_begins(tmp_path: Path) -> None:
    first, after = day_us("2026-11-01"), day_us("2026-12-01")
    assert first is not None and after is not None
    edges = [first - 1, first, after - 1, after]

    (row,) = await report(tmp_path / "ledger.sqlite", *(replace(EVENT, event=str(it), at_us=it) for it in edges))

    assert row.calls == 2


async def test_a_days_rows_share_one_months_fee_with_the_gateway_by_tokens(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    other = replace(EVENT, event="e2", at_us=TENTH + DAY_US, project="pump")
    mine = record(at_us=TENTH, provider="anthropic", model="claude-x", upstream_model="claude-x", tokens=EVENT.tokens)
    with SqliteLedger(path) as ledger:
        await ledger.write([mine])

    rows = await report(path, EVENT, other, daily=True, by="project", subscriptions=[FLAT])

    assert [(it.source, it.period, it.group, it.subscription_nusd) for it in rows] == [
        ("agents", "2026-11-10", "engine", 1_000),
        ("agents", "2026-11-11", "pump", 1_000),
        ("gateway", "2026-11-10", "tollway", 1_000),
    ]
    assert rows[0].nusd_per_mtok == (1_000 + 1_000) * 10**6 // 1_000


async def test_a_fee_that_nobody_used_has_a_row_of_its_own(tmp_path: Path) -> None:
    rows = await report(tmp_path / "ledger.sqlite", replace(EVENT, provider="openai"), subscriptions=[FLAT])

    assert [(it.group, it.subscription_nusd) for it in rows] == [("openai/claude-x", 0), ("(unused subscriptions)", 3_000)]


@pytest.mark.parametrize(
    ("by", "group"), [("agent", "claude-code"), ("project", "engine"), ("day", "2026-11-10"), ("model", "anthropic/claude-x")]
)
async def test_usage_is_summed_by_what_is_asked(tmp_path: Path, by: str, group: str) -> None:
    (row,) = await report(tmp_path / "ledger.sqlite", EVENT, by=by)

    assert (row.period, row.group) == ("2026-11", group)


def test_where_there_is_no_ledger_there_is_no_usage(tmp_path: Path) -> None:
    rows = month_report(tmp_path / "none", year=2026, month=11, daily=False, by="day", prices=PRICES)

    assert rows == []
