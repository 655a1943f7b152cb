"""A month of coding agents' usage beside the gateway's own, priced by the book and with its share of flat fees."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Final, Literal

import msgspec

from ledger.errors import LedgerUnavailable
from ledger.journal.agents import TOKENS
from ledger.journal.connection import connect_reader
from ledger.journal.subscriptions import DAY_US, EPOCH_DAY, HOUR_US, Month, Shares, covers, fee_nusd
from ledger.ports import PricingPort
from ledger.prices.cost import cost_nusd
from ledger.records import Subscription, Tokens

AgentsBy = Literal["model", "agent", "project", "day"]
Source = Literal["agents", "gateway"]
MTOK: Final = 1_000_000
UNUSED: Final = "(unused subscriptions)"
GATEWAY: Final = "tollway"
"""The gateway's own usage, where it is summed by agent or project: it has neither."""

_EVENTS = (
    f"SELECT at_us, agent, project, provider, model, service_tier, reported_nusd, {', '.join(TOKENS)} "  # noqa: S608  # our names
    "FROM agent_usage_now WHERE at_us >= ? AND at_us < ?"
)
_REQUESTS = (
    "SELECT hour, provider, model, sum(requests), sum(input_tokens), sum(cached_tokens), sum(output_tokens), "
    "sum(reasoning_tokens), sum(cost_nusd + adjusted_nusd), sum(unpriced) "
    "FROM rollups WHERE hour >= ? AND hour < ? GROUP BY hour, provider, model"
)


class AgentRow(msgspec.Struct, frozen=True, kw_only=True):
    """One period (UTC: ``2026-11`` or ``2026-11-22``), source and group of a report.

    source: ``agents``, by their logs; ``gateway``, by the journal.  A call that went through the gateway is in both.
    cached_tokens are part of input_tokens, reasoning_tokens of output_tokens.  cost_nusd: the sum of the known costs;
    ``None`` if none is known.  unpriced: calls whose cost is unknown.  reported_nusd: what the agents' tools reckoned
    themselves; ``None``: nothing.  subscription_nusd: its share of the flat fees.  nusd_per_mtok: cost and share for a
    million tokens.
    """

    period: str
    source: Source
    group: str
    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_nusd: int | None
    unpriced: int
    reported_nusd: int | None = None
    subscription_nusd: int = 0
    nusd_per_mtok: int | None = None


class _Sum:
    __slots__ = ("cached", "calls", "cost_nusd", "given", "output", "reasoning", "reported_nusd", "unpriced")

    def __init__(self) -> None:
        self.calls = self.given = self.cached = self.output = self.reasoning = self.cost_nusd = self.unpriced = 0
        self.reported_nusd: int | None = None


_Group = tuple[str, Source, str]
_Used = dict[tuple[_Group, str, str], int]


def month_report(
    path: Path,
    *,
    year: int,
    month: int,
    daily: bool,
    by: AgentsBy,
    prices: PricingPort,
    subscriptions: Sequence[Subscription] = (),
) -> list[AgentRow]:
    """The usage of one month in UTC, by group; ``daily``: of each of its days.

    A subscription's fee of the month is shared by tokens among all that was used under it, whether the agents' logs or the
    gateway tell of it.  One that nobody used leaves a row of its own, so that a month's rows always have its fees.
    About 10 µs an event.  Raises: LedgerUnavailable; ValueError, when there is no such month.
    """
    first = date(year, month, 1)
    after = first.replace(year=year + month // 12, month=month % 12 + 1)
    hours = ((first.toordinal() - EPOCH_DAY) * 24, (after.toordinal() - EPOCH_DAY) * 24)
    groups: dict[_Group, _Sum] = {}
    used: _Used = {}
    if path.exists():
        try:
            with closing(connect_reader(path)) as connection:
                connection.execute("BEGIN")  # one moment for all that is read
                if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'agent_usage_now'").fetchone():
                    _agents(connection, hours, daily, by, prices, groups, used)
                _gateway(connection, hours, daily, by, groups, used)
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"the ledger's file cannot be read: {error}") from error
    shared = _shares(hours, subscriptions, used)
    rows = [_row(name, found, shared.nusd.get(name, 0)) for name, found in groups.items()]
    rows.sort(key=lambda it: (it.source, it.period, *((0, it.group) if by == "day" else (-(it.cost_nusd or 0), it.group))))
    if unused := sum(fee for _, _, fee in shared.unused):
        rows.append(_row((f"{first:%Y-%m}", "agents", UNUSED), _Sum(), unused))
    return rows


def _agents(
    connection: sqlite3.Connection,
    hours: Month,
    daily: bool,
    by: AgentsBy,
    prices: PricingPort,
    groups: dict[_Group, _Sum],
    used: _Used,
) -> None:
    for at_us, agent, project, provider, model, tier, reported_nusd, *counts in connection.execute(
        _EVENTS, (hours[0] * HOUR_US, hours[1] * HOUR_US)
    ):
        day = _day(at_us // DAY_US)
        whole = f"{provider}/{model}" if provider else model
        name = {"model": whole, "agent": agent, "project": project, "day": day}[by] or "(unknown)"
        key: _Group = (day if daily else day[:7], "agents", name)
        found = groups.get(key) or groups.setdefault(key, _Sum())
        tokens = Tokens(**dict(zip(TOKENS, counts, strict=True)))
        given, output = tokens.input_tokens, tokens.output_tokens
        found.calls += 1
        found.given += given
        found.cached += tokens.cache_read
        found.output += output
        found.reasoning += tokens.reasoning
        price = prices.price(provider, model, at_us) if provider and model else None
        if price is None:
            found.unpriced += 1
        else:
            found.cost_nusd += cost_nusd(price, tokens, service_tier=tier)
        if reported_nusd is not None:
            found.reported_nusd = (found.reported_nusd or 0) + reported_nusd
        used[key, provider, model] = used.get((key, provider, model), 0) + given + output


def _gateway(
    connection: sqlite3.Connection, hours: Month, daily: bool, by: AgentsBy, groups: dict[_Group, _Sum], used: _Used
) -> None:
    for hour, provider, model, calls, given, cached, output, reasoning, nusd, unpriced in connection.execute(_REQUESTS, hours):
        day = _day(hour // 24)
        whole = f"{provider}/{model}" if provider else model
        key: _Group = (day if daily else day[:7], "gateway", {"model": whole, "day": day}.get(by, GATEWAY))
        found = groups.get(key) or groups.setdefault(key, _Sum())
        found.calls += calls
        found.given += given
        found.cached += cached
        found.output += output
        found.reasoning += reasoning
        found.cost_nusd += nusd
        found.unpriced += unpriced
        used[key, provider, model] = used.get((key, provider, model), 0) + given + output


def _shares(month: Month, subscriptions: Sequence[Subscription], used: _Used) -> Shares:
    shared = Shares()
    for subscription in subscriptions:
        fee = fee_nusd(subscription, month)
        under = [(key, tokens) for (key, provider, model), tokens in used.items() if covers(subscription, provider, model)]
        total = sum(tokens for _, tokens in under)
        if fee and total:
            shared.add(fee, under, total)
        elif fee:
            shared.unused.append((subscription, month, fee))
    return shared


def _row(key: _Group, found: _Sum, share_nusd: int) -> AgentRow:
    tokens = found.given + found.output
    known = found.calls > found.unpriced
    cost = found.cost_nusd if known else None
    return AgentRow(
        period=key[0],
        source=key[1],
        group=key[2],
        calls=found.calls,
        input_tokens=found.given,
        cached_tokens=found.cached,
        output_tokens=found.output,
        reasoning_tokens=found.reasoning,
        cost_nusd=cost,
        unpriced=found.unpriced,
        reported_nusd=found.reported_nusd,
        subscription_nusd=share_nusd,
        nusd_per_mtok=(found.cost_nusd + share_nusd) * MTOK // tokens if tokens and (known or share_nusd) else None,
    )


def _day(day: int) -> str:
    return date.fromordinal(EPOCH_DAY + day).isoformat()
