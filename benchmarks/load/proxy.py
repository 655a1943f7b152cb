"""The proxy under measurement: ``tollway serve`` with authentication and metering on, its state in a folder on disk."""

from __future__ import annotations

import http.client
import re
import secrets
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from benchmarks.load.machine import Cores
from benchmarks.load.process import Process, clean_environment
from benchmarks.load.tools import BIN, Mock

COMMAND = Path(sys.executable).with_name("tollway")
MODEL = "gpt-4o-mini"
START_LIMIT_S = 30
_BASE_URL = re.compile(r"^base URL: http://127\.0\.0\.1:(\d+)/v1$", re.MULTILINE)


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy that is up.

    models: for each behaviour of the mock upstream, the model to ask for.   ledger: the file with its records, if any.
    start_up_s: from its start to the first 200 of its readiness route.
    """

    name: str
    pid: int
    port: int
    api_key: str
    models: Mapping[str, str]
    start_up_s: float
    ledger: Path | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What opens it."""
        return {"Authorization": f"Bearer {self.api_key}"}


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What a ledger's file holds.  unpriced: answers of the priced model without a cost.  open: never settled."""

    records: int
    answered: int
    unpriced: int
    open: int


@contextmanager
def tollway(mock: Mock, paths: Mapping[str, str], cores: Cores, *, more: str = "") -> Iterator[Subject]:
    """Tollway on a free port and a new home.

    paths: for each behaviour, the mock's path.  The plain one is configured as ``openai``, so its answers are priced.
    more: further sections of the configuration.
    """
    with state_folder() as home:
        providers = {name if path else "openai": mock.base_url(path) for name, path in paths.items()}
        config = home / "config.yaml"
        config.write_text(_config(providers) + more)
        api_key = f"tw-{secrets.token_hex(32)}"
        env = {
            **clean_environment(home),
            "TOLLWAY_HOME": str(home),
            "TOLLWAY_API_KEY": api_key,
            "MOCK_KEY": "sk-mock-0123456789abcdef0123456789abcdef",
        }
        command = cores.on_proxy([str(COMMAND), "serve", "--config", str(config), "--port", "0"])
        with (home / "output").open("wb") as log, Process("tollway", command, log=log, env=env, folder=home) as process:
            port = int(process.said(_BASE_URL, limit_s=START_LIMIT_S)[1])
            yield Subject(
                name="tollway",
                pid=process.pid,
                port=port,
                api_key=api_key,
                models={name: f"{name if path else 'openai'}/{MODEL}" for name, path in paths.items()},
                start_up_s=ready_s(process, port, "/readyz", limit_s=START_LIMIT_S),
                ledger=home / "ledger.sqlite",
            )


@contextmanager
def state_folder() -> Iterator[Path]:
    """A folder for a proxy's state, beside the programs: the system's temporary folder may be no disk but memory."""
    folder = Path(tempfile.mkdtemp(prefix="state-", dir=BIN))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ready_s(process: Process, port: int, path: str, *, limit_s: float) -> float:
    """Ask until the answer is 200; seconds since the process was started.  Raises: NotRunning."""
    deadline_s = process.started_s + limit_s
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return time.monotonic() - process.started_s
        except OSError:
            pass
        finally:
            connection.close()
        process.check(deadline_s)


def read_ledger(file: Path) -> Ledger:
    """What the ledger's file holds, read beside the proxy that writes it."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
        records, answered, unpriced = connection.execute(
            "SELECT count(*), coalesce(sum(status = 200), 0),"
            " coalesce(sum(status = 200 AND provider = 'openai' AND cost_nusd IS NULL), 0) FROM requests"
        ).fetchone()
        (open_count,) = connection.execute(
            "SELECT (SELECT count(*) FROM entries WHERE kind = 'RESERVE')"
            " - (SELECT count(*) FROM entries WHERE kind IN ('SETTLE', 'VOID'))"
        ).fetchone()
    return Ledger(records=records, answered=answered, unpriced=unpriced, open=open_count)


def _config(base_urls: Mapping[str, str]) -> str:
    lines = ["providers:"]
    for name, base_url in base_urls.items():
        kind = "" if name == "openai" else "type: openai, "
        lines.append(f'  {name}: {{{kind}base_url: "{base_url}", api_key: env:MOCK_KEY, models: [{MODEL}]}}')
    return "\n".join(lines) + "\n"
