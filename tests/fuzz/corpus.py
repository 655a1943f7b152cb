"""The inputs that are kept: a file for each target, ``data/TARGET.jsonl``, with one input in base64 on a line."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.fuzz.targets import TARGETS, Target, seeds

DATA = Path(__file__).parent / "data"
PACKAGES = tuple(str(Path(__file__).parents[2] / name) for name in ("proxy", "providers"))
KEPT_MAX = 200
"""Inputs of one target."""

Step = tuple[CodeType, int, int]


def kept(target: str) -> list[bytes]:
    """The target's inputs, in the order they were found."""
    file = DATA / f"{target}.jsonl"
    lines = file.read_text(encoding="ascii").splitlines() if file.exists() else []
    return [base64.b64decode(json.loads(line)) for line in lines]


def add(target: str, inputs: Iterable[bytes]) -> int:
    """Keep these too; how many were new."""
    had = kept(target)
    new = [it for it in dict.fromkeys(inputs) if it not in had]
    if new:
        lines = "".join(json.dumps(base64.b64encode(it).decode()) + "\n" for it in new)
        with (DATA / f"{target}.jsonl").open("a", encoding="ascii") as file:
            file.write(lines)
    return len(new)


def thinned(target: str, inputs: Iterable[bytes]) -> int:
    """Keep, of these inputs, those that lead from one line of our code to another as none before them does; short ones first.

    Returns how many were kept.
    """
    run = TARGETS[target]
    had = kept(target)
    reached: set[Step] = set()
    for it in [*seeds(target), *had]:
        reached |= steps(run, it)
    new = []
    for it in sorted(set(inputs), key=lambda it: (len(it), it)):
        if len(had) + len(new) >= KEPT_MAX:
            break
        found = steps(run, it)
        if not found <= reached:
            reached |= found
            new.append(it)
    return add(target, new)


def steps(run: Target, data: bytes) -> set[Step]:
    """Which line of our code came after which while ``data`` was read."""
    found: set[Step] = set()

    def follow(frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGES):
            return None
        last = 0

        def line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal last
            if event == "line":
                found.add((code, last, frame.f_lineno))
                last = frame.f_lineno
            return line

        return line

    before = sys.gettrace()
    sys.settrace(follow)
    try:
        run(data)
    finally:
        sys.settrace(before)
    return found
