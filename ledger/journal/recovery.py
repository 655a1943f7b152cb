"""What a crash left open: reservations whose try never ended, requests that never got their record."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from ledger.journal.batch import Batch, write
from ledger.journal.entries import TOKENS, read_tags
from ledger.ports import Entry, PricingPort
from ledger.prices.cost import cost_nusd
from ledger.prices.pieces import is_by_the_piece
from ledger.records import AttemptRecord, RequestRecord, Settlement, Tokens

# Entries between two notes of how far the journal is settled.
MARK_INTERVAL: Final = 4096
# Requests settled in one round.  It bounds memory; the transaction is one.
ROUND: Final = 1000

_SETTLED_THROUGH = "SELECT coalesce(max(value), 0) FROM marks WHERE name = 'settled_through'"
_LAST_ID = "SELECT coalesce(max(id), 0) FROM entries"
_MARK = (
    "INSERT INTO marks (name, value) VALUES ('settled_through', ?) "
    "ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)"
)
_OPEN = """
SELECT r.id, r.request_id, r.attempt, r.provider, r.upstream_model, r.input_tokens_estimate, r.max_cost_nusd,
       p.output_tokens
FROM entries AS r LEFT JOIN progress AS p ON p.request_id = r.request_id AND p.attempt = r.attempt
WHERE r.id > ? AND r.kind = 'RESERVE' AND NOT EXISTS (
    SELECT 1 FROM entries AS t
    WHERE t.request_id = r.request_id AND t.attempt = r.attempt AND t.kind IN ('SETTLE', 'VOID'))
ORDER BY r.id LIMIT ?
"""
_UNRECORDED = """
SELECT r.id, r.request_id FROM entries AS r
WHERE r.id > ? AND r.kind = 'RESERVE' AND NOT EXISTS (SELECT 1 FROM requests AS q WHERE q.request_id = r.request_id)
ORDER BY r.id LIMIT ?
"""
_STORY = f"""
SELECT r.attempt, r.at_us, r.key_id, r.endpoint, r.model, r.provider, r.account, r.upstream_model, r.stream,
       r.user, r.team, r.tags,
       t.kind, t.at_us, t.quality, {", ".join(f"coalesce(t.{name}, 0)" for name in TOKENS)},
       t.cost_nusd, t.price_source, t.reason
FROM entries AS r JOIN entries AS t
     ON t.request_id = r.request_id AND t.attempt = r.attempt AND t.kind IN ('SETTLE', 'VOID')
WHERE r.request_id = ? AND r.kind = 'RESERVE'
ORDER BY r.attempt
"""  # noqa: S608  # only names from entries.py


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What recovery did.

    attempts_settled: reservations that had no end and were settled by estimate; attempts_held: those of them of which
    nobody knows whether the provider worked at all; attempts_unpriced: those with no known price.
    requests_interrupted: request records written, with outcome ``interrupted``.
    """

    attempts_settled: int = 0
    attempts_held: int = 0
    attempts_unpriced: int = 0
    requests_interrupted: int = 0


class Watermark:
    """Keeps a note in the file of how far the journal is settled, so that recovery need not read all of it.

    It knows the reservations that have no end and the requests that have no record, each with an id that its first row
    surely comes after.  Those of an earlier run are not among them, so nothing is noted before ``enabled`` says that
    they were recovered.
    """

    def __init__(self) -> None:
        self.enabled = False
        self._open: dict[object, int] = {}  # by (request_id, attempt), and by request_id; oldest first
        self._last_id = 0
        self._unmarked_count = 0

    def observe(self, batch: Batch) -> None:
        """A batch was committed."""
        for row in batch.reserves:  # a replayed one is as old as it was
            self._open.setdefault(row[0], self._last_id)
            self._open.setdefault((row[0], row[1]), self._last_id)
        for row in batch.settles:
            self._open.pop((row[0], row[1]), None)
        for row in batch.voids:
            self._open.pop((row[0], row[1]), None)
        for row in batch.requests:
            self._open.pop(row[0], None)
        self._unmarked_count += len(batch)

    @property
    def due(self) -> bool:
        """Whether enough was written since the last note to make another."""
        return self.enabled and self._unmarked_count >= MARK_INTERVAL

    def mark(self, connection: sqlite3.Connection) -> None:
        """Note it, inside the caller's transaction."""
        if not self.enabled or not self._unmarked_count:
            return
        (last_id,) = connection.execute(_LAST_ID).fetchone()
        connection.execute(_MARK, (next(iter(self._open.values()), last_id),))
        noted = connection.execute("SELECT request_id, attempt FROM progress").fetchall()
        for attempt in noted:
            if attempt not in self._open:
                connection.execute("DELETE FROM progress WHERE request_id = ? AND attempt = ?", attempt)
        self._last_id = last_id
        self._unmarked_count = 0


def recover(connection: sqlite3.Connection, *, at_us: int, prices: PricingPort | None) -> Recovery:
    """Settle what a crash left open, inside the caller's transaction.  Doing it twice is doing it once.

    A reservation with no end is charged its estimated input and the output that its stream was last known to have.  If
    nothing was heard of it, it is held: charged its input, and no more than was reserved, until reconciliation knows
    better.  What is charged by the piece is charged as it was reserved.

    A request with no record gets one, from its entries, with outcome ``interrupted`` and status 0.
    """
    (start,) = connection.execute(_SETTLED_THROUGH).fetchone()
    settled, held, unpriced = _settle(connection, start, at_us, prices)
    interrupted = _record(connection, start)
    connection.execute("DELETE FROM progress")
    (last_id,) = connection.execute(_LAST_ID).fetchone()
    connection.execute(_MARK, (last_id,))
    return Recovery(attempts_settled=settled, attempts_held=held, attempts_unpriced=unpriced, requests_interrupted=interrupted)


def _settle(connection: sqlite3.Connection, after: int, at_us: int, prices: PricingPort | None) -> tuple[int, int, int]:
    settled, held, unpriced = 0, 0, 0
    while rows := connection.execute(_OPEN, (after, ROUND)).fetchall():
        settlements: list[Entry] = []
        for _, request_id, attempt, provider, upstream_model, input_tokens_estimate, max_cost_nusd, output_tokens in rows:
            tokens = Tokens(input_uncached=max(input_tokens_estimate, 0), output_text=output_tokens or 0)
            price = prices.price(provider, upstream_model, at_us) if prices is not None else None
            # Of what is charged by the piece nobody but the reservation tells how much was asked for.
            reserved = price is not None and is_by_the_piece(price)
            cost = None if price is None else max_cost_nusd if reserved else cost_nusd(price, tokens)
            unheard = output_tokens is None
            if unheard and cost is not None and max_cost_nusd is not None:
                cost = min(cost, max_cost_nusd)
            settlement = Settlement(
                request_id=request_id,
                attempt=attempt,
                at_us=at_us,
                quality="held" if unheard else "estimated",
                tokens=tokens,
                cost_nusd=cost,
                price_source="" if price is None or cost is None else price.source,
            )
            settlements.append(settlement)
            unpriced += cost is None
            held += unheard
        write(connection, settlements)
        settled += len(rows)
        after = rows[-1][0]
    return settled, held, unpriced


def _record(connection: sqlite3.Connection, after: int) -> int:
    interrupted = 0
    while rows := connection.execute(_UNRECORDED, (after, ROUND)).fetchall():
        request_ids = dict.fromkeys(request_id for _, request_id in rows)
        records = [_interrupted(connection, request_id) for request_id in request_ids]
        write(connection, records)
        interrupted += len(records)
        after = rows[-1][0]
    return interrupted


def _interrupted(connection: sqlite3.Connection, request_id: str) -> RequestRecord:
    """The record of a request that has none, from its entries; every reservation of it has its terminal by now."""
    story = connection.execute(_STORY, (request_id,)).fetchall()
    attempts = []
    tokens = [0] * len(TOKENS)
    costs_nusd: list[int | None] = []
    price_source = ""
    held = False
    for row in story:
        attempt, at_us, _, _, _, provider, account, upstream_model, _, _, _, _, kind, ended_us, quality, *counts = row
        *counts, cost, source, reason = counts
        voided = kind == "VOID"
        attempts.append(
            AttemptRecord(
                attempt=attempt,
                provider=provider,
                account=account,
                upstream_model=upstream_model,
                outcome=reason if voided else "ok" if quality == "exact" else "interrupted",
                duration_us=max(ended_us - at_us, 0) if voided else 0,
            )
        )
        held = held or quality == "held"
        if not voided:
            tokens = [total + count for total, count in zip(tokens, counts, strict=True)]
            costs_nusd.append(cost)
            price_source = source
    _, at_us, key_id, endpoint, model, _, _, _, _, user, team, tags, *_ = story[0]
    _, last_us, _, _, _, provider, _, upstream_model, stream, *_ = story[-1]
    return RequestRecord(
        request_id=request_id,
        at_us=at_us,
        key_id=key_id,
        endpoint=endpoint,
        model=model,
        provider=provider,
        upstream_model=upstream_model,
        answered_model="",
        stream=bool(stream),
        status=0,
        outcome="interrupted",
        quality="held" if held else "estimated",
        tokens=Tokens(**dict(zip(TOKENS, tokens, strict=True))),
        cost_nusd=None if None in costs_nusd else sum(cost for cost in costs_nusd if cost is not None),
        price_source=price_source,
        duration_us=max(last_us - at_us, 0),
        ttfb_us=None,
        attempts=tuple(attempts),
        user=user or "",
        team=team or "",
        tags=read_tags(tags),
    )
