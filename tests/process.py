"""Tollway as a user runs it: a process of its own, whose home and environment hold nothing else."""

from __future__ import annotations

import os
import re
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import yaml

from providers.openai.vendors import VENDORS
from tests.fakes.openai_upstream import OpenAIUpstream

COMMAND = Path(sys.executable).with_name("tollway")
API_KEY = "tw-" + secrets.token_hex(32)
STARTED_S = 30.0
DRAINED_S = 35.0

_GREETING = re.compile(r"^base URL: (http://127\.0\.0\.1:\d+/v1)\nAPI key: (.*)\n", re.MULTILINE)


class Setting(msgspec.Struct, frozen=True):
    """A configuration's YAML text, and the environment that its ``env:`` references name."""

    text: str
    env: dict[str, str]


def config(
    upstream: OpenAIUpstream | None = None,
    names: Mapping[str, Sequence[str]] | None = None,
    *,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
    prefixes: Mapping[str, str] | None = None,
    **sections: Any,
) -> Setting:
    """A configuration whose providers are the fake upstream, each below a path and with a key of its own.

    names: the providers and the models they serve; one that is no vendor's name is ``type: openai``.
    prefixes: path of a provider's base URL where it is not ``/NAME/v1``.   fields: more settings of one provider.
    sections: the rest of the file.
    """
    rows: dict[str, Any] = {}
    env = {}
    for name, models in (names or {}).items():
        prefix = (prefixes or {}).get(name, f"/{name}/v1")
        variable = f"KEY_OF_{name.upper().replace('-', '_')}"
        env[variable] = f"sk-{name}-0123456789abcdef0123456789"
        row = {"api_key": f"env:{variable}", "models": list(models), **(fields or {}).get(name, {})}
        if name not in VENDORS:
            row["type"] = "openai"
        if upstream is not None:
            upstream.keys[prefix] = env[variable]
            row.setdefault("base_url", upstream.base_url(prefix))
        rows[name] = row
    if upstream is not None:
        upstream.secrets.append(API_KEY.encode())
    return Setting(yaml.safe_dump({"providers": rows, **sections}, sort_keys=False), env)


class TollwayProcess:
    """``tollway serve`` on a free port.  ``home`` is its TOLLWAY_HOME, and the only home it knows.

    setting: what ``config`` made; ``None``: no configuration at all.   api_key: ``None`` lets the first start make one.
    """

    def __init__(self, home: Path, setting: Setting | None = None, *, api_key: str | None = API_KEY) -> None:
        self.home = home
        self.base_url = ""
        self.api_key = api_key or ""
        self._setting = setting
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        home.mkdir(parents=True, exist_ok=True)
        self._env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "TOLLWAY_HOME": str(home),
            **({"TOLLWAY_API_KEY": api_key} if api_key else {}),
            **(setting.env if setting else {}),
        }
        self._command = [str(COMMAND), "serve", "--port", "0"]
        if setting is not None:
            file = home / "config.yaml"
            file.write_text(setting.text, encoding="utf-8")
            self._command += ["--config", str(file)]

    # --- life ---

    def start(self, timeout_s: float = STARTED_S) -> Self:
        """Start it and wait until it says where it listens.  Raises: AssertionError with its output, if it does not."""
        self._starts += 1
        with self._log("stdout").open("wb") as out, self._log("stderr").open("wb") as err:
            self._process = subprocess.Popen(
                self._command, cwd=self.home, env=self._env, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        deadline_s = time.monotonic() + timeout_s
        while (found := _GREETING.search(self._text("stdout", self._starts))) is None:
            late = time.monotonic() > deadline_s
            if late or self._process.poll() is not None:
                self.kill()
                raise AssertionError(f"not {'ready in time' if late else 'running'}:\n{self.stdout}\n{self.stderr}")
            time.sleep(0.01)
        self.base_url = found[1]
        if not self.api_key and found[2].startswith("tw-"):
            self.api_key = found[2]
        return self

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, timeout_s: float = DRAINED_S) -> int:
        """Its exit code.  Raises: subprocess.TimeoutExpired."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def terminate(self, timeout_s: float = DRAINED_S) -> int:
        """SIGTERM, and its exit code.  Raises: subprocess.TimeoutExpired."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def restart(self) -> Self:
        """Start it again on the same home; its port is another one."""
        assert not self.running, "it is still running"
        return self.start()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.base_url.rsplit(":", 1)[1].partition("/")[0])

    # --- what it wrote ---

    def _log(self, stream: str) -> Path:
        return self.home / f"{self._starts}.{stream}"

    def _text(self, stream: str, number: int) -> str:
        return (self.home / f"{number}.{stream}").read_text(encoding="utf-8", errors="replace")

    @property
    def stdout(self) -> str:
        """Everything it printed, over all starts."""
        return "".join(self._text("stdout", number) for number in range(1, self._starts + 1))

    def printed(self, pattern: str, timeout_s: float = STARTED_S) -> str:
        """The first group of a line that it prints, soon: what it greets with waits for the providers' lists.

        Raises: AssertionError, if there is no such line in time.
        """
        deadline_s = time.monotonic() + timeout_s
        while (found := re.search(pattern, self.stdout, re.MULTILINE)) is None:
            assert time.monotonic() < deadline_s, self.stdout
            time.sleep(0.02)
        return found[1]

    @property
    def stderr(self) -> str:
        """Everything it logged, over all starts."""
        return "".join(self._text("stderr", number) for number in range(1, self._starts + 1))

    def check_logs(self) -> None:
        """No traceback on stderr, and no secret in either log.  Raises: AssertionError."""
        stdout, stderr = self.stdout, self.stderr
        assert "Traceback" not in stderr, stderr
        assert '"exc_type"' not in stderr, stderr
        for secret in self._setting.env.values() if self._setting else ():
            assert secret not in stdout + stderr, "an upstream's key is in the logs"
        assert self.api_key not in stderr, "the client's key is in the logs"

    @property
    def setting_env(self) -> dict[str, str]:
        """What its configuration's ``env:`` references name."""
        return dict(self._setting.env) if self._setting else {}

    # --- what it keeps ---

    @property
    def headers(self) -> dict[str, str]:
        """What opens it."""
        return {"authorization": f"Bearer {self.api_key}"}

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client with its base URL and key, more patient than the proxy should need."""
        return httpx.Client(base_url=self.base_url, headers=self.headers, timeout=20, trust_env=False, **options)

    def receipt(self, request_id: str, timeout_s: float = 5.0) -> dict[str, Any]:
        """The receipt of one request, as soon as there is one.  Raises: AssertionError."""
        deadline_s = time.monotonic() + timeout_s
        with self.client() as client:
            while (answer := client.get(f"/receipts/{request_id}")).status_code == 404:
                assert time.monotonic() < deadline_s, f"no receipt of {request_id!r}: {answer.text}"
                time.sleep(0.02)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """What the ledger's file answers, read-only."""
        with closing(sqlite3.connect(f"file:{self.home / 'ledger.sqlite'}?mode=ro", uri=True, timeout=10)) as ledger:
            ledger.row_factory = sqlite3.Row
            return [dict(row) for row in ledger.execute(query, values)]

    def records(self, model: str, count: int = 1, timeout_s: float = 5.0) -> list[dict[str, Any]]:
        """The request records of one model, as soon as there are ``count`` of them.  Raises: AssertionError."""
        deadline_s = time.monotonic() + timeout_s
        while len(rows := self.rows("SELECT * FROM requests WHERE model = ? ORDER BY at_us", model)) < count:
            assert time.monotonic() < deadline_s, f"{len(rows)} records of {model!r}, not {count}"
            time.sleep(0.02)
        return rows

    def entries(self, request_id: str) -> list[tuple[int, str]]:
        """The journal's entries of one request: attempt and kind, in the order they were written."""
        rows = self.rows("SELECT attempt, kind FROM entries WHERE request_id = ? ORDER BY id", request_id)
        return [(row["attempt"], row["kind"]) for row in rows]

    def open_reservations(self) -> list[dict[str, Any]]:
        """Reservations that nothing has settled or voided."""
        return self.rows(
            "SELECT request_id, attempt FROM entries AS r WHERE kind = 'RESERVE' AND NOT EXISTS (SELECT 1 FROM entries"
            " AS t WHERE t.kind IN ('SETTLE', 'VOID') AND t.request_id = r.request_id AND t.attempt = r.attempt)"
        )

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another ``tollway`` command on the same home."""
        return subprocess.run(
            [str(COMMAND), *arguments],
            cwd=self.home,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@contextmanager
def tollway(
    home: Path, setting: Setting | None = None, *, api_key: str | None = API_KEY, timeout_s: float = STARTED_S
) -> Iterator[TollwayProcess]:
    """A running Tollway.  At the end it is stopped, and its logs are checked."""
    process = TollwayProcess(home, setting, api_key=api_key).start(timeout_s)
    try:
        yield process
    finally:
        if process.running:
            try:
                process.terminate()
            finally:
                process.kill()
        process.check_logs()
