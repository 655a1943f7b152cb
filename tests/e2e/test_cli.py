"""The ``tollway`` command, as a person uses it: the first start, the second, keys, usage, mistakes."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from proxy.cli import cli
from tests.conftest import Serve
from tests.fakes.openai_upstream import OpenAIUpstream
from tests.process import COMMAND, TollwayProcess, config, tollway

ASK: Any = {"model": "openai/plain", "messages": []}


@pytest.fixture
def proxy(serve: Serve, upstream: OpenAIUpstream) -> TollwayProcess:
    upstream.serve("plain")
    return serve(config(upstream, {"openai": ["plain"]}))


def ask(proxy: TollwayProcess, key: str) -> httpx.Response:
    with proxy.client() as client:
        return client.post("/chat/completions", json=ASK, headers={"authorization": f"Bearer {key}"})


# --- starts ------------------------------------------------------------------------------------------------------------


def test_the_first_start_prints_a_key_and_a_line_that_works_when_pasted(upstream: OpenAIUpstream, tmp_path: Path) -> None:
    upstream.serve("plain")
    with tollway(tmp_path, config(upstream, {"openai": ["plain"]}), api_key=None) as proxy:
        line = proxy.printed(r"^try it: (.+)$")

        pasted = subprocess.run(["bash", "-c", f"{line} --silent --show-error"], capture_output=True, check=True, timeout=20)

    assert proxy.api_key.startswith("tw-")
    assert json.loads(pasted.stdout)["object"] == "chat.completion"
    assert "provider: openai" in proxy.stdout
    assert "models: openai/plain" in proxy.stdout


def test_the_second_start_says_that_the_key_exists_and_how_to_make_another(upstream: OpenAIUpstream, tmp_path: Path) -> None:
    upstream.serve("plain")
    with tollway(tmp_path, config(upstream, {"openai": ["plain"]}), api_key=None) as proxy:
        proxy.terminate()
        first = proxy.stdout

        proxy.restart()

        second = proxy.stdout.removeprefix(first)
        assert re.search(r"^API key: made at an earlier start.*tollway keys create", second, re.MULTILINE)
        assert proxy.api_key not in second
        assert ask(proxy, proxy.api_key).status_code == 200


def test_the_key_is_stored_nowhere(upstream: OpenAIUpstream, tmp_path: Path) -> None:
    upstream.serve("plain")
    with tollway(tmp_path, config(upstream, {"openai": ["plain"]}), api_key=None) as proxy:
        ask(proxy, proxy.api_key)
        proxy.terminate()

    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "1.stdout"]
    assert {"ledger.sqlite", "pepper"} <= {path.name for path in files}
    assert [path for path in files if proxy.api_key.encode() in path.read_bytes()] == []


def test_state_is_its_owners_alone(proxy: TollwayProcess) -> None:
    for name in ("pepper", "ledger.sqlite", "server.json"):
        assert stat.S_IMODE((proxy.home / name).stat().st_mode) == 0o600, name


def test_a_weak_key_from_the_environment_is_refused(tmp_path: Path) -> None:
    ran = subprocess.run(
        [str(COMMAND), "serve", "--port", "0"],
        env={"PATH": "/usr/bin:/bin", "TOLLWAY_HOME": str(tmp_path), "TOLLWAY_API_KEY": "letmein"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ran.returncode == 1
    assert "TOLLWAY_API_KEY is refused" in ran.stderr
    assert "letmein" not in ran.stderr + ran.stdout


def test_a_port_in_use_is_said_so(proxy: TollwayProcess, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = proxy.command("serve", "--port", str(port))

    assert ran.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ran.stderr


def test_a_second_server_on_the_same_home_is_refused_by_the_pid_of_the_first(proxy: TollwayProcess) -> None:
    ran = proxy.command("serve", "--port", "0")

    assert ran.returncode == 1
    assert f"process {proxy.pid}" in ran.stderr


# --- keys --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("running", [True, False], ids=["while serving", "while not serving"])
def test_a_key_is_made_listed_and_revoked(proxy: TollwayProcess, running: bool) -> None:
    if not running:
        proxy.terminate()

    made = proxy.command("keys", "create", "ci job", "--model", "openai/*", "--expires-days", "2")
    listed = proxy.command("keys", "list")
    revoked = proxy.command("keys", "revoke", "ci job")

    assert (made.returncode, listed.returncode, revoked.returncode) == (0, 0, 0), made.stderr + listed.stderr + revoked.stderr
    key = made.stdout.strip()
    assert key.startswith("tw-")
    assert key not in listed.stdout
    assert re.search(r"ci job +tw-…" + re.escape(key[-4:]) + r" +openai/\* +\S+ +expires", listed.stdout)
    assert "revoked" in revoked.stdout
    assert "revoked" in proxy.command("keys", "list").stdout


def test_a_new_key_opens_at_once_and_a_revoked_one_at_once_no_more(proxy: TollwayProcess) -> None:
    key = proxy.command("keys", "create", "short").stdout.strip()
    opened = ask(proxy, key)

    proxy.command("keys", "revoke", "short")

    assert opened.status_code == 200
    assert ask(proxy, key).status_code == 401


def test_a_key_that_may_use_other_models_is_told_so(proxy: TollwayProcess) -> None:
    key = proxy.command("keys", "create", "narrow", "--model", "anthropic/*").stdout.strip()

    answer = ask(proxy, key)

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")


@pytest.mark.parametrize("running", [True, False], ids=["while serving", "while not serving"])
def test_mistakes_with_keys_are_told(proxy: TollwayProcess, running: bool) -> None:
    proxy.command("keys", "create", "taken")
    if not running:
        proxy.terminate()

    again = proxy.command("keys", "create", "taken")
    unknown = proxy.command("keys", "revoke", "a/b?c")

    assert (again.returncode, unknown.returncode) == (1, 1)
    assert "'taken' exists" in again.stderr
    assert "no live key 'a/b?c'" in unknown.stderr


def test_keys_survive_a_restart(proxy: TollwayProcess) -> None:
    key = proxy.command("keys", "create", "lasting").stdout.strip()
    proxy.terminate()

    proxy.restart()

    assert ask(proxy, key).status_code == 200


# --- usage and check -----------------------------------------------------------------------------------------------------


def test_usage_counts_every_request_by_model_and_key(proxy: TollwayProcess) -> None:
    for _ in range(3):
        ask(proxy, proxy.api_key)
    with proxy.client() as client:
        client.post("/chat/completions", json={"model": "openai/none", "messages": []})

    by_model = json.loads(proxy.command("usage", "--by", "model", "--json").stdout)
    by_key = proxy.command("usage", "--by", "key")
    by_day = proxy.command("usage")

    rows = {row["group"]: row for row in by_model}
    assert (rows["openai/plain"]["requests"], rows["openai/plain"]["failed"]) == (3, 0)
    assert (rows["openai/none"]["requests"], rows["openai/none"]["failed"]) == (1, 1)
    assert rows["openai/plain"]["input_tokens"] > 0
    assert "TOLLWAY_API_KEY" in by_key.stdout
    assert re.search(r"^20\d\d-\d\d-\d\d +4 +1 ", by_day.stdout, re.MULTILINE)


def test_usage_of_an_installation_that_was_never_started_is_empty(tmp_path: Path) -> None:
    ran = subprocess.run(
        [str(COMMAND), "usage", "--json"],
        env={"PATH": "/usr/bin:/bin", "TOLLWAY_HOME": str(tmp_path / "none")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert json.loads(ran.stdout) == []


def test_check_describes_a_good_configuration_and_refuses_a_bad_one(proxy: TollwayProcess) -> None:
    bad = proxy.home / "bad.yaml"
    bad.write_text("server:\n  prot: 4000\n", encoding="utf-8")

    good = proxy.command("check", str(proxy.home / "config.yaml"))
    by_option = proxy.command("check", "--config", str(proxy.home / "config.yaml"))
    twice = proxy.command("check", str(bad), "--config", str(bad))
    refused = proxy.command("check", str(bad))

    assert good.returncode == 0
    assert by_option.stdout == good.stdout
    assert (twice.returncode, "named twice" in twice.stderr) == (1, True)
    assert "openai" in good.stdout
    assert refused.returncode == 1
    assert "bad.yaml:2:3: server.prot" in refused.stderr
    assert "'port'" in refused.stderr


COMMANDS = [
    *("", "serve", "check", "usage", "audit", "keys", "users", "teams", "budgets"),
    *(f"keys {name}" for name in ("create", "list", "show", "update", "rotate", "revoke")),
    *(f"{kind} {name}" for kind in ("users", "teams") for name in ("create", "list", "show", "update", "remove", "restore")),
    *(f"budgets {name}" for name in ("set", "list", "remove")),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    ran = CliRunner().invoke(cli, [*command.split(), "--help"])

    assert ran.exit_code == 0
    assert "Usage:" in ran.stdout
