"""Real coding agents, in one-shot mode, and SDKs for Node, against a running proxy: ``make clients``.

Each agent is told to read a file.  Whatever provider serves it, in its own protocol or in another, the agent has to call its
tool, send what the tool gave, and print the answer.  Agents get an HTTP proxy that refuses everything, so that whoever would
reach for anything but the gateway is seen.  ``CLIENTS`` is the folder where npm put them.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.e2e.heard import said
from tests.fakes.agents import FILE, KEY, WORDS, agents
from tests.fakes.replaying import Replaying
from tests.process import Setting, TollwayProcess, tollway
from tests.recordings import Recording, recordings

PACKAGES = Path(os.environ.get("CLIENTS", ".clients")).absolute()
NODE = shutil.which("node") or "node"
PROMPT = f"Read {FILE} and tell me what it says."
SECRET = "the word is tollbooth"
UPSTREAMS = {
    "anthropic": ("anthropic", "v1", "messages"),
    "chat": ("openai", "v1", "chat/completions"),
    "responses": ("openai", "v1", "responses"),
    "gemini": ("gemini", "v1beta", "enerateContent"),
}
"""By their names as providers: the protocol, the path, and the endpoint that they have."""
MODELS = {"claude": "claude-opus-5-5", "codex": "some-model", "codex-newer": "gpt-6.1-sol", "gemini": "gemini-2.5-flash"}
"""What each agent is told to use.  Codex asks in another way for models that it knows."""
OTHERS = ("claude-haiku-5-5", "gemini-2.5-flash-lite")
"""What they may ask besides for their own purposes."""


class Outside:
    """An HTTP proxy that lets nobody through.  asked: where they wanted to go."""

    def __init__(self) -> None:
        asked = self.asked = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def refuse(self) -> None:
                asked.append(self.path)
                self.send_error(403)

            do_CONNECT = do_GET = do_POST = do_HEAD = refuse  # noqa: N815  # the base class calls them so

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@dataclass
class House:
    """Where agents run, and whom they ask.  root: that address; key: what opens it."""

    root: str
    key: str
    folder: Path
    outside: Outside
    homes: int = field(default=0)

    def run(
        self, command: list[str], environ: Mapping[str, str], *, home: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a client where the file is.  Raises: subprocess.TimeoutExpired."""
        home = home or self.home()
        shell = {"PATH": f"{Path(NODE).parent}:/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8"}
        through = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), self.outside.url)
        inside = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        return subprocess.run(
            command,
            cwd=self.folder / "desk",
            env={**shell, **through, **inside, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def home(self) -> Path:
        """An empty home for one run."""
        self.homes += 1
        home = self.folder / f"home-{self.homes}"
        home.mkdir()
        return home


# --- the agents --------------------------------------------------------------------------------------------------------


def native(scope: str, name: str, *path: str) -> str:
    """A program that npm brought for this machine."""
    machine = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
    found = sorted((PACKAGES / "node_modules" / scope).glob(f"{name}-{platform.system().lower()}-{machine}/{'/'.join(path)}"))
    assert found, f"{name} is not installed: make clients"
    return str(found[0])


def claude(house: House, model: str, *, bearer: bool = False) -> str:
    """Claude Code's answer.  Source: code.claude.com/docs/en/settings (environment variables), read 2026-11."""
    environ = {
        "ANTHROPIC_BASE_URL": house.root,
        "ANTHROPIC_AUTH_TOKEN" if bearer else "ANTHROPIC_API_KEY": house.key,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    command = [native("@anthropic-ai", "claude-code", "claude"), "-p", PROMPT, "--output-format", "json"]
    ran = house.run([*command, "--model", model, "--allowedTools", "Read"], environ)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout)
    assert told["is_error"] is False
    return str(told["result"])


CODEX = """
model = "{model}"
model_provider = "tollway"
check_for_update_on_startup = false

[analytics]
enabled = false

[features]
plugins = false
remote_plugin = false
apps = false

[model_providers.tollway]
name = "Tollway"
base_url = "{base_url}"
env_key = "TOLLWAY_KEY"
wire_api = "responses"
"""


def codex(house: House, model: str) -> str:
    """Codex' answer.  Source: developers.openai.com/codex/config-reference, read 2026-11."""
    home = house.home()
    (home / "config.toml").write_text(CODEX.format(model=model, base_url=f"{house.root}/v1"), encoding="utf-8")
    command = [native("@openai", "codex", "vendor", "*", "bin", "codex"), "exec", "--json", "--skip-git-repo-check"]
    environ = {"CODEX_HOME": str(home), "TOLLWAY_KEY": house.key}
    ran = house.run([*command, "--sandbox", "danger-full-access", PROMPT], environ, home=home)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    events = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    items = [it["item"] for it in events if it["type"] == "item.completed"]
    return "".join(it["text"] for it in items if it["type"] == "agent_message")


GEMINI = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "privacy": {"usageStatisticsEnabled": False},
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    "telemetry": {"enabled": False},
}


def gemini(house: House, model: str) -> str:
    """Gemini CLI's answer.  Source: geminicli.com/docs/reference/configuration, read 2026-11."""
    home = house.home()
    (home / ".gemini").mkdir()
    (home / ".gemini" / "settings.json").write_text(json.dumps(GEMINI), encoding="utf-8")
    environ = {
        "GOOGLE_GEMINI_BASE_URL": house.root,
        "GEMINI_API_KEY": house.key,
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
    }
    program = str(PACKAGES / "node_modules" / "@google" / "gemini-cli" / "bundle" / "gemini.js")
    ran = house.run([NODE, program, "-p", PROMPT, "--model", model, "--output-format", "json"], environ, home=home)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return str(json.loads(ran.stdout)["response"])


RUNS = {"claude": claude, "codex": codex, "codex-newer": codex, "gemini": gemini}


# --- a model that reads the file -----------------------------------------------------------------------------------------


@dataclass
class Served(House):
    """The same in front of a running proxy."""

    proxy: TollwayProcess = field(kw_only=True)


def housing(proxy: TollwayProcess, folder: Path) -> Served:
    return Served(proxy.base_url.removesuffix("/v1"), proxy.api_key, folder, Outside(), proxy=proxy)


def provider(kind: str, url: str, endpoint: str) -> dict[str, Any]:
    row: dict[str, Any] = {"type": kind, "base_url": url, "api_key": "env:UPSTREAM_KEY", "models": ["m"]}
    return {**row, "endpoints": [endpoint]} if kind == "openai" else row


@pytest.fixture(scope="module", params=UPSTREAMS)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    kind, path, endpoint = UPSTREAMS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    work = folder / "desk"
    work.mkdir()
    (work / FILE).write_text(SECRET + "\n", encoding="utf-8")
    with agents(str(work)) as (url, journal):
        names = dict.fromkeys((*MODELS.values(), *OTHERS), f"{request.param}/m")
        setting = {"providers": {request.param: provider(kind, f"{url}/{path}", endpoint)}, "aliases": names}
        with tollway(folder / "proxy", Setting(json.dumps(setting), {"UPSTREAM_KEY": KEY})) as proxy:
            yield housing(proxy, folder)
        assert journal.problems == []
        assert {endpoint in it.path for it in journal.seen} == {True}


@pytest.mark.parametrize("agent", RUNS)
def test_an_agent_reads_a_file_by_its_own_tool_and_says_what_is_in_it(house: Served, agent: str) -> None:
    answer = RUNS[agent](house, MODELS[agent])

    rows = house.proxy.records(MODELS[agent], 2)
    assert SECRET in answer
    assert {row["status"] for row in rows} == {200}
    assert {row["output_text"] + row["reasoning"] for row in rows} == {7}
    assert house.proxy.open_reservations() == []
    assert house.outside.asked == []


def test_an_agent_may_send_its_key_as_a_token(house: House) -> None:
    assert SECRET in claude(house, MODELS["claude"], bearer=True)


@pytest.fixture(scope="module")
def told(house: House) -> dict[str, Any]:
    shutil.copy(Path(__file__).parent / "agents" / "sdks.mjs", PACKAGES)
    ran = house.run([NODE, str(PACKAGES / "sdks.mjs")], {"ROOT": house.root, "KEY": house.key, "MODEL": MODELS["codex"]})
    assert (ran.returncode, ran.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


@pytest.mark.parametrize("sdk", ["anthropic", "google"])
def test_the_sdks_for_node_read_what_was_said(told: dict[str, Any], house: House, sdk: str) -> None:
    call = {"name": "read_file", "input": {"file_path": f"{house.folder / 'desk'}/{FILE}"}}

    assert (told[sdk]["whole"], told[sdk]["streamed"]) == (WORDS, WORDS)
    assert told[sdk]["called"] == [call]
    assert told[sdk].get("calledStreamed", [call]) == [call]


def test_the_sdks_for_node_raise_the_errors_that_programs_catch(told: dict[str, Any]) -> None:
    assert told["anthropic"]["unknown"] == {"name": "NotFoundError", "status": 404, "type": "not_found_error"}
    assert told["google"]["unknown"] == {"name": "ApiError", "status": 404}


def test_the_sdks_for_node_list_the_models(told: dict[str, Any]) -> None:
    assert set(MODELS.values()) <= set(told["anthropic"]["models"])
    assert {f"models/{it}" for it in MODELS.values()} <= set(told["google"]["models"])


# --- recorded answers ------------------------------------------------------------------------------------------------------

RECORDED = {
    "anthropic": ("messages", "v1"),
    "openai": ("chat/completions", "v1"),
    "gemini": ("streamGenerateContent", "v1beta"),
}


def recorded(name: str) -> Recording:
    """A provider's first recorded stream that is words and nothing else."""
    found = (it for it in recordings(name) if it.streamed and it.status == 200 and RECORDED[name][0] in it.path)
    return next(it for it in found if (heard := said(it)).text and not heard.calls and heard.finish == "stop")


@pytest.fixture(scope="module")
def replaying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("replaying")
    (folder / "desk").mkdir()
    with Replaying({name: recorded(name) for name in RECORDED}) as upstream:
        rows = {
            name: {"base_url": f"{upstream.url}/{path}", "api_key": "env:UPSTREAM_KEY", "models": [name]}
            for name, (_, path) in RECORDED.items()
        }
        rows["openai"]["endpoints"] = ["chat/completions"]
        names = {f"{agent}-{name}": f"{name}/{name}" for agent in RUNS for name in RECORDED}
        setting = Setting(json.dumps({"providers": rows, "aliases": names}), {"UPSTREAM_KEY": KEY})
        with tollway(folder / "proxy", setting) as proxy:
            yield housing(proxy, folder)


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("agent", ["claude", "codex", "gemini"])
def test_an_agent_prints_what_a_provider_once_said(replaying: House, agent: str, name: str) -> None:
    answer = RUNS[agent](replaying, f"{agent}-{name}")

    assert answer.strip() == said(recorded(name)).text.strip()
    assert replaying.outside.asked == []
