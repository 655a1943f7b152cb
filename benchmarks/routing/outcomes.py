"""Recorded outcomes: what each of many models answered to the same prompts, how well, and at what cost.

A CSV file with a header and a row for each answer; read row by row, so that millions of them fit:

=============  =======  ====================================================================================================
column         needed   what
=============  =======  ====================================================================================================
prompt_id      yes      what tells a prompt from the others of its dataset
dataset        yes      the name of the test that it is of
model          yes      who answered
score          yes      how well, from 0 to ``score_max``; ``true`` and ``false`` are 1 and 0; empty: the row is left out
cost           no       US dollars; empty: what the tokens cost by the list
input_tokens   no
output_tokens  no       reasoning included
tokens         no       both together, where they are not told apart
prompt         no       the text
=============  =======  ====================================================================================================

Other names of these columns are in ``COLUMNS``; further columns are not read.  A file may be compressed with gzip, and
separated by tabs.  A prompt that a model answered several times has the mean of these answers.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import msgspec
import numpy as np
from numpy.typing import NDArray

COLUMNS: Final = {
    "prompt_id": ("id", "sample_id", "question_id", "query_id", "prompt_index", "record_index", "index", "global_index"),
    "dataset": ("dataset_name", "dataset_id", "benchmark", "eval_name", "eval", "task", "source", "category"),
    "model": ("model_name", "model_id", "llm", "llm_name"),
    "score": ("accuracy", "acc", "correct", "is_correct", "performance", "quality", "evaluation_score", "result"),
    "cost": ("cost_usd", "total_cost", "inference_cost", "usd", "price", "cost_total_usd"),
    "input_tokens": ("prompt_tokens", "tokens_in", "n_input_tokens", "input_token_count", "input_token"),
    "output_tokens": ("completion_tokens", "tokens_out", "n_output_tokens", "output_token_count", "output_token"),
    "tokens": ("total_tokens", "token_num", "n_tokens", "token_count"),
    "prompt": ("text", "question", "query", "input", "prompt_text"),
}
"""Each column, and what else it may be called; case, spaces and hyphens do not matter."""
NEEDED: Final = ("prompt_id", "dataset", "model", "score")
WORDS: Final = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "correct": 1.0, "incorrect": 0.0, "wrong": 0.0}
FIELD_BYTES_MAX: Final = 64_000_000

Matrix = NDArray[np.float64]


class Unreadable(Exception):
    """The file is not what is asked for; the sentence says where and why."""


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """Prompts in rows, models in columns; NaN: the model was not asked, or nobody says.

    prompts: ``dataset/prompt_id``.  dataset: of each prompt, an index into ``datasets``.  text_task: what ``classify`` made
    of each prompt's text; empty: there was none.  total_tokens: where the two kinds are not told apart.
    left_out: rows without a score.  repeats: rows for a prompt and a model that there was a row for.
    """

    prompts: tuple[str, ...]
    datasets: tuple[str, ...]
    dataset: NDArray[np.int32]
    models: tuple[str, ...]
    score: Matrix
    cost: Matrix
    input_tokens: Matrix
    output_tokens: Matrix
    total_tokens: Matrix
    text_task: tuple[str, ...]
    rows: int
    left_out: int = 0
    repeats: int = 0

    def take(self, rows: NDArray[np.int64], /) -> Outcomes:
        """Some of the prompts."""
        tables = {name: getattr(self, name)[rows] for name in (*QUANTITIES, "dataset")}
        names = {name: tuple(getattr(self, name)[row] for row in rows) for name in ("prompts", "text_task")}
        return msgspec.structs.replace(self, **tables, **names)


QUANTITIES: Final = ("score", "cost", "input_tokens", "output_tokens", "total_tokens")


def read(paths: Sequence[Path], /, *, classify: Callable[[str], str] | None = None, score_max: float = 1.0) -> Outcomes:
    """The outcomes of all files together.

    classify: the kind of task of a prompt's text; not called where there is none.  score_max: what a full score is.
    Raises: Unreadable, OSError.
    """
    table = _Table(classify, score_max)
    for path in paths:
        with _opened(path) as file:
            _read(path, file, table)
    if not table.model:
        raise Unreadable(f"{', '.join(map(str, paths))}: there is no row with a score")
    return table.outcomes()


class _Table:
    """The rows as they come, in arrays."""

    def __init__(self, classify: Callable[[str], str] | None, score_max: float) -> None:
        self._classify = classify
        self.score_max = score_max
        self.prompts: dict[tuple[str, str], int] = {}
        self.datasets: dict[str, int] = {}
        self.models: dict[str, int] = {}
        self.text_task: list[str] = []
        self.prompt = array("i")
        self.model = array("i")
        self.values = {name: array("d") for name in QUANTITIES}
        self.left_out = 0

    def add(self, prompt_id: str, dataset: str, model: str, text: str, values: Sequence[float]) -> None:
        key = (dataset, prompt_id)
        row = self.prompts.get(key)
        if row is None:
            row = self.prompts[key] = len(self.prompts)
            self.datasets.setdefault(dataset, len(self.datasets))
            self.text_task.append(self._classify(text) if text and self._classify is not None else "")
        self.prompt.append(row)
        self.model.append(self.models.setdefault(model, len(self.models)))
        for found, value in zip(self.values.values(), values, strict=True):
            found.append(value)

    def outcomes(self) -> Outcomes:
        shape = (len(self.prompts), len(self.models))
        cell = np.asarray(self.prompt, dtype=np.int64) * shape[1] + np.asarray(self.model, dtype=np.int64)
        return Outcomes(
            prompts=tuple(f"{dataset}/{prompt}" for dataset, prompt in self.prompts),
            datasets=tuple(self.datasets),
            dataset=np.array([self.datasets[dataset] for dataset, _ in self.prompts], dtype=np.int32),
            models=tuple(self.models),
            text_task=tuple(self.text_task),
            rows=len(cell),
            left_out=self.left_out,
            repeats=len(cell) - len(np.unique(cell)),
            **{name: _mean(cell, np.asarray(values), shape) for name, values in self.values.items()},
        )


def _mean(cell: NDArray[np.int64], values: Matrix, shape: tuple[int, int]) -> Matrix:
    known = ~np.isnan(values)
    size = shape[0] * shape[1]
    count = np.bincount(cell[known], minlength=size)
    total = np.bincount(cell[known], weights=values[known], minlength=size)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(shape)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if zipped else path.open("rb") as plain:
        yield io.TextIOWrapper(plain, encoding="utf-8-sig", newline="")


def _read(path: Path, file: TextIO, table: _Table) -> None:
    csv.field_size_limit(FIELD_BYTES_MAX)
    number = 1
    try:
        first = file.readline()
        if not first.strip():
            raise Unreadable(f"{path}: it is empty; the first line names the columns: {', '.join(COLUMNS)}")
        tab = "\t" if "\t" in first and "," not in first else ","
        where = _columns(path, next(csv.reader([first], delimiter=tab)))
        rows = csv.reader(file, delimiter=tab)
        for row in rows:
            number = rows.line_num + 1
            if row:
                _row(row, where, table)
    except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise Unreadable(f"{path}, after line {number}: {error}") from error
    except ValueError as error:
        raise Unreadable(f"{path}, line {number}: {error}") from error


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """Where each column is."""
    names = [name.strip().lower().replace(" ", "_").replace("-", "_") for name in header]
    where: dict[str, int] = {}
    for column, others in COLUMNS.items():
        # Its own name first: a file that has both has them for different things.
        found = next((name for name in (column, *others) if name in names), None)
        if found is not None and names.index(found) not in where.values():
            where[column] = names.index(found)
    missing = [column for column in NEEDED if column not in where]
    if missing:
        wanted = "; ".join(f"{column!r} (or {', '.join(COLUMNS[column])})" for column in missing)
        raise Unreadable(f"{path}, line 1: there is no column {wanted}; there are: {', '.join(header)}")
    if not {"cost", "output_tokens", "tokens"} & set(where):
        raise Unreadable(f"{path}, line 1: there is neither a column 'cost' nor one of tokens; nothing tells what it costs")
    return where


def _row(row: list[str], where: dict[str, int], table: _Table) -> None:
    """Raises: ValueError, with a sentence."""
    if len(row) <= max(where.values()):
        raise ValueError(f"{len(row)} fields, where the first line has at least {max(where.values()) + 1}")
    prompt_id, dataset, model, score = (row[where[column]].strip() for column in NEEDED)
    for column, value in zip(NEEDED[:3], (prompt_id, dataset, model), strict=True):
        if not value:
            raise ValueError(f"no {column}")
    if not score:
        table.left_out += 1
        return
    points = WORDS.get(score.lower())
    if points is None:
        points = _number("score", score) / table.score_max
    if points > 1:
        raise ValueError(f"score {score} is above {table.score_max:g}; --score-max says what a full score is")
    rest = [_number(name, row[where[name]].strip()) if name in where else math.nan for name in QUANTITIES[1:4]]
    total = _number("tokens", row[where["tokens"]].strip()) if "tokens" in where else math.nan
    text = row[where["prompt"]] if "prompt" in where else ""
    table.add(prompt_id, dataset, model, text, (points, *rest, total))


def _number(column: str, text: str) -> float:
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{column} {text[:40]!r} is no number") from None
    if not 0 <= value < math.inf:
        raise ValueError(f"{column} {text[:40]!r} is not between 0 and infinity")
    return value
