"""Look for bytes that break what reads them: ``python -m tests.fuzz TARGET… [--seconds N]``; needs atheris (``make fuzz``).

What is found on the way is in ``.fuzz/``.  At the end the inputs that reach lines of our code which no other one reaches are
kept in ``tests/fuzz/data/TARGET.jsonl``, and so is one that crashed, so that ``test_corpus.py`` fails until it is mended.
Source: the options are libFuzzer's, llvm.org/docs/LibFuzzer.html, read 2026-11.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fuzz.corpus import add, kept, thinned
from tests.fuzz.targets import SEED_MAX_BYTES, TARGETS, seeds

WORK = Path(__file__).parents[2] / ".fuzz"
CRASHED = 77
"""libFuzzer's exit status when it has found something."""


def work(target: str) -> Path:
    """Where a target's inputs are while it runs, each in a file, and its crashes beside them."""
    folder = WORK / target
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fuzz(target: str, seconds: int) -> bool:
    """Run one target in a process of its own; whether nothing was found."""
    folder = work(target)
    for number, seed in enumerate([*seeds(target), *kept(target)]):
        (folder / f"seed-{number}").write_bytes(seed)
    command = [sys.executable, "-m", "tests.fuzz", "--inside", target, "--seconds", str(seconds)]
    ended = subprocess.run(command, check=False, timeout=seconds + 600)
    if ended.returncode:
        found = sorted(folder.glob("crash-*"), key=lambda it: it.stat().st_mtime)[-1:]
        add(target, [it.read_bytes() for it in found])
        print(f"{target}: crashed; the input is in the corpus", file=sys.stderr)
        return False
    inputs = [it.read_bytes() for it in folder.iterdir() if it.is_file() and not it.name.startswith(("crash-", "words"))]
    print(f"{target}: {thinned(target, inputs)} new inputs are kept", file=sys.stderr)
    return True


def words(target: str) -> str:
    """The strings of the seeds' JSON as a dictionary of libFuzzer's: mutations put them where others stood."""
    found = sorted({word for seed in seeds(target) for word in seed.split(b'"')[1::2] if 1 < len(word) <= 32})
    lines = ['"' + "".join(f"\\x{byte:02x}" for byte in b'"' + word + b'"') + '"' for word in found[:1_000]]
    return "\n".join(lines) + "\n"


def inside(target: str, seconds: int) -> None:
    """The process that looks.  Does not return."""
    atheris: Any = importlib.import_module("atheris")
    folder = work(target)
    (folder / "words").write_text(words(target), encoding="utf-8")
    ours = ("providers.", "proxy.")
    for name in [it for it in sys.modules if it.startswith((*ours, "tests.fuzz.targets")) or it in ("providers", "proxy")]:
        del sys.modules[name]
    with atheris.instrument_imports(include=["providers", "proxy"]):
        instrumented = importlib.import_module("tests.fuzz.targets")
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={SEED_MAX_BYTES}",
        f"-artifact_prefix={folder}/",
        f"-dict={folder / 'words'}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder)], instrumented.TARGETS[target])
    atheris.Fuzz()


def main() -> int:
    """All targets that are named, or all there are, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="none: all")
    parser.add_argument("--seconds", type=int, default=600, help="for each")
    parser.add_argument("--inside", choices=TARGETS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        inside(asked.inside, asked.seconds)
    fine = [fuzz(target, asked.seconds) for target in asked.targets or TARGETS]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
