"""``python -m ledger.data.compile_seed CHECKOUT``: make ``seed.json`` from a checkout of models.dev.

Run it before a release, and read the diff.  It keeps of each model what Tollway uses, and of its benchmarks those that
the catalogue has.  Figures that are Artificial Analysis' (by their own page, or as OpenRouter shows them) are left out:
their terms ask for attribution at each use, and their index has no version here.  No network is used.
Source: https://github.com/anomalyco/models.dev (MIT), schema read 2026-11.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ledger.adapters.models_dev import BENCHMARKS, benchmark_name

FILE = Path(__file__).parent / "seed.json"
FIELDS = ("name", "release_date", "reasoning", "tool_call", "structured_output", "open_weights", "modalities", "limit")
SCORE_FIELDS = ("name", "score", "version", "dataset", "harness", "variant", "date")
NOT_OURS_TO_GIVE = ("artificialanalysis.ai", "openrouter.ai")


def seed(models: dict[str, dict[str, Any]], /, *, revision: str, as_of_us: int) -> dict[str, Any]:
    """The seed of some models, by ``maker/model``.  as_of_us: the time of the revision, which is what it knows of."""
    return {
        "source": "models.dev",
        "licence": "MIT, Copyright (c) 2025 models.dev",
        "url": "https://github.com/anomalyco/models.dev",
        "revision": revision,
        "as_of_us": as_of_us,
        "models": {name: _model(models[name]) for name in sorted(models)},
    }


def _model(row: dict[str, Any]) -> dict[str, Any]:
    kept = {field: row[field] for field in FIELDS if field in row}
    scores = [{field: it[field] for field in SCORE_FIELDS if field in it} for it in row.get("benchmarks", ()) if _is_kept(it)]
    return {**kept, "benchmarks": scores} if scores else kept


def _is_kept(score: dict[str, Any]) -> bool:
    host = urlsplit(str(score.get("source", ""))).hostname or ""
    named = benchmark_name(str(score.get("name", "")))
    return named in BENCHMARKS and not any(host == it or host.endswith(f".{it}") for it in NOT_OURS_TO_GIVE)


def text(made: dict[str, Any], /) -> bytes:
    """The file: a model a line, so that a diff shows what changed."""
    lines = [b"%b:%b" % (msgspec.json.encode(name), msgspec.json.encode(row)) for name, row in made["models"].items()]
    head = msgspec.json.encode({**made, "models": {}}).removesuffix(b"{}}")
    return head + b"{\n" + b",\n".join(lines) + b"\n}}\n"


def read(checkout: Path, /) -> dict[str, dict[str, Any]]:
    """The models of a checkout, by ``maker/model``."""
    root = checkout / "models"
    return {
        path.relative_to(root).with_suffix("").as_posix(): tomllib.loads(path.read_text(encoding="utf-8"))
        for path in sorted(root.rglob("*.toml"))
    }


def main(arguments: list[str]) -> str | None:
    """Write the file.  Returns what is wrong, if anything is."""
    if len(arguments) != 1 or not (models := read(Path(arguments[0]))):
        return "usage: python -m ledger.data.compile_seed CHECKOUT (of models.dev)"
    command = ["git", "-C", arguments[0], "log", "-1", "--format=%H %ct"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603  # literal words
    revision, _, at_s = asked.stdout.strip().partition(" ")
    if not at_s.isdecimal():
        return f"{arguments[0]} does not say of which revision it is: {asked.stderr.strip()}"
    FILE.write_bytes(text(seed(models, revision=revision, as_of_us=int(at_s) * 1_000_000)))
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
