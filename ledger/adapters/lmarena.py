"""LMArena's leaderboards: what people preferred, as Elo-like scores with votes.

There is no official API.  Two shapes are read: a mirror's file for each board (``meta.leaderboard``, ``models[]`` with
model, vendor, score, ci, votes), and the rows of the data set on Hugging Face (``rows[].row`` with model_name,
organization, rating, rating_lower, rating_upper, vote_count, category).  A list of payloads is read as several boards.
Source: https://github.com/oolong-tea-2026/arena-ai-leaderboards (MIT) and the page of lmarena-ai/leaderboard-dataset,
read 2026-11.
"""

from __future__ import annotations

from typing import Any

from ledger.errors import SourceUnreadable
from ledger.facts import Parsed, Reading, Subject
from ledger.payload import Problems, decode, measured, moment_us, number, part, rows, table, text, tokens

NAME = "lmarena"
BOARDS = {
    "text": "arena_text_elo",
    "overall": "arena_text_elo",
    "code": "arena_code_elo",
    "webdev": "arena_code_elo",
    "vision": "arena_vision_elo",
}
# From how many votes on a score is worth how much.
CONFIDENCES = ((5_000, 0.9), (1_000, 0.7), (0, 0.4))


def parse(payload: bytes | str, /, *, fetched_at_us: int) -> Parsed:
    """One board or a list of boards.  Raises: SourceUnreadable; also if not one of the boards is known."""
    decoded = decode(payload)
    problems = Problems()
    readings: list[Reading] = []
    known = 0
    for page in decoded if isinstance(decoded, list) else [decoded]:
        board = table(page, "a board")
        at_us = moment_us(part(board, "meta").get("fetched_at")) or fetched_at_us
        seen: set[tuple[str, str]] = set()
        for name, row in _entries(board, problems):
            metric = BOARDS.get(name)
            if metric is None:
                problems.add(f"the board {name[:40]!r} is none that is kept")
                continue
            known += 1
            readings += _readings(row, metric, seen, min(at_us, fetched_at_us), fetched_at_us, problems)
    if not known:
        raise SourceUnreadable("there is no row of a board that is known")
    return Parsed(readings=tuple(readings), problems=problems.told())


def _entries(board: dict[str, Any], problems: Problems) -> list[tuple[str, dict[str, Any]]]:
    """The rows of either shape, each with the name of its board."""
    if "rows" in board:
        inner = [part(row, "row") for row in rows(board["rows"], problems, "rows")]
        return [(text(row.get("category")).lower(), row) for row in inner]
    name = text(part(board, "meta").get("leaderboard")).lower()
    return [(name, row) for row in rows(board.get("models"), problems, "models")]


def _readings(
    row: dict[str, Any],
    metric: str,
    seen: set[tuple[str, str]],
    observed_at_us: int,
    fetched_at_us: int,
    problems: Problems,
) -> list[Reading]:
    name = text(row.get("model")) or text(row.get("model_name"))
    if not name or (metric, name) in seen:
        problems.add(f"{name} is there twice; the first counts" if name else "a row has no model")
        return []
    seen.add((metric, name))
    score = measured(row.get("score", row.get("rating")), "elo")
    if not score:
        problems.add(f"{name}: its score is {str(row.get('score', row.get('rating')))[:40]!r}, which is no Elo")
        return []
    votes = tokens(row.get("votes", row.get("vote_count")))
    values = [(metric, score)]
    if metric == "arena_text_elo" and (width := _half_width(row)) is not None:
        values.append(("arena_ci_halfwidth", width))
    subject = Subject(source_name=name, creator=text(row.get("vendor")) or text(row.get("organization")))
    return [
        Reading(
            source=NAME,
            source_version="",
            subject=subject,
            metric=each,
            value=value,
            unit="elo",
            observed_at_us=observed_at_us,
            fetched_at_us=fetched_at_us,
            confidence=next(weight for least, weight in CONFIDENCES if (votes or 0) >= least),
            n=votes,
        )
        for each, value in values
    ]


def _half_width(row: dict[str, Any]) -> float | None:
    if row.get("ci") is not None:
        return measured(row["ci"], "elo")
    low, high = number(row.get("rating_lower")), number(row.get("rating_upper"))
    return None if low is None or high is None else measured((high - low) / 2, "elo")
