"""``prices.yaml``: price rows of one's own in a file that commands may write, beside those of the configuration.

The same rows as under ``ledger.prices``, as a YAML list.  Where the configuration has a price for the same model and days,
the configuration counts.  A patch is such a file, too; a row of it whose prices are not filled in is a stub.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from proxy.config import Config, PriceConfig

NAME = "prices.yaml"
FILE_MAX_BYTES = 4 << 20
HEAD = """# Price rows of your own, as under 'ledger.prices' in the configuration, which counts before them.
# Written by `tollway ledger pricing apply`; it may be edited. Read when Tollway starts.
"""


class PriceFileRefused(Exception):
    """A file of prices that cannot be read or written; the text says which and why."""


def read(path: Path, /) -> list[PriceConfig]:
    """The rows; none if the file is not there.  Raises: PriceFileRefused."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PriceFileRefused(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > FILE_MAX_BYTES:
        raise PriceFileRefused(f"{path} has more than {FILE_MAX_BYTES} bytes")
    try:
        rows = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeError, ValueError, RecursionError) as error:
        raise PriceFileRefused(f"{path} is not YAML: {error}") from error
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise PriceFileRefused(f"{path} is no list of rows")
    return [_row(path, at, row) for at, row in enumerate(rows, start=1)]


def with_file(config: Config, home: Path, /) -> Config:
    """The configuration with the file's rows before its own, which therefore count first.  Raises: PriceFileRefused."""
    rows = [row for row in read(home / NAME) if row.is_filled]
    if not rows:
        return config
    ledger = config.ledger.model_copy(update={"prices": (*rows, *config.ledger.prices)})
    return config.model_copy(update={"ledger": ledger}).with_warnings(config.warnings)


def merged(rows: Sequence[PriceConfig], patch: Sequence[PriceConfig], /) -> list[PriceConfig]:
    """The rows with those of the patch: one of the same model and days takes the place of the old one."""
    by_key = {_key(row): row for row in rows}
    by_key.update({_key(row): row for row in patch})
    return [by_key[key] for key in sorted(by_key)]


def write(path: Path, rows: Sequence[PriceConfig], /, *, now_s: float | None = None) -> Path | None:
    """Write the rows, whole or not at all, for the owner's eyes only.

    now_s: the time by which the old file is kept as a backup; ``None``: it is not kept.  Returns the backup.
    Raises: PriceFileRefused.
    """
    backup = None
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if now_s is not None and path.exists():
            backup = path.with_name(f"{path.name}.{datetime.fromtimestamp(now_s, UTC):%Y%m%dT%H%M%S.%fZ}")
            shutil.copy2(path, backup)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text(rows))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise PriceFileRefused(f"{path} cannot be written: {error.strerror}") from error
    return backup


def text(rows: Sequence[PriceConfig], /) -> str:
    """The rows as such a file."""
    listed = [_plain(row) for row in rows]
    return HEAD + (yaml.safe_dump(listed, sort_keys=False, allow_unicode=True) if listed else "[]\n")


def stubs(models: Sequence[str], /) -> str:
    """A patch in which the prices of some models are still to be filled in."""
    rows = [{"model": model, "input_usd_per_mtok": None, "output_usd_per_mtok": None} for model in models]
    head = "# Fill in the prices, in USD per million tokens; then: tollway ledger pricing apply FILE\n"
    return head + (yaml.safe_dump(rows, sort_keys=False, allow_unicode=True) if rows else "[]\n")


def _row(path: Path, at: int, row: Any) -> PriceConfig:
    try:
        found = PriceConfig.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise PriceFileRefused(f"{path}: row {at}: {place or 'the row'}: {first['msg']}") from error
    provider, slash, model = found.model.partition("/")
    if not (provider and slash and model):
        raise PriceFileRefused(f"{path}: row {at}: 'model' must be provider/model, such as openai/gpt-5")
    return found


def _key(row: PriceConfig) -> tuple[str, str, str]:
    return row.model, row.effective_from, row.effective_to


def _plain(row: PriceConfig) -> dict[str, Any]:
    return row.model_dump(mode="json", exclude_defaults=True) | {
        "model": row.model,
        "input_usd_per_mtok": row.input_usd_per_mtok,
        "output_usd_per_mtok": row.output_usd_per_mtok,
    }
