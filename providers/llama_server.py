"""llama.cpp's HTTP server as a program: ``llama_server.py MODEL_FILE PORT THREADS LOAD_S``, run by ``providers/local.py``.

The first line on stdin is the key that requests must carry.  One line goes to stdout: ``ready http://127.0.0.1:PORT``
or ``failed REASON``.  It ends when stdin ends, so it does not outlive the process that started it, however that one
died; it cannot look while the model is loaded, so that takes LOAD_S seconds at most.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

import xllamacpp

if sys.platform != "win32":
    import resource

ALIAS = "smollm2"
SLOTS = 2
"""Requests worked on at once; further ones queue."""
SLOT_TOKENS = 4096
"""Context of one request.  The model was trained on 8192; the cache of two slots of 4096 takes 190 MB."""
MEMORY_BYTES = 3 << 29
"""What the process may allocate.  It needs 400 MB; one request can ask llama.cpp's samplers for many gigabytes."""
NICENESS = 5
"""The gateway's own work goes first where cores are few."""
SILENT = -1


def params(model_file: str, *, port: int, threads: int, api_key: str) -> xllamacpp.CommonParams:
    """The server's settings; port 0 lets the system choose one."""
    chosen = xllamacpp.CommonParams()
    chosen.model.path = model_file
    chosen.model_alias = {ALIAS}
    chosen.hostnames = ["127.0.0.1"]
    chosen.port = port
    # Only /health answers without it.
    chosen.api_keys = [api_key]
    chosen.n_parallel = SLOTS
    chosen.n_ctx = SLOTS * SLOT_TOKENS
    chosen.cpuparams.n_threads = threads
    chosen.cpuparams_batch.n_threads = threads
    chosen.verbosity = SILENT
    # Off: 8 GiB of remembered prompts, the web page, the listing of what the slots work on, leave for any origin.
    chosen.cache_ram_mib = 0
    chosen.ui = False
    chosen.endpoint_slots = False
    chosen.cors_origins = ""
    return chosen


def confine() -> None:
    """Be a good neighbour: bounded memory, lower priority, deaf to the signals meant for the gateway.

    A terminal's Ctrl-C and a service manager's SIGTERM reach every process of the group; the streams that the gateway
    still wants to finish would be cut.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform != "win32":
        os.nice(NICENESS)
        hard_bytes = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if hard_bytes == resource.RLIM_INFINITY or hard_bytes > MEMORY_BYTES:
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, hard_bytes))


def main(model_file: str, port: int, threads: int, load_s: int) -> NoReturn:
    """Serve until stdin ends."""
    confine()
    api_key = sys.stdin.readline().strip()
    # llama.cpp prints some warnings, with the client's text in them, past its own log settings: stdout is kept for our
    # one line and then, like stderr, leads nowhere.
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    if sys.platform != "win32":
        # Its default action ends the process from inside of whatever call hangs there.
        signal.alarm(load_s)
    try:
        server = xllamacpp.Server(params(model_file, port=port, threads=threads, api_key=api_key))
    except RuntimeError as error:
        os.write(answer, f"failed {error}\n".encode())
        os._exit(1)
    if sys.platform != "win32":
        signal.alarm(0)
    os.write(answer, f"ready {server.listening_address}\n".encode())
    os.close(answer)
    sys.stdin.read()
    # Not an orderly return: the server's destructor waits for the requests it is working on.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
