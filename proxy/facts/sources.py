"""The ledger's sources, put together: a table of who publishes facts about models, and who reads them.

A part of the composition root, beside ``proxy/app.py``: it alone knows the adapters of the sources.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import quote

import msgspec
import structlog
from msgspec.structs import replace

from ledger.adapters import (
    artificial_analysis,
    helios,
    inspect_logs,
    litellm_prices,
    lm_eval,
    lmarena,
    models_dev,
    openrouter,
    overrides,
)
from ledger.catalogue.metrics import check
from ledger.data import SEED_FILE
from ledger.errors import LedgerError, SourceUnreadable
from ledger.facts import Parsed
from ledger.refresh.folder import Folder
from ledger.refresh.ports import FactsStore, Reader, Web
from ledger.refresh.refresher import Refresher
from ledger.refresh.source import Parse, Source
from proxy.config import Config, RefreshSourceConfig

HOUR_S = 3600.0
AGAIN_S = 600.0
KEY_VARIABLE = "AA_API_KEY"
BUNDLED = "bundled"
"""What the seed's readings name as their source."""
ENDPOINTS_URL = "https://openrouter.ai/api/v1/models"

# Cadence, requests a day: what their publishers ask for, and the days on which something has to be asked again.
TABLE = {
    "openrouter": Source(
        name="openrouter",
        urls=("https://openrouter.ai/api/v1/models",),
        parse=openrouter.parse,
        every_s=HOUR_S,
        requests_per_day=100,
    ),
    "openrouter_endpoints": Source(
        name="openrouter_endpoints",
        urls=(),
        parse=openrouter.parse_endpoints,
        every_s=HOUR_S / 4,
        requests_per_day=2_000,
        complete=False,
        idle="it needs 'models' in the configuration",
    ),
    "models_dev": Source(
        name="models_dev",
        urls=("https://models.dev/catalog.json",),
        parse=models_dev.parse,
        every_s=24 * HOUR_S,
        requests_per_day=10,
    ),
    "litellm": Source(
        name="litellm",
        urls=("https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json",),
        parse=litellm_prices.facts,
        every_s=24 * HOUR_S,
        requests_per_day=10,
    ),
    "lmarena": Source(
        name="lmarena",
        urls=(),
        parse=lmarena.parse,
        every_s=24 * HOUR_S,
        requests_per_day=10,
        idle="it has no official address; 'url' in the configuration names a mirror",
    ),
    "artificial_analysis": Source(
        name="artificial_analysis",
        urls=("https://artificialanalysis.ai/api/v2/language/models/free",),
        parse=artificial_analysis.parse,
        every_s=24 * HOUR_S,
        requests_per_day=90,  # of 100 on the free tier; an answer has three or four pages
        paged=True,
        idle=f"it needs a key: {KEY_VARIABLE}",
    ),
}
FORMS: dict[str, Parse] = {
    "helios": partial(helios.parse, check=check),
    "lm-eval": lm_eval.parse,
    "inspect": inspect_logs.parse,
}
"""The readers of harness files."""

log = structlog.get_logger("tollway.sources")


def configured(config: Config, environ: Mapping[str, str]) -> tuple[Source, ...]:
    """The table with what the configuration says, and the key if there is one."""
    settings = config.ledger.refresh.sources
    return tuple(_configured(row, settings.get(row.name, RefreshSourceConfig()), environ) for row in TABLE.values())


def refresher(
    config: Config,
    home: Path,
    environ: Mapping[str, str],
    web: Web,
    store: FactsStore | None,
    now_us: Callable[[], int],
    reader: Reader | None = None,
) -> Refresher:
    """The refresher of an installation.  reader: ``None`` reads in a thread."""
    return Refresher(
        configured(config, environ),
        web,
        store,
        Folder(home / "sources"),
        clock_us=now_us,
        chance=random.random,
        reader=reader,
        background=config.ledger.refresh.enabled,
    )


async def feed(config: Config, home: Path, refresher: Refresher, store: FactsStore, now_us: Callable[[], int]) -> None:
    """Fill the store: the seed, what was last known good, the operator's overrides; then keep it fresh, if that is wanted.

    Whatever cannot be read is logged and left out: none of it is a reason not to serve.
    """
    try:
        await _fill(store, BUNDLED, await asyncio.to_thread(read_seed), now_us())
        await _fill(store, overrides.NAME, await asyncio.to_thread(read_overrides, config, home, now_us()), now_us())
        await refresher.restore(FORMS)
    except LedgerError as error:
        log.warning("facts_not_kept", reason=str(error))
    if not config.ledger.refresh.enabled:
        return
    while True:
        try:
            await refresher.keep_fresh()
        except Exception:
            log.exception("refresh_failed")
            await asyncio.sleep(AGAIN_S)


async def _fill(store: FactsStore, source: str, parsed: Parsed, now_us: int) -> None:
    for problem in parsed.problems:
        log.warning("fact_left_out", source=source, reason=problem)
    fetched_at_us = parsed.readings[0].fetched_at_us if parsed.readings else now_us
    await store.ingest(parsed, source=source, fetched_at_us=fetched_at_us, complete=True)


class _Dated(msgspec.Struct, frozen=True):
    as_of_us: int


def read_seed(path: Path = SEED_FILE) -> Parsed:
    """The facts that come with Tollway, as of their date; a seed that cannot be read is a problem."""
    try:
        payload = path.read_bytes()
        at_us = msgspec.json.decode(payload, type=_Dated).as_of_us
        return models_dev.parse(payload, fetched_at_us=at_us, source=BUNDLED)
    except (OSError, msgspec.DecodeError, SourceUnreadable) as error:
        return Parsed(problems=(f"{path.name} cannot be read: {error}",))


def read_overrides(config: Config, home: Path, now_us: int) -> Parsed:
    """The operator's overrides that hold; a file that is not there is none, and one that cannot be read is a problem."""
    path = config.ledger.overrides.path(home)
    try:
        payload = path.read_bytes()
    except FileNotFoundError as error:
        return Parsed(problems=(f"{path} is not there: {error.strerror}",) if config.ledger.overrides.file else ())
    except OSError as error:
        return Parsed(problems=(f"{path} cannot be read: {error.strerror}",))
    try:
        return overrides.parse(payload, fetched_at_us=now_us)
    except SourceUnreadable as error:
        return Parsed(problems=(f"{path}: {error}",))


def _configured(row: Source, settings: RefreshSourceConfig, environ: Mapping[str, str]) -> Source:
    if settings.url:
        row = replace(row, urls=(settings.url,), idle="" if row.name == "lmarena" else row.idle)
    if settings.every_hours is not None:
        row = replace(row, every_s=settings.every_hours * HOUR_S)
    if row.name == "openrouter_endpoints" and settings.models:
        base = settings.url or ENDPOINTS_URL
        urls = tuple(f"{base}/{quote(model, safe='/:')}/endpoints" for model in settings.models)
        row = replace(row, urls=urls, idle="")
    if row.name == "artificial_analysis":
        key = settings.api_key.get_secret_value() if settings.api_key else environ.get(KEY_VARIABLE, "")
        if key.isascii() and key.isprintable() and key.strip():
            row = replace(row, headers=(("x-api-key", key.strip()),), idle="")
    return replace(row, idle="it is switched off in the configuration") if settings.enabled is False else row
