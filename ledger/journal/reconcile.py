"""Ours against theirs: what a provider's report says was used, beside what the journal says, and the entries that mend it.

A cell is a day (UTC, of the reservation), a model and, where the report tells single requests, a request.  What both sides
have of a cell is compared; what one side alone has is listed.  A cell whose cost the report tells is mended by adjustments
that add up to the difference: those of its tries that are in doubt carry it before those that are exact.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from hashlib import sha256
from typing import Any, Final

import msgspec

from ledger.journal.entries import TOKENS
from ledger.journal.subscriptions import DAY_US, EPOCH_DAY
from ledger.ports import PricingPort
from ledger.prices.cost import cost_nusd
from ledger.prices.pieces import is_by_the_piece
from ledger.records import Adjustment, Report, ReportedUse, Tokens

PPM: Final = 1_000_000
REASON: Final = "reconciled"

Cell = tuple[int, str, str]
"""The day since the epoch, the model, the request's id or nothing."""


class Side(msgspec.Struct, kw_only=True):
    """What one side has of a cell.  ``None``: it does not say."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nusd: int | None = None

    def add(self, *, requests: int | None, tokens: Tokens | None, cost_nusd: int | None) -> None:
        """More of the same cell."""
        if requests is not None:
            self.requests = (self.requests or 0) + requests
        if tokens is not None:
            self.input_tokens = (self.input_tokens or 0) + tokens.input_tokens
            self.output_tokens = (self.output_tokens or 0) + tokens.output_tokens
        if cost_nusd is not None:
            self.cost_nusd = (self.cost_nusd or 0) + cost_nusd


class Row(msgspec.Struct, kw_only=True):
    """One cell.

    ours, theirs: ``None`` where a side has nothing of it.  priced: the report has no cost of it, so theirs is their tokens at
    our prices.  held: tries that are still held, of which nobody knew whether they cost anything.
    drift_nusd, drift_tokens: theirs less ours; ``None``: cannot be compared.  alert: it is larger than was tolerated.
    """

    day: str
    model: str
    request_id: str
    ours: Side | None
    theirs: Side | None
    priced: bool = False
    held: int = 0
    drift_nusd: int | None = None
    drift_tokens: int | None = None
    alert: bool = False


class Reconciliation(msgspec.Struct, kw_only=True):
    """What was found.  alert: a cell drifts, or a side has something that the other has not.

    complete: the report is whole.  adjusted, adjusted_nusd: the entries that were booked, and their sum.
    """

    report_id: str
    provider: str
    rows: list[Row]
    alert: bool
    complete: bool
    adjusted: int = 0
    adjusted_nusd: int = 0


class _Try(msgspec.Struct):
    request_id: str
    attempt: int
    at_us: int
    model: str
    asked: str
    quality: str
    tokens: Tokens
    cost_nusd: int | None
    adjusted_nusd: int
    adjustments: int
    upstream_ids: tuple[str, ...]

    @property
    def net_nusd(self) -> int:
        """What it costs by now."""
        return (self.cost_nusd or 0) + self.adjusted_nusd

    @property
    def held(self) -> bool:
        """Whether nobody has said yet whether it cost anything."""
        return self.quality == "held" and not self.adjustments


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be compared.

    provider: as our configuration calls it.  account: of this account of ours alone; empty: of all.
    owner: of the report, what it says of this project, workspace or key alone; empty: everything.
    tolerance_ppm: how far apart the two may be without an alert; a thousandth is 1,000.
    """

    provider: str
    report: Report
    account: str = ""
    owner: str = ""
    tolerance_ppm: int = 1000


def compare(connection: sqlite3.Connection, question: Question, *, prices: PricingPort | None) -> Reconciliation:
    """Both sides, cell by cell."""
    cells, theirs, priced = _theirs(question, prices)
    ours: dict[Cell, Side] = {}
    held: dict[Cell, int] = {}
    for cell, it in _ours(connection, question, cells):
        side = ours.setdefault(cell, Side())
        side.add(requests=1, tokens=it.tokens, cost_nusd=it.net_nusd)
        held[cell] = held.get(cell, 0) + it.held
    rows = [
        _row(cell, ours.get(cell), theirs.get(cell), cell in priced, held.get(cell, 0), question.tolerance_ppm)
        for cell in sorted({*ours, *theirs})
    ]
    return Reconciliation(
        report_id=question.report.id,
        provider=question.provider,
        rows=rows,
        alert=any(row.alert for row in rows),
        complete=question.report.complete,
    )


def adjustments(
    connection: sqlite3.Connection, question: Question, *, at_us: int, prices: PricingPort | None
) -> list[Adjustment]:
    """The entries that make our cost of every cell that both sides have the report's, and end what was held in it.

    Deterministic.  Their evidence is the report and the cell, so that booking them again changes nothing; a try that has an
    adjustment of that evidence already gets no other.
    """
    rows = compare(connection, question, prices=prices).rows
    # Of a cell that is as it should be, no try is even looked at.
    drifts = {_cell(row): row.drift_nusd for row in rows if row.drift_nusd is not None and (row.drift_nusd or row.held)}
    tries: dict[Cell, list[_Try]] = {cell: [] for cell in drifts}
    for cell, it in _ours(connection, question, _theirs(question, prices)[0]):
        if cell in tries:
            tries[cell].append(it)
    found = []
    for cell, of_cell in sorted(tries.items()):
        of_cell.sort(key=lambda it: (it.request_id, it.attempt))
        evidence = _evidence(question.report, cell)
        booked = _booked(connection, evidence, of_cell)
        free = [it for it in of_cell if (it.request_id, it.attempt) not in booked]
        for it, nusd in _spread(drifts[cell] or 0, free):
            if nusd or it.held:
                found.append(
                    Adjustment(
                        request_id=it.request_id,
                        attempt=it.attempt,
                        at_us=at_us,
                        cost_nusd=nusd,
                        reason=REASON,
                        evidence=evidence,
                    )
                )
    return found


def merged(reports: Sequence[Report], /) -> Report:
    """Several reports of the same time as one: the pages of one, or usage and costs."""
    if len(reports) == 1:
        return reports[0]
    return Report(
        id=sha256(" ".join(sorted(it.id for it in reports)).encode()).hexdigest()[:16],
        uses=tuple(use for it in reports for use in it.uses),
        windows=tuple(window for it in reports for window in it.windows),
        complete=all(it.complete for it in reports),
    )


def _spread(drift_nusd: int, tries: Sequence[_Try]) -> Iterator[tuple[_Try, int]]:
    """Who carries how much of it: the held ones first, then the estimated, then the exact; nobody ends below 0.

    Among those of one kind by what they cost, or by their tokens where that is nothing.
    """
    left = drift_nusd
    for quality in ("held", "estimated", "exact"):
        group = [it for it in tries if it.quality == quality]
        if not group:
            continue
        if left < 0:
            room = [max(it.net_nusd, 0) for it in group]
            part = max(left, -sum(room))
            weights = room
        else:
            part = left
            weights = [max(it.net_nusd, 0) for it in group]
            if not any(weights):
                weights = [it.tokens.input_tokens + it.tokens.output_tokens for it in group]
            if not any(weights):
                weights = [1] * len(group)
        yield from zip(group, _shared(part, weights), strict=True)
        left -= part


def _shared(amount: int, weights: Sequence[int]) -> Iterator[int]:
    """``amount`` in whole parts by weight that add up to it."""
    total = sum(weights)
    sign = -1 if amount < 0 else 1
    taken, weight_so_far = 0, 0
    for weight in weights:
        weight_so_far += weight
        through = abs(amount) * weight_so_far // total if total else 0
        yield sign * (through - taken)
        taken = through


def _theirs(question: Question, prices: PricingPort | None) -> tuple[_Cells, dict[Cell, Side], set[Cell]]:
    """Where what belongs, their side of each cell, and the cells whose cost we reckoned ourselves."""
    uses = [it for it in question.report.uses if not question.owner or question.owner in it.owners]
    cells = _Cells(question.report, uses)
    sides: dict[Cell, Side] = {}
    told: set[Cell] = set()
    reckoned: dict[Cell, int | None] = {}
    for use in uses:
        cell = cells.of_use(use)
        sides.setdefault(cell, Side()).add(requests=use.requests, tokens=use.tokens, cost_nusd=use.cost_nusd)
        if use.cost_nusd is not None:
            told.add(cell)
        elif use.tokens is not None:
            nusd = _reckon(question.provider, use, use.tokens, prices)
            before = reckoned.get(cell, 0)
            reckoned[cell] = None if nusd is None or before is None else before + nusd
    priced = set()
    for cell, nusd in reckoned.items():
        if cell not in told and nusd is not None:
            sides[cell].cost_nusd = nusd
            priced.add(cell)
    return cells, sides, priced


def _reckon(provider: str, use: ReportedUse, tokens: Tokens, prices: PricingPort | None) -> int | None:
    price = None if prices is None or not use.model else prices.price(provider, use.model, use.start_us)
    if price is None or price.context_tiers or is_by_the_piece(price):
        return None  # a sum over requests does not tell how large each of them was, nor tokens how many pieces
    return cost_nusd(price, tokens) + price.request_nusd * max((use.requests or 1) - 1, 0)


_SNAPSHOT: Final = re.compile(r"(-\d{4}-\d\d-\d\d|-\d{8}|-latest|@[\w.-]*)$")


def alias_of(model: str, /) -> str:
    """A model's name without its date: ``gpt-4o`` of ``gpt-4o-2024-08-06``, ``claude-sonnet-4`` of …``-20250514``."""
    return _SNAPSHOT.sub("", model.lower())


class _Cells:
    """Which cell a reported use, and which one of our tries, belongs to."""

    def __init__(self, report: Report, uses: Iterable[ReportedUse]) -> None:
        # By day, from when to when the report is about it.
        self.spans: dict[int, tuple[int, int]] = {}
        for start_us, end_us in report.windows:
            day = start_us // DAY_US
            first, last = self.spans.get(day, (start_us, end_us))
            self.spans[day] = (min(first, start_us), max(last, end_us))
        self._models: dict[int, set[str]] = {}
        self._requests: dict[str, Cell] = {}
        for use in uses:
            cell = self.of_use(use)
            self._models.setdefault(cell[0], set()).add(use.model)
            if use.request_id:
                self._requests[use.request_id] = cell

    def of_use(self, use: ReportedUse) -> Cell:
        """The cell of a reported use."""
        return use.start_us // DAY_US, use.model, use.request_id

    def of_try(self, it: _Try, answered: set[str]) -> Cell:
        """The cell of a try of ours.  answered: the names that its model has answered under on that day."""
        for request_id in (it.request_id, *it.upstream_ids):
            if request_id in self._requests:
                return self._requests[request_id]
        day = it.at_us // DAY_US
        return day, self._model(it, self._models.get(day, set()), answered), ""

    def _model(self, it: _Try, theirs: set[str], answered: set[str]) -> str:
        if theirs == {""}:
            return ""  # the report is not by model
        if it.model in theirs:
            return it.model
        names = answered & theirs if it.model == it.asked else set[str]()
        if len(names) != 1:
            names = {name for name in theirs if alias_of(name) == alias_of(it.model)}
        # What could be either of two stays unmatched, rather than being guessed.
        return names.pop() if len(names) == 1 else it.model


_ANSWERED: Final = (
    "SELECT DISTINCT at_us / 86400000000, upstream_model, answered_model FROM requests "
    "WHERE provider = ? AND at_us >= ? AND at_us < ? AND answered_model NOT IN ('', upstream_model)"
)
_TRIES: Final = f"""
SELECT r.request_id, r.attempt, r.at_us, r.upstream_model, t.quality, {", ".join(f"coalesce(t.{name}, 0)" for name in TOKENS)},
       t.cost_nusd, coalesce(a.nusd, 0), coalesce(a.count, 0), q.answered_model, q.attempts
FROM entries AS r
     JOIN entries AS t ON t.request_id = r.request_id AND t.attempt = r.attempt AND t.kind = 'SETTLE'
     LEFT JOIN requests AS q ON q.request_id = r.request_id
     LEFT JOIN (SELECT request_id, attempt, sum(cost_nusd) AS nusd, count(*) AS count FROM entries WHERE kind = 'ADJUST'
                GROUP BY request_id, attempt) AS a ON a.request_id = r.request_id AND a.attempt = r.attempt
WHERE r.kind = 'RESERVE' AND r.provider = ? AND r.at_us >= ? AND r.at_us < ? AND (? = '' OR r.account = ?)
"""  # noqa: S608  # only names from entries.py


class _Told(msgspec.Struct):
    """The part of a stored attempt that is needed here."""

    attempt: int
    upstream_request_id: str = ""


_decode_attempts = msgspec.json.Decoder(list[_Told]).decode


def _ours(connection: sqlite3.Connection, question: Question, cells: _Cells) -> Iterator[tuple[Cell, _Try]]:
    if not cells.spans:
        return
    first_us, end_us = min(it[0] for it in cells.spans.values()), max(it[1] for it in cells.spans.values())
    answered: dict[tuple[int, str], set[str]] = {}
    for day, asked, name in connection.execute(_ANSWERED, (question.provider, first_us, end_us)):
        answered.setdefault((day, asked), set()).add(name)
    for row in connection.execute(_TRIES, (question.provider, first_us, end_us, question.account, question.account)):
        it = _try(row)
        day = it.at_us // DAY_US
        since_us, until_us = cells.spans.get(day, (0, 0))
        if since_us <= it.at_us < until_us:
            yield cells.of_try(it, answered.get((day, it.asked), set())), it


def _try(row: tuple[Any, ...]) -> _Try:
    request_id, attempt, at_us, asked, quality, *rest = row
    counts, (cost, adjusted_nusd, adjustments, answered, attempts) = rest[: len(TOKENS)], rest[len(TOKENS) :]
    told = _decode_attempts(attempts) if attempts else []
    last = max((it.attempt for it in told), default=attempt)
    return _Try(
        request_id=request_id,
        attempt=attempt,
        at_us=at_us,
        # Only the last try's answer is known by name.
        model=answered if answered and attempt == last else asked,
        asked=asked,
        quality=quality,
        tokens=Tokens(**dict(zip(TOKENS, counts, strict=True))),
        cost_nusd=cost,
        adjusted_nusd=adjusted_nusd,
        adjustments=adjustments,
        upstream_ids=tuple(it.upstream_request_id for it in told if it.attempt == attempt and it.upstream_request_id),
    )


def _booked(connection: sqlite3.Connection, evidence: str, tries: Sequence[_Try]) -> set[tuple[str, int]]:
    """The tries that have an adjustment of this evidence."""
    sql = "SELECT 1 FROM entries WHERE kind = 'ADJUST' AND request_id = ? AND attempt = ? AND evidence = ?"
    return {
        (it.request_id, it.attempt)
        for it in tries
        if it.adjustments and connection.execute(sql, (it.request_id, it.attempt, evidence)).fetchone()
    }


def _evidence(report: Report, cell: Cell) -> str:
    return " ".join(("report", report.id, _day(cell[0]), *filter(None, cell[1:])))


def _cell(row: Row) -> Cell:
    return date.fromisoformat(row.day).toordinal() - EPOCH_DAY, row.model, row.request_id


def _day(day: int) -> str:
    return date.fromordinal(EPOCH_DAY + day).isoformat()


def _row(cell: Cell, ours: Side | None, theirs: Side | None, priced: bool, held: int, tolerance_ppm: int) -> Row:
    row = Row(day=_day(cell[0]), model=cell[1], request_id=cell[2], ours=ours, theirs=theirs, priced=priced, held=held)
    if ours is None or theirs is None:
        row.alert = any(getattr(ours or theirs, name) for name in ("cost_nusd", "input_tokens", "output_tokens"))
        return row
    if theirs.input_tokens is not None and theirs.output_tokens is not None:
        their_tokens = theirs.input_tokens + theirs.output_tokens
        row.drift_tokens = their_tokens - (ours.input_tokens or 0) - (ours.output_tokens or 0)
        row.alert = theirs.cost_nusd is None and _beyond(row.drift_tokens, their_tokens, tolerance_ppm)
    if theirs.cost_nusd is not None:
        row.drift_nusd = theirs.cost_nusd - (ours.cost_nusd or 0)
        if priced and abs(row.drift_nusd) <= (ours.requests or 0):
            row.drift_nusd = 0  # the price of a sum, rounded once, beside a sum that was rounded for each
        # Tokens stay as they were counted; once the money is mended, nothing is wrong any more.
        row.alert = _beyond(row.drift_nusd, theirs.cost_nusd, tolerance_ppm)
    return row


def _beyond(drift: int, whole: int, tolerance_ppm: int) -> bool:
    return abs(drift) * PPM > tolerance_ppm * abs(whole)
