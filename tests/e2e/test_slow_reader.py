"""A client that does not read what it asked for."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.openai_upstream import OpenAIUpstream
from tests.fakes.replies import SSE, Reply, event
from tests.process import TollwayProcess, config, tollway

WRITE_S = 1.0
EVENTS = 3_000
EVENT = event(
    {"id": "c", "object": "chat.completion.chunk", "model": "long", "choices": [{"delta": {"content": "x" * 20_000}}]}
)


@pytest.fixture
def proxy(upstream: OpenAIUpstream, tmp_path: Path) -> Iterator[TollwayProcess]:
    upstream.script("long", Reply(content_type=SSE, framing="chunked", pieces=(EVENT,) * EVENTS, gap_s=0.0001))
    with tollway(tmp_path, config(upstream, {"acme": ["long"]}, server={"write_timeout_s": WRITE_S})) as proxy:
        yield proxy


def resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_client_that_does_not_read_is_cut_off_and_costs_little_memory(
    proxy: TollwayProcess, upstream: OpenAIUpstream
) -> None:
    body = json.dumps({"model": "acme/long", "stream": True, "messages": []}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {proxy.api_key}\r\n"
    before_kb = resident_kb(proxy.pid)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", proxy.port))

        connection.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        (record,) = proxy.records("acme/long", timeout_s=WRITE_S + 8)

    (seen,) = upstream.of("long")
    upstream.wait_for(lambda: seen.aborted)
    assert (record["outcome"], record["status"], record["quality"]) == ("client_closed", 499, "estimated")
    assert seen.sent_bytes < EVENTS * len(EVENT) / 2
    assert resident_kb(proxy.pid) - before_kb < 16_000
