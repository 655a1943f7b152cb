from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from providers import child

READY_S = 60.0


def program(folder: Path, text: str) -> Path:
    path = folder / "program.py"
    path.write_text(f"import json, os, sys\n{text}\n", encoding="utf-8")
    return path


def test_a_program_is_told_a_line_and_says_where_it_is(tmp_path: Path) -> None:
    process = child.spawn(
        program(tmp_path, "print('ready', sys.stdin.readline().strip(), sys.argv[1], flush=True)\nsys.stdin.read()"), ["b"]
    )

    address = child.handshake(process, "a", READY_S)
    child.end(process)

    assert address == "a b"
    assert process.poll() is not None


def test_it_knows_nothing_of_the_environment_but_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    process = child.spawn(program(tmp_path, "print('ready', json.dumps(dict(os.environ)))"), [], environment={"ADDED": "1"})

    known = json.loads(child.handshake(process, "", READY_S))
    child.end(process)

    assert known["ADDED"] == "1"
    assert "OPENAI_API_KEY" not in known
    assert ("PATH" in known) == ("PATH" in os.environ)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("print('failed no such thing')", "no such thing"),
        ("sys.exit(3)", r"ended before it was ready \(exit status 3\)"),
        ("print('hello')", "ended before it was ready"),
    ],
)
def test_one_that_does_not_come_up_says_why(tmp_path: Path, text: str, why: str) -> None:
    process = child.spawn(program(tmp_path, text), [])

    with pytest.raises(child.ChildFailed, match=why):
        child.handshake(process, "", READY_S)
    child.end(process)


def test_one_that_never_answers_is_killed(tmp_path: Path) -> None:
    process = child.spawn(program(tmp_path, "sys.stdin.read()"), [])

    with pytest.raises(child.ChildFailed, match="ended before it was ready"):
        child.handshake(process, "", 0.2)
    child.end(process)

    assert process.poll() is not None


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    process = child.spawn(program(tmp_path, "import threading\nprint('ready x', flush=True)\nthreading.Event().wait()"), [])
    child.handshake(process, "", READY_S)

    child.end(process)

    assert process.poll() is not None
