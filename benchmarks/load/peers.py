"""Other proxies, measured in the same way.  Each is installed, pinned, into an environment of its own when asked for."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.load.machine import Cores
from benchmarks.load.process import Process, clean_environment
from benchmarks.load.proxy import MODEL, Subject, ready_s, state_folder
from benchmarks.load.tools import HERE, BenchmarkFailed, Mock

ROOT = HERE.parents[1]
UV = ROOT / ".boot" / "bin" / "uv"
LITELLM = HERE / ".venv-litellm"
LITELLM_PINS = HERE / "litellm.txt"
INSTALL_LIMIT_S = 600
START_LIMIT_S = 120
PEERS = ("litellm",)


def install(peer: str) -> None:
    """Install the peer, if its pins have changed since.  Raises: BenchmarkFailed."""
    if peer not in PEERS:
        raise BenchmarkFailed(f"There is no peer called {peer!r}; there is {', '.join(PEERS)}.")
    done = LITELLM / ".done"
    if done.exists() and done.read_bytes() == LITELLM_PINS.read_bytes():
        return
    print(f"installing {peer} into {LITELLM.relative_to(ROOT)}", flush=True)
    python = LITELLM / "bin" / "python"
    for command in (
        [str(UV), "venv", "--quiet", "--clear", "--python", sys.executable, str(LITELLM)],
        [str(UV), "pip", "sync", "--quiet", "--python", str(python), str(LITELLM_PINS)],
        # Its first start would compile it otherwise, and be measured doing so.
        [str(python), "-m", "compileall", "-q", "-j", "0", str(LITELLM / "lib")],
    ):
        try:
            ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_LIMIT_S, cwd=ROOT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BenchmarkFailed(f"{peer} cannot be installed: {error}") from error
        # Some packages carry templates that end in .py and are no Python; compileall says so and goes on.
        if ran.returncode and "compileall" not in command:
            raise BenchmarkFailed(f"{peer} cannot be installed:\n{ran.stderr.strip()[-2000:]}")
    done.write_bytes(LITELLM_PINS.read_bytes())


@contextmanager
def litellm(mock: Mock, paths: Mapping[str, str], cores: Cores) -> Iterator[Subject]:
    """LiteLLM's proxy with one worker and a master key, no database; it never leaves this machine.

    paths: for each behaviour, the mock's path.
    """
    with state_folder() as home:
        config = home / "config.yaml"
        config.write_text(_config({name: mock.base_url(path) for name, path in paths.items()}))
        api_key = f"sk-{secrets.token_hex(32)}"
        port = _free_port()
        env = {
            **clean_environment(home),
            "LITELLM_MASTER_KEY": api_key,
            # Else it fetches its price list at every start.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_TELEMETRY": "False",
        }
        command = [str(LITELLM / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
        command = cores.on_proxy([*command, "--port", str(port), "--num_workers", "1", "--telemetry", "False"])
        with (home / "output").open("wb") as log, Process("litellm", command, log=log, env=env, folder=home) as process:
            yield Subject(
                name="litellm",
                pid=process.pid,
                port=port,
                api_key=api_key,
                models={name: name for name in paths},
                start_up_s=ready_s(process, port, "/health/readiness", limit_s=START_LIMIT_S),
            )


def _free_port() -> int:
    # It cannot say which port it took, so one is chosen for it.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _config(base_urls: Mapping[str, str]) -> str:
    lines = ["model_list:"]
    for name, base_url in base_urls.items():
        lines += [
            f"  - model_name: {name}",
            "    litellm_params:",
            f"      model: openai/{MODEL}",
            f'      api_base: "{base_url}"',
            "      api_key: sk-mock-0123456789abcdef0123456789abcdef",
        ]
    return "\n".join([*lines, "general_settings:", "  master_key: os.environ/LITELLM_MASTER_KEY"]) + "\n"
