"""Score routing policies on recorded outcomes: ``python -m benchmarks.routing --outcomes FILE.csv [more]``.

What the columns of a file are: ``outcomes.py``; what the arms are and may know: ``arms.py``; how the figures are defined:
``score.py`` and ``compare.py``; all of it in words: ``README.md``.  Without outcomes, ``--simulate`` scores simulated ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import numpy as np

from benchmarks.routing import compare, facts, ours, outcomes, report, setup, simulate, tasks
from benchmarks.routing.arms import ARMS, Arm
from benchmarks.routing.compare import ANCHOR, OURS, Comparison
from benchmarks.routing.outcomes import Outcomes, Unreadable
from ledger.adapters import aliases
from ledger.catalogue.identity import Resolver
from ledger.catalogue.indices import Indices
from ledger.catalogue.snapshot import Snapshot
from ledger.errors import LedgerError
from proxy.routing.features import features_of
from proxy.routing.policy import POLICIES

T = TypeVar("T")

POLICY_ARMS: Final = ("auto", "auto:cheap", "auto:best")


def main(given: Sequence[str] | None = None) -> int:
    """The exit code: 1 if something cannot be read, or ``--check`` finds an aim missed."""
    arguments = _arguments(given)
    began_s = time.monotonic()
    try:
        made, unknown, read = _setup(arguments)
        compared = _compared(made, arguments)
        if arguments.plot:
            report.plot(compared, arguments.plot)
    except (Unreadable, LedgerError, LookupError, ValueError, OSError, report.NoDrawing) as error:
        print(f"failed: {error.args[0] if isinstance(error, LookupError) else error}", file=sys.stderr)
        return 1
    print(report.about(made, read.rows, read.left_out, read.repeats, unknown))
    print(f"\n{report.tables(compared)}\n\ntook {time.monotonic() - began_s:.0f} s")
    if arguments.json:
        settings = {"warmup": arguments.warmup, "seed": arguments.seed, "bootstrap": arguments.bootstrap}
        arguments.json.write_bytes(report.document(compared, made, settings=settings))
    return 0 if all(it.met for it in compared.verdicts) or not arguments.check else 1


def _setup(arguments: argparse.Namespace) -> tuple[setup.Setup, Sequence[str], Outcomes]:
    """The setup, the datasets whose kind nobody told, and what was read."""
    if arguments.simulate:
        return _simulated(arguments)
    at_us = (
        int(np.datetime64(arguments.as_of).astype("datetime64[us]").astype(int)) if arguments.as_of else time.time_ns() // 1_000
    )
    known = facts.of_home(arguments.ledger, at_us=at_us) if arguments.ledger else facts.load(_payloads(arguments), at_us=at_us)
    table = tasks.load(arguments.tasks)
    read = outcomes.read(arguments.outcomes, classify=_classifier(arguments), score_max=arguments.score_max)
    named = [table.of(dataset) for dataset in read.datasets]
    kinds = np.array([task or named[dataset][0] for task, dataset in zip(read.text_task, read.dataset, strict=True)])
    told = {dataset for task, dataset in zip(read.text_task, read.dataset.tolist(), strict=True) if task}
    unknown = [name for place, name in enumerate(read.datasets) if not named[place][1] and place not in told]
    mapping = _decoded(arguments.models, dict[str, str])
    joined = facts.join(read.models, known, mapping)
    prices = _decoded(arguments.prices, dict[str, tuple[float, float]])
    made = setup.prepare(read, kinds, joined, known, warmup=arguments.warmup, seed=arguments.seed, given=prices)
    return made, unknown, read


def _simulated(arguments: argparse.Namespace) -> tuple[setup.Setup, Sequence[str], Outcomes]:
    regime = next((it for it in simulate.REGIMES if it.name == arguments.simulate), None)
    if regime is None:
        raise LookupError(
            f"there is no regime {arguments.simulate!r}; there are: {', '.join(it.name for it in simulate.REGIMES)}"
        )
    world = simulate.world(regime, seed=arguments.seed)
    return simulated_setup(world, warmup=arguments.warmup, seed=arguments.seed), (), world.outcomes


def simulated_setup(world: simulate.World, /, *, warmup: float, seed: int) -> setup.Setup:
    """A simulation, with everything that its ledger knows."""
    snapshot = Snapshot(world.observations, at_us=simulate.AT_US)
    known = facts.Facts(indices=Indices(snapshot), resolver=Resolver(aliases.load()))
    read = world.outcomes
    kinds = np.array([world.tasks[read.datasets[dataset]] for dataset in read.dataset])
    return setup.prepare(read, kinds, facts.join(read.models, known, {}), known, warmup=warmup, seed=seed)


def _compared(made: setup.Setup, arguments: argparse.Namespace) -> Comparison:
    return compare.compare(
        tuple(run(made, arguments.arms)), times=arguments.bootstrap, seed=arguments.seed, budgets=arguments.at_cost
    )


def run(made: setup.Setup, names: Sequence[str], /) -> list[Arm]:
    """The arms of these names, and the one that all others are mixed with.  Raises: LookupError."""
    wanted = dict.fromkeys((*names, ANCHOR))
    router = ours.Router(made)
    found = []
    for name in wanted:
        if name == OURS:
            found.append(ours.ours(router))
        elif name in ARMS:
            found.append(ARMS[name](made))
        elif name in POLICIES:
            found.append(ours.policy(router, name))
        else:
            raise LookupError(f"there is no arm {name!r}; there are: {', '.join((OURS, *ARMS, *POLICIES))}")
    return found


def _classifier(arguments: argparse.Namespace) -> Callable[[str], str] | None:
    """What the router takes a prompt for, unless names of datasets are to count."""
    if arguments.ignore_prompts:
        return None

    def classify(text: str) -> str:
        message = {"role": "user", "content": text}
        return features_of("chat/completions", {"messages": [message]}, size_bytes=len(text.encode("utf-8", "replace"))).task

    return classify


def _payloads(arguments: argparse.Namespace) -> list[tuple[str, Path]]:
    return [(source, path) for source in facts.SOURCES for path in getattr(arguments, source)]


def _decoded(path: Path | None, kind: type[T]) -> T:
    if path is None:
        return kind()
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}") from error


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.routing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--outcomes", type=Path, action="append", metavar="FILE", help="a CSV file, also with gzip; repeatable")
    source.add_argument(
        "--simulate", metavar="REGIME", help=f"score a simulation: {', '.join(it.name for it in simulate.REGIMES)}"
    )
    add("--ledger", type=Path, metavar="HOME", help="a TOLLWAY_HOME, or its ledger.sqlite: what it knows of the models")
    for name in facts.SOURCES:
        say = f"a payload of {name}, as the ledger reads it; repeatable"
        add(f"--{name.replace('_', '-')}", type=Path, action="append", default=[], metavar="FILE", help=say)
    add("--models", type=Path, metavar="FILE", help='JSON: who a model of the outcomes is: {"gpt4": "openai/gpt-4"}')
    add("--prices", type=Path, metavar="FILE", help='JSON: USD for a million tokens, in and out: {"gpt4": [30, 60]}')
    add("--tasks", type=Path, metavar="FILE", help='JSON: the kind of task of a dataset: {"my-set": "coding"}')
    add("--ignore-prompts", action="store_true", help="tell kinds of task by the datasets' names, also where there are texts")
    add("--arms", type=_names, default=_DEFAULT_ARMS, metavar="A,B", help="which arms, policies of the router among them")
    add("--warmup", type=_share, default=0.3, help="the share of prompts that is past traffic (default 0.3)")
    add("--seed", type=int, default=7, help="of the split and of the resamples (default 7)")
    add("--bootstrap", type=_count, default=1000, help="resamples for the intervals (default 1000; 0: none)")
    add(
        "--at-cost",
        type=float,
        action="append",
        default=[],
        metavar="USD",
        help="a budget a prompt to tell accuracy at; repeatable",
    )
    add("--score-max", type=float, default=1.0, help="what a full score is (default 1)")
    add("--as-of", metavar="DATE", help="the day that the ledger's payloads are of (default today): what is old counts less")
    add("--json", type=Path, metavar="FILE", help="write every figure and every point to a file as well")
    add("--plot", type=Path, metavar="FILE", help="draw the curves, as .png or .svg")
    add("--check", action="store_true", help="exit 1 if an aim is missed")
    return parser.parse_args(given)


_DEFAULT_ARMS = (
    *("random", "cheapest", "best", "hindsight", "composite", "intelligence", "tokenledger", "thegent", "ratio", OURS),
    *(*POLICY_ARMS, "oracle"),
)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("from 0 to less than 1")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 100_000:
        raise argparse.ArgumentTypeError("from 0 to 100000")
    return value


if __name__ == "__main__":
    sys.exit(main())
